//! What was seen: one value for every failure on every transport.

use super::spec::Phase;
use http::HeaderMap;
use std::sync::LazyLock;
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
    /// The time, for hints that are dates.
    pub now: SystemTime,
}

/// What has no header fields of its own: an event, a line, a message, a close.
static NO_FIELDS: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);

/// One constructor for each phase, so that none can be seen with the status or the name of another.
impl<'a> Observed<'a> {
    /// An HTTP answer.
    #[must_use]
    pub fn http(status: u16, headers: &'a HeaderMap, body: &'a [u8], now: SystemTime) -> Observed<'a> {
        Observed { status: Some(status), headers, ..Observed::bare(Phase::Http, body, now) }
    }

    /// The answer to a WebSocket upgrade that was refused.
    #[must_use]
    pub fn handshake(status: u16, headers: &'a HeaderMap, body: &'a [u8], now: SystemTime) -> Observed<'a> {
        Observed { status: Some(status), headers, ..Observed::bare(Phase::Handshake, body, now) }
    }

    /// An answer that calls itself a success and may hide a failure.
    #[must_use]
    pub fn job(status: u16, headers: &'a HeaderMap, body: &'a [u8], now: SystemTime) -> Observed<'a> {
        Observed { status: Some(status), headers, ..Observed::bare(Phase::Job, body, now) }
    }

    /// A Server-Sent Event: its name, where it has one, and its data.
    #[must_use]
    pub fn event(name: Option<&'a str>, data: &'a [u8], now: SystemTime) -> Observed<'a> {
        Observed { sse_event: name, ..Observed::bare(Phase::Sse, data, now) }
    }

    /// A line of newline-separated JSON.
    #[must_use]
    pub fn line(line: &'a [u8], now: SystemTime) -> Observed<'a> {
        Observed::bare(Phase::Ndjson, line, now)
    }

    /// A WebSocket text message.
    #[must_use]
    pub fn frame(text: &'a [u8], now: SystemTime) -> Observed<'a> {
        Observed::bare(Phase::Frame, text, now)
    }

    /// A WebSocket close: its code and its reason.
    #[must_use]
    pub fn close(code: u16, reason: &'a str, now: SystemTime) -> Observed<'a> {
        let reason = Some(reason).filter(|reason| !reason.is_empty());
        Observed { ws_code: Some(code), ws_reason: reason, ..Observed::bare(Phase::Close, b"", now) }
    }

    /// A connection or a stream that ended before it was over.
    #[must_use]
    pub fn abort(now: SystemTime) -> Observed<'a> {
        Observed::bare(Phase::Abort, b"", now)
    }

    /// The same, with a body of which only the beginning is here where `truncated` says so.
    #[must_use]
    pub fn cut_short(self, truncated: bool) -> Observed<'a> {
        Observed { truncated, ..self }
    }

    fn bare(phase: Phase, body: &'a [u8], now: SystemTime) -> Observed<'a> {
        Observed {
            phase,
            status: None,
            headers: &NO_FIELDS,
            body,
            truncated: false,
            ws_code: None,
            ws_reason: None,
            sse_event: None,
            now,
        }
    }
}
