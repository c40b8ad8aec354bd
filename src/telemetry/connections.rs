//! The connections to the upstreams of a route, by state.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Numbers of connections to upstreams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Waiting for their next request.
    pub idle: u64,
    /// Carrying requests, or upgraded to WebSockets.
    pub active: u64,
    /// Established ahead of requests, and not used yet.
    pub warm: u64,
}

/// A source of the numbers of connections of a route.
pub trait OpenConnections: fmt::Debug + Send + Sync {
    /// The numbers at this moment.
    fn open(&self) -> Open;
}

/// The connections of one route.
#[derive(Debug, Default)]
pub(super) struct ConnectionMetrics {
    /// Read at each scrape.
    source: Mutex<Option<Weak<dyn OpenConnections>>>,
    /// Spare WebSockets.
    spare: Arc<AtomicU64>,
}

/// A spare WebSocket, counted until this is dropped.
#[derive(Debug)]
pub struct SpareSocket(Arc<AtomicU64>);

impl Drop for SpareSocket {
    fn drop(&mut self) {
        let _ = self.0.fetch_sub(1, Relaxed);
    }
}

impl ConnectionMetrics {
    /// From now on reads the numbers from this source.
    pub(super) fn show(&self, source: &Arc<dyn OpenConnections>) {
        *self.source.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::downgrade(source));
    }

    /// Counts a spare socket until the guard is dropped.
    pub(super) fn spare(&self) -> SpareSocket {
        let _ = self.spare.fetch_add(1, Relaxed);
        SpareSocket(Arc::clone(&self.spare))
    }

    /// The numbers of open connections; none when the route is no longer configured.
    pub(super) fn open(&self) -> Option<Open> {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.upgrade();
        source.map(|source| source.open())
    }

    pub(super) fn spares(&self) -> u64 {
        self.spare.load(Relaxed)
    }
}
