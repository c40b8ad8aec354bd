//! How fast slots come free.

use std::time::{Duration, Instant};

/// How long a slot is held, on the average of late.
///
/// A slot is freed by a drop, which knows no time. But Little's law needs none: the mean time that a slot is held is the
/// slots in use, summed over time, by the number of those that were freed. Both are added up whenever somebody who knows
/// the time comes by, and the past is forgotten with a time constant of [`MEMORY`].
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
        // What is believed without any history: that a slot is held for a second. It weighs as much as one slot does.
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
        // When nothing went on, nothing was learned and nothing is forgotten.
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
        // No number: nothing came free for ages, or there are no slots.
        Duration::try_from_secs_f64(wait).unwrap_or(LONGEST).clamp(SHORTEST, LONGEST)
    }
}

/// How often it is added up at most.
const STEP: Duration = Duration::from_millis(50);
/// How long the past counts.
const MEMORY: Duration = Duration::from_secs(20);
/// No wait is expected to be shorter: to come back sooner only costs.
const SHORTEST: Duration = Duration::from_millis(100);
/// Nor longer: beyond it the estimate says nothing.
const LONGEST: Duration = Duration::from_secs(60);
