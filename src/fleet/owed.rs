//! Debts: what was admitted here while the backend could not be asked, until the backend is told.

use super::scripts::Counter;
use crate::limit::rate::Quota;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Most keys that are remembered. Beyond that, what was admitted is never reported.
const MOST: usize = 4096;

/// Units that the backend has not heard of, by their key in this process, because names at the backend may change.
#[derive(Debug, Default)]
pub(super) struct Owed(Mutex<BTreeMap<u64, (u32, Instant, Quota)>>);

impl Owed {
    /// Records units that were admitted.
    pub(super) fn add(&self, counter: &Counter, units: u32, now: Instant) {
        if units == 0 {
            return;
        }
        let mut all = self.lock();
        if let Some((owed, at, quota)) = all.get_mut(&counter.own) {
            let left = left(*owed, *at, &counter.quota, now);
            (*owed, *at, *quota) = (left.saturating_add(units).min(counter.quota.burst.get()), now, counter.quota);
            return;
        }
        if all.len() >= MOST {
            // Debts of keys that are not used any more need no report: the rate has refilled by now.
            all.retain(|_, (owed, at, quota)| left(*owed, *at, quota, now) > 0);
        }
        if all.len() < MOST {
            let _ = all.insert(counter.own, (units, now, counter.quota));
        }
    }

    /// Takes what has to be reported for a key.
    pub(super) fn take(&self, counter: &Counter, now: Instant) -> u32 {
        self.lock().remove(&counter.own).map_or(0, |(owed, at, _)| left(owed, at, &counter.quota, now))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, (u32, Instant, Quota)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much of a past debt has not been refilled by now.
fn left(units: u32, at: Instant, quota: &Quota, now: Instant) -> u32 {
    let free =
        now.saturating_duration_since(at).as_secs_f64() / quota.per.as_secs_f64() * f64::from(quota.amount.get());
    // The cast saturates.
    units.saturating_sub(free as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;
    use std::time::Duration;

    #[test]
    fn what_passed_is_told_once_and_forgotten_with_time() {
        let ten = NonZeroU32::new(10).expect("ten");
        let quota = Quota { amount: ten, per: Duration::from_secs(10), burst: ten };
        let counter = |own: u64| Counter { key: String::new(), own, quota, cost: 1, passed: 0 };
        let (owed, now) = (Owed::default(), Instant::now());
        owed.add(&counter(1), 3, now);
        owed.add(&counter(1), 4, now + Duration::from_secs(2));
        assert_eq!(owed.take(&counter(1), now + Duration::from_secs(3)), 4, "three, less two, and four, less one");
        assert_eq!(owed.take(&counter(1), now + Duration::from_secs(3)), 0);
        owed.add(&counter(1), 99, now);
        owed.add(&counter(1), 99, now);
        assert_eq!(owed.take(&counter(1), now), 10, "never more than a burst");
        (0..2 * MOST as u64).for_each(|number| owed.add(&counter(number + 2), 1, now));
        assert_eq!(owed.lock().len(), MOST);
        let later = now + Duration::from_secs(60);
        owed.add(&counter(0), 2, later);
        assert_eq!(owed.take(&counter(0), later), 2, "what is free again makes room");
    }
}
