//! What a failure means: codes and rules, and lists of validation errors.

use super::{ConditionSpec, OneOrMany, Phase, Scalar, Table};
use schemars::JsonSchema;
use serde::Deserialize;

/// What a provider's code means: a canonical code, or that with more to say.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum MappingSpec {
    /// The canonical code.
    Code(String),
    /// The canonical code and what differs from its row.
    Full(FullMappingSpec),
}

impl MappingSpec {
    /// The canonical code's name.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            MappingSpec::Code(code) => code,
            MappingSpec::Full(full) => &full.code,
        }
    }
}

/// A canonical code and what differs from its row.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FullMappingSpec {
    /// The canonical code.
    pub code: String,
    /// The provider's documented answer to whether to retry.
    pub retryable: Option<bool>,
    /// A wait that the provider documents but does not send, in seconds.
    pub retry_after_seconds: Option<f64>,
    /// A type for all sorts of failures, such as `invalid_request_error`: it decides only where neither another code nor the
    /// status says something else.
    #[serde(default)]
    pub catch_all: bool,
    /// Only this request is refused, because it costs more than is left: a smaller one may be served, so the account is not set aside.
    #[serde(default)]
    pub of_request: bool,
    /// On a row of a code table: the code means this whatever the status beside it says, because the provider gives one status to
    /// all sorts of failures. The rules on the text of an error with this code do not look at the status either.
    #[serde(default)]
    pub despite_status: bool,
    /// Whether it ends the session or stream.
    pub fatal: Option<bool>,
    /// The message when the provider sends none.
    pub message: Option<String>,
    /// Fixed extras for `details`.
    #[serde(default)]
    pub details: Table<String>,
    /// Where the provider documents it.
    pub doc_url: Option<String>,
}

/// One rule: every condition that is given must hold.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    /// The provider's code; `*` at either end stands for anything, `*` alone for any code or none. A whole code and `*` are asked
    /// before the code table, a family of codes after it.
    pub code: Option<OneOrMany<Scalar>>,
    /// The effective status: a number or a class such as `"5xx"`.
    pub status: Option<OneOrMany<StatusSpec>>,
    /// Where it was found.
    pub phase: Option<OneOrMany<Phase>>,
    /// The effective WebSocket close code.
    pub close: Option<OneOrMany<u16>>,
    /// Conditions over any selector.
    #[serde(default)]
    pub when: Table<ConditionSpec>,
    /// A regular expression found in title, message or text; asked last.
    pub message: Option<String>,
    /// What it means.
    pub then: MappingSpec,
}

/// A status or a class of them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum StatusSpec {
    /// `429`
    Exact(u16),
    /// `"4xx"`
    Class(String),
}

/// A list of validation errors in any of its forms.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectionSpec {
    /// The list or the map.
    pub each: String,
    /// Within an entry, the parameter: a path (`loc`, `a.b`), `@key` for the key of a map, or an array that is joined by dots.
    /// Of several the first that is there.
    pub param: Option<OneOrMany<String>>,
    /// Within an entry, the message: a path, `@value` for the entry or the map's value itself. Of several the first that is there.
    pub message: Option<OneOrMany<String>>,
    /// Leading elements of a path that are not part of the name (`body`, `query`).
    #[serde(default)]
    pub strip: Vec<String>,
}
