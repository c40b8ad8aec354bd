//! The byte stream under one connection: TCP or TLS, counted.

use super::open_count::Opened;
use crate::wire::gathered;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

/// What passed over a connection. hyper says that a connection closed, not whether a part of an answer had come.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    read: AtomicU64,
    write_failed: AtomicBool,
    forgiving: AtomicBool,
    /// A request is about to be written: whatever has come before is no answer to it.
    begins: AtomicBool,
    /// Since when the time of the last read is noted, and that time in milliseconds from then; not at all on HTTP/1.1.
    noted: OnceLock<Instant>,
    last_read: AtomicU64,
}

impl Traffic {
    /// For HTTP/1.1: from now on a failed write is not reported, and what follows is discarded until reading ends.
    ///
    /// A provider that refuses a large upload answers 401 or 413 and closes; our next write fails while its answer
    /// lies in the receive buffer. hyper would give up at the write. Reading on finds the answer, or the same error.
    pub(super) fn forgive_writes(&self, forgiving: bool) {
        self.forgiving.store(forgiving, Relaxed);
    }

    /// Bytes that the peer has sent so far, after TLS.
    pub(super) fn read(&self) -> u64 {
        self.read.load(Relaxed)
    }

    /// For HTTP/1.1: a request is handed over. The next read, which comes before the first write of it, asks the system itself what has
    /// come. The runtime learns of that later, and bytes that lie in the socket by then would be taken for the answer.
    pub(super) fn request_begins(&self) {
        self.begins.store(true, Relaxed);
    }

    /// From now on the time of each read is noted.
    pub(super) fn note_times(&self) {
        let _ = self.noted.set(Instant::now());
    }

    /// How long nothing has come; zero where times are not noted.
    pub(super) fn silent_for(&self) -> Duration {
        let last = Duration::from_millis(self.last_read.load(Relaxed));
        self.noted.get().map_or(Duration::ZERO, |since| since.elapsed().saturating_sub(last))
    }

    fn has_read(&self, bytes: u64) {
        // One task reads, so load and store need not be one step.
        self.read.store(self.read().wrapping_add(bytes), Relaxed);
        if let Some(since) = self.noted.get() {
            let at = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.last_read.store(at, Relaxed);
        }
    }

    /// Whether the peer has stopped taking bytes.
    pub(super) fn write_failed(&self) -> bool {
        self.write_failed.load(Relaxed)
    }
}

/// One connection's bytes.
#[derive(Debug)]
pub(super) struct Transport {
    pub(super) io: Io,
    traffic: Arc<Traffic>,
    /// Counts it among those that a worker has.
    _opened: Option<Opened>,
}

#[derive(Debug)]
pub(super) enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Io {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Io::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Io::Tls(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl Transport {
    pub(super) fn plain(stream: TcpStream) -> Transport {
        Transport { io: Io::Plain(stream), traffic: Arc::default(), _opened: None }
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>) -> Transport {
        Transport { io: Io::Tls(Box::new(stream)), traffic: Arc::default(), _opened: None }
    }

    /// The same, counted until it is dropped, whatever it becomes.
    pub(super) fn counted(self, opened: Opened) -> Transport {
        Transport { _opened: Some(opened), ..self }
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self.io, Io::Tls(_))
    }

    pub(super) fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    /// The outcome of a write of `len` bytes, with a failure forgiven where that is asked for.
    fn forgive(&self, written: io::Result<usize>, len: usize) -> io::Result<usize> {
        match written {
            Err(_) if self.traffic.forgiving.load(Relaxed) => {
                self.traffic.write_failed.store(true, Relaxed);
                Ok(len)
            }
            other => other,
        }
    }

    fn is_deaf(&self) -> bool {
        self.traffic.write_failed()
    }
}

impl AsyncRead for Transport {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let mut polled = self.io.poll_read(cx, buf);
        // Two stores cost less than an exchange, and one task reads.
        if self.traffic.begins.load(Relaxed) {
            self.traffic.begins.store(false, Relaxed);
            if polled.is_pending() {
                polled = self.io.poll_early(cx, buf);
            }
        }
        ready!(polled)?;
        self.traffic.has_read((buf.filled().len() - before) as u64);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_deaf() {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = ready!(match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Io::Tls(io) => Pin::new(io).poll_write(cx, buf),
        });
        Poll::Ready(self.forgive(written, buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = bufs.iter().map(|buf| buf.len()).sum();
        if self.is_deaf() {
            return Poll::Ready(Ok(len));
        }
        if let Some(written) = gathered(bufs, |small| self.as_mut().poll_write(cx, small)) {
            return written;
        }
        let written = ready!(match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Io::Tls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        });
        Poll::Ready(self.forgive(written, len))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(io) => io.is_write_vectored(),
            Io::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_deaf() {
            return Poll::Ready(Ok(()));
        }
        let flushed = ready!(match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_flush(cx),
            Io::Tls(io) => Pin::new(io).poll_flush(cx),
        });
        Poll::Ready(self.forgive(flushed.map(|()| 0), 0).map(drop))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Io::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
