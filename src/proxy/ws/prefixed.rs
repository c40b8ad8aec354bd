//! A connection from which some bytes have been read already.

use bytes::{Buf as _, Bytes};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection, and the bytes to read first.
#[derive(Debug)]
pub(super) struct Prefixed {
    head: Bytes,
    io: TokioIo<Upgraded>,
}

impl Prefixed {
    pub(super) fn new(upgraded: Upgraded) -> Prefixed {
        Prefixed { head: Bytes::new(), io: TokioIo::new(upgraded) }
    }

    /// The connection with these bytes to be read again.
    pub(super) fn again(self, head: Bytes) -> Prefixed {
        Prefixed { head, ..self }
    }
}

impl AsyncRead for Prefixed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.head.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let length = self.head.len().min(buffer.remaining());
        buffer.put_slice(self.head.get(..length).unwrap_or_default());
        self.head.advance(length);
        if self.head.is_empty() {
            // Frees the buffer that it was a part of.
            self.head = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
