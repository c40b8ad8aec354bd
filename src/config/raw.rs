//! The shape of the configuration file. Only names and types are checked here.
//!
//! The doc comments become the descriptions of `speechgate schema`. Every key is optional for serde, so that one mistake hides
//! no other; `#[schemars(required)]` marks those that must be there, and `schema.rs` checks it. Nothing here implements `Debug`,
//! because secrets are still plain text.

mod accounts;
mod cors;
mod credentials;
mod envelope;
mod headers;
mod limits;
mod prices;
mod route;
mod server;
mod telemetry;
mod tenants;
mod upstream;
mod values;
mod warm;

pub(super) use accounts::{Account, AccountText};
pub(super) use cors::{Cors, CorsWord, RouteCors};
pub(super) use credentials::{Credentials, CredentialsList, PlaceText, SubprotocolText};
pub(super) use envelope::{Envelope, EnvelopeChoice, EnvelopeStatus};
pub(super) use headers::Headers;
pub(super) use limits::{CircuitBreaker, Concurrency, Cost, Limits, RateLimit, Retry, Silence, WaitScope, Waits};
pub(super) use prices::Price;
pub(super) use route::{Match, Route, Timeouts, Websocket};
pub(super) use server::{Admin, ListenList, Server, ServerTls};
pub(super) use telemetry::{LogFormat, LogLevel, Otlp, Telemetry};
pub(super) use tenants::{
    Authenticate, Budget, BudgetPeriod, PriorityName, Tenant, TenantKey, TenantNaming, TenantRate,
};
pub(super) use upstream::{Health, Protocol, StatusRange, UpstreamEntry, UpstreamTls};
pub(super) use values::{DurationText, FileText, FirstAudioText, ListenText, PercentageText, PingText, Size, UrlText};
pub(super) use warm::Warm;

use crate::canon::ProfileSpec;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The configuration of speechgate.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "speechgate configuration")]
pub(super) struct Raw {
    /// Where clients connect.
    #[serde(default)]
    pub(super) server: Server,
    /// Health, metrics, reload and the status page.
    #[serde(default)]
    pub(super) admin: Admin,
    /// Logs and traces.
    #[serde(default)]
    pub(super) telemetry: Telemetry,
    /// What is forwarded where.
    #[serde(default)]
    pub(super) routes: Vec<Route>,
    /// Plans at providers that several routes share.
    #[serde(default)]
    pub(super) accounts: Vec<Account>,
    /// Who may call. Without any, everybody may.
    #[serde(default)]
    pub(super) tenants: Vec<Tenant>,
    /// What providers charge, for the meter and for budgets.
    #[serde(default)]
    pub(super) prices: Vec<Price>,
    /// Limits that several gateways share.
    #[serde(default)]
    pub(super) limits: Limits,
    /// Your own providers: name to profile.
    // Read one by one, so that a mistake in one does not hide those in the others.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, ProfileSpec>")]
    pub(super) providers: BTreeMap<String, toml::Value>,
}
