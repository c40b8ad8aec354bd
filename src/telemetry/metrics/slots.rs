//! The indices of counters: which labels have one of their own, and which worker uses which shard.

use super::labels::{Initiator, Transport};
use crate::canon::{Code, Origin};
use crate::limit::Priority;
use http::Method;
use std::cell::Cell;
use std::sync::atomic::AtomicU64;

/// The methods that have a label of their own; any other counts as `other`.
pub(super) const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "other"];
pub(super) const OTHER_METHOD: usize = METHODS.len() - 1;
/// The statuses that have a label of their own; any other counts as `other`.
pub(super) const STATUSES: std::ops::RangeInclusive<u16> = 100..=599;
pub(super) const STATUS_SLOTS: usize = 501;
/// The close codes that have a label of their own; any other counts as `other`. 1005 is a close frame without a code, 1006 a
/// connection that ended without a close frame.
pub(super) const CLOSE_CODES: [&str; 20] = [
    "1000", "1001", "1002", "1003", "1004", "1005", "1006", "1007", "1008", "1009", "1010", "1011", "1012", "1013",
    "1014", "1015", "3000", "3003", "3008", "other",
];
pub(super) const CLOSE_SLOTS: usize = CLOSE_CODES.len() * Initiator::ALL.len();
pub(super) const ERROR_SLOTS: usize = Code::ROWS.len() * Origin::ALL.len() * Transport::ALL.len();
/// The priorities and their labels, by index.
pub(super) const PRIORITIES: [(Priority, &str); 3] =
    [(Priority::High, "high"), (Priority::Normal, "normal"), (Priority::Low, "low")];

thread_local! {
    static SHARD: Cell<usize> = const { Cell::new(0) };
}

/// Makes this thread count in its worker's shard.
pub fn use_shard(worker: usize) {
    SHARD.set(worker);
}

/// This thread's element of a list with one for each worker. Threads that are not workers share the first.
pub(in crate::telemetry) fn own<T>(parts: &[T]) -> &T {
    parts.get(SHARD.get()).unwrap_or(&parts[0])
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
