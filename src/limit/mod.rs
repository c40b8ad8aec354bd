//! Limits. Pure: counters without a clock of their own; `now` is an argument, and nothing here waits, reads or sends.
//!
//! | file | what it decides |
//! |---|---|
//! | [`rate`] | how many requests, characters or bytes in a time, for each key |
//! | [`gate`] | how many calls at one time, who waits for a slot and who is next |
//! | [`learn`] | how many slots the provider seems to allow |
//! | [`settle`] | how long the slot of a cancelled call stays taken |
//! | [`backoff`] | how long no request goes out after a provider's Retry-After |
//! | [`budget`] | how many retries an outage may add |
//! | [`budgets`] | how much a tenant may use in a day, a week or thirty days |
//! | [`zone`] | when its days begin, by the clocks of a place |
//! | [`breaker`] | when a broken upstream gets no requests |
//!
//! All of them are shared between threads. Each has its own lock, held for a few instructions, in which no foreign code runs:
//! wakers and hooks are called after it was released.

// Code that cannot fail needs neither unwrap nor index, and a new variant has to be handled everywhere.
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
pub mod budgets;
pub mod gate;
pub mod keys;
pub mod learn;
pub mod rate;
pub mod settle;
pub mod zone;

pub use backoff::Backoffs;
pub use breaker::Breaker;
pub use budget::Budget;
pub use gate::{
    AccountSet, Bounds, Claim, Crowd, Demand, Entry, Gate, GateStats, Heard, Permit, Priority, Setup, SlotStats,
    TenantDemand, TenantShare, TenantStats, TenantTotals, Waiting,
};
pub use keys::Keys;
pub use rate::Rate;
pub use zone::Zone;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks. The data behind the locks of this module is never half-changed, because nothing under them can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
