//! Rates.

use super::{Clock, ms, secs};
use proptest::prelude::*;
use speechgate::limit::rate::{Left, MOST, Quota, Rate, Refused, SHARDS};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

const ONE: NonZeroU32 = NonZeroU32::MIN;

fn some(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("some")
}

fn quota(amount: u32, per: Duration, burst: u32) -> Quota {
    Quota { amount: some(amount), per, burst: some(burst) }
}

/// The wait of a refusal.
fn wait(answer: Result<Left, Refused>) -> Duration {
    match answer {
        Err(Refused::Later { retry_after, .. }) => retry_after,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_burst_and_then_one_at_a_time() {
    let mut clock = Clock::new();
    let quota = quota(20, secs(1), 3);
    let rate = Rate::new(quota, clock.now());
    for remaining in [2, 1, 0] {
        let left = Left { quota, remaining, reset: ms(50) * (3 - remaining) };
        assert_eq!(rate.check(7, ONE, clock.now()), Ok(left));
    }
    let left = Left { quota, remaining: 0, reset: ms(150) };
    assert_eq!(rate.check(7, ONE, clock.now()), Err(Refused::Later { retry_after: ms(50), left }));
    // Another key has a burst of its own.
    assert!(rate.check(8, some(3), clock.now()).is_ok());
    // The wait is exact, and a refusal costs nothing.
    assert_eq!(wait(rate.check(7, ONE, clock.pass(ms(49)))), ms(1));
    assert!(rate.check(7, ONE, clock.pass(ms(1))).is_ok());
    assert_eq!(wait(rate.check(7, some(2), clock.now())), ms(100));
}

#[test]
fn what_costs_more_than_the_burst_never_fits() {
    let clock = Clock::new();
    let rate = Rate::new(quota(1000, secs(60), 500), clock.now());
    let never = |remaining, answer| match answer {
        Err(Refused::NeverFits { left }) => assert_eq!(left.remaining, remaining),
        other => panic!("{other:?}"),
    };
    never(500, rate.check(1, some(501), clock.now()));
    assert_eq!(rate.keys(), 0);
    assert!(rate.check(1, some(500), clock.now()).is_ok());
    never(0, rate.check(1, some(u32::MAX), clock.now()));
}

#[test]
fn what_was_taken_in_vain_can_be_given_back() {
    let clock = Clock::new();
    let rate = Rate::new(quota(10, secs(1), 10), clock.now());
    let before = rate.check(1, some(4), clock.now());
    assert!(rate.check(1, some(5), clock.now()).is_ok());
    rate.give_back(1, some(5));
    rate.give_back(2, some(5));
    let after = rate.check(1, ONE, clock.now()).expect("one");
    assert_eq!(after.remaining, before.expect("four").remaining - 1);
}

#[test]
fn a_reload_keeps_what_was_used() {
    // Taken of a burst of ten, the new limit, what remains and the wait for a whole burst.
    for (taken, new, remaining, reset) in [
        (5, quota(10, secs(1), 10), 5, ms(500)),
        (5, quota(20, secs(1), 20), 10, ms(500)),
        (10, quota(10, secs(10), 10), 0, secs(10)),
        (10, quota(100, secs(1), 1), 0, ms(10)),
        (0, quota(100, secs(1), 100), 100, ms(0)),
    ] {
        let clock = Clock::new();
        let rate = Rate::new(quota(10, secs(1), 10), clock.now());
        if taken > 0 {
            assert!(rate.check(1, some(taken), clock.now()).is_ok());
        }
        rate.reconfigure(new, clock.now());
        // More than the burst takes nothing and tells what is left.
        let left = Left { quota: new, remaining, reset };
        let answer = rate.check(1, some(101), clock.now());
        assert_eq!(answer, Err(Refused::NeverFits { left }), "{taken} {new:?}");
    }
}

#[test]
fn limits_out_of_all_proportion_do_no_harm() {
    for (amount, per, burst) in [
        (1, Duration::MAX, u32::MAX),
        (u32::MAX, Duration::from_nanos(1), u32::MAX),
        (1, Duration::ZERO, 1),
        (u32::MAX, Duration::MAX, 1),
    ] {
        let mut clock = Clock::new();
        let rate = Rate::new(quota(amount, per, burst), clock.now());
        for cost in [1, burst, u32::MAX] {
            let _ = rate.check(1, some(cost), clock.now());
            let _ = rate.check(1, some(cost), clock.pass(secs(10_000_000)));
        }
        rate.reconfigure(quota(1, secs(1), 1), clock.now());
        rate.reconfigure(quota(amount, per, burst), clock.now());
        let _ = rate.check(1, ONE, clock.now());
    }
}

/// Keys that are spread as hashes are.
fn spread(number: u64) -> u64 {
    // The finalizer of SplitMix64, a bijection.
    let mut key = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    key ^ (key >> 31)
}

#[test]
fn who_invents_keys_takes_no_more_memory_and_nobodys_limit() {
    let mut clock = Clock::new();
    let rate = Rate::new(quota(1, secs(3600), 1), clock.now());
    let known = (0..1000).map(spread);
    for key in known.clone() {
        assert!(rate.check(key, ONE, clock.now()).is_ok());
    }
    let most = SHARDS * MOST;
    let mut admitted = 0;
    for key in (1000..most as u64 + 200_000).map(spread) {
        admitted += usize::from(rate.check(key, ONE, clock.now()).is_ok());
    }
    assert_eq!(rate.keys(), most);
    // One for each key that found room, and one for the crowd of each part.
    assert_eq!(admitted, most - 1000 + SHARDS);
    for key in known {
        assert_eq!(wait(rate.check(key, ONE, clock.now())), secs(3600));
    }
    // An hour later all are idle: the next new key has room again, and sweeping forgets the rest.
    clock.pass(secs(3600));
    assert!(rate.check(spread(u64::MAX), ONE, clock.now()).is_ok());
    for _ in 0..SHARDS {
        rate.sweep(clock.now());
    }
    assert_eq!(rate.keys(), 1);
}

#[test]
fn idle_keys_make_room_by_themselves() {
    let mut clock = Clock::new();
    let rate = Rate::new(quota(10, secs(1), 10), clock.now());
    for number in 0..200_000 {
        assert!(rate.check(spread(number), ONE, clock.pass(Duration::from_micros(100))).is_ok());
        // A thousand are busy at one time; of the idle ones no more are kept than room was made for.
        assert!(number % 1000 != 0 || rate.keys() <= 4096, "{}", rate.keys());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A bucket that fills with time, which is what GCRA is. Whole milliseconds a unit, so that both are exact.
    #[test]
    fn agrees_with_a_bucket(
        step in 1..50_u32,
        burst in 1..20_u32,
        requests in prop::collection::vec((0..3_u64, 1..25_u32, 0..200_u64, any::<bool>()), 1..100),
    ) {
        let mut clock = Clock::new();
        let quota = quota(1, ms(u64::from(step)), burst);
        let rate = Rate::new(quota, clock.now());
        let size = u64::from(burst * step);
        // Milliseconds that are missing in each bucket.
        let mut missing = [0_u64; 3];
        for (key, cost, pause, sweep) in requests {
            clock.pass(ms(pause));
            missing = missing.map(|missing| missing.saturating_sub(pause));
            if sweep {
                (0..SHARDS).for_each(|_| rate.sweep(clock.now()));
            }
            let bucket = &mut missing[key as usize];
            let needed = u64::from(cost * step);
            let answer = rate.check(spread(key), some(cost), clock.now());
            if cost > burst {
                let never = matches!(answer, Err(Refused::NeverFits { .. }));
                prop_assert!(never);
            } else if *bucket + needed > size {
                prop_assert_eq!(wait(answer), ms(*bucket + needed - size));
            } else {
                *bucket += needed;
                let remaining = u32::try_from((size - *bucket) / u64::from(step)).expect("small");
                prop_assert_eq!(answer, Ok(Left { quota, remaining, reset: ms(*bucket) }));
            }
        }
    }
}

#[test]
fn what_is_taken_beyond_a_limit_is_owed_by_the_next() {
    let start = Instant::now();
    let rate = Rate::new(quota(10, Duration::from_secs(10), 10), start);
    let _ = rate.check(1, some(4), start).expect("room");
    rate.take(1, some(16), start);
    assert_eq!(wait(rate.check(1, some(1), start)), Duration::from_secs(11));
    assert!(rate.check(1, some(1), start + Duration::from_secs(11)).is_ok());
    assert!(rate.check(2, some(10), start).is_ok(), "another key owes nothing");
    // Nobody owes for more than a day.
    rate.take(3, some(u32::MAX), start);
    let owed = wait(rate.check(3, some(1), start));
    assert_eq!(owed, Duration::from_secs(24 * 3600 + 1));
}
