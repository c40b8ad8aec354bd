//! One request and its response, as the connection's state tracks them.

use super::state::ConnectionState;
use crate::proxy::Outbox;
use bytes::{Buf, Bytes};
use futures_util::task::AtomicWaker;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::task::{Context, Poll};

/// One request and its response, from the first byte of the head to the last byte of the body.
#[derive(Debug)]
pub(super) struct Exchange {
    state: Arc<ConnectionState>,
    writes: Option<Arc<StreamWriteState>>,
}

impl Exchange {
    /// Begins when a request is handed to the proxy; over HTTP/2 with the write state of its stream.
    pub(super) fn new(state: &Arc<ConnectionState>, stream: Option<Arc<StreamWriteState>>) -> Exchange {
        state.exchange_begins();
        Exchange { state: Arc::clone(state), writes: stream }
    }

    /// hyper asked for a part of the response.
    pub(super) fn asked(&self) {
        if let Some(writes) = &self.writes {
            writes.asked();
        }
    }

    /// A part of the response went into hyper's buffer.
    pub(super) fn handed_out(&self) {
        self.state.handed_out();
        if let Some(writes) = &self.writes {
            writes.handed_out();
        }
    }

    /// The response body failed; from now on the connection waits for the client.
    pub(super) fn failed(&self) {
        if let Some(writes) = &self.writes {
            writes.handed_out();
        }
    }

    /// Ready when every part that was handed out has been sent. hyper discards unsent bytes of a body that fails.
    pub(super) fn poll_sent(&self, cx: &Context<'_>) -> Poll<()> {
        match &self.writes {
            Some(writes) => writes.poll_sent(cx),
            None => self.state.poll_flushed(cx),
        }
    }

    /// The queue for informational responses; none over HTTP/2, where hyper's server cannot send any.
    pub(super) fn outbox(&self) -> Option<&Arc<Outbox>> {
        self.writes.is_none().then_some(&self.state.outbox)
    }

    /// Whether the request has a body that nobody has read yet.
    pub(super) fn set_body_unread(&self, unread: bool) {
        self.state.set_body_unread(unread);
    }

    /// Whether the request had a Content-Length beside Transfer-Encoding, which hyper has removed.
    pub(super) fn is_framed_twice(&self) -> bool {
        self.writes.is_none() && self.state.is_framed_twice()
    }

    /// The connection became a WebSocket.
    pub(super) fn upgraded(&self) {
        self.state.set_upgraded();
    }

    /// Wraps bytes for HTTP/2, so that taking them counts as progress.
    pub(super) fn part(&self, bytes: Bytes) -> Part {
        if let Some(writes) = &self.writes {
            let _ = writes.queued.fetch_add(bytes.len(), Relaxed);
        }
        Part { bytes, writes: self.writes.clone() }
    }

    /// The whole response has been handed out.
    pub(super) fn ended(&self) {
        self.set_open_ended(false);
        if let Some(writes) = &self.writes {
            writes.ended.store(true, Relaxed);
        }
    }

    /// Sets whether closing the connection will signal the end of the response.
    pub(super) fn set_open_ended(&self, open: bool) {
        self.state.set_open_ended(open);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.state.exchange_ends(self.writes.is_some());
    }
}

/// Tells whether hyper waits for the provider or for the client on one HTTP/2 stream. hyper asks for a part of the response,
/// keeps it until the client's flow-control window admits it, and only then asks for the next.
#[derive(Debug)]
pub(super) struct StreamWriteState {
    /// Even while hyper waits for the body, odd while it has a part to send. Incremented at each such change, and by two when the
    /// client takes bytes.
    step: AtomicUsize,
    /// Bytes that were handed to h2 and have not been sent.
    queued: AtomicUsize,
    /// Woken when `queued` reaches zero.
    sent: AtomicWaker,
    /// Whether the whole response has been handed out.
    ended: AtomicBool,
    connection: Arc<ConnectionState>,
}

impl StreamWriteState {
    pub(super) fn new(connection: Arc<ConnectionState>) -> StreamWriteState {
        StreamWriteState {
            step: AtomicUsize::new(0),
            queued: AtomicUsize::new(0),
            sent: AtomicWaker::new(),
            ended: AtomicBool::new(false),
            connection,
        }
    }

    /// The step at which hyper got the part that it has now, or at which the client last took bytes of it; none while hyper waits
    /// for the body.
    pub(super) fn pending(&self) -> Option<usize> {
        Some(self.step.load(Relaxed)).filter(|step| step % 2 == 1)
    }

    /// Whether the whole response has been handed out.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    fn asked(&self) {
        self.step.store((self.step.load(Relaxed) | 1).wrapping_add(1), Relaxed);
    }

    fn handed_out(&self) {
        self.step.store(self.step.load(Relaxed) | 1, Relaxed);
    }

    fn poll_sent(&self, cx: &Context<'_>) -> Poll<()> {
        self.sent.register(cx.waker());
        if self.queued.load(Relaxed) == 0 { Poll::Ready(()) } else { Poll::Pending }
    }

    /// h2 has sent or dropped these bytes.
    fn left(&self, bytes: usize) {
        if self.queued.fetch_sub(bytes, Relaxed) == bytes {
            self.sent.wake();
        }
    }

    fn taken(&self) {
        self.step.store(self.step.load(Relaxed).wrapping_add(2), Relaxed);
        self.connection.stream_progresses();
    }
}

/// One part of an HTTP/2 response. h2 takes from it what the client's flow-control windows admit, so a client that reads slowly
/// can be told from one that does not read.
#[derive(Debug)]
pub(super) struct Part {
    bytes: Bytes,
    writes: Option<Arc<StreamWriteState>>,
}

impl Part {
    fn note(&self, bytes: usize) {
        if let Some(writes) = &self.writes {
            writes.taken();
            writes.left(bytes);
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(writes) = &self.writes {
            writes.left(self.bytes.len());
        }
    }
}

impl Buf for Part {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.note(count);
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        let copied = self.bytes.copy_to_bytes(length);
        self.note(length);
        copied
    }
}
