//! The keys of `[[accounts]]`.

use super::{Concurrency, CredentialsList, RateLimit, Waits};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[[accounts]]`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Account {
    /// The name by which routes refer to it. Unique.
    #[schemars(required)]
    pub(in crate::config) name: Option<String>,
    /// The credentials that are put into every request of its routes, in place of the client's own. Several are several plans of
    /// the same size: the one with the fewest calls is used.
    #[schemars(required)]
    pub(in crate::config) credentials: Option<CredentialsList>,
    /// Calls at one time, of all its routes together.
    pub(in crate::config) concurrency: Option<Concurrency>,
    /// Rate limits over all its routes together. A `key` of `route`, the default, counts the whole account.
    #[serde(default)]
    pub(in crate::config) rate_limits: Vec<RateLimit>,
    /// How a provider's `Retry-After` to it is respected, on every route that has no `waits` of its own.
    #[serde(default)]
    pub(in crate::config) waits: Waits,
}

/// The account that a route uses.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(title = "a name of one of `[[accounts]]`, whose `credentials` may be several")]
pub(in crate::config) struct AccountText(pub(in crate::config) String);
