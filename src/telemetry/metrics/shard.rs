//! The counters of one worker for one route: plain relaxed atomics, found by index.

use super::generations::Generations;
use super::tally::Tally;
use crate::telemetry::histogram::{Histogram, OVERHEAD_BOUNDS, REQUEST_BOUNDS};
use crate::telemetry::semantic::Semantic;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64};

/// What one worker writes. Aligned to two cache lines, because processors fetch lines in pairs.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Shard {
    pub(super) in_flight: AtomicI64,
    pub(super) duration: Histogram,
    pub(super) upstream: Histogram,
    pub(super) first_byte: Histogram,
    pub(super) overhead: Histogram,
    /// Requests, errors and waits of whoever is no tenant.
    pub(super) tally: Tally,
    pub(super) websockets: AtomicI64,
    /// Messages and bytes by direction.
    pub(super) websocket_messages: [AtomicU64; 2],
    pub(super) websocket_bytes: [AtomicU64; 2],
    /// Number of closes by code and initiator; allocated at the first close.
    pub(super) websocket_closes: OnceLock<Box<[AtomicU64]>>,
    /// Made when a generation first ends.
    pub(super) generations: OnceLock<Box<Generations>>,
    pub(super) semantic: Semantic,
    /// Lines that were left out of the access log by sampling.
    pub(super) unlogged: AtomicU64,
}

impl Shard {
    pub(super) fn new() -> Shard {
        Shard {
            in_flight: AtomicI64::new(0),
            duration: Histogram::new(REQUEST_BOUNDS),
            upstream: Histogram::new(REQUEST_BOUNDS),
            first_byte: Histogram::new(REQUEST_BOUNDS),
            overhead: Histogram::new(OVERHEAD_BOUNDS),
            tally: Tally::default(),
            websockets: AtomicI64::new(0),
            websocket_messages: Default::default(),
            websocket_bytes: Default::default(),
            websocket_closes: OnceLock::new(),
            generations: OnceLock::new(),
            semantic: Semantic::default(),
            unlogged: AtomicU64::new(0),
        }
    }
}
