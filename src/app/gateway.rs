//! A running gateway: builds it, serves from the control thread, and shuts it down.

use super::control::Control;
use super::descriptors;
use super::error::StartError;
use super::running::{Load, Running};
use super::spending;
use crate::config::Loaded;
use crate::config::types::{Config, Listen, Otlp};
use crate::otlp::Export;
use crate::proxy::Proxy;
use crate::server::Worker;
use crate::server::admin;
use crate::server::balance::{Balance, Inbox};
use crate::server::drain::Drain;
use crate::server::listen::{Address, Listener, Listeners};
use crate::telemetry::access::AccessLog;
use crate::telemetry::logging;
use crate::telemetry::metrics::{self, Metrics};
use crate::telemetry::sink::{self, Sink};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// Most bytes of log lines that wait to be written.
const LOG_BUFFER: usize = 1 << 20;
/// The smallest buffer for the lines of one worker: several times what a busy worker writes between two flushes.
const WORKER_BUFFER: usize = 256 << 10;
/// A running gateway. Dropping it stops it at once; [`Gateway::run`] shuts it down gracefully.
#[derive(Debug)]
pub(super) struct Gateway {
    /// The bound addresses, at least one.
    pub(super) addresses: Vec<Listen>,
    pub(super) admin_address: Option<Listen>,
    runtime: Runtime,
    control: Arc<Control>,
    workers: Vec<JoinHandle<()>>,
    /// Kept until the end, because dropping them removes their socket files.
    _listeners: Vec<Listeners>,
    admin_listeners: Option<Listeners>,
    export: Option<Export>,
    logs: Vec<Sink>,
    /// The names of the configuration files, for the log.
    files: String,
}

impl Gateway {
    pub(super) fn start(loaded: Loaded, load: Option<Load>) -> Result<Gateway, StartError> {
        let server = loaded.config.server.clone();
        let admin = loaded.config.admin.clone();
        let metrics = metrics(&loaded.config);
        let (access, logs) = start_logs(&loaded.config, &metrics)?;
        descriptors::provide(&loaded.config);
        let otlp = loaded.config.telemetry.otlp.clone();
        let mut files = loaded.files.clone();
        let runtime = runtime()?;
        let running = Running::new(loaded, Arc::clone(&metrics), access, &mut files, runtime.handle())?;
        let export = otlp.map(|otlp| start_export(&otlp, &running, &metrics)).transpose()?;
        let bound = server.listen.iter().map(|address| {
            let listeners = bind("server", address, server.workers)?;
            let patient = listeners.give_up_after(server.write_timeout);
            patient.map(|()| listeners).map_err(|error| StartError::Listen("server", address.clone(), error))
        });
        let mut listeners = bound.collect::<Result<Vec<_>, _>>()?;
        let admin_listeners = admin.as_ref().map(|address| bind("admin", address, 1)).transpose()?;
        let drain = Drain::new(server.max_connections);

        let mut workers = Vec::new();
        // One socket of each address for each worker.
        let mut addresses: Vec<_> = listeners.iter_mut().map(|one| one.sockets().into_iter()).collect();
        let balances = Balance::new(server.workers);
        for (index, (balance, inbox)) in balances.into_iter().enumerate() {
            let sockets = addresses.iter_mut().filter_map(Iterator::next).collect();
            let worker = Worker {
                handler: Arc::new(Proxy::new(Arc::clone(&running.state), Arc::clone(&running.upstream_tls))),
                server: server.clone(),
                tls: running.tls.clone(),
                drain: Arc::clone(&drain),
                balance,
            };
            workers.push(spawn_worker(index, sockets, worker, inbox)?);
        }
        let names = files.names().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
        Ok(Gateway {
            addresses: listeners.iter().map(|one| one.address().clone()).collect(),
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

    /// Handles signals: SIGTERM and SIGINT stop the gateway, SIGHUP reloads.
    pub(super) fn signals(&self, stop: mpsc::Sender<()>) -> io::Result<tokio::task::JoinHandle<()>> {
        use tokio::signal::unix::{SignalKind, signal};
        let _inside = self.runtime.enter();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        // A log file that reaches the file size limit would end the process; with a handler installed, writing fails instead and
        // is counted.
        let _file_too_large = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
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

    /// Serves the admin listener until a stop is requested, then shuts everything down gracefully.
    pub(super) fn run(&mut self, stops: mpsc::Receiver<()>) {
        let admin_sockets = self.admin_listeners.as_mut().map(Listeners::sockets).unwrap_or_default();
        let further: Vec<String> = self.addresses.iter().skip(1).map(|one| Address(one).to_string()).collect();
        tracing::info!(
            address = self.addresses.first().map(|first| Address(first).to_string()),
            further = (!further.is_empty()).then(|| further.join(", ")),
            admin = self.admin_address.as_ref().map(|a| Address(a).to_string()),
            // Where to look: in a browser, and on the disk.
            status_page = self.admin_address.as_ref().and_then(page),
            configuration = self.files,
            "listening"
        );
        let control = Arc::clone(&self.control);
        let state = control.running.state.load().config.limits.state.clone();
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
                () = control.check_health() => {}
                () = control.keep_warm() => {}
                () = control.running.shared.tenants.keep_shared() => {}
                () = spending::keep(&control.running.shared, state.clone()) => {}
            }
            control.running.shared.tenants.tell_all().await;
            if let Some(Err(error)) = state.map(|path| spending::write(&path, &control.running.shared.tenants.kept())) {
                tracing::error!(%error, "what tenants have used is not kept");
            }
            control.running.shared.limits.leave_fleet().await;
        });
        for worker in self.workers.drain(..) {
            // A worker that panicked has logged it; the others are still joined.
            let _ = worker.join();
        }
        if let Some(export) = self.export.take() {
            export.end();
        }
        tracing::info!("ended");
        // The program's own log comes last, because it reports problems of the other.
        for log in &self.logs {
            let lost = log.flush();
            if lost > 0 {
                tracing::warn!(lost, "lines of a log are lost at the end, because nobody reads them");
            }
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.control.drain.cut_now();
    }
}

/// The URL of the status page.
fn page(admin: &Listen) -> Option<String> {
    match admin {
        Listen::Tcp(address) => Some(format!("http://{address}/")),
        Listen::Unix(_) => None,
    }
}

fn bind(table: &'static str, address: &Listen, count: usize) -> Result<Listeners, StartError> {
    Listeners::bind(address, count).map_err(|error| StartError::Listen(table, address.clone(), error))
}

/// Makes the metrics; those that are only exported are counted only if there is an export.
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

/// Starts logging, and the access log if it is enabled.
fn start_logs(config: &Config, metrics: &Metrics) -> io::Result<(Option<AccessLog>, Vec<Sink>)> {
    let own = Sink::start("log", io::stderr(), LOG_BUFFER, metrics.log_dropped())?;
    logging::start(&config.telemetry, own.clone());
    if !config.telemetry.access_log {
        return Ok((None, vec![own]));
    }
    let workers = config.server.workers.max(1);
    let room = (LOG_BUFFER / workers).max(WORKER_BUFFER);
    let access = Sink::start_for(workers, "access-log", sink::stdout()?, room, metrics.access_log_dropped())?;
    let telemetry = &config.telemetry;
    let log =
        AccessLog::new(access.clone(), telemetry.log_format, telemetry.access_successes, &telemetry.access_fields);
    Ok((Some(log), vec![access, own]))
}

fn spawn_worker(
    index: usize,
    sockets: Vec<socket2::Socket>,
    worker: Worker<Proxy>,
    inbox: Inbox,
) -> io::Result<JoinHandle<()>> {
    let runtime = runtime()?;
    let listeners = {
        let _inside = runtime.enter();
        sockets.into_iter().map(Listener::register).collect::<io::Result<Vec<_>>>()?
    };
    std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        metrics::use_shard(index);
        runtime.block_on(Arc::new(worker).run(listeners, inbox));
        // Does not wait for blocking tasks, which have been told to end.
        runtime.shutdown_background();
    })
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
