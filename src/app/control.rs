//! The control thread: readiness, reloads, and graceful shutdown.

use super::running::{Load, Running};
use crate::config::files::SourceFiles;
use crate::proxy;
use crate::server::admin::Admin;
use crate::server::drain::Drain;
use crate::server::reload::{Cause, Reload};
use crate::server::status::{Situation, Status};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};
use tokio::sync::{Mutex, Notify, OwnedMutexGuard, mpsc};
use tokio::time::{MissedTickBehavior, interval};

/// How long before the cut WebSockets are closed with a close frame.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often the configuration files are checked. A change takes effect when the next check finds no further change, so that
/// files that are still being written are left alone.
const LOOK: Duration = Duration::from_millis(500);

/// The state of the control thread.
pub(super) struct Control {
    pub(super) running: Running,
    pub(super) drain: Arc<Drain>,
    pub(super) admin: Arc<Admin>,
    pub(super) status: Arc<Status>,
    source: Option<Arc<Source>>,
    /// Notified on SIGHUP; several during one reload count as one.
    pub(super) hung_up: Notify,
}

/// Where the configuration is loaded from.
struct Source {
    load: Load,
    /// The files as they were when they were last read. Locked during a reload, so that only one runs at a time.
    files: Arc<Mutex<SourceFiles>>,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("drain", &self.drain).finish_non_exhaustive()
    }
}

impl Control {
    /// `files` are those that the running configuration was read from.
    pub(super) fn new(running: Running, drain: Arc<Drain>, load: Option<Load>, files: SourceFiles) -> Arc<Control> {
        Arc::new_cyclic(|control: &Weak<Control>| {
            let (shown, reloaded) = (control.clone(), control.clone());
            let metrics = Arc::clone(&running.shared.metrics);
            let waits = Arc::clone(&running.shared);
            let shows = control.clone();
            let situation = Box::new(move || shows.upgrade().map(|control| control.situation()).unwrap_or_default());
            let status = Arc::new(Status::new(Arc::clone(&running.state), situation));
            let pages = Arc::clone(&status);
            let admin = Arc::new(Admin {
                ready: AtomicBool::new(false),
                metrics: Arc::new(move |format, text| metrics.render(format, text)),
                config: Box::new(move || {
                    shown.upgrade().map(|control| format!("{}\n", control.running.redacted.load())).unwrap_or_default()
                }),
                reload: Box::new(move || {
                    let control = reloaded.upgrade();
                    Box::pin(async move {
                        match control {
                            Some(control) => control.reload(Cause::Request).await,
                            None => Err("this gateway is ending\n".to_owned()),
                        }
                    })
                }),
                clear_waits: Box::new(move |route| waits.limits.clear_waits(route)),
                pages: Box::new(move |path, query| pages.page(path, query)),
            });
            let source = load.map(|load| Arc::new(Source { load, files: Arc::new(Mutex::new(files)) }));
            Control { running, drain, admin, status, source, hung_up: Notify::new() }
        })
    }

    /// The state of the process, for the status page.
    fn situation(&self) -> Situation {
        Situation {
            phase: if self.admin.ready.load(Ordering::Acquire) { "running" } else { "draining" },
            connections: self.drain.open(),
            reload: self.running.last_reload.load_full(),
            waiting: self.running.waiting.load().to_vec(),
        }
    }

    /// Runs until the process ends: ready, then draining, then cut.
    pub(super) async fn serve(&self, mut stops: mpsc::Receiver<()>) {
        self.admin.ready.store(true, Ordering::Release);
        let _ = stops.recv().await;
        self.admin.ready.store(false, Ordering::Release);
        let (delay, timeout) = {
            let server = &self.running.state.load().config.server;
            (server.drain_delay, server.drain_timeout)
        };
        tracing::info!(connections = self.drain.open(), ?delay, ?timeout, "draining");
        tokio::select! {
            () = self.shut_down_gracefully(delay, timeout) => {}
            Some(()) = stops.recv() => tracing::warn!(connections = self.drain.open(), "told to end at once"),
        }
        self.running.shared.stopping.cut();
        self.drain.cut_now();
    }

    /// Waits until no connection is open, or the timeout has passed.
    async fn shut_down_gracefully(&self, delay: Duration, timeout: Duration) {
        tokio::time::sleep(delay).await;
        self.drain.begin();
        // WebSockets and long streams do not end by themselves: each is told before the rest is cut.
        let words = LAST_WORDS.min(timeout / 2);
        let cut = async {
            tokio::time::sleep(timeout - words).await;
            self.running.shared.stopping.begin();
            tokio::time::sleep(words).await;
            tracing::warn!(connections = self.drain.open(), "cutting what is left");
        };
        tokio::select! {
            () = self.drain.emptied() => {}
            () = cut => {}
        }
    }

    /// Reloads on SIGHUP and when a file has changed, while it is polled.
    pub(super) async fn keep_up_to_date(self: Arc<Self>) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changed = None;
        loop {
            let cause = tokio::select! {
                () = self.hung_up.notified() => Cause::Signal,
                _ = looks.tick() => {
                    let before = changed.take();
                    changed = self.changed().await;
                    if changed.is_none() || changed != before {
                        continue;
                    }
                    Cause::Files
                }
            };
            // The result has been logged.
            let _ = self.reload(cause).await;
        }
    }

    /// Runs the health checks of upstreams until the drain begins, while it is polled.
    pub(super) async fn check_health(&self) {
        let Running { state, upstream_tls, replaced, .. } = &self.running;
        tokio::select! {
            () = proxy::check_health(state, Arc::clone(upstream_tls), replaced.subscribe()) => {}
            () = self.drain.begun() => {}
        }
        std::future::pending().await
    }

    /// Keeps connections to upstreams warm until the drain begins, while it is polled.
    pub(super) async fn keep_warm(&self) {
        let Running { state, upstream_tls, replaced, .. } = &self.running;
        tokio::select! {
            () = proxy::keep_warm(state, Arc::clone(upstream_tls), replaced.subscribe()) => {}
            () = self.drain.begun() => {}
        }
        std::future::pending().await
    }

    /// The current state of the files, if one has changed since they were read.
    async fn changed(&self) -> Option<SourceFiles> {
        let read = self.source.as_ref()?.files.lock().await.clone();
        let look = move || Some(read.now()).filter(|now| *now != read);
        // A check can take long on an unreachable network file system.
        tokio::task::spawn_blocking(look).await.unwrap_or_default()
    }

    /// Reloads the configuration, after any reload in progress. A valid one takes effect for new requests; an invalid one changes
    /// nothing. Files are read on a blocking thread.
    async fn reload(self: &Arc<Self>, cause: Cause) -> Result<String, String> {
        let Some(source) = &self.source else {
            return Err("this gateway was started without configuration files\n".to_owned());
        };
        let files = Arc::clone(&source.files).lock_owned().await;
        let (source, control) = (Arc::clone(source), Arc::clone(self));
        let work = move || source.load_again(&control.running, cause, files);
        let reload = tokio::task::spawn_blocking(work).await;
        let reload = reload.map_err(|_panic| "the gateway failed with an internal error; see its log\n".to_owned())?;
        let (told, valid) = (reload.to_string(), reload.outcome.is_ok());
        if valid { Ok(told) } else { Err(told) }
    }
}

impl Source {
    fn load_again(&self, running: &Running, cause: Cause, mut files: OwnedMutexGuard<SourceFiles>) -> Arc<Reload> {
        let mut read = SourceFiles::default();
        let outcome = (self.load)(&mut read).and_then(|loaded| running.replace(loaded, &mut read));
        if outcome.is_err() {
            // The reload may have failed before all files were read. They count as read all the same, so that there is one
            // attempt for each change.
            read.extend(files.now());
        }
        *files = read;
        running.shared.metrics.reloaded(outcome.is_ok());
        let reload = Arc::new(Reload { at: SystemTime::now(), cause, outcome });
        log(&reload);
        running.last_reload.store(Some(Arc::clone(&reload)));
        reload
    }
}

fn log(reload: &Reload) {
    let cause = reload.cause.as_str();
    match &reload.outcome {
        Err(problems) => {
            tracing::warn!(cause, %problems, "the configuration was not reloaded, the one in force stays; `speechgate check` says the same");
        }
        Ok(restart) if restart.is_empty() => tracing::info!(cause, "the configuration was reloaded"),
        Ok(restart) => {
            let restart = restart.join(", ");
            tracing::warn!(cause, restart, "the configuration was reloaded, but for what needs a restart");
        }
    }
}
