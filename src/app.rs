//! Builds every part from a configuration, starts them in order, and stops them in order.
//!
//! Start: metrics and logs, TLS files and sockets (so that a wrong path or a taken port is reported before anything runs), workers, the
//! admin listener, and only then ready. Stop: not ready, listeners closed, what runs comes to its end or is cut, logs written.
//!
//! Each worker is a thread with a runtime of its own and its own socket on the same port; the control thread has the admin listener and
//! the signals. Workers share nothing that is written for each request.

use crate::config::Loaded;
use crate::config::files::SourceFiles;
use crate::config::types::{Config, Listen, Otlp};
use crate::fleet::Fleet;
use crate::otlp::Export;
use crate::proxy::headers::Identity;
use crate::proxy::{self, Proxy, State};
use crate::server::Worker;
use crate::server::admin;
use crate::server::drain::Drain;
use crate::server::listen::{Listener, Listeners};
use crate::server::reload::Reload;
use crate::server::tls::Tls;
use crate::telemetry::access::AccessLog;
use crate::telemetry::logging;
use crate::telemetry::metrics::{self, Metrics};
use crate::telemetry::sink::{self, Sink};
use crate::upstream::TlsShared;
use arc_swap::{ArcSwap, ArcSwapOption};
use control::Control;
pub use error::StartError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// Most bytes of log lines that wait to be written.
const LOG_BUFFER: usize = 1 << 20;
/// Least room for the lines of one worker: what a busy one writes between two looks of the writer, several times over.
const WORKER_BUFFER: usize = 256 << 10;
/// Stops that can be asked for before anybody looks: one to drain, one to end at once.
const STOPS: usize = 2;

/// Loads the configuration from where it came from, and notes the files that it reads; the error lists every problem.
pub type Load = Box<dyn Fn(&mut SourceFiles) -> Result<Loaded, String> + Send + Sync>;

/// An address as it is written in the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Address<'a>(pub &'a Listen);

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Listen::Tcp(address) => address.fmt(f),
            Listen::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A gateway whose workers run. Dropping it ends it at once; [`Gateway::run`] ends it in order.
#[derive(Debug)]
struct Gateway {
    address: Listen,
    admin_address: Option<Listen>,
    runtime: Runtime,
    control: Arc<Control>,
    workers: Vec<JoinHandle<()>>,
    /// Kept until the end: the socket file goes with it.
    _listeners: Listeners,
    admin_listeners: Option<Listeners>,
    export: Option<Export>,
    logs: Vec<Sink>,
    /// What the configuration was made of.
    files: String,
}

/// Runs until a signal ends it.
///
/// # Errors
/// When it cannot start.
pub fn run(loaded: Loaded, load: Load) -> Result<(), StartError> {
    let mut gateway = Gateway::start(loaded, Some(load))?;
    logging::log_panics();
    let (stop, stops) = mpsc::channel(STOPS);
    let signals = gateway.signals(stop)?;
    gateway.run(stops);
    drop(signals);
    Ok(())
}

/// A gateway in this process, for tests and demonstrations.
#[derive(Debug)]
pub struct Handle {
    address: Listen,
    admin_address: Option<Listen>,
    stop: mpsc::Sender<()>,
    thread: Option<JoinHandle<()>>,
}

/// Starts a gateway on threads of its own; it takes requests when this returns.
///
/// # Errors
/// When it cannot start.
pub fn start(loaded: Loaded, load: Option<Load>) -> Result<Handle, StartError> {
    let mut gateway = Gateway::start(loaded, load)?;
    let (address, admin_address) = (gateway.address.clone(), gateway.admin_address.clone());
    let (stop, stops) = mpsc::channel(STOPS);
    let thread = std::thread::Builder::new().name("control".to_owned()).spawn(move || gateway.run(stops))?;
    Ok(Handle { address, admin_address, stop, thread: Some(thread) })
}

impl Handle {
    /// Where callers connect.
    #[must_use]
    pub fn address(&self) -> &Listen {
        &self.address
    }

    /// Where the admin listener is.
    #[must_use]
    pub fn admin_address(&self) -> Option<&Listen> {
        self.admin_address.as_ref()
    }

    /// Begins to drain; a second call ends at once.
    pub fn stop(&self) {
        // Full when two stops wait already, closed when the end has come: no more is needed in either case.
        let _ = self.stop.try_send(());
    }

    /// Waits until it has ended.
    pub fn join(mut self) {
        self.wait();
    }

    fn wait(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic of the control thread has been logged; there is nothing left to wait for.
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
        self.stop();
        self.wait();
    }
}

impl Gateway {
    fn start(loaded: Loaded, load: Option<Load>) -> Result<Gateway, StartError> {
        let server = loaded.config.server.clone();
        let admin = loaded.config.admin.clone();
        let metrics = metrics(&loaded.config);
        let (access, logs) = start_logs(&loaded.config, &metrics)?;
        let otlp = loaded.config.telemetry.otlp.clone();
        let mut files = loaded.files.clone();
        let runtime = runtime()?;
        let running = Running::new(loaded, Arc::clone(&metrics), access, &mut files, runtime.handle())?;
        let export = otlp.map(|otlp| start_export(&otlp, &running, &metrics)).transpose()?;
        let mut listeners = bind("server", &server.listen, server.workers)?;
        let admin_listeners = admin.as_ref().map(|address| bind("admin", address, 1)).transpose()?;
        let drain = Drain::new(server.max_connections);

        let mut workers = Vec::new();
        for (index, socket) in listeners.sockets().into_iter().enumerate() {
            let worker = Worker {
                handler: Arc::new(Proxy::new(Arc::clone(&running.state), Arc::clone(&running.upstream_tls))),
                server: server.clone(),
                tls: running.tls.clone(),
                drain: Arc::clone(&drain),
            };
            workers.push(spawn_worker(index, socket, worker)?);
        }
        let names = files.names().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
        Ok(Gateway {
            address: listeners.address().clone(),
            admin_address: admin_listeners.as_ref().map(|listeners| listeners.address().clone()),
            runtime,
            control: Control::new(running, drain, load, files),
            workers,
            _listeners: listeners,
            admin_listeners,
            export,
            logs,
            files: names,
        })
    }

    /// Listens to signals: SIGTERM and SIGINT stop, SIGHUP reloads.
    fn signals(&self, stop: mpsc::Sender<()>) -> io::Result<tokio::task::JoinHandle<()>> {
        use tokio::signal::unix::{SignalKind, signal};
        let _inside = self.runtime.enter();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let control = Arc::clone(&self.control);
        Ok(self.runtime.spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => drop(stop.try_send(())),
                    _ = interrupt.recv() => drop(stop.try_send(())),
                    _ = hangup.recv() => control.hung_up.notify_one(),
                }
            }
        }))
    }

    /// Serves the admin listener until it is told to stop, then ends everything in order.
    fn run(&mut self, stops: mpsc::Receiver<()>) {
        let admin_sockets = self.admin_listeners.as_mut().map(Listeners::sockets).unwrap_or_default();
        tracing::info!(
            address = %Address(&self.address),
            admin = self.admin_address.as_ref().map(|a| Address(a).to_string()),
            // Where to look: in a browser, and on the disk.
            status_page = self.admin_address.as_ref().and_then(page),
            configuration = self.files,
            "listening"
        );
        let control = Arc::clone(&self.control);
        self.runtime.block_on(async move {
            for socket in admin_sockets {
                match Listener::register(socket) {
                    Ok(listener) => drop(tokio::spawn(admin::serve(Arc::clone(&control.admin), listener))),
                    Err(error) => tracing::error!(%error, "no admin listener"),
                }
            }
            tokio::select! {
                () = control.serve(stops) => {}
                () = control.running.shared.limits.keep_tidy() => {}
                () = Arc::clone(&control).keep_up_to_date() => {}
                () = control.status.sample() => {}
            }
            control.running.shared.limits.leave_fleet().await;
        });
        for worker in self.workers.drain(..) {
            // A worker that panicked has said so; the others are waited for all the same.
            let _ = worker.join();
        }
        if let Some(export) = self.export.take() {
            export.end();
        }
        tracing::info!("ended");
        for log in &self.logs {
            log.flush();
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.control.drain.cut_now();
    }
}

/// The configuration in force, and what it is made into.
#[derive(Debug)]
struct Running {
    state: Arc<ArcSwap<State>>,
    shared: Arc<proxy::Shared>,
    upstream_tls: Arc<TlsShared>,
    /// Towards callers.
    tls: Option<Arc<Tls>>,
    /// What `/config` shows.
    redacted: ArcSwap<String>,
    last_reload: ArcSwapOption<Reload>,
}

impl Running {
    fn new(
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
        if let Some(fleet) = fleet {
            shared.limits.join(fleet);
        }
        let upstream_tls = Arc::new(TlsShared::new());
        let redacted = loaded.redacted;
        let state = state(loaded.config, &shared, &upstream_tls).map_err(StartError::Route)?;
        Ok(Running {
            state: Arc::new(ArcSwap::from_pointee(state)),
            shared,
            upstream_tls,
            tls,
            redacted: ArcSwap::from_pointee(redacted),
            last_reload: ArcSwapOption::empty(),
        })
    }

    /// Puts another configuration in force for new requests and new connections, all of it or nothing. Gives the keys that need
    /// a restart.
    fn replace(&self, loaded: Loaded, files: &mut SourceFiles) -> Result<Vec<&'static str>, String> {
        note_certificates(&loaded.config, files);
        let greeting = match (&self.tls, &loaded.config.server.tls) {
            (Some(running), Some(new)) => running.prepare(new).map_err(|error| format!("server.tls: {error}\n"))?,
            _ => None,
        };
        let state = state(loaded.config, &self.shared, &self.upstream_tls)?;
        let restart = restart::needed(&self.state.load().config, &state.config);
        self.state.store(Arc::new(state));
        if let (Some(running), Some(greeting)) = (&self.tls, greeting) {
            running.replace(greeting);
        }
        self.redacted.store(Arc::new(loaded.redacted));
        Ok(restart)
    }
}

/// Notes the files of TLS, before they are read.
fn note_certificates(config: &Config, files: &mut SourceFiles) {
    let server = config
        .server
        .tls
        .iter()
        .flat_map(|tls| [Some(&tls.certificate), Some(&tls.private_key), tls.client_ca.as_ref()]);
    let upstreams = config.routes.iter().flat_map(|route| &route.upstreams).map(|upstream| upstream.ca_file.as_ref());
    server.chain(upstreams).flatten().for_each(|file| files.note(file));
}

/// What a configuration is made into; files that its routes name are read here, so that a missing one is told at once.
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

/// The status page's address.
fn page(admin: &Listen) -> Option<String> {
    match admin {
        Listen::Tcp(address) => Some(format!("http://{address}/")),
        Listen::Unix(_) => None,
    }
}

fn bind(table: &'static str, address: &Listen, count: usize) -> Result<Listeners, StartError> {
    Listeners::bind(address, count).map_err(|error| StartError::Listen(table, address.clone(), error))
}

/// Metrics that keep what is exported, and no more.
fn metrics(config: &Config) -> Arc<Metrics> {
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), config.server.workers);
    let exported = config.telemetry.otlp.as_ref().is_some_and(|otlp| otlp.metrics);
    Arc::new(if exported { metrics.with_semantic() } else { metrics })
}

/// Starts exporting over OTLP.
fn start_export(otlp: &Otlp, running: &Running, metrics: &Arc<Metrics>) -> io::Result<Export> {
    let export = Export::start(otlp, running.shared.identity.instance(), metrics)?;
    if let Some(tracer) = export.tracer() {
        running.shared.trace_with(tracer);
    }
    Ok(export)
}

/// Starts logging, and the access log when it is wanted.
fn start_logs(config: &Config, metrics: &Metrics) -> io::Result<(Option<AccessLog>, Vec<Sink>)> {
    let own = Sink::start("log", io::stderr(), LOG_BUFFER, Arc::default())?;
    logging::start(&config.telemetry, own.clone());
    if !config.telemetry.access_log {
        return Ok((None, vec![own]));
    }
    let workers = config.server.workers.max(1);
    let room = (LOG_BUFFER / workers).max(WORKER_BUFFER);
    let access = Sink::start_for(workers, "access-log", sink::stdout()?, room, metrics.access_log_dropped())?;
    let log = AccessLog::new(access.clone(), config.telemetry.log_format, config.telemetry.access_successes);
    Ok((Some(log), vec![own, access]))
}

fn spawn_worker(index: usize, socket: socket2::Socket, worker: Worker<Proxy>) -> io::Result<JoinHandle<()>> {
    let runtime = runtime()?;
    let listener = {
        let _inside = runtime.enter();
        Listener::register(socket)?
    };
    std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        metrics::use_shard(index);
        runtime.block_on(Arc::new(worker).run(listener));
        // Not waiting for anything that blocks: what is left has been told to end.
        runtime.shutdown_background();
    })
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

mod control;
mod error;
mod restart;
#[cfg(test)]
mod tests;
