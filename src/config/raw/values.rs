//! Values that many tables share: texts with a meaning, which `resolve` parses.

use schemars::JsonSchema;
use serde::Deserialize;

/// A share.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(title = "a percentage", extend("examples" = ["20%"]))]
pub(in crate::config) struct PercentageText(pub(in crate::config) String);

/// A duration with its unit.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(title = "a duration", extend("examples" = ["30s", "5m", "250ms"]))]
pub(in crate::config) struct DurationText(pub(in crate::config) String);

/// A duration with its unit, or `off`.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(title = "a duration or off", extend("examples" = ["10s", "off"]))]
pub(in crate::config) struct PingText(pub(in crate::config) String);

/// How long the first audio may take.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(title = "a duration or `auto`", extend("examples" = ["4s", "auto"]))]
pub(in crate::config) struct FirstAudioText(pub(in crate::config) String);

/// A URL.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(title = "a URL", extend("examples" = ["https://api.example.com"]))]
pub(in crate::config) struct UrlText(pub(in crate::config) String);

/// The path of a file.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(title = "a path of a file")]
pub(in crate::config) struct FileText(pub(in crate::config) String);

/// Where a listener listens.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(title = "an address and port", extend("examples" = ["127.0.0.1:8080", "unix:/run/speechgate.sock"]))]
pub(in crate::config) struct ListenText(pub(in crate::config) String);

/// A number of bytes, alone or with a unit.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "a size", extend("examples" = ["50MiB", "32KiB"]))]
pub(in crate::config) enum Size {
    /// Bytes.
    Bytes(u64),
    /// With a unit.
    Text(String),
}
