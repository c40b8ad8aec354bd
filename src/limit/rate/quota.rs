//! One decision: what a limit makes of a request, by governor's arithmetic.

use governor::RateLimiter;
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use std::cell::Cell;
use std::num::NonZeroU32;
use std::time::Duration;

/// A limit, to be compared with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// How much in `per`.
    pub amount: NonZeroU32,
    /// In which time, longer than zero.
    pub per: Duration,
    /// How much at once.
    pub burst: NonZeroU32,
}

/// What is left of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// The limit.
    pub quota: Quota,
    /// How much could be had at once now.
    pub remaining: u32,
    /// When the whole burst can be had again, if nothing is taken.
    pub reset: Duration,
}

/// No.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Not now.
    Later {
        /// When, if nobody else takes it.
        retry_after: Duration,
        /// What is left.
        left: Left,
    },
    /// It costs more than the burst, so that it never can be had.
    NeverFits {
        /// What is left.
        left: Left,
    },
}

impl Quota {
    /// Nanoseconds until one more can be had.
    pub(super) fn step(&self) -> u64 {
        let step = self.per.min(LONGEST) / self.amount.get();
        u64::try_from(step.as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    /// How much at once, as far as the nanoseconds of it can be counted.
    fn burst(&self) -> NonZeroU32 {
        let most = u32::try_from(COUNTABLE / self.step()).unwrap_or(u32::MAX);
        self.burst.min(NonZeroU32::new(most).unwrap_or(NonZeroU32::MIN))
    }

    /// Nanoseconds until a whole burst can be had.
    pub(super) fn whole(&self) -> u64 {
        self.step().saturating_mul(u64::from(self.burst().get()))
    }

    /// Decides, and tells when the burst will be whole if that changed.
    pub(super) fn check(&self, whole: Option<u64>, cost: NonZeroU32, now: u64) -> (Result<Left, Refused>, Option<u64>) {
        // Governor would find that out by a product that may not fit its 64 bits.
        if cost > self.burst() {
            return (Err(Refused::NeverFits { left: self.left(whole, now) }), whole);
        }
        let step = Duration::from_nanos(self.step());
        // `None` is for a step of nothing, which there is not.
        let quota = governor::Quota::with_period(step).unwrap_or(governor::Quota::per_second(self.amount));
        let gcra: Gcra =
            RateLimiter::new(quota.allow_burst(self.burst()), Whole(Cell::new(whole)), Reading(Cell::new(0)));
        // The limiter took the first reading for the epoch.
        gcra.clock().0.set(now);
        let answer = gcra.check_n(cost);
        let after = gcra.into_state_store().0.get();
        let left = self.left(after, now);
        let answer = match answer {
            Ok(Ok(())) => Ok(left),
            Ok(Err(not_until)) => Err(Refused::Later { retry_after: not_until.wait_time_from(Nanos::from(now)), left }),
            Err(_) => Err(Refused::NeverFits { left }),
        };
        (answer, after)
    }

    pub(super) fn left(&self, whole: Option<u64>, now: u64) -> Left {
        let reset = whole.unwrap_or(0).saturating_sub(now);
        let used = u32::try_from(reset.div_ceil(self.step())).unwrap_or(u32::MAX);
        Left { quota: *self, remaining: self.burst().get().saturating_sub(used), reset: Duration::from_nanos(reset) }
    }
}

type Gcra = RateLimiter<NotKeyed, Whole, Reading, NoOpMiddleware<Nanos>>;

/// Where governor keeps its one number while it decides.
struct Whole(Cell<Option<u64>>);

impl StateStore for Whole {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (outcome, after) = decide(self.0.get().map(Nanos::from))?;
        self.0.set(Some(after.as_u64()));
        Ok(outcome)
    }
}

/// The time that governor is told, in nanoseconds since the epoch.
struct Reading(Cell<u64>);

impl Clock for Reading {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.get())
    }
}

/// No limit is over a longer time.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
/// Nanoseconds that can be added to a moment without an overflow: 146 years.
const COUNTABLE: u64 = 1 << 62;
