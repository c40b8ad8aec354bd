//! Graceful shutdown: stop accepting, let running requests finish, then cut.
//!
//! One [`Drain`] is shared by all workers. It counts connections, which is also what bounds them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use tokio::sync::Notify;

const RUNNING: u8 = 0;
const DRAINING: u8 = 1;
const CUT: u8 = 2;

/// The stage of the shutdown, and the open connections.
#[derive(Debug)]
pub struct Drain {
    phase: AtomicU8,
    /// Woken at every change of phase.
    changed: Notify,
    open: AtomicUsize,
    limit: usize,
    /// Woken when the last connection has closed.
    emptied: Notify,
}

impl Drain {
    /// Running, with at most `limit` connections.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Drain> {
        Arc::new(Drain {
            phase: AtomicU8::new(RUNNING),
            changed: Notify::new(),
            open: AtomicUsize::new(0),
            limit,
            emptied: Notify::new(),
        })
    }

    /// Connections that are open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Whether new connections are refused.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.phase.load(Ordering::Acquire) >= DRAINING
    }

    /// Stops accepting, and asks connections to end after their current request.
    pub fn begin(&self) {
        self.advance(DRAINING);
    }

    /// Ends every worker at once.
    pub fn cut_now(&self) {
        self.advance(CUT);
    }

    /// Completes when [`Drain::begin`] has been called.
    pub async fn begun(&self) {
        self.reached(DRAINING).await;
    }

    /// Completes when [`Drain::cut_now`] has been called.
    pub async fn cut(&self) {
        self.reached(CUT).await;
    }

    /// Completes when no connection is open.
    pub async fn emptied(&self) {
        while self.open() > 0 {
            self.emptied.notified().await;
        }
    }

    /// A permit for one more connection, unless the maximum is reached.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<Permit> {
        let admitted =
            self.open.try_update(Ordering::AcqRel, Ordering::Acquire, |open| (open < self.limit).then_some(open + 1));
        admitted.is_ok().then(|| Permit(Arc::clone(self), None))
    }

    fn advance(&self, phase: u8) {
        let _ = self.phase.fetch_max(phase, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    async fn reached(&self, phase: u8) {
        loop {
            // Created before the phase is read, so that a change in between is not missed.
            let changed = self.changed.notified();
            if self.phase.load(Ordering::Acquire) >= phase {
                return;
            }
            changed.await;
        }
    }
}

/// One open connection; it lives as long as the socket does, upgrades included.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Drain>, Option<CountGuard>);

impl Permit {
    /// Counts the connection with the worker that serves it.
    pub(super) fn assign(&mut self, count: CountGuard) {
        self.1 = Some(count);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Stored even if nobody waits yet: a later waiter reads it first.
            self.0.emptied.notify_one();
        }
    }
}

/// Counts one connection of a worker until it is dropped.
#[derive(Debug)]
pub(super) struct CountGuard(Arc<AtomicUsize>);

impl CountGuard {
    pub(super) fn new(open: &Arc<AtomicUsize>) -> CountGuard {
        let _ = open.fetch_add(1, Ordering::Relaxed);
        CountGuard(Arc::clone(open))
    }
}

impl Drop for CountGuard {
    fn drop(&mut self) {
        let _ = self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_bounded_and_come_back() {
        let drain = Drain::new(2);
        let first = drain.admit();
        let second = drain.admit();
        assert!(first.is_some() && second.is_some() && drain.admit().is_none());
        drop(first);
        assert_eq!(drain.open(), 1);
        assert!(drain.admit().is_some());
    }

    #[tokio::test]
    async fn waiters_wake_at_each_phase_in_order() {
        let drain = Drain::new(1);
        let permit = drain.admit();
        let waiting = tokio::spawn({
            let drain = Arc::clone(&drain);
            async move {
                drain.begun().await;
                drain.emptied().await;
                drain.cut().await;
            }
        });
        drain.begin();
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(permit);
        drain.cut_now();
        // The phase never goes back.
        drain.begin();
        waiting.await.expect("the waiter does not panic");
    }
}
