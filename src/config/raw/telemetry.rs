//! The keys of `[telemetry]`: logs and export.

use super::UrlText;
use crate::config::defaults;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[telemetry]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Telemetry {
    /// Logs.
    #[serde(default)]
    pub(in crate::config) log: Log,
    /// OpenTelemetry export. Without it nothing is sent.
    pub(in crate::config) otlp: Option<Otlp>,
}

/// `[telemetry.log]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Log {
    /// How lines are written.
    #[schemars(extend("default" = LogFormat::default()))]
    pub(in crate::config) format: Option<LogFormat>,
    /// The least severe level that is written.
    #[schemars(extend("default" = LogLevel::default()))]
    pub(in crate::config) level: Option<LogLevel>,
    /// Whether there is a line per request.
    #[schemars(extend("default" = defaults::telemetry::ACCESS))]
    pub(in crate::config) access: Option<bool>,
    /// Which share of the requests that succeed has a line, 0 to 1; those that fail all have one.
    #[schemars(extend("default" = defaults::telemetry::ACCESS_SUCCESSES))]
    pub(in crate::config) access_successes: Option<f64>,
    /// What a line says beside what every line says: `upstream`, `user_agent`, `close_code`, `header:NAME` for a header of the
    /// request and `response_header:NAME` for one of the answer.
    #[schemars(extend("default" = defaults::telemetry::ACCESS_FIELDS))]
    pub(in crate::config) access_fields: Option<Vec<String>>,
}

/// How log lines are written.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum LogFormat {
    #[default]
    Json,
    Text,
}

/// The least severe level that is written.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// `[telemetry.otlp]`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Otlp {
    /// The collector, OTLP over HTTP.
    #[schemars(required)]
    pub(in crate::config) endpoint: Option<UrlText>,
    /// Whether spans are sent.
    #[schemars(extend("default" = defaults::telemetry::OTLP_TRACES))]
    pub(in crate::config) traces: Option<bool>,
    /// Whether metrics are sent.
    #[schemars(extend("default" = defaults::telemetry::OTLP_METRICS))]
    pub(in crate::config) metrics: Option<bool>,
    /// Which share of traces begun here is kept, 0 to 1.
    #[schemars(extend("default" = defaults::telemetry::OTLP_SAMPLE_RATIO))]
    pub(in crate::config) sample_ratio: Option<f64>,
}
