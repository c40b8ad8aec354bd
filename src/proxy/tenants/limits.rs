//! What a tenant may use: requests in a time, and budgets. Counts outlive the configuration.

use crate::config::types::{Budget, Measure, RateLimit, Tenant};
use crate::fleet::{Fleet, SharedBudget};
use crate::generation::Usage;
use crate::limit::Rate;
use crate::limit::budgets::{NEAR, Spending, Spent};
use crate::proxy::limits::{Denied, Refusal, check_tenant_rate, new_rate};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Notify;

/// What is left of a budget that is near its end.
const REMAINING: HeaderName = HeaderName::from_static("x-speechgate-budget-remaining");

/// How many rates of a tenant are remembered that no configuration has any more.
const FORMER: usize = 8;

/// The limits of one tenant.
#[derive(Default)]
pub(crate) struct TenantLimits {
    pub(super) name: String,
    /// Its share beside those of others.
    pub(super) weight: u32,
    pub(super) rates: Vec<(RateLimit, Arc<Rate>)>,
    /// Those of configurations before: one that a reload gives back goes on with its count.
    former: Vec<(RateLimit, Arc<Rate>)>,
    pub(super) budgets: Vec<(Budget, Arc<Spending>)>,
    /// Where other gateways count the same budgets.
    sharing: Option<Sharing>,
}

/// The budgets of a tenant that a fleet counts.
struct Sharing {
    fleet: Arc<Fleet>,
    budgets: Vec<SharedBudget>,
    /// Told when something was used.
    spent: Arc<Notify>,
}

/// A request that its tenant's limits have counted; what it was charged is refunded when this is dropped before it is kept.
#[derive(Debug)]
pub(crate) struct Begun {
    limits: Option<Arc<TenantLimits>>,
    since: Duration,
}

impl Begun {
    /// The limits of its tenant, where other gateways count them as well.
    pub(crate) fn shared(&self) -> Option<&Arc<TenantLimits>> {
        self.limits.as_ref().filter(|limits| limits.sharing.is_some())
    }

    /// The request goes out.
    pub(crate) fn keep(mut self) {
        self.limits = None;
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(limits) = self.limits.take() {
            limits.give_back(self.since);
        }
    }
}

/// One budget as it is kept.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Kept {
    tenant: String,
    budget: String,
    period: u64,
    #[serde(deserialize_with = "amount")]
    used: f64,
}

/// An amount that was used: below zero it would be a gift.
fn amount<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let used = f64::deserialize(from)?;
    let refused = || D::Error::custom(format!("`used` is {used}, and has to be a number that is not below 0"));
    Some(used).filter(|used| used.is_finite() && *used >= 0.0).ok_or_else(refused)
}

/// What was used of every budget that there is or was, by its tenant and its name: a reload that takes a budget away and one that
/// brings it back forget nothing.
#[derive(Default)]
pub(super) struct Spendings {
    all: BTreeMap<(String, String), Arc<Spending>>,
    /// Where other gateways count them as well.
    pub(super) fleet: Option<Arc<Fleet>>,
    /// Told when something was used that others count as well.
    pub(super) spent: Arc<Notify>,
}

impl Spendings {
    /// With what was kept; what is the name of no budget can be asked for by none.
    pub(super) fn resume(&mut self, kept: Vec<Kept>) {
        for Kept { tenant, budget, period, used } in kept {
            let Some(days) = Budget::days_of(&budget) else { continue };
            let spending = Spending::new(days, Spent { period, used, told: false });
            if spending.is_far_ahead(since_1970()) {
                tracing::warn!(tenant, budget, "a wrong clock kept it as used in a time far ahead; it begins anew");
            }
            let _ = self.all.insert((tenant, budget), Arc::new(spending));
        }
    }

    fn of(&mut self, tenant: &str, budget: &Budget) -> Arc<Spending> {
        let new = || Arc::new(Spending::new(budget.days, Spent::default()));
        let spending = Arc::clone(self.all.entry((tenant.to_owned(), budget.name())).or_insert_with(new));
        spending.follow(&budget.zone);
        spending
    }

    /// Those that a fleet counts: all, or those of which something was used that it has not heard of.
    pub(super) fn shared(&self, all: bool) -> Vec<SharedBudget> {
        let now = since_1970();
        let told = self.all.iter().filter(|(_, spending)| all || spending.is_news(now));
        told.map(|((tenant, budget), spending)| shared(tenant, budget, spending)).collect()
    }

    /// What has to be kept: all of which something is used that is kept nowhere else.
    pub(super) fn kept(&self) -> Vec<Kept> {
        let now = since_1970();
        let kept = self.all.iter().map(|((tenant, budget), spending)| {
            let Spent { period, used, .. } = spending.unkept(now);
            Kept { tenant: tenant.clone(), budget: budget.clone(), period, used }
        });
        kept.filter(|kept| kept.used > 0.0).collect()
    }
}

impl std::fmt::Debug for Spendings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spendings").field("budgets", &self.all.len()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for TenantLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TenantLimits").field("name", &self.name).finish_non_exhaustive()
    }
}

impl TenantLimits {
    /// Limits that count the same as before go on with their counts.
    pub(super) fn new(
        tenant: &Tenant,
        old: Option<&TenantLimits>,
        spendings: &mut Spendings,
        now: Instant,
    ) -> TenantLimits {
        let rate = |limit: &RateLimit| {
            let before = old.and_then(|old| old.rates.iter().chain(&old.former).find(|(other, _)| other == limit));
            (limit.clone(), before.map_or_else(|| Arc::new(new_rate(limit, now)), |(_, rate)| Arc::clone(rate)))
        };
        let budget = |budget: &Budget| (budget.clone(), spendings.of(&tenant.name, budget));
        let budgets: Vec<_> = tenant.budgets.iter().map(budget).collect();
        let sharing = |fleet: &Arc<Fleet>| Sharing {
            fleet: Arc::clone(fleet),
            budgets: budgets.iter().map(|(budget, one)| shared(&tenant.name, &budget.name(), one)).collect(),
            spent: Arc::clone(&spendings.spent),
        };
        let gone = |(limit, _): &&(RateLimit, Arc<Rate>)| !tenant.rate_limits.contains(limit);
        let former = old.into_iter().flat_map(|old| old.rates.iter().chain(&old.former)).filter(gone);
        TenantLimits {
            name: tenant.name.clone(),
            weight: tenant.weight,
            former: former.take(FORMER).cloned().collect(),
            rates: tenant.rate_limits.iter().map(rate).collect(),
            sharing: spendings.fleet.as_ref().filter(|_| !budgets.is_empty()).map(sharing),
            budgets,
        }
    }

    /// Hears what other gateways have used of the budgets, for a request that has begun here.
    ///
    /// # Errors
    /// The refusal of the budget that is used up without it.
    pub(crate) async fn catch_up(&self) -> Result<(), Denied> {
        let Some(Sharing { fleet, budgets, .. }) = &self.sharing else { return Ok(()) };
        let now = since_1970();
        fleet.ask(budgets, now).await;
        let over = |(budget, spending): &&(Budget, Arc<Spending>)| {
            let itself = if budget.measure == Measure::Requests { 1.0 } else { 0.0 };
            spending.used(now) >= budget.amount + itself
        };
        match self.budgets.iter().find(over) {
            Some((budget, spending)) => Err(Refusal::of_budget(&budget.name(), spending.left(now)).into()),
            None => Ok(()),
        }
    }

    /// Lets one more request begin, and counts it. What its answer says of budgets that are near their end.
    ///
    /// # Errors
    /// The refusal of a rate or of a budget that is used up.
    pub(crate) fn begin(self: &Arc<Self>, now: Instant) -> Result<(HeaderMap, Begun), Denied> {
        let since = since_1970();
        let mut headers = HeaderMap::new();
        for (budget, spending) in &self.budgets {
            let used = spending.used(since);
            if used >= budget.amount {
                return Err(Refusal::of_budget(&budget.name(), spending.left(since)).into());
            }
            if used >= NEAR * budget.amount {
                let text = format!("\"{}\";r={}", budget.name(), (budget.amount - used).floor());
                if let Ok(value) = HeaderValue::from_str(&text) {
                    let _ = headers.append(REMAINING, value);
                }
            }
        }
        for (index, (limit, rate)) in self.rates.iter().enumerate() {
            if let Err(denied) = check_tenant_rate(limit, index + 1, rate, now) {
                // What refuses uses up nothing of the others.
                self.rates.iter().take(index).for_each(|(_, rate)| rate.give_back(0, NonZeroU32::MIN));
                return Err(denied);
            }
        }
        self.spend(|measure| matches!(measure, Measure::Requests).then_some(1.0), since);
        Ok((headers, Begun { limits: Some(Arc::clone(self)), since }))
    }

    fn give_back(&self, since: Duration) {
        self.rates.iter().for_each(|(_, rate)| rate.give_back(0, NonZeroU32::MIN));
        for (_, spending) in self.budgets.iter().filter(|(budget, _)| budget.measure == Measure::Requests) {
            spending.give_back(1.0, since);
        }
        if let Some(sharing) = &self.sharing {
            sharing.spent.notify_one();
        }
    }

    /// Whether another generation may begin in a call that has begun: the budgets of what generations use have something left.
    ///
    /// # Errors
    /// The refusal of the budget that is used up.
    pub(crate) fn goes_on(&self) -> Result<(), Denied> {
        if self.budgets.is_empty() {
            return Ok(());
        }
        let since = since_1970();
        let of_generations = self.budgets.iter().filter(|(budget, _)| budget.measure != Measure::Requests);
        for (budget, spending) in of_generations {
            if spending.used(since) >= budget.amount {
                return Err(Refusal::of_budget(&budget.name(), spending.left(since)).into());
            }
        }
        Ok(())
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
        if let Some(sharing) = &self.sharing {
            sharing.spent.notify_one();
        }
    }
}

/// A budget, as all gateways name it.
fn shared(tenant: &str, budget: &str, spending: &Arc<Spending>) -> SharedBudget {
    SharedBudget { name: format!("{tenant}:{budget}"), spending: Arc::clone(spending) }
}

pub(super) fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::Code;
    use crate::config::types::{Cost, LimitKey};
    use crate::limit::Zone;

    fn tenant(budgets: &[Budget]) -> Tenant {
        let (name, budgets) = ("a".to_owned(), budgets.to_vec());
        let (keys, rate_limits) = (Vec::new(), Vec::new());
        let (routes, max, priority, subjects) = (None, None, None, Vec::new());
        Tenant { name, index: 0, keys, subjects, routes, weight: 1, reserve: 0, max, priority, rate_limits, budgets }
    }

    fn limits(tenant: &Tenant, old: Option<&TenantLimits>, spendings: &mut Spendings) -> Arc<TenantLimits> {
        Arc::new(TenantLimits::new(tenant, old, spendings, Instant::now()))
    }

    fn refusal(denied: Denied) -> Refusal {
        match denied {
            Denied::Limit(refusal) => *refusal,
            Denied::Fault(fault) => panic!("{fault:?}"),
        }
    }

    fn goes_out(limits: &Arc<TenantLimits>) -> bool {
        limits.begin(Instant::now()).map(|(_, begun)| begun.keep()).is_ok()
    }

    fn requests(amount: f64) -> Budget {
        Budget { measure: Measure::Requests, amount, days: 1, zone: Zone::UTC }
    }

    #[test]
    fn a_reload_without_budgets_and_one_with_them_again_forget_nothing() {
        let mut spendings = Spendings::default();
        let with = limits(&tenant(&[requests(1.0)]), None, &mut spendings);
        assert!(goes_out(&with) && !goes_out(&with));
        let without = limits(&tenant(&[]), Some(&with), &mut spendings);
        assert!(goes_out(&without));
        assert_eq!(spendings.kept().len(), 1, "it stays in the file as well");
        let again = limits(&tenant(&[requests(1.0)]), Some(&without), &mut spendings);
        assert!(!goes_out(&again));
        let mut after = Spendings::default();
        after.resume(spendings.kept());
        assert!(!goes_out(&limits(&tenant(&[requests(1.0)]), None, &mut after)));
    }

    #[test]
    fn an_open_socket_meets_the_budgets_of_its_generations() {
        let characters = Budget { measure: Measure::Characters, amount: 10.0, days: 1, zone: Zone::UTC };
        let limits = limits(&tenant(&[requests(1.0), characters]), None, &mut Spendings::default());
        assert!(goes_out(&limits));
        let used = |characters| limits.used(&Usage { characters: Some(characters), ..Usage::default() });
        used(9.0);
        assert!(limits.goes_on().is_ok(), "the budget of requests is used up by the socket itself");
        used(9.0);
        let refused = refusal(limits.goes_on().expect_err("used up"));
        assert_eq!(refused.error.code.as_str(), "quota_exceeded");
        assert!(refused.error.message.contains("characters/1d"), "{}", refused.error.message);
    }

    fn rate(requests: u32) -> RateLimit {
        let (per, key, cost) = (Duration::from_secs(3600), LimitKey::Route, Cost::Requests);
        RateLimit { requests, per, burst: requests, matches: None, key, code: Code::RateLimited, cost }
    }

    #[test]
    fn a_request_that_is_refused_afterwards_uses_up_nothing_of_its_tenant() {
        let tenant = Tenant { rate_limits: vec![rate(1)], ..tenant(&[requests(1.0)]) };
        let limits = limits(&tenant, None, &mut Spendings::default());
        for _ in 0..3 {
            drop(limits.begin(Instant::now()).expect("room"));
        }
        assert!(goes_out(&limits) && !goes_out(&limits));
    }

    #[test]
    fn a_second_rate_that_refuses_does_not_drain_the_first() {
        let first = Tenant { rate_limits: vec![rate(3), rate(1)], ..tenant(&[]) };
        let limits_of_both = limits(&first, None, &mut Spendings::default());
        assert!(goes_out(&limits_of_both));
        for _ in 0..3 {
            let refused = refusal(limits_of_both.begin(Instant::now()).expect_err("the second"));
            let policy = refused.headers["ratelimit-policy"].to_str().expect("text");
            assert!(policy.starts_with("\"tenant-rate-2\";q=1;"), "{policy}");
            assert!(refused.error.message.contains("tenant") && !refused.error.message.contains("route"));
        }
        let alone = Tenant { rate_limits: vec![rate(3)], ..tenant(&[]) };
        let alone = limits(&alone, Some(&limits_of_both), &mut Spendings::default());
        assert_eq!([0; 3].map(|_| goes_out(&alone)), [true, true, false]);
        // What a reload takes away and another gives back goes on with its count.
        let none = self::limits(&tenant(&[]), Some(&alone), &mut Spendings::default());
        assert!(goes_out(&none));
        let again = Tenant { rate_limits: vec![rate(3)], ..tenant(&[]) };
        let again = self::limits(&again, Some(&none), &mut Spendings::default());
        assert!(!goes_out(&again));
    }
}
