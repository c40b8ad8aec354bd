//! What an agent knows about its lease of one limiter: what is written about it at the backend, and until when.
//!
//! No clock, no socket: the agent tells what happened and asks what to do.

use super::inbox::{Learned, Notice};
use super::scripts::{Answer, Update};
use super::setup::Setup;
use crate::limit::{Demand, Heard};
use std::time::{Duration, Instant};

/// How long a gateway with waiting calls waits for a message before it asks again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A lease of slots.
#[derive(Debug)]
pub(super) struct Lease {
    update: u64,
    /// The share as the backend has it.
    written: u32,
    /// What it has at least, whether it has read the last update or not.
    kept: u32,
    /// Waiting calls, as last reported to the backend.
    reported: u32,
    /// Used slots, as last reported to the backend.
    used: u32,
    /// What the fleet has learned, as last heard; and what the gate had learned when the last update began.
    learned: Learned,
    had: Option<u32>,
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
    /// Since when it is given up.
    lost: Option<Instant>,
}

impl Lease {
    pub(super) fn new(now: Instant) -> Lease {
        Lease {
            update: 0,
            written: 0,
            kept: 0,
            reported: 0,
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

    /// When the agent has something to do, if nothing happens before.
    pub(super) fn due(&self, now: Instant, setup: &Setup) -> Instant {
        match (self.trouble, self.lost) {
            (Some(since), None) => since + setup.patience(),
            // The leases of the others are over then.
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
            // What runs beyond the share is counted until it has ended.
            || self.used > self.written && demand.in_use < self.used
            || self.news(demand).is_some()
    }

    /// What the gate has learned and the fleet does not know.
    fn news(&self, demand: &Demand) -> Option<u32> {
        demand.learned.filter(|cap| *cap != self.learned.cap.unwrap_or(demand.max).min(demand.max))
    }

    /// Another update is wanted, whatever there is to say.
    pub(super) fn is_called(&mut self) {
        self.stale = true;
    }

    /// Whether everything that happens at the gate matters, or only that somebody waits.
    pub(super) fn watches(&self) -> bool {
        self.contested || self.reported > 0 || self.used > self.written
    }

    /// Idle slots that are kept for the next calls: none while others wait, and else fewer each time.
    pub(super) fn spare(&self, demand: &Demand, now: Instant) -> u32 {
        match (self.contested, self.next <= now) {
            (true, _) => 0,
            (false, true) => demand.idle() / 2,
            (false, false) => demand.idle(),
        }
    }

    /// Begins an update.
    pub(super) fn begin(&mut self, key: &str, name: &str, demand: &Demand) -> Update {
        self.update += 1;
        self.stale = false;
        self.reported = demand.waiting;
        (self.used, self.kept, self.had) = (demand.in_use, demand.share.unwrap_or(0), demand.learned);
        Update {
            key: key.to_owned(),
            name: name.to_owned(),
            number: self.update,
            known: self.fleet.map_or(0, |(size, _)| size),
            demand: *demand,
            learned: self.news(demand),
            version: self.learned.version,
            leaving: false,
        }
    }

    /// The update was answered that was sent at `sent`. Gives by how much the share changes.
    pub(super) fn answered(&mut self, answer: &Answer, sent: Instant, setup: &Setup) -> i64 {
        let change = i64::from(answer.share) - i64::from(self.kept);
        // The slots that it grew by went to waiting calls.
        self.reported = self.reported.saturating_sub(u32::try_from(change).unwrap_or(0));
        (self.written, self.kept) = (answer.share, answer.share);
        self.contested = answer.contested;
        self.heard(answer.size, answer.rank);
        self.until = sent + setup.usable();
        // Whoever waits would miss a message that got lost.
        let renewal = if self.reported > 0 { setup.renewal().min(ASK_AGAIN) } else { setup.renewal() };
        self.next = sent + renewal;
        if !answer.grace.is_zero() {
            self.next = self.next.min(sent + answer.grace);
        }
        (self.trouble, self.lost) = (None, None);
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
        (self.written, self.kept) = (notice.share, notice.share);
        self.contested = notice.contested;
        Some(change)
    }

    /// What the fleet knows of the account, in an answer or in a message, for the gate to hear.
    pub(super) fn heard_of(&mut self, fleet: &Learned, max: u32, answered: bool) -> Heard {
        let before = self.learned.cap.unwrap_or(max).min(max);
        let forgotten = fleet.version < self.learned.version;
        // A message may be older than what is known; a backend that has forgotten everything is told again.
        if forgotten && !answered {
            return Heard { others: fleet.others, learned: None };
        }
        // With another plan each gateway gives up what is too much of its share.
        self.stale |= !answered && fleet.version > self.learned.version;
        let had = if answered { self.had } else { Some(before) };
        self.learned = *fleet;
        Heard { others: fleet.others, learned: had.filter(|_| !forgotten).map(|had| (had, fleet.cap)) }
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
    pub(super) fn failed(&mut self, since: Instant, now: Instant, setup: &Setup) {
        let _ = self.trouble.get_or_insert(since);
        // A connection that comes back rouses everybody; this is for one that stays and gives no answers.
        self.next = now + setup.patience().max(setup.renewal().min(ASK_AGAIN));
    }

    /// Whether it has not answered for so long that it is given up.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// Gives it up if it is time to. Whether that is news.
    pub(super) fn give_up(&mut self, now: Instant, setup: &Setup) -> bool {
        let lost = self.lost.is_none() && self.trouble.is_some_and(|since| now >= since + setup.patience());
        if lost {
            (self.lost, self.contested) = (Some(now), false);
        }
        lost
    }

    /// What this gateway uses of `max` slots while the backend is lost: what it was last granted, and no more than its part of
    /// the plan. The rest of its part may be in use elsewhere, until the leases of all are over.
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
        let (size, rank) = self.fleet.filter(|(size, _)| *size >= tally.0).unwrap_or(tally);
        match (max / size, u32::from(rank < max % size)) {
            // Whoever never heard of the others does not know its place either.
            (0, _) if rank >= size => 1,
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
        Demand { share: Some(share), max: 10, in_use, waiting, ..Demand::default() }
    }

    const FLEET: Learned = Learned { cap: None, version: 0, others: 0 };
    const ANSWER: Answer = Answer { share: 3, contested: false, size: 4, rank: 1, grace: Duration::ZERO, fleet: FLEET };

    fn begin(lease: &mut Lease, demand: &Demand) -> Update {
        lease.begin("limiter", "name", demand)
    }

    /// A lease that was answered with three slots.
    fn answered(now: Instant) -> Lease {
        let mut lease = Lease::new(now);
        assert!(lease.wants_update(&demand(0, 0, 0), now));
        let update = begin(&mut lease, &demand(0, 0, 3));
        assert_eq!((update.number, update.known), (1, 0));
        assert_eq!(lease.answered(&ANSWER, now, &setup()), 3);
        lease
    }

    #[test]
    fn updates_are_sent_when_there_is_something_to_say() {
        let now = Instant::now();
        let lease = answered(now);
        assert!(!lease.wants_update(&demand(3, 3, 0), now), "all is as it is written");
        assert!(!lease.wants_update(&demand(3, 1, 0), now), "idle slots are for the next calls");
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
        let notice = |update, share| Notice { update, share, contested: true, size: 5, rank: 1, fleet: FLEET };
        assert_eq!(lease.notified(&notice(0, 9)), None);
        assert_eq!((lease.notified(&notice(1, 4)), lease.notified(&notice(1, 4))), (Some(1), Some(0)));
        assert!(
            lease.watches() && lease.wants_update(&demand(4, 4, 0), Instant::now()),
            "what it waits for is to be said again"
        );
        assert_eq!(lease.spare(&demand(4, 3, 0), Instant::now()), 0, "others wait");
        let _ = begin(&mut lease, &demand(4, 4, 0));
        assert_eq!(lease.notified(&notice(1, 9)), None, "older than the answer that is on its way");
    }

    #[test]
    fn a_fleet_that_comes_back_is_remembered_as_large_as_it_was() {
        let (now, mut lease) = (Instant::now(), answered(Instant::now()));
        let grace = Duration::from_millis(300);
        let _ = begin(&mut lease, &demand(3, 3, 0));
        assert_eq!(lease.answered(&Answer { size: 0, grace, ..ANSWER }, now, &setup()), 0);
        assert_eq!(begin(&mut lease, &demand(3, 3, 0)).known, 4);
        assert_eq!(lease.due(now, &setup()), now + grace);
    }

    #[test]
    fn patience_ends_once_and_the_parts_add_up() {
        let (now, mut lease) = (Instant::now(), answered(Instant::now()));
        lease.failed(now, now, &setup());
        assert!(!lease.give_up(now + Duration::from_millis(99), &setup()));
        assert!(lease.give_up(now + Duration::from_millis(100), &setup()));
        assert!(!lease.give_up(now + Duration::from_millis(100), &setup()) && lease.is_lost());
        for (max, size) in [(10, 8), (3, 8), (10, 3), (1, 1), (0, 2)] {
            let part = |rank| {
                lease.fleet = Some((size, rank));
                lease.local_share(max, (1, 0))
            };
            assert_eq!((0..size).map(part).sum::<u32>(), max, "{max} by {size}");
        }
        assert_eq!(lease.local_share(10, (10, 3)), 1, "more gateways than come by at this limiter");
        lease.fleet = None;
        assert_eq!((lease.local_share(40, (10, 10)), lease.local_share(3, (10, 10))), (4, 1));
    }

    #[test]
    fn a_lost_backend_leaves_what_was_granted_and_no_more_than_a_part_until_all_leases_are_over() {
        for (granted, first) in [(0, 0), (1, 1), (3, 3), (9, 3)] {
            let (now, mut lease) = (Instant::now(), answered(Instant::now()));
            let _ = begin(&mut lease, &demand(3, 0, 0));
            let _ = lease.answered(&Answer { share: granted, ..ANSWER }, now, &setup());
            lease.failed(now, now, &setup());
            let lost = now + Duration::from_millis(100);
            assert!(lease.give_up(lost, &setup()));
            let uses = |at| lease.without_backend(10, (1, 0), at, &setup());
            assert_eq!(uses(lost), first, "its part is three of ten");
            assert_eq!(uses(lost + Duration::from_millis(5999)), first);
            assert_eq!(uses(lost + Duration::from_secs(6)), 3);
            assert_eq!(lease.due(lost + Duration::from_millis(5999), &setup()), lease.next.min(lost + setup().lease));
        }
        // Slots that were given back in an update that nobody answered may be another's.
        let (now, mut lease) = (Instant::now(), answered(Instant::now()));
        let _ = begin(&mut lease, &demand(1, 1, 0));
        lease.failed(now, now, &setup());
        assert!(lease.give_up(now + Duration::from_millis(100), &setup()));
        assert_eq!(lease.without_backend(10, (1, 0), now + Duration::from_millis(100), &setup()), 1);
    }

    #[test]
    fn the_end_of_calls_beyond_the_share_is_told() {
        let (now, mut lease) = (Instant::now(), answered(Instant::now()));
        let _ = begin(&mut lease, &demand(0, 2, 0));
        let _ = lease.answered(&Answer { share: 0, ..ANSWER }, now, &setup());
        assert!(lease.watches() && !lease.wants_update(&demand(0, 2, 0), now));
        assert!(lease.wants_update(&demand(0, 1, 0), now));
        let _ = begin(&mut lease, &demand(0, 0, 0));
        let _ = lease.answered(&Answer { share: 0, ..ANSWER }, now, &setup());
        assert!(!lease.watches());
    }

    #[test]
    fn what_is_learned_is_told_once_and_heard_unless_more_is_known() {
        let (now, mut lease) = (Instant::now(), answered(Instant::now()));
        let with = |learned| Demand { learned: Some(learned), ..demand(3, 3, 0) };
        assert!(!lease.wants_update(&with(10), now), "nothing but the plan");
        assert!(lease.wants_update(&with(4), now));
        let update = begin(&mut lease, &with(4));
        assert_eq!((update.learned, update.version), (Some(4), 0));
        let fleet = Learned { cap: Some(4), version: 1, others: 2 };
        let heard = lease.heard_of(&fleet, 10, true);
        assert_eq!(heard, Heard { others: 2, learned: Some((4, Some(4))) });
        let _ = lease.answered(&Answer { fleet, ..ANSWER }, now, &setup());
        assert!(!lease.wants_update(&with(4), now) && lease.wants_update(&with(5), now));
        // Another gateway learned more.
        let heard = lease.heard_of(&Learned { cap: Some(2), version: 2, others: 2 }, 10, false);
        assert_eq!(heard.learned, Some((4, Some(2))));
        assert!(lease.wants_update(&with(2), now), "there is less of the plan");
        assert_eq!(lease.heard_of(&fleet, 10, false).learned, None, "a late message");
        // The backend has forgotten it.
        let _ = begin(&mut lease, &with(2));
        assert_eq!(lease.heard_of(&FLEET, 10, true).learned, None);
        let update = begin(&mut lease, &with(2));
        assert_eq!((update.learned, update.version), (Some(2), 0));
    }
}
