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

    /// Whether no new connection is taken any more.
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

    /// Until [`Drain::begin`].
    pub async fn begun(&self) {
        self.reached(DRAINING).await;
    }

    /// Until [`Drain::cut_now`].
    pub async fn cut(&self) {
        self.reached(CUT).await;
    }

    /// Until no connection is open.
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
pub(crate) struct Permit(Arc<Drain>, Option<Seat>);

impl Permit {
    /// The connection is one of those of a worker.
    pub(super) fn sits(&mut self, seat: Seat) {
        self.1 = Some(seat);
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

/// One of the connections that a worker serves, counted there.
#[derive(Debug)]
pub(super) struct Seat(Arc<AtomicUsize>);

impl Seat {
    pub(super) fn take(open: &Arc<AtomicUsize>) -> Seat {
        let _ = open.fetch_add(1, Ordering::Relaxed);
        Seat(Arc::clone(open))
    }
}

impl Drop for Seat {
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
    async fn the_phases_are_told_in_order() {
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
