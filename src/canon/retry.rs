//! Retry hints in all their forms. The time now is an argument.

use super::spec::Unit;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longest hint that is believed; a longer one means a broken clock or a broken provider.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// The wait that a hint asks for; `None` when it is not a hint.
///
/// Without a unit a number is seconds, else an HTTP date (RFC 9110 10.2.3) or RFC 3339, else a duration.
#[must_use]
pub fn wait(hint: &str, unit: Option<Unit>, now: SystemTime) -> Option<Duration> {
    let hint = hint.trim();
    let wait = match unit {
        Some(Unit::Seconds) => seconds(hint, 1.0),
        Some(Unit::Milliseconds) => seconds(hint, 1e-3),
        Some(Unit::Date) => until(date(hint)?, now),
        Some(Unit::Epoch) => until(epoch(hint)?, now),
        Some(Unit::Duration) => duration(hint).or_else(|| seconds(hint, 1.0)),
        None => seconds(hint, 1.0).or_else(|| until(date(hint)?, now)).or_else(|| duration(hint)),
    }?;
    (wait <= LONGEST).then_some(wait)
}

fn seconds(hint: &str, scale: f64) -> Option<Duration> {
    let plain = hint.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = hint.parse().ok().filter(|_| plain)?;
    Duration::try_from_secs_f64(number * scale).ok()
}

fn date(hint: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(hint).or_else(|_| humantime::parse_rfc3339_weak(hint)).ok()
}

/// Seconds since 1970; values beyond the year 5138 are milliseconds.
fn epoch(hint: &str) -> Option<SystemTime> {
    let number: f64 = hint.parse().ok()?;
    let scale = if number >= 1e11 { 1e-3 } else { 1.0 };
    UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(number * scale).ok()?)
}

fn until(date: SystemTime, now: SystemTime) -> Option<Duration> {
    Some(date.duration_since(now).unwrap_or_default())
}

/// `1m39.7s`, `500ms`, `39s`, `PT1M30S`.
fn duration(hint: &str) -> Option<Duration> {
    let lower = hint.to_ascii_lowercase();
    let mut rest = lower.strip_prefix("pt").unwrap_or(&lower);
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|char: char| !char.is_ascii_alphabetic() && char != 'µ').unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let scale = match unit {
            "d" => 86400.0,
            "h" => 3600.0,
            "m" | "min" => 60.0,
            "s" | "sec" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * scale;
        rest = after.trim_start();
    }
    Duration::try_from_secs_f64(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_in_all_forms() {
        let now = UNIX_EPOCH + Duration::from_secs(1_784_000_000);
        let http_date = httpdate::fmt_http_date(now + Duration::from_secs(90));
        for (hint, unit, expected) in [
            ("2", None, Some(2000)),
            ("1.5", None, Some(1500)),
            ("0", None, Some(0)),
            (" 45 ", None, Some(45_000)),
            (http_date.as_str(), None, Some(90_000)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", None, Some(0)),
            ("1m39.7s", None, Some(99_700)),
            ("250", Some(Unit::Milliseconds), Some(250)),
            ("1784000030", Some(Unit::Epoch), Some(30_000)),
            ("1784000030500", Some(Unit::Epoch), Some(30_500)),
            ("PT1M30S", Some(Unit::Duration), Some(90_000)),
            ("500ms", Some(Unit::Duration), Some(500)),
            ("6m0s", Some(Unit::Duration), Some(360_000)),
            ("-1", None, None),
            ("NaN", None, None),
            ("inf", None, None),
            ("1e300", None, None),
            ("99999999999999999999", None, None),
            ("soon", None, None),
            ("", None, None),
            ("5 parsecs", None, None),
        ] {
            let wait = wait(hint, unit, now).map(|wait| wait.as_millis());
            assert_eq!(wait, expected, "{hint:?} as {unit:?}");
        }
    }
}
