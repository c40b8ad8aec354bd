//! The socket of one connection, with or without TLS. It reports to the [`ConnectionState`], and writes informational responses
//! between hyper's bytes.

use super::super::drain::Permit;
use super::super::socket::{Socket, Stream};
use super::frames::Frames;
use super::hangup::Hangup;
use super::heads::Heads;
use super::state::ConnectionState;
use crate::wire::gathered;
use bytes::{Buf, Bytes};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What hyper reads from and writes to.
#[derive(Debug)]
pub(super) struct Io {
    stream: Stream,
    state: Arc<ConnectionState>,
    /// Bytes that were put back, to be read again.
    rewound: Bytes,
    /// The rest of informational responses that are partly written.
    informational: Bytes,
    /// Set while nothing else would notice that the client has closed.
    hangup: Option<Box<Hangup>>,
    /// The position in what the client sends. Boxed, because many connections are idle.
    place: Box<Place>,
    _permit: Permit,
}

/// Where the client's bytes stand in their protocol.
#[derive(Debug)]
enum Place {
    /// HTTP/1 requests.
    Heads(Heads),
    /// HTTP/2 frames.
    Frames(Frames),
}

impl Io {
    /// Wraps a stream.
    pub(super) fn new(stream: Stream, state: Arc<ConnectionState>, permit: Permit) -> Io {
        Io {
            stream,
            state,
            rewound: Bytes::new(),
            informational: Bytes::new(),
            hangup: None,
            place: Box::new(Place::Heads(Heads::new())),
            _permit: permit,
        }
    }

    /// Puts bytes back, to be read again first.
    pub(super) fn rewind(&mut self, bytes: Bytes) {
        self.rewound = bytes;
    }

    /// From here on the client sends the HTTP/2 preface and frames.
    pub(super) fn speak_http2(&mut self) {
        *self.place = Place::Frames(Frames::new());
    }

    /// Frees what only a running request needs.
    pub(super) fn rest(&mut self) {
        self.hangup = None;
    }

    /// Ready when there are bytes to read, or the end of the stream.
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

    /// Whether these bytes are a response of hyper's own, which is withheld and its status recorded.
    fn withhold(&self, start: &[u8]) -> bool {
        if !self.state.writes_by_itself() {
            return false;
        }
        // hyper writes its own responses, `HTTP/1.1 400 Bad Request` and the like, in one call.
        let status =
            start.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|digits| digits.parse().ok());
        self.state.withhold(status.unwrap_or(400));
        true
    }

    /// Writes the rest of informational responses that are partly written.
    fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.informational.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(cx, &self.informational);
            match ready!(self.note_write(written))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.informational.advance(written),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the queued informational responses. Only while hyper flushes and has nothing half-written: everything before is
    /// then complete, and the final response has not begun, because it waits for these.
    fn poll_informational(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_begun(cx))?;
            match self.state.outbox.take() {
                Some(heads) => self.informational = heads,
                None => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Fails when the client has closed and hyper does not read.
    fn poll_hangup(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if !self.state.overlooks_client() {
            return Ok(());
        }
        if self.hangup.is_none() {
            // Without a free descriptor the close is noticed later.
            self.hangup = Hangup::watch(self.socket()).ok().map(Box::new);
        }
        match self.hangup.as_mut().map(|hangup| hangup.poll(cx)) {
            Some(Poll::Ready(())) => Err(io::ErrorKind::ConnectionReset.into()),
            _ => Ok(()),
        }
    }

    fn note_read(&mut self, bytes: &[u8]) {
        match &mut *self.place {
            Place::Frames(frames) => self.state.frames_end(frames.read(bytes)),
            Place::Heads(heads) if !self.state.is_upgraded() => {
                if let Some(number) = heads.read(bytes) {
                    self.state.set_framed_twice(number);
                }
            }
            Place::Heads(_) => {}
        }
        self.state.received(bytes);
    }

    fn note_write<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &result {
            Poll::Ready(_) => self.state.written(),
            Poll::Pending => self.state.write_blocked(),
        }
        result
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        if !self.state.is_open_ended() {
            return;
        }
        // The client would take the end of the connection for the end of the response; only a reset shows that it is not.
        if let Socket::Tcp(stream) = self.socket() {
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.rewound.is_empty() {
            let length = self.rewound.len().min(buf.remaining());
            let again = self.rewound.split_to(length);
            buf.put_slice(&again);
            // HTTP/1 bytes were scanned when they first arrived.
            if matches!(*self.place, Place::Frames(_)) {
                self.note_read(&again);
            } else {
                self.state.received(&again);
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.state.read(read.is_pending());
        ready!(read)?;
        self.note_read(&buf.filled()[before..]);
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
        // hyper flushes whenever it is polled, after it has read what it wants.
        self.poll_hangup(cx)?;
        ready!(self.poll_informational(cx))?;
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        if result.is_ready() {
            // hyper only flushes the socket once its own buffer is empty.
            self.state.flushed();
        }
        self.note_write(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state.withheld().is_some() {
            // A response is still due.
            return Poll::Ready(Ok(()));
        }
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.note_write(result)
    }
}
