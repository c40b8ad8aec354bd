//! A circuit breaker: a broken upstream gets no requests for a while.
//!
//! Closed: requests go through, and a number of failures in a row within a window opens the circuit. Open: no request goes
//! through for a while. Half open: one probe does; its success closes the circuit, its failure opens it again, and a probe that
//! ends with neither, or has not ended after [`PROBE_DEADLINE`], lets the next one try. Requests that were sent before the
//! circuit last changed are not counted. Where nothing better is left a request goes through an open circuit all the same: its
//! success closes it at once, and its failure changes nothing.

use super::lock;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long other requests are refused because a probe is out.
pub const PROBE_DEADLINE: Duration = Duration::from_secs(10);
/// The wait that is reported while a probe is out, since nothing better is known.
pub const PROBING: Duration = Duration::from_secs(1);

/// When a circuit opens, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// After so many failures in a row, at least one, without a success between them.
    pub failures: u32,
    /// None of which is older than this.
    pub window: Duration,
    /// How long it stays open.
    pub open: Duration,
}

/// The state of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Requests go through.
    Closed,
    /// Nothing does.
    Open,
    /// One probe does.
    HalfOpen,
}

impl Condition {
    /// In a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Condition::Closed => "closed",
            Condition::Open => "open",
            Condition::HalfOpen => "half_open",
        }
    }
}

/// Nothing goes through now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Until a probe may.
    pub remaining: Duration,
}

/// The circuit of one upstream.
pub struct Breaker {
    state: Mutex<BreakerState>,
}

struct BreakerState {
    setup: Setup,
    /// When the last failures were, oldest first; never more than `failures`.
    failures: VecDeque<Instant>,
    /// None while it is closed.
    until: Option<Instant>,
    /// A probe is out, and waited for until then.
    probing: Option<Instant>,
    /// Counts the changes of the circuit.
    era: u64,
}

impl Breaker {
    /// A closed circuit.
    #[must_use]
    pub fn new(setup: Setup) -> Arc<Breaker> {
        let state = BreakerState { setup, failures: VecDeque::new(), until: None, probing: None, era: 0 };
        Arc::new(Breaker { state: Mutex::new(state) })
    }

    /// Another setup. An open circuit stays open as long as it was going to.
    pub fn reconfigure(&self, setup: Setup) {
        lock(&self.state).setup = setup;
    }

    /// Asks whether a request may go to the upstream.
    ///
    /// # Errors
    /// When the circuit is open, or a probe is out.
    pub fn admit(self: &Arc<Self>, now: Instant) -> Result<Pass, Broken> {
        let mut state = lock(&self.state);
        if let Some(until) = state.until {
            let remaining = until.saturating_duration_since(now);
            let probing = state.probing.is_some_and(|deadline| deadline > now);
            if !remaining.is_zero() || probing {
                return Err(Broken { remaining: if probing { PROBING } else { remaining } });
            }
            state.probing = Some(now + PROBE_DEADLINE);
            state.era += 1;
        }
        let (probe, era) = (state.probing.is_some(), state.era);
        Ok(Pass { breaker: Arc::clone(self), era, probe, regardless: false, told: false })
    }

    /// A request goes to the upstream, whatever the circuit says.
    pub fn admit_regardless(self: &Arc<Self>) -> Pass {
        let era = lock(&self.state).era;
        Pass { breaker: Arc::clone(self), era, probe: false, regardless: true, told: false }
    }

    /// How it stands.
    #[must_use]
    pub fn condition(&self, now: Instant) -> Condition {
        match lock(&self.state).until {
            None => Condition::Closed,
            Some(until) if until > now => Condition::Open,
            Some(_) => Condition::HalfOpen,
        }
    }
}

impl BreakerState {
    fn open(&mut self, now: Instant) {
        self.until = Some(now + self.setup.open);
        self.probing = None;
        self.era += 1;
        self.failures.clear();
    }

    fn close(&mut self) {
        self.until = None;
        self.probing = None;
        self.era += 1;
    }

    fn fail(&mut self, now: Instant) {
        let oldest = |failure: &Instant| now.saturating_duration_since(*failure) > self.setup.window;
        while self.failures.front().is_some_and(oldest) {
            self.failures.pop_front();
        }
        self.failures.push_back(now);
        if self.failures.len() >= usize::try_from(self.setup.failures).unwrap_or(usize::MAX) {
            self.open(now);
        }
    }
}

/// A request to the upstream. Dropped without an outcome, it counts neither as success nor as failure.
#[must_use = "what became of the request is to be told"]
pub struct Pass {
    breaker: Arc<Breaker>,
    era: u64,
    probe: bool,
    /// It went through an open circuit.
    regardless: bool,
    told: bool,
}

impl Pass {
    /// Whether its success closes the circuit.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.probe || self.regardless
    }

    /// The upstream answered.
    pub fn succeeded(mut self) {
        let closes = self.closes();
        self.update(|state| if closes { state.close() } else { state.failures.clear() });
    }

    /// The upstream is broken.
    pub fn failed(mut self, now: Instant) {
        let (probe, regardless) = (self.probe, self.regardless);
        self.update(|state| match (probe, regardless) {
            (true, _) => state.open(now),
            (false, true) => {}
            (false, false) => state.fail(now),
        });
    }

    /// Records the outcome, if the circuit has not changed since the request was sent.
    fn update(&mut self, what: impl FnOnce(&mut BreakerState)) {
        self.told = true;
        let mut state = lock(&self.breaker.state);
        if state.era == self.era {
            what(&mut state);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.probe && !self.told {
            self.update(|state| state.probing = None);
        }
    }
}
