//! What happens in a world, and when: drawn from its seed.

use super::*;

/// What happens, and when.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Call {
        call: Call,
        leaves: Option<Duration>,
    },
    /// The provider does not want this key, or this path of this key, until then, and says that it takes so long.
    RateLimits {
        key: usize,
        long: Duration,
        says: Duration,
    },
    Breaks {
        key: usize,
        path: usize,
        long: Duration,
        says: Duration,
    },
    /// The plan of a key has so many slots, and a refusal says so much or nothing.
    Plan {
        key: usize,
        slots: u32,
        says: Option<Duration>,
    },
    Reload(usize),
}

/// What happens, in order.
pub(super) fn story(rng: &mut Rng, first: usize) -> Vec<(Duration, Event)> {
    let whole = [8_000, 30_000, 90_000][rng.usize(0..3)];
    let mut events = Vec::new();
    for _ in 0..rng.usize(25..60) {
        // Some clients send slowly, some leave.
        let slow = |rng: &mut Rng| if rng.u32(0..8) == 0 { between(rng, 1000, 40_000) } else { Duration::ZERO };
        let (upload, rest) = (slow(rng), slow(rng));
        let leaves = (rng.u32(0..10) == 0).then(|| between(rng, 1, 2000));
        let (key, path, hold) = (rng.usize(0..3), rng.usize(0..3), between(rng, 10, 2500));
        let call = Call { route: rng.usize(0..2), key, path, upload, rest, hold };
        events.push((between(rng, 0, whole), Event::Call { call, leaves }));
    }
    for _ in 0..rng.usize(0..5) {
        let at = between(rng, 0, whole);
        let (key, long) = (rng.usize(0..3), between(rng, 100, 20_000));
        let says = [1, 2, 5, 20, 3600][rng.usize(0..5)];
        let says = Duration::from_secs(says);
        let event = match rng.u32(0..4) {
            0 => Event::RateLimits { key, long, says },
            1 => Event::Breaks { key, path: rng.usize(0..3), long, says },
            2 => Event::Plan { key, slots: rng.u32(1..MAX), says: rng.bool().then_some(says) },
            _ if first == 0 || first == LEARNING => Event::Reload(first),
            _ => Event::Reload([rng.usize(1..LEARNING), rng.usize(SHARED..CONFIGS.len())][rng.usize(0..2)]),
        };
        events.push((at, event));
    }
    events.sort_by_key(|(at, _)| *at);
    // A route that leaves its account has a plan of its own from then on, and none does here.
    let mut current = first;
    for (_, event) in &mut events {
        if let Event::Reload(number) = event {
            if current >= SHARED && *number < SHARED {
                *number = current;
            }
            current = *number;
        }
    }
    events
}
