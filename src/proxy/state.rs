//! The state that requests are served with: the current configuration, and everything that is derived from it once.

use super::cors::Readers;
use super::headers::{Identity, PeerHeaders, RouteHeaders};
use super::limits::{AccountLimits, Registry, RouteLimits};
use super::redact::RouteKeys;
use super::route::RouteTable;
use super::stopping::Stopping;
use super::tenants::{Current, Tenants};
use super::upstreams::{RouteHealth, RouteHealthView};
use crate::canon::CanonicalError;
use crate::config::types::{Config, Route, Upstream};
use crate::generation::{FirstAudio, FirstAudioTimes, Watch};
use crate::limit::breaker::Condition;
use crate::telemetry::access::AccessLog;
use crate::telemetry::connections::OpenConnections;
use crate::telemetry::journal::Journal;
use crate::telemetry::metrics::{Metrics, RouteMetrics, TenantMetrics};
use crate::telemetry::trace::Tracer;
use crate::telemetry::upstreams::UpstreamMetrics;
use crate::upstream::{Connections, TaskWaker};
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// One configuration in use. Requests keep the one that they began with.
#[derive(Debug)]
pub struct State {
    /// The configuration.
    pub config: Arc<Config>,
    /// State that outlives a configuration.
    pub shared: Arc<Shared>,
    pub(crate) table: RouteTable,
    /// Who may call.
    pub tenants: Arc<Tenants>,
    /// Whether the configuration has any CORS rules.
    pub(super) has_cors: bool,
    /// The limits of accounts, which several routes may share.
    #[expect(dead_code, reason = "it only has to last as long as the configuration")]
    accounts: Vec<Arc<AccountLimits>>,
    /// By the route's index in the configuration.
    routes: Vec<Arc<RouteRuntime>>,
}

/// Times to first audio at one upstream of a route, learned from all its calls.
type FirstAudioOfUpstream = Arc<Mutex<FirstAudioTimes>>;

/// State that outlives a configuration.
#[derive(Debug)]
pub struct Shared {
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// The metrics of requests without a route.
    pub unrouted: Arc<RouteMetrics>,
    /// The access log.
    pub access: Option<AccessLog>,
    /// Recent errors.
    pub journal: Journal,
    /// Unknown codes that have been logged already, at most 1,000.
    reported: Mutex<BTreeSet<(String, String)>>,
    /// The health of routes, by name.
    health: Mutex<BTreeMap<String, Arc<RouteHealth>>>,
    /// Times to first audio by the route's name and the upstream's URL.
    first_audio: Mutex<BTreeMap<(String, String), FirstAudioOfUpstream>>,
    /// This gateway's identity in `Via`.
    pub identity: Identity,
    /// Signals that sessions and streams have to be ended.
    pub stopping: Arc<Stopping>,
    /// The current tenants, whatever configuration a session began with.
    pub tenants: Arc<Current>,
    /// The counts of the routes' limits.
    pub limits: Registry,
    /// Connections to upstreams that workers share.
    pub connections: Arc<Connections>,
    /// The routes of the current configuration, for sockets that outlive the one that they began with. The pointers are weak: the
    /// counts and learned values of a configuration are dropped with it.
    routes: ArcSwap<Vec<Weak<RouteRuntime>>>,
    /// Collects spans, if they are exported.
    tracer: OnceLock<Tracer>,
}

/// A route, and what is derived from its configuration once.
#[derive(Debug)]
pub struct RouteRuntime {
    /// The route as it is configured.
    pub config: Arc<Route>,
    /// Its name and its provider's, shared with the journal.
    pub(crate) names: (Arc<str>, Arc<str>),
    /// How the headers of its requests and responses change.
    pub headers: Arc<RouteHeaders>,
    /// Its counters.
    pub metrics: Arc<RouteMetrics>,
    /// The counters of its tenants, in the order of the configuration.
    pub tenants: Vec<Arc<TenantMetrics>>,
    /// Permits for preflights to its provider.
    pub(crate) preflights: Arc<Semaphore>,
    /// The counters of its upstreams, in the order of the configuration.
    pub(crate) upstreams: Vec<Arc<UpstreamMetrics>>,
    /// Reports its connections at a scrape.
    _connections: Arc<dyn OpenConnections>,
    /// Its limits.
    pub limits: Arc<RouteLimits>,
    /// The health of its upstreams and accounts; none when there is nothing to choose or to retry.
    pub(crate) health: Option<Arc<RouteHealth>>,
    /// Times to first audio at each of its upstreams; empty unless the limit is learned.
    first_audio: Vec<Arc<Mutex<FirstAudioTimes>>>,
    /// The keys that are put into its requests, which must not be shown if a provider echoes them.
    pub keys: RouteKeys,
    /// The pages that its provider has allowed to read its responses.
    pub(super) readers: Readers,
}

impl RouteRuntime {
    /// The silence limits of a generation that begins at this upstream.
    pub(crate) fn watch(&self, upstream: usize) -> Watch {
        let times = || self.first_audio.get(upstream).map(|times| times.lock().unwrap_or_else(PoisonError::into_inner));
        self.config.silence.watch(|| times().map_or_else(|| FirstAudioTimes::default().limit(), |times| times.limit()))
    }

    /// Records that first audio took this long, or was given up after this long.
    pub(crate) fn learns(&self, upstream: usize, took: Duration) {
        if let Some(times) = self.first_audio.get(upstream) {
            times.lock().unwrap_or_else(PoisonError::into_inner).took(took);
        }
    }
}

/// The client of a connection, the same for all of its requests.
#[derive(Debug)]
pub struct Peer {
    /// The client's address; none on a Unix socket.
    pub address: Option<SocketAddr>,
    /// The same as text, for logs.
    pub shown: Option<String>,
    /// Whether the client speaks TLS to us.
    pub tls: bool,
    /// The names in its certificate.
    pub subjects: Vec<String>,
    /// The header fields that tell providers about the client.
    pub headers: PeerHeaders,
    /// Set before a response is dropped because the client stopped reading it.
    pub stalled: AtomicBool,
    /// Wakes the task of the client's connection, on HTTP/1.
    pub waker: Arc<TaskWaker>,
}

impl Peer {
    /// A client at this address, over TLS or not.
    #[must_use]
    pub fn new(address: Option<SocketAddr>, tls: bool) -> Arc<Peer> {
        Peer::certified(address, tls, Vec::new())
    }

    /// A client with these names in its certificate.
    #[must_use]
    pub fn certified(address: Option<SocketAddr>, tls: bool, subjects: Vec<String>) -> Arc<Peer> {
        let headers = PeerHeaders::new(address.map(|address| address.ip()), tls);
        let shown = address.map(|address| address.to_string());
        let (stalled, waker) = (AtomicBool::new(false), TaskWaker::new());
        Arc::new(Peer { address, shown, tls, subjects, headers, stalled, waker })
    }

    /// The client's address without its port.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.map(|address| address.ip().to_canonical())
    }

    /// Whether the response ended because the client stopped reading, rather than because it disconnected.
    #[must_use]
    pub fn has_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// `instance` identifies this process.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, access: Option<AccessLog>, identity: Identity) -> Arc<Shared> {
        let unrouted = metrics.unrouted();
        Arc::new(Shared {
            metrics,
            unrouted,
            access,
            journal: Journal::default(),
            reported: Mutex::default(),
            health: Mutex::default(),
            first_audio: Mutex::default(),
            identity,
            stopping: Arc::default(),
            tenants: Arc::default(),
            limits: Registry::default(),
            connections: Connections::new(),
            routes: ArcSwap::default(),
            tracer: OnceLock::new(),
        })
    }

    /// Traces requests from now on; only the first tracer is used.
    pub fn trace_with(&self, tracer: Tracer) {
        let _ = self.tracer.set(tracer);
    }

    pub(crate) fn tracer(&self) -> Option<&Tracer> {
        self.tracer.get()
    }

    /// The routes of the current configuration.
    pub(crate) fn routes_in_force(&self) -> Vec<Arc<RouteRuntime>> {
        self.routes.load().iter().filter_map(Weak::upgrade).collect()
    }

    /// The health of a route, which keeps its previous state.
    fn health(&self, route: &Arc<Route>) -> Option<Arc<RouteHealth>> {
        let mut routes = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let before = routes.remove(&route.name);
        let others: Vec<_> = routes.values().filter(|other| other.shares_account(route)).map(Arc::clone).collect();
        let health = RouteHealth::of(route, before.as_deref(), &others, Instant::now())?;
        let _ = routes.insert(route.name.clone(), Arc::clone(&health));
        Some(health)
    }

    /// The learned times to first audio of a route's upstreams, which outlive a configuration as long as the next one has the
    /// same upstreams.
    fn first_audio(&self, route: &Route) -> Vec<Arc<Mutex<FirstAudioTimes>>> {
        if route.silence.first_audio != Some(FirstAudio::Auto) {
            return Vec::new();
        }
        let mut all = self.first_audio.lock().unwrap_or_else(PoisonError::into_inner);
        let mut of = |upstream: &Upstream| Arc::clone(all.entry((route.name.clone(), upstream.url())).or_default());
        route.upstreams.iter().map(&mut of).collect()
    }

    /// Drops learned times that no route uses any more.
    fn forget_first_audio(&self) {
        let mut all = self.first_audio.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, times| Arc::strong_count(times) > 1);
    }

    /// The health of a route for the status page; none when there is nothing to choose or to retry.
    #[must_use]
    pub fn health_view(&self, route: &str) -> Option<RouteHealthView> {
        let routes = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        routes.get(route).map(|health| health.view(Instant::now()))
    }

    /// Logs an error that a profile does not know, once for each code, as a hint to add a row.
    pub(crate) fn unmapped(&self, route: &str, request_id: &str, error: &CanonicalError) {
        let code = error.upstream.as_ref().and_then(|upstream| upstream.code.as_deref()).unwrap_or("none");
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.len() < 1000 && reported.insert((route.to_owned(), code.to_owned())) {
            tracing::warn!(
                route,
                upstream_code = code,
                classified_as = error.code.as_str(),
                request_id,
                "a provider's error that its profile does not know; `speechgate explain` shows how to add it"
            );
        }
    }
}

impl State {
    /// Derives everything that requests need from a configuration. Routes that keep their name and provider keep their counters.
    ///
    /// # Errors
    /// When a route's credentials are not a valid header value.
    pub fn new(config: Arc<Config>, shared: Arc<Shared>) -> Result<State, http::header::InvalidHeaderValue> {
        // Fallible steps come first, because the following ones change the limits in force.
        let headers: Vec<RouteHeaders> =
            config.routes.iter().map(|route| RouteHeaders::new(route)).collect::<Result<_, _>>()?;
        let tenants = Arc::new(Tenants::new(&config, &shared.tenants));
        let now = Instant::now();
        let accounts = shared.limits.accounts(&config, now);
        let routes: Vec<_> = config
            .routes
            .iter()
            .zip(headers)
            .map(|(route, headers)| {
                let metrics = shared.metrics.route(&route.name, &route.provider);
                let upstreams = metrics.show_upstreams(route.upstreams.iter().map(Upstream::url));
                let health = shared.health(route);
                show(&upstreams, health.as_deref());
                metrics.lends_key(!route.credentials.is_empty(), route.account.as_ref().map(|account| &*account.name));
                let connections = shared.connections.of(&route.upstreams);
                metrics.show_connections(&connections);
                let of_tenants = config.tenants.iter().map(|tenant| metrics.of_tenant(&tenant.name)).collect();
                Arc::new(RouteRuntime {
                    config: Arc::clone(route),
                    names: (Arc::from(&*route.name), Arc::from(&*route.provider)),
                    headers: Arc::new(headers.guarded(tenants.guard(), config.server.tenant_header.clone())),
                    limits: shared.limits.route((route, &config.tenants), &accounts, &metrics, now),
                    first_audio: shared.first_audio(route),
                    preflights: Arc::new(Semaphore::new(MOST_PREFLIGHTS)),
                    upstreams,
                    _connections: connections,
                    metrics,
                    tenants: of_tenants,
                    health,
                    keys: RouteKeys::new(&route.credentials, &set_secrets(route)),
                    readers: Readers::default(),
                })
            })
            .collect();
        shared.forget_first_audio();
        let has_cors = config.server.cors.is_some() || config.routes.iter().any(|route| route.cors.is_some());
        shared.tenants.replace(Arc::clone(&tenants));
        shared.routes.store(Arc::new(routes.iter().map(Arc::downgrade).collect()));
        Ok(State { has_cors, table: RouteTable::new(&config.routes), tenants, routes, accounts, config, shared })
    }

    /// In the order of the configuration.
    pub(crate) fn routes(&self) -> &[Arc<RouteRuntime>] {
        &self.routes
    }

    /// The derived state of one of its routes.
    #[must_use]
    pub fn runtime(&self, route: &Route) -> Arc<RouteRuntime> {
        // The route table was built from the same list, in which a route's index is its position.
        Arc::clone(self.routes.get(route.index).expect("the route table was built from these routes"))
    }
}

/// Most preflights of one route at its provider at one time. Others wait here, without a connection.
const MOST_PREFLIGHTS: usize = 16;

/// Sets the metrics of upstreams from what a route knows of them.
fn show(upstreams: &[Arc<UpstreamMetrics>], health: Option<&RouteHealth>) {
    for (index, metrics) in upstreams.iter().enumerate() {
        let circuit = health.and_then(|health| health.circuit(index)).map(Arc::clone);
        metrics.has_circuit(circuit.map(|circuit| -> Box<dyn Fn() -> Condition + Send + Sync> {
            Box::new(move || circuit.condition(tokio::time::Instant::now().into_std()))
        }));
        metrics.is_healthy(health.is_none_or(|health| health.checked().passes(index)));
    }
}

/// The secrets that the operator sets in request headers.
fn set_secrets(route: &Route) -> Vec<&str> {
    let set = route.headers.request.set.iter().filter(|(_, value)| value.is_sensitive());
    set.filter_map(|(_, value)| value.to_str().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_str;

    fn state(shared: &Arc<Shared>, silence: &str) -> State {
        let text = format!(
            "[[routes]]\nname = 't'\nmatch = {{ path = '/t' }}\nprovider = 'cartesia'\nupstream = 'https://a.example'\n{silence}\n"
        );
        let loaded = load_str(&[("t.toml", &text)], []).expect("a configuration");
        State::new(Arc::new(loaded.config), Arc::clone(shared)).expect("a state")
    }

    #[test]
    fn learned_first_audio_times_outlive_a_reload() {
        let shared = Shared::new(Arc::new(Metrics::new("test", 1)), None, Identity::new("test").expect("an identity"));
        let auto = "silence = { first_audio = 'auto' }";
        let before = state(&shared, auto);
        let unlearned = before.routes()[0].watch(0).first_audio;
        (0..100).for_each(|_| before.routes()[0].learns(0, Duration::from_millis(100)));
        let after = state(&shared, auto);
        drop(before);
        assert_eq!(after.routes()[0].watch(0).first_audio, Some(Duration::from_secs(2)));
        assert_ne!(unlearned, Some(Duration::from_secs(2)));
        // Values that nothing uses any more are dropped.
        drop(after);
        let without = state(&shared, "");
        assert!(without.shared.first_audio.lock().expect("no panic").is_empty());
    }
}
