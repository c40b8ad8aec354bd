//! The accounts of a gate: each is a plan of its own, with its own slots.

use super::heirs::Heir;
use crate::limit::learn::Learn;
use crate::limit::settle::Settle;
use std::time::Instant;

/// A set of accounts: those that a request may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountSet(u64);

impl AccountSet {
    /// How many accounts a gate may have.
    pub const MOST: usize = 64;
    /// Whatever accounts there are.
    pub const ALL: AccountSet = AccountSet(u64::MAX);
    /// None. To enter with none is refused.
    pub const NONE: AccountSet = AccountSet(0);

    /// One account.
    #[must_use]
    pub const fn only(account: usize) -> AccountSet {
        AccountSet::NONE.with(account)
    }

    /// These and one more. An account past [`AccountSet::MOST`] does not exist and changes nothing.
    #[must_use]
    pub const fn with(self, account: usize) -> AccountSet {
        AccountSet(self.0 | bit(account))
    }

    /// These but one.
    #[must_use]
    pub fn without(self, account: usize) -> AccountSet {
        AccountSet(self.0 & !bit(account))
    }

    /// Whether an account is among these.
    #[must_use]
    pub fn contains(self, account: usize) -> bool {
        self.0 & bit(account) != 0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The first accounts, so many.
    pub(super) fn first(count: usize) -> AccountSet {
        if count < AccountSet::MOST { AccountSet(bit(count) - 1) } else { AccountSet::ALL }
    }

    /// These without those.
    #[must_use]
    pub(super) fn minus(self, other: AccountSet) -> AccountSet {
        AccountSet(self.0 & !other.0)
    }

    /// Those that are in both.
    #[must_use]
    pub fn and(self, other: AccountSet) -> AccountSet {
        AccountSet(self.0 & other.0)
    }
}

const fn bit(account: usize) -> u64 {
    if account < AccountSet::MOST { 1 << account } else { 0 }
}

/// What the fleet grants this process of an account.
#[derive(Clone, Copy)]
pub(super) struct Share {
    /// How many slots.
    pub(super) slots: u32,
    /// Until when they may be given out, none without an end. With one, a slot that comes free is given out by whoever knows
    /// the time.
    pub(super) until: Option<Instant>,
    /// Whether other processes wait for slots: one that comes free here is then taken off the share.
    pub(super) contested: bool,
}

/// What the fleet knows of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Slots that other processes use.
    pub others: u32,
    /// What the account's cap was here when the fleet heard of it, and the fleet's own, none when it has learned nothing. It
    /// counts unless something else has been learned here since.
    pub learned: Option<(u32, Option<u32>)>,
}

/// The slots of one account.
pub(super) struct AccountSlots {
    /// Slots that are taken, grants on their way included.
    pub(super) in_use: u32,
    /// Of these, requests that the provider has refused: they hold a slot here and none there.
    pub(super) refused: u32,
    /// What the operator allows.
    pub(super) max: u32,
    /// What the fleet grants this process.
    pub(super) share: Option<Share>,
    /// Slots that the fleet's other processes use, as last heard.
    others: u32,
    /// A slot came free under a share with an end, and nobody has looked at the time since.
    pub(super) unseen: bool,
    /// What the provider says.
    pub(super) learn: Learn,
    /// How long slots of cancelled calls stay taken.
    pub(super) settle: Settle,
    /// No new slots until then, and until somebody who knows the time has said so.
    pub(super) paused: Option<Instant>,
    /// Whether a slot that comes free ends that: the provider only wanted one of its own calls to end.
    pub(super) ends_early: bool,
    /// The number of the last grant, so that of two accounts with the same load the one that rested longer is next.
    pub(super) last_grant: u64,
    /// For each priority, how many grants in a row went to higher ones while it waited for this account.
    pub(super) passed: [u32; 3],
    /// Where its calls count as well.
    pub(super) heir: Option<Heir>,
}

impl AccountSlots {
    pub(super) fn new(max: u32) -> AccountSlots {
        let learn = Learn::new(max);
        let (in_use, refused, last_grant, passed) = (0, 0, 0, [0; 3]);
        AccountSlots {
            in_use,
            refused,
            max,
            share: None,
            others: 0,
            unseen: false,
            learn,
            settle: Settle::default(),
            paused: None,
            ends_early: false,
            last_grant,
            passed,
            heir: None,
        }
    }

    /// How many slots there are.
    pub(super) fn cap(&self) -> u32 {
        self.without_fleet().min(self.share.map_or(u32::MAX, |share| share.slots))
    }

    /// How many there were if the fleet granted any number.
    pub(super) fn without_fleet(&self) -> u32 {
        self.max.min(self.learn.cap())
    }

    /// Slots of this plan that other processes use.
    pub(super) fn others(&self) -> u32 {
        if self.share.is_some() { self.others } else { 0 }
    }

    /// What the fleet knows: how many slots its other processes use, and what all of them have learned, unless this account has
    /// learned something since it had `before`.
    pub(super) fn heard(&mut self, heard: &Heard, now: Instant) {
        self.others = heard.others;
        if let Some((before, learned)) = heard.learned
            && self.learn.cap() == before
        {
            self.learn.agreed(learned, now);
        }
    }

    /// Whether a pause or the provider's word keeps this account from another slot.
    pub(super) fn is_blocked(&self) -> bool {
        self.paused.is_some() || self.in_use >= self.without_fleet()
    }

    /// Whether a slot can be had.
    pub(super) fn open(&self) -> bool {
        self.paused.is_none() && !self.unseen && self.in_use < self.cap()
    }

    /// No new slots until then. A pause that ends early does so unless a plain one began beside it. Whether it is longer now.
    pub(super) fn pause(&mut self, until: Instant, ends_early: bool) -> bool {
        self.ends_early = ends_early && (self.paused.is_none() || self.ends_early);
        let longer = self.paused.is_none_or(|other| other < until);
        self.paused = Some(self.paused.map_or(until, |other| other.max(until)));
        longer
    }

    /// Somebody knows the time: a pause may be over, and a share as well.
    pub(super) fn resume(&mut self, now: Instant) {
        self.paused = self.paused.filter(|until| *until > now);
        self.unseen = false;
        if let Some(share) = self.share.as_mut().filter(|share| share.until.is_some_and(|until| until <= now)) {
            share.slots = 0;
        }
    }

    /// A slot is given back; `held` unless it was one that the provider never gave.
    pub(super) fn leave(&mut self, refused: bool, held: bool) {
        if held && self.ends_early {
            self.paused = None;
        }
        self.in_use = self.in_use.saturating_sub(1);
        self.refused = self.refused.saturating_sub(u32::from(refused));
        if let Some(share) = &mut self.share {
            self.unseen = share.until.is_some();
            if share.contested {
                share.slots = share.slots.min(self.in_use);
            }
        }
    }

    /// Whether this account is less loaded than another, as a share of its slots.
    pub(super) fn freer_than(&self, other: &AccountSlots) -> bool {
        let own = u64::from(self.in_use) * u64::from(other.cap());
        let others = u64::from(other.in_use) * u64::from(self.cap());
        own < others || own == others && self.last_grant < other.last_grant
    }
}
