//! Budgets: how much of something may be used in a day, a week or thirty days, counted by the calendar in UTC or of
//! a zone.
//!
//! A day begins at midnight, a week on Monday, and thirty days every thirtieth day since 1970. What is used beyond the end of a budget is
//! what was under way when it ended: only beginnings are refused. A clock that is set back by a little forgets nothing; a period further
//! ahead than the next comes from a clock that was wrong, and is started anew.

use super::{Zone, lock};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// From which part of a budget on its end is told beforehand.
pub const NEAR: f64 = 0.8;

/// Days from the last Monday before 1970 to its first day, a Thursday.
const SINCE_MONDAY: u64 = 3;

/// What has been used of one budget in the period that runs.
#[derive(Debug)]
pub struct Spending {
    days: u64,
    count: Mutex<Count>,
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

/// What a gateway of a fleet tells of a budget.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The period that it is about.
    pub period: u64,
    /// Grows with each report.
    pub number: u64,
    /// What was used here in this period, in all.
    pub used: f64,
    /// What of it was used when a report was last answered.
    pub before: f64,
    /// The answer of then: what all had used, and a word that changes when the backend has lost its data.
    pub known: f64,
    /// That word; empty when no report was ever answered.
    pub epoch: String,
    /// How long the period goes on.
    pub left: Duration,
}

#[derive(Debug, Default)]
struct Count {
    /// By which clocks days begin.
    zone: Zone,
    /// What was used here.
    own: Spent,
    /// What others of a fleet had used when a report was last answered.
    others: f64,
    /// How many reports there were, and which was answered last.
    reports: u64,
    answered: u64,
    before: f64,
    known: f64,
    epoch: String,
}

impl Spending {
    /// A budget for so many days, of which something may have been used before.
    #[must_use]
    pub fn new(days: u32, spent: Spent) -> Spending {
        let count = Count { own: spent, ..Count::default() };
        Spending { days: u64::from(days.max(1)), count: Mutex::new(count) }
    }

    /// By which clocks its days begin; in UTC unless this was said. The period that runs goes on to its end.
    pub fn follow(&self, zone: &Zone) {
        lock(&self.count).zone = zone.clone();
    }

    /// How much has been used, at a time since 1970; by all of a fleet, as far as is known here.
    pub fn used(&self, now: Duration) -> f64 {
        let count = lock(&self.count);
        if self.is_over(&count, now) { 0.0 } else { count.own.used + count.others }
    }

    /// How long until the next period begins.
    #[must_use]
    pub fn left(&self, now: Duration) -> Duration {
        let count = lock(&self.count);
        let current = self.period(&count.zone, now);
        let period = if self.is_far(&count, now) { current } else { count.own.period.max(current) };
        self.until_end(&count.zone, period, now)
    }

    /// Whether it was used in a period that is neither this one nor the next: a clock was wrong then or is wrong now.
    #[must_use]
    pub fn is_far_ahead(&self, now: Duration) -> bool {
        let count = lock(&self.count);
        count.own.used > 0.0 && self.is_far(&count, now)
    }

    /// Counts what was used. Whether that brought it near its end, which is told once in a period.
    pub fn add(&self, used: f64, amount: f64, now: Duration) -> bool {
        let mut count = self.at(now);
        if used.is_finite() && used > 0.0 {
            count.own.used = (count.own.used + used).min(f64::MAX);
        }
        count.own.used + count.others >= NEAR * amount && !std::mem::replace(&mut count.own.told, true)
    }

    /// What was counted at a time was not used after all.
    pub fn give_back(&self, used: f64, then: Duration) {
        let mut count = lock(&self.count);
        if count.own.period == self.period(&count.zone, then) {
            count.own.used = (count.own.used - used).max(0.0);
        }
    }

    /// What was used in the period that runs and is kept nowhere else, to be kept: what no report was answered for.
    pub fn unkept(&self, now: Duration) -> Spent {
        let count = lock(&self.count);
        match self.is_over(&count, now) {
            true => Spent { period: self.period(&count.zone, now), ..Spent::default() },
            false => Spent { used: (count.own.used - count.before).max(0.0), ..count.own },
        }
    }

    /// Whether the others of a fleet have something to hear.
    pub fn is_news(&self, now: Duration) -> bool {
        let count = lock(&self.count);
        count.own.used.to_bits() != count.before.to_bits() && !self.is_over(&count, now)
    }

    /// What the others of a fleet are told.
    pub fn report(&self, now: Duration) -> Report {
        let mut count = self.at(now);
        count.reports += 1;
        Report {
            period: count.own.period,
            number: count.reports,
            used: count.own.used,
            before: count.before,
            known: count.known,
            epoch: count.epoch.clone(),
            left: self.until_end(&count.zone, count.own.period, now),
        }
    }

    /// The answer to a report: what all have used.
    pub fn heard(&self, report: &Report, sum: f64, epoch: String) {
        let mut count = lock(&self.count);
        // Answers may come in another order than the reports went.
        if report.period == count.own.period && report.number > count.answered {
            count.answered = report.number;
            (count.before, count.known, count.epoch) = (report.used, sum, epoch);
            count.others = (sum - report.used).max(0.0);
        }
    }

    /// Whether another period runs. To read that changes nothing: a clock may be set back.
    fn is_over(&self, count: &Count, now: Duration) -> bool {
        count.own.period < self.period(&count.zone, now) || self.is_far(count, now)
    }

    /// Whether it is neither this period nor the next, which a clock that was a little ahead had begun: until such a one was over, nothing
    /// could be used.
    fn is_far(&self, count: &Count, now: Duration) -> bool {
        count.own.period > self.period(&count.zone, now).saturating_add(1)
    }

    /// What was used, in the period of this time or in the next one.
    fn at(&self, now: Duration) -> MutexGuard<'_, Count> {
        let mut count = lock(&self.count);
        if self.is_over(&count, now) {
            let zone = count.zone.clone();
            let own = Spent { period: self.period(&zone, now), ..Spent::default() };
            *count = Count { zone, own, reports: count.reports, answered: count.reports, ..Count::default() };
        }
        count
    }

    fn until_end(&self, zone: &Zone, period: u64, now: Duration) -> Duration {
        let next = period.saturating_add(1).saturating_mul(self.days);
        let next = if self.days == 7 { next.saturating_sub(SINCE_MONDAY) } else { next };
        zone.begin(next).saturating_sub(now)
    }

    fn period(&self, zone: &Zone, now: Duration) -> u64 {
        let day = zone.day(now);
        if self.days == 7 { (day + SINCE_MONDAY) / 7 } else { day / self.days }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 60 * 60;

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
        let kept = budget.unkept(at(40));
        assert_eq!(Spending::new(1, kept).used(at(50)), 86.0, "what was kept goes on");
        assert!(budget.add(90.0, 100.0, at(DAY + 1)), "told again in the next");
    }

    #[test]
    fn a_clock_that_is_set_back_forgets_nothing() {
        let budget = Spending::new(1, Spent::default());
        let _ = budget.add(70.0, 100.0, at(9 * DAY));
        assert_eq!(budget.used(at(8 * DAY)), 70.0);
        let _ = budget.add(5.0, 100.0, at(8 * DAY));
        assert_eq!(budget.unkept(at(8 * DAY)), Spent { period: 9, used: 75.0, told: false });
        assert_eq!(budget.left(at(8 * DAY)), at(2 * DAY), "until its period ends");
        assert_eq!((budget.used(at(9 * DAY)), budget.used(at(10 * DAY))), (75.0, 0.0));
        assert_eq!([3, 7, 8, 9, 10].map(|day| budget.is_far_ahead(at(day * DAY))), [true, true, false, false, false]);
    }

    #[test]
    fn a_period_far_ahead_is_started_anew_and_refuses_nobody_until_then() {
        for (days, period) in [(1, 9), (1, 20_000), (7, u64::MAX), (30, u64::MAX - 1)] {
            let budget = Spending::new(days, Spent { period, used: 70.0, told: true });
            let now = at(3 * DAY);
            assert!(budget.is_far_ahead(now), "{period}");
            assert_eq!((budget.used(now), budget.unkept(now).used, budget.is_news(now)), (0.0, 0.0, false), "{period}");
            assert!(budget.left(now) <= at(u64::from(days) * DAY), "{period}");
            assert!(!budget.add(5.0, 100.0, now) && budget.add(80.0, 100.0, now), "told again when it is near");
            let left = if days == 1 { 0.0 } else { 85.0 };
            assert_eq!(
                (budget.used(now), budget.used(at(if days == 1 { 4 } else { 3 } * DAY))),
                (85.0, left),
                "{period}"
            );
            assert_eq!(budget.report(now).used, 85.0);
        }
    }

    #[test]
    fn what_the_others_of_a_fleet_use_counts_and_is_not_told_as_ones_own() {
        let (budget, word) = (Spending::new(1, Spent::default()), || "1".to_owned());
        let _ = budget.add(5.0, 100.0, at(10));
        let first = budget.report(at(10));
        assert_eq!((first.used, first.before, first.epoch.as_str()), (5.0, 0.0, ""));
        let _ = budget.add(2.0, 100.0, at(20));
        let second = budget.report(at(20));
        budget.heard(&second, 37.0, word());
        budget.heard(&first, 30.0, word());
        assert_eq!((budget.used(at(30)), budget.is_news(at(30))), (37.0, false), "an answer that comes late is old");
        assert!(budget.add(50.0, 100.0, at(40)), "near its end by what all have used");
        assert_eq!((budget.used(at(40)), budget.unkept(at(40)).used), (87.0, 50.0));
        let third = budget.report(at(50));
        assert_eq!((third.used, third.before, third.known), (57.0, 7.0, 37.0));
        assert_eq!((budget.used(at(DAY)), budget.is_news(at(DAY))), (0.0, false));
        budget.heard(&third, 90.0, word());
        assert_eq!(budget.used(at(DAY)), 0.0, "what is heard of a period that is over");
    }

    #[test]
    fn days_and_weeks_of_a_zone_are_those_of_its_clocks() {
        let berlin = Zone::named("Europe/Berlin").expect("a zone");
        // A Monday at 23:00 UTC is a Tuesday there; the week before had an hour more, on 2026-10-25.
        let (tuesday, sunday) = (MONDAY + DAY - 3600, 1_792_879_200);
        for (days, from, left) in [
            (1, tuesday - 1, 1),
            (1, tuesday, DAY),
            (7, tuesday, 6 * DAY),
            (1, sunday, 25 * 3600),
            (7, sunday, 25 * 3600),
        ] {
            let budget = Spending::new(days, Spent::default());
            budget.follow(&berlin);
            assert_eq!(budget.left(at(from)), at(left), "{days} days at {from}");
        }
        // Another zone by a reload: what was used is not forgotten, and the day goes on to its end there.
        let budget = Spending::new(1, Spent::default());
        budget.follow(&berlin);
        let _ = budget.add(5.0, 10.0, at(tuesday));
        budget.follow(&Zone::UTC);
        assert_eq!((budget.used(at(tuesday)), budget.left(at(tuesday))), (5.0, at(DAY + 3600)));
    }
}
