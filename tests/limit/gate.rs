//! Slots and the queue for them.

use super::{Clock, ms, poll, secs};
use speechgate::limit::{AccountSet, Demand, Entry, Gate, GateStats, Permit, Priority, Setup, Waiting};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub(super) fn gate(max: u32, queue: u32) -> Arc<Gate> {
    Gate::new(&Setup { max, queue, accounts: 1 })
}

pub(super) fn admitted(entry: Entry) -> Permit {
    match entry {
        Entry::Admitted(permit) => permit,
        Entry::Queued(_) => panic!("queued"),
        Entry::Full => panic!("full"),
    }
}

pub(super) fn queued(entry: Entry) -> Waiting {
    match entry {
        Entry::Queued(waiting) => waiting,
        Entry::Admitted(_) => panic!("admitted"),
        Entry::Full => panic!("full"),
    }
}

pub(super) fn full(entry: &Entry) -> bool {
    matches!(entry, Entry::Full)
}

/// Enters at normal priority, whatever the account.
pub(super) fn enter(gate: &Arc<Gate>, clock: &Clock) -> Entry {
    gate.enter(Priority::Normal, AccountSet::ALL, clock.now())
}

pub(super) fn stands(gate: &Gate, limit: u32, in_use: u32, queued: u32) {
    assert_eq!(gate.stats(), GateStats { limit, in_use, queued });
}

#[test]
fn a_slot_a_place_and_then_nothing() {
    let (gate, clock) = (gate(1, 1), Clock::new());
    let first = admitted(enter(&gate, &clock));
    let mut second = queued(enter(&gate, &clock));
    assert!(full(&enter(&gate, &clock)));
    stands(&gate, 1, 1, 1);
    assert!(poll(&mut second).is_none());
    drop(first);
    stands(&gate, 1, 1, 0);
    let second = poll(&mut second).expect("a slot");
    drop(second);
    stands(&gate, 1, 0, 0);
}

/// A call that waited for the only account that it may use waited in vain once a reload had taken that account away: until its
/// wait was over, with every slot free.
#[test]
fn who_waits_for_an_account_that_a_reload_takes_away_gets_its_slot() {
    let clock = Clock::new();
    for retires in [true, false] {
        let gate = Gate::new(&Setup { max: 1, queue: 8, accounts: 2 });
        let one = |account| gate.enter(Priority::Normal, AccountSet::only(account), clock.now());
        let (_first, second) = (admitted(one(0)), admitted(one(1)));
        let (mut gone, mut either) = (queued(one(1)), queued(enter(&gate, &clock)));
        if retires {
            gate.retire(AccountSet::only(1));
        } else {
            gate.reconfigure(&Setup { max: 1, queue: 8, accounts: 1 }, clock.now());
        }
        assert_eq!(gate.stats().limit, 1, "what is taken away counts for nothing");
        drop(second);
        assert!(poll(&mut either).is_none(), "who may use another account uses none that is gone");
        let gone = poll(&mut gone).expect("a slot of the account that it came for");
        assert_eq!(gone.account(), 1);
        assert!(full(&one(1)), "nobody new does");
    }
}

#[test]
fn who_leaves_gives_up_place_and_grant() {
    let (gate, clock) = (gate(1, 8), Clock::new());
    let holder = admitted(enter(&gate, &clock));
    let [leaves, granted, mut last] = std::array::from_fn(|_| queued(enter(&gate, &clock)));
    drop(leaves);
    stands(&gate, 1, 1, 2);
    drop(holder);
    drop(granted);
    let last = poll(&mut last).expect("the slot that was on its way to the other");
    stands(&gate, 1, 1, 0);
    drop(last);
    stands(&gate, 1, 0, 0);
}

#[test]
fn whoever_waits_goes_by_priority_and_none_for_ever() {
    let (gate, clock) = (gate(1, 200), Clock::new());
    let mut slot = Some(admitted(enter(&gate, &clock)));
    let classes = [Priority::Low, Priority::Normal, Priority::High];
    let mut waiting: Vec<(char, Waiting)> = classes
        .iter()
        .zip("lnh".chars())
        .flat_map(|(class, name)| std::iter::repeat_n((*class, name), 40))
        .map(|(class, name)| (name, queued(gate.enter(class, AccountSet::ALL, clock.now()))))
        .collect();
    let mut order = String::new();
    while !waiting.is_empty() {
        drop(slot.take());
        let ready = |(index, (_, waiting)): (usize, &mut (char, Waiting))| poll(waiting).map(|permit| (index, permit));
        let (index, permit) = waiting.iter_mut().enumerate().find_map(ready).expect("somebody is next");
        // Within its class it was the first.
        assert!(waiting[..index].iter().all(|(name, _)| *name != waiting[index].0));
        order.push(waiting.remove(index).0);
        slot = Some(permit);
    }
    let start = "hhhhhhhhlnhhhhhhhlhnhhhhhhlhhnhhhhhlhhhnhhhhlhhhhnnnnl";
    assert!(order.starts_with(start), "{order}");
    for (name, most) in [('h', 2), ('n', 9), ('l', 8)] {
        let last = order.rfind(name).expect("all came");
        let longest = order[..last].split(name).map(str::len).max().expect("some");
        assert!(longest <= most, "{name} was passed over {longest} times in {order}");
    }
}

#[test]
fn a_share_that_shrinks_drains_and_demand_is_told() {
    let (gate, mut clock) = (gate(4, 8), Clock::new());
    let told = Arc::new(AtomicUsize::new(0));
    let hook = Arc::clone(&told);
    gate.on_demand(Arc::new(move || {
        hook.fetch_add(1, Ordering::Relaxed);
    }));
    let told = || told.swap(0, Ordering::Relaxed);
    let mut permits: Vec<Permit> = (0..3).map(|_| admitted(enter(&gate, &clock))).collect();
    drop(permits.pop());
    assert_eq!(told(), 0, "without a share nobody needs to know");
    gate.set_share(0, Some(1));
    stands(&gate, 1, 2, 0);
    let since = clock.now();
    let mut waiting = queued(enter(&gate, &clock));
    let last = queued(gate.enter(Priority::High, AccountSet::ALL, clock.pass(secs(1))));
    assert_eq!(told(), 2);
    assert_eq!(
        gate.demand(0),
        Demand {
            share: Some(1),
            max: 4,
            in_use: 2,
            waiting: 2,
            oldest_wait_since: Some(since),
            part: (0, 1),
            ..Demand::default()
        }
    );
    drop(last);
    drop(permits.pop());
    assert_eq!((told(), poll(&mut waiting).is_some()), (1, false));
    drop(permits.pop());
    let permit = poll(&mut waiting).expect("within the share");
    assert_eq!(
        gate.demand(0),
        Demand { share: Some(1), max: 4, in_use: 1, waiting: 0, part: (0, 1), ..Demand::default() }
    );
    assert_eq!(gate.demand(7), Demand::default());
    drop(permit);
    stands(&gate, 1, 0, 0);
}

#[test]
fn a_hook_may_use_the_gate_that_calls_it() {
    let (gate, clock) = (gate(1, 8), Clock::new());
    let weak = Arc::downgrade(&gate);
    gate.on_demand(Arc::new(move || {
        if let Some(gate) = weak.upgrade() {
            gate.set_share(0, Some(gate.demand(0).waiting));
        }
    }));
    gate.set_share(0, Some(0));
    let mut waiting = queued(enter(&gate, &clock));
    let permit = poll(&mut waiting).expect("a slot that the hook brought");
    drop(permit);
    stands(&gate, 0, 0, 0);
}

#[test]
fn a_reload_keeps_permits_waiters_and_what_was_learned() {
    let (gate, clock) = (gate(2, 2), Clock::new());
    let mut permits: Vec<Permit> = (0..2).map(|_| admitted(enter(&gate, &clock))).collect();
    let mut waiting: Vec<Waiting> = (0..2).map(|_| queued(enter(&gate, &clock))).collect();
    // A queue that shrinks keeps whom it has and takes nobody else.
    gate.reconfigure(&Setup { max: 1, queue: 1, accounts: 1 }, clock.now());
    stands(&gate, 1, 2, 2);
    assert!(full(&enter(&gate, &clock)));
    drop(permits.pop());
    stands(&gate, 1, 1, 2);
    gate.reconfigure(&Setup { max: 4, queue: 1, accounts: 1 }, clock.now());
    stands(&gate, 4, 3, 0);
    permits.extend(waiting.iter_mut().map(|waiting| poll(waiting).expect("a slot")));
    permits[0].refused(clock.now());
    assert_eq!((gate.learned(0), gate.cap(0)), (2, 2));
    gate.reconfigure(&Setup { max: 8, queue: 1, accounts: 1 }, clock.now());
    assert_eq!((gate.learned(0), gate.cap(0)), (2, 2));
    // An account that is no more is given back and not given out.
    gate.reconfigure(&Setup { max: 8, queue: 8, accounts: 2 }, clock.now());
    permits.push(admitted(gate.enter(Priority::Low, AccountSet::only(1), clock.now())));
    gate.reconfigure(&Setup { max: 8, queue: 8, accounts: 1 }, clock.now());
    assert!(full(&gate.enter(Priority::Low, AccountSet::only(1), clock.now())));
    stands(&gate, 2, 4, 0);
    drop(permits);
    stands(&gate, 2, 0, 0);
}

#[test]
fn what_the_provider_refused_does_not_count_there() {
    let (gate, clock) = (gate(10, 0), Clock::new());
    let mut permits: Vec<Permit> = (0..10).map(|_| admitted(enter(&gate, &clock))).collect();
    // Six of ten are refused before any of them is given back, one of them tells it twice.
    for permit in &mut permits[4..] {
        permit.refused(clock.now());
    }
    permits[9].refused(clock.now());
    assert_eq!(gate.cap(0), 4);
    drop(permits.split_off(4));
    stands(&gate, 4, 4, 0);
    assert!(full(&enter(&gate, &clock)));
}

#[test]
fn a_slot_of_an_earlier_cap_proves_nothing() {
    let (gate, mut clock) = (gate(10, 0), Clock::new());
    let mut permits: Vec<Permit> = (0..10).map(|_| admitted(enter(&gate, &clock))).collect();
    permits.drain(4..).for_each(|mut permit| permit.refused(clock.now()));
    assert_eq!(gate.cap(0), 4);
    // Their answers are late; a request in the last slot comes after them.
    clock.pass(secs(1));
    permits.iter().for_each(|permit| permit.succeeded(clock.now()));
    assert_eq!(gate.cap(0), 4);
    permits.truncate(3);
    permits.push(admitted(enter(&gate, &clock)));
    permits[3].succeeded(clock.now());
    assert_eq!(gate.cap(0), 5);
    permits.push(admitted(enter(&gate, &clock)));
    permits[3].succeeded(clock.now());
    assert_eq!(gate.cap(0), 5, "not proven by the one before it");
    permits[4].succeeded(clock.now());
    assert_eq!(gate.cap(0), 6);
}

#[test]
fn what_a_provider_counts_is_others_only_without_a_fleet() {
    for (share, cap) in [(None, 5), (Some(8), 8)] {
        let (gate, clock) = (gate(10, 0), Clock::new());
        gate.set_share(0, share);
        let permit = admitted(enter(&gate, &clock));
        permit.reported(10, Some(6), clock.now());
        assert_eq!(gate.cap(0), cap);
    }
}

#[test]
fn a_pause_ends_for_who_knows_the_time() {
    let (gate, mut clock) = (gate(2, 8), Clock::new());
    gate.pause(0, clock.now() + secs(2));
    assert_eq!(gate.resumes(), Some(clock.now() + secs(2)));
    let mut waiting = queued(enter(&gate, &clock));
    assert_eq!(gate.expected_wait(clock.now()), secs(2));
    gate.wake(clock.pass(ms(1999)));
    assert!(poll(&mut waiting).is_none());
    gate.wake(clock.pass(ms(1)));
    assert!(poll(&mut waiting).is_some());
    assert_eq!(gate.resumes(), None);
}

#[test]
fn slots_of_accounts_are_taken_evenly_and_only_where_allowed() {
    let (gate, clock) = (Gate::new(&Setup { max: 2, queue: 4, accounts: 2 }), Clock::new());
    let permits: Vec<Permit> = (0..4).map(|_| admitted(enter(&gate, &clock))).collect();
    assert_eq!(permits.iter().map(Permit::account).collect::<Vec<_>>(), [0, 1, 0, 1]);
    let mut second_only = queued(gate.enter(Priority::High, AccountSet::only(1), clock.now()));
    let mut any = queued(enter(&gate, &clock));
    let mut permits = permits.into_iter();
    drop(permits.next());
    assert_eq!(poll(&mut any).map(|permit| permit.account()), Some(0));
    assert!(poll(&mut second_only).is_none());
    drop(permits.next());
    assert_eq!(poll(&mut second_only).map(|permit| permit.account()), Some(1));
    assert!(full(&gate.enter(Priority::High, AccountSet::NONE, clock.now())));
}

#[test]
fn an_expected_wait_follows_how_fast_slots_come_free() {
    let (gate, mut clock) = (gate(4, 100), Clock::new());
    let permits: Vec<Permit> = (0..4).map(|_| admitted(enter(&gate, &clock))).collect();
    // Without any history a slot is held for a second, so that one of four comes free in a quarter.
    assert_eq!(gate.expected_wait(clock.now()), ms(250));
    let mut waiting: Vec<Waiting> = (0..100).map(|_| queued(enter(&gate, &clock))).collect();
    let mut permits: std::collections::VecDeque<Permit> = permits.into();
    // Each slot is held for 400 ms: ten a second come free.
    for _ in 0..90 {
        clock.pass(ms(100));
        permits.pop_front();
        permits.push_back(poll(&mut waiting.remove(0)).expect("the next slot"));
        let _ = gate.expected_wait(clock.now());
    }
    let wait = gate.expected_wait(clock.now());
    assert!(wait > ms(1000) && wait < ms(1250), "11 slots at ten a second: {wait:?}");
    // Nothing comes free any more.
    let wait = gate.expected_wait(clock.pass(secs(600)));
    assert_eq!(wait, Duration::from_secs(60));
}

/// A call that was refused is sent again with the slot that it has, and is accepted: the provider holds it after all.
#[test]
fn who_was_refused_and_then_accepted_is_held_by_the_provider() {
    let (gate, clock) = (gate(10, 10), Clock::new());
    let mut permits: Vec<Permit> = (0..10).map(|_| admitted(enter(&gate, &clock))).collect();
    for permit in permits.iter_mut().take(6) {
        permit.refused(clock.now());
        permit.succeeded(clock.now());
    }
    assert!(gate.learned(0) >= 9, "{}", gate.learned(0));
}

/// A wait for one of one's own calls to end is over with it, but not with the one that was refused.
#[test]
fn a_slot_that_comes_free_ends_the_wait_for_one() {
    let (gate, clock) = (gate(3, 8), Clock::new());
    let [running, mut refused] = [(); 2].map(|()| admitted(enter(&gate, &clock)));
    assert!(refused.pause(clock.now() + secs(600)));
    drop(refused);
    let mut waiting = queued(enter(&gate, &clock));
    assert!(poll(&mut waiting).is_none());
    drop(running);
    assert!(poll(&mut waiting).is_some());
    gate.pause(0, clock.now() + secs(600));
    drop(waiting);
    let mut waiting = queued(enter(&gate, &clock));
    assert_eq!((poll(&mut waiting).is_some(), gate.end_pauses(), poll(&mut waiting).is_some()), (false, 1, true));
}

/// The calls of one gate count at another from then on, those that wait at the first too, and neither loses any.
#[test]
fn a_gate_counts_what_it_has_inherited_until_that_ends() {
    let (old, new, clock) = (gate(2, 2), gate(2, 2), Clock::new());
    let (first, second) = (admitted(enter(&old, &clock)), admitted(enter(&old, &clock)));
    let mut waits = queued(enter(&old, &clock));
    new.inherit(0, &old, 0);
    new.inherit(0, &old, 0);
    old.inherit(0, &new, 0);
    old.inherit(0, &old, 0);
    stands(&new, 2, 2, 0);
    let mut at_new = queued(enter(&new, &clock));
    drop(first);
    let third = poll(&mut waits).expect("the slot is that of who waits at the old one");
    stands(&new, 2, 2, 1);
    drop(second);
    let own = poll(&mut at_new).expect("a slot");
    stands(&new, 2, 2, 0);
    // What comes to the old one now is counted there alone.
    let later = admitted(enter(&old, &clock));
    stands(&new, 2, 2, 0);
    drop((own, third));
    stands(&new, 2, 0, 0);
    drop(later);
    stands(&old, 2, 0, 0);
}
