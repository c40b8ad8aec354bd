//! The state of a gate in numbers, and what is asked of an account.

use std::time::Instant;

/// What is asked of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// What the fleet grants this process, if there is one.
    pub share: Option<u32>,
    /// What the operator allows.
    pub max: u32,
    /// Slots that are taken.
    pub in_use: u32,
    /// How many wait for a slot that only the fleet can grant. They may use this account, perhaps among others.
    pub waiting: u32,
    /// Since when the first of them waits.
    pub oldest_wait_since: Option<Instant>,
    /// How many slots there are by what has been learned here, if this gate learns.
    pub learned: Option<u32>,
    /// Changes when other tenants wait than before, and when one with a maximum holds less.
    pub tenants: u64,
    /// The place of the account among those in force, and how many there are: each keeps its part of tenants' reserves.
    pub part: (u32, u32),
}

impl Demand {
    /// Slots of the share that are free.
    #[must_use]
    pub fn idle(&self) -> u32 {
        self.share.unwrap_or(0).saturating_sub(self.in_use)
    }
}

/// The state of a gate, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateStats {
    /// Slots of all accounts.
    pub limit: u32,
    /// Slots that are taken.
    pub in_use: u32,
    /// How many wait.
    pub queued: u32,
}

/// What a gate is measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Slots of all accounts by the configuration.
    pub max: u32,
    /// The same by the provider's word, whatever the fleet grants.
    pub learned: u32,
    /// How many may wait.
    pub queue: u32,
}

/// Something that knows the state of a route's slots.
pub trait SlotStats: Send + Sync {
    /// Their state, and what it is measured against.
    fn slot_stats(&self) -> (GateStats, Bounds);
}
