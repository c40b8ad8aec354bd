//! Polls a connection until it ends, and enforces its deadlines and the drain.

use super::super::worker::Worker;
use super::state::ConnectionState;
use crate::upstream::TaskWaker;
use hyper::server::conn::{http1, http2};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::task::coop::unconstrained;

/// How long a connection without a request may still send one after draining has begun, and how long HTTP/2 may take to close.
pub(super) const LAST_CALL: Duration = Duration::from_secs(1);

/// How a connection ended.
pub(super) enum End {
    /// hyper is done with it.
    Served(hyper::Result<()>),
    /// A request head did not come in time.
    Silent,
    /// The next request did not follow at once: the connection becomes idle.
    Resting,
    /// The client did not read in time.
    Stalled,
    /// The client keeps opening streams only to reset them.
    Flooded,
}

/// What HTTP/1 and HTTP/2 connections have in common.
pub(super) trait Connection: Future<Output = hyper::Result<()>> {
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

/// Polls a connection until it ends, and enforces its deadlines and the drain. `waker`, if given, wakes the task.
pub(super) async fn drive<H>(
    mut connection: Pin<&mut impl Connection>,
    worker: &Worker<H>,
    state: &ConnectionState,
    waker: Option<&Arc<TaskWaker>>,
) -> End {
    let own = waker.map(|waker| Waker::from(Arc::clone(waker)));
    let mut draining = pin!(worker.drain.begun());
    let mut drain = DrainStage::Running;
    let mut timer = pin!(tokio::time::sleep(worker.server.header_timeout));
    if let Some(waker) = waker {
        // Registered once: a task's waker never changes.
        poll_fn(|cx| {
            waker.set_owner(cx.waker());
            Poll::Ready(())
        })
        .await;
    }
    poll_fn(|cx| {
        if state.is_flooded() {
            return Poll::Ready(End::Flooded);
        }
        state.poll_begins();
        let mut served_by = Context::from_waker(own.as_ref().unwrap_or(cx.waker()));
        if let Poll::Ready(served) = connection.as_mut().poll(&mut served_by) {
            return Poll::Ready(End::Served(served));
        }
        // Polled once for the same reason; a later wake sets a flag.
        if drain == DrainStage::Running && draining.as_mut().poll(cx).is_pending() {
            drain = DrainStage::Registered;
        }
        if drain < DrainStage::LastCall && worker.drain.has_begun() {
            drain = DrainStage::LastCall;
            // A connection that has just been accepted is about to send a request.
            if state.is_fresh() {
                state.hurry(LAST_CALL);
            }
        }
        if drain == DrainStage::LastCall && !state.expects_request() {
            // hyper would end the connection at once, even after half a head; the code that takes the connection back checks for
            // that.
            if waker.is_some() && state.is_idle() {
                return Poll::Ready(End::Resting);
            }
            drain = DrainStage::Ending;
            connection.as_mut().end_gracefully();
            // Nothing else would wake the task for this change.
            if let Poll::Ready(served) = connection.as_mut().poll(&mut served_by) {
                return Poll::Ready(End::Served(served));
            }
        }
        while let Some(deadline) = state.deadline() {
            let rests = state.rests_at();
            let next = rests.unwrap_or(deadline).min(deadline);
            if timer.deadline() > next || timer.is_elapsed() {
                timer.as_mut().reset(next);
            }
            // Serving may have used up the task's cooperative budget, so the timer is polled without it.
            if pin!(unconstrained(timer.as_mut())).poll(cx).is_pending() {
                break;
            }
            if state.write_is_late() {
                return Poll::Ready(End::Stalled);
            }
            let now = tokio::time::Instant::now();
            if state.deadline().is_some_and(|deadline| deadline <= now) {
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

/// How far this connection has gone along with the drain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum DrainStage {
    Running,
    Registered,
    LastCall,
    Ending,
}
