use super::*;
use crate::limit::Crowd;

fn setup() -> Setup {
    let (lease, timeout) = (Duration::from_secs(6), Duration::from_millis(5));
    Setup { id: "p".to_owned(), prefix: "t".to_owned(), lease, timeout }
}

fn demand(share: u32, in_use: u32, waiting: u32) -> Demand {
    Demand { share: Some(share), max: 10, in_use, waiting, ..Demand::default() }
}

const FLEET: Learned = Learned { cap: None, version: 0, others: 0 };
const ANSWER: Answer =
    Answer { share: 3, contested: false, size: 4, rank: 1, grace: Duration::ZERO, fleet: FLEET, crowd: CROWD };
const CROWD: Crowd = Crowd { keep: 0, tenants: Vec::new() };

fn begin(lease: &mut Lease, demand: &Demand) -> Update {
    lease.begin("limiter", "name", demand, (Vec::new(), Duration::ZERO))
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
    let notice =
        |update, share| Notice { update, share, contested: true, size: 5, rank: 1, fleet: FLEET, crowd: CROWD };
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
