//! Budgets: how much of something may be used in a day, a week or thirty days, counted by the calendar in UTC.
//!
//! A day begins at midnight, a week on Monday, and thirty days every thirtieth day since 1970. What is used beyond the end of a budget is
//! what was under way when it ended: only beginnings are refused. Periods only go forward: a clock that is set back forgets nothing.

use super::lock;
use std::sync::Mutex;
use std::time::Duration;

/// From which part of a budget on its end is told beforehand.
pub const NEAR: f64 = 0.8;

const DAY: u64 = 24 * 60 * 60;

/// Days from the last Monday before 1970 to its first day, a Thursday.
const SINCE_MONDAY: u64 = 3;

/// What has been used of one budget in the period that runs.
#[derive(Debug)]
pub struct Spending {
    days: u64,
    spent: Mutex<Spent>,
}

/// What was used in one period.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    /// Which period it was, counted from 1970.
    pub period: u64,
    /// How much was used in it.
    pub used: f64,
    /// Whether its near end has been told.
    pub told: bool,
}

impl Spending {
    /// A budget for so many days, of which something may have been used before.
    #[must_use]
    pub fn new(days: u32, spent: Spent) -> Spending {
        Spending { days: u64::from(days.max(1)), spent: Mutex::new(spent) }
    }

    /// How much has been used, at a time since 1970.
    pub fn used(&self, now: Duration) -> f64 {
        self.at(now).used
    }

    /// How long until the next period begins.
    #[must_use]
    pub fn left(&self, now: Duration) -> Duration {
        let next = self.at(now).period.saturating_add(1).saturating_mul(self.days);
        let next = if self.days == 7 { next.saturating_sub(SINCE_MONDAY) } else { next };
        Duration::from_secs(next.saturating_mul(DAY)).saturating_sub(now)
    }

    /// Counts what was used. Whether that brought it near its end, which is told once in a period.
    pub fn add(&self, used: f64, amount: f64, now: Duration) -> bool {
        let mut spent = lock(&self.spent);
        *spent = self.moved(*spent, now);
        if used.is_finite() && used > 0.0 {
            spent.used = (spent.used + used).min(f64::MAX);
        }
        spent.used >= NEAR * amount && !std::mem::replace(&mut spent.told, true)
    }

    /// What was counted at a time was not used after all.
    pub fn give_back(&self, used: f64, then: Duration) {
        let mut spent = lock(&self.spent);
        if spent.period == self.period(then) {
            spent.used = (spent.used - used).max(0.0);
        }
    }

    /// What was used in the period that runs, to be kept.
    pub fn at(&self, now: Duration) -> Spent {
        self.moved(*lock(&self.spent), now)
    }

    /// What was used, in the period of this time or in a later one.
    fn moved(&self, spent: Spent, now: Duration) -> Spent {
        let period = self.period(now);
        if spent.period < period { Spent { period, ..Spent::default() } } else { spent }
    }

    fn period(&self, now: Duration) -> u64 {
        let day = now.as_secs() / DAY;
        if self.days == 7 { (day + SINCE_MONDAY) / 7 } else { day / self.days }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-30, a Monday, at 00:00.
    const MONDAY: u64 = 1_796_000_400 - 1_796_000_400 % DAY;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn periods_are_those_of_the_calendar() {
        let monday = (MONDAY / DAY + SINCE_MONDAY) % 7;
        let begin = MONDAY - monday * DAY;
        for (days, from, left) in [
            (1, begin, DAY),
            (1, begin + DAY - 1, 1),
            (7, begin, 7 * DAY),
            (7, begin + 7 * DAY - 1, 1),
            (7, 3 * DAY, DAY),
            (7, 4 * DAY, 7 * DAY),
            (30, 0, 30 * DAY),
            (30, 61 * DAY, 29 * DAY),
        ] {
            assert_eq!(Spending::new(days, Spent::default()).left(at(from)), at(left), "{days} days at {from}");
        }
    }

    #[test]
    fn what_is_used_counts_until_the_period_ends() {
        let budget = Spending::new(1, Spent::default());
        assert!(!budget.add(70.0, 100.0, at(10)));
        assert!(budget.add(15.0, 100.0, at(20)), "told when it is near");
        assert!(!budget.add(1.0, 100.0, at(30)), "and once");
        assert!(!budget.add(f64::NAN, 100.0, at(30)) && !budget.add(-5.0, 100.0, at(30)));
        assert_eq!((budget.used(at(DAY - 1)), budget.used(at(DAY))), (86.0, 0.0));
        let kept = budget.at(at(40));
        assert_eq!(Spending::new(1, kept).used(at(50)), 86.0, "what was kept goes on");
        assert!(budget.add(90.0, 100.0, at(DAY + 1)), "told again in the next");
    }

    #[test]
    fn a_clock_that_is_set_back_forgets_nothing() {
        let budget = Spending::new(1, Spent::default());
        let _ = budget.add(70.0, 100.0, at(9 * DAY));
        assert_eq!(budget.used(at(8 * DAY)), 70.0);
        let _ = budget.add(5.0, 100.0, at(3 * DAY));
        assert_eq!(budget.at(at(4 * DAY)), Spent { period: 9, used: 75.0, told: false });
        assert_eq!(budget.left(at(8 * DAY)), at(2 * DAY), "until its period ends");
        assert_eq!((budget.used(at(9 * DAY)), budget.used(at(10 * DAY))), (75.0, 0.0));
        let last = Spending::new(7, Spent { period: u64::MAX, used: f64::MAX, told: false });
        assert!(last.add(f64::MAX, 1.0, at(1)) && last.used(at(1)).is_finite());
        assert!(last.left(at(1)) > at(DAY));
    }
}
