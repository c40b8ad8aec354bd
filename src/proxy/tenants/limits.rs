//! What a tenant may use: requests in a time, and budgets. Counts outlive the configuration.

use crate::config::types::{Budget, Measure, RateLimit, Tenant};
use crate::generation::Usage;
use crate::limit::Rate;
use crate::limit::budgets::{NEAR, Spending, Spent};
use crate::proxy::limits::{Refusal, check_rate, new_rate};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// What is left of a budget that is near its end.
const REMAINING: HeaderName = HeaderName::from_static("x-speechgate-budget-remaining");

/// The limits of one tenant.
#[derive(Default)]
pub(crate) struct TenantLimits {
    name: String,
    rates: Vec<(RateLimit, Arc<Rate>)>,
    budgets: Vec<(Budget, Arc<Spending>)>,
}

/// One budget as it is kept.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Kept {
    tenant: String,
    budget: String,
    period: u64,
    used: f64,
}

impl std::fmt::Debug for TenantLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TenantLimits").field("name", &self.name).finish_non_exhaustive()
    }
}

impl TenantLimits {
    /// Limits that count the same as before go on with their counts; `kept` is what was read at the start.
    pub(super) fn new(tenant: &Tenant, old: Option<&TenantLimits>, kept: &[Kept], now: Instant) -> TenantLimits {
        let rate = |limit: &RateLimit| {
            let before = old.and_then(|old| old.rates.iter().find(|(other, _)| other == limit));
            (limit.clone(), before.map_or_else(|| Arc::new(new_rate(limit, now)), |(_, rate)| Arc::clone(rate)))
        };
        let budget = |budget: &Budget| {
            let same = |other: &Budget| other.measure == budget.measure && other.days == budget.days;
            let before = old.and_then(|old| old.budgets.iter().find(|(other, _)| same(other)));
            let of_file = || {
                let name = budget.name();
                let kept = kept.iter().find(|kept| kept.tenant == tenant.name && kept.budget == name);
                kept.map_or_else(Spent::default, |kept| Spent { period: kept.period, used: kept.used, told: false })
            };
            let spending = before.map(|(_, spending)| Arc::clone(spending));
            (budget.clone(), spending.unwrap_or_else(|| Arc::new(Spending::new(budget.days, of_file()))))
        };
        TenantLimits {
            name: tenant.name.clone(),
            rates: tenant.rate_limits.iter().map(rate).collect(),
            budgets: tenant.budgets.iter().map(budget).collect(),
        }
    }

    /// Lets one more request begin, and counts it. What its answer says of budgets that are near their end.
    ///
    /// # Errors
    /// The refusal of a rate or of a budget that is used up.
    pub(crate) fn begin(&self, now: Instant) -> Result<HeaderMap, Refusal> {
        let since = since_1970();
        let mut headers = HeaderMap::new();
        for (budget, spending) in &self.budgets {
            let used = spending.used(since);
            if used >= budget.amount {
                return Err(Refusal::of_budget(&budget.name(), spending.left(since)));
            }
            if used >= NEAR * budget.amount {
                let text = format!("\"{}\";r={}", budget.name(), (budget.amount - used).floor());
                if let Ok(value) = HeaderValue::from_str(&text) {
                    let _ = headers.append(REMAINING, value);
                }
            }
        }
        for (index, (limit, rate)) in self.rates.iter().enumerate() {
            check_rate(limit, index + 1, rate, now)?;
        }
        self.spend(|measure| matches!(measure, Measure::Requests).then_some(1.0), since);
        Ok(headers)
    }

    /// Counts what a generation used.
    pub(crate) fn used(&self, usage: &Usage) {
        if self.budgets.is_empty() {
            return;
        }
        let of = |measure: &Measure| match measure {
            Measure::Requests => None,
            Measure::Characters => usage.characters,
            Measure::AudioSeconds => {
                Some(usage.audio_in_seconds.unwrap_or_default() + usage.audio_out_seconds.unwrap_or_default())
            }
            Measure::Cost(currency) => {
                usage.cost.as_ref().filter(|(other, _)| other == currency).map(|(_, cost)| *cost)
            }
        };
        self.spend(of, since_1970());
    }

    fn spend(&self, of: impl Fn(&Measure) -> Option<f64>, now: Duration) {
        for (budget, spending) in &self.budgets {
            let Some(used) = of(&budget.measure) else { continue };
            if spending.add(used, budget.amount, now) {
                let (tenant, budget) = (self.name.as_str(), budget.name());
                tracing::warn!(tenant, budget, "a budget is nearly used up; its tenant is refused when it is");
            }
        }
    }

    /// Each budget, and which part of it is used.
    pub(super) fn ratios(&self) -> impl Iterator<Item = (String, f64)> {
        let now = since_1970();
        self.budgets.iter().map(move |(budget, spending)| (budget.name(), spending.used(now) / budget.amount))
    }

    /// What has to be kept of them.
    pub(super) fn kept(&self) -> impl Iterator<Item = Kept> {
        let now = since_1970();
        self.budgets.iter().map(move |(budget, spending)| {
            let Spent { period, used, .. } = spending.at(now);
            Kept { tenant: self.name.clone(), budget: budget.name(), period, used }
        })
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
