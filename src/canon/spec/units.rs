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
}
