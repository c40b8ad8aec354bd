//! A route: which requests it takes, and all that is set for them.

use super::{
    Account, CircuitBreaker, Concurrency, Cors, Credentials, Envelopes, Headers, HealthCheck, RateLimit, Retry,
    Upstream, Waits, Warm,
};
use crate::canon::Profile;
use crate::generation::Silence;
use std::sync::Arc;
use std::time::Duration;

/// `[[routes]]`
#[derive(Debug)]
pub struct Route {
    /// Its name: label, envelope member, log field. Unique.
    pub name: String,
    /// Its place in [`super::Config::routes`].
    pub index: usize,
    /// `match.host`, lower case, without a port.
    pub host: Option<String>,
    /// `match.path` without a trailing slash; empty means every path.
    pub path: String,
    /// The provider's name.
    pub provider: String,
    /// What the provider's failures mean.
    pub profile: Arc<Profile>,
    /// Where requests go: at least one and at most [`MOST_PLACES`]. The first is the one that is tried first.
    pub upstreams: Vec<Upstream>,
    /// What part of the requests each of them takes, in the same order; empty where the first takes all that it can.
    pub weights: Vec<u32>,
    /// How the upstreams are asked whether they are there.
    pub health: Option<HealthCheck>,
    /// The form of errors.
    pub envelope: Envelopes,
    /// Which pages of browsers may call; none where the provider says so.
    pub cors: Option<Arc<Cors>>,
    /// Whether the operator has said that the provider does.
    pub cors_by_provider: bool,
    /// Whether envelopes carry the provider's body.
    pub upstream_body: bool,
    /// Whose the credentials are, where several routes share them.
    pub account: Option<Arc<Account>>,
    /// What is put into requests, one of them into each; the client's own is then dropped. At most [`MOST_PLACES`].
    pub credentials: Vec<Credentials>,
    /// What becomes of header fields beside what has to.
    pub headers: Headers,
    /// Whether answers that are no refusals say what is left of the route's rate limits.
    pub rate_limit_headers: bool,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// Largest request body, in bytes.
    pub max_request_body: u64,
    /// What may be sent on WebSockets, either way.
    pub websocket: Websocket,
    /// How long a provider may be silent on a WebSocket until it is pinged; never without it.
    pub ping: Option<Duration>,
    /// The same for clients.
    pub client_ping: Option<Duration>,
    /// What is kept ready for calls to come.
    pub warm: Warm,
    /// Requests in a time, in the order of the file.
    pub rate_limits: Vec<RateLimit>,
    /// Calls at one time.
    pub concurrency: Option<Concurrency>,
    /// What a provider's `Retry-After` is worth.
    pub waits: Waits,
    /// Retries; none without it.
    pub retry: Option<Retry>,
    /// When a failing upstream is left alone; never without it.
    pub circuit_breaker: Option<CircuitBreaker>,
    /// Silence that is an error.
    pub silence: Silence,
    /// Whether each generation is recorded.
    pub generations: bool,
}

/// Most upstreams of a route, and most credentials: sets of them are the bits of one word.
pub const MOST_PLACES: usize = 64;

/// `timeouts`
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Resolving, connecting and TLS together.
    pub connect: Duration,
    /// From the request sent to the head of the answer.
    pub response: Duration,
    /// The longest pause inside the answer's body.
    pub idle: Duration,
    /// The longest silence on a WebSocket.
    pub websocket_idle: Duration,
    /// From the client's request to the last byte of the answer, or to a WebSocket's handshake; none when it may take as long as
    /// it wants.
    pub total: Option<Duration>,
}

/// `websocket`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Websocket {
    /// Largest frame, in bytes of payload; beyond it 1009.
    pub max_frame: u64,
    /// Largest message, in bytes of payload of all its frames; beyond it 1009.
    pub max_message: u64,
    /// After how long without a word to the provider it is sent what keeps the socket open; never without it.
    pub keep_alive: Option<Duration>,
    /// Whether the provider's socket is dialled again when it ends between generations.
    pub redial: bool,
}
