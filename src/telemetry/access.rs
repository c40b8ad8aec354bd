//! The access log: one line per request, written by a thread of its own.
//!
//! A line is formatted where the request ended and handed over; when the writer cannot keep up, lines are dropped and
//! counted, and no request ever waits.

use super::metrics::Metrics;
use crate::canon::{Code, Origin};
use crate::config::types::LogFormat;
use serde::Serialize;
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime};

/// Lines that may wait for the writer.
const QUEUE: usize = 8192;

/// Where the line of each request goes. Clones write to the same place.
#[derive(Clone, Debug)]
pub struct AccessLog {
    lines: Option<(SyncSender<Vec<u8>>, LogFormat, Arc<Metrics>)>,
}

/// What is said of one request.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names are those of the log's fields")]
pub struct Line<'a> {
    pub time: SystemTime,
    pub request_id: &'a str,
    pub upstream_request_id: Option<&'a str>,
    pub route: Option<&'a str>,
    pub provider: Option<&'a str>,
    pub method: &'a str,
    pub target: &'a str,
    pub client: Option<IpAddr>,
    pub status: u16,
    pub code: Option<Code>,
    pub origin: Option<Origin>,
    pub detail: Option<&'a str>,
    pub upstream_status: Option<u16>,
    pub received: u64,
    pub sent: u64,
    pub total: Duration,
    pub upstream: Option<Duration>,
    pub first_byte: Option<Duration>,
    pub retried: bool,
}

/// A line as JSON: what is not known is left out.
#[derive(Serialize)]
struct Json<'a> {
    time: String,
    level: &'static str,
    kind: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'a str>,
    method: &'a str,
    target: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<IpAddr>,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    class: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_status: Option<u16>,
    bytes_received: u64,
    bytes_sent: u64,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_ms: Option<f64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    retried: bool,
}

impl AccessLog {
    /// No access log.
    #[must_use]
    pub fn off() -> AccessLog {
        AccessLog { lines: None }
    }

    /// An access log to `out`.
    ///
    /// # Errors
    /// When its thread cannot be started.
    pub fn to(out: impl Write + Send + 'static, format: LogFormat, metrics: Arc<Metrics>) -> io::Result<AccessLog> {
        let (sender, receiver) = sync_channel(QUEUE);
        let _ = std::thread::Builder::new().name("access-log".to_owned()).spawn(move || drain(&receiver, out))?;
        Ok(AccessLog { lines: Some((sender, format, metrics)) })
    }

    /// Whether lines are written.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.lines.is_some()
    }

    /// Writes one line, or drops and counts it.
    pub fn write(&self, line: &Line<'_>) {
        let Some((sender, format, metrics)) = &self.lines else { return };
        let text = match format {
            LogFormat::Json => line.json(),
            LogFormat::Text => line.text(),
        };
        match sender.try_send(text) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => metrics.access_line_dropped(),
        }
    }
}

/// Writes what is there in one go, then waits for more. Ends when every handle is gone.
fn drain(lines: &Receiver<Vec<u8>>, mut out: impl Write) {
    while let Ok(mut text) = lines.recv() {
        while text.len() < 64 * 1024
            && let Ok(more) = lines.try_recv()
        {
            text.extend_from_slice(&more);
        }
        // A log that cannot be written must not end the gateway.
        let _ = out.write_all(&text);
        let _ = out.flush();
    }
}

impl Line<'_> {
    fn json(&self) -> Vec<u8> {
        let json = Json {
            time: humantime::format_rfc3339_millis(self.time).to_string(),
            level: if self.code.is_some() { "warn" } else { "info" },
            kind: "access",
            request_id: self.request_id,
            upstream_request_id: self.upstream_request_id,
            route: self.route,
            provider: self.provider,
            method: self.method,
            target: self.target,
            client: self.client,
            status: self.status,
            code: self.code.map(Code::as_str),
            class: self.code.map(|code| code.kind().as_str()),
            origin: self.origin.map(Origin::as_str),
            detail: self.detail,
            upstream_status: self.upstream_status,
            bytes_received: self.received,
            bytes_sent: self.sent,
            duration_ms: millis(self.total),
            upstream_ms: self.upstream.map(millis),
            first_byte_ms: self.first_byte.map(millis),
            retried: self.retried,
        };
        let mut bytes = Vec::with_capacity(512);
        // Strings, numbers and a Vec: nothing here can fail.
        let _ = serde_json::to_writer(&mut bytes, &json);
        bytes.push(b'\n');
        bytes
    }

    fn text(&self) -> Vec<u8> {
        let mut text = format!(
            "{} {} {} {} {} {} in={} out={} ms={}",
            humantime::format_rfc3339_millis(self.time),
            self.request_id,
            self.route.unwrap_or("-"),
            self.method,
            self.target.escape_debug(),
            self.status,
            self.received,
            self.sent,
            millis(self.total),
        );
        let fields = [
            ("code", self.code.map(|code| code.to_string())),
            ("origin", self.origin.map(|origin| origin.as_str().to_owned())),
            ("upstream_status", self.upstream_status.map(|status| status.to_string())),
            ("upstream_request_id", self.upstream_request_id.map(|id| id.escape_debug().to_string())),
            ("detail", self.detail.map(|detail| format!("{detail:?}"))),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                text.push_str(&format!(" {name}={value}"));
            }
        }
        text.push('\n');
        text.into_bytes()
    }
}

/// Milliseconds with three decimals.
fn millis(time: Duration) -> f64 {
    (time.as_micros() as f64) / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn a_line_stays_one_line_whatever_is_in_it() {
        let line = Line {
            time: UNIX_EPOCH,
            request_id: "id",
            upstream_request_id: Some("up\n{\"forged\":1}"),
            route: Some("tts"),
            provider: Some("elevenlabs"),
            method: "GET",
            target: "/x\u{1b}[31m?a=\"b\"",
            client: Some(IpAddr::from([127, 0, 0, 1])),
            status: 402,
            code: Some(Code::QuotaExceeded),
            origin: Some(Origin::Provider),
            detail: None,
            upstream_status: Some(401),
            received: 1,
            sent: 2,
            total: Duration::from_micros(1500),
            upstream: None,
            first_byte: None,
            retried: false,
        };
        for text in [line.json(), line.text()] {
            let text = String::from_utf8(text).expect("UTF-8");
            assert_eq!(text.matches('\n').count(), 1, "{text}");
            assert!(!text.contains('\u{1b}'), "{text}");
        }
        let json: serde_json::Value = serde_json::from_slice(&line.json()).expect("JSON");
        assert_eq!(json["code"], "quota_exceeded");
        assert_eq!(json["type"], "payment_required");
        assert_eq!(json["duration_ms"], 1.5);
    }
}
