//! Retries as a share of requests, so that an outage is not amplified.

use super::lock;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a request counts towards the budget.
pub const WINDOW: Duration = Duration::from_secs(10);
/// Retries that are allowed regardless of the share, so that a route with few requests has some: one a second on average.
pub const FLOOR: u32 = 10;
/// Parts of the window; the oldest is forgotten as a whole.
const PARTS: u32 = 10;

/// The retry budget: in the last [`WINDOW`], a share of the requests and [`FLOOR`] more.
///
/// The window moves in steps of a tenth. In an outage in which everything fails, `n` requests become at most `n · (1 + share)`,
/// and one more per second.
pub struct Budget {
    state: Mutex<BudgetState>,
}

struct BudgetState {
    share: f64,
    epoch: Instant,
    /// Which part of time it is, counted from the epoch.
    part: u64,
    /// Requests and retries of the parts of the window, by the part's number modulo [`PARTS`].
    parts: [(u32, u32); PARTS as usize],
}

impl Budget {
    /// Nothing was sent yet. The share is from 0 to 1.
    #[must_use]
    pub fn new(share: f64, now: Instant) -> Budget {
        Budget { state: Mutex::new(BudgetState { share, epoch: now, part: 0, parts: Default::default() }) }
    }

    /// Another share; what was sent counts on.
    pub fn reconfigure(&self, share: f64) {
        lock(&self.state).share = share;
    }

    /// A request was sent; once for each, however often it is retried.
    pub fn request(&self, now: Instant) {
        let mut state = lock(&self.state);
        if let Some((requests, _)) = state.current(now) {
            *requests = requests.saturating_add(1);
        }
    }

    /// Takes a retry from the budget, if there is one.
    #[must_use]
    pub fn retry(&self, now: Instant) -> bool {
        let mut state = lock(&self.state);
        let _ = state.current(now);
        let sum = |of: fn(&(u32, u32)) -> u32| state.parts.iter().map(|part| u64::from(of(part))).sum::<u64>();
        let (requests, retries) = (sum(|part| part.0), sum(|part| part.1));
        let allowed = requests as f64 * state.share + f64::from(FLOOR);
        // A small margin, so that a fifth of ten requests is two.
        if (retries + 1) as f64 > allowed + 1e-6 {
            return false;
        }
        if let Some((_, retries)) = state.current(now) {
            *retries = retries.saturating_add(1);
        }
        true
    }
}

impl BudgetState {
    /// The part of the window that it is now; those that passed since are empty.
    fn current(&mut self, now: Instant) -> Option<&mut (u32, u32)> {
        let step = WINDOW / PARTS;
        let part = u64::try_from(now.saturating_duration_since(self.epoch).as_nanos() / step.as_nanos()).ok()?;
        let passed = part.saturating_sub(self.part).min(u64::from(PARTS));
        self.part = self.part.max(part);
        for old in 0..passed {
            if let Some(part) = self.parts.get_mut(index(self.part - old)) {
                *part = (0, 0);
            }
        }
        self.parts.get_mut(index(self.part))
    }
}

fn index(part: u64) -> usize {
    (part % u64::from(PARTS)) as usize
}
