//! Informational responses (RFC 9110 15.2) from a provider to a client: `103 Early Hints`, `102 Processing`, unknown ones.
//!
//! They arrive through a callback in the task of the provider's connection, and are written in the task of the client's. Between
//! them is one [`Outbox`] per client connection. It is bounded, because a provider may send any number of them; those beyond the
//! bounds are dropped, which is acceptable because no client can rely on informational responses.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// How many informational responses to one request are forwarded at most.
const MAX_HEADS: usize = 16;
/// How many bytes they may have together.
const MAX_BYTES: usize = 16 * 1024;

/// The informational responses queued for one HTTP/1 connection.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Whether any are queued, so that the usual check needs no lock.
    filled: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The number of the current request on the connection.
    request: u64,
    /// How many more this request may add; zero once its final response begins.
    heads_left: usize,
    bytes_left: usize,
    waiting: BytesMut,
    /// Wakes the connection's task, during a request.
    waker: Option<Waker>,
}

/// Queues the informational responses to one request.
#[derive(Clone, Debug)]
pub struct InformationalSender {
    outbox: Arc<Outbox>,
    request: u64,
}

impl Outbox {
    /// The next request begins; `waker` wakes the task that writes.
    #[must_use]
    pub fn open(self: &Arc<Self>, waker: &Waker) -> InformationalSender {
        let mut inner = self.lock();
        inner.request += 1;
        (inner.heads_left, inner.bytes_left) = (MAX_HEADS, MAX_BYTES);
        inner.waker = Some(waker.clone());
        InformationalSender { outbox: Arc::clone(self), request: inner.request }
    }

    /// Closes the queue for this request and waits until it is written: the final response must not overtake it.
    pub async fn close(&self) {
        poll_fn(|_| {
            let mut inner = self.lock();
            inner.heads_left = 0;
            if self.filled.load(Ordering::Acquire) {
                return Poll::Pending;
            }
            // Cleared, because a WebSocket outlives the task of its handshake, whose memory the waker would keep alive.
            inner.waker = None;
            Poll::Ready(())
        })
        .await;
    }

    /// The bytes to write next. The caller has to write them before anything else.
    #[must_use]
    pub fn take(&self) -> Option<Bytes> {
        if !self.filled.load(Ordering::Acquire) {
            return None;
        }
        let mut inner = self.lock();
        self.filled.store(false, Ordering::Release);
        // A response may be waiting in `close`.
        inner.waker.iter().for_each(Waker::wake_by_ref);
        Some(inner.waiting.split().freeze())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InformationalSender {
    /// Whether any has been forwarded.
    pub(crate) fn has_begun(&self) -> bool {
        let inner = self.outbox.lock();
        inner.request == self.request && inner.heads_left < MAX_HEADS
    }

    /// Forwards an informational response, whose fields are prepared for the client. A `100` is between the provider and this
    /// gateway, which asks clients for bodies itself; a `101` is final for a client that asked for an upgrade, and meaningless to
    /// others.
    pub fn send(&self, status: StatusCode, fields: &HeaderMap) {
        if !status.is_informational() || matches!(status, StatusCode::CONTINUE | StatusCode::SWITCHING_PROTOCOLS) {
            return;
        }
        let mut inner = self.outbox.lock();
        if inner.request != self.request || inner.heads_left == 0 {
            return;
        }
        inner.heads_left -= 1;
        let head = head(status, fields);
        let Some(bytes_left) = inner.bytes_left.checked_sub(head.len()) else { return };
        inner.bytes_left = bytes_left;
        inner.waiting.extend_from_slice(&head);
        self.outbox.filled.store(true, Ordering::Release);
        inner.waker.iter().for_each(Waker::wake_by_ref);
    }
}

/// The serialized head.
fn head(status: StatusCode, fields: &HeaderMap) -> BytesMut {
    let mut head = BytesMut::with_capacity(256);
    for part in ["HTTP/1.1 ", status.as_str(), " ", status.canonical_reason().unwrap_or_default(), "\r\n"] {
        head.put_slice(part.as_bytes());
    }
    for (name, value) in fields {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.put_slice(part);
        }
    }
    head.put_slice(b"\r\n");
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::Context;

    fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
        let parse = |text: &str| text.parse().expect("a value");
        lines.iter().map(|(name, value)| (http::HeaderName::from_static(name), parse(value))).collect()
    }

    fn taken(outbox: &Outbox) -> String {
        String::from_utf8(outbox.take().unwrap_or_default().to_vec()).expect("text")
    }

    #[test]
    fn a_head_is_written_whatever_its_status_and_some_are_not() {
        let outbox = Arc::<Outbox>::default();
        let informational = outbox.open(Waker::noop());
        informational.send(StatusCode::EARLY_HINTS, &fields(&[("link", "</a.css>; rel=preload")]));
        informational.send(StatusCode::from_u16(199).expect("a status"), &HeaderMap::new());
        let expected = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 199 \r\n\r\n";
        assert_eq!(taken(&outbox), expected);
        assert_eq!(outbox.take(), None);
        for status in [100, 101, 200] {
            informational.send(StatusCode::from_u16(status).expect("a status"), &HeaderMap::new());
            assert_eq!(outbox.take(), None, "{status}");
        }
    }

    #[test]
    fn number_and_size_are_bounded_for_each_request() {
        let outbox = Arc::<Outbox>::default();
        for _ in 0..2 {
            let informational = outbox.open(Waker::noop());
            for _ in 0..MAX_HEADS + 3 {
                informational.send(StatusCode::PROCESSING, &HeaderMap::new());
            }
            assert_eq!(taken(&outbox).matches("HTTP/1.1 102").count(), MAX_HEADS);
            let informational = outbox.open(Waker::noop());
            let large = "a".repeat(MAX_BYTES / 3);
            for _ in 0..3 {
                informational.send(StatusCode::EARLY_HINTS, &fields(&[("link", &large)]));
            }
            informational.send(StatusCode::PROCESSING, &HeaderMap::new());
            let text = taken(&outbox);
            assert_eq!((text.matches(" 103 ").count(), text.matches(" 102 ").count()), (2, 1));
        }
    }

    #[test]
    fn a_request_speaks_only_until_its_final_answer() {
        let outbox = Arc::<Outbox>::default();
        let mut cx = Context::from_waker(Waker::noop());
        let first = outbox.open(Waker::noop());
        first.send(StatusCode::PROCESSING, &HeaderMap::new());
        {
            let mut close = pin!(outbox.close());
            assert!(close.as_mut().poll(&mut cx).is_pending(), "what waits goes first");
            first.send(StatusCode::PROCESSING, &HeaderMap::new());
            assert_eq!(taken(&outbox).matches(" 102 ").count(), 1, "nothing after the final answer began");
            assert!(close.poll(&mut cx).is_ready());
        }
        let second = outbox.open(Waker::noop());
        first.send(StatusCode::PROCESSING, &HeaderMap::new());
        assert_eq!(outbox.take(), None, "a request that is over does not speak into the next");
        second.send(StatusCode::PROCESSING, &HeaderMap::new());
        assert!(outbox.take().is_some());
    }
}
