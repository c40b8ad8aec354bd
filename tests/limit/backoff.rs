//! A provider's Retry-After, and one probe at its end.

use super::{Clock, ms, secs};
use speechgate::limit::Backoffs;
use speechgate::limit::backoff::{
    BackoffKeys, LONGEST, MOST, PROBE_DEADLINE, PROBE_EVERY, PROBING, Pass, Probe, Reach, STALE,
};
use std::sync::Arc;
use std::time::Duration;

/// The same credential, two paths of it, and another credential.
const HERE: BackoffKeys = BackoffKeys { credential: 1, path: 11, template: 111 };
const BESIDE: BackoffKeys = BackoffKeys { credential: 1, path: 12, template: 112 };
const ELSEWHERE: BackoffKeys = BackoffKeys { credential: 2, path: 21, template: 121 };

type Named = Backoffs<&'static str>;

fn probe(backoffs: &Arc<Named>, place: BackoffKeys, clock: &Clock) -> Probe<&'static str> {
    match backoffs.check(place, clock.now()) {
        Pass::Probe(probe) => probe,
        Pass::Free => panic!("free"),
        Pass::BackOff { .. } => panic!("held"),
    }
}

fn held(backoffs: &Arc<Named>, place: BackoffKeys, clock: &Clock) -> Option<(&'static str, Duration)> {
    match backoffs.check(place, clock.now()) {
        Pass::BackOff { what, remaining } => Some((what, remaining)),
        Pass::Free => None,
        Pass::Probe(_) => panic!("a probe"),
    }
}

#[test]
fn it_binds_everybody_and_then_one_probe_goes_first() {
    let (backoffs, mut clock) = (Named::new(), Clock::new());
    assert_eq!(held(&backoffs, HERE, &clock), None);
    backoffs.refused(HERE, Reach::Credential, "rate", secs(3), clock.now());
    clock.pass(ms(1200));
    for place in [HERE, BESIDE] {
        assert_eq!(held(&backoffs, place, &clock), Some(("rate", ms(1800))));
    }
    assert_eq!(held(&backoffs, ELSEWHERE, &clock), None);
    clock.pass(ms(1800));
    let first = probe(&backoffs, HERE, &clock);
    assert_eq!(held(&backoffs, BESIDE, &clock), Some(("rate", PROBING)));
    first.open();
    assert_eq!(held(&backoffs, BESIDE, &clock), None);
    assert_eq!(backoffs.count(), 0);
}

#[test]
fn a_probe_that_is_refused_holds_anew() {
    let (backoffs, mut clock) = (Named::new(), Clock::new());
    backoffs.refused(HERE, Reach::Credential, "rate", secs(1), clock.now());
    clock.pass(secs(1));
    let first = probe(&backoffs, HERE, &clock);
    clock.pass(ms(100));
    backoffs.refused(HERE, Reach::Credential, "unavailable", secs(2), clock.now());
    drop(first);
    assert_eq!(held(&backoffs, HERE, &clock), Some(("unavailable", secs(2))));
}

#[test]
fn a_probe_that_tells_nothing_lets_the_next_one_try() {
    let (backoffs, mut clock) = (Named::new(), Clock::new());
    backoffs.refused(HERE, Reach::Credential, "rate", secs(1), clock.now());
    clock.pass(secs(1));
    drop(probe(&backoffs, HERE, &clock));
    let second = probe(&backoffs, BESIDE, &clock);
    assert_eq!(held(&backoffs, HERE, &clock), Some(("rate", PROBING)));
    second.open();
    assert_eq!(held(&backoffs, HERE, &clock), None);
}

#[test]
fn a_late_answer_of_an_old_probe_opens_nothing() {
    let (backoffs, mut clock) = (Named::new(), Clock::new());
    backoffs.refused(HERE, Reach::Credential, "rate", secs(1), clock.now());
    clock.pass(secs(1));
    let old = probe(&backoffs, HERE, &clock);
    // Forgotten as a whole, and held anew.
    old.open();
    backoffs.refused(HERE, Reach::Credential, "rate", secs(5), clock.now());
    clock.pass(secs(5));
    let new = probe(&backoffs, HERE, &clock);
    assert_eq!(held(&backoffs, HERE, &clock), Some(("rate", PROBING)));
    drop(new);
}

#[test]
fn the_three_refusals_reach_as_far_as_they_mean() {
    for (reach, here, beside) in [
        (Reach::Credential, Some(("x", secs(1))), Some(("x", secs(1)))),
        (Reach::Path, Some(("x", secs(1))), None),
        (Reach::Template, Some(("x", secs(1))), None),
    ] {
        let (backoffs, clock) = (Named::new(), Clock::new());
        backoffs.refused(HERE, reach, "x", secs(1), clock.now());
        assert_eq!(held(&backoffs, HERE, &clock), here, "{reach:?}");
        assert_eq!(held(&backoffs, BESIDE, &clock), beside, "{reach:?}");
        assert_eq!(held(&backoffs, ELSEWHERE, &clock), None, "{reach:?}");
    }
}

#[test]
fn a_path_and_its_credential_are_probed_together() {
    let (backoffs, mut clock) = (Named::new(), Clock::new());
    backoffs.refused(HERE, Reach::Path, "poll", secs(2), clock.now());
    backoffs.refused(HERE, Reach::Credential, "rate", secs(1), clock.now());
    clock.pass(ms(1500));
    assert_eq!(held(&backoffs, HERE, &clock), Some(("poll", ms(500))));
    clock.pass(ms(500));
    let both = probe(&backoffs, HERE, &clock);
    assert_eq!(held(&backoffs, BESIDE, &clock), Some(("rate", PROBING)));
    both.open();
    assert_eq!(backoffs.count(), 0);
}

#[test]
fn the_longer_of_two_waits_counts() {
    let (backoffs, mut clock) = (Named::new(), Clock::new());
    backoffs.refused(HERE, Reach::Credential, "long", secs(9), clock.now());
    backoffs.refused(HERE, Reach::Credential, "short", secs(1), clock.pass(secs(1)));
    assert_eq!(held(&backoffs, HERE, &clock), Some(("long", secs(8))));
    backoffs.refused(HERE, Reach::Credential, "for ever", Duration::MAX, clock.now());
    assert_eq!(held(&backoffs, HERE, &clock), Some(("for ever", LONGEST)));
}

#[test]
fn places_are_bounded_and_forgotten() {
    let (backoffs, mut clock) = (Named::new(), Clock::new());
    let place = |path: usize| BackoffKeys { credential: 1, path: path as u64 + 100, template: 7 };
    for path in 0..2 * MOST {
        backoffs.refused(place(path), Reach::Path, "poll", secs(1), clock.now());
    }
    assert_eq!(backoffs.count(), MOST);
    assert!(held(&backoffs, place(MOST - 1), &clock).is_some());
    assert!(held(&backoffs, place(MOST), &clock).is_none());
    // One is being probed, and stays.
    clock.pass(secs(1));
    let first = probe(&backoffs, place(0), &clock);
    backoffs.sweep(clock.pass(STALE - ms(1)));
    assert_eq!(backoffs.count(), MOST);
    backoffs.refused(place(MOST), Reach::Path, "poll", secs(1), clock.pass(ms(1)));
    assert_eq!(backoffs.count(), 2);
    drop(first);
    backoffs.sweep(clock.now());
    assert_eq!(backoffs.count(), 1);
}

#[test]
fn an_outage_of_one_path_is_none_of_the_credential_until_another_path_confirms_it() {
    let (backoffs, mut clock) = (Named::new(), Clock::new());
    let third = BackoffKeys { credential: 1, path: 13, template: 113 };
    let sibling = BackoffKeys { path: 14, ..HERE };
    backoffs.refused(HERE, Reach::Template, "out", secs(5), clock.now());
    backoffs.refused(sibling, Reach::Template, "out", secs(5), clock.now());
    assert_eq!(held(&backoffs, sibling, &clock), Some(("out", secs(5))));
    assert_eq!((held(&backoffs, third, &clock), held(&backoffs, ELSEWHERE, &clock)), (None, None));
    backoffs.refused(ELSEWHERE, Reach::Template, "out", secs(5), clock.now());
    assert_eq!(held(&backoffs, third, &clock), None, "another credential confirms nothing");
    backoffs.refused(BESIDE, Reach::Template, "out", secs(4), clock.pass(secs(1)));
    assert_eq!(held(&backoffs, third, &clock), Some(("out", secs(4))));
    // What is over confirms nothing either.
    clock.pass(secs(4));
    probe(&backoffs, BESIDE, &clock).open();
    backoffs.refused(BESIDE, Reach::Template, "out", secs(4), clock.now());
    assert_eq!(held(&backoffs, third, &clock), None);
}

#[test]
fn a_long_wait_is_probed_every_half_minute() {
    let (backoffs, mut clock) = (Named::new(), Clock::new());
    backoffs.refused(HERE, Reach::Credential, "rate", secs(3600), clock.now());
    clock.pass(PROBE_EVERY - ms(1));
    assert!(held(&backoffs, HERE, &clock).is_some());
    clock.pass(ms(1));
    let first = probe(&backoffs, HERE, &clock);
    assert_eq!(held(&backoffs, BESIDE, &clock), Some(("rate", secs(3570))));
    drop(first);
    assert!(held(&backoffs, HERE, &clock).is_some(), "it ended without a word, and the next comes in half a minute");
    clock.pass(PROBE_EVERY);
    probe(&backoffs, HERE, &clock).open();
    assert_eq!(held(&backoffs, BESIDE, &clock), None);
}

#[test]
fn a_slow_probe_is_not_waited_for() {
    let (backoffs, mut clock) = (Named::new(), Clock::new());
    backoffs.refused(HERE, Reach::Credential, "rate", secs(1), clock.now());
    clock.pass(secs(1));
    let slow = probe(&backoffs, HERE, &clock);
    clock.pass(PROBE_DEADLINE - ms(1));
    assert_eq!(held(&backoffs, HERE, &clock), Some(("rate", PROBING)));
    clock.pass(ms(1));
    assert!(backoffs.peek(HERE, clock.now()).is_none(), "a peek takes nobody's turn");
    let next = probe(&backoffs, HERE, &clock);
    drop(slow);
    assert_eq!(held(&backoffs, HERE, &clock), Some(("rate", PROBING)), "the slow one ends nothing any more");
    next.open();
    assert_eq!(held(&backoffs, HERE, &clock), None);
}

#[test]
fn the_operator_ends_all_waits() {
    let (backoffs, clock) = (Named::new(), Clock::new());
    backoffs.refused(HERE, Reach::Credential, "rate", secs(60), clock.now());
    backoffs.refused(ELSEWHERE, Reach::Path, "poll", secs(60), clock.now());
    assert_eq!((backoffs.clear(), backoffs.count()), (2, 0));
    assert_eq!(held(&backoffs, HERE, &clock), None);
}
