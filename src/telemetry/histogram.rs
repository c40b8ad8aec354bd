//! Histograms of durations with fixed bounds.

use super::exposition::{Bound, Exemplar, Exposition, Labels, Sizes};
use super::trace::SpanRef;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

/// Bounds for whole requests, which may be streams that last minutes.
pub const REQUEST_BOUNDS: &[Bound] = &[
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1.0"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5.0"),
    (10_000_000_000, "10.0"),
    (30_000_000_000, "30.0"),
    (60_000_000_000, "60.0"),
    (120_000_000_000, "120.0"),
    (300_000_000_000, "300.0"),
];

/// Bounds for what the gateway itself adds.
pub const OVERHEAD_BOUNDS: &[Bound] = &[
    (10_000, "1e-05"),
    (25_000, "2.5e-05"),
    (50_000, "5e-05"),
    (100_000, "0.0001"),
    (250_000, "0.00025"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (1_000_000_000, "1.0"),
];

/// Bounds that the semantic conventions of OpenTelemetry advise for `http.server.request.duration`.
pub const SEMANTIC_BOUNDS: &[Bound] = &[
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (75_000_000, "0.075"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (750_000_000, "0.75"),
    (1_000_000_000, "1.0"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5.0"),
    (7_500_000_000, "7.5"),
    (10_000_000_000, "10.0"),
];

/// Counts durations by bucket. Takes a lock only for the few requests whose traces are kept.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [Bound],
    /// One count for each bound, and one for longer durations; not cumulative.
    counts: Box<[AtomicU64]>,
    nanoseconds: AtomicU64,
    /// The last traced request of each bucket; allocated when there is one.
    exemplars: OnceLock<Mutex<Box<[Option<Exemplar>]>>>,
}

impl Histogram {
    /// An empty histogram.
    #[must_use]
    pub fn new(bounds: &'static [Bound]) -> Histogram {
        let counts = std::iter::repeat_with(AtomicU64::default).take(bounds.len() + 1).collect();
        Histogram { bounds, counts, nanoseconds: AtomicU64::new(0), exemplars: OnceLock::new() }
    }

    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let nanoseconds = nanoseconds(duration);
        let _ = self.counts[self.bucket(nanoseconds)].fetch_add(1, Relaxed);
        let _ = self.nanoseconds.fetch_add(nanoseconds, Relaxed);
    }

    /// Counts one duration, with a reference to the span of its request.
    pub fn observe_at(&self, duration: Duration, span: SpanRef) {
        self.observe(duration);
        let none = || Mutex::new(vec![None; self.counts.len()].into_boxed_slice());
        let mut exemplars = self.exemplars.get_or_init(none).lock().unwrap_or_else(PoisonError::into_inner);
        let exemplar = span.exemplar(duration.as_secs_f64(), SystemTime::now());
        exemplars[self.bucket(nanoseconds(duration))] = Some(exemplar);
    }

    fn bucket(&self, nanoseconds: u64) -> usize {
        // Linear search, because there are few bounds and most durations fall into one of the first buckets.
        self.bounds.iter().position(|(bound, _)| nanoseconds <= *bound).unwrap_or(self.bounds.len())
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The counts of a histogram at one moment.
#[derive(Clone, Debug)]
pub struct Counts {
    bounds: &'static [Bound],
    counts: Box<[u64]>,
}

impl Counts {
    /// The sum of several histograms with the same bounds.
    pub(super) fn of<'h>(histograms: impl Iterator<Item = &'h Histogram> + Clone) -> Counts {
        let bounds = histograms.clone().next().map_or(&[][..], |histogram| histogram.bounds);
        let count = |bucket: usize| histograms.clone().map(|histogram| histogram.counts[bucket].load(Relaxed)).sum();
        Counts { bounds, counts: (0..=bounds.len()).map(count).collect() }
    }

    /// The total count.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The difference to an earlier snapshot.
    #[must_use]
    pub fn since(&self, earlier: &Counts) -> Counts {
        let counts = self.counts.iter().zip(&earlier.counts).map(|(now, then)| now.saturating_sub(*then)).collect();
        Counts { bounds: self.bounds, counts }
    }

    /// The duration at this quantile, assuming an even distribution within each bucket, like Prometheus' `histogram_quantile`.
    /// None when nothing was counted.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = share * self.total() as f64;
        let mut below = 0;
        for (bucket, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            if (below + count) as f64 >= wanted {
                let low = bucket.checked_sub(1).map_or(0, |before| self.bounds[before].0);
                // Above the last bound nothing more is known.
                let high = self.bounds.get(bucket).map_or(low, |bound| bound.0);
                let within = (wanted - below as f64) / *count as f64;
                return Some(Duration::from_nanos(low + ((high - low) as f64 * within) as u64));
            }
            below += count;
        }
        None
    }
}

/// Writes the sum of several histograms with the same bounds.
pub(super) fn write<'h>(
    out: &mut Exposition<'_>,
    labels: &Labels<'_>,
    histograms: impl Iterator<Item = &'h Histogram> + Clone,
) {
    let Some(bounds) = histograms.clone().next().map(|histogram| histogram.bounds) else { return };
    let mut counts = vec![0; bounds.len() + 1];
    let mut exemplars = vec![None; counts.len()];
    let mut sum = 0_u64;
    for histogram in histograms {
        for (count, more) in counts.iter_mut().zip(&histogram.counts) {
            *count += more.load(Relaxed);
        }
        sum = sum.wrapping_add(histogram.nanoseconds.load(Relaxed));
        let Some(seen) = histogram.exemplars.get() else { continue };
        for (last, seen) in exemplars.iter_mut().zip(seen.lock().unwrap_or_else(PoisonError::into_inner).iter()) {
            latest(last, seen);
        }
    }
    let sum = Duration::from_nanos(sum).as_secs_f64();
    let _ = out.histogram(labels, &Sizes { bounds, counts: &counts, sum, exemplars: &exemplars });
}

/// Keeps the later of two exemplars.
pub(super) fn latest(last: &mut Option<Exemplar>, seen: &Option<Exemplar>) {
    let later = match (&last, seen) {
        (Some(last), Some(seen)) => seen.time > last.time,
        (None, seen) => seen.is_some(),
        (Some(_), None) => false,
    };
    if later {
        *last = *seen;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::exposition::{Format, Kind, Text};

    #[test]
    fn bounds_are_inclusive_and_match_their_labels() {
        for bounds in [REQUEST_BOUNDS, OVERHEAD_BOUNDS, SEMANTIC_BOUNDS] {
            assert!(bounds.is_sorted_by(|a, b| a.0 < b.0));
            for (nanoseconds, name) in bounds {
                let seconds: f64 = name.parse().expect("a bound's label is a number");
                assert_eq!((seconds * 1e9).round() as u64, *nanoseconds, "{name}");
                // The canonical form of OpenMetrics, so that both formats have the same series.
                let canonical =
                    if seconds < 1e-4 { format!("{seconds:e}").replace("e-", "e-0") } else { format!("{seconds:?}") };
                assert_eq!(*name, canonical);
            }
        }
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        const BOUNDS: &[Bound] = &[(1_000, "0.000001"), (3_000, "0.000003")];
        let histogram = Histogram::new(BOUNDS);
        let now = || Counts::of(std::iter::once(&histogram));
        assert_eq!(now().quantile(0.5), None);
        histogram.observe(Duration::from_nanos(900));
        let then = now();
        assert_eq!(then.quantile(1.0), Some(Duration::from_nanos(1_000)));
        for _ in 0..4 {
            histogram.observe(Duration::from_nanos(2_000));
        }
        for (share, nanoseconds) in [(0.5, 2_000), (1.0, 3_000), (0.25, 1_500)] {
            assert_eq!(now().since(&then).quantile(share), Some(Duration::from_nanos(nanoseconds)), "{share}");
        }
        let then = now();
        histogram.observe(Duration::from_secs(1));
        assert_eq!(now().since(&then).quantile(0.5), Some(Duration::from_nanos(3_000)));
    }

    #[test]
    fn several_are_written_as_one() {
        const BOUNDS: &[Bound] = &[(1_000_000, "0.001"), (1_000_000_000, "1.0")];
        let (one, two) = (Histogram::new(BOUNDS), Histogram::new(BOUNDS));
        for milliseconds in [1, 2, 1000] {
            one.observe(Duration::from_millis(milliseconds));
        }
        two.observe(Duration::from_millis(1001));
        let mut text = String::new();
        let mut lines = Text::new(&mut text, Format::Prometheus);
        let mut out = Exposition::new(&mut lines);
        let _ = out.family("h", Kind::Histogram, "H.");
        write(&mut out, &[("r", "x")], [&one, &two].into_iter());
        let expected = "h_bucket{r=\"x\",le=\"0.001\"} 1\nh_bucket{r=\"x\",le=\"1.0\"} 3\nh_bucket{r=\"x\",le=\"+Inf\"} 4\n\
                        h_sum{r=\"x\"} 2.004\nh_count{r=\"x\"} 4\n";
        assert_eq!(text, format!("# HELP h H.\n# TYPE h histogram\n{expected}"));
    }
}
