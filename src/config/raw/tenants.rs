//! The keys of tenants.

use super::DurationText;
use crate::config::defaults;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[[tenants]]`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Tenant {
    /// Its name in labels, logs and on the page. Unique.
    #[schemars(required)]
    pub(in crate::config) name: Option<String>,
    /// The hashes of its gateway keys, as `speechgate key new` prints them. Several are valid at one time, so that clients can
    /// change from one to the next.
    #[serde(default)]
    pub(in crate::config) keys: Vec<TenantKey>,
    /// Certificates of clients that are its own, where `client_ca` asks for them: each is the whole of a URI or a DNS name among the
    /// alternative names of one (SPIFFE ids are URIs), or the common name of one that has neither.
    #[serde(default)]
    pub(in crate::config) subjects: Vec<String>,
    /// The names of the routes that it may use. Default: all.
    pub(in crate::config) routes: Option<Vec<String>>,
    /// Its share of the slots that are free, beside the weights of the other tenants that wait.
    #[schemars(range(min = 1, max = 1000))]
    #[schemars(extend("default" = defaults::tenants::WEIGHT))]
    pub(in crate::config) weight: Option<u32>,
    /// Slots that only this tenant gets while it wants them.
    #[schemars(extend("default" = defaults::tenants::RESERVE))]
    pub(in crate::config) reserve: Option<u32>,
    /// The most slots that it may hold. Default: as many as there are.
    #[schemars(range(min = 1))]
    pub(in crate::config) max: Option<u32>,
    /// Its priority in the queues of routes; a client's `x-speechgate-priority` can only lower it. Default: what the client says.
    pub(in crate::config) priority: Option<PriorityName>,
    /// How many requests it may begin in a time, over all routes. Each limit refuses at once.
    #[serde(default)]
    pub(in crate::config) rate_limits: Vec<TenantRate>,
    /// How much it may use in a time, over all routes.
    #[serde(default)]
    pub(in crate::config) budgets: Vec<Budget>,
}

/// An entry of a tenant's `rate_limits`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct TenantRate {
    /// How many requests.
    #[schemars(required, range(min = 1))]
    pub(in crate::config) requests: Option<u32>,
    /// In which time.
    #[schemars(required)]
    pub(in crate::config) per: Option<DurationText>,
    /// How many may come in a burst. Default: as many as `requests`.
    #[schemars(range(min = 1))]
    pub(in crate::config) burst: Option<u32>,
}

/// An entry of `budgets`: one of `characters`, `audio_seconds`, `requests` and `cost`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Budget {
    /// Characters of text, as the provider counts them.
    #[schemars(range(min = 1))]
    pub(in crate::config) characters: Option<u64>,
    /// Seconds of audio, of the client's and of the provider's.
    #[schemars(range(min = 1))]
    pub(in crate::config) audio_seconds: Option<u64>,
    /// Requests.
    #[schemars(range(min = 1))]
    pub(in crate::config) requests: Option<u64>,
    /// Money, by `[[prices]]`, in `currency`.
    pub(in crate::config) cost: Option<f64>,
    /// The currency of `cost`.
    pub(in crate::config) currency: Option<String>,
    /// A day, a week from Monday on, or thirty days, by the calendar.
    #[schemars(required)]
    pub(in crate::config) per: Option<BudgetPeriod>,
    /// The zone by whose clocks days begin, such as `Europe/Berlin`.
    #[schemars(extend("default" = defaults::tenants::ZONE))]
    pub(in crate::config) zone: Option<String>,
}

/// The period of a budget.
#[derive(Clone, Copy, Deserialize, JsonSchema, Serialize)]
pub(in crate::config) enum BudgetPeriod {
    #[serde(rename = "1d")]
    Day,
    #[serde(rename = "7d")]
    Week,
    #[serde(rename = "30d")]
    ThirtyDays,
}

/// One of a tenant's keys: its hash, or a table with the time of its end.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum TenantKey {
    /// Its hash.
    Hash(String),
    /// Its hash and its end.
    Expiring(ExpiringKey),
}

/// A key that ends
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ExpiringKey {
    /// Its hash.
    #[schemars(required)]
    pub(in crate::config) hash: Option<String>,
    /// When it ends: RFC 3339, in UTC. Default: never.
    pub(in crate::config) expires: Option<String>,
}

/// How urgent the calls of a tenant are.
#[derive(Clone, Copy, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum PriorityName {
    High,
    Normal,
    Low,
}

/// What a trusted peer says of whose a request is
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct TenantNaming {
    /// The header with the name of the tenant.
    #[schemars(required)]
    pub(in crate::config) header: Option<String>,
}

/// Whom the gateway asks for a key.
#[derive(Clone, Copy, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Authenticate {
    /// Every client has to show the key of a tenant.
    Tenants,
    /// Nobody.
    Off,
}
