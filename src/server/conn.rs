//! One connection: HTTP/1 or HTTP/2, its deadlines, and its end.
//!
//! | what | until when | then |
//! |---|---|---|
//! | TLS handshake | `header_timeout` | closed |
//! | first head, preface of HTTP/2 | `header_timeout` from the start | 408 when a part has come, else closed |
//! | nothing on a connection that is kept alive | 50 ms | rests: hyper's buffers are let go (HTTP/1) |
//! | the same | `keep_alive_timeout` | closed; GOAWAY on HTTP/2 |
//! | a later head | `header_timeout` from its first byte | 408 |
//! | a caller that does not read | `write_timeout` | cut; on HTTP/2 the stream is reset |
//!
//! A caller that closes its sending side while it waits for an answer counts as gone: with TCP the two cannot be told apart,
//! and to notice at once that a caller has left is worth more here than to serve half-closed connections.

use super::Worker;
use super::drain::Permit;
use super::io::{Io, Socket, Stream};
use super::pulse::Pulse;
use super::refuse::{self, linger, refuse};
use super::stack::{Handler, answer};
use super::streams::Streams;
use crate::canon::Fault;
use crate::proxy::Peer;
use crate::upstream::TaskWaker;
use futures_util::future::Either;
use hyper::rt::{Sleep, Timer};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::task::coop::unconstrained;
use tokio::time::{sleep_until, timeout};
use tokio_rustls::TlsAcceptor;

const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How much of the preface (`PRI * HTTP/2`) makes a parser of HTTP/1 give up.
const HTTP2_REQUEST_LINE: usize = 12;
/// How much of a body is read or written at once on HTTP/1.
const BUFFER: usize = 64 * 1024;
/// hyper keeps this many header fields without allocating.
const HYPER_HEADERS: usize = 100;
const PING_INTERVAL: Duration = Duration::from_secs(25);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Streams that callers reset before they were looked at, and streams that we reset because of errors in them, before the
/// connection is ended: floods of either cost us more than the caller (rapid reset, MadeYouReset).
const MAX_RESETS: usize = 20;
const MAX_ERROR_RESETS: usize = 256;
/// How long a connection without a request may still send one once draining has begun, and how long HTTP/2 may take to close.
const LAST_CALL: Duration = Duration::from_secs(1);

/// Serves one accepted socket until it closes.
pub(super) fn serve<H: Handler>(
    worker: Arc<Worker<H>>,
    socket: Socket,
    address: Option<SocketAddr>,
    permit: Permit,
) -> impl Future<Output = ()> + Send {
    let peer = Peer::new(address, worker.tls.is_some());
    if worker.tls.is_some() {
        // Boxed, and what follows it as well: a connection that waits pays for nothing that it does not need then.
        return Either::Left(Box::pin(serve_tls(worker, socket, peer, permit)));
    }
    let pulse = Pulse::new(&worker.server);
    let io = Io::new(Stream::Plain(socket), Arc::clone(&pulse), permit);
    Either::Right(serve_http1(worker, io, peer, pulse))
}

async fn serve_tls<H: Handler>(worker: Arc<Worker<H>>, socket: Socket, peer: Arc<Peer>, permit: Permit) {
    let Some(tls) = &worker.tls else { return };
    let handshake = Box::pin(TlsAcceptor::from(tls.config()).accept(socket));
    let stream = match timeout(worker.server.header_timeout, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
        Err(_elapsed) => return tracing::debug!("TLS handshake took too long"),
    };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let pulse = Pulse::new(&worker.server);
    let io = Io::new(Stream::Tls(Box::new(stream)), Arc::clone(&pulse), permit);
    if http2 {
        pulse.begin_http2(0);
        Box::pin(serve_http2(worker, io, peer, pulse)).await;
    } else {
        serve_http1(worker, io, peer, pulse).await;
    }
}

/// Serves a connection of HTTP/1, and rests between requests that are far apart.
#[expect(
    clippy::manual_async_fn,
    reason = "an async function has room for its arguments twice, and a connection that waits pays"
)]
fn serve_http1<H: Handler>(
    worker: Arc<Worker<H>>,
    mut io: Io,
    peer: Arc<Peer>,
    pulse: Arc<Pulse>,
) -> impl Future<Output = ()> + Send {
    async move {
        // Boxed, and gone while nothing is asked: hyper keeps some 16 KiB for a connection that waits.
        while let Some((resting, until)) = Box::pin(serve_requests(&worker, io, &peer, &pulse)).await {
            io = resting;
            if !rest(&worker, &io, until).await {
                return;
            }
        }
    }
}

/// Waits for the next request, until the connection is closed for being idle; false when none comes in time, or none is wanted
/// any more.
async fn rest<H>(worker: &Worker<H>, io: &Io, until: Option<tokio::time::Instant>) -> bool {
    let over = async {
        match until {
            Some(until) => sleep_until(until).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        // What that brings, or that it brings the end, is for hyper to find out.
        () = poll_fn(|cx| io.poll_readable(cx)) => true,
        () = worker.drain.begun() => false,
        () = over => false,
    }
}

/// Serves requests until the connection ends, or nothing has been asked for some time.
async fn serve_requests<H: Handler>(
    worker: &Arc<Worker<H>>,
    io: Io,
    peer: &Arc<Peer>,
    pulse: &Arc<Pulse>,
) -> Option<(Io, Option<tokio::time::Instant>)> {
    let service = service_fn(|request| {
        // hyper keeps room for this future as long as the connection lives: boxed, an idle one does not pay for it.
        let answer = Box::pin(answer(Arc::clone(&worker.handler), pulse.exchange(None), Arc::clone(peer), request));
        async { Ok::<_, Infallible>(answer.await) }
    });
    let mut connection = http1_builder(worker, pulse).serve_connection(TokioIo::new(io), service).with_upgrades();
    let end = drive(Pin::new(&mut connection), worker, pulse, Some(&peer.bell)).await;
    // A WebSocket goes on without this task.
    peer.bell.clear_owner();
    if matches!(end, End::Stalled) {
        // Before the answer is dropped, which asks.
        peer.stalled.store(true, Ordering::Relaxed);
    }
    // hyper's part of it goes, and with it what is known of the deadline.
    let until = pulse.deadline();
    // Upgraded connections belong to whoever upgraded them.
    let parts = connection.into_parts()?;
    let (mut io, unread) = (parts.io.into_inner(), parts.read_buf);
    let fault = match end {
        End::Resting => {
            // Empty, it would still keep hyper's buffer.
            if !unread.is_empty() {
                io.rewind(unread);
            }
            return Some((io, until));
        }
        End::Served(Ok(())) => {
            if pulse.has_body_unread() || !unread.is_empty() {
                linger(&mut io).await;
            }
            return None;
        }
        // A refused request line that is the beginning of the preface of HTTP/2, whole or in part, is no error.
        End::Served(Err(_)) if speaks_http2(&unread) => {
            io.rewind(unread.clone());
            pulse.begin_http2(unread.len());
            Box::pin(serve_http2(Arc::clone(worker), io, Arc::clone(peer), Arc::clone(pulse))).await;
            return None;
        }
        End::Served(Err(error)) => match pulse.withheld() {
            Some(status) => refuse::fault(status, &unread, worker.server.max_target_bytes),
            None => {
                tracing::debug!(%error, "connection ended");
                return None;
            }
        },
        End::Stalled => return None,
        End::Silent if unread.is_empty() => return None,
        End::Silent => Fault::RequestHeadTimeout,
    };
    pulse.settle();
    refuse(&mut io, worker.handler.refusal(peer.address, fault)).await;
    None
}

async fn serve_http2<H: Handler>(worker: Arc<Worker<H>>, io: Io, peer: Arc<Peer>, pulse: Arc<Pulse>) {
    let streams = Streams::of(Arc::clone(&peer), worker.server.write_timeout);
    let service = service_fn(|request| {
        let exchange = pulse.exchange(Some(streams.begins()));
        // A stream keeps its future as long as its answer lasts: boxed, it only keeps the body.
        let answer = Box::pin(answer(Arc::clone(&worker.handler), exchange, Arc::clone(&peer), request));
        async { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http2_builder(&worker, streams.clone()).serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    if let End::Silent = drive(connection.as_mut(), &worker, &pulse, None).await {
        // Nothing has been asked for in a long time: say so, and leave unless a request crosses that.
        connection.as_mut().graceful_shutdown();
        pulse.last_call(LAST_CALL);
        let _ = drive(connection, &worker, &pulse, None).await;
    }
}

fn http1_builder<H>(worker: &Worker<H>, pulse: &Arc<Pulse>) -> http1::Builder {
    let server = &worker.server;
    let mut builder = http1::Builder::new();
    let _ = builder
        .timer(HeadTimer(Arc::clone(pulse)))
        // Only there to have hyper ask the timer; the deadlines are the pulse's.
        .header_read_timeout(server.header_timeout)
        .max_header_size(server.max_header_bytes)
        .max_buf_size(BUFFER.max(server.max_header_bytes));
    if server.max_headers != HYPER_HEADERS {
        let _ = builder.max_headers(server.max_headers);
    }
    builder
}

fn http2_builder<H>(worker: &Worker<H>, streams: Streams) -> http2::Builder<Streams> {
    let server = &worker.server;
    let mut builder = http2::Builder::new(streams);
    let _ = builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(server.http2_max_streams)
        .max_header_list_size(u32::try_from(server.max_header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .max_send_buf_size(BUFFER)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Whether what could not be parsed is the preface of HTTP/2, as far as it has come.
fn speaks_http2(unread: &[u8]) -> bool {
    unread.len() >= HTTP2_REQUEST_LINE && HTTP2_PREFACE.starts_with(&unread[..unread.len().min(HTTP2_PREFACE.len())])
}

/// How a connection ended.
enum End {
    /// hyper is done with it.
    Served(hyper::Result<()>),
    /// A head, or the next request, did not come in time.
    Silent,
    /// The next request has not come at once.
    Resting,
    /// The caller did not read in time.
    Stalled,
}

/// What both kinds of connection can do.
trait Connection: Future<Output = hyper::Result<()>> {
    fn end_gracefully(self: Pin<&mut Self>);
}

impl<I, B, S> Connection for http1::UpgradeableConnection<I, S>
where
    Self: Future<Output = hyper::Result<()>>,
    S: hyper::service::HttpService<
            hyper::body::Incoming,
            ResBody = B,
            Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        >,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    fn end_gracefully(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, B, S, E> Connection for http2::Connection<I, S, E>
where
    Self: Future<Output = hyper::Result<()>>,
    S: hyper::service::HttpService<
            hyper::body::Incoming,
            ResBody = B,
            Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        >,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    fn end_gracefully(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Polls a connection to its end, watching its deadlines and the drain. It is woken by the bell, if there is one.
async fn drive<H>(
    mut connection: Pin<&mut impl Connection>,
    worker: &Worker<H>,
    pulse: &Pulse,
    bell: Option<&Arc<TaskWaker>>,
) -> End {
    let ring = bell.map(|bell| Waker::from(Arc::clone(bell)));
    let mut draining = pin!(worker.drain.begun());
    let mut drain = Told::Nothing;
    let mut timer = pin!(tokio::time::sleep(worker.server.header_timeout));
    if let Some(bell) = bell {
        // Once: the waker of a task stays the same.
        poll_fn(|cx| {
            bell.set_owner(cx.waker());
            Poll::Ready(())
        })
        .await;
    }
    poll_fn(|cx| {
        let mut served_by = Context::from_waker(ring.as_ref().unwrap_or(cx.waker()));
        if let Poll::Ready(served) = connection.as_mut().poll(&mut served_by) {
            return Poll::Ready(End::Served(served));
        }
        // Polled once, for the same reason, and after it has been woken the flag tells.
        if drain == Told::Nothing && draining.as_mut().poll(cx).is_pending() {
            drain = Told::Registered;
        }
        if drain < Told::LastCall && worker.drain.has_begun() {
            drain = Told::LastCall;
            // A connection that was accepted just now has a request on its way.
            if pulse.is_fresh() {
                pulse.hurry(LAST_CALL);
            }
        }
        // hyper ends an idle connection at once, even when it has half a head: that one is waited for.
        if drain == Told::LastCall && !pulse.expects_request() {
            drain = Told::Ending;
            connection.as_mut().end_gracefully();
            // Without another wake-up nobody would look at what that has changed.
            if let Poll::Ready(served) = connection.as_mut().poll(&mut served_by) {
                return Poll::Ready(End::Served(served));
            }
        }
        while let Some(deadline) = pulse.deadline() {
            let rests = pulse.rests_at();
            let next = rests.unwrap_or(deadline).min(deadline);
            if timer.deadline() > next || timer.is_elapsed() {
                timer.as_mut().reset(next);
            }
            // What is served may have used up the turn of this task.
            if pin!(unconstrained(timer.as_mut())).poll(cx).is_pending() {
                break;
            }
            if pulse.write_is_late() {
                return Poll::Ready(End::Stalled);
            }
            let now = tokio::time::Instant::now();
            if pulse.deadline().is_some_and(|deadline| deadline <= now) {
                return Poll::Ready(End::Silent);
            }
            if rests.is_some_and(|at| at <= now) {
                return Poll::Ready(End::Resting);
            }
        }
        Poll::Pending
    })
    .await
}

/// What a connection knows of the drain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Nothing,
    Registered,
    LastCall,
    Ending,
}

/// Tells the pulse when hyper begins and ceases to wait for a head on HTTP/1; the sleep itself never ends.
struct HeadTimer(Arc<Pulse>);

impl Timer for HeadTimer {
    fn sleep(&self, _: Duration) -> Pin<Box<dyn Sleep>> {
        self.0.await_head();
        Box::pin(HeadWait(Arc::clone(&self.0)))
    }

    fn sleep_until(&self, _: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(Duration::MAX)
    }

    fn reset(&self, _: &mut Pin<Box<dyn Sleep>>, _: Instant) {
        self.0.await_head();
    }
}

struct HeadWait(Arc<Pulse>);

impl Future for HeadWait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Sleep for HeadWait {}

impl Drop for HeadWait {
    fn drop(&mut self) {
        self.0.head_complete();
    }
}
