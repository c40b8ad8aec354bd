//! Signals sessions and streams that the gateway stops.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use tokio::sync::Notify;

/// Signals sessions and streams that the gateway stops, some time before connections are cut, so that each can be told.
#[derive(Debug, Default)]
pub struct Stopping {
    begun: AtomicBool,
    changed: Notify,
    cut: AtomicBool,
}

impl Stopping {
    /// Starts closing sessions.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Whether sessions are being closed.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Completes when [`Stopping::begin`] has been called.
    pub async fn begun(&self) {
        // Created before the flag is read, so that a change in between is not missed.
        let changed = self.changed.notified();
        if !self.has_begun() {
            changed.await;
        }
    }

    /// Connections are cut from now on: a request that is dropped was not cancelled by its client.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Release);
    }

    /// Whether connections are being cut.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }
}

/// Signals one call. A check costs one atomic load; the future is made only for a call that waits.
#[derive(Default)]
pub(crate) struct Notice {
    /// Made when the call first waits.
    begun: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
    /// The task to wake.
    waker: Option<Waker>,
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notice").finish_non_exhaustive()
    }
}

impl Notice {
    /// Whether sessions are being closed; the task is woken when that begins.
    pub(crate) fn poll(&mut self, stopping: &Arc<Stopping>, cx: &mut Context<'_>) -> bool {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
            let new = || {
                let stopping = Arc::clone(stopping);
                Box::pin(async move { stopping.begun().await }) as Pin<Box<_>>
            };
            let begun = self.begun.get_or_insert_with(new).as_mut().poll(cx);
            if begun.is_ready() {
                self.begun = None;
            }
        }
        stopping.has_begun()
    }
}
