//! The socket of one connection, with or without TLS, what it tells the connection's [`Pulse`], and the interim answers that it
//! writes between hyper's bytes.

use super::drain::Permit;
use super::pulse::Pulse;
use crate::wire::gathered;
use bytes::{Buf, Bytes};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

/// A connected socket.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A socket, with or without TLS. One type, so that hyper is compiled once.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// What hyper reads from and writes to.
#[derive(Debug)]
pub(super) struct Io {
    stream: Stream,
    pulse: Arc<Pulse>,
    /// Bytes that were read already and have to be read once more.
    rewound: Bytes,
    /// What is left to write of interim answers that have been begun.
    interim: Bytes,
    _permit: Permit,
}

impl Io {
    /// Watches a stream.
    pub(super) fn new(stream: Stream, pulse: Arc<Pulse>, permit: Permit) -> Io {
        Io { stream, pulse, rewound: Bytes::new(), interim: Bytes::new(), _permit: permit }
    }

    /// Puts bytes back in front of what comes next.
    pub(super) fn rewind(&mut self, bytes: Bytes) {
        self.rewound = bytes;
    }

    /// Ready when there is something to read, or the end.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.rewound.is_empty() {
            return Poll::Ready(());
        }
        let ready = match self.socket() {
            Socket::Tcp(stream) => stream.poll_read_ready(cx),
            Socket::Unix(stream) => stream.poll_read_ready(cx),
        };
        ready.map(drop)
    }

    fn socket(&self) -> &Socket {
        match &self.stream {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Whether hyper's own answer was written, and kept back; then says what the status was.
    fn withhold(&self, start: &[u8]) -> bool {
        if !self.pulse.writes_by_itself() {
            return false;
        }
        // hyper's own answers are `HTTP/1.1 400 Bad Request` and such, in one write.
        let status =
            start.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|digits| digits.parse().ok());
        self.pulse.withhold(status.unwrap_or(400));
        true
    }

    /// Writes the rest of interim answers that have been begun.
    fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.interim.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(cx, &self.interim);
            match ready!(self.note_write(written))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.interim.advance(written),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the interim answers that wait. Only while hyper flushes, and so has nothing of its own half-written: whatever
    /// went before is whole, and the final answer has not begun, because it waits for them.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_begun(cx))?;
            match self.pulse.outbox.take() {
                Some(interim) => self.interim = interim,
                None => return Poll::Ready(Ok(())),
            }
        }
    }

    fn note_write<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &result {
            Poll::Ready(_) => self.pulse.written(),
            Poll::Pending => self.pulse.write_blocked(),
        }
        result
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        if !self.pulse.is_open_ended() {
            return;
        }
        // The caller takes the end of the connection for the end of the answer, which it is not: only a reset tells.
        if let Socket::Tcp(stream) = self.socket() {
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.rewound.is_empty() {
            let length = self.rewound.len().min(buf.remaining());
            buf.put_slice(&self.rewound[..length]);
            self.rewound.advance(length);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.pulse.received(buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.withhold(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        ready!(self.poll_begun(cx))?;
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note_write(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.withhold(bufs.first().map_or(&[], |buf| &**buf)) {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        ready!(self.poll_begun(cx))?;
        let small = gathered(bufs, |small| Pin::new(&mut self.stream).poll_write(cx, small));
        let result = small.unwrap_or_else(|| Pin::new(&mut self.stream).poll_write_vectored(cx, bufs));
        self.note_write(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_interim(cx))?;
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        if result.is_ready() {
            // hyper only flushes the socket once its own buffer is empty.
            self.pulse.flushed();
        }
        self.note_write(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pulse.withheld().is_some() {
            // The answer is still owed.
            return Poll::Ready(Ok(()));
        }
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.note_write(result)
    }
}

/// Passes the two traits on to whichever variant it is.
macro_rules! delegate {
    ($name:ident: $first:ident, $second:ident) => {
        impl AsyncRead for $name {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $name::$first(stream) => Pin::new(stream).poll_read(cx, buf),
                    $name::$second(stream) => Pin::new(stream).poll_read(cx, buf),
                }
            }
        }

        impl AsyncWrite for $name {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $name::$first(stream) => Pin::new(stream).poll_write(cx, buf),
                    $name::$second(stream) => Pin::new(stream).poll_write(cx, buf),
                }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $name::$first(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
                    $name::$second(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
                }
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    $name::$first(stream) => stream.is_write_vectored(),
                    $name::$second(stream) => stream.is_write_vectored(),
                }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $name::$first(stream) => Pin::new(stream).poll_flush(cx),
                    $name::$second(stream) => Pin::new(stream).poll_flush(cx),
                }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $name::$first(stream) => Pin::new(stream).poll_shutdown(cx),
                    $name::$second(stream) => Pin::new(stream).poll_shutdown(cx),
                }
            }
        }
    };
}

delegate!(Socket: Tcp, Unix);
delegate!(Stream: Plain, Tls);
