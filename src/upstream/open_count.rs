//! How many connections there are to one upstream, and to all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The connections to all upstreams.
#[derive(Debug, Default)]
pub(super) struct Total {
    /// Those that workers have.
    open: AtomicUsize,
    /// Those that are kept warm or being made for that.
    warm: AtomicUsize,
    /// Warm ones are not made where there would be more of both together.
    most: AtomicUsize,
}

/// The place of a warm connection, until this is dropped.
#[derive(Debug)]
pub(super) struct Reserved(Arc<Total>);

/// The connections to one upstream that workers have.
#[derive(Debug)]
pub(super) struct OpenCount {
    open: AtomicUsize,
    /// The most since that was last asked.
    highest: AtomicUsize,
    total: Arc<Total>,
}

/// A connection that a worker has, counted until this is dropped.
#[derive(Debug)]
pub(super) struct Opened(Arc<OpenCount>);

impl Total {
    pub(super) fn keep_within(&self, most: usize) {
        self.most.store(most, Relaxed);
    }

    /// The place of another warm connection, if there is one.
    pub(super) fn reserve(self: &Arc<Self>) -> Option<Reserved> {
        let most = self.most.load(Relaxed).saturating_sub(self.open.load(Relaxed));
        self.warm.fetch_update(Relaxed, Relaxed, |warm| (warm < most).then_some(warm + 1)).ok()?;
        Some(Reserved(Arc::clone(self)))
    }
}

impl OpenCount {
    pub(super) fn new(total: &Arc<Total>) -> Arc<OpenCount> {
        Arc::new(OpenCount { open: AtomicUsize::new(0), highest: AtomicUsize::new(0), total: Arc::clone(total) })
    }

    pub(super) fn count(self: &Arc<Self>) -> Opened {
        let open = self.open.fetch_add(1, Relaxed) + 1;
        let _ = self.total.open.fetch_add(1, Relaxed);
        let _ = self.highest.fetch_max(open, Relaxed);
        Opened(Arc::clone(self))
    }

    pub(super) fn now(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// The most at one time since this was last asked.
    pub(super) fn take_highest(&self) -> usize {
        let open = self.now();
        self.highest.swap(open, Relaxed).max(open)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let _ = self.0.warm.fetch_sub(1, Relaxed);
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let _ = self.0.open.fetch_sub(1, Relaxed);
        let _ = self.0.total.open.fetch_sub(1, Relaxed);
    }
}
