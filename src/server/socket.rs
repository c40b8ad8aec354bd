//! A connected socket of either kind, with or without TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

/// A connected socket.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connected socket that is registered with no runtime, on its way from one worker to another.
#[derive(Debug)]
pub(super) enum Unregistered {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Socket {
    /// Deregisters the socket from the runtime that accepted it.
    pub(super) fn unregister(self) -> io::Result<Unregistered> {
        match self {
            Socket::Tcp(stream) => stream.into_std().map(Unregistered::Tcp),
            Socket::Unix(stream) => stream.into_std().map(Unregistered::Unix),
        }
    }
}

impl Unregistered {
    /// Registers the socket with the current runtime.
    pub(super) fn register(self) -> io::Result<Socket> {
        match self {
            Unregistered::Tcp(stream) => TcpStream::from_std(stream).map(Socket::Tcp),
            Unregistered::Unix(stream) => UnixStream::from_std(stream).map(Socket::Unix),
        }
    }
}

/// A socket, with or without TLS. One type, so that hyper is compiled once.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// Forwards the two I/O traits to the variant.
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
