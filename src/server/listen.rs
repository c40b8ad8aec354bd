//! Listening sockets.

use super::socket::Socket;
use crate::config::types::Listen;
use socket2::{Domain, Protocol, Type};
use std::fmt;
use std::fs;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};

/// Connections that may wait in the kernel to be accepted.
pub(super) const BACKLOG: i32 = 1024;
/// Most unsent bytes of a connection that the kernel buffers.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 * 1024;
/// After how long without traffic the kernel probes whether the client is still there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);
/// Time between keepalive probes that are not answered.
const TCP_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Displays an address as it is written in the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Address<'a>(pub &'a Listen);

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Listen::Tcp(address) => address.fmt(f),
            Listen::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The listening sockets of all workers, not yet tied to a runtime.
#[derive(Debug)]
pub struct Listeners {
    sockets: Vec<socket2::Socket>,
    address: Listen,
    /// Removed when the listeners are dropped.
    socket_file: Option<SocketFile>,
}

/// The socket of one worker.
#[derive(Debug)]
pub enum Listener {
    /// One of several sockets on the same port; the kernel spreads connections over them.
    Tcp(TcpListener),
    /// One of several handles on the same socket.
    Unix(UnixListener),
}

/// A socket in the file system, removed on drop if it is still ours.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Listeners {
    /// Binds `count` sockets to one address. Port 0 takes a free port, the same for all.
    ///
    /// # Errors
    /// When the address is taken or not available.
    pub fn bind(address: &Listen, count: usize) -> io::Result<Listeners> {
        match address {
            Listen::Tcp(address) => bind_tcp(*address, count),
            Listen::Unix(path) => bind_unix(path, count),
        }
    }

    /// Sets how long a client may leave data or keepalive probes unacknowledged until its connection is closed. The kernel also
    /// counts the time in which the client is there but reads nothing.
    ///
    /// # Errors
    /// When the operating system refuses the option.
    pub fn give_up_after(&self, unacknowledged: Duration) -> io::Result<()> {
        #[cfg(any(target_os = "android", target_os = "linux"))]
        if matches!(self.address, Listen::Tcp(_)) {
            // Accepted sockets inherit the option.
            self.sockets.iter().try_for_each(|socket| socket.set_tcp_user_timeout(Some(unacknowledged)))?;
        }
        #[cfg(not(any(target_os = "android", target_os = "linux")))]
        let _ = unacknowledged;
        Ok(())
    }

    /// Where clients connect: the real port when 0 was asked for.
    #[must_use]
    pub fn address(&self) -> &Listen {
        &self.address
    }

    /// Takes the sockets out, one for each worker.
    pub fn sockets(&mut self) -> Vec<socket2::Socket> {
        std::mem::take(&mut self.sockets)
    }
}

impl Listener {
    /// Ties a socket to the current runtime.
    ///
    /// # Errors
    /// When the runtime refuses the socket.
    pub fn register(socket: socket2::Socket) -> io::Result<Listener> {
        if socket.domain()? == Domain::UNIX {
            UnixListener::from_std(socket.into()).map(Listener::Unix)
        } else {
            TcpListener::from_std(socket.into()).map(Listener::Tcp)
        }
    }

    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, Option<SocketAddr>)>> {
        match self {
            Listener::Tcp(listener) => {
                listener.poll_accept(cx).map_ok(|(stream, peer)| (Socket::Tcp(stream), Some(peer)))
            }
            Listener::Unix(listener) => listener.poll_accept(cx).map_ok(|(stream, _)| (Socket::Unix(stream), None)),
        }
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<Socket> {
        poll_fn(|cx| self.poll_accept(cx)).await.map(|(socket, _)| socket)
    }
}

fn bind_tcp(address: SocketAddr, count: usize) -> io::Result<Listeners> {
    if address.port() != 0 {
        // With SO_REUSEPORT a second gateway could join the port unnoticed; a socket without it finds out whether it is free.
        drop(tcp_socket(address, false)?);
    }
    let mut address = address;
    let mut sockets = Vec::new();
    for _ in 0..count {
        let socket = tcp_socket(address, true)?;
        socket.listen(BACKLOG)?;
        address = socket.local_addr()?.as_socket().unwrap_or(address);
        sockets.push(socket);
    }
    Ok(Listeners { sockets, address: Listen::Tcp(address), socket_file: None })
}

fn tcp_socket(address: SocketAddr, shared: bool) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    // Accepted sockets inherit all of these.
    socket.set_tcp_nodelay(true)?;
    // Data that a slow client has not taken yet waits in this process, which can see whether the client takes any, instead of in
    // megabytes of kernel buffer.
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(UNSENT)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(TCP_KEEPALIVE).with_interval(TCP_KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn bind_unix(path: &Path, count: usize) -> io::Result<Listeners> {
    remove_stale(path)?;
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    // Owner and group only: access is decided by the group of the file.
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    let metadata = fs::metadata(path)?;
    let socket_file = SocketFile { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() };
    socket.listen(BACKLOG)?;
    let mut sockets = Vec::new();
    for _ in 1..count {
        sockets.push(socket.try_clone()?);
    }
    sockets.push(socket);
    Ok(Listeners { sockets, address: Listen::Unix(path.to_owned()), socket_file: Some(socket_file) })
}

/// Removes a stale socket file. A socket on which a process listens, and any other file, is kept.
fn remove_stale(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a file of that name, and it is not a socket",
        ));
    }
    match StdUnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on this socket")),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A new process may have put its own socket there.
        let ours =
            fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == (self.device, self.inode));
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        drop(self.socket_file.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_a_free_port_and_nobody_else_joins() {
        let any = Listen::Tcp(([127, 0, 0, 1], 0).into());
        let listeners = Listeners::bind(&any, 2).expect("a free port");
        let Listen::Tcp(address) = listeners.address().clone() else { panic!("a TCP listener has a TCP address") };
        assert_ne!(address.port(), 0);
        let taken = Listeners::bind(&Listen::Tcp(address), 2).map(|_| ()).map_err(|error| error.kind());
        assert_eq!(taken, Err(io::ErrorKind::AddrInUse));
    }

    #[cfg(any(target_os = "android", target_os = "linux"))]
    #[test]
    fn a_client_that_vanishes_is_given_up() {
        let mut listeners = Listeners::bind(&Listen::Tcp(([127, 0, 0, 1], 0).into()), 1).expect("a free port");
        listeners.give_up_after(Duration::from_secs(60)).expect("an option");
        let Listen::Tcp(address) = listeners.address().clone() else { panic!("a TCP listener has a TCP address") };
        let client = std::net::TcpStream::connect(address).expect("it listens");
        let listener = listeners.sockets().remove(0);
        listener.set_nonblocking(false).expect("an option");
        let (accepted, _) = listener.accept().expect("the client");
        assert_eq!(accepted.tcp_user_timeout().ok(), Some(Some(Duration::from_secs(60))));
        assert_eq!(accepted.tcp_keepalive_time().ok(), Some(TCP_KEEPALIVE));
        assert_eq!(accepted.tcp_keepalive_interval().ok(), Some(TCP_KEEPALIVE_INTERVAL));
        drop(client);
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("gateway.sock");
        let bind = || Listeners::bind(&Listen::Unix(path.clone()), 2);
        let kind = |bound: io::Result<Listeners>| bound.map(|_| ()).map_err(|error| error.kind());

        let first = bind().expect("a new socket");
        assert_eq!(fs::metadata(&path).expect("the socket").permissions().mode() & 0o777, 0o660);
        assert_eq!(kind(bind()), Err(io::ErrorKind::AddrInUse));
        drop(first);
        assert!(!path.exists(), "the socket goes with its listeners");

        drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket that is left behind"));
        assert!(path.exists());
        assert_eq!(kind(bind()), Ok(()));

        fs::write(&path, "precious").expect("a file");
        assert_eq!(kind(bind()), Err(io::ErrorKind::AlreadyExists));
        assert_eq!(fs::read(&path).expect("the file"), b"precious");
    }
}
