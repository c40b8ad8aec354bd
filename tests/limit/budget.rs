//! The retry budget.

use super::{Clock, ms, secs};
use proptest::prelude::*;
use speechgate::limit::Budget;
use speechgate::limit::budget::{FLOOR, WINDOW};

/// How many retries there are at once.
fn retries(budget: &Budget, clock: &Clock) -> u32 {
    (0..).find(|_| !budget.retry(clock.now())).expect("an end")
}

#[test]
fn a_share_of_the_requests_and_a_few_more() {
    for (share, requests, allowed) in [(0.2, 0, 0), (0.2, 10, 2), (0.2, 14, 2), (1.0, 7, 7), (0.1, 1000, 100)] {
        let clock = Clock::new();
        let budget = Budget::new(share, clock.now());
        (0..requests).for_each(|_| budget.request(clock.now()));
        assert_eq!(retries(&budget, &clock), FLOOR + allowed, "{share} of {requests}");
    }
}

#[test]
fn what_is_older_than_the_window_counts_no_more() {
    let mut clock = Clock::new();
    let budget = Budget::new(0.5, clock.now());
    (0..20).for_each(|_| budget.request(clock.now()));
    assert_eq!(retries(&budget, &clock), FLOOR + 10);
    clock.pass(WINDOW - ms(1));
    assert_eq!(retries(&budget, &clock), 0);
    clock.pass(ms(1));
    assert_eq!(retries(&budget, &clock), FLOOR);
    clock.pass(100 * WINDOW);
    assert_eq!(retries(&budget, &clock), FLOOR);
}

#[test]
fn a_reload_counts_on() {
    let clock = Clock::new();
    let budget = Budget::new(0.0, clock.now());
    (0..100).for_each(|_| budget.request(clock.now()));
    assert_eq!(retries(&budget, &clock), FLOOR);
    budget.reconfigure(0.2);
    assert_eq!(retries(&budget, &clock), 20);
}

#[test]
fn an_outage_is_not_amplified() {
    let mut clock = Clock::new();
    let budget = Budget::new(0.2, clock.now());
    let (mut requests, mut retries) = (0, 0);
    // A minute at fifty a second, in which all fail and each would be retried twice.
    for _ in 0..60 * 50 {
        clock.pass(ms(20));
        budget.request(clock.now());
        requests += 1;
        retries += (0..2).filter(|_| budget.retry(clock.now())).count();
    }
    assert!(retries <= requests / 5 + 60 + FLOOR as usize, "{retries} retries of {requests} requests");
    assert!(retries >= requests / 5, "{retries}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A list of everything that was sent, looked through each time.
    #[test]
    fn agrees_with_a_list(share in 0..100_u32, sent in prop::collection::vec((any::<bool>(), 0..900_u64), 1..200)) {
        let mut clock = Clock::new();
        let start = clock.now();
        let budget = Budget::new(f64::from(share) / 100.0, start);
        let step = WINDOW / 10;
        let mut list: Vec<(bool, u128)> = Vec::new();
        for (request, pause) in sent {
            clock.pass(ms(pause));
            let part = (clock.now() - start).as_millis() / step.as_millis();
            let count = |what| list.iter().filter(|(of, at)| *of == what && at + 10 > part).count();
            if request {
                budget.request(clock.now());
            } else {
                let allowed = count(true) as f64 * f64::from(share) / 100.0 + f64::from(FLOOR);
                let there_is = (count(false) + 1) as f64 <= allowed + 1e-6;
                prop_assert_eq!(budget.retry(clock.now()), there_is);
                if !there_is {
                    continue;
                }
            }
            list.push((request, part));
        }
        clock.pass(secs(1));
    }
}
