//! Single values as they are written, read: durations, sizes, addresses, URLs, paths, templates.
//!
//! Each reader gives the value, or says what it expected.

mod addresses;
mod names;

pub use addresses::listen;
pub(super) use addresses::{docs_base, host, is_backend, origin, prefix, target, upstream, url};
pub use names::name;
pub(super) use names::{access_field, changed_header, header, holds_secret, member, parameter, token};

use crate::generation::FirstAudio;
use std::time::Duration;

/// What was expected instead.
pub(super) type Expected = String;

/// Longer than any deadline makes sense; clocks can add it without overflowing.
const MAX_DURATION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// `30s`, `5m`, `250ms`, `1h 30m`.
pub(super) fn duration(text: &str) -> Result<Duration, Expected> {
    let expected = || {
        "a duration such as `30s`, `5m` or `250ms` (units `ms`, `s`, `m`, `h` and `d`), of at most 30 days".to_owned()
    };
    let duration = humantime::parse_duration(text.trim()).map_err(|_| expected())?;
    if duration > MAX_DURATION { Err(expected()) } else { Ok(duration) }
}

/// `USD`: three capital letters, as ISO 4217 has them.
pub(super) fn currency(text: &str) -> Result<String, Expected> {
    let is_one = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase());
    if is_one { Ok(text.to_owned()) } else { Err("a currency of ISO 4217 such as `USD`".to_owned()) }
}

/// A duration that is not zero.
pub(super) fn positive_duration(text: &str) -> Result<Duration, Expected> {
    let duration = duration(text)?;
    if duration.is_zero() { Err("a duration longer than zero".to_owned()) } else { Ok(duration) }
}

/// How long a side of a socket may be silent before it is pinged; none for `off`. No pings so often that they are a load.
pub(super) fn ping(text: &str) -> Result<Option<Duration>, Expected> {
    const FITS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
    if text == "off" {
        return Ok(None);
    }
    let ping = duration(text).ok().filter(|ping| FITS.contains(ping));
    ping.map(Some).ok_or_else(|| "a duration from `100ms` to `1h`, or `off`".to_owned())
}

/// A limit of silence: shorter ones would be met by speech itself.
pub(super) fn silence(text: &str) -> Result<Duration, Expected> {
    const FITS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
    let limit = duration(text).ok().filter(|limit| FITS.contains(limit));
    limit.ok_or_else(|| "a duration from `100ms` to `1h`".to_owned())
}

/// How long the first audio may take.
pub(super) fn first_audio(text: &str) -> Result<FirstAudio, Expected> {
    match text {
        "auto" => Ok(FirstAudio::Auto),
        _ => silence(text).map(FirstAudio::After).map_err(|expected| format!("{expected}, or `auto`")),
    }
}

/// How long a lease may be: short enough that slots come back, long enough to be renewed in time.
pub(super) fn lease(text: &str) -> Result<Duration, Expected> {
    const FITS: std::ops::RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_secs(60);
    let lease = duration(text).ok().filter(|lease| FITS.contains(lease));
    lease.ok_or_else(|| "a duration from `500ms` to `60s`".to_owned())
}

/// What keys of a backend begin with.
pub(super) fn key_prefix(text: &str) -> Result<String, Expected> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(fits);
    if fits { Ok(text.to_owned()) } else { Err("1 to 64 letters, digits, `-`, `_`, `.` or `:`".to_owned()) }
}

/// `50MiB`, `32 KiB`, `1024`.
pub(super) fn size(text: &str) -> Result<u64, Expected> {
    let parsed = text.trim().parse::<bytesize::ByteSize>();
    parsed.map(|size| size.as_u64()).map_err(|_| "a size such as `50MiB`, `32KiB` or a number of bytes".to_owned())
}

/// `20%`, as a share.
pub(super) fn percentage(text: &str) -> Result<f64, Expected> {
    let expected = || "a percentage such as `20%`, above 0 and up to 100".to_owned();
    let number: f64 = text.trim().strip_suffix('%').and_then(|text| text.trim().parse().ok()).ok_or_else(expected)?;
    if number > 0.0 && number <= 100.0 { Ok(number / 100.0) } else { Err(expected()) }
}

#[cfg(test)]
mod tests;
