//! The results of active health checks, for the upstreams of a route. Pure: the responses are its input.

use crate::config::types::HealthCheck;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The bit of an upstream in a set.
pub(crate) fn bit(upstream: usize) -> u64 {
    1 << upstream.min(63)
}

/// The upstreams that pass, as bits.
#[derive(Debug)]
pub(crate) struct Checked(AtomicU64);

impl Checked {
    /// With the results known so far.
    pub(super) fn new(passing: impl Iterator<Item = bool>) -> Checked {
        let failing = passing.enumerate().filter(|(_, passes)| !passes);
        Checked(AtomicU64::new(failing.fold(0, |set, (index, _)| set | bit(index))))
    }

    pub(crate) fn passes(&self, upstream: usize) -> bool {
        self.0.load(Relaxed) & bit(upstream) == 0
    }

    pub(crate) fn set(&self, upstream: usize, passes: bool) {
        let _ = match passes {
            true => self.0.fetch_and(!bit(upstream), Relaxed),
            false => self.0.fetch_or(bit(upstream), Relaxed),
        };
    }
}

/// Consecutive results that contradict the current state of one upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Streak(u32);

impl Streak {
    /// Adds a result. Returns the new state when it changes, which takes the configured number of equal results.
    pub(crate) fn record(&mut self, good: bool, passes: bool, check: &HealthCheck) -> Option<bool> {
        if good == passes {
            self.0 = 0;
            return None;
        }
        self.0 += 1;
        let enough = if good { check.healthy } else { check.unhealthy };
        (self.0 >= enough).then(|| {
            self.0 = 0;
            good
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn one_answer_changes_nothing() {
        let check = HealthCheck {
            path: "/health".to_owned(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            healthy: 2,
            unhealthy: 3,
            status: (200, 299),
            credentials: false,
        };
        let (mut streak, mut passes) = (Streak::default(), true);
        let mut believed = Vec::new();
        for good in [false, false, true, false, false, false, true, false, true, true, false] {
            if let Some(now) = streak.record(good, passes, &check) {
                passes = now;
            }
            believed.push(passes);
        }
        assert_eq!(believed, [true, true, true, true, true, false, false, false, false, true, true]);
    }

    #[test]
    fn what_is_known_is_by_upstream() {
        let checked = Checked::new([true, false, true].into_iter());
        assert_eq!([0, 1, 2].map(|index| checked.passes(index)), [true, false, true]);
        checked.set(1, true);
        checked.set(2, false);
        assert_eq!([0, 1, 2].map(|index| checked.passes(index)), [true, true, false]);
    }
}
