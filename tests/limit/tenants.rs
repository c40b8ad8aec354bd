//! Slots that tenants share: weights, reserves, maxima, places in the queue.

use super::{ms, poll};
use proptest::prelude::*;
use speechgate::limit::{AccountSet, Claim, Entry, Gate, Permit, Priority, Setup, TenantShare, TenantStats, Waiting};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const EVEN: TenantShare = TenantShare { weight: 1, reserve: 0, max: None };

/// A clock that the gate reads and the test moves.
#[derive(Clone)]
struct Clock(Arc<Mutex<Instant>>);

impl Clock {
    fn now(&self) -> Instant {
        *self.0.lock().expect("a lock")
    }

    fn pass(&self, time: Duration) {
        *self.0.lock().expect("a lock") += time;
    }

    fn shares(&self, gate: &Gate, shares: &[(u64, TenantShare)]) {
        let clock = self.clone();
        gate.share_among(shares, Arc::new(move || clock.now()));
    }
}

fn gate(max: u32, queue: u32, shares: &[TenantShare]) -> (Arc<Gate>, Clock) {
    let gate = Gate::new(&Setup { max, queue, accounts: 1 });
    let clock = Clock(Arc::new(Mutex::new(Instant::now())));
    let shares: Vec<_> = (0..).zip(shares.iter().copied()).collect();
    clock.shares(&gate, &shares);
    (gate, clock)
}

fn enter(gate: &Arc<Gate>, clock: &Clock, tenant: u64) -> Entry {
    enter_as(gate, clock, tenant, Priority::Normal)
}

fn enter_as(gate: &Arc<Gate>, clock: &Clock, tenant: u64, priority: Priority) -> Entry {
    gate.enter(Claim { priority, tenant: Some(tenant) }, AccountSet::ALL, clock.now())
}

fn admitted(entry: Entry) -> Permit {
    let Entry::Admitted(permit) = entry else { panic!("no slot") };
    permit
}

fn queued(entry: Entry) -> Waiting {
    let Entry::Queued(waiting) = entry else { panic!("not queued") };
    waiting
}

fn held(gate: &Gate, tenant: u64) -> u32 {
    gate.tenant_stats().iter().find(|stats| stats.tenant == Some(tenant)).map_or(0, |stats| stats.in_use)
}

/// A tenant of the simulation: how many calls it wants to have at once, and how long each lasts.
#[derive(Clone, Copy)]
struct Wants {
    calls: usize,
    lasts: u64,
}

/// Runs calls for so many milliseconds. The service of each tenant in slot milliseconds, its longest wait, and the slots that were
/// in use on average.
fn run((gate, clock): &(Arc<Gate>, Clock), wants: &[Wants], until: u64) -> (Vec<u64>, Vec<u64>, f64) {
    let mut service = vec![0; wants.len()];
    let mut longest = vec![0; wants.len()];
    let mut running: Vec<Vec<(u64, Permit)>> = wants.iter().map(|_| Vec::new()).collect();
    let mut waiting: Vec<VecDeque<(u64, Waiting)>> = wants.iter().map(|_| VecDeque::new()).collect();
    let mut used = 0;
    let mut random = 0x9e37_79b9_u64;
    // Calls of people differ in length; were all alike, they would all end at one moment.
    let mut end = |now: u64, lasts: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        now + lasts / 2 + (random >> 33) % (lasts + 1)
    };
    for now in 0..until {
        for (tenant, want) in wants.iter().enumerate() {
            running[tenant].retain(|(end, _)| *end > now);
            while running[tenant].len() + waiting[tenant].len() < want.calls {
                match enter(gate, clock, tenant as u64) {
                    Entry::Admitted(permit) => running[tenant].push((end(now, want.lasts), permit)),
                    Entry::Queued(place) => waiting[tenant].push_back((now, place)),
                    Entry::Full => break,
                }
            }
        }
        for (tenant, want) in wants.iter().enumerate() {
            let mut still = VecDeque::new();
            for (since, mut place) in waiting[tenant].drain(..) {
                match poll(&mut place) {
                    Some(permit) => {
                        longest[tenant] = longest[tenant].max(now - since);
                        running[tenant].push((end(now, want.lasts), permit));
                    }
                    None => still.push_back((since, place)),
                }
            }
            waiting[tenant] = still;
            service[tenant] += running[tenant].len() as u64;
            used += running[tenant].len();
        }
        clock.pass(ms(1));
    }
    (service, longest, used as f64 / until as f64)
}

/// Jain's index: 1 when all are equal, 1/n when one has everything.
fn jain(values: &[f64]) -> f64 {
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|value| value * value).sum();
    sum * sum / (values.len() as f64 * squares)
}

#[test]
fn a_tenant_at_ten_times_its_share_takes_nothing_from_those_within_theirs() {
    let shared = gate(30, 200, &[EVEN; 6]);
    let mut wants = [Wants { calls: 5, lasts: 100 }; 6];
    wants[0].calls = 50;
    let (service, longest, used) = run(&shared, &wants, 5_000);
    let service: Vec<f64> = service.iter().map(|service| *service as f64).collect();
    assert!(jain(&service) >= 0.95, "{service:?}");
    assert!(longest[1..].iter().all(|wait| *wait <= 150), "{longest:?}");
    assert!(used >= 0.95 * 30.0, "{used}");
}

#[test]
fn tenants_that_want_more_than_there_is_get_it_by_weight() {
    for slots in [1, 2, 7, 30] {
        let weights = [1, 2, 4];
        let shares = weights.map(|weight| TenantShare { weight, ..EVEN });
        let shared = gate(slots, 400, &shares);
        let (service, _, used) = run(&shared, &[Wants { calls: 30, lasts: 20 }; 3], 5_000);
        let for_weight: Vec<f64> =
            service.iter().zip(weights).map(|(service, weight)| *service as f64 / f64::from(weight)).collect();
        assert!(jain(&for_weight) >= 0.95, "{slots} slots: {service:?}");
        assert!(used >= 0.95 * f64::from(slots), "{slots} slots: {used}");
    }
}

#[test]
fn whose_calls_last_longer_gets_fewer_of_them() {
    let shared = gate(12, 400, &[EVEN; 3]);
    let wants = [10, 50, 100].map(|lasts| Wants { calls: 20, lasts });
    let (service, ..) = run(&shared, &wants, 8_000);
    let service: Vec<f64> = service.iter().map(|service| *service as f64).collect();
    assert!(jain(&service) >= 0.95, "{service:?}");
}

#[test]
fn what_one_does_not_want_the_others_get() {
    let shared = gate(10, 100, &[EVEN; 4]);
    let wants = [Wants { calls: 40, lasts: 50 }, Wants { calls: 1, lasts: 50 }, Wants { calls: 0, lasts: 50 }];
    let (service, longest, used) = run(&shared, &wants, 4_000);
    assert!(used > 9.9, "{used}");
    assert!(service[0] > 8 * service[1] && longest[1] <= 50, "{service:?} {longest:?}");
}

/// Who was away has no credit with which to shut the others out when it comes back.
#[test]
fn who_was_away_brings_no_credit_along() {
    let shared = gate(4, 100, &[EVEN; 2]);
    let _ = run(&shared, &[Wants { calls: 20, lasts: 20 }], 3_000);
    let (service, longest, _) = run(&shared, &[Wants { calls: 20, lasts: 20 }; 2], 1_000);
    assert!(service[0] * 10 >= service[1] * 9, "{service:?}");
    assert!(longest[0] < 400, "{longest:?}");
}

#[test]
fn a_reserve_is_kept_while_its_tenant_wants_it() {
    let (gate, clock) = gate(4, 10, &[TenantShare { reserve: 2, ..EVEN }, EVEN]);
    // Nobody wants it: all four are for whoever comes.
    let all: Vec<_> = (0..4).map(|_| admitted(enter(&gate, &clock, 1))).collect();
    drop(all);
    let first = admitted(enter(&gate, &clock, 0));
    let two = [(); 2].map(|()| admitted(enter(&gate, &clock, 1)));
    let mut third = queued(enter(&gate, &clock, 1));
    let mut urgent = queued(enter_as(&gate, &clock, 1, Priority::High));
    let second = admitted(enter_as(&gate, &clock, 0, Priority::Low));
    assert!(poll(&mut third).is_none() && poll(&mut urgent).is_none());
    drop(two);
    let (third, urgent) = (poll(&mut third).expect("a slot"), poll(&mut urgent).expect("a slot"));
    drop([first, second]);
    // Its last call has ended.
    let more = [(); 2].map(|()| admitted(enter(&gate, &clock, 1)));
    let mut back = queued(enter(&gate, &clock, 0));
    let mut other = queued(enter(&gate, &clock, 1));
    drop(third);
    assert!(poll(&mut other).is_none());
    let back = poll(&mut back).expect("its reserve goes before the others");
    drop(urgent);
    assert!(poll(&mut other).is_none(), "the second slot of the reserve");
    drop(back);
    assert!(poll(&mut other).is_some());
    drop(more);
}

#[test]
fn who_gives_up_keeps_no_reserve() {
    let (gate, clock) = gate(2, 10, &[TenantShare { reserve: 2, max: Some(2), ..EVEN }, EVEN]);
    let [one, two] = [(); 2].map(|()| admitted(enter(&gate, &clock, 1)));
    let reserved = queued(enter(&gate, &clock, 0));
    let mut other = queued(enter(&gate, &clock, 1));
    let mut granted = queued(enter(&gate, &clock, 0));
    drop(one);
    drop(reserved);
    assert!(poll(&mut other).is_none());
    let kept = poll(&mut granted).expect("a slot");
    drop(two);
    assert!(poll(&mut other).is_none());
    drop(kept);
    assert!(poll(&mut other).is_some());
}

#[test]
fn nobody_holds_more_than_its_maximum() {
    let (gate, clock) = gate(4, 10, &[TenantShare { max: Some(1), ..EVEN }, EVEN]);
    let first = admitted(enter(&gate, &clock, 0));
    let mut second = queued(enter_as(&gate, &clock, 0, Priority::High));
    let others = [(); 3].map(|()| admitted(enter(&gate, &clock, 1)));
    assert_eq!(gate.demand(0).waiting, 0, "no slot of a fleet would help it");
    drop(others);
    assert!(poll(&mut second).is_none());
    drop(first);
    let second = poll(&mut second).expect("a slot");
    assert_eq!(held(&gate, 0), 1);
    drop(second);
}

#[test]
fn one_tenant_never_fills_the_queue() {
    let (gate, clock) = gate(1, 8, &[EVEN; 3]);
    let _held = admitted(enter(&gate, &clock, 0));
    let mut places = Vec::new();
    let take = |tenant, places: &mut Vec<Waiting>| {
        let before = places.len();
        places.extend((0..20).map_while(|_| match enter(&gate, &clock, tenant) {
            Entry::Queued(place) => Some(place),
            Entry::Admitted(_) | Entry::Full => None,
        }));
        places.len() - before
    };
    let taken = [0, 1, 2].map(|tenant| take(tenant, &mut places));
    assert!(taken.iter().all(|taken| *taken > 0) && taken[0] <= 4, "{taken:?}");
}

#[test]
fn a_reload_keeps_what_tenants_hold() {
    let (gate, clock) = gate(4, 10, &[EVEN; 2]);
    let held_before = [(); 2].map(|()| admitted(enter(&gate, &clock, 0)));
    clock.shares(&gate, &[(0, TenantShare { max: Some(2), ..EVEN })]);
    let mut third = queued(enter(&gate, &clock, 0));
    let stranger = admitted(enter(&gate, &clock, 7));
    assert_eq!((held(&gate, 0), held(&gate, 7)), (2, 1));
    clock.shares(&gate, &[]);
    let third = poll(&mut third).expect("no maximum any more");
    drop((held_before, stranger, third));
    assert_eq!(gate.tenant_stats(), []);
}

proptest! {
    /// Whatever happens in whatever order: no maximum is passed, and nobody waits who may have a slot.
    #[test]
    fn no_slot_is_free_for_who_waits(
        shares in prop::collection::vec((1_u32..4, 0_u32..3, prop::option::of(3_u32..5)), 1..4),
        slots in 1_u32..6,
        steps in prop::collection::vec((0_u64..4, 0_u8..3, 0_usize..8), 1..120),
    ) {
        let shares: Vec<_> =
            shares.into_iter().map(|(weight, reserve, max)| TenantShare { weight, reserve, max }).collect();
        let (gate, clock) = gate(slots, 6, &shares);
        let (mut running, mut waiting) = (Vec::new(), Vec::new());
        for (tenant, what, which) in steps {
            clock.pass(ms(1));
            match what {
                0 => match enter(&gate, &clock, tenant) {
                    Entry::Admitted(permit) => running.push(permit),
                    Entry::Queued(place) => waiting.push(place),
                    Entry::Full => {}
                },
                1 if which < running.len() => drop(running.swap_remove(which)),
                2 if which < waiting.len() => drop(waiting.swap_remove(which)),
                _ => {}
            }
            waiting = waiting.into_iter().filter_map(|mut place| match poll(&mut place) {
                Some(permit) => {
                    running.push(permit);
                    None
                }
                None => Some(place),
            }).collect();
            check(&gate, &shares, slots, (running.len(), waiting.len()))?;
        }
        drop((running, waiting));
        prop_assert!(gate.tenant_stats().iter().all(|stats| stats.in_use == 0 && stats.queued == 0));
    }
}

fn check(gate: &Gate, shares: &[TenantShare], slots: u32, calls: (usize, usize)) -> Result<(), TestCaseError> {
    let all = gate.tenant_stats();
    let share =
        |stats: &TenantStats| stats.tenant.and_then(|tenant| shares.get(tenant as usize)).copied().unwrap_or(EVEN);
    let used: u32 = all.iter().map(|stats| stats.in_use).sum();
    let queued: u32 = all.iter().map(|stats| stats.queued).sum();
    prop_assert_eq!((used as usize, queued as usize), calls);
    prop_assert!(used <= slots);
    let free = slots - used;
    let kept = |stats: &TenantStats| {
        if stats.in_use + stats.queued > 0 { share(stats).reserve.saturating_sub(stats.in_use) } else { 0 }
    };
    for stats in &all {
        let own = share(stats);
        prop_assert!(own.max.is_none_or(|max| stats.in_use <= max));
        let others: u32 = all.iter().filter(|other| other.tenant != stats.tenant).map(kept).sum();
        let may =
            own.max.is_none_or(|max| stats.in_use < max) && (free > others || free > 0 && stats.in_use < own.reserve);
        prop_assert!(stats.queued == 0 || !may, "{stats:?} waits while {free} of {slots} are free: {all:?}");
    }
    Ok(())
}
