//! The configuration as the program uses it: checked, complete, nothing left to default later.

mod accounts;
mod cors;
mod credentials;
mod envelope;
mod headers;
mod limits;
mod route;
mod server;
mod telemetry;
mod tenants;
mod upstream;
mod warm;

pub use accounts::Account;
pub use cors::Cors;
pub use credentials::{Credentials, Spellings, SubprotocolPlace};
pub use envelope::{Envelope, Envelopes};
pub use headers::{HeaderChanges, Headers};
pub use limits::{CircuitBreaker, Concurrency, Cost, LimitKey, Limits, RateLimit, Retry, WaitScope, Waits};
pub use route::{MOST_PLACES, Route, Timeouts, Websocket};
pub use server::{Listen, Server, ServerTls};
pub use telemetry::{AccessField, LogFormat, LogLevel, Otlp, Telemetry};
pub use tenants::{Budget, KeyHash, Measure, Tenant, TenantKey};
pub use upstream::{ClientCertificate, HealthCheck, Protocol, Upstream};
pub use warm::Warm;

use crate::generation::Prices;
use std::sync::Arc;

/// Everything one run needs.
#[derive(Debug)]
pub struct Config {
    /// The proxied listener.
    pub server: Server,
    /// The admin listener; none when it is switched off.
    pub admin: Option<Listen>,
    /// Logs and export.
    pub telemetry: Telemetry,
    /// The routes, in the order of the file.
    pub routes: Vec<Arc<Route>>,
    /// The accounts that routes name, in the order of the file.
    pub accounts: Vec<Arc<Account>>,
    /// Who may call, in the order of the file.
    pub tenants: Vec<Arc<Tenant>>,
    /// What providers charge.
    pub prices: Prices,
    /// Limits that several gateways share.
    pub limits: Limits,
}
