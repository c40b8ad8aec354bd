//! One request and its response, as the state of their connection follows them.

use super::state::ConnectionState;
use crate::proxy::Outbox;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

/// One request and its answer, from the head of the one to the last byte of the other.
#[derive(Debug)]
pub(super) struct Exchange {
    state: Arc<ConnectionState>,
    writes: Option<Arc<StreamWriteState>>,
}

impl Exchange {
    /// A request is handed on; on HTTP/2 with the write state of its stream.
    pub(super) fn new(state: &Arc<ConnectionState>, stream: Option<Arc<StreamWriteState>>) -> Exchange {
        state.exchange_begins();
        Exchange { state: Arc::clone(state), writes: stream }
    }

    /// hyper asks for a part of the response.
    pub(super) fn asked(&self) {
        if let Some(writes) = &self.writes {
            writes.asked();
        }
    }

    /// A part of the response goes into hyper's buffer.
    pub(super) fn handed_out(&self) {
        self.state.handed_out();
        if let Some(writes) = &self.writes {
            writes.handed_out();
        }
    }

    /// Where informational responses go; none on HTTP/2, where hyper's server has no way to send any.
    pub(super) fn outbox(&self) -> Option<&Arc<Outbox>> {
        self.writes.is_none().then_some(&self.state.outbox)
    }

    /// The request has a body, which nobody has read yet.
    pub(super) fn set_body_unread(&self, unread: bool) {
        self.state.set_body_unread(unread);
    }

    /// The response's end will be told by closing the connection, or it has ended.
    pub(super) fn set_open_ended(&self, open: bool) {
        self.state.set_open_ended(open);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.state.exchange_ends(self.writes.is_some());
    }
}

/// Whether hyper waits for the provider or for the client on one stream of HTTP/2: it asks for a part of the response, gets it,
/// holds it until the client's flow control lets it go, and only then asks again.
#[derive(Debug, Default)]
pub(super) struct StreamWriteState {
    /// Even while hyper waits for the body, odd while it holds a part; grows with every step.
    step: AtomicUsize,
}

impl StreamWriteState {
    /// The step at which hyper got what it holds now; none while it waits for the body.
    pub(super) fn pending(&self) -> Option<usize> {
        Some(self.step.load(Relaxed)).filter(|step| step % 2 == 1)
    }

    fn asked(&self) {
        self.step.store((self.step.load(Relaxed) | 1).wrapping_add(1), Relaxed);
    }

    fn handed_out(&self) {
        self.step.store(self.step.load(Relaxed) | 1, Relaxed);
    }
}
