//! Whether a connection that carries nothing is still open, and how it gets to another runtime.
//!
//! hyper would notice a close by itself, but a warm connection has no hyper yet. What the peer may send before it was asked is TLS's
//! own, tickets of sessions above all, which are kept; and over HTTP/2 its settings. Anything else before the first request, such as a
//! 408 of HTTP/1.1, comes before a close. The same holds between two requests on one connection of HTTP/1.1.

use super::transport::{Io, Transport};
use rustls::ClientConnection;
use std::io::{self, ErrorKind, Read};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::TcpStream;

impl Transport {
    /// Ready when the peer has closed, or says what it must not; the caller is woken then.
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>, http2: bool) -> Poll<()> {
        loop {
            let closed = match &mut self.io {
                Io::Plain(tcp) => {
                    if ready!(tcp.poll_read_ready(cx)).is_err() {
                        return Poll::Ready(());
                    }
                    let peeked = tcp.try_io(Interest::READABLE, || peek(tcp));
                    let waits = matches!(&peeked, Ok(1..)) && http2;
                    if waits {
                        return Poll::Pending;
                    }
                    is_end(&peeked)
                }
                Io::Tls(tls) => {
                    let (tcp, session) = tls.get_mut();
                    if ready!(tcp.poll_read_ready(cx)).is_err() {
                        return Poll::Ready(());
                    }
                    has_ended(session, &mut Tried(tcp), http2)
                }
            };
            if closed {
                return Poll::Ready(());
            }
        }
    }

    /// The same connection on the runtime that calls this; none when the peer has closed it, as a read finds out.
    pub(super) fn move_here(mut self, http2: bool) -> Option<Transport> {
        self.io = match self.io {
            Io::Plain(tcp) => {
                let socket = tcp.into_std().ok()?;
                let peeked = peek(&socket);
                if is_end(&peeked) && !(http2 && matches!(peeked, Ok(1..))) {
                    return None;
                }
                Io::Plain(TcpStream::from_std(socket).ok()?)
            }
            Io::Tls(mut tls) => {
                let (tcp, session) = tls.get_mut();
                // The stream of TLS cannot be taken apart, so its socket is put in again under another number.
                let mut socket = std::net::TcpStream::from(tcp.as_fd().try_clone_to_owned().ok()?);
                if has_ended(session, &mut socket, http2) {
                    return None;
                }
                *tcp = TcpStream::from_std(socket).ok()?;
                Io::Tls(tls)
            }
        };
        Some(self)
    }
}

impl Io {
    /// Reads what has come on a connection that carries nothing, whether the runtime has been told of it or not.
    pub(super) fn poll_early(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Io::Plain(tcp) => {
                let peeked = peek(tcp);
                if !is_end(&peeked) {
                    return Poll::Pending;
                }
                // Nothing at all is the end.
                if peeked? > 0 {
                    let read = (&*socket2::SockRef::from(&*tcp)).read(buf.initialize_unfilled())?;
                    buf.advance(read);
                }
                Poll::Ready(Ok(()))
            }
            Io::Tls(tls) => {
                let (tcp, session) = tls.get_mut();
                let ended = has_ended(session, &mut &*socket2::SockRef::from(&*tcp), true);
                let holds_text = session.process_new_packets().is_ok_and(|state| state.plaintext_bytes_to_read() > 0);
                match (holds_text, ended) {
                    (true, _) => Pin::new(tls).poll_read(cx, buf),
                    (false, true) => Poll::Ready(Ok(())),
                    (false, false) => Poll::Pending,
                }
            }
        }
    }
}

/// Takes in what has come on a connection of TLS.
fn has_ended(session: &mut ClientConnection, socket: &mut dyn Read, http2: bool) -> bool {
    loop {
        match session.read_tls(socket) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return true,
        }
        match session.process_new_packets() {
            Ok(state) if !state.peer_has_closed() && (http2 || state.plaintext_bytes_to_read() == 0) => {}
            Ok(_) | Err(_) => return true,
        }
    }
}

/// How many bytes have come, of which none is taken; at most one is looked at.
fn peek<'s, S: AsFd>(socket: &'s S) -> io::Result<usize>
where
    socket2::SockRef<'s>: From<&'s S>,
{
    socket2::SockRef::from(socket).peek(&mut [MaybeUninit::uninit()])
}

/// Nothing has to have come on a connection without TLS.
fn is_end(peeked: &io::Result<usize>) -> bool {
    !peeked.as_ref().is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted))
}

/// A socket whose runtime is told when there is nothing more to read.
struct Tried<'s>(&'s TcpStream);

impl Read for Tried<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buf)
    }
}
