//! The registry: every metric of the process, for each route and for the process itself.

use super::{RouteMetrics, families, generations, lock};
use crate::telemetry::exposition::{Exposition, Families, Format, Kind, Text};
use crate::telemetry::fleet::FleetMetrics;
use crate::telemetry::otlp::Exports;
use crate::telemetry::{process, semantic, usage};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// What is shown of one tenant at a scrape.
#[derive(Clone, Debug, PartialEq)]
pub struct TenantSample {
    /// Its name.
    pub tenant: String,
    /// Its share beside those of others.
    pub weight: u32,
    /// Each of its budgets by its name, and which part of it is used.
    pub budgets: Vec<(String, f64)>,
}

/// What tells of tenants.
struct TellsTenants(Box<dyn Fn() -> Vec<TenantSample> + Send + Sync>);

impl std::fmt::Debug for TellsTenants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TellsTenants").finish_non_exhaustive()
    }
}

/// Every metric of the process.
#[derive(Debug)]
pub struct Metrics {
    version: &'static str,
    started: SystemTime,
    shards: usize,
    pub(super) routes: Mutex<BTreeMap<(String, String), Arc<RouteMetrics>>>,
    pub(super) unrouted: Arc<RouteMetrics>,
    reloads: [AtomicU64; 2],
    last_reload: AtomicU64,
    last_reload_failed: AtomicBool,
    /// Whether a change of the configuration waits for a restart.
    restart_pending: AtomicBool,
    access_log_dropped: Arc<AtomicU64>,
    log_dropped: Arc<AtomicU64>,
    exports: Arc<Exports>,
    /// Whether the metrics that are only exported over OTLP are counted.
    semantic: bool,
    /// Asked at a scrape for the tenants in force.
    tenants: OnceLock<TellsTenants>,
    /// Only with shared limits.
    fleet: OnceLock<Arc<FleetMetrics>>,
}

impl Metrics {
    /// Metrics for this many workers.
    #[must_use]
    pub fn new(version: &'static str, workers: usize) -> Metrics {
        let shards = workers.max(1);
        Metrics {
            version,
            started: SystemTime::now(),
            shards,
            routes: Mutex::default(),
            unrouted: Arc::new(RouteMetrics::new("", "", shards)),
            reloads: Default::default(),
            last_reload: AtomicU64::new(seconds(SystemTime::now()).to_bits()),
            last_reload_failed: AtomicBool::new(false),
            restart_pending: AtomicBool::new(false),
            access_log_dropped: Arc::default(),
            log_dropped: Arc::default(),
            exports: Arc::default(),
            semantic: false,
            tenants: OnceLock::new(),
            fleet: OnceLock::new(),
        }
    }

    /// Also counts the metrics that are only exported over OTLP.
    #[must_use]
    pub fn with_semantic(self) -> Metrics {
        Metrics { semantic: true, ..self }
    }

    /// Whether the metrics that are only exported over OTLP are counted.
    #[must_use]
    pub fn keeps_semantic(&self) -> bool {
        self.semantic
    }

    /// The counters of the OTLP export.
    #[must_use]
    pub fn exports(&self) -> Arc<Exports> {
        Arc::clone(&self.exports)
    }

    /// When counting began.
    #[must_use]
    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// The metrics of a route. They outlive the route, because a counter that disappears cannot be told from one that was reset.
    #[must_use]
    pub fn route(&self, route: &str, provider: &str) -> Arc<RouteMetrics> {
        let mut routes = lock(&self.routes);
        let metrics = routes
            .entry((route.to_owned(), provider.to_owned()))
            .or_insert_with(|| Arc::new(RouteMetrics::new(route, provider, self.shards)));
        Arc::clone(metrics)
    }

    /// The metrics of requests that matched no route.
    #[must_use]
    pub fn unrouted(&self) -> Arc<RouteMetrics> {
        Arc::clone(&self.unrouted)
    }

    /// Counts a reload of the configuration.
    pub fn reloaded(&self, success: bool) {
        let _ = self.reloads[usize::from(!success)].fetch_add(1, Relaxed);
        self.last_reload_failed.store(!success, Relaxed);
        if success {
            self.last_reload.store(seconds(SystemTime::now()).to_bits(), Relaxed);
        }
    }

    /// Sets whether a change of the configuration waits for a restart.
    pub fn waits_for_restart(&self, waits: bool) {
        self.restart_pending.store(waits, Relaxed);
    }

    /// The counter of dropped access log lines.
    #[must_use]
    pub fn access_log_dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.access_log_dropped)
    }

    /// The counter of dropped lines of the program's own log.
    #[must_use]
    pub fn log_dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.log_dropped)
    }

    /// The metrics of shared limits, shown from now on.
    #[must_use]
    pub fn fleet(&self) -> Arc<FleetMetrics> {
        Arc::clone(self.fleet.get_or_init(Arc::default))
    }

    /// Shows these tenants from now on.
    pub fn show_tenants(&self, tenants: impl Fn() -> Vec<TenantSample> + Send + Sync + 'static) {
        let _ = self.tenants.set(TellsTenants(Box::new(tenants)));
    }

    /// Appends every metric in a text format.
    pub fn render(&self, format: Format, text: &mut String) {
        let mut lines = Text::new(text, format);
        self.write(&mut lines);
        lines.end();
    }

    /// Writes the metrics that are only exported over OTLP, named by the semantic conventions.
    pub fn write_semantic(&self, to: &mut dyn Families) {
        let out = &mut Exposition::new(to);
        semantic::family(out);
        for route in self.every_route() {
            semantic::write(out, route.labels(), route.shards.iter().map(|shard| &shard.semantic));
        }
    }

    fn every_route(&self) -> Vec<Arc<RouteMetrics>> {
        std::iter::once(&self.unrouted).chain(lock(&self.routes).values()).map(Arc::clone).collect()
    }

    /// Writes every metric.
    pub fn write(&self, to: &mut dyn Families) {
        let routes = self.every_route();
        let out = &mut Exposition::new(to);
        families::errors(out, &routes);
        families::requests(out, &routes);
        families::times(out, &routes);
        families::websockets(out, &routes);
        generations::families(out, &routes);
        families::limits(out, &routes);
        families::retries(out, &routes);
        families::redials(out, &routes);
        families::info(out, &routes);
        families::upstreams(out, &routes);
        usage::write(out, routes.iter().map(|route| (route.labels(), &route.usage)));
        self.render_tenants(out);
        if let Some(fleet) = self.fleet.get() {
            fleet.render(out);
        }
        self.render_own(out, &routes);
        process::write(out, seconds(self.started));
    }

    fn render_tenants(&self, out: &mut Exposition<'_>) {
        let tenants = self.tenants.get().map(|tenants| (tenants.0)()).unwrap_or_default();
        if tenants.is_empty() {
            return;
        }
        let help = "A tenant's share of slots beside the shares of others.";
        let _ = out.family("speechgate_tenant_weight", Kind::Gauge, help);
        for tenant in &tenants {
            let _ = out.sample(&[("tenant", &tenant.tenant)], tenant.weight);
        }
        let help = "Which part of a tenant's budget is used.";
        let _ = out.family("speechgate_budget_used_ratio", Kind::Gauge, help);
        for tenant in &tenants {
            for (budget, ratio) in &tenant.budgets {
                let _ = out.sample(&[("tenant", &tenant.tenant), ("budget", budget)], *ratio);
            }
        }
    }

    fn render_own(&self, out: &mut Exposition<'_>, routes: &[Arc<RouteMetrics>]) {
        let unlogged =
            routes.iter().flat_map(|route| &route.shards).map(|shard| shard.unlogged.load(Relaxed)).sum::<u64>();
        let help = "Requests that were left out of the access log by `access_successes`.";
        let _ = out.family("speechgate_access_log_skipped_total", Kind::Counter, help).sample(&[], unlogged);
        let _ = out
            .family(
                "speechgate_access_log_dropped_total",
                Kind::Counter,
                "Lines of the access log that were lost: the reader was too slow, or they could not be written.",
            )
            .sample(&[], self.access_log_dropped.load(Relaxed));
        let help =
            "Lines of the program's own log that were lost: the reader was too slow, or they could not be written.";
        let _ =
            out.family("speechgate_log_dropped_total", Kind::Counter, help).sample(&[], self.log_dropped.load(Relaxed));
        self.exports.write(out);
        let _ = out
            .family(
                "speechgate_config_reloads_total",
                Kind::Counter,
                "Reloads of the configuration, by whether it was valid.",
            )
            .sample(&[("result", "success")], self.reloads[0].load(Relaxed))
            .sample(&[("result", "failure")], self.reloads[1].load(Relaxed))
            .family(
                "speechgate_config_last_reload_successful",
                Kind::Gauge,
                "Whether the last reload of the configuration was valid; 1 before the first.",
            )
            .sample(&[], u8::from(!self.last_reload_failed.load(Relaxed)))
            .family(
                "speechgate_config_restart_pending",
                Kind::Gauge,
                "Whether a change of the configuration waits for a restart.",
            )
            .sample(&[], u8::from(self.restart_pending.load(Relaxed)))
            .family(
                "speechgate_config_last_reload_success_timestamp_seconds",
                Kind::Gauge,
                "When the configuration in force was loaded, in seconds since 1970.",
            )
            .sample(&[], f64::from_bits(self.last_reload.load(Relaxed)))
            .family("speechgate_build_info", Kind::Gauge, "Always 1; the version is a label.")
            .sample(&[("version", self.version)], 1);
    }
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
