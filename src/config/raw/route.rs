//! The keys of `[[routes]]`.

use super::{
    AccountText, CircuitBreaker, Concurrency, CredentialsList, DurationText, Envelope, EnvelopeChoice, Headers, Health,
    PingText, Protocol, RateLimit, Retry, RouteCors, Silence, Size, UpstreamEntry, UpstreamTls, UrlText, Waits, Warm,
};
use crate::config::defaults;
use schemars::JsonSchema;
use serde::Deserialize;

/// `[[routes]]`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Route {
    /// Its name in labels, envelopes and logs. Unique.
    #[schemars(required)]
    pub(in crate::config) name: Option<String>,
    /// Which requests it takes: by path prefix, by host, or by both.
    #[schemars(required)]
    #[serde(rename = "match")]
    pub(in crate::config) matches: Option<Match>,
    /// The profile's name: a built-in one or one of `[providers]`.
    #[schemars(required)]
    pub(in crate::config) provider: Option<String>,
    /// Where requests go. Its path is put in front of every forwarded path. This or `upstreams` must be there.
    pub(in crate::config) upstream: Option<UrlText>,
    /// Several upstreams, tried in order: the next one takes over when one fails, under the rules of `retry`. All are `https://`
    /// or all `http://`.
    #[schemars(length(min = 1, max = 64))]
    pub(in crate::config) upstreams: Option<Vec<UpstreamEntry>>,
    /// Active health checks: each upstream is asked for a path, and one that does not answer is set aside before a request
    /// finds out. Without it requests alone tell.
    pub(in crate::config) health: Option<Health>,
    /// Which HTTP is spoken to the provider; `auto` is what ALPN agrees on.
    #[schemars(extend("default" = Protocol::default()))]
    pub(in crate::config) protocol: Option<Protocol>,
    /// TLS towards the provider.
    pub(in crate::config) upstream_tls: Option<UpstreamTls>,
    /// The form of errors, one for all or a table by transport.
    #[schemars(extend("default" = Envelope::default()))]
    pub(in crate::config) envelope: Option<EnvelopeChoice>,
    /// Which pages of browsers may call, in place of `[server.cors]`; `provider` leaves that to the provider.
    pub(in crate::config) cors: Option<RouteCors>,
    /// Whether envelopes carry the provider's own body.
    #[schemars(extend("default" = defaults::route::UPSTREAM_BODY))]
    pub(in crate::config) upstream_body: Option<bool>,
    /// Credentials that are put into every request, in place of the client's own. Several are several accounts: the one with the
    /// fewest calls is used.
    pub(in crate::config) credentials: Option<CredentialsList>,
    /// The name of one of `[[accounts]]`, in place of `credentials`: its credentials, slots, rates and waits are those of all routes that
    /// name it. `concurrency` and `rate_limits` of the route apply beside the account's.
    pub(in crate::config) account: Option<AccountText>,
    /// Header fields that are set or removed on the way.
    #[serde(default)]
    pub(in crate::config) headers: Headers,
    /// Whether successes, too, say what is left of the route's rate limits, in `RateLimit` and `RateLimit-Policy`.
    #[schemars(extend("default" = defaults::route::RATE_LIMIT_HEADERS))]
    pub(in crate::config) rate_limit_headers: Option<bool>,
    /// Deadlines.
    #[serde(default)]
    pub(in crate::config) timeouts: Timeouts,
    /// Largest request body; where the profile says what its provider takes, that is the default.
    #[schemars(extend("default" = defaults::size(defaults::route::MAX_REQUEST_BODY)))]
    pub(in crate::config) max_request_body: Option<Size>,
    /// What may be sent on WebSockets, either way.
    #[serde(default)]
    pub(in crate::config) websocket: Websocket,
    /// How long a provider may be silent on a WebSocket until it is asked by a ping whether it is there, and by another one half as
    /// long after that; with twice as much silence, both pings unanswered, its connection is dead. `off`: no such pings.
    #[schemars(extend("default" = "off"))]
    pub(in crate::config) ping: Option<PingText>,
    /// The same for clients: one that answers no ping has left.
    #[schemars(extend("default" = "off"))]
    pub(in crate::config) client_ping: Option<PingText>,
    /// Connections and sockets to the provider that are there before a call asks for them.
    #[serde(default)]
    pub(in crate::config) warm: Warm,
    /// Rate limits. Each refuses at once; none makes a request wait.
    #[serde(default)]
    pub(in crate::config) rate_limits: Vec<RateLimit>,
    /// Calls at one time.
    pub(in crate::config) concurrency: Option<Concurrency>,
    /// How a provider's `Retry-After` is respected. Default: as the account says, where the route names one.
    pub(in crate::config) waits: Option<Waits>,
    /// Retries by the gateway. Without it, no request is retried that may have reached the provider.
    pub(in crate::config) retry: Option<Retry>,
    /// When a failing upstream gets no requests for a while. Without it, every upstream always gets requests.
    pub(in crate::config) circuit_breaker: Option<CircuitBreaker>,
    /// Silence that is an error. Each part is off unless set.
    #[serde(default)]
    pub(in crate::config) silence: Silence,
    /// Whether each generation is recorded: in the metrics, in a line of the access log and in a span. Always where `silence` is.
    #[schemars(extend("default" = defaults::route::GENERATIONS))]
    pub(in crate::config) generations: Option<bool>,
}

/// `match`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a table", extend("examples" = ["{ path = \"/tts\" }"]))]
pub(in crate::config) struct Match {
    /// A path prefix on whole segments; the longest wins, and it is stripped.
    pub(in crate::config) path: Option<String>,
    /// A host name, without a port.
    pub(in crate::config) host: Option<String>,
}

/// `timeouts`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Timeouts {
    /// Resolving, connecting and TLS together.
    #[schemars(extend("default" = defaults::duration(defaults::route::CONNECT_TIMEOUT)))]
    pub(in crate::config) connect: Option<DurationText>,
    /// From the request sent to the head of the answer; where the profile says what its provider's SDKs wait, that is the default.
    #[schemars(extend("default" = defaults::duration(defaults::route::RESPONSE_TIMEOUT)))]
    pub(in crate::config) response: Option<DurationText>,
    /// The longest pause inside the answer's body.
    #[schemars(extend("default" = defaults::duration(defaults::route::IDLE_TIMEOUT)))]
    pub(in crate::config) idle: Option<DurationText>,
    /// The longest silence on a WebSocket; one on which both sides are well and nobody waits then ends with 1001.
    #[schemars(extend("default" = defaults::duration(defaults::route::WEBSOCKET_IDLE_TIMEOUT)))]
    pub(in crate::config) websocket_idle: Option<DurationText>,
    /// From the client's request to the last byte of the answer, waits and retries included; of a WebSocket, to the end of its
    /// handshake. Default: none.
    pub(in crate::config) total: Option<DurationText>,
}

/// `websocket`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Websocket {
    /// Largest frame; beyond it the socket is closed with 1009.
    #[schemars(extend("default" = defaults::size(defaults::route::WEBSOCKET_MAX_FRAME)))]
    pub(in crate::config) max_frame: Option<Size>,
    /// Largest message, all its frames together; beyond it the socket is closed with 1009.
    #[schemars(extend("default" = defaults::size(defaults::route::WEBSOCKET_MAX_MESSAGE)))]
    pub(in crate::config) max_message: Option<Size>,
    /// How long a provider's socket may hear nothing until it is sent what the profile says keeps it open: only between units of work,
    /// and only what costs nothing. `off`: never.
    #[schemars(extend("default" = "off"))]
    pub(in crate::config) keep_alive: Option<PingText>,
    /// Whether the provider's socket is dialled again when it ends between generations, while the client keeps its own. `generations` are
    /// followed where it is.
    #[schemars(extend("default" = defaults::route::WEBSOCKET_REDIAL))]
    pub(in crate::config) redial: Option<bool>,
}
