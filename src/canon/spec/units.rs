//! What takes a slot of a plan, and what a request costs.

use super::OneOrMany;
use super::values::one_or_many;
use schemars::JsonSchema;
use serde::Deserialize;

/// How the provider counts concurrency and reports it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConcurrencySpec {
    /// What takes a slot; a request when nothing is said.
    pub unit: Option<ConcurrencyUnit>,
    /// Response header that tells the plan's cap.
    pub limit_header: Option<String>,
    /// Response header that tells how many are running.
    pub current_header: Option<String>,
}

/// What takes one slot of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConcurrencyUnit {
    /// Each HTTP request and each socket.
    Request,
    /// Each socket; plain requests take none.
    Socket,
    /// Each context on a socket, as `generations` say; a socket on which none begin takes one for as long as it is open.
    Context,
    /// Only while audio is being generated: the same by another name.
    Generation,
}

/// What a request costs beside being one.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CostSpec {
    /// Where the text is in a JSON request body: `$.text`, or `$.inputs[*].text` for every entry of a list. All of them count.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub text: Vec<String>,
    /// What a character is; `scalars` when nothing is said.
    pub characters: Option<CharacterUnit>,
    /// Whether tags of markup count, as `<break time="1s"/>`; they do when nothing is said.
    pub tags: Option<bool>,
    /// As how many characters one of Chinese, Japanese or Korean counts; 1 when nothing is said.
    #[schemars(range(min = 1, max = 8))]
    pub ideographs: Option<u32>,
    /// Whether the provider charges for generations that fail or stay silent; it does not when nothing is said.
    pub failed: Option<bool>,
}

/// What a character is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CharacterUnit {
    /// A Unicode scalar value.
    #[default]
    Scalars,
    /// A code unit of UTF-16.
    Utf16,
    /// A byte of UTF-8.
    Bytes,
}
