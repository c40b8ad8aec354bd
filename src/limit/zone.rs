//! Days of the calendar where somebody lives: from midnight to midnight by the clocks there, which now and then is 23 or 25 hours.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{self, TimeZone};
use std::time::Duration;

/// Seconds of a day where no clock is ever changed.
const DAY: u64 = 24 * 60 * 60;

/// By which clocks days begin. What is known of zones is built in: their rules are as old as this program.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Zone(Option<TimeZone>);

impl Zone {
    /// Universal time, whose days all have 24 hours.
    pub const UTC: Zone = Zone(None);

    /// The zone of this name, `Europe/Berlin` for instance.
    #[must_use]
    pub fn named(name: &str) -> Option<Zone> {
        tz::db().get(name).ok().map(|zone| Zone(Some(zone)))
    }

    /// The names of all zones.
    #[must_use]
    pub fn names() -> Vec<String> {
        tz::db().available().map(|name| name.as_str().to_owned()).collect()
    }

    /// Which day it is at a time since 1970, counted from the first one of 1970.
    pub(super) fn day(&self, at: Duration) -> u64 {
        let local = self.0.as_ref().and_then(|zone| {
            let at = Timestamp::from_second(i64::try_from(at.as_secs()).ok()?).ok()?;
            let days = since_1970(zone.to_datetime(at).date())?;
            // West of Greenwich 1970 began with the last hours of the year before.
            Some(u64::try_from(days).unwrap_or(0))
        });
        local.unwrap_or(at.as_secs() / DAY)
    }

    /// When a day begins: at midnight, or with the first moment after it where clocks skip that.
    pub(super) fn begin(&self, day: u64) -> Duration {
        let local = self.0.as_ref().and_then(|zone| {
            let epoch = jiff::civil::date(1970, 1, 1);
            let date = epoch.checked_add(jiff::Span::new().try_days(i64::try_from(day).ok()?).ok()?).ok()?;
            let begin = date.to_zoned_datetime(zone.clone()).ok()?.start_of_day().ok()?;
            u64::try_from(begin.timestamp().as_second()).ok()
        });
        Duration::from_secs(local.unwrap_or(day.saturating_mul(DAY)))
    }
}

fn since_1970(date: Date) -> Option<i64> {
    let epoch = jiff::civil::date(1970, 1, 1);
    Some(i64::from(epoch.until((jiff::Unit::Day, date)).ok()?.get_days()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Duration {
        let at: Timestamp = text.parse().expect("a time");
        Duration::from_secs(at.as_second().try_into().expect("after 1970"))
    }

    /// A zone, a moment within a day, when that day begins and ends, and how many hours it has.
    const DAYS: [(&str, &str, &str, &str, u64); 12] = [
        ("Europe/Berlin", "2026-01-15T12:00:00Z", "2026-01-14T23:00:00Z", "2026-01-15T23:00:00Z", 24),
        // Clocks go forward at 2:00, and back at 3:00.
        ("Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", 23),
        ("Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", 25),
        ("Europe/Berlin", "2026-10-25T22:59:59Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", 25),
        ("Europe/Berlin", "2026-10-25T23:00:00Z", "2026-10-25T23:00:00Z", "2026-10-26T23:00:00Z", 24),
        ("America/New_York", "2026-03-08T05:00:00Z", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z", 23),
        ("America/New_York", "2026-11-01T12:00:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z", 25),
        // Midnight is skipped: the day begins at 1:00.
        ("Africa/Cairo", "2026-04-24T12:00:00Z", "2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z", 23),
        // Midnight comes twice.
        ("America/Havana", "2024-11-03T04:30:00Z", "2024-11-03T04:00:00Z", "2024-11-04T05:00:00Z", 25),
        // By half an hour.
        ("Australia/Lord_Howe", "2026-10-03T16:00:00Z", "2026-10-03T13:30:00Z", "2026-10-04T13:00:00Z", 23),
        ("Asia/Kolkata", "2026-11-30T18:29:59Z", "2026-11-29T18:30:00Z", "2026-11-30T18:30:00Z", 24),
        ("UTC", "2026-03-29T12:00:00Z", "2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z", 24),
    ];

    #[test]
    fn a_day_of_23_or_25_hours_begins_and_ends_where_clocks_say_so() {
        for (name, moment, begin, end, hours) in DAYS {
            let zone = Zone::named(name).expect("a zone");
            let day = zone.day(at(moment));
            assert_eq!((zone.begin(day), zone.begin(day + 1)), (at(begin), at(end)), "{name} {moment}");
            assert_eq!((at(end) - at(begin)).as_secs() / 3600, hours, "{name} {moment}");
            let last = at(end) - Duration::from_secs(1);
            assert_eq!([zone.day(at(begin)), zone.day(last), zone.day(at(end))], [day, day, day + 1], "{name}");
        }
    }

    #[test]
    fn figures_beyond_belief_are_days_of_24_hours() {
        let zone = Zone::named("Europe/Berlin").expect("a zone");
        assert_eq!(zone.day(Duration::MAX), u64::MAX / DAY);
        assert_eq!(zone.begin(u64::MAX), Duration::from_secs(u64::MAX));
        assert_eq!((Zone::UTC.day(at("1970-01-02T00:00:00Z")), Zone::UTC.begin(1)), (1, Duration::from_secs(DAY)));
        assert_eq!(Zone::named("America/New_York").expect("a zone").day(Duration::ZERO), 0);
        assert_eq!((Zone::named("Europe/Berln"), Zone::named("")), (None, None));
        assert!(Zone::names().iter().any(|name| name == "Europe/Berlin"));
    }
}
