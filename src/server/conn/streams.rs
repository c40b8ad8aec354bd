//! The streams of one HTTP/2 connection, including those that the client does not read.

use super::exchange::StreamWriteState;
use super::state::ConnectionState;
use crate::proxy::Peer;
use hyper::rt::Executor;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

/// A stream that is reset within this time was not opened for its response.
const EARLY: Duration = Duration::from_secs(1);

/// Runs the streams of one HTTP/2 connection. Flow control hides from the socket that the client does not read one of its
/// streams, so each stream has a deadline of its own.
#[derive(Clone)]
pub(super) struct Streams {
    /// The stream for which hyper has called the service, and which it spawns next.
    next: Arc<Mutex<Option<Arc<StreamWriteState>>>>,
    peer: Arc<Peer>,
    state: Arc<ConnectionState>,
    write_timeout: Duration,
}

impl Streams {
    pub(super) fn of(peer: Arc<Peer>, state: Arc<ConnectionState>, write_timeout: Duration) -> Streams {
        Streams { next: Arc::default(), peer, state, write_timeout }
    }

    /// Called when hyper has called the service for a stream; hyper spawns that stream next, and its progress is recorded in this
    /// write state.
    pub(super) fn begins(&self) -> Arc<StreamWriteState> {
        let writes = Arc::new(StreamWriteState::new(Arc::clone(&self.state)));
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&writes));
        writes
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let writes = self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (peer, state, write_timeout) = (Arc::clone(&self.peer), Arc::clone(&self.state), self.write_timeout);
        // Not joined: a stream ends with its connection at the latest.
        drop(tokio::spawn(async move {
            let Some(writes) = writes else { return stream.await };
            let begun = Instant::now();
            watched(stream, &writes, &peer, write_timeout).await;
            state.stream_ends(!writes.has_ended() && begun.elapsed() < EARLY);
        }));
    }
}

/// Runs a stream until it ends, or until its client has not read for too long; dropping the future then resets the stream.
async fn watched(stream: impl Future<Output = ()>, writes: &StreamWriteState, peer: &Peer, write_timeout: Duration) {
    let stalled = {
        let mut stream = pin!(stream);
        let mut timer = pin!(tokio::time::sleep(write_timeout));
        let mut waiting_since = None;
        poll_fn(|cx| {
            if stream.as_mut().poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            let pending = writes.pending();
            if pending != waiting_since {
                waiting_since = pending;
                timer.as_mut().reset(Instant::now() + write_timeout);
            }
            if pending.is_none() || timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            // Set only while this stream is dropped, because `peer` belongs to the whole connection.
            peer.stalled.store(true, Ordering::Relaxed);
            Poll::Ready(true)
        })
        .await
    };
    if stalled {
        peer.stalled.store(false, Ordering::Relaxed);
    }
}
