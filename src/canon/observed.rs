//! What was seen: one value for every failure on every transport.

use super::spec::Phase;
use http::HeaderMap;
use std::time::SystemTime;

/// A failure as it arrived, before anybody knows what it means.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    /// Where it was found.
    pub phase: Phase,
    /// HTTP status of the answer.
    pub status: Option<u16>,
    /// Header fields of the answer.
    pub headers: &'a HeaderMap,
    /// The body, event data, line or message: decoded and bounded by the shell.
    pub body: &'a [u8],
    /// Whether the bound cut the body.
    pub truncated: bool,
    /// WebSocket close code.
    pub ws_code: Option<u16>,
    /// WebSocket close reason.
    pub ws_reason: Option<&'a str>,
    /// Name of the SSE event.
    pub sse_event: Option<&'a str>,
    /// The time, for hints that are dates: the answer's own where it has one, since two clocks differ.
    pub now: SystemTime,
}

impl<'a> Observed<'a> {
    /// An HTTP answer that came `now`.
    #[must_use]
    pub fn http(status: u16, headers: &'a HeaderMap, body: &'a [u8], now: SystemTime) -> Observed<'a> {
        let date = headers.get(http::header::DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        Observed {
            phase: Phase::Http,
            status: Some(status),
            headers,
            body,
            truncated: false,
            ws_code: None,
            ws_reason: None,
            sse_event: None,
            now: date.unwrap_or(now),
        }
    }
}
