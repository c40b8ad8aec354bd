//! What several targets hold an input and an error to.
//!
//! `tests/fuzz/run SECONDS` runs every target, seeded from the recorded failures and the configurations.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use speechgate::canon::envelope::Stamp;
use speechgate::canon::{Code, Origin, Phase, Profile};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

/// A moment that does not move.
pub fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_253_400)
}

/// The stamp of every rendered error.
pub const STAMP: Stamp<'static> = Stamp {
    request_id: "01KAQ8Z6M3W4E0J7T5YV9S2N1C",
    timestamp: "2026-11-21T09:30:00.123Z",
    provider: Some("provider"),
    route: Some("route"),
    upstream_body: true,
    docs: None,
};

/// The largest envelope that any input may lead to: the provider's body of 16 KiB, escaped at worst, and all the rest.
pub const LARGEST: usize = 256 * 1024;

/// Every built-in profile.
pub static PROFILES: LazyLock<Vec<Arc<Profile>>> = LazyLock::new(|| {
    let names = speechgate::config::built_in_names();
    names.filter_map(|name| speechgate::config::built_in(name)?.ok()).collect()
});

/// One of the profiles, chosen by the input.
pub fn profile(data: &[u8]) -> &'static Profile {
    let sum = data.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    &PROFILES[sum % PROFILES.len()]
}

/// Something that failed, read from an input that may be one of the recorded samples.
pub struct Seen<'a> {
    /// Where it was found.
    pub phase: Phase,
    /// Its status.
    pub status: Option<u16>,
    /// Its header fields, those that are valid.
    pub headers: HeaderMap,
    /// What follows the head.
    pub body: &'a [u8],
    /// A close code.
    pub close: Option<u16>,
}

/// Reads `HTTP/1.1 404 …`, fields and a body; `close 1008` and a reason; anything else is a frame.
pub fn seen(data: &[u8]) -> Seen<'_> {
    let line =
        |data: &[u8]| data.split(|byte| *byte == b'\n').next().map(|line| String::from_utf8_lossy(line).into_owned());
    let first = line(data).unwrap_or_default();
    let number = first.split(' ').nth(1).and_then(|text| text.trim().parse().ok());
    let rest = data.get(first.len() + 1..).unwrap_or_default();
    if first.starts_with("close ") {
        return Seen { phase: Phase::Close, status: None, headers: HeaderMap::new(), body: rest, close: number };
    }
    if !first.starts_with("HTTP/") {
        return Seen { phase: Phase::Frame, status: None, headers: HeaderMap::new(), body: data, close: None };
    }
    let (headers, body) = fields(rest);
    Seen { phase: Phase::Http, status: number.or(Some(500)), headers, body, close: None }
}

/// Header fields up to an empty line, those that are valid, and what follows.
pub fn fields(mut data: &[u8]) -> (HeaderMap, &[u8]) {
    let mut headers = HeaderMap::new();
    while headers.len() < 200 && !data.is_empty() {
        let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len() - 1);
        let (line, rest) = data.split_at(end + 1);
        data = rest;
        let line = line.trim_ascii();
        if line.is_empty() {
            break;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    (headers, data)
}

/// Every always-field of an error object.
pub fn check_object(error: &Value) {
    let name = error["code"].as_str().expect("a code");
    let code = Code::from_name(name).expect("a known code");
    assert_eq!(error["type"], code.kind().as_str());
    assert_eq!(error["status"], code.status());
    assert!(error["message"].as_str().is_some_and(|text| !text.trim().is_empty()), "{error}");
    assert!(error["retryable"].is_boolean());
    let origin = error["origin"].as_str().expect("an origin");
    assert!(Origin::ALL.iter().any(|known| known.as_str() == origin));
    assert_eq!(error["request_id"], STAMP.request_id);
    assert_eq!(error["timestamp"], STAMP.timestamp);
}

/// No byte of a header value may end a line or be a control character.
pub fn check_headers(headers: &HeaderMap) {
    for (name, value) in headers {
        let clean = value.as_bytes().iter().all(|byte| *byte >= 0x20 && *byte != 0x7f || *byte == b'\t');
        assert!(clean, "{name}: {value:?}");
    }
}
