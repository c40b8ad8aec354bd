//! What was seen: one value for every failure on every transport.

use super::codec::Codec;
use super::grpc;
use super::spec::Phase;
use http::HeaderMap;
use std::sync::LazyLock;
use std::time::SystemTime;

/// Events, lines, messages and closes have no header fields of their own.
static NO_HEADERS: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);

/// A failure as it arrived, not yet classified. There is one constructor per phase, so that no member has to
/// be corrected afterwards.
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
    /// The codec that the body was decoded from, and the encoded bytes.
    pub coded: Option<(Codec, &'a [u8])>,
    /// Whether the bound cut the body.
    pub truncated: bool,
    /// WebSocket close code.
    pub ws_code: Option<u16>,
    /// WebSocket close reason.
    pub ws_reason: Option<&'a str>,
    /// Name of the SSE event.
    pub sse_event: Option<&'a str>,
    /// The status of a gRPC call.
    pub grpc: Option<&'a grpc::Status>,
    /// The time that dates in hints are compared with: the answer's own `Date` where it has one, since clocks differ.
    pub now: SystemTime,
}

/// One constructor for each phase, so that none can be seen with the status or the name of another.
impl<'a> Observed<'a> {
    /// An HTTP answer that arrived at `now`.
    #[must_use]
    pub fn http(status: u16, headers: &'a HeaderMap, body: &'a [u8], now: SystemTime) -> Observed<'a> {
        let date = headers.get(http::header::DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        Observed { status: Some(status), headers, ..Observed::bare(Phase::Http, body, date.unwrap_or(now)) }
    }

    /// The answer to a WebSocket upgrade that was refused.
    #[must_use]
    pub fn handshake(status: u16, headers: &'a HeaderMap, body: &'a [u8], now: SystemTime) -> Observed<'a> {
        Observed { phase: Phase::Handshake, ..Observed::http(status, headers, body, now) }
    }

    /// A 2xx answer whose body may hold a failure: a polled job, JSON-RPC.
    #[must_use]
    pub fn job(status: u16, headers: &'a HeaderMap, body: &'a [u8], now: SystemTime) -> Observed<'a> {
        Observed { phase: Phase::Job, ..Observed::http(status, headers, body, now) }
    }

    /// A Server-Sent Event: its name, when it has one, and its data.
    #[must_use]
    pub fn event(name: Option<&'a str>, data: &'a [u8], now: SystemTime) -> Observed<'a> {
        Observed { sse_event: name, ..Observed::bare(Phase::Sse, data, now) }
    }

    /// A line of newline-separated JSON.
    #[must_use]
    pub fn line(data: &'a [u8], now: SystemTime) -> Observed<'a> {
        Observed::bare(Phase::Ndjson, data, now)
    }

    /// A WebSocket text message.
    #[must_use]
    pub fn frame(text: &'a [u8], now: SystemTime) -> Observed<'a> {
        Observed::bare(Phase::Frame, text, now)
    }

    /// A WebSocket close. An empty reason counts as absent.
    #[must_use]
    pub fn close(code: u16, reason: &'a str, now: SystemTime) -> Observed<'a> {
        let reason = reason.trim();
        let ws_reason = (!reason.is_empty()).then_some(reason);
        Observed { ws_code: Some(code), ws_reason, ..Observed::bare(Phase::Close, b"", now) }
    }

    /// A connection that ended without a close.
    #[must_use]
    pub fn abort(now: SystemTime) -> Observed<'a> {
        Observed::bare(Phase::Abort, b"", now)
    }

    /// The status with which a gRPC call ended, and the fields beside it: trailers, or the head of an answer that has nothing else.
    #[must_use]
    pub fn grpc(status: &'a grpc::Status, fields: &'a HeaderMap, now: SystemTime) -> Observed<'a> {
        Observed { grpc: Some(status), headers: fields, ..Observed::bare(Phase::Grpc, status.json(), now) }
    }

    /// The same, with a body that the shell's bound has cut when `truncated` is true.
    #[must_use]
    pub fn cut(self, truncated: bool) -> Observed<'a> {
        Observed { truncated, ..self }
    }

    /// The same, whose body came in this codec as these bytes.
    #[must_use]
    pub fn coded(self, codec: Codec, raw: &'a [u8]) -> Observed<'a> {
        Observed { coded: Some((codec, raw)), ..self }
    }

    /// The body as it came.
    #[must_use]
    pub fn raw(&self) -> &'a [u8] {
        self.coded.map_or(self.body, |(_, raw)| raw)
    }

    /// The same, with the header fields of the answer whose stream or socket it came on.
    #[must_use]
    pub fn within(self, headers: &'a HeaderMap) -> Observed<'a> {
        Observed { headers, ..self }
    }

    fn bare(phase: Phase, body: &'a [u8], now: SystemTime) -> Observed<'a> {
        Observed {
            phase,
            status: None,
            headers: &NO_HEADERS,
            body,
            coded: None,
            truncated: false,
            ws_code: None,
            ws_reason: None,
            sse_event: None,
            grpc: None,
            now,
        }
    }
}
