//! Metrics of generations: their outcomes, the time to first audio, and the gaps in it.

use super::RouteMetrics;
use crate::canon::GenerationKind;
use crate::generation::Outcome;
use crate::telemetry::exposition::{Exposition, Kind};
use crate::telemetry::histogram::{self, Histogram, REQUEST_BOUNDS};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// The counts of one worker for the generations of one route.
#[derive(Debug)]
pub(super) struct Generations {
    /// Number by kind and outcome.
    ended: [AtomicU64; GenerationKind::ALL.len() * Outcome::ALL.len()],
    first_audio: Histogram,
    gap: Histogram,
}

impl Generations {
    fn new() -> Generations {
        Generations {
            ended: std::array::from_fn(|_| AtomicU64::new(0)),
            first_audio: Histogram::new(REQUEST_BOUNDS),
            gap: Histogram::new(REQUEST_BOUNDS),
        }
    }
}

impl RouteMetrics {
    /// Counts a completed generation, with its time to first audio and its longest gap.
    pub fn generation_ended(
        &self,
        kind: GenerationKind,
        outcome: Outcome,
        first_audio: Option<Duration>,
        gap: Option<Duration>,
    ) {
        let all = self.shard().generations.get_or_init(|| Box::new(Generations::new()));
        let _ = all.ended[slot(kind, outcome)].fetch_add(1, Relaxed);
        if let Some(time) = first_audio {
            all.first_audio.observe(time);
        }
        if let Some(gap) = gap {
            all.gap.observe(gap);
        }
    }

    /// The number of generations with this outcome.
    #[must_use]
    pub fn generations(&self, outcome: Outcome) -> u64 {
        let count = |kind| self.total_of(slot(kind, outcome));
        GenerationKind::ALL.into_iter().map(count).sum()
    }

    fn total_of(&self, slot: usize) -> u64 {
        let shards = self.shards.iter().filter_map(|shard| shard.generations.get());
        shards.map(|all| all.ended[slot].load(Relaxed)).sum()
    }
}

const fn slot(kind: GenerationKind, outcome: Outcome) -> usize {
    kind as usize * Outcome::ALL.len() + outcome as usize
}

pub(super) fn families(out: &mut Exposition<'_>, routes: &[Arc<RouteMetrics>]) {
    let help = "Generations that have ended, on routes that record them.";
    let _ = out.family("speechgate_generations_total", Kind::Counter, help);
    for route in routes {
        for kind in GenerationKind::ALL {
            for outcome in Outcome::ALL {
                let total = route.total_of(slot(kind, outcome));
                if total > 0 {
                    let [name, provider] = route.labels();
                    let labels = [name, provider, ("kind", kind.as_str()), ("outcome", outcome.as_str())];
                    let _ = out.sample(&labels, total);
                }
            }
        }
    }
    type Pick = fn(&Generations) -> &Histogram;
    let families: [(&'static str, &'static str, Pick); 2] = [
        (
            "speechgate_time_to_first_audio_seconds",
            "From a generation's going to the provider to its first audio.",
            |all| &all.first_audio,
        ),
        (
            "speechgate_audio_gap_seconds",
            "The longest pause of a generation's audio that was the provider's, once the client had said all.",
            |all| &all.gap,
        ),
    ];
    for (name, help, pick) in families {
        let _ = out.family(name, Kind::Histogram, help);
        for route in routes {
            let shards = route.shards.iter().filter_map(|shard| shard.generations.get());
            histogram::write(out, &route.labels(), shards.map(|all| pick(all)));
        }
    }
}
