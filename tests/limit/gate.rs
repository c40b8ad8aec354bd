//! Slots and the queue for them.

use super::{Clock, ms, poll, secs};
use speechgate::limit::{Entry, Gate, Lanes, Permit, Priority, Setup, Standing, Waiting};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

fn gate(max: u32, queue: u32) -> Arc<Gate> {
    Gate::new(&Setup { max, queue, lanes: 1 })
}

fn admitted(entry: Entry) -> Permit {
    match entry {
        Entry::Admitted(permit) => permit,
        Entry::Queued(_) => panic!("queued"),
        Entry::Full => panic!("full"),
    }
}

fn queued(entry: Entry) -> Waiting {
    match entry {
        Entry::Queued(waiting) => waiting,
        Entry::Admitted(_) => panic!("admitted"),
        Entry::Full => panic!("full"),
    }
}

fn full(entry: &Entry) -> bool {
    matches!(entry, Entry::Full)
}

/// Enters at normal priority, whatever the lane.
fn enter(gate: &Arc<Gate>, clock: &Clock) -> Entry {
    gate.enter(Priority::Normal, Lanes::ALL, clock.now())
}

fn stands(gate: &Gate, limit: u32, in_use: u32, queued: u32) {
    assert_eq!(gate.standing(), Standing { limit, in_use, queued });
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

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn the_waker_of_the_last_poll_is_woken_once() {
    let (gate, clock) = (gate(1, 8), Clock::new());
    let holder = admitted(enter(&gate, &clock));
    let mut waiting = queued(enter(&gate, &clock));
    let counts = [0, 1].map(|_| Arc::new(Count(AtomicUsize::new(0))));
    for count in &counts {
        let waker = Waker::from(Arc::clone(count));
        assert!(std::pin::Pin::new(&mut waiting).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    drop(holder);
    assert_eq!(counts.each_ref().map(|count| count.0.load(Ordering::Relaxed)), [0, 1]);
    assert!(poll(&mut waiting).is_some());
    // Ready once: from then on pending, and its drop frees nothing.
    assert!(poll(&mut waiting).is_none());
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
    let (gate, clock) = (Gate::new(&Setup { max: 2, queue: 4, lanes: 2 }), Clock::new());
    let permits: Vec<Permit> = (0..4).map(|_| admitted(enter(&gate, &clock))).collect();
    assert_eq!(permits.iter().map(Permit::lane).collect::<Vec<_>>(), [0, 1, 0, 1]);
    let mut second_only = queued(gate.enter(Priority::High, Lanes::only(1), clock.now()));
    let mut any = queued(enter(&gate, &clock));
    let mut permits = permits.into_iter();
    drop(permits.next());
    assert_eq!(poll(&mut any).map(|permit| permit.lane()), Some(0));
    assert!(poll(&mut second_only).is_none());
    drop(permits.next());
    assert_eq!(poll(&mut second_only).map(|permit| permit.lane()), Some(1));
    assert!(full(&gate.enter(Priority::High, Lanes::NONE, clock.now())));
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
