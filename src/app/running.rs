//! The configuration in force, and the state that was built from it.

use super::error::StartError;
use super::{descriptors, restart, spending};
use crate::config::Loaded;
use crate::config::files::SourceFiles;
use crate::config::types::Config;
use crate::fleet::Fleet;
use crate::proxy::headers::Identity;
use crate::proxy::{self, State};
use crate::server::reload::Reload;
use crate::server::tls::Tls;
use crate::telemetry::access::AccessLog;
use crate::telemetry::metrics::Metrics;
use crate::upstream::TlsShared;
use arc_swap::{ArcSwap, ArcSwapOption};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;

/// Loads the configuration from its files, and records the files that it reads; the error lists every problem.
pub type Load = Box<dyn Fn(&mut SourceFiles) -> Result<Loaded, String> + Send + Sync>;

/// The configuration in force, and the state that was built from it.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) state: Arc<ArcSwap<State>>,
    pub(super) shared: Arc<proxy::Shared>,
    pub(super) upstream_tls: Arc<TlsShared>,
    /// TLS for clients.
    pub(super) tls: Option<Arc<Tls>>,
    /// The text of `/config`.
    pub(super) redacted: ArcSwap<String>,
    /// The configuration that the process started with, and its text for `/config`; keys that need a restart keep its values.
    started: (Arc<Config>, String),
    /// The keys that have changed and take effect at a restart.
    pub(super) waiting: ArcSwap<Vec<&'static str>>,
    pub(super) last_reload: ArcSwapOption<Reload>,
    /// Signalled when another configuration is in force.
    pub(super) replaced: watch::Sender<()>,
    /// The files of tenants that said nothing of any when the configuration in force was loaded.
    without_tenants: ArcSwap<Vec<PathBuf>>,
}

impl Running {
    pub(super) fn new(
        loaded: Loaded,
        metrics: Arc<Metrics>,
        access: Option<AccessLog>,
        files: &mut SourceFiles,
        runtime: &tokio::runtime::Handle,
    ) -> Result<Running, StartError> {
        note_certificates(&loaded.config, files);
        let tls = loaded.config.server.tls.as_ref().map(Tls::new).transpose().map_err(StartError::Tls)?;
        let instance = ulid::Ulid::from_parts(fastrand::u64(..), u128::from(fastrand::u64(..))).to_string();
        let identity = Identity::new(&instance).map_err(|error| StartError::Route(error.to_string()))?;
        let fleet = Fleet::start(&loaded.config.limits, &instance, || metrics.fleet(), runtime);
        let fleet = fleet.map_err(StartError::Route)?;
        let shared = proxy::Shared::new(metrics, access, identity);
        if let Some(path) = &loaded.config.limits.state {
            shared.tenants.resume(spending::read(path).map_err(StartError::Route)?);
        }
        let tenants = Arc::clone(&shared.tenants);
        shared.metrics.show_tenants(move || tenants.samples());
        if let Some(fleet) = fleet {
            shared.tenants.join(Arc::clone(&fleet));
            shared.limits.join(fleet);
        }
        let upstream_tls = Arc::new(TlsShared::new());
        let (redacted, without_tenants) = (loaded.redacted, loaded.without_tenants);
        let state = state(loaded.config, &shared, &upstream_tls).map_err(StartError::Route)?;
        Ok(Running {
            started: (Arc::clone(&state.config), redacted.clone()),
            waiting: ArcSwap::default(),
            state: Arc::new(ArcSwap::from_pointee(state)),
            shared,
            upstream_tls,
            tls,
            redacted: ArcSwap::from_pointee(redacted),
            last_reload: ArcSwapOption::empty(),
            replaced: watch::Sender::new(()),
            without_tenants: ArcSwap::from_pointee(without_tenants),
        })
    }

    /// Applies another configuration to new requests and connections, completely or not at all. Returns the keys that need a
    /// restart.
    pub(super) fn replace(&self, loaded: Loaded, files: &mut SourceFiles) -> Result<Vec<&'static str>, String> {
        note_certificates(&loaded.config, files);
        self.forbid_emptied(&loaded.without_tenants)?;
        descriptors::provide(&loaded.config);
        let greeting = match (&self.tls, &loaded.config.server.tls) {
            (Some(running), Some(new)) => running.prepare(new).map_err(|error| format!("server.tls: {error}\n"))?,
            _ => None,
        };
        let state = state(loaded.config, &self.shared, &self.upstream_tls)?;
        let (started, shown) = &self.started;
        let waiting = restart::needed(started, &state.config);
        let redacted = restart::in_force((started, shown), (&state.config, &loaded.redacted));
        self.state.store(Arc::new(state));
        self.replaced.send_replace(());
        if let (Some(running), Some(greeting)) = (&self.tls, greeting) {
            running.replace(greeting);
        }
        self.without_tenants.store(Arc::new(loaded.without_tenants));
        self.redacted.store(Arc::new(redacted));
        self.waiting.store(Arc::new(waiting.clone()));
        self.shared.metrics.waits_for_restart(!waiting.is_empty());
        Ok(waiting)
    }
}

impl Running {
    /// A file that was cut to nothing, by a full disk or in the middle of being written, shuts nobody out: its tenants stay. Whoever
    /// means it says so.
    fn forbid_emptied(&self, without: &[PathBuf]) -> Result<(), String> {
        let before = self.without_tenants.load();
        let had = !self.state.load().config.tenants.is_empty();
        match without.iter().find(|file| had && !before.contains(file)) {
            Some(file) => Err(format!(
                "server.tenants: `{}` says nothing of tenants any more; expected `[[tenants]]`, or `tenants = []` where there are to be none\n",
                file.display().to_string().escape_debug()
            )),
            None => Ok(()),
        }
    }
}

/// Records the TLS files before they are read.
fn note_certificates(config: &Config, files: &mut SourceFiles) {
    let server = config
        .server
        .tls
        .iter()
        .flat_map(|tls| [Some(&tls.certificate), Some(&tls.private_key), tls.client_ca.as_ref()]);
    let upstreams = config.routes.iter().flat_map(|route| &route.upstreams).flat_map(|upstream| {
        let own = upstream.client_certificate.as_ref();
        [upstream.ca_file.as_ref(), own.map(|own| &own.certificate), own.map(|own| &own.private_key)]
    });
    server.chain(upstreams).flatten().for_each(|file| files.note(file));
}

/// Builds the state for a configuration. Files that its routes name are read here, so that a missing one is reported at once.
fn state(config: Config, shared: &Arc<proxy::Shared>, upstream_tls: &TlsShared) -> Result<State, String> {
    let problems: Vec<String> = config
        .routes
        .iter()
        .flat_map(|route| route.upstreams.iter().map(move |upstream| (route, upstream)))
        .filter(|(_, upstream)| upstream.tls)
        .filter_map(|(route, upstream)| {
            upstream_tls.for_upstream(upstream).err().map(|why| format!("route {}: {why}", route.name))
        })
        .collect();
    if !problems.is_empty() {
        return Err(problems.join("\n"));
    }
    State::new(Arc::new(config), Arc::clone(shared)).map_err(|error| error.to_string())
}
