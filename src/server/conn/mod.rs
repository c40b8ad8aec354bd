//! One connection: HTTP/1 or HTTP/2, its deadlines, and its end.
//!
//! | what | until when | then |
//! |---|---|---|
//! | TLS handshake | `header_timeout` | closed |
//! | first head, preface of HTTP/2 | `header_timeout` from the start | 408 when a part has come, else closed |
//! | keep-alive, nothing received | 50 ms | parked: hyper's buffers are freed (HTTP/1) |
//! | keep-alive, nothing received | `keep_alive_timeout` | closed; GOAWAY on HTTP/2 |
//! | a later head | `header_timeout` from its first byte | 408 |
//! | a client that does not read | `write_timeout` | cut; on HTTP/2 the stream is reset |
//!
//! A client that closes its sending side while it waits for a response counts as gone. TCP cannot tell a half-close from a close,
//! and noticing at once that a client has left matters more here than serving half-closed connections.

mod drive;
mod exchange;
mod frames;
mod hangup;
mod heads;
mod http1;
mod http2;
mod io;
mod respond;
mod state;
mod streams;

use super::certificate;
use super::drain::Permit;
use super::handler::Handler;
use super::socket::{Socket, Stream};
use super::worker::Worker;
use crate::proxy::Peer;
use futures_util::future::Either;
use io::Io;
use state::ConnectionState;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// How much of a body is read or written at once over HTTP/1, and buffered for sending over HTTP/2.
const BUFFER: usize = 64 * 1024;

/// Serves one accepted socket until it closes.
pub(super) fn serve<H: Handler>(
    worker: Arc<Worker<H>>,
    socket: Socket,
    address: Option<SocketAddr>,
    permit: Permit,
) -> impl Future<Output = ()> + Send {
    if worker.tls.is_some() {
        // Boxed, as is the rest: a waiting connection should not pay for what it does not need yet.
        return Either::Left(Box::pin(serve_tls(worker, socket, address, permit)));
    }
    let peer = Peer::new(address, false);
    let state = ConnectionState::new(&worker.server);
    let io = Io::new(Stream::Plain(socket), Arc::clone(&state), permit);
    Either::Right(http1::serve(worker, io, peer, state))
}

async fn serve_tls<H: Handler>(worker: Arc<Worker<H>>, socket: Socket, address: Option<SocketAddr>, permit: Permit) {
    let Some(tls) = &worker.tls else { return };
    let handshake = Box::pin(TlsAcceptor::from(tls.config()).accept(socket));
    let stream = match timeout(worker.server.header_timeout, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
        Err(_elapsed) => return tracing::debug!("TLS handshake took too long"),
    };
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let peer = Peer::certified(address, true, shown.map(certificate::names).unwrap_or_default());
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let state = ConnectionState::new(&worker.server);
    let io = Io::new(Stream::Tls(Box::new(stream)), Arc::clone(&state), permit);
    if http2 {
        state.begin_http2();
        Box::pin(http2::serve(worker, io, peer, state)).await;
    } else {
        http1::serve(worker, io, peer, state).await;
    }
}

#[cfg(test)]
mod tests;
