//! What one worker counts for one route: plain relaxed atomics, in places that are found by index.

use super::generations::Generations;
use super::labels::{Initiator, Transport};
use super::tally::Tally;
use crate::canon::{Code, Origin};
use crate::limit::Priority;
use crate::telemetry::histogram::{Histogram, OVERHEAD_BOUNDS, REQUEST_BOUNDS};
use crate::telemetry::semantic::Semantic;
use http::Method;
use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64};

/// The methods that are labels of their own; any other is `other`.
pub(super) const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "other"];
pub(super) const OTHER_METHOD: usize = METHODS.len() - 1;
/// Statuses that are labels of their own; any other is `other`.
pub(super) const STATUSES: std::ops::RangeInclusive<u16> = 100..=599;
pub(super) const STATUS_SLOTS: usize = 501;
/// Close codes that are labels of their own; any other is `other`. 1005 is a close without a code, 1006 an end without a close.
pub(super) const CLOSE_CODES: [&str; 20] = [
    "1000", "1001", "1002", "1003", "1004", "1005", "1006", "1007", "1008", "1009", "1010", "1011", "1012", "1013",
    "1014", "1015", "3000", "3003", "3008", "other",
];
pub(super) const CLOSE_SLOTS: usize = CLOSE_CODES.len() * Initiator::ALL.len();
pub(super) const ERROR_SLOTS: usize = Code::ROWS.len() * Origin::ALL.len() * Transport::ALL.len();
/// The priorities and their labels, in the order of their index.
pub(super) const PRIORITIES: [(Priority, &str); 3] =
    [(Priority::High, "high"), (Priority::Normal, "normal"), (Priority::Low, "low")];

/// What one worker writes. Two cache lines apart from the next, because lines are fetched in pairs.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Shard {
    pub(super) in_flight: AtomicI64,
    pub(super) duration: Histogram,
    pub(super) upstream: Histogram,
    pub(super) first_byte: Histogram,
    pub(super) overhead: Histogram,
    /// Requests and errors of whoever is no tenant.
    pub(super) tally: Tally,
    pub(super) websockets: AtomicI64,
    /// Messages and bytes by direction.
    pub(super) websocket_messages: [AtomicU64; 2],
    pub(super) websocket_bytes: [AtomicU64; 2],
    /// By code and initiator; made at the first close.
    pub(super) websocket_closes: OnceLock<Box<[AtomicU64]>>,
    /// By priority; made when a call first asks for a slot.
    pub(super) queue_wait: OnceLock<[Histogram; PRIORITIES.len()]>,
    /// Made when a generation first ends.
    pub(super) generations: OnceLock<Box<Generations>>,
    pub(super) semantic: Semantic,
    /// Lines of the access log that were left out on purpose.
    pub(super) unlogged: AtomicU64,
}

thread_local! {
    static SHARD: Cell<usize> = const { Cell::new(0) };
}

/// Makes this thread count in the shard of its worker.
pub fn use_shard(worker: usize) {
    SHARD.set(worker);
}

/// This thread's element of a list that has one for each worker. Threads that are no workers share the first.
pub(in crate::telemetry) fn own<T>(parts: &[T]) -> &T {
    parts.get(SHARD.get()).unwrap_or(&parts[0])
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
            queue_wait: OnceLock::new(),
            generations: OnceLock::new(),
            semantic: Semantic::default(),
            unlogged: AtomicU64::new(0),
        }
    }
}

/// The index of a method in [`METHODS`].
pub(super) fn method_slot(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::DELETE => 4,
        Method::CONNECT => 5,
        Method::OPTIONS => 6,
        Method::TRACE => 7,
        Method::PATCH => 8,
        _ => OTHER_METHOD,
    }
}

pub(super) fn status_label(slot: usize) -> String {
    if slot == STATUS_SLOTS - 1 { "other".to_owned() } else { (usize::from(*STATUSES.start()) + slot).to_string() }
}

pub(super) const fn error_slot(code: usize, origin: usize, transport: usize) -> usize {
    (code * Origin::ALL.len() + origin) * Transport::ALL.len() + transport
}

pub(super) const fn close_slot(code: usize, initiator: usize) -> usize {
    code * Initiator::ALL.len() + initiator
}

pub(super) fn counters(count: usize) -> Box<[AtomicU64]> {
    std::iter::repeat_with(AtomicU64::default).take(count).collect()
}
