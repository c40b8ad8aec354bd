//! What is known about the fleet as a whole, and what is said about it.

use crate::telemetry::fleet::{Fallback, FleetMetrics};
use redis::RedisError;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most refusals of the backend that are remembered at one time, each with a line in the log.
const REMEMBERED: usize = 16;

/// The size of the fleet that a gateway assumes when it has never heard of it.
const UNHEARD: u32 = 10;

/// The state of the fleet, shared within the process.
#[derive(Debug)]
pub(super) struct Tally {
    metrics: Arc<FleetMetrics>,
    /// How many gateways the fleet has (zero: never heard of it), and the rank of this one among them.
    size: AtomicU32,
    rank: AtomicU32,
    /// Whether the loss of the backend has been logged.
    complained: AtomicBool,
    /// What the backend refuses, and whether there is any of it.
    refusals: Mutex<Vec<Refusal>>,
    refuses: AtomicBool,
}

/// The backend answers, and says no: its memory is full, it is a replica, or something else stands at a key.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    what: Fallback,
    /// Its first word, in capitals.
    code: String,
    /// Where it is about what stands at a key, those that were asked for.
    keys: Option<String>,
}

impl Tally {
    pub(super) fn new(metrics: Arc<FleetMetrics>) -> Tally {
        Tally {
            metrics,
            size: AtomicU32::new(0),
            rank: AtomicU32::new(0),
            complained: AtomicBool::new(false),
            refusals: Mutex::default(),
            refuses: AtomicBool::new(false),
        }
    }

    /// The last known number of gateways and this one's rank; a gateway that never heard of the fleet counts itself last of many.
    pub(super) fn place(&self) -> (u32, u32) {
        match self.size.load(Ordering::Relaxed) {
            0 => (UNHEARD, UNHEARD),
            size => (size, self.rank.load(Ordering::Relaxed)),
        }
    }

    /// Updates the size of the fleet and this gateway's rank; a size of zero changes nothing.
    pub(super) fn sized(&self, size: u32, rank: u32) {
        if size == 0 {
            return;
        }
        self.rank.store(rank, Ordering::Relaxed);
        self.size.store(size, Ordering::Relaxed);
        self.metrics.sized(size);
    }

    pub(super) fn connected(&self) {
        self.complained.store(false, Ordering::Relaxed);
        if self.metrics.connected(true) {
            tracing::info!("the backend of shared limits is connected");
        }
    }

    pub(super) fn disconnected(&self) {
        if self.metrics.connected(false) {
            tracing::warn!("the backend of shared limits is lost");
        }
    }

    /// Logs that the backend cannot be reached: once, however often it is tried.
    pub(super) fn unreachable(&self, why: &str) {
        if !self.complained.swap(true, Ordering::Relaxed) {
            tracing::warn!(why, "the backend of shared limits cannot be reached");
        }
    }

    /// The backend has answered with an error, or has done what was asked. Each kind of error is logged once, and its end as well;
    /// where something else stands at a key, for each key.
    pub(super) fn answered(&self, what: Fallback, error: Option<&RedisError>, keys: &[&str]) {
        let keys = || keys.join(", ");
        let Some(error) = error else {
            if self.refuses.load(Ordering::Relaxed) {
                self.accepts(what, &keys());
            }
            return;
        };
        self.metrics.refused(what);
        let text = error.to_string();
        // Older servers name it behind the words of the script.
        let of_key = text.contains(WRONG_TYPE);
        let code = if of_key { WRONG_TYPE } else { error.code().unwrap_or("ERR") };
        let refusal = Refusal { what, code: code.to_owned(), keys: of_key.then(keys) };
        let mut refusals = self.refusals();
        if refusals.len() < REMEMBERED && !refusals.contains(&refusal) {
            let (limit, keys, code) = (what.as_str(), keys(), &refusal.code);
            tracing::warn!(
                limit,
                keys,
                code,
                why = text,
                "the backend of shared limits refuses; this gateway counts by itself until it does not"
            );
            refusals.push(refusal);
            self.refuses.store(true, Ordering::Relaxed);
        }
    }

    fn accepts(&self, what: Fallback, keys: &str) {
        let mut refusals = self.refusals();
        refusals.retain(|refusal| {
            let ends = refusal.what == what && refusal.keys.as_ref().is_none_or(|own| own == keys);
            if ends {
                tracing::info!(
                    limit = what.as_str(),
                    keys,
                    code = refusal.code,
                    "the backend of shared limits refuses no more"
                );
            }
            !ends
        });
        self.refuses.store(!refusals.is_empty(), Ordering::Relaxed);
    }

    fn refusals(&self) -> MutexGuard<'_, Vec<Refusal>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fell_back(&self, what: Fallback) {
        self.metrics.fell_back(what);
    }
}

/// What the backend says of a key at which something of another kind stands.
const WRONG_TYPE: &str = "WRONGTYPE";
