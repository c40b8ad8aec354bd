//! What an agent knows about its lease of one limiter: what is written about it at the backend, and until when.
//!
//! No clock, no socket: the agent tells what happened and asks what to do.

use super::inbox::Notice;
use super::setup::Setup;
use crate::limit::Demand;
use std::time::{Duration, Instant};

/// The answer to an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Slots that this gateway may use.
    pub(super) share: u32,
    /// Whether other gateways wait for slots.
    pub(super) contested: bool,
    /// Gateways that share this limiter, zero when that is not known yet, and the place of this one among them.
    pub(super) size: u32,
    pub(super) rank: u32,
    /// How long no slots are handed out, because the backend has lost what it knew.
    pub(super) grace: Duration,
}

/// How long a gateway whose callers wait waits for a message.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A lease of slots.
#[derive(Debug)]
pub(super) struct Lease {
    update: u64,
    /// The share as the backend has it.
    written: u32,
    /// Callers that wait, as the backend takes it.
    reported: u32,
    contested: bool,
    /// Size of the fleet, and the place in it; as last heard.
    fleet: Option<(u32, u32)>,
    /// When the backend is asked again, whatever happens.
    next: Instant,
    /// Until when the share may be used.
    until: Instant,
    /// A message came, so that what the backend takes for true is to be renewed.
    stale: bool,
    /// Since when the backend was wanted and did not answer.
    trouble: Option<Instant>,
    lost: bool,
}

impl Lease {
    pub(super) fn new(now: Instant) -> Lease {
        Lease {
            update: 0,
            written: 0,
            reported: 0,
            contested: false,
            fleet: None,
            next: now,
            until: now,
            stale: false,
            trouble: None,
            lost: false,
        }
    }

    /// When the agent has something to do, if nothing happens before.
    pub(super) fn due(&self, setup: &Setup) -> Instant {
        match self.trouble {
            Some(since) if !self.lost => since + setup.patience(),
            Some(_) | None => self.next,
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
    }

    /// Whether everything that happens at the gate matters, or only that somebody waits.
    pub(super) fn watches(&self) -> bool {
        self.contested || self.reported > 0
    }

    /// Idle slots that are kept for the next callers: none while others wait, and else fewer each time.
    pub(super) fn spare(&self, demand: &Demand, now: Instant) -> u32 {
        match (self.contested, self.next <= now) {
            (true, _) => 0,
            (false, true) => demand.idle() / 2,
            (false, false) => demand.idle(),
        }
    }

    /// Begins an update: its number, and the size of the fleet that was last heard of.
    pub(super) fn begin(&mut self, demand: &Demand) -> (u64, u32) {
        self.update += 1;
        self.stale = false;
        self.reported = demand.waiting;
        (self.update, self.fleet.map_or(0, |(size, _)| size))
    }

    /// It was answered. `kept` was the share when it began, at `sent`. Gives by how much the share changes.
    pub(super) fn answered(&mut self, kept: u32, answer: &Answer, sent: Instant, setup: &Setup) -> i64 {
        let change = i64::from(answer.share) - i64::from(kept);
        // What it grew by went to callers who were waiting.
        self.reported = self.reported.saturating_sub(u32::try_from(change).unwrap_or(0));
        self.written = answer.share;
        self.contested = answer.contested;
        self.heard(answer.size, answer.rank);
        self.until = sent + setup.usable();
        // Whoever waits would miss a message that got lost.
        let renewal = if self.reported > 0 { setup.renewal().min(ASK_AGAIN) } else { setup.renewal() };
        self.next = sent + renewal;
        if !answer.grace.is_zero() {
            self.next = self.next.min(sent + answer.grace);
        }
        (self.trouble, self.lost) = (None, false);
        change
    }

    /// The backend said something unasked. Gives by how much the share changes; none for what is not true any more.
    pub(super) fn notified(&mut self, notice: &Notice) -> Option<i64> {
        self.heard(notice.size, notice.rank);
        // A message that follows another update is older than the answer of the last, or than what was written since.
        if notice.update != self.update || self.trouble.is_some() {
            return None;
        }
        let change = i64::from(notice.share) - i64::from(self.written);
        self.reported = self.reported.saturating_sub(u32::try_from(change).unwrap_or(0));
        // Who only heard how large the fleet is has nothing to say.
        self.stale |= change != 0 || notice.contested != self.contested;
        self.written = notice.share;
        self.contested = notice.contested;
        Some(change)
    }

    /// Until when the share may be used, and whether others wait for it.
    pub(super) fn terms(&self) -> (Instant, bool) {
        (self.until, self.contested)
    }

    /// How large the fleet is; nothing while it comes back to a backend that has forgotten it.
    fn heard(&mut self, size: u32, rank: u32) {
        if size > 0 {
            self.fleet = Some((size, rank));
        }
    }

    /// The backend was wanted and did not answer.
    pub(super) fn failed(&mut self, since: Instant, setup: &Setup) {
        let _ = self.trouble.get_or_insert(since);
        self.next = since + setup.patience();
    }

    /// Whether the backend has not answered for so long that it is given up; true once.
    pub(super) fn is_lost(&mut self, now: Instant, setup: &Setup) -> bool {
        let lost = !self.lost && self.trouble.is_some_and(|since| now >= since + setup.patience());
        if lost {
            (self.lost, self.contested) = (true, false);
        }
        lost
    }

    /// What this gateway uses without the backend: of `max` slots its part by the last known size of the fleet. The parts
    /// add up to `max`: the first gateways get one more where it cannot be divided, and where there are more gateways
    /// than slots, the last get none.
    pub(super) fn local_share(&self, max: u32, unheard: u32) -> u32 {
        let (size, rank) = self.fleet.unwrap_or((unheard, unheard));
        match (max / size, u32::from(rank < max % size)) {
            // Whoever never heard of the others does not know its place either.
            (0, _) if self.fleet.is_none() => 1,
            (part, rest) => part + rest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> Setup {
        let (lease, timeout) = (Duration::from_secs(6), Duration::from_millis(5));
        Setup { id: "p".to_owned(), prefix: "t".to_owned(), lease, timeout }
    }

    fn demand(share: u32, in_use: u32, waiting: u32) -> Demand {
        Demand { share: Some(share), max: 10, in_use, waiting, oldest_wait_since: None }
    }

    const ANSWER: Answer = Answer { share: 3, contested: false, size: 4, rank: 1, grace: Duration::ZERO };

    /// A lease that was answered with three slots.
    fn answered(now: Instant) -> Lease {
        let mut lease = Lease::new(now);
        assert!(lease.wants_update(&demand(0, 0, 0), now));
        assert_eq!(lease.begin(&demand(0, 0, 3)), (1, 0));
        assert_eq!(lease.answered(0, &ANSWER, now, &setup()), 3);
        lease
    }

    #[test]
    fn updates_are_sent_when_there_is_something_to_say() {
        let now = Instant::now();
        let lease = answered(now);
        assert!(!lease.wants_update(&demand(3, 3, 0), now), "all is as it is written");
        assert!(!lease.wants_update(&demand(3, 1, 0), now), "idle slots are for the next callers");
        assert!(lease.wants_update(&demand(3, 3, 1), now), "somebody waits");
        assert!(lease.wants_update(&demand(2, 2, 0), now), "a slot was given back");
        assert!(lease.wants_update(&demand(3, 3, 0), now + Duration::from_secs(2)), "it is to be renewed");
        assert_eq!(lease.spare(&demand(3, 1, 0), now), 2);
        assert_eq!(lease.spare(&demand(3, 1, 0), now + Duration::from_secs(2)), 1);
        assert_eq!(lease.terms(), (now + Duration::from_millis(5400), false));
    }

    #[test]
    fn messages_count_once_and_in_order() {
        let mut lease = answered(Instant::now());
        let notice = |update, share| Notice { update, share, contested: true, size: 5, rank: 1 };
        assert_eq!(lease.notified(&notice(0, 9)), None);
        assert_eq!((lease.notified(&notice(1, 4)), lease.notified(&notice(1, 4))), (Some(1), Some(0)));
        assert!(
            lease.watches() && lease.wants_update(&demand(4, 4, 0), Instant::now()),
            "what it waits for is to be said again"
        );
        assert_eq!(lease.spare(&demand(4, 3, 0), Instant::now()), 0, "others wait");
        let _ = lease.begin(&demand(4, 4, 0));
        assert_eq!(lease.notified(&notice(1, 9)), None, "older than the answer that is on its way");
    }

    #[test]
    fn a_fleet_that_comes_back_is_remembered_as_large_as_it_was() {
        let (now, mut lease) = (Instant::now(), answered(Instant::now()));
        let grace = Duration::from_millis(300);
        let _ = lease.begin(&demand(3, 3, 0));
        assert_eq!(lease.answered(3, &Answer { size: 0, grace, ..ANSWER }, now, &setup()), 0);
        assert_eq!(lease.begin(&demand(3, 3, 0)).1, 4);
        assert_eq!(lease.due(&setup()), now + grace);
    }

    #[test]
    fn patience_ends_once_and_the_parts_add_up() {
        let (now, mut lease) = (Instant::now(), answered(Instant::now()));
        lease.failed(now, &setup());
        assert!(!lease.is_lost(now + Duration::from_millis(99), &setup()));
        assert!(lease.is_lost(now + Duration::from_millis(100), &setup()));
        assert!(!lease.is_lost(now + Duration::from_millis(100), &setup()));
        for (max, size) in [(10, 8), (3, 8), (10, 3), (1, 1), (0, 2)] {
            let part = |rank| {
                lease.fleet = Some((size, rank));
                lease.local_share(max, 10)
            };
            assert_eq!((0..size).map(part).sum::<u32>(), max, "{max} by {size}");
        }
        lease.fleet = None;
        assert_eq!((lease.local_share(40, 10), lease.local_share(3, 10)), (4, 1));
    }
}
