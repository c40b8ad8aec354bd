//! What all worlds have in common: a seed, a clock that jumps from event to event, what happened, and what must not have.

use fastrand::Rng;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How many of the last events are shown with a failure.
const TRACE: usize = 60;

/// A rule that does not hold, and what happened before.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) what: String,
    pub(crate) trace: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "    {line}")?;
        }
        write!(f, "  {}", self.what)
    }
}

/// What is done wrong on purpose, to see that it is found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Knobs {
    /// A request becomes the probe before its body is there.
    pub(crate) probes_before_its_body: bool,
    /// A retry does not ask whether the provider wants to be left alone.
    pub(crate) retries_ignore_waits: bool,
    /// A retry is sent at once, whatever the provider said.
    pub(crate) retries_at_once: bool,
    /// All clients are taken for one.
    pub(crate) shares_credentials: bool,
}

/// What happened, and the first rule that did not hold.
pub(crate) struct Log {
    begun: Instant,
    traces: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lines: VecDeque<String>,
    broken: Option<Violation>,
}

impl Log {
    pub(crate) fn new(traces: bool) -> Arc<Log> {
        Arc::new(Log { begun: Instant::now(), traces, state: Mutex::default() })
    }

    /// Something happened. It costs nothing unless the seed is replayed.
    pub(crate) fn note(&self, what: impl FnOnce() -> String) {
        if self.traces {
            let line = format!("{:>9.3} s  {}", self.begun.elapsed().as_secs_f64(), what());
            if std::env::var_os("SPEECHGATE_TRACE").is_some() {
                eprintln!("{line}");
            }
            let mut state = self.lock();
            if state.broken.is_none() {
                state.lines.truncate(TRACE);
                if state.lines.len() == TRACE {
                    let _ = state.lines.pop_front();
                }
                state.lines.push_back(line);
            }
        }
    }

    /// A rule does not hold. Only the first counts.
    pub(crate) fn violated(&self, what: impl FnOnce() -> String) {
        let mut state = self.lock();
        if state.broken.is_none() {
            let what = format!("{:.3} s: {}", self.begun.elapsed().as_secs_f64(), what());
            let trace = state.lines.iter().cloned().collect();
            state.broken = Some(Violation { what, trace });
        }
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.lock().broken.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a world to its end under a clock that is paused: nothing here takes real time, and the same seed does the same.
pub(crate) fn run<F>(seed: u64, traces: bool, world: impl FnOnce(Rng, Arc<Log>) -> F) -> Result<(), Violation>
where
    F: Future<Output = ()>,
{
    let mut rng = Rng::with_seed(seed);
    // What the gateways themselves draw: backoffs.
    fastrand::seed(rng.u64(..));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let log = runtime.block_on(async {
        let log = Log::new(traces);
        world(rng, Arc::clone(&log)).await;
        log
    });
    drop(runtime);
    let broken = log.lock().broken.take();
    broken.map_or(Ok(()), Err)
}

/// A random time from one to another.
pub(crate) fn between(rng: &mut Rng, least: u64, most: u64) -> Duration {
    Duration::from_millis(rng.u64(least..=most))
}
