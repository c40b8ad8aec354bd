//! Detects that a client has closed its connection while the gateway reads nothing from it.

use super::super::socket::Socket;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{Interest, Ready};
use tokio::net::{TcpStream, UnixStream};

/// Watches a second registration of the same socket. The first one stays readable as long as unread bytes are there; this one is
/// cleared after each event, so that the next event can report the close.
pub(super) struct Hangup(Pin<Box<dyn Future<Output = ()> + Send + Sync>>);

impl Hangup {
    pub(super) fn watch(socket: &Socket) -> io::Result<Hangup> {
        match socket {
            Socket::Tcp(stream) => {
                let twin = TcpStream::from_std(stream.as_fd().try_clone_to_owned()?.into())?;
                Ok(Hangup(Box::pin(async move {
                    while !closed(&twin, twin.ready(Interest::READABLE).await, TcpStream::try_io) {}
                })))
            }
            Socket::Unix(stream) => {
                let twin = UnixStream::from_std(stream.as_fd().try_clone_to_owned()?.into())?;
                Ok(Hangup(Box::pin(async move {
                    while !closed(&twin, twin.ready(Interest::READABLE).await, UnixStream::try_io) {}
                })))
            }
        }
    }

    /// Ready when the client has closed its sending side, or the whole connection. Not polled again after that.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Hangup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hangup")
    }
}

type TryIo<S> = fn(&S, Interest, fn() -> io::Result<()>) -> io::Result<()>;

/// Whether an event reports that the client has closed. Any other event is cleared, so that the next one can be awaited.
fn closed<S>(twin: &S, event: io::Result<Ready>, try_io: TryIo<S>) -> bool {
    if !event.is_ok_and(|ready| !ready.is_read_closed()) {
        return true;
    }
    let _ = try_io(twin, Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
    false
}
