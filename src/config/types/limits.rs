//! Limits, waits, retries and circuit breakers, and what several gateways share of them.

use crate::canon::{Code, PathTemplate, Type};
use crate::config::secret::Secret;
use http::HeaderName;
use std::path::PathBuf;
use std::time::Duration;

/// An entry of `rate_limits`
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimit {
    /// How many requests, at least one; characters or bytes where `cost` says so.
    pub requests: u32,
    /// In which time, longer than zero.
    pub per: Duration,
    /// How many may come at once, at least one.
    pub burst: u32,
    /// Which requests it counts; all without it.
    pub matches: Option<PathTemplate>,
    /// What each has a count of its own.
    pub key: LimitKey,
    /// The code of the refusal, of type `rate_limited`.
    pub code: Code,
    /// What is counted.
    pub cost: Cost,
}

/// What a rate limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Requests.
    Requests,
    /// Characters of the text in a JSON body.
    TextCharacters,
    /// Seconds of audio: the client's of a transcription, else the provider's.
    AudioSeconds,
    /// Bytes of the body.
    BodyBytes,
}

/// What each has a rate of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitKey {
    /// The route as a whole.
    Route,
    /// Each value of a request header.
    Header(HeaderName),
    /// Each client's address.
    ClientIp,
    /// Each value of a parameter of the limit's path template, which has one of this name.
    PathParameter(String),
    /// Each credential.
    Credential,
}

/// `concurrency`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// Calls at one time, at least one.
    pub max: u32,
    /// How many may wait for a slot.
    pub queue: u32,
    /// How long one may wait.
    pub max_wait: Duration,
    /// Whether the cap follows what the provider says.
    pub learn: bool,
    /// How long the slot of a call that was cancelled stays taken, because the provider still counts it.
    pub settle: Duration,
}

/// `waits`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// Whether a wait that the provider asks for is kept here as well.
    pub enabled: bool,
    /// The longest that is believed, longer than zero.
    pub max_hold: Duration,
    /// Whom it binds.
    pub scope: WaitScope,
}

/// Whom a wait binds, of those with the same credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitScope {
    /// As the code of the refusal says.
    Auto,
    /// Those who ask for the same path.
    Path,
    /// All of them.
    Credential,
}

/// `retry`
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Tries in all, the first included; at least two.
    pub attempts: u32,
    /// The types of errors after which it is tried again; at least one.
    pub on: Vec<Type>,
    /// Retries as a share of requests, above 0 and up to 1.
    pub budget: f64,
}

/// `circuit_breaker`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitBreaker {
    /// After how many failures, at least one.
    pub failures: u32,
    /// Within which time, longer than zero.
    pub window: Duration,
    /// For how long, longer than zero.
    pub open: Duration,
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The URL of a Redis or Valkey, its password included.
    pub backend: Option<Secret>,
    /// CA certificates, PEM, that are trusted instead of the platform's.
    pub ca_file: Option<PathBuf>,
    /// Where what tenants have used of their budgets is kept.
    pub state: Option<PathBuf>,
    /// How long slots stay with a gateway that is not heard of any more.
    pub lease: Duration,
    /// How long a request waits for the backend before it is counted locally; a tenth of the lease at most.
    pub timeout: Duration,
    /// What the backend's keys and channels begin with.
    pub prefix: String,
}
