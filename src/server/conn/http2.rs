//! An HTTP/2 connection.

use super::super::handler::Handler;
use super::super::worker::Worker;
use super::BUFFER;
use super::drive::{End, LAST_CALL, drive};
use super::exchange::Exchange;
use super::io::Io;
use super::respond::{StreamReply, respond};
use super::state::ConnectionState;
use super::streams::Streams;
use crate::config::types::Server;
use crate::proxy::Peer;
use crate::proxy::headers::HeadTooLarge;
use http::{Request, header};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How many bytes of the preface (`PRI * HTTP/2`) make an HTTP/1 parser give up.
const REQUEST_LINE: usize = 12;
/// How many bytes of a request body a client may send ahead on one stream.
const STREAM_WINDOW: u32 = 128 * 1024;
/// The largest window there is (RFC 9113 6.9.1).
const MAX_WINDOW: u32 = (1 << 31) - 1;
const PING_INTERVAL: Duration = Duration::from_secs(25);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// A larger head is still read up to this size, so that it can be refused with an envelope.
const LARGE_HEAD: usize = 256 * 1024;
/// Overhead of each field in the size of a header list, beside its name and value.
const FIELD: usize = 32;
/// How many streams the client may reset before they were handled, and how many we may reset because of errors in them, before
/// the connection is closed: floods of either cost the gateway more than the client (rapid reset, MadeYouReset).
const MAX_RESETS: usize = 20;
const MAX_ERROR_RESETS: usize = 256;

pub(super) async fn serve<H: Handler>(
    worker: Arc<Worker<H>>,
    mut io: Io,
    peer: Arc<Peer>,
    state: Arc<ConnectionState>,
) {
    io.speak_http2();
    let streams = Streams::of(Arc::clone(&peer), Arc::clone(&state), worker.server.write_timeout);
    let service = service_fn(|mut request| {
        if is_too_large(&request, &worker.server) {
            let _ = request.extensions_mut().insert(HeadTooLarge);
        }
        let exchange = Exchange::new(&state, Some(streams.begins()));
        // h2 keeps a stream's future for as long as the response lasts. Because it is boxed, only the body is kept.
        let response = Box::pin(respond(Arc::clone(&worker.handler), exchange, Arc::clone(&peer), request));
        async { Ok::<_, Infallible>(response.await.map(StreamReply)) }
    });
    let connection = builder(&worker, streams.clone()).serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    let end = drive(connection.as_mut(), &worker, &state, None).await;
    if let End::Flooded = end {
        tracing::debug!("connection ended: too many of its streams were reset at once");
    }
    if let End::Silent = end {
        // Idle for too long: send GOAWAY, and close unless a request is already on its way.
        connection.as_mut().graceful_shutdown();
        state.last_call(LAST_CALL);
        let _ = drive(connection, &worker, &state, None).await;
    }
}

fn builder<H>(worker: &Worker<H>, streams: Streams) -> http2::Builder<Streams> {
    let server = &worker.server;
    let mut builder = http2::Builder::new(streams);
    let _ = builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(server.http2_max_streams)
        // Streams whose bodies are not read are bounded by their own windows, and leave the connection window to the others.
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW.saturating_mul(server.http2_max_streams).min(MAX_WINDOW))
        // A head that is too large is rejected like any other bad request, up to `LARGE_HEAD`: the library's own rejection is a
        // bare status, which gRPC clients cannot read.
        .max_header_list_size(
            u32::try_from(server.max_header_bytes.saturating_mul(2).max(LARGE_HEAD)).unwrap_or(u32::MAX),
        )
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .max_send_buf_size(BUFFER)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Whether the header section is larger than allowed, as HTTP/2 counts it (RFC 9113 6.5.2). A cookie that was split into several
/// fields counts as one.
fn is_too_large<B>(request: &Request<B>, server: &Server) -> bool {
    let headers = request.headers();
    let is_many = headers.len() > server.max_headers && {
        let crumbs = headers.get_all(header::COOKIE).iter().count();
        headers.len() - crumbs.saturating_sub(1) > server.max_headers
    };
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let fields = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD).sum::<usize>();
    is_many || target + fields > server.max_header_bytes
}

/// Whether the bytes that could not be parsed are the HTTP/2 preface, or a part of it.
pub(super) fn is_preface(unread: &[u8]) -> bool {
    unread.len() >= REQUEST_LINE && PREFACE.starts_with(&unread[..unread.len().min(PREFACE.len())])
}
