//! Limits. Pure: counters without a clock of their own; `now` is an argument, and nothing here waits, reads or sends.
//!
//! | file | what it decides |
//! |---|---|
//! | [`rate`] | how many requests, characters or bytes in a time, for each key |
//! | [`gate`] | how many calls at one time, who waits for a slot and who is next |
//! | [`learn`] | how many slots there are by the provider's own word |
//! | [`backoff`] | how long nobody asks, after a provider said when to come back |
//! | [`budget`] | how many retries an outage may add |
//! | [`breaker`] | when a broken upstream is left alone |
//!
//! All of them are shared by threads as they are. Each has a lock of its own, held for a few instructions, within which no
//! foreign code runs: wakers and hooks are called after it was let go.

// What cannot fail needs neither unwrap nor index, and a new variant must be asked about everywhere.
#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::unwrap_used,
        clippy::wildcard_enum_match_arm
    )
)]

pub mod backoff;
pub mod breaker;
pub mod budget;
pub mod gate;
pub mod keys;
pub mod learn;
pub mod rate;

pub use backoff::Backoffs;
pub use breaker::Breaker;
pub use budget::Budget;
pub use gate::{
    AccountSet, Bounds, Demand, Entry, Gate, GateStats, Heard, Permit, Priority, Setup, SlotStats, Waiting,
};
pub use keys::Keys;
pub use rate::Rate;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks. What is behind the locks of this module is whole at any time, because nothing that can panic is done in them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
