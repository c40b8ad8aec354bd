//! Logs and export.

use super::Upstream;
use http::HeaderName;

/// `[telemetry]`
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// How log lines are written.
    pub log_format: LogFormat,
    /// The least severe level that is written.
    pub log_level: LogLevel,
    /// Whether there is a line per request.
    pub access_log: bool,
    /// Which share of the requests that succeed has a line, 0 to 1.
    pub access_successes: f64,
    /// What a line says beside what every line says, in this order.
    pub access_fields: Vec<AccessField>,
    /// OpenTelemetry export.
    pub otlp: Option<Otlp>,
}

/// What a line of the access log may say beside what every line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessField {
    /// The upstream that the request went to last.
    Upstream,
    /// The client's `User-Agent`.
    UserAgent,
    /// The close code of a WebSocket that was closed in order.
    CloseCode,
    /// A header of the request.
    Header(HeaderName),
    /// A header of the answer, as the client gets it.
    ResponseHeader(HeaderName),
}

/// `[telemetry.otlp]`
#[derive(Clone, Debug)]
pub struct Otlp {
    /// The collector, OTLP over HTTP.
    pub endpoint: Upstream,
    /// Whether spans are sent.
    pub traces: bool,
    /// Whether metrics are sent.
    pub metrics: bool,
    /// Which share of traces begun here is kept, 0 to 1.
    pub sample_ratio: f64,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// The least severe level that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}
