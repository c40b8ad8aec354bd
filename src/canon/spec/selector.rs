//! Where a value is, and what it must be.

use super::{OneOrMany, Table};
use schemars::JsonSchema;
use serde::Deserialize;

/// Where a value is: `$.path`, `$.list[0]`, `$.list[?key=value]`, `$`, `h:name`, `www-authenticate:param`,
/// `xml:Element` (the text of the first such element), `http.status`, `ws.code`, `ws.reason`, `sse.event`, `grpc.status`, `grpc.message`, `text` (the whole
/// body), `text.title` (an HTML title), `text.page` (the page). Where the body is a list, a path that begins with a name leads into its first entry.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SelectorSpec {
    /// Just the place.
    Place(String),
    /// The place and how to read it.
    Full(FullSelectorSpec),
}

/// A selector with a capture, a unit or a condition.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FullSelectorSpec {
    /// The place.
    pub from: String,
    /// A regular expression with one group; the group is the value, no match means no value.
    pub capture: Option<String>,
    /// For `retry_after`: seconds, milliseconds, date, epoch, duration; without it a number is seconds, else a date, else a duration.
    pub unit: Option<Unit>,
    /// Only asked when these conditions hold.
    #[serde(default)]
    pub when: Table<ConditionSpec>,
    /// For `code`: the code table (`spaces.NAME`) in which the value is looked up, instead of `codes`. `grpc` is there without
    /// being written.
    pub space: Option<String>,
}

/// The unit of a retry hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// A number of seconds, fractions allowed.
    Seconds,
    /// A number of milliseconds.
    Milliseconds,
    /// An HTTP date or RFC 3339.
    Date,
    /// Seconds since 1970; milliseconds when it is too large for seconds.
    Epoch,
    /// `1m39.7s`, `500ms`, `PT30S`.
    Duration,
}

/// What the value of a condition must be.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ConditionSpec {
    /// Equal to this (numbers and booleans compare as they are written).
    Is(Scalar),
    /// Equal to one of these.
    In(Vec<Scalar>),
    /// A test.
    Test(ConditionTestSpec),
}

/// A TOML scalar.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Scalar {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

impl Scalar {
    /// The scalar as it is compared.
    pub(crate) fn text(&self) -> Box<str> {
        match self {
            Scalar::Bool(truth) => truth.to_string().into(),
            Scalar::Int(number) => number.to_string().into(),
            Scalar::Float(number) => number.to_string().into(),
            Scalar::Text(text) => text.as_str().into(),
        }
    }
}

/// Tests beside equality; all that are given must hold.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConditionTestSpec {
    /// Whether there is a value (an empty string and `null` are none).
    pub exists: Option<bool>,
    /// Equal to none of these; holds when there is no value.
    pub not: Option<OneOrMany<Scalar>>,
    /// A regular expression found in the value.
    pub matches: Option<String>,
}
