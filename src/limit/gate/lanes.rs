//! Lanes: the accounts of a route, each a plan of its own.

use crate::limit::learn::Learn;
use std::time::Instant;

/// A set of lanes: the accounts that a request may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lanes(u64);

impl Lanes {
    /// How many lanes a gate may have.
    pub const MOST: usize = 64;
    /// Whatever lanes there are.
    pub const ALL: Lanes = Lanes(u64::MAX);
    /// None. To enter with none is refused.
    pub const NONE: Lanes = Lanes(0);

    /// One lane.
    #[must_use]
    pub const fn only(lane: usize) -> Lanes {
        Lanes::NONE.with(lane)
    }

    /// These and one more. A lane past [`Lanes::MOST`] does not exist and changes nothing.
    #[must_use]
    pub const fn with(self, lane: usize) -> Lanes {
        Lanes(self.0 | bit(lane))
    }

    /// These but one.
    #[must_use]
    pub fn without(self, lane: usize) -> Lanes {
        Lanes(self.0 & !bit(lane))
    }

    /// Whether a lane is among these.
    #[must_use]
    pub fn contains(self, lane: usize) -> bool {
        self.0 & bit(lane) != 0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The first lanes, so many.
    pub(super) fn first(count: usize) -> Lanes {
        if count < Lanes::MOST { Lanes(bit(count) - 1) } else { Lanes::ALL }
    }

    /// Those that are in both.
    #[must_use]
    pub fn and(self, other: Lanes) -> Lanes {
        Lanes(self.0 & other.0)
    }
}

const fn bit(lane: usize) -> u64 {
    if lane < Lanes::MOST { 1 << lane } else { 0 }
}

/// One lane of a gate.
pub(super) struct Lane {
    /// Slots that are taken, grants on their way included.
    pub(super) in_use: u32,
    /// Of these, requests that the provider has refused: they hold a slot here and none there.
    pub(super) refused: u32,
    /// What the operator allows.
    pub(super) max: u32,
    /// What the fleet grants this process.
    pub(super) share: Option<u32>,
    /// What the provider says.
    pub(super) learn: Learn,
    /// No new slots until then, and until somebody who knows the time has said so.
    pub(super) paused: Option<Instant>,
    /// The number of the last grant, so that of two lanes with the same load the one that rested longer is next.
    pub(super) turn: u64,
    /// For each priority, how many grants in a row went to higher ones while it waited for this lane.
    pub(super) passed: [u32; 3],
}

impl Lane {
    pub(super) fn new(max: u32) -> Lane {
        let learn = Learn::new(max);
        Lane { in_use: 0, refused: 0, max, share: None, learn, paused: None, turn: 0, passed: [0; 3] }
    }

    /// How many slots there are.
    pub(super) fn cap(&self) -> u32 {
        self.max.min(self.learn.cap()).min(self.share.unwrap_or(u32::MAX))
    }

    /// Whether a slot can be had.
    pub(super) fn open(&self) -> bool {
        self.paused.is_none() && self.in_use < self.cap()
    }

    /// Whether this lane is less loaded than another, as a share of its slots.
    pub(super) fn freer_than(&self, other: &Lane) -> bool {
        let own = u64::from(self.in_use) * u64::from(other.cap());
        let others = u64::from(other.in_use) * u64::from(self.cap());
        own < others || own == others && self.turn < other.turn
    }
}
