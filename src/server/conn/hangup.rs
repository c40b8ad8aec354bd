//! Notices that a client has left while nobody reads what it sent.

use super::super::socket::Socket;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A second registration of the same socket. That of the socket itself stays ready as long as bytes lie unread, and would tell nothing
/// more; this one is cleared after each event, and the next says whether the client has closed.
#[derive(Debug)]
pub(super) struct Hangup(AsyncFd<OwnedFd>);

impl Hangup {
    pub(super) fn watch(socket: &Socket) -> io::Result<Hangup> {
        let socket = match socket {
            Socket::Tcp(stream) => stream.as_fd(),
            Socket::Unix(stream) => stream.as_fd(),
        };
        AsyncFd::with_interest(socket.try_clone_to_owned()?, Interest::READABLE).map(Hangup)
    }

    /// Ready when the client has closed its sending side, or the whole connection.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Ok(mut events) = ready!(self.0.poll_read_ready(cx)) else { return Poll::Ready(()) };
            if events.ready().is_read_closed() {
                return Poll::Ready(());
            }
            events.clear_ready();
        }
    }
}
