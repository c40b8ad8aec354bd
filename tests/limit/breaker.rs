//! The circuit breaker.

use super::{Clock, ms, secs};
use speechgate::limit::Breaker;
use speechgate::limit::breaker::{Broken, Condition, PROBE_DEADLINE, PROBING, Pass, Setup};
use std::sync::Arc;

const SETUP: Setup = Setup { failures: 3, window: secs(30), open: secs(10) };

fn pass(breaker: &Arc<Breaker>, clock: &Clock) -> Pass {
    breaker.admit(clock.now()).unwrap_or_else(|broken| panic!("{broken:?}"))
}

fn broken(breaker: &Arc<Breaker>, clock: &Clock) -> Option<std::time::Duration> {
    breaker.admit(clock.now()).err().map(|Broken { remaining }| remaining)
}

fn open(clock: &Clock) -> Arc<Breaker> {
    let breaker = Breaker::new(SETUP);
    (0..3).for_each(|_| pass(&breaker, clock).failed(clock.now()));
    breaker
}

#[test]
fn failures_in_a_row_open_it() {
    // What happened and after which seconds: `x` failed, `.` succeeded, ` ` told nothing.
    for (what, condition) in [
        ("xx", Condition::Closed),
        ("xxx", Condition::Open),
        ("xx.xx", Condition::Closed),
        ("xx.xxx", Condition::Open),
        ("x x x", Condition::Open),
        ("...", Condition::Closed),
    ] {
        let (breaker, clock) = (Breaker::new(SETUP), Clock::new());
        for what in what.chars() {
            let pass = pass(&breaker, &clock);
            match what {
                'x' => pass.failed(clock.now()),
                '.' => pass.succeeded(),
                _ => drop(pass),
            }
        }
        assert_eq!(breaker.condition(clock.now()), condition, "{what:?}");
    }
}

#[test]
fn failures_count_within_their_window() {
    for (last, condition) in [(ms(30_000), Condition::Open), (ms(30_001), Condition::Closed)] {
        let (breaker, mut clock) = (Breaker::new(SETUP), Clock::new());
        pass(&breaker, &clock).failed(clock.now());
        pass(&breaker, &clock).failed(clock.now());
        pass(&breaker, &clock).failed(clock.pass(last));
        assert_eq!(breaker.condition(clock.now()), condition);
    }
}

#[test]
fn one_probe_decides() {
    let mut clock = Clock::new();
    let breaker = open(&clock);
    clock.pass(secs(4));
    assert_eq!(broken(&breaker, &clock), Some(secs(6)));
    clock.pass(secs(6));
    assert_eq!(breaker.condition(clock.now()), Condition::HalfOpen);
    let probe = pass(&breaker, &clock);
    assert_eq!(broken(&breaker, &clock), Some(PROBING));
    probe.failed(clock.now());
    assert_eq!(broken(&breaker, &clock), Some(secs(10)));
    clock.pass(secs(10));
    pass(&breaker, &clock).succeeded();
    assert_eq!(breaker.condition(clock.now()), Condition::Closed);
    // As if nothing had been.
    pass(&breaker, &clock).failed(clock.now());
    assert_eq!(broken(&breaker, &clock), None);
}

#[test]
fn a_probe_that_tells_nothing_does_not_wedge_it() {
    let mut clock = Clock::new();
    let breaker = open(&clock);
    clock.pass(secs(10));
    drop(pass(&breaker, &clock));
    let second = pass(&breaker, &clock);
    assert_eq!(broken(&breaker, &clock), Some(PROBING));
    second.succeeded();
    assert_eq!(broken(&breaker, &clock), None);
}

#[test]
fn what_was_sent_before_tells_nothing_about_now() {
    let mut clock = Clock::new();
    let breaker = Breaker::new(SETUP);
    let old: Vec<Pass> = (0..8).map(|_| pass(&breaker, &clock)).collect();
    let mut old = old.into_iter();
    (0..3).for_each(|_| pass(&breaker, &clock).failed(clock.now()));
    // While it is open, an old success does not close it and an old failure does not prolong it.
    clock.pass(secs(5));
    old.next().expect("one").succeeded();
    old.next().expect("one").failed(clock.now());
    assert_eq!(broken(&breaker, &clock), Some(secs(5)));
    clock.pass(secs(5));
    let probe = pass(&breaker, &clock);
    old.next().expect("one").succeeded();
    drop(old.next());
    assert_eq!(broken(&breaker, &clock), Some(PROBING));
    probe.succeeded();
    old.for_each(|pass| pass.failed(clock.now()));
    assert_eq!(broken(&breaker, &clock), None);
}

#[test]
fn a_reload_changes_the_next_opening() {
    let mut clock = Clock::new();
    let breaker = open(&clock);
    breaker.reconfigure(Setup { failures: 1, open: secs(60), ..SETUP });
    assert_eq!(broken(&breaker, &clock), Some(secs(10)));
    clock.pass(secs(10));
    pass(&breaker, &clock).succeeded();
    pass(&breaker, &clock).failed(clock.now());
    assert_eq!(broken(&breaker, &clock), Some(secs(60)));
}

#[test]
fn a_slow_probe_is_not_waited_for() {
    let mut clock = Clock::new();
    let breaker = open(&clock);
    clock.pass(secs(10));
    let slow = pass(&breaker, &clock);
    clock.pass(PROBE_DEADLINE);
    let next = pass(&breaker, &clock);
    slow.failed(clock.now());
    assert_eq!(broken(&breaker, &clock), Some(PROBING), "its word comes too late");
    next.succeeded();
    assert_eq!(breaker.condition(clock.now()), Condition::Closed);
}
