//! What tenants may use and have used, for metrics and the status page.

use super::limits::since_1970;
use super::{Current, TenantLimits, Tenants};
use crate::config::types::Tenant;
use crate::telemetry::metrics::TenantSample;
use serde::Serialize;
use std::time::Instant;

/// The limits of one tenant, and how much of them is used.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TenantLimitsView {
    /// How many requests it may begin in a time.
    pub rates: Vec<RateView>,
    /// How much it may use in a time.
    pub budgets: Vec<BudgetView>,
}

/// A rate of a tenant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RateView {
    /// How many requests.
    pub requests: u32,
    /// In how many seconds.
    pub per_seconds: f64,
    /// How many of them it could begin at once now.
    pub left: u32,
}

/// A budget of a tenant, as far as this gateway knows what others have used.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BudgetView {
    /// Its name, as in the label of metrics.
    pub budget: String,
    /// How much there is.
    pub amount: f64,
    /// How much is used.
    pub used: f64,
    /// The part that is used.
    pub used_ratio: f64,
    /// In how many seconds it begins anew.
    pub begins_anew_seconds: u64,
}

impl Tenants {
    /// What a tenant of this configuration may use.
    pub fn limits_view(&self, tenant: &Tenant, now: Instant) -> TenantLimitsView {
        let limits = self.limits.get(tenant.index);
        let none = TenantLimitsView { rates: Vec::new(), budgets: Vec::new() };
        limits.map_or(none, |limits| limits.view(now))
    }
}

impl Current {
    /// What metrics show of the tenants in force.
    #[must_use]
    pub fn samples(&self) -> Vec<TenantSample> {
        let tenants = self.in_force();
        let sample = |limits: &TenantLimits| TenantSample {
            tenant: limits.name.clone(),
            weight: limits.weight,
            budgets: limits.budget_views().map(|one| (one.budget, one.used_ratio)).collect(),
        };
        tenants.limits.iter().map(|limits| sample(limits)).collect()
    }
}

impl TenantLimits {
    fn view(&self, now: Instant) -> TenantLimitsView {
        let rates = self.rates.iter().map(|(limit, rate)| RateView {
            requests: limit.requests,
            per_seconds: limit.per.as_secs_f64(),
            left: rate.left(0, now).remaining,
        });
        TenantLimitsView { rates: rates.collect(), budgets: self.budget_views().collect() }
    }

    fn budget_views(&self) -> impl Iterator<Item = BudgetView> {
        let now = since_1970();
        self.budgets.iter().map(move |(budget, spending)| {
            let used = spending.used(now);
            BudgetView {
                budget: budget.name(),
                amount: budget.amount,
                used,
                used_ratio: used / budget.amount,
                begins_anew_seconds: spending.left(now).as_secs(),
            }
        })
    }
}
