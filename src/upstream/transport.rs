//! The byte stream under one connection: TCP or TLS, counted.

use super::open_count::Opened;
use crate::wire::gathered;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// What passed over a connection. hyper says that a connection closed, not whether a part of an answer had come.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    read: AtomicU64,
    write_failed: AtomicBool,
    forgiving: AtomicBool,
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
        ready!(match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Io::Tls(io) => Pin::new(io).poll_read(cx, buf),
        })?;
        let read = (buf.filled().len() - before) as u64;
        // One task reads, so load and store need not be one step.
        self.traffic.read.store(self.traffic.read().wrapping_add(read), Relaxed);
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
