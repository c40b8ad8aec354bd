//! What takes a slot of a plan, and what a request costs.

use super::values::one_or_many;
use super::{ConditionSpec, OneOrMany, SelectorSpec, Table};
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
    /// Sockets on which units begin and end. With the units `context` and `generation` a slot is taken for each; any other
    /// socket takes one for as long as it is open.
    pub sockets: Vec<SocketUnitsSpec>,
}

/// Where units begin and end on one kind of socket.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SocketUnitsSpec {
    /// Method and path template of its handshake; every path without it.
    pub path: Option<OneOrMany<String>>,
    /// Where the unit's id is, in messages of either side. Without it there is one at a time.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<SelectorSpec>")]
    pub id: Vec<SelectorSpec>,
    /// How many units one such socket takes at one time; a message that begins one more waits.
    #[schemars(range(min = 1))]
    pub max: Option<u32>,
    /// Conditions over a message of the client's that begins a unit, unless it is running.
    pub begins: OneOrMany<Table<ConditionSpec>>,
    /// Conditions over a message with which the client has said all that it has to say in a unit.
    pub last: Option<OneOrMany<Table<ConditionSpec>>>,
    /// Conditions over a message of the client's that ends a unit.
    pub cancels: Option<OneOrMany<Table<ConditionSpec>>>,
    /// Conditions over a message of the provider's that ends a unit. Its errors do so anyway.
    pub ends: OneOrMany<Table<ConditionSpec>>,
}

/// What takes one slot of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConcurrencyUnit {
    /// Each HTTP request and each socket.
    Request,
    /// Each socket; plain requests take none.
    Socket,
    /// Each context on a socket.
    Context,
    /// Only while audio is being generated.
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
