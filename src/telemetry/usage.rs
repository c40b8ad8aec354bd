//! Usage at providers, as far as it could be determined: by route, and by tenant within it.

use super::exposition::{Exposition, Kind};
use crate::generation::Usage;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Sums of usage. Generations end rarely enough for a lock.
#[derive(Debug, Default)]
pub(super) struct UsageTotals(Mutex<BTreeMap<String, Used>>);

/// What was used, in all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Used {
    /// Characters of text.
    pub characters: f64,
    /// Seconds of audio: the client's, and the provider's.
    pub audio_seconds: [f64; 2],
    /// What it cost, by currency.
    pub costs: BTreeMap<String, f64>,
}

/// The directions of audio, as label values.
const DIRECTIONS: [&str; 2] = ["in", "out"];

impl UsageTotals {
    /// Adds a tenant's usage; without tenants the name is empty.
    pub(super) fn add(&self, tenant: &str, usage: &Usage) {
        let mut all = self.lock();
        if !all.contains_key(tenant) {
            let _ = all.insert(tenant.to_owned(), Used::default());
        }
        let Some(totals) = all.get_mut(tenant) else { return };
        totals.characters += usage.characters.unwrap_or_default();
        for (total, seconds) in totals.audio_seconds.iter_mut().zip([usage.audio_in_seconds, usage.audio_out_seconds]) {
            *total += seconds.unwrap_or_default();
        }
        if let Some((currency, cost)) = usage.cost.as_ref().filter(|(_, cost)| *cost > 0.0) {
            match totals.costs.get_mut(currency) {
                Some(total) => *total += cost,
                None => drop(totals.costs.insert(currency.clone(), *cost)),
            }
        }
    }

    /// What a tenant used.
    pub(super) fn of(&self, tenant: &str) -> Used {
        self.lock().get(tenant).cloned().unwrap_or_default()
    }

    /// Counters have no state that a panic could leave half-changed.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Used>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Receives a value, with an additional label if there is one.
type Sample<'a> = dyn FnMut(Option<(&'static str, &str)>, f64) + 'a;

/// Writes the families, with each route's labels.
pub(super) fn write<'r>(
    out: &mut Exposition<'_>,
    routes: impl Iterator<Item = ([(&'static str, &'r str); 2], &'r UsageTotals)> + Clone,
) {
    let mut each = |name, help, of: &dyn Fn(&Used, &mut Sample<'_>)| {
        let _ = out.family(name, Kind::Counter, help);
        for ([route, provider], totals) in routes.clone() {
            for (tenant, totals) in totals.lock().iter() {
                of(totals, &mut |label, value| {
                    let mut labels = vec![route, provider, ("tenant", tenant.as_str())];
                    labels.extend(label);
                    if value > 0.0 {
                        let _ = out.sample(&labels, value);
                    }
                });
            }
        }
    };
    let help = "Characters of text that were used at providers, as these count them.";
    each("speechgate_usage_characters_total", help, &|totals, sample| sample(None, totals.characters));
    let help = "Seconds of audio that were used at providers: in is the client's, out the provider's.";
    each("speechgate_usage_audio_seconds_total", help, &|totals, sample| {
        let directions = DIRECTIONS.into_iter().zip(totals.audio_seconds);
        directions.for_each(|(direction, seconds)| sample(Some(("direction", direction)), seconds));
    });
    let help = "What was used at providers cost, by the prices of the configuration.";
    each("speechgate_usage_cost_total", help, &|totals, sample| {
        totals.costs.iter().for_each(|(currency, cost)| sample(Some(("currency", currency)), *cost));
    });
}
