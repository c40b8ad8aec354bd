//! `health`: how the upstreams of a route are asked whether they are there

use super::Reader;
use crate::config::defaults::health as defaults;
use crate::config::path::Path;
use crate::config::problem::Findings;
use crate::config::raw;
use crate::config::types::HealthCheck;
use crate::config::values::{self, Expected};

/// `health`, on a route with or without credentials.
pub(super) fn health(raw: &raw::Health, lends: bool, path: &Path, findings: &mut Findings) -> Option<HealthCheck> {
    let mut reader = Reader { path: path.clone(), findings };
    let wanted = reader.read("path", raw.path.as_deref(), values::target);
    let interval = reader.deadline("interval", raw.interval.as_ref(), defaults::INTERVAL);
    let timeout = reader.deadline("timeout", raw.timeout.as_ref(), interval.min(defaults::TIMEOUT));
    if timeout > interval {
        let shown = humantime::format_duration(timeout).to_string();
        let expected = format!("at most the interval, {}", humantime::format_duration(interval));
        reader.refuse("timeout", &shown, expected);
    }
    let text = raw.status.as_ref().map(|status| match status {
        raw::StatusRange::One(status) => status.to_string(),
        raw::StatusRange::Text(text) => text.clone(),
    });
    let status = reader.read("status", text.as_deref(), statuses).unwrap_or(defaults::STATUS);
    let credentials = raw.credentials.unwrap_or(defaults::CREDENTIALS);
    if credentials && !lends {
        let what = "the route has no credentials that could go with it";
        reader.findings.value(&path.key("credentials"), what).expected("`credentials` of the route");
    }
    Some(HealthCheck {
        path: wanted?,
        interval,
        timeout,
        healthy: raw.healthy.unwrap_or(defaults::HEALTHY),
        unhealthy: raw.unhealthy.unwrap_or(defaults::UNHEALTHY),
        status,
        credentials,
    })
}

/// `200`, `200-399`
fn statuses(text: &str) -> Result<(u16, u16), Expected> {
    let expected = || "a status from 200 to 599, or two with `-` between them, such as `200-399`".to_owned();
    let read = |text: &str| text.trim().parse::<u16>().ok().filter(|status| (200..600).contains(status));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (read(first), read(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err(expected()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_one_or_a_range() {
        assert_eq!((statuses("200"), statuses("200-399")), (Ok((200, 200)), Ok((200, 399))));
        for wrong in ["", "20", "100", "600", "399-200", "200-", "2xx", "200-300-400"] {
            assert!(statuses(wrong).is_err(), "{wrong}");
        }
    }
}
