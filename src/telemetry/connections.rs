//! The connections to the upstreams of a route, by what they do.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// What connections to upstreams do now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// They wait for their next call.
    pub idle: u64,
    /// They carry calls or are sockets.
    pub active: u64,
    /// They are ready and have carried nothing yet.
    pub warm: u64,
}

/// Whoever knows the connections of a route.
pub trait OpenConnections: fmt::Debug + Send + Sync {
    /// What they do now.
    fn open(&self) -> Open;
}

/// The connections of one route.
#[derive(Debug, Default)]
pub(super) struct ConnectionMetrics {
    /// Asked at a scrape.
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
    /// Asks these from now on.
    pub(super) fn show(&self, source: &Arc<dyn OpenConnections>) {
        *self.source.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::downgrade(source));
    }

    /// Counts a spare socket until the guard is dropped.
    pub(super) fn spare(&self) -> SpareSocket {
        let _ = self.spare.fetch_add(1, Relaxed);
        SpareSocket(Arc::clone(&self.spare))
    }

    /// Those that are open; none when the route is gone from the configuration.
    pub(super) fn open(&self) -> Option<Open> {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.upgrade();
        source.map(|source| source.open())
    }

    pub(super) fn spares(&self) -> u64 {
        self.spare.load(Relaxed)
    }
}
