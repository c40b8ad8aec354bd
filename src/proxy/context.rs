//! One call from its first step to its last byte: what the log line and the metrics say of it.
//!
//! Whatever happens to a call, it ends exactly once: complete, cut, or (when nobody ended it before it was dropped)
//! cancelled by the caller.

mod finish;
pub(super) mod record;
mod spans;

use super::attempt::Stay;
use super::headers::{self, ATTEMPTS, FORWARDED_FOR, Fields, Way};
use super::informational::Interim;
use super::limits::Admission;
use super::redact::Hidden;
use super::trace::Trace;
use super::upload::Progress;
use super::{Peer, RouteRuntime, State, redact};
use crate::canon::envelope::Stamp;
use crate::canon::{Code, Origin, Phase};
use crate::limit::Lanes;
use crate::telemetry::metrics::{InFlight, Limit};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Uri, Version, request};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// One call.
pub struct Call {
    pub(crate) state: Arc<State>,
    pub(crate) route: Option<Arc<RouteRuntime>>,
    /// This gateway's id: the caller's when it was well-formed.
    pub(crate) id: HeaderValue,
    /// The fields of the caller's request.
    pub(crate) fields: Fields,
    pub(crate) method: Method,
    target: Uri,
    /// The target that the provider gets.
    pub(crate) provider_target: Uri,
    /// Which upstream and which credentials the request goes out with.
    pub(crate) way: Way,
    pub(super) peer: Arc<Peer>,
    /// Whether the caller came over TLS, and the host it asked for.
    pub(crate) tls: bool,
    pub(crate) authority: Option<HeaderValue>,
    /// Keys that the caller sent, so that no error shows them when a provider echoes them.
    secrets: [Option<HeaderValue>; 2],
    /// Those that it sent elsewhere: in the query, in subprotocols.
    hidden: Vec<String>,
    /// Whether the caller asked for RFC 9457.
    pub(crate) problem: bool,
    /// Where in the protocol it is.
    pub(crate) phase: Phase,
    arrived: SystemTime,
    started: Instant,
    protocol: Version,
    /// Its place in a trace.
    pub(crate) trace: Trace,
    upload: Option<Arc<Progress>>,
    /// Bytes that came after the request: a WebSocket's.
    received: u64,
    sent: u64,
    status: u16,
    /// When the request was handed to the upstream client.
    pub(crate) forwarded: Option<Instant>,
    first_byte: Option<Instant>,
    pub(crate) upstream_status: Option<u16>,
    pub(crate) upstream_request_id: Option<String>,
    /// How often the request was sent, and whether the client had to send one of them again on another connection.
    pub(crate) attempts: u32,
    pub(crate) reconnected: bool,
    /// The account that it uses.
    pub(crate) stay: Option<Stay>,
    /// Where interim answers go to, in order to know whether any did.
    pub(crate) interim: Option<Interim>,
    error: Option<Noted>,
    in_flight: Option<InFlight>,
    /// When it became a WebSocket.
    upgraded: Option<Instant>,
    /// What it has of the limits of its route.
    pub(crate) admission: Admission,
    /// When it began to wait for a slot, and how long it waited; the second is none as long as it does.
    queue: Option<(tokio::time::Instant, Option<Duration>)>,
    /// Waits that are no work of the gateway.
    waited: Duration,
    ended: bool,
}

/// The error that a call ended with, for its log line.
struct Noted {
    code: Code,
    origin: Origin,
    detail: Option<String>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Call {
    pub(crate) fn begin(state: Arc<State>, peer: &Arc<Peer>, parts: &request::Parts) -> Call {
        let (arrived, fields) = (SystemTime::now(), Fields::of(&parts.headers));
        let trace = Trace::begin(state.shared.tracer(), &parts.headers, fields);
        Call {
            state,
            route: None,
            id: headers::request_id(&parts.headers, fields, arrived),
            fields,
            method: parts.method.clone(),
            target: parts.uri.clone(),
            provider_target: Uri::default(),
            way: Way::default(),
            peer: Arc::clone(peer),
            tls: peer.tls,
            authority: None,
            secrets: [None, None],
            hidden: Vec::new(),
            problem: false,
            phase: Phase::Http,
            arrived,
            started: Instant::now(),
            protocol: parts.version,
            trace,
            upload: None,
            received: 0,
            sent: 0,
            status: 0,
            forwarded: None,
            first_byte: None,
            upstream_status: None,
            upstream_request_id: None,
            attempts: 0,
            reconnected: false,
            stay: None,
            interim: None,
            error: None,
            in_flight: None,
            upgraded: None,
            admission: Admission::default(),
            queue: None,
            waited: Duration::ZERO,
            ended: false,
        }
    }

    /// A route matched: from here on the call counts for it.
    pub(crate) fn routed(&mut self, route: Arc<RouteRuntime>, authority: Option<HeaderValue>, headers: &HeaderMap) {
        self.in_flight = Some(route.metrics.request_started());
        self.authority = authority;
        self.secrets = {
            let mut sent = route.headers.keys(headers, self.fields).cloned();
            [sent.next(), sent.next()]
        };
        self.route = Some(route);
    }

    /// The first key that the caller sent in a header.
    pub(crate) fn key(&self) -> Option<&HeaderValue> {
        self.secrets[0].as_ref()
    }

    /// Where it came from: the word of a proxy in front counts where the configuration trusts it.
    pub(crate) fn caller_address(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let trusted = self.state.config.server.trust_forwarded;
        let told = trusted && self.fields.may_have(Fields::FORWARDED_FOR);
        let last = told.then(|| headers.get_all(FORWARDED_FOR).iter().next_back()).flatten();
        let last = last.and_then(|line| line.to_str().ok()?.rsplit(',').next()?.trim().parse::<IpAddr>().ok());
        last.map(|address| address.to_canonical()).or(self.peer.ip())
    }

    /// It waited for something that is no work of the gateway.
    pub(crate) fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    /// It got its slot without a wait.
    pub(crate) fn did_not_queue(&mut self, now: tokio::time::Instant) {
        self.queue = Some((now, Some(Duration::ZERO)));
    }

    /// It begins to wait for a slot.
    pub(crate) fn queues(&mut self) {
        self.queue = Some((tokio::time::Instant::now(), None));
    }

    /// It has got one.
    pub(crate) fn queued(&mut self) {
        let waited = self.queue_wait().unwrap_or_default();
        self.queue = self.queue.map(|(since, _)| (since, Some(waited)));
        self.waited(waited);
    }

    fn queue_wait(&self) -> Option<Duration> {
        self.queue.map(|(since, waited)| waited.unwrap_or_else(|| since.elapsed()))
    }

    /// The head of the provider's answer has come.
    pub(crate) fn answered(&mut self, status: u16, headers: &HeaderMap) {
        if let Some(route) = &self.route {
            route.limits.answered(&mut self.admission, status, headers);
        }
    }

    /// Method and path of the request that the provider sees.
    pub(crate) fn request(&self) -> (&str, &str) {
        (self.method.as_str(), self.provider_path())
    }

    /// The path that the provider sees.
    pub(crate) fn provider_path(&self) -> &str {
        self.provider_target.path()
    }

    /// The path that the caller asked for.
    pub(in crate::proxy) fn path(&self) -> &str {
        self.target.path()
    }

    /// The route's name; empty without one.
    pub(crate) fn route_name(&self) -> &str {
        self.route.as_ref().map_or("", |route| route.route.name.as_str())
    }

    /// What the shell adds to an error of this call.
    pub(crate) fn stamp<'a>(&'a self, timestamp: &'a str) -> Stamp<'a> {
        let route = self.route.as_ref().map(|runtime| &runtime.route);
        Stamp {
            request_id: self.id_text(),
            timestamp,
            provider: route.map(|route| route.provider.as_str()),
            route: route.map(|route| route.name.as_str()),
            upstream_body: route.is_none_or(|route| route.upstream_body),
            docs: self.state.config.server.error_docs_url.as_deref(),
        }
    }

    /// Further secrets that no error shows, with those of the query.
    pub(crate) fn hide(&mut self, secrets: Vec<String>) {
        let names = self.route.as_ref().map_or(&[][..], |route| route.headers.secret_query());
        self.hidden = redact::query_secrets(self.target.query().unwrap_or_default(), names);
        self.hide_too(secrets);
    }

    /// The same for secrets that come later.
    pub(crate) fn hide_too(&mut self, secrets: Vec<String>) {
        for secret in secrets {
            // Providers echo the token of `Bearer token` alone, too.
            self.hidden.extend(secret.split_once(' ').map(|(_, token)| token.to_owned()));
            self.hidden.push(secret);
        }
    }

    /// A provider's body without the keys that it may have echoed.
    pub(crate) fn redacted(&self, body: Bytes) -> Bytes {
        let own = || self.route.iter().flat_map(|route| &route.secrets);
        let sent = || {
            let values = self.secrets.iter().flatten().filter_map(|value| value.to_str().ok());
            let tokens =
                values.flat_map(|value| [Some(value), value.split_once(' ').map(|(_, token)| token)]).flatten();
            tokens.chain(self.hidden.iter().map(String::as_str)).map(str::as_bytes)
        };
        let is_long = |secret: &&[u8]| secret.len() >= redact::SHORTEST;
        let echoed = own().any(|secret| is_long(&secret.as_bytes()) && secret.is_in(&body))
            || sent().filter(is_long).any(|secret| redact::is_in(&body, secret));
        if !echoed {
            return body;
        }
        let secrets: Vec<&[u8]> = own().map(Hidden::as_bytes).chain(sent()).collect();
        Bytes::from(redact::redact_body(&body, &secrets).into_owned())
    }

    /// Where the progress of the request body is told.
    pub(crate) fn uploads(&mut self, progress: Arc<Progress>) {
        self.upload = Some(progress);
    }

    /// Whether the whole request body has come.
    pub(crate) fn upload_ended(&self) -> bool {
        self.upload.as_ref().is_none_or(|progress| progress.ended())
    }

    /// Bytes went to the caller.
    pub(crate) fn sent(&mut self, bytes: usize) {
        if self.first_byte.is_none() {
            self.first_byte = Some(Instant::now());
        }
        self.sent += bytes as u64;
    }

    /// Bytes came from the caller after its request.
    pub(crate) fn received(&mut self, bytes: usize) {
        self.received += bytes as u64;
    }

    /// The status that goes to the caller.
    pub(crate) fn answers(&mut self, status: u16) {
        self.status = status;
    }

    /// The id as text; a header value that came from us or passed our check is ASCII.
    pub(crate) fn id_text(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }

    /// The accounts that may be used, on a route that has several.
    pub(crate) fn usable_accounts(&self) -> Lanes {
        let standing = self.route.as_ref().and_then(|route| route.standing.as_ref());
        let accounts = standing.map(|standing| &standing.accounts).filter(|accounts| !accounts.is_empty());
        accounts.map_or(Lanes::ALL, |accounts| accounts.usable(tokio::time::Instant::now().into_std()))
    }

    /// Uses the one of these accounts with the fewest calls.
    pub(crate) fn use_account(&mut self, among: Lanes) {
        let Some(standing) = self.route.as_ref().and_then(|route| route.standing.clone()) else { return };
        if let Some(stay) = standing.accounts.least_used(among, tokio::time::Instant::now().into_std()) {
            self.uses(stay);
        }
    }

    /// The call uses an account, and no other one any more.
    pub(crate) fn uses(&mut self, stay: Stay) {
        self.way.credential = stay.lane();
        self.stay = Some(stay);
    }

    /// Whether the caller has seen something of an answer.
    pub(crate) fn has_begun(&self) -> bool {
        self.interim.as_ref().is_some_and(Interim::has_begun)
    }

    /// Says in an answer how often the request was sent, when that was more than once.
    pub(crate) fn tell_attempts(&self, headers: &mut HeaderMap) {
        if self.attempts > 1 {
            let _ = headers.insert(ATTEMPTS, HeaderValue::from(self.attempts));
        }
    }

    /// A limit of the gateway refused it.
    pub(crate) fn limited(&self, limit: Limit) {
        self.metrics().limited(limit);
    }

    fn metrics(&self) -> &crate::telemetry::metrics::RouteMetrics {
        self.route.as_ref().map_or(&self.state.shared.unrouted, |route| &route.metrics)
    }
}
