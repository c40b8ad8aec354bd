//! How fast slots come free.

use std::time::{Duration, Instant};

/// How long a slot has been held on average lately.
///
/// A slot is freed by a drop, which knows no time. But Little's law needs none: the mean holding time is the slots in use,
/// summed over time, divided by the number of freed slots. Both are added up whenever a caller brings the time, and decay with a
/// time constant of [`MEMORY`].
pub(super) struct Pace {
    /// Slots times seconds.
    held: f64,
    /// Slots that were freed.
    freed: f64,
    /// Slots that were freed since `at`.
    new: u32,
    /// When it was last added up.
    at: Option<Instant>,
}

impl Pace {
    pub(super) fn new() -> Pace {
        // The prior: a slot is held for a second. It weighs as much as one slot.
        Pace { held: 1.0, freed: 1.0, new: 0, at: None }
    }

    /// A slot was freed.
    pub(super) fn free(&mut self) {
        self.new = self.new.saturating_add(1);
    }

    /// So many slots are in use now.
    pub(super) fn seen(&mut self, in_use: u32, now: Instant) {
        let elapsed = now.saturating_duration_since(*self.at.get_or_insert(now));
        if elapsed < STEP {
            return;
        }
        // An idle period teaches nothing and decays nothing.
        if in_use > 0 || self.new > 0 {
            self.add(in_use, elapsed);
        }
        self.at = Some(now);
    }

    fn add(&mut self, in_use: u32, elapsed: Duration) {
        let kept = (-elapsed.as_secs_f64() / MEMORY.as_secs_f64()).exp();
        self.held = self.held * kept + f64::from(in_use) * elapsed.as_secs_f64().min(MEMORY.as_secs_f64());
        self.freed = self.freed * kept + f64::from(self.new);
        self.new = 0;
    }

    /// How long it takes until `ahead` more slots have come free, of `cap` in all.
    pub(super) fn wait(&self, ahead: usize, cap: u32) -> Duration {
        let wait = self.held / self.freed * (ahead as f64) / f64::from(cap);
        // Not a number: nothing came free for a long time, or there are no slots.
        Duration::try_from_secs_f64(wait).unwrap_or(LONGEST).clamp(SHORTEST, LONGEST)
    }
}

/// How often it is added up at most.
const STEP: Duration = Duration::from_millis(50);
/// How long the past counts.
const MEMORY: Duration = Duration::from_secs(20);
/// No expected wait is shorter: coming back sooner only costs.
const SHORTEST: Duration = Duration::from_millis(100);
/// Nor longer: beyond it the estimate says nothing.
const LONGEST: Duration = Duration::from_secs(60);
