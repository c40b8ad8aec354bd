//! What an agent knows about its lease of one limiter: what is written about it at the backend, and until when.
//!
//! No clock, no socket: the agent tells what happened and asks what to do.

use super::inbox::{Learned, Notice};
use super::scripts::{Answer, Update};
use super::setup::Setup;
use crate::limit::{Demand, Heard, TenantDemand};
use std::time::{Duration, Instant};

/// How long a gateway whose calls wait relies on push messages before it polls.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A lease of slots.
#[derive(Debug)]
pub(super) struct Lease {
    update: u64,
    /// The share as the backend has it.
    written: u32,
    /// A lower bound that holds whether or not the backend has read the last update.
    kept: u32,
    /// Waiting calls, as last reported to the backend.
    reported: u32,
    /// What the tenants of the gate were, as last reported.
    tenants: u64,
    /// Used slots, as last reported to the backend.
    used: u32,
    /// What the fleet has learned, as last heard, and what the gate had learned when the last update was begun.
    learned: Learned,
    had: Option<u32>,
    contested: bool,
    /// Size of the fleet and this gateway's rank in it, as last heard.
    fleet: Option<(u32, u32)>,
    /// When the lease is renewed, whatever else happens.
    next: Instant,
    /// Until when the share may be used.
    until: Instant,
    /// A message came, so the backend's view of this gateway must be refreshed.
    stale: bool,
    /// Since when requests to the backend have gone unanswered.
    trouble: Option<Instant>,
    /// Since when the backend has been given up.
    lost: Option<Instant>,
}

impl Lease {
    pub(super) fn new(now: Instant) -> Lease {
        Lease {
            update: 0,
            written: 0,
            kept: 0,
            reported: 0,
            tenants: 0,
            used: 0,
            learned: Learned::default(),
            had: None,
            contested: false,
            fleet: None,
            next: now,
            until: now,
            stale: false,
            trouble: None,
            lost: None,
        }
    }

    /// When the agent has to act next, unless an event comes first.
    pub(super) fn due(&self, now: Instant, setup: &Setup) -> Instant {
        match (self.trouble, self.lost) {
            (Some(since), None) => since + setup.patience(),
            // By then the leases of all other gateways have expired.
            (_, Some(lost)) if lost + setup.lease > now => self.next.min(lost + setup.lease),
            _ => self.next,
        }
    }

    /// Whether an update has to be sent.
    pub(super) fn wants_update(&self, demand: &Demand, now: Instant) -> bool {
        self.next <= now
            || self.stale
            || self.trouble.is_some()
            || demand.share != Some(self.written)
            || (demand.waiting > 0) != (self.reported > 0)
            || self.contested && demand.idle() > 0
            || demand.tenants != self.tenants
            // Calls beyond the share are reported until they have ended.
            || self.used > self.written && demand.in_use < self.used
            || self.news(demand).is_some()
    }

    /// What the gate has learned and the fleet does not know yet.
    fn news(&self, demand: &Demand) -> Option<u32> {
        demand.learned.filter(|cap| *cap != self.learned.cap.unwrap_or(demand.max).min(demand.max))
    }

    /// Requests another update, even if nothing has changed.
    pub(super) fn is_called(&mut self) {
        self.stale = true;
    }

    /// Which events at the gate rouse the agent: all of them, or only a call that starts to wait.
    pub(super) fn watches(&self) -> bool {
        self.contested || self.reported > 0 || self.used > self.written
    }

    /// What the tenants of the gate were, as last reported: anything else rouses the agent.
    pub(super) fn tenants(&self) -> u64 {
        self.tenants
    }

    /// How many idle slots are kept for the next calls: none while other gateways wait, otherwise fewer each time.
    pub(super) fn spare(&self, demand: &Demand, now: Instant) -> u32 {
        match (self.contested, self.next <= now) {
            (true, _) => 0,
            (false, true) => demand.idle() / 2,
            // Somebody waits whom only the fleet can let in, with a slot of those in hand.
            (false, false) => demand.idle().saturating_sub(demand.waiting),
        }
    }

    /// Begins an update.
    pub(super) fn begin(
        &mut self,
        key: &str,
        name: &str,
        demand: &Demand,
        tenants: (Vec<TenantDemand>, Duration),
    ) -> Update {
        self.update += 1;
        self.stale = false;
        (self.reported, self.tenants) = (demand.waiting, demand.tenants);
        (self.used, self.kept, self.had) = (demand.in_use, demand.share.unwrap_or(0), demand.learned);
        Update {
            key: key.to_owned(),
            name: name.to_owned(),
            number: self.update,
            known: self.fleet.map_or(0, |(size, _)| size),
            demand: *demand,
            tenants,
            learned: self.news(demand),
            version: self.learned.version,
            leaving: false,
        }
    }

    /// The update that was sent at `sent` was answered. Returns by how much the share changes.
    pub(super) fn answered(&mut self, answer: &Answer, sent: Instant, setup: &Setup) -> i64 {
        let change = i64::from(answer.share) - i64::from(self.kept);
        // The slots that it grew by went to waiting calls.
        self.reported = self.reported.saturating_sub(u32::try_from(change).unwrap_or(0));
        (self.written, self.kept) = (answer.share, answer.share);
        self.contested = answer.contested;
        self.heard(answer.size, answer.rank);
        self.until = sent + setup.usable();
        // A push message may get lost, so a gateway whose calls wait also polls.
        let renewal = if self.reported > 0 { setup.renewal().min(ASK_AGAIN) } else { setup.renewal() };
        self.next = sent + renewal;
        if !answer.grace.is_zero() {
            self.next = self.next.min(sent + answer.grace);
        }
        (self.trouble, self.lost) = (None, None);
        change
    }

    /// The backend pushed a message. Returns by how much the share changes, or `None` when the message is out of date.
    pub(super) fn notified(&mut self, notice: &Notice) -> Option<i64> {
        self.heard(notice.size, notice.rank);
        // A message that refers to an earlier update is older than the answer to the last one, or than what was written since.
        if notice.update != self.update || self.trouble.is_some() {
            return None;
        }
        let change = i64::from(notice.share) - i64::from(self.written);
        self.reported = self.reported.saturating_sub(u32::try_from(change).unwrap_or(0));
        // A message that only states the size of the fleet needs no reply.
        self.stale |= change != 0 || notice.contested != self.contested;
        (self.written, self.kept) = (notice.share, notice.share);
        self.contested = notice.contested;
        Some(change)
    }

    /// What the fleet knows of the account, in an answer or in a message, for the gate to hear.
    pub(super) fn heard_of(&mut self, fleet: &Learned, max: u32, answered: bool) -> Heard {
        let before = self.learned.cap.unwrap_or(max).min(max);
        let forgotten = fleet.version < self.learned.version;
        // A message may be older than what is known. A backend that has lost its data is told again.
        if forgotten && !answered {
            return Heard { others: fleet.others, learned: None };
        }
        // With another plan each gateway gives up what is too much of its share.
        self.stale |= !answered && fleet.version > self.learned.version;
        let had = if answered { self.had } else { Some(before) };
        self.learned = *fleet;
        Heard { others: fleet.others, learned: had.filter(|_| !forgotten).map(|had| (had, fleet.cap)) }
    }

    /// Until when the share may be used, and whether other gateways wait for its slots.
    pub(super) fn terms(&self) -> (Instant, bool) {
        (self.until, self.contested)
    }

    /// Notes the size of the fleet. A size of zero changes nothing: gateways are still registering again at a backend that has lost its
    /// data.
    fn heard(&mut self, size: u32, rank: u32) {
        if size > 0 {
            self.fleet = Some((size, rank));
        }
    }

    /// A request to the backend went unanswered.
    pub(super) fn failed(&mut self, since: Instant, now: Instant, setup: &Setup) {
        let _ = self.trouble.get_or_insert(since);
        // A new connection rouses every agent. This timer is for a connection that stays up and gives no answers.
        self.next = now + setup.patience().max(setup.renewal().min(ASK_AGAIN));
    }

    /// Whether the backend has been given up because it did not answer for too long.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// Gives the backend up if it is time to. Returns whether that changed anything.
    pub(super) fn give_up(&mut self, now: Instant, setup: &Setup) -> bool {
        let lost = self.lost.is_none() && self.trouble.is_some_and(|since| now >= since + setup.patience());
        if lost {
            (self.lost, self.contested) = (Some(now), false);
        }
        lost
    }

    /// Whether the leases of all other gateways have expired.
    pub(super) fn is_settled(&self, now: Instant, setup: &Setup) -> bool {
        self.fleet.is_none() || self.lost.is_none_or(|lost| now >= lost + setup.lease)
    }

    /// The size of the fleet and the rank of this gateway in it, by which parts are divided.
    pub(super) fn place(&self, tally: (u32, u32)) -> (u32, u32) {
        self.fleet.filter(|(size, _)| *size >= tally.0).unwrap_or(tally)
    }

    /// How many of `max` slots this gateway uses while the backend is lost: what it was last granted, but no more than its part of the
    /// plan. Other gateways may be using the rest of that part until all leases have expired.
    pub(super) fn without_backend(&self, max: u32, tally: (u32, u32), now: Instant, setup: &Setup) -> u32 {
        let part = self.local_share(max, tally);
        match self.lost {
            Some(lost) if self.fleet.is_some() && now < lost + setup.lease => part.min(self.kept),
            Some(_) | None => part,
        }
    }

    /// This gateway's part of `max` slots by the last known size of the fleet, or of the gateways at this limiter if there were
    /// more. The parts add up to `max`: the first gateways get one more where it cannot be divided, and where there are more
    /// gateways than slots, the last get none.
    fn local_share(&self, max: u32, tally: (u32, u32)) -> u32 {
        let (size, rank) = self.place(tally);
        match (max / size, u32::from(rank < max % size)) {
            // A gateway that has never heard of the others does not know its rank either.
            (0, _) if rank >= size => 1,
            (part, rest) => part + rest,
        }
    }
}

#[cfg(test)]
mod tests;
