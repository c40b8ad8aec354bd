//! The limits of routes: what is checked before a request is sent, and what the provider's responses teach.
//!
//! | file | what is in it |
//! |---|---|
//! | `credential` | the credential that a request is sent with |
//! | `rates` | rate limits: what is counted together, charged, and refunded |
//! | `shared` | rate limits that several gateways count together |
//! | `cost` | what a request costs where characters or bytes are counted |
//! | `account` | what the routes of one account share |
//! | `backoff` | backoff after a Retry-After, and the probe at its end |
//! | `plan` | slots by credential, from one configuration to the next |
//! | `gates` | the gates with the slots: one for accounts, or one for each key that clients bring |
//! | `ledger` | charges after admission: text on sockets, seconds of audio |
//! | `slots` | concurrency slots, and the queue for them |
//! | `feedback` | what the provider's responses mean for all of them |
//! | `refusal` | rejections as errors and header fields |
//! | `view` | the state for the status page |
//!
//! Counts outlive a configuration: [`Registry`] knows the limits of each route by name, and a reload keeps the counts of limits
//! that have not changed in meaning. The limits of a removed route are dropped with its last call.

mod account;
mod backoff;
mod cost;
mod counted;
mod credential;
mod feedback;
mod gates;
mod ledger;
mod plan;
mod rates;
mod refusal;
mod shared;
mod slots;
mod subject;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use account::AccountLimits;
pub(crate) use cost::BOUND;
pub use credential::Credential;
pub use feedback::Admission;
pub(crate) use ledger::Ledger;
pub(crate) use rates::{check_tenant_rate, new_rate};
pub use refusal::{Denied, Refusal};
pub use slots::Slot;
pub(crate) use slots::{Asked, Queued, priority};
pub(crate) use subject::Subject;
pub use view::{AccountSlotsView, BackoffView, LimitView};

use crate::canon::{Code, ConcurrencyUnit};
use crate::config::types::{Concurrency, Credentials, Route, Tenant};
use crate::fleet::{Fleet, Hidden, Label};
use crate::limit::gate::{AccountSet, Gate, SlotStats, TenantShare};
use crate::limit::{Backoffs, Keys};
use crate::proxy::headers::{self, SubprotocolKeys};
use crate::proxy::{RequestBody, redact};
use crate::telemetry::metrics::{RouteMetrics, TenantMetrics};
use account::{Calls, RouteSlots};
use futures_util::future::Either;
use gates::Sharing;
use http::{HeaderName, HeaderValue, request};
use plan::Plan;
use rates::{Charges, Entry, Rates};
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How often a part of the idle entries is dropped: all of them within about a minute.
const TIDY: Duration = Duration::from_secs(1);

/// The limits of all routes, by name.
#[derive(Default)]
pub struct Registry {
    keys: Keys,
    /// Set if limits are shared with other gateways.
    fleet: OnceLock<Arc<Fleet>>,
    routes: Mutex<HashMap<String, Weak<RouteLimits>>>,
    /// The limits of accounts, latest first.
    accounts: Mutex<Vec<Weak<AccountLimits>>>,
}

/// The limits of one route under one configuration.
pub struct RouteLimits {
    /// Its settings.
    route: Arc<Route>,
    metrics: Arc<RouteMetrics>,
    /// What is counted of each tenant, by its number.
    tenants: HashMap<u64, Arc<TenantMetrics>>,
    keys: Keys,
    fleet: Option<Arc<Fleet>>,
    rates: Rates,
    /// Its own slots.
    own: Plan,
    /// The limits that it shares with other routes. Backoffs are then the account's.
    account: Option<Arc<AccountLimits>>,
    /// Its calls that use the account's slots.
    calls: Arc<Calls>,
    /// What metrics show if it has an account with a concurrency limit.
    shown: Option<Arc<RouteSlots>>,
    backoffs: Arc<Backoffs<Code>>,
    /// Credentials that were refused on a socket a moment ago.
    turned_away: Arc<Backoffs<Code>>,
    /// The keys of the credentials that the route injects, by index in the configuration.
    accounts: Vec<u64>,
    /// All of them, as one credential.
    all: Credential,
    /// Whether there is another upstream: then an unavailable one causes no backoff.
    elsewhere: bool,
    /// What takes a slot.
    unit: ConcurrencyUnit,
    /// The response header with the provider's limit, and the one with its count.
    limit_header: Option<HeaderName>,
    current_header: Option<HeaderName>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl fmt::Debug for RouteLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteLimits").finish_non_exhaustive()
    }
}

impl Registry {
    /// Shares the limits of all routes with a fleet. Called before there are any.
    pub fn join(&self, fleet: Arc<Fleet>) {
        // A second fleet would change what is counted where, so the first call wins.
        let _ = self.fleet.set(fleet);
    }

    /// Returns what the fleet has granted, at the end of the process.
    pub async fn leave_fleet(&self) {
        if let Some(fleet) = self.fleet.get() {
            fleet.leave().await;
        }
    }

    /// The limits of a route, with the counts so far under its name.
    pub(crate) fn route(
        &self,
        (route, tenants): (&Arc<Route>, &[Arc<Tenant>]),
        accounts: &[Arc<AccountLimits>],
        metrics: &Arc<RouteMetrics>,
        now: Instant,
    ) -> Arc<RouteLimits> {
        let mut routes = self.lock();
        let old = routes.get(&route.name).and_then(Weak::upgrade);
        let fleet = self.fleet.get();
        let account = route.account.as_ref().and_then(|account| accounts.get(account.index));
        let of_tenant = |tenant: &Arc<Tenant>| (slots::tenant_number(tenant), metrics.of_tenant(&tenant.name));
        let counted = (metrics, tenants.iter().map(of_tenant).collect());
        let limits = Arc::new(RouteLimits::new((route, account), counted, (&self.keys, fleet), old.as_deref(), now));
        if let Some(gates) = &limits.own.gates {
            gates.share_among(&Self::shares(tenants));
        }
        // The gates of keys are shared when they are created.
        if let (Some(fleet), Some(gate)) = (fleet, limits.own.gate()) {
            let accounts = route.credentials.iter().zip(&limits.own.numbers);
            fleet.share_accounts(&route.name, accounts.map(|(one, number)| (*number, fleet_label(meaning(one)))), gate);
        }
        metrics.show_slots(limits.slots().as_ref());
        routes.retain(|_, limits| limits.strong_count() > 0);
        let _ = routes.insert(route.name.clone(), Arc::downgrade(&limits));
        limits
    }

    /// The share of each tenant in the slots of a gate.
    fn shares(tenants: &[Arc<Tenant>]) -> Vec<(u64, TenantShare)> {
        tenants.iter().map(|tenant| (slots::tenant_number(tenant), share(tenant))).collect()
    }

    /// Ends the backoffs and pauses of one route and its account, or of all routes, and returns how many there were; none when no
    /// route has this name.
    #[must_use]
    pub fn clear_waits(&self, route: Option<&str>) -> Option<usize> {
        let all = self.all().into_iter().filter(|(name, _)| route.is_none_or(|route| route == name));
        let cleared: Vec<usize> = all.map(|(_, limits)| limits.clear_waits()).collect();
        (route.is_none() || !cleared.is_empty()).then(|| cleared.iter().sum())
    }

    /// Every route that is configured or still has a call, with its limits.
    pub(crate) fn all(&self) -> Vec<(String, Arc<RouteLimits>)> {
        let mut all: Vec<_> =
            self.lock().iter().filter_map(|(name, limits)| Some((name.clone(), limits.upgrade()?))).collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }

    /// Drops idle entries, a part of them each second, while it is polled.
    pub async fn keep_tidy(&self) {
        let mut ticks = tokio::time::interval(TIDY);
        loop {
            let now = ticks.tick().await.into_std();
            for (_, limits) in self.all() {
                limits.rates.sweep(now);
                limits.backoffs.sweep(now);
                limits.turned_away.sweep(now);
                if let Some(gates) = &limits.own.gates {
                    gates.sweep(now);
                }
            }
            let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner).clone();
            accounts.iter().filter_map(Weak::upgrade).for_each(|account| account.sweep(now));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Weak<RouteLimits>>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RouteLimits {
    fn new(
        (route, account): (&Arc<Route>, Option<&Arc<AccountLimits>>),
        (metrics, tenants): (&Arc<RouteMetrics>, HashMap<u64, Arc<TenantMetrics>>),
        (keys, fleet): (&Keys, Option<&Arc<Fleet>>),
        old: Option<&RouteLimits>,
        now: Instant,
    ) -> RouteLimits {
        let spec = &route.profile.spec().concurrency;
        let header = |name: &Option<String>| name.as_deref().and_then(|name| name.parse().ok());
        let accounts: Vec<u64> = route.credentials.iter().map(|one| keys.of(meaning(one))).collect();
        let hidden = || Hidden::of(route.credentials.iter().map(meaning).collect::<Vec<_>>());
        let all = Credential { key: keys.of(&accounts), hidden: fleet.map(|_| hidden()) };
        let sharing = || fleet.map(|fleet| Sharing { fleet: Arc::clone(fleet), route: route.name.clone() });
        let counted = account.filter(|account| account.counts());
        // If the account has slots, the route's own limit applies to all credentials together.
        let bound = if counted.is_some() { accounts.get(..1).unwrap_or_default() } else { &accounts };
        let before = old.map(|old| &old.own).filter(|own| !account.is_some_and(|account| account.has_slots_of(own)));
        let own = Plan::new(route.concurrency.as_ref(), bound, sharing, before, now);
        let calls = old.map_or_else(Arc::default, |old| Arc::clone(&old.calls));
        let shown = counted.and_then(|account| {
            let own = own.gates.clone().filter(|_| route.concurrency.is_some());
            let account = Arc::clone(account.plan.gates.as_ref()?);
            Some(Arc::new(RouteSlots { account, own, calls: Arc::clone(&calls) }))
        });
        // Backoffs of an account do not apply to a route that has left it.
        let alone = old.filter(|old| old.account.is_none());
        let backoffs = account.map(|account| &account.backoffs).or(alone.map(|old| &old.backoffs));
        let turned_away = account.map(|account| &account.turned_away).or(alone.map(|old| &old.turned_away));
        RouteLimits {
            rates: Rates::new(&route.rate_limits, false, old.map(|old| &old.rates), now),
            own,
            calls,
            shown,
            backoffs: backoffs.map_or_else(Backoffs::new, Arc::clone),
            turned_away: turned_away.map_or_else(Backoffs::new, Arc::clone),
            account: account.map(Arc::clone),
            accounts,
            all,
            elsewhere: route.upstreams.len() > 1,
            unit: spec.unit.unwrap_or(ConcurrencyUnit::Request),
            limit_header: header(&spec.limit_header),
            current_header: header(&spec.current_header),
            keys: keys.clone(),
            fleet: fleet.map(Arc::clone),
            route: Arc::clone(route),
            metrics: Arc::clone(metrics),
            tenants,
        }
    }

    /// Charges a request to every rate that counts it.
    pub(crate) fn charge<'a>(
        &'a self,
        subject: &'a Subject<'a>,
        upload: &'a mut RequestBody,
        now: tokio::time::Instant,
    ) -> impl Future<Output = Result<Charges, Denied>> + Send + 'a {
        match &self.fleet {
            None => {
                let how = (now.into_std(), self.route.rate_limit_headers);
                Either::Left(rates::charge(self.entries(), &self.keys, subject, &self.route.profile, (upload, how)))
            }
            // Boxed, so that requests do not reserve space for it where nothing is shared.
            Some(fleet) => Either::Right(Box::pin(shared::charge(
                self.entries(),
                (fleet, &self.keys),
                &self.route,
                subject,
                upload,
            ))),
        }
    }

    /// Whether bodies may be read before they are sent.
    pub(crate) fn reads_bodies(&self) -> bool {
        self.entries().any(Entry::reads_bodies)
    }

    /// Its rates, and those of its account.
    fn entries(&self) -> impl Iterator<Item = &Entry> + Send {
        self.rates.0.iter().chain(self.account.iter().flat_map(|account| &account.rates.0))
    }

    /// The key of the credential that a request is sent with: the accounts of the route, or the first key that the client has in
    /// a header, in the query or in a subprotocol. All clients without a key share one.
    pub fn credential(&self, key: Option<&HeaderValue>, parts: &request::Parts) -> Credential {
        if !self.accounts.is_empty() {
            return self.all;
        }
        if let Some(value) = key {
            // `Bearer abc` is the same key as `abc` in a header of its own.
            return self.credential_of(redact::token(value.as_bytes()).unwrap_or(value.as_bytes()));
        }
        let spec = &self.route.profile.spec().secrets;
        let query = parts.uri.query().unwrap_or_default();
        if let Some(value) = redact::query_secrets(query, &spec.query).first() {
            return self.credential_of(redact::token(value.as_bytes()).unwrap_or(value.as_bytes()));
        }
        let offered = headers::list(&parts.headers, &http::header::SEC_WEBSOCKET_PROTOCOL);
        let offered: Vec<Vec<u8>> = offered.map(<[u8]>::to_vec).collect();
        let token = SubprotocolKeys::of(spec).secrets(&offered).into_iter().next();
        self.credential_of(token.unwrap_or_default().as_bytes())
    }

    fn credential_of(&self, token: &[u8]) -> Credential {
        Credential { key: self.keys.of(token), hidden: self.fleet.as_ref().map(|_| Hidden::of(token)) }
    }

    /// Whether calls are limited.
    pub fn counts(&self) -> bool {
        self.concurrency().is_some()
    }

    /// The settings of the provider's plan: the account's, or else the route's own.
    fn concurrency(&self) -> Option<&Concurrency> {
        let of_account = self.account.as_ref().and_then(|account| account.config.concurrency.as_ref());
        of_account.or(self.route.concurrency.as_ref())
    }

    /// The slots of the provider's plan.
    fn plan(&self) -> &Plan {
        self.account.as_ref().filter(|account| account.counts()).map_or(&self.own, |account| &account.plan)
    }

    /// The route's own gate in addition to its account's.
    fn beside(&self) -> Option<&Arc<Gate>> {
        self.shown.as_ref().and_then(|shown| shown.own.as_ref()).and_then(|_| self.own.gate())
    }

    /// The gate for a credential, if calls are limited.
    pub fn gate(&self, credential: Credential) -> Option<Arc<Gate>> {
        let gates = self.plan().gates.as_ref().filter(|_| self.counts())?;
        Some(gates.of(credential, rates::now()))
    }

    /// What metrics show of its slots.
    fn slots(&self) -> Option<Arc<dyn SlotStats>> {
        let of_account = self.shown.as_ref().map(|shown| Arc::clone(shown) as Arc<dyn SlotStats>);
        let own = || self.own.gates.as_ref().filter(|_| self.counts());
        of_account.or_else(|| own().map(|gates| Arc::clone(gates) as Arc<dyn SlotStats>))
    }

    fn clear_waits(&self) -> usize {
        let of_account = self.account.as_ref().and_then(|account| account.plan.gates.as_ref());
        let gates: Vec<_> = self.own.gates.iter().chain(of_account).flat_map(|gates| gates.all()).collect();
        self.backoffs.clear() + self.turned_away.clear() + gates.iter().map(|gate| gate.end_pauses()).sum::<usize>()
    }

    /// Whether a request takes a slot for its whole duration. If units on a WebSocket are counted, the session asks for slots
    /// instead.
    pub(crate) fn takes_slot(&self, websocket: bool, counted_inside: impl FnOnce() -> bool) -> bool {
        match self.unit {
            ConcurrencyUnit::Request => true,
            ConcurrencyUnit::Socket => websocket,
            ConcurrencyUnit::Context | ConcurrencyUnit::Generation => !(websocket && counted_inside()),
        }
    }

    /// All accounts of the route; one if clients bring their own keys.
    pub(crate) fn all_accounts(&self) -> AccountSet {
        (0..self.accounts.len().max(1)).fold(AccountSet::NONE, AccountSet::with)
    }
}

fn share(tenant: &Arc<Tenant>) -> TenantShare {
    TenantShare { weight: tenant.weight, reserve: tenant.reserve, max: tenant.max }
}

/// The name of an account in a fleet.
fn fleet_label(meaning: impl Hash) -> Label {
    Label::Hidden(Hidden::of(meaning))
}

/// The identity of an account: two accounts are the same if all of this is equal.
fn meaning(one: &Credentials) -> impl Hash {
    let header = one.header.as_ref().map(HeaderName::as_str);
    (header, &one.query, &one.subprotocol, &one.first_message, one.value.reveal())
}
