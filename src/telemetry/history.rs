//! The errors of the last hour, and the counters of the last minutes: samples of the metrics, taken periodically on the control
//! thread, so that requests do not pay for them. Bounded in time and size.

use super::metrics::Totals;
use crate::canon::Code;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// The interval at which [`History::sample`] has to be called; the width of a bucket.
pub const STEP: Duration = Duration::from_secs(10);
/// Buckets that are kept: an hour.
pub const BUCKETS: usize = 360;
/// Number of samples kept for comparison, one for every three steps: five minutes.
const SAMPLES: usize = 10;
const SAMPLE_STEPS: u64 = 3;
/// Most series in one bucket: far more than a bad day has, and enough to keep the whole history below 10 MiB.
const SERIES: usize = 1024;

/// The errors within one step.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Its number since the start of the process.
    pub number: u64,
    /// When it began.
    pub began: SystemTime,
    /// Number of errors by route and code.
    pub errors: Vec<(Arc<str>, Code, u64)>,
}

/// The recent history of the counters.
#[derive(Debug)]
pub struct History {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    buckets: VecDeque<Bucket>,
    /// The counters at the beginning of the open bucket.
    latest: Sample,
    /// The oldest first.
    samples: VecDeque<Sample>,
    next: u64,
}

#[derive(Clone, Debug)]
struct Sample {
    at: SystemTime,
    totals: Arc<Vec<Totals>>,
}

impl History {
    /// Begins with the current counters.
    #[must_use]
    pub fn new(now: SystemTime, totals: Vec<Totals>) -> History {
        let latest = Sample::new(now, totals);
        let samples = VecDeque::from([latest.clone()]);
        History { inner: Mutex::new(Inner { buckets: VecDeque::new(), latest, samples, next: 0 }) }
    }

    /// Ends a bucket at the current counters.
    pub fn sample(&self, now: SystemTime, totals: Vec<Totals>) {
        let mut inner = self.lock();
        let bucket = inner.open_bucket(&totals);
        inner.next += 1;
        push(&mut inner.buckets, bucket, BUCKETS);
        inner.latest = Sample::new(now, totals);
        if inner.next.is_multiple_of(SAMPLE_STEPS) {
            let sample = inner.latest.clone();
            push(&mut inner.samples, sample, SAMPLES);
        }
    }

    /// The buckets from this number on. The last one is still open; `totals` are its current counters.
    #[must_use]
    pub fn buckets(&self, from: u64, totals: &[Totals]) -> Vec<Bucket> {
        let inner = self.lock();
        let closed = inner.buckets.iter().filter(|bucket| bucket.number >= from).cloned();
        closed.chain([inner.open_bucket(totals)]).collect()
    }

    /// The oldest counters that are known, at most some minutes old, and their time.
    #[must_use]
    pub fn then(&self) -> (SystemTime, Arc<Vec<Totals>>) {
        let inner = self.lock();
        let oldest = inner.samples.front().unwrap_or(&inner.latest);
        (oldest.at, Arc::clone(&oldest.totals))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn open_bucket(&self, totals: &[Totals]) -> Bucket {
        let last = &self.latest;
        let mut errors = Vec::new();
        for now in totals {
            let before = Totals::find(&last.totals, &now.route, &now.provider);
            for (code, count) in &now.errors {
                let before = before.and_then(|before| before.errors.iter().find(|(known, _)| known == code));
                let new = count.saturating_sub(before.map_or(0, |(_, count)| *count));
                if new > 0 && errors.len() < SERIES {
                    errors.push((Arc::clone(&now.route), *code, new));
                }
            }
        }
        Bucket { number: self.next, began: last.at, errors }
    }
}

impl Sample {
    /// Leaves out routes that have counted nothing; a missing route means the same as one with zeros.
    fn new(at: SystemTime, mut totals: Vec<Totals>) -> Sample {
        totals.retain(Totals::is_active);
        Sample { at, totals: Arc::new(totals) }
    }
}

fn push<T>(queue: &mut VecDeque<T>, value: T, most: usize) {
    if queue.len() == most {
        let _ = queue.pop_front();
    }
    queue.push_back(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::Origin;
    use crate::telemetry::metrics::{Metrics, Transport};

    #[test]
    fn errors_fall_into_the_bucket_in_which_they_are_counted() {
        let metrics = Metrics::new("0", 1);
        let mut now = SystemTime::UNIX_EPOCH;
        let history = History::new(now, metrics.totals());
        let route = metrics.route("tts", "elevenlabs");
        let shown = |from| -> Vec<(u64, u64)> {
            let buckets = history.buckets(from, &metrics.totals()).into_iter();
            buckets.map(|bucket| (bucket.number, bucket.errors.iter().map(|(_, _, count)| count).sum())).collect()
        };
        let fail = || route.error(Code::QuotaExceeded, Origin::Provider, Transport::Http);
        fail();
        assert_eq!(shown(0), [(0, 1)]);
        now += STEP;
        history.sample(now, metrics.totals());
        assert_eq!(shown(0), [(0, 1), (1, 0)]);
        fail();
        fail();
        assert_eq!(shown(1), [(1, 2)]);
        for _ in 0..2 * BUCKETS {
            now += STEP;
            history.sample(now, metrics.totals());
        }
        assert_eq!(shown(0).len(), BUCKETS + 1);
        // The newest that is kept is one step old, and ten are kept, three steps apart.
        assert_eq!(history.then().0, now - STEP * 28);
    }
}
