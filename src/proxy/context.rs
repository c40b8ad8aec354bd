//! One request from its first step to its last byte: the facts that its steps, its log line and its metrics need.
//!
//! Every request ends exactly once: completed, cut, or (when it is dropped before it has ended) cancelled by the client.

mod finish;
mod followed;
mod generation;
mod hidden;
pub(super) mod record;
mod routed;
mod spans;
mod usage;

pub(crate) use routed::RoutedContext;

use super::headers::{self, ATTEMPTS, FORWARDED_FOR, Fields};
use super::informational::InformationalSender;
use super::request_body::BodyProgress;
use super::tenants::TenantIdentity;
use super::trace::Trace;
use super::{Peer, RouteRuntime, State};
use crate::canon::envelope::Stamp;
use crate::canon::{Code, Fault, Origin, Phase};
use crate::telemetry::access::Chosen;
use crate::telemetry::metrics::TenantMetrics;
use crate::wire;
use http::{HeaderMap, HeaderValue, Method, Uri, Version, request};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The facts of a request, whether or not a route takes it.
pub(crate) struct RequestContext {
    pub(crate) state: Arc<State>,
    /// This gateway's id: the client's when it was well-formed.
    pub(crate) id: HeaderValue,
    /// The fields of the client's request.
    pub(crate) fields: Fields,
    pub(crate) method: Method,
    target: Uri,
    /// The host in the request.
    pub(crate) authority: Option<HeaderValue>,
    /// The tenant, if clients are identified.
    pub(crate) tenant: Option<TenantIdentity>,
    /// How the client reached the proxy in front, if that proxy is trusted and reported it.
    pub(crate) told: Option<Box<headers::Told>>,
    pub(super) peer: Arc<Peer>,
    /// Whether the client prefers errors in the form of RFC 9457.
    pub(crate) problem: bool,
    /// The phase of the protocol that it is in.
    pub(crate) phase: Phase,
    protocol: Version,
    /// Its trace context.
    pub(crate) trace: Trace,
    /// The sender for informational responses, which knows whether any were sent.
    pub(crate) informational: Option<InformationalSender>,
    upload: Option<Arc<BodyProgress>>,
    /// Bytes received after the request: those of a WebSocket.
    received: u64,
    sent: u64,
    status: u16,
    error: Option<Noted>,
    /// Values of header fields for the access log.
    logged: Chosen,
    /// The code with which a WebSocket was closed.
    pub(crate) close_code: Option<u16>,
    /// The status with which a gRPC call ended towards the client.
    pub(crate) grpc_status: Option<u16>,
    times: Timings,
    pub(crate) upstream: UpstreamFacts,
    /// Whether it has been logged and counted.
    finished: bool,
}

/// Times of events of a request, and how long it waited.
struct Timings {
    arrived: SystemTime,
    started: Instant,
    first_byte: Option<Instant>,
    /// When it became a WebSocket.
    upgraded: Option<Instant>,
    /// When it was queued for a slot, and how long it waited; the second is none while it waits.
    queue: Option<(tokio::time::Instant, Option<Duration>)>,
    /// Time spent waiting, which does not count as the gateway's own.
    waited: Duration,
}

/// Facts of the request to the provider.
#[derive(Default)]
pub(crate) struct UpstreamFacts {
    /// The target that the provider gets.
    pub(crate) target: Uri,
    /// The length of the upstream's base path in `target`; limits see the path after it.
    pub(crate) base_path: usize,
    /// When the request was passed to the upstream client.
    pub(crate) forwarded: Option<Instant>,
    pub(crate) status: Option<u16>,
    pub(crate) request_id: Option<String>,
    /// How often the request was sent, including when the upstream client repeated it on another connection.
    pub(crate) attempts: u32,
    pub(crate) reconnected: bool,
}

impl UpstreamFacts {
    /// The path at the provider without the upstream's base path.
    pub(crate) fn limited_path(&self) -> &str {
        self.target.path().get(self.base_path..).unwrap_or_default()
    }
}

/// The error that a request ended with, for the access log.
struct Noted {
    code: Code,
    origin: Origin,
    fault: Option<Fault>,
    detail: Option<String>,
}

impl RequestContext {
    pub(crate) fn begin(
        state: Arc<State>,
        peer: &Arc<Peer>,
        parts: &request::Parts,
        informational: Option<InformationalSender>,
        fields: Fields,
    ) -> RequestContext {
        let arrived = SystemTime::now();
        let trace = Trace::begin(state.shared.tracer(), &parts.headers, fields);
        let logged = state.shared.access.as_ref().map(|access| access.of_request(&parts.headers)).unwrap_or_default();
        RequestContext {
            state,
            id: headers::request_id(&parts.headers, fields, arrived),
            fields,
            method: headers::shown_method(&parts.method),
            target: parts.uri.clone(),
            authority: None,
            tenant: None,
            told: None,
            peer: Arc::clone(peer),
            problem: fields.may_have(Fields::ACCEPT) && headers::accepts_problem(&parts.headers),
            phase: if wire::grpc::is_call(parts) { Phase::Grpc } else { Phase::Http },
            protocol: parts.version,
            trace,
            informational,
            upload: None,
            received: 0,
            sent: 0,
            status: 0,
            error: None,
            logged,
            close_code: None,
            grpc_status: None,
            times: Timings {
                arrived,
                started: Instant::now(),
                first_byte: None,
                upgraded: None,
                queue: None,
                waited: Duration::ZERO,
            },
            upstream: UpstreamFacts::default(),
            finished: false,
        }
    }

    /// The client's address: that of `X-Forwarded-For` where the configuration trusts it.
    pub(crate) fn client_address(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let trusted = self.state.config.server.trust_forwarded;
        let told = trusted && self.fields.may_have(Fields::FORWARDED_FOR);
        let last = told.then(|| headers.get_all(FORWARDED_FOR).iter().next_back()).flatten();
        let last = last.and_then(|line| line.to_str().ok()?.rsplit(',').next()?.trim().parse::<IpAddr>().ok());
        last.map(|address| address.to_canonical()).or(self.peer.ip())
    }

    /// The counters of its tenant on its route.
    pub(super) fn tenant_metrics<'r>(&self, route: Option<&'r RouteRuntime>) -> Option<&'r TenantMetrics> {
        let identity = self.tenant.as_ref()?;
        // Both belong to the configuration that the request began with.
        route?.tenants.get(identity.tenant.index).map(|tenant| &**tenant)
    }

    /// Method and path of the request as the provider sees them.
    pub(crate) fn request(&self) -> (&str, &str) {
        (self.method.as_str(), self.provider_path())
    }

    /// The path that the provider sees.
    pub(crate) fn provider_path(&self) -> &str {
        self.upstream.target.path()
    }

    /// The path that the client asked for.
    pub(super) fn path(&self) -> &str {
        self.target.path()
    }

    /// The id as text; a header value that came from us or passed our check is ASCII.
    pub(crate) fn id_text(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }

    /// Records the status that is sent to the client.
    pub(crate) fn answers(&mut self, status: u16) {
        self.status = status;
    }

    /// Records the header fields that are sent to the client.
    pub(crate) fn log_response(&mut self, headers: &HeaderMap) {
        if let Some(access) = &self.state.shared.access {
            access.of_response(headers, &mut self.logged);
        }
    }

    /// Records bytes sent to the client.
    pub(crate) fn sent(&mut self, bytes: usize) {
        if self.times.first_byte.is_none() {
            self.times.first_byte = Some(Instant::now());
        }
        self.sent += bytes as u64;
    }

    /// Records bytes received from the client after its request.
    pub(crate) fn received(&mut self, bytes: usize) {
        self.received += bytes as u64;
    }

    /// Records a wait that does not count as the gateway's own time.
    pub(crate) fn waited(&mut self, time: Duration) {
        self.times.waited += time;
    }

    /// It got its slot at once.
    pub(crate) fn did_not_queue(&mut self, now: tokio::time::Instant) {
        self.times.queue = Some((now, Some(Duration::ZERO)));
    }

    /// It is queued for a slot.
    pub(crate) fn queues(&mut self) {
        self.times.queue = Some((tokio::time::Instant::now(), None));
    }

    /// It left the queue.
    pub(crate) fn queued(&mut self) {
        let waited = self.queue_wait().unwrap_or_default();
        self.times.queue = self.times.queue.map(|(since, _)| (since, Some(waited)));
        self.waited(waited);
    }

    pub(super) fn queue_wait(&self) -> Option<Duration> {
        self.times.queue.map(|(since, waited)| waited.unwrap_or_else(|| since.elapsed()))
    }

    /// Sets where the progress of the request body is found.
    pub(crate) fn uploads(&mut self, progress: Arc<BodyProgress>) {
        self.upload = Some(progress);
    }

    /// Whether the whole request body has come.
    pub(crate) fn upload_ended(&self) -> bool {
        self.upload.as_ref().is_none_or(|progress| progress.ended())
    }

    /// Whether any part of a response has been sent to the client.
    pub(crate) fn has_begun(&self) -> bool {
        self.informational.as_ref().is_some_and(InformationalSender::has_begun)
    }

    /// Adds the number of attempts to a response, if there was more than one.
    pub(crate) fn add_attempts(&self, headers: &mut HeaderMap) {
        if self.upstream.attempts > 1 {
            let _ = headers.insert(ATTEMPTS, HeaderValue::from(self.upstream.attempts));
        }
    }

    /// The gateway's members of an error envelope, for a request without a route.
    pub(crate) fn bare_stamp<'a>(&'a self, timestamp: &'a str) -> Stamp<'a> {
        let docs = self.state.config.server.error_docs_url.as_deref();
        Stamp { request_id: self.id_text(), timestamp, provider: None, route: None, upstream_body: true, docs }
    }
}
