//! An HTTP/1 connection: consecutive requests, idle periods without hyper's buffers, and responses to input that hyper could not
//! parse.

use super::super::handler::Handler;
use super::super::refuse::{self, close, linger, refuse};
use super::super::worker::Worker;
use super::drive::{End, drive};
use super::exchange::Exchange;
use super::io::Io;
use super::respond::respond;
use super::state::{ConnectionState, is_blank};
use super::{BUFFER, http2};
use crate::canon::Fault;
use crate::proxy::Peer;
use hyper::rt::{Sleep, Timer};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::sleep_until;

/// hyper keeps this many header fields without allocating.
const HYPER_HEADERS: usize = 100;

/// Serves an HTTP/1 connection, and frees hyper's buffers while the connection is idle.
#[expect(
    clippy::manual_async_fn,
    reason = "an async function has room for its arguments twice: 928 bytes for a connection that waits, not 640 (tests/sizes.rs)"
)]
pub(super) fn serve<H: Handler>(
    worker: Arc<Worker<H>>,
    mut io: Io,
    peer: Arc<Peer>,
    state: Arc<ConnectionState>,
) -> impl Future<Output = ()> + Send {
    async move {
        // Boxed, and dropped while idle: hyper keeps about 16 KiB for a connection that waits.
        while let Some(resting) = Box::pin(serve_requests(&worker, io, &peer, &state)).await {
            io = resting;
            if !rest(&worker, &io, &state).await {
                return;
            }
        }
    }
}

/// Waits for the next request. False when none arrives before the idle timeout, or the gateway drains.
async fn rest<H>(worker: &Worker<H>, io: &Io, state: &ConnectionState) -> bool {
    let over = async {
        match state.deadline() {
            Some(until) => sleep_until(until).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        // hyper finds out whether these are bytes or the end.
        () = poll_fn(|cx| io.poll_readable(cx)) => true,
        () = worker.drain.begun() => false,
        () = over => false,
    }
}

/// Serves requests until the connection ends or has been idle for some time.
async fn serve_requests<H: Handler>(
    worker: &Arc<Worker<H>>,
    io: Io,
    peer: &Arc<Peer>,
    state: &Arc<ConnectionState>,
) -> Option<Io> {
    let service = service_fn(|request| {
        // hyper reserves space for this future for the life of the connection; boxed, an idle connection does not pay for it.
        let exchange = Exchange::new(state, None);
        let response = Box::pin(respond(Arc::clone(&worker.handler), exchange, Arc::clone(peer), request));
        async { Ok::<_, Infallible>(response.await) }
    });
    let mut connection = builder(worker, state).serve_connection(TokioIo::new(io), service).with_upgrades();
    let end = drive(Pin::new(&mut connection), worker, state, Some(&peer.waker)).await;
    // A WebSocket continues in another task.
    peer.waker.clear_owner();
    if matches!(end, End::Stalled) {
        // Before the response is dropped, because dropping it reads this.
        peer.stalled.store(true, Ordering::Relaxed);
    }
    // Read before hyper's connection is dropped, which would reset it.
    let until = state.deadline();
    // An upgraded connection belongs to the code that upgraded it.
    let parts = connection.into_parts()?;
    let (mut io, unread) = (parts.io.into_inner(), parts.read_buf);
    let fault = match end {
        End::Resting => {
            // A partial head arrived together with the previous request. hyper reads it again, so that it counts as arriving and
            // gets a deadline. hyper would keep its buffer for an empty one, too.
            if !is_blank(&unread) {
                io.rewind(unread);
            }
            io.rest();
            until.inspect(|until| state.resume_idle(*until));
            return Some(io);
        }
        End::Served(Ok(())) => {
            if state.has_body_unread() || !unread.is_empty() {
                linger(&mut io).await;
            }
            return None;
        }
        // A refused request line that is (a part of) the HTTP/2 preface is not an error.
        End::Served(Err(_)) if http2::is_preface(&unread) => {
            io.rewind(unread);
            state.begin_http2();
            Box::pin(http2::serve(Arc::clone(worker), io, Arc::clone(peer), Arc::clone(state))).await;
            return None;
        }
        End::Served(Err(error)) => match state.withheld() {
            Some(status) => refuse::fault(status, &unread, worker.server.max_target_bytes),
            None => {
                tracing::debug!(%error, "connection ended");
                // The response was cut: what was sent before the cut must still reach the client.
                if error.is_user() && !state.is_open_ended() {
                    close(&mut io, state.has_body_unread() || !unread.is_empty()).await;
                }
                return None;
            }
        },
        End::Stalled | End::Flooded => return None,
        End::Silent if is_blank(&unread) => return None,
        End::Silent => Fault::RequestHeadTimeout,
    };
    state.settle();
    let refusal = refuse::in_reply_to(&unread, worker.handler.refusal(peer.address, fault));
    refuse(&mut io, refusal).await;
    None
}

fn builder<H>(worker: &Worker<H>, state: &Arc<ConnectionState>) -> http1::Builder {
    let server = &worker.server;
    let mut builder = http1::Builder::new();
    let _ = builder
        .timer(HeadTimer(Arc::clone(state)))
        // Only makes hyper use the timer; the connection state has the real deadlines.
        .header_read_timeout(server.header_timeout)
        .max_header_size(server.max_header_bytes)
        .max_buf_size(BUFFER.max(server.max_header_bytes));
    if server.max_headers != HYPER_HEADERS {
        let _ = builder.max_headers(server.max_headers);
    }
    builder
}

/// Tells the connection state when hyper starts and stops waiting for a request head. The sleep itself never completes.
struct HeadTimer(Arc<ConnectionState>);

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

struct HeadWait(Arc<ConnectionState>);

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
