//! The keys of `cors`, for the server and for a route.

use super::DurationText;
use crate::config::defaults;
use schemars::JsonSchema;
use serde::Deserialize;

/// `[server.cors]`, and `cors` of a route
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Cors {
    /// Whose pages may call: origins such as `https://app.example.com`, or `*` for those of everybody.
    #[schemars(required)]
    pub(in crate::config) origins: Option<Vec<String>>,
    /// Whether pages may send cookies and the like.
    #[schemars(extend("default" = defaults::cors::CREDENTIALS))]
    pub(in crate::config) credentials: Option<bool>,
    /// The methods that pages may use. Default: whatever they ask for.
    pub(in crate::config) methods: Option<Vec<String>>,
    /// The header fields that pages may send. Default: whatever they ask for.
    pub(in crate::config) headers: Option<Vec<String>>,
    /// What pages may read of an answer's header fields, beside those of this gateway.
    pub(in crate::config) expose: Option<Vec<String>>,
    /// How long browsers may remember the answer to a preflight.
    #[schemars(extend("default" = defaults::duration(defaults::cors::MAX_AGE)))]
    pub(in crate::config) max_age: Option<DurationText>,
}

/// `cors` of a route: its own, or none.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum RouteCors {
    /// The provider speaks for itself.
    Passed(CorsWord),
    /// Rules of its own.
    Own(Cors),
}

/// Who speaks instead of `[server.cors]`.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum CorsWord {
    Provider,
}
