//! The keys of prices.

use schemars::JsonSchema;
use serde::Deserialize;

/// `[[prices]]`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Price {
    /// The provider's name, as routes say it.
    #[schemars(required)]
    pub(in crate::config) provider: Option<String>,
    /// The model, or how the names of several begin, with `*` at the end. The most exact row wins. Default: all models, and what has
    /// none.
    pub(in crate::config) model: Option<String>,
    /// In which currency, by ISO 4217: `USD`.
    #[schemars(required)]
    pub(in crate::config) currency: Option<String>,
    /// For 1000 characters, as the provider counts them. At least one of the three must be there.
    pub(in crate::config) per_1000_characters: Option<f64>,
    /// For a minute of audio: the client's for transcriptions, else the provider's.
    pub(in crate::config) per_audio_minute: Option<f64>,
    /// For each request, context or turn.
    pub(in crate::config) per_request: Option<f64>,
}
