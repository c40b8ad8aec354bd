//! The shape of the configuration file. Only names and types are checked here.
//!
//! The doc comments become the descriptions of `speechgate schema`. Every key is optional for serde, so that one mistake hides
//! no other; `#[schemars(required)]` marks those that must be there, and `schema.rs` checks it. Nothing here implements `Debug`,
//! because secrets are still plain text.

mod limits;

pub(super) use limits::{CircuitBreaker, Concurrency, Cost, Limits, RateLimit, Retry, WaitScope, Waits};

use super::defaults;
use crate::canon::ProfileSpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
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
    /// Limits that several gateways share.
    #[serde(default)]
    pub(super) limits: Limits,
    /// Your own providers: name to profile.
    // Read one by one, so that a mistake in one does not hide those in the others.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, ProfileSpec>")]
    pub(super) providers: BTreeMap<String, toml::Value>,
}

/// `[server]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    /// Address and port, or `unix:` and a path; or a list of several.
    #[schemars(extend("default" = defaults::server::LISTEN.to_string()))]
    pub(super) listen: Option<ListenList>,
    /// TLS towards clients. Without it plain HTTP is spoken.
    pub(super) tls: Option<ServerTls>,
    /// Worker threads. Default: one per processor.
    #[schemars(range(min = 1, max = 1024))]
    pub(super) workers: Option<u32>,
    /// Connections of clients at one time.
    #[schemars(range(min = 1, max = 10_000_000))]
    #[schemars(extend("default" = defaults::server::MAX_CONNECTIONS))]
    pub(super) max_connections: Option<u32>,
    /// How long running requests and streams may go on after SIGTERM.
    #[schemars(extend("default" = defaults::duration(defaults::server::DRAIN_TIMEOUT)))]
    pub(super) drain_timeout: Option<DurationText>,
    /// How long requests are still accepted after SIGTERM while `/readyz` already fails, so that load balancers stop sending
    /// first.
    #[schemars(extend("default" = defaults::duration(defaults::server::DRAIN_DELAY)))]
    pub(super) drain_delay: Option<DurationText>,
    /// How long a client may take to send a header section.
    #[schemars(extend("default" = defaults::duration(defaults::server::HEADER_TIMEOUT)))]
    pub(super) header_timeout: Option<DurationText>,
    /// How long a client may pause inside a request body.
    #[schemars(extend("default" = defaults::duration(defaults::server::BODY_TIMEOUT)))]
    pub(super) body_timeout: Option<DurationText>,
    /// How long an idle connection of a client is kept.
    #[schemars(extend("default" = defaults::duration(defaults::server::KEEP_ALIVE_TIMEOUT)))]
    pub(super) keep_alive_timeout: Option<DurationText>,
    /// How long a client may leave a response unread before the connection is cut.
    #[schemars(extend("default" = defaults::duration(defaults::server::WRITE_TIMEOUT)))]
    pub(super) write_timeout: Option<DurationText>,
    /// Longest request target; beyond it 414.
    #[schemars(extend("default" = defaults::size(defaults::server::MAX_TARGET_BYTES)))]
    pub(super) max_target_bytes: Option<Size>,
    /// Largest header section; beyond it 431.
    #[schemars(extend("default" = defaults::size(defaults::server::MAX_HEADER_BYTES)))]
    pub(super) max_header_bytes: Option<Size>,
    /// Most header fields; beyond it 431.
    #[schemars(range(min = 10, max = 10_000))]
    #[schemars(extend("default" = defaults::server::MAX_HEADERS))]
    pub(super) max_headers: Option<u32>,
    /// HTTP/2 towards clients.
    #[serde(default)]
    pub(super) http2: Http2,
    /// Which pages of browsers may call. Default: what each provider says of its own.
    pub(super) cors: Option<Cors>,
    /// Whether `X-Forwarded-*` and `Forwarded` of clients are kept and appended to, or replaced.
    #[schemars(extend("default" = defaults::server::TRUST_FORWARDED))]
    pub(super) trust_forwarded: Option<bool>,
    /// This gateway's address as clients see it, put into rewritten provider URLs. Default: the request's Host.
    pub(super) public_url: Option<UrlText>,
    /// Where errors are documented, such as a copy of `speechgate codes --format markdown`: the `doc_url` of an error whose
    /// provider gave no link is this and its code, behind a slash unless it ends with `/`, `#` or `=`. Default: no link.
    pub(super) error_docs_url: Option<UrlText>,
}

/// `[server.tls]`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ServerTls {
    /// Certificate chain, PEM.
    #[schemars(required)]
    pub(super) certificate: Option<FileText>,
    /// Private key, PEM.
    #[schemars(required)]
    pub(super) private_key: Option<FileText>,
    /// CA certificates, PEM: clients must then present a certificate that one of these signed.
    pub(super) client_ca: Option<FileText>,
}

/// `[server.cors]`, and `cors` of a route
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Cors {
    /// Whose pages may call: origins such as `https://app.example.com`, or `*` for those of everybody.
    #[schemars(required)]
    pub(super) origins: Option<Vec<String>>,
    /// Whether pages may send cookies and the like.
    #[schemars(extend("default" = defaults::cors::CREDENTIALS))]
    pub(super) credentials: Option<bool>,
    /// The methods that pages may use. Default: whatever they ask for.
    pub(super) methods: Option<Vec<String>>,
    /// The header fields that pages may send. Default: whatever they ask for.
    pub(super) headers: Option<Vec<String>>,
    /// What pages may read of an answer's header fields, beside those of this gateway.
    pub(super) expose: Option<Vec<String>>,
    /// How long browsers may remember the answer to a preflight.
    #[schemars(extend("default" = defaults::duration(defaults::cors::MAX_AGE)))]
    pub(super) max_age: Option<DurationText>,
}

/// `cors` of a route: its own, or none.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum RouteCors {
    /// The provider speaks for itself.
    Passed(CorsWord),
    /// Rules of its own.
    Own(Cors),
}

/// Who speaks instead of `[server.cors]`.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum CorsWord {
    Provider,
}

/// `[server.http2]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Http2 {
    /// Streams at one time on one connection.
    #[schemars(range(min = 1, max = 10_000))]
    #[schemars(extend("default" = defaults::server::HTTP2_MAX_STREAMS))]
    pub(super) max_streams: Option<u32>,
}

/// `[admin]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Admin {
    /// Whether there is an admin listener.
    #[schemars(extend("default" = defaults::admin::ENABLED))]
    pub(super) enabled: Option<bool>,
    /// Address and port, or `unix:` and a path.
    #[schemars(extend("default" = defaults::admin::LISTEN.to_string()))]
    pub(super) listen: Option<ListenText>,
}

/// `[telemetry]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Telemetry {
    /// Logs.
    #[serde(default)]
    pub(super) log: Log,
    /// OpenTelemetry export. Without it nothing is sent.
    pub(super) otlp: Option<Otlp>,
}

/// `[telemetry.log]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    /// How lines are written.
    #[schemars(extend("default" = LogFormat::default()))]
    pub(super) format: Option<LogFormat>,
    /// The least severe level that is written.
    #[schemars(extend("default" = LogLevel::default()))]
    pub(super) level: Option<LogLevel>,
    /// Whether there is a line per request.
    #[schemars(extend("default" = defaults::telemetry::ACCESS))]
    pub(super) access: Option<bool>,
    /// Which share of the requests that succeed has a line, 0 to 1; those that fail all have one.
    #[schemars(extend("default" = defaults::telemetry::ACCESS_SUCCESSES))]
    pub(super) access_successes: Option<f64>,
    /// What a line says beside what every line says: `upstream`, `user_agent`, `close_code`, `header:NAME` for a header of the
    /// request and `response_header:NAME` for one of the answer.
    #[schemars(extend("default" = defaults::telemetry::ACCESS_FIELDS))]
    pub(super) access_fields: Option<Vec<String>>,
}

/// How log lines are written.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LogFormat {
    #[default]
    Json,
    Text,
}

/// The least severe level that is written.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// `[telemetry.otlp]`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Otlp {
    /// The collector, OTLP over HTTP.
    #[schemars(required)]
    pub(super) endpoint: Option<UrlText>,
    /// Whether spans are sent.
    #[schemars(extend("default" = defaults::telemetry::OTLP_TRACES))]
    pub(super) traces: Option<bool>,
    /// Whether metrics are sent.
    #[schemars(extend("default" = defaults::telemetry::OTLP_METRICS))]
    pub(super) metrics: Option<bool>,
    /// Which share of traces begun here is kept, 0 to 1.
    #[schemars(extend("default" = defaults::telemetry::OTLP_SAMPLE_RATIO))]
    pub(super) sample_ratio: Option<f64>,
}

/// `[[routes]]`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    /// Its name in labels, envelopes and logs. Unique.
    #[schemars(required)]
    pub(super) name: Option<String>,
    /// Which requests it takes: by path prefix, by host, or by both.
    #[schemars(required)]
    #[serde(rename = "match")]
    pub(super) matches: Option<Match>,
    /// The profile's name: a built-in one or one of `[providers]`.
    #[schemars(required)]
    pub(super) provider: Option<String>,
    /// Where requests go. Its path is put in front of every forwarded path. This or `upstreams` must be there.
    pub(super) upstream: Option<UrlText>,
    /// Several upstreams, tried in order: the next one takes over when one fails, under the rules of `retry`. All are `https://`
    /// or all `http://`.
    #[schemars(length(min = 1, max = 64))]
    pub(super) upstreams: Option<Vec<UpstreamEntry>>,
    /// Active health checks: each upstream is asked for a path, and one that does not answer is set aside before a request
    /// finds out. Without it requests alone tell.
    pub(super) health: Option<Health>,
    /// Which HTTP is spoken to the provider; `auto` is what ALPN agrees on.
    #[schemars(extend("default" = Protocol::default()))]
    pub(super) protocol: Option<Protocol>,
    /// TLS towards the provider.
    pub(super) upstream_tls: Option<UpstreamTls>,
    /// The form of errors, one for all or a table by transport.
    #[schemars(extend("default" = Envelope::default()))]
    pub(super) envelope: Option<EnvelopeChoice>,
    /// Which pages of browsers may call, in place of `[server.cors]`; `provider` leaves that to the provider.
    pub(super) cors: Option<RouteCors>,
    /// Whether envelopes carry the provider's own body.
    #[schemars(extend("default" = defaults::route::UPSTREAM_BODY))]
    pub(super) upstream_body: Option<bool>,
    /// Credentials that are put into every request, in place of the client's own. Several are several accounts: the one with the
    /// fewest calls is used.
    pub(super) credentials: Option<CredentialsList>,
    /// Header fields that are set or removed on the way.
    #[serde(default)]
    pub(super) headers: Headers,
    /// Whether successes, too, say what is left of the route's rate limits, in `RateLimit` and `RateLimit-Policy`.
    #[schemars(extend("default" = defaults::route::RATE_LIMIT_HEADERS))]
    pub(super) rate_limit_headers: Option<bool>,
    /// Deadlines.
    #[serde(default)]
    pub(super) timeouts: Timeouts,
    /// Largest request body; where the profile says what its provider takes, that is the default.
    #[schemars(extend("default" = defaults::size(defaults::route::MAX_REQUEST_BODY)))]
    pub(super) max_request_body: Option<Size>,
    /// What may be sent on WebSockets, either way.
    #[serde(default)]
    pub(super) websocket: Websocket,
    /// Rate limits. Each refuses at once; none makes a request wait.
    #[serde(default)]
    pub(super) rate_limits: Vec<RateLimit>,
    /// Calls at one time.
    pub(super) concurrency: Option<Concurrency>,
    /// How a provider's `Retry-After` is respected.
    #[serde(default)]
    pub(super) waits: Waits,
    /// Retries by the gateway. Without it, no request is retried that may have reached the provider.
    pub(super) retry: Option<Retry>,
    /// When a failing upstream gets no requests for a while. Without it, every upstream always gets requests.
    pub(super) circuit_breaker: Option<CircuitBreaker>,
}

/// `match`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a table", extend("examples" = ["{ path = \"/tts\" }"]))]
pub(super) struct Match {
    /// A path prefix on whole segments; the longest wins, and it is stripped.
    pub(super) path: Option<String>,
    /// A host name, without a port.
    pub(super) host: Option<String>,
}

/// Which HTTP is spoken to a provider.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Protocol {
    #[default]
    Auto,
    Http1,
    Http2,
}

/// `upstream_tls`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpstreamTls {
    /// CA certificates, PEM, that are trusted instead of the platform's.
    pub(super) ca: Option<FileText>,
    /// The certificate chain that this gateway shows to the provider, PEM; `private_key` belongs to it.
    pub(super) certificate: Option<FileText>,
    /// The private key of `certificate`, PEM.
    pub(super) private_key: Option<FileText>,
}

/// An entry of `upstreams`: a URL, or a table with its weight.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum UpstreamEntry {
    /// Its URL.
    Url(UrlText),
    /// A table.
    Weighted(WeightedUpstream),
}

impl UpstreamEntry {
    pub(super) fn url(&self) -> Option<&str> {
        match self {
            UpstreamEntry::Url(url) => Some(&url.0),
            UpstreamEntry::Weighted(entry) => entry.url.as_ref().map(|url| url.0.as_str()),
        }
    }

    pub(super) fn weight(&self) -> Option<u32> {
        match self {
            UpstreamEntry::Url(_) => None,
            UpstreamEntry::Weighted(entry) => entry.weight,
        }
    }
}

/// An upstream with its weight
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WeightedUpstream {
    /// Where requests go.
    #[schemars(required)]
    pub(super) url: Option<UrlText>,
    /// Which part of the requests it takes, beside the weights of the others. Where one upstream has a weight, those without have
    /// 1; where none has, the first takes all that it can. 0: only when no other may be used.
    #[schemars(range(min = 0, max = 1000))]
    pub(super) weight: Option<u32>,
}

/// `health`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Health {
    /// What is asked for with GET, below the path of the upstream.
    #[schemars(required)]
    pub(super) path: Option<String>,
    /// How often each upstream is asked.
    #[schemars(extend("default" = defaults::duration(defaults::health::INTERVAL)))]
    pub(super) interval: Option<DurationText>,
    /// How long an answer may take, at most the interval, which is the default where it is shorter.
    #[schemars(extend("default" = defaults::duration(defaults::health::TIMEOUT)))]
    pub(super) timeout: Option<DurationText>,
    /// After how many good answers in a row an upstream is used again.
    #[schemars(extend("default" = defaults::health::HEALTHY))]
    #[schemars(range(min = 1, max = 100))]
    pub(super) healthy: Option<u32>,
    /// After how many bad ones in a row, or none, it is set aside.
    #[schemars(extend("default" = defaults::health::UNHEALTHY))]
    #[schemars(range(min = 1, max = 100))]
    pub(super) unhealthy: Option<u32>,
    /// Which statuses are good: `200`, or `200-399`. By default refusals are, because a provider that refuses is there.
    #[schemars(extend("default" = defaults::statuses(defaults::health::STATUS)))]
    pub(super) status: Option<StatusRange>,
    /// Whether the route's credentials go with the question.
    #[schemars(extend("default" = defaults::health::CREDENTIALS))]
    pub(super) credentials: Option<bool>,
}

/// A status, or a range of them.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "a status or a range", extend("examples" = ["200", "200-399"]))]
pub(super) enum StatusRange {
    /// One.
    One(u16),
    /// A range.
    Text(String),
}

/// `headers`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Headers {
    /// The same as `request.set`.
    #[serde(default)]
    pub(super) set: BTreeMap<String, String>,
    /// The same as `request.remove`.
    #[serde(default)]
    pub(super) remove: Vec<String>,
    /// On the way to the provider.
    pub(super) request: Option<HeaderChanges>,
    /// On the way to the client: of answers, of errors, and of WebSocket handshakes.
    pub(super) response: Option<HeaderChanges>,
}

/// Header fields that are changed in one direction: first some are removed, then others set
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HeaderChanges {
    /// Name to value; each takes the place of all of its name.
    #[serde(default)]
    pub(super) set: BTreeMap<String, String>,
    /// Names.
    #[serde(default)]
    pub(super) remove: Vec<String>,
}

/// The form of errors on a route.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Envelope {
    #[default]
    Canonical,
    Compatible,
    Problem,
    Auto,
}

/// `envelope`: one form, or one by transport.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum EnvelopeChoice {
    /// One.
    One(Envelope),
    /// By transport.
    Each(EnvelopeTable),
}

/// `envelope`, by transport
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a table", extend("examples" = ["{ http = \"canonical\", websocket = \"compatible\" }"]))]
pub(super) struct EnvelopeTable {
    /// Of answers, refused WebSocket handshakes among them.
    #[schemars(extend("default" = Envelope::default()))]
    pub(super) http: Option<Envelope>,
    /// Of Server-Sent Events. Default: that of `http`.
    pub(super) sse: Option<Envelope>,
    /// Of newline-separated JSON. Default: that of `http`.
    pub(super) ndjson: Option<Envelope>,
    /// Of WebSocket messages and closes. Default: that of `http`.
    pub(super) websocket: Option<Envelope>,
    /// Which status compatible answers have. Default `provider`, but where the profile says that SDKs would try again in vain.
    pub(super) status: Option<EnvelopeStatus>,
}

/// Which status compatible answers have.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum EnvelopeStatus {
    Provider,
    Canonical,
}

/// `credentials`: one account, or several.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum CredentialsList {
    /// One.
    One(Box<Credentials>),
    /// Several.
    Many(Vec<Credentials>),
}

/// One entry of `credentials`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    /// What is put in, whole; `${NAME}` and `${file:/path}` are filled in. It may be left out when every place says its own.
    pub(super) value: Option<String>,
    /// The header that carries them, in every request. At least one of the four places must be given.
    pub(super) header: Option<PlaceText>,
    /// The query parameter that carries them: in WebSocket handshakes, and in every request when there is no `header`.
    pub(super) query: Option<PlaceText>,
    /// How the WebSocket subprotocol begins that ends with them; or a table with `after`, the subprotocol behind which they stand.
    pub(super) subprotocol: Option<SubprotocolText>,
    /// The member of a WebSocket's first text message, a JSON object, that carries them.
    pub(super) first_message: Option<PlaceText>,
}

/// A place of credentials: its name, or a table that also says how they are spelled there.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum PlaceText {
    /// Its name.
    Name(String),
    /// Its name and what stands there.
    Spelled(SpelledPlace),
}

/// A place of credentials with a spelling of its own
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SpelledPlace {
    /// Its name.
    #[schemars(required)]
    pub(super) name: Option<String>,
    /// What stands there, such as `Bearer ${KEY}`. Default: the `value` of the credentials.
    pub(super) value: Option<String>,
}

/// Where in the offer of WebSocket subprotocols credentials stand.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum SubprotocolText {
    /// How the one begins that ends with them.
    Prefix(String),
    /// A table.
    Spelled(SpelledSubprotocol),
}

/// The subprotocol of credentials, in full
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SpelledSubprotocol {
    /// How the one begins that ends with them. This or `after` must be there.
    pub(super) prefix: Option<String>,
    /// The one behind which they stand: `token` for `token, KEY`.
    pub(super) after: Option<String>,
    /// What stands there. Default: the `value` of the credentials.
    pub(super) value: Option<String>,
}

/// `timeouts`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Timeouts {
    /// Resolving, connecting and TLS together.
    #[schemars(extend("default" = defaults::duration(defaults::route::CONNECT_TIMEOUT)))]
    pub(super) connect: Option<DurationText>,
    /// From the request sent to the head of the answer; where the profile says what its provider's SDKs wait, that is the default.
    #[schemars(extend("default" = defaults::duration(defaults::route::RESPONSE_TIMEOUT)))]
    pub(super) response: Option<DurationText>,
    /// The longest pause inside the answer's body.
    #[schemars(extend("default" = defaults::duration(defaults::route::IDLE_TIMEOUT)))]
    pub(super) idle: Option<DurationText>,
    /// The longest silence on a WebSocket; one on which both sides are well and nobody waits then ends with 1001.
    #[schemars(extend("default" = defaults::duration(defaults::route::WEBSOCKET_IDLE_TIMEOUT)))]
    pub(super) websocket_idle: Option<DurationText>,
    /// From the client's request to the last byte of the answer, waits and retries included; of a WebSocket, to the end of its
    /// handshake. Default: none.
    pub(super) total: Option<DurationText>,
}

/// `websocket`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Websocket {
    /// Largest frame; beyond it the socket is closed with 1009.
    #[schemars(extend("default" = defaults::size(defaults::route::WEBSOCKET_MAX_FRAME)))]
    pub(super) max_frame: Option<Size>,
    /// Largest message, all its frames together; beyond it the socket is closed with 1009.
    #[schemars(extend("default" = defaults::size(defaults::route::WEBSOCKET_MAX_MESSAGE)))]
    pub(super) max_message: Option<Size>,
}

/// A share.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(title = "a percentage", extend("examples" = ["20%"]))]
pub(super) struct PercentageText(pub(super) String);

/// A duration with its unit.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(title = "a duration", extend("examples" = ["30s", "5m", "250ms"]))]
pub(super) struct DurationText(pub(super) String);

/// A URL.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(title = "a URL", extend("examples" = ["https://api.example.com"]))]
pub(super) struct UrlText(pub(super) String);

/// The path of a file.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(title = "a path of a file")]
pub(super) struct FileText(pub(super) String);

/// Where a listener listens.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(title = "an address and port", extend("examples" = ["127.0.0.1:8080", "unix:/run/speechgate.sock"]))]
pub(super) struct ListenText(pub(super) String);

/// Where the proxied listener listens: at one address, or at several.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum ListenList {
    /// One.
    One(ListenText),
    /// Several.
    Many(Vec<ListenText>),
}

/// A number of bytes, alone or with a unit.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "a size", extend("examples" = ["50MiB", "32KiB"]))]
pub(super) enum Size {
    /// Bytes.
    Bytes(u64),
    /// With a unit.
    Text(String),
}
