//! How a failure is recognised that no HTTP status tells.

use super::{ConditionSpec, OneOrMany, Phase, Table};
use schemars::JsonSchema;
use serde::Deserialize;

/// One way to recognise a failure that no HTTP status tells.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DetectorSpec {
    /// job, sse, ndjson, frame or close.
    pub phase: Phase,
    /// Method and path template, `GET /v1/jobs/{id}`; a method alone or `*` for every path. Without it every path. `{rest...}` takes several segments.
    pub path: Option<OneOrMany<String>>,
    /// Conditions, all of which must hold.
    #[serde(default)]
    pub when: Table<ConditionSpec>,
    /// This is not an error, though a later line might say so.
    #[serde(default)]
    pub ignore: bool,
    /// The member that holds the error and is replaced by the canonical object; `$.error` when it is there, else `error` is added. `$.error.data.gateway_error` adds beside.
    pub member: Option<String>,
    /// Whether the session or stream ends with it; the code's row may say otherwise.
    pub fatal: Option<bool>,
}

/// A stream whose last event is known: one that ends without it, and without an error, was cut off.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamSpec {
    /// sse or ndjson; frame for the last message of a socket.
    pub phase: Phase,
    /// Method and path template; every path without it.
    pub path: Option<OneOrMany<String>>,
    /// Conditions over the last event or line. Of several tables one has to hold.
    pub last: OneOrMany<Table<ConditionSpec>>,
}
