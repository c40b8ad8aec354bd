//! The configuration as the program uses it: checked, complete, nothing left to default later.

use super::secret::Secret;
use crate::canon::{Code, PathTemplate, Phase, Profile, Type};
use http::{HeaderName, HeaderValue, Uri};
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

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
    /// Limits that several gateways share.
    pub limits: Limits,
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `"127.0.0.1:8080"`
    Tcp(SocketAddr),
    /// `"unix:/run/speechgate.sock"`
    Unix(PathBuf),
}

/// `[server]`
#[derive(Clone, Debug)]
pub struct Server {
    /// Where clients connect: at least one address.
    pub listen: Vec<Listen>,
    /// TLS towards clients.
    pub tls: Option<ServerTls>,
    /// Worker threads, at least one.
    pub workers: usize,
    /// Connections of clients at one time.
    pub max_connections: usize,
    /// How long running streams may go on after SIGTERM.
    pub drain_timeout: Duration,
    /// How long after SIGTERM requests are still taken while readiness fails already.
    pub drain_delay: Duration,
    /// How long a client may take to send a header section.
    pub header_timeout: Duration,
    /// How long a client may pause inside a request body.
    pub body_timeout: Duration,
    /// How long an idle keep-alive connection is kept.
    pub keep_alive_timeout: Duration,
    /// How long a client may leave an answer unread before it is cut.
    pub write_timeout: Duration,
    /// Longest request target, in bytes; beyond it 414.
    pub max_target_bytes: usize,
    /// Largest header section, in bytes; beyond it 431.
    pub max_header_bytes: usize,
    /// Most header fields; beyond it 431.
    pub max_headers: usize,
    /// HTTP/2 streams at one time on one connection.
    pub http2_max_streams: u32,
    /// Which pages of browsers may call what no route takes; none when nobody but providers says so.
    pub cors: Option<Arc<Cors>>,
    /// Whether `X-Forwarded-*` and `Forwarded` of clients are kept and appended to; else they are replaced.
    pub trust_forwarded: bool,
    /// This gateway's address as clients see it, for rewritten provider URLs; else taken from the request's Host.
    pub public_url: Option<Uri>,
    /// Where errors are documented: put before the code, it is the link of an error whose provider gave none.
    pub error_docs_url: Option<String>,
}

/// `[server.cors]`, or `cors` of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Whose pages may call; none for those of everybody.
    pub origins: Option<Vec<String>>,
    /// Whether they may send cookies.
    pub credentials: bool,
    /// The methods that they may use; none for whatever they ask for.
    pub methods: Option<HeaderValue>,
    /// The fields that they may send; none for whatever they ask for.
    pub headers: Option<HeaderValue>,
    /// The fields that they may read beside those of the gateway.
    pub expose: Option<HeaderValue>,
    /// How long the answer to a preflight is good for.
    pub max_age: Duration,
}

/// `[server.tls]`
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub private_key: PathBuf,
    /// With it, clients must present a certificate signed by one of these.
    pub client_ca: Option<PathBuf>,
}

/// `[telemetry]`
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// How log lines are written.
    pub log_format: LogFormat,
    /// The least severe level that is written.
    pub log_level: LogLevel,
    /// Whether there is a line per request.
    pub access_log: bool,
    /// Which share of the requests that succeed has a line, 0 to 1.
    pub access_successes: f64,
    /// What a line says beside what every line says, in this order.
    pub access_fields: Vec<AccessField>,
    /// OpenTelemetry export.
    pub otlp: Option<Otlp>,
}

/// What a line of the access log may say beside what every line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessField {
    /// The upstream that the request went to last.
    Upstream,
    /// The client's `User-Agent`.
    UserAgent,
    /// The close code of a WebSocket that was closed in order.
    CloseCode,
    /// A header of the request.
    Header(HeaderName),
    /// A header of the answer, as the client gets it.
    ResponseHeader(HeaderName),
}

/// `[telemetry.otlp]`
#[derive(Clone, Debug)]
pub struct Otlp {
    /// The collector, OTLP over HTTP.
    pub endpoint: Upstream,
    /// Whether spans are sent.
    pub traces: bool,
    /// Whether metrics are sent.
    pub metrics: bool,
    /// Which share of traces begun here is kept, 0 to 1.
    pub sample_ratio: f64,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// The least severe level that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// `[[routes]]`
#[derive(Debug)]
pub struct Route {
    /// Its name: label, envelope member, log field. Unique.
    pub name: String,
    /// Its place in [`Config::routes`].
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
    /// Whether envelopes carry the provider's body.
    pub upstream_body: bool,
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
}

/// `health`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked for, below the path of the upstream.
    pub path: String,
    /// How often, longer than zero.
    pub interval: Duration,
    /// How long an answer may take, at most the interval.
    pub timeout: Duration,
    /// After how many answers in a row that are good an upstream is used again, at least one.
    pub healthy: u32,
    /// After how many in a row that are not it is set aside, at least one.
    pub unhealthy: u32,
    /// The statuses of good answers, from one to another.
    pub status: (u16, u16),
    /// Whether the route's credentials go with it.
    pub credentials: bool,
}

/// `headers`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// On the way to the provider.
    pub request: HeaderChanges,
    /// On the way to the client.
    pub response: HeaderChanges,
}

/// What becomes of header fields in one direction: first some are removed, then others set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderChanges {
    /// Each takes the place of all of its name. Those that hold a secret are marked sensitive.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// All of these names.
    pub remove: Vec<HeaderName>,
}

/// Most upstreams of a route, and most credentials: sets of them are the bits of one word.
pub const MOST_PLACES: usize = 64;

impl Route {
    /// Its upstream at this host and port.
    #[must_use]
    pub fn upstream_at(&self, host: &str, port: u16) -> Option<&Upstream> {
        self.upstreams.iter().find(|upstream| upstream.host.eq_ignore_ascii_case(host) && upstream.port == port)
    }
}

/// One provider address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// `host` or `host:port` as it goes into Host and `:authority`.
    pub authority: http::uri::Authority,
    /// A path that stands before every forwarded one, without a trailing slash; usually empty.
    pub base_path: String,
    /// CA certificates that are trusted instead of the platform's.
    pub ca_file: Option<PathBuf>,
    /// What this gateway shows when the provider asks who it is.
    pub client_certificate: Option<ClientCertificate>,
    /// Which HTTP is spoken.
    pub protocol: Protocol,
}

impl Upstream {
    /// As it was configured, but for the spelling.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}{}", if self.tls { "https" } else { "http" }, self.authority, self.base_path)
    }
}

impl Hash for Upstream {
    /// By its place in the network alone, since every request looks for the connections to its upstream: few differ in the rest
    /// only, and an authority is hashed letter by letter.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.port.hash(state);
        self.host.hash(state);
    }
}

/// A client certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientCertificate {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub private_key: PathBuf,
}

/// Which HTTP is spoken to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// What ALPN agrees on; HTTP/1.1 without TLS.
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only; by prior knowledge without TLS.
    Http2,
}

/// The form of errors on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// The envelope of the design.
    Canonical,
    /// The provider's own shape with `gateway_error` added.
    Compatible,
    /// RFC 9457.
    Problem,
    /// Compatible for clients that the profile knows to read its provider's own errors, canonical for all others.
    Auto,
}

/// The form of errors by transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelopes {
    /// Of answers, refused WebSocket handshakes and failures inside a 200 among them.
    pub http: Envelope,
    /// Of events.
    pub sse: Envelope,
    /// Of lines.
    pub ndjson: Envelope,
    /// Of messages and closes.
    pub websocket: Envelope,
    /// Whether compatible answers have the canonical status instead of the provider's.
    pub canonical_status: bool,
}

impl Envelopes {
    /// One form everywhere.
    #[must_use]
    pub fn all(form: Envelope) -> Envelopes {
        Envelopes { http: form, sse: form, ndjson: form, websocket: form, canonical_status: false }
    }

    /// The form in this phase.
    #[must_use]
    pub fn of(&self, phase: Phase) -> Envelope {
        match phase {
            Phase::Http | Phase::Handshake | Phase::Job => self.http,
            Phase::Sse => self.sse,
            Phase::Ndjson => self.ndjson,
            Phase::Frame | Phase::Close | Phase::Abort => self.websocket,
        }
    }

    /// Whether any of them depends on who the client is.
    #[must_use]
    pub fn ask_who(&self) -> bool {
        [self.http, self.sse, self.ndjson, self.websocket].contains(&Envelope::Auto)
    }
}

impl Envelope {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Envelope::Canonical => "canonical",
            Envelope::Compatible => "compatible",
            Envelope::Problem => "problem",
            Envelope::Auto => "auto",
        }
    }
}

/// `credentials`
#[derive(Clone, Debug)]
pub struct Credentials {
    /// What is put into requests, in at least one of the places below.
    pub value: Secret,
    /// The header whose whole value they are, in every request.
    pub header: Option<HeaderName>,
    /// The query parameter that carries them: in WebSocket handshakes, and in every request when there is no header.
    pub query: Option<String>,
    /// The WebSocket subprotocol that carries them.
    pub subprotocol: Option<SubprotocolPlace>,
    /// The member of a WebSocket's first text message, a JSON object, that carries them.
    pub first_message: Option<String>,
    /// Places where they are spelled otherwise than in `value`.
    pub spellings: Spellings,
}

/// Where in the offer of WebSocket subprotocols credentials stand.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SubprotocolPlace {
    /// At the end of the subprotocol that begins so.
    Prefix(String),
    /// They are the subprotocol behind this one.
    After(String),
}

/// What stands in a place instead of the value that all share.
#[derive(Clone, Debug, Default)]
pub struct Spellings {
    /// In the header.
    pub header: Option<Secret>,
    /// In the query.
    pub query: Option<Secret>,
    /// In the subprotocol.
    pub subprotocol: Option<Secret>,
    /// In the first message.
    pub first_message: Option<Secret>,
}

impl Credentials {
    /// Every spelling.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        let Spellings { header, query, subprotocol, first_message } = &self.spellings;
        let others = [header, query, subprotocol, first_message].into_iter().flatten();
        std::iter::once(&self.value).chain(others).map(Secret::reveal)
    }
}

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
}

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
    /// How long slots stay with a gateway that is not heard of any more.
    pub lease: Duration,
    /// How long a request waits for the backend before it is counted locally; a tenth of the lease at most.
    pub timeout: Duration,
    /// What the backend's keys and channels begin with.
    pub prefix: String,
}
