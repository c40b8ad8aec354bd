//! The keys of `headers`.

use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// `headers`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Headers {
    /// The same as `request.set`.
    #[serde(default)]
    pub(in crate::config) set: BTreeMap<String, String>,
    /// The same as `request.remove`.
    #[serde(default)]
    pub(in crate::config) remove: Vec<String>,
    /// On the way to the provider.
    pub(in crate::config) request: Option<HeaderChanges>,
    /// On the way to the client: of answers, of errors, and of WebSocket handshakes.
    pub(in crate::config) response: Option<HeaderChanges>,
}

/// Header fields that are changed in one direction: first some are removed, then others set
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct HeaderChanges {
    /// Name to value; each takes the place of all of its name.
    #[serde(default)]
    pub(in crate::config) set: BTreeMap<String, String>,
    /// Names.
    #[serde(default)]
    pub(in crate::config) remove: Vec<String>,
}
