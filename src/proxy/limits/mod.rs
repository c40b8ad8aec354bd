//! The limits of routes: what is checked before a request goes out, and what the provider's responses teach.
//!
//! | file | what is in it |
//! |---|---|
//! | `credential` | whose request it is |
//! | `rates` | rate limits: what is counted together, charged, and refunded |
//! | `shared` | the same where several gateways count together |
//! | `cost` | what a request costs where characters or bytes are counted |
//! | `backoff` | backoff after a Retry-After, and the probe at its end |
//! | `gates` | whose slots they are: an account's, or those of a key that clients bring |
//! | `ledger` | what a call brings after it was admitted: text on sockets, seconds of audio |
//! | `slots` | concurrency slots, and the queue for them |
//! | `feedback` | what the provider's answers say about all of them |
//! | `refusal` | refusals as errors and headers |
//! | `view` | all of it, for the status page |
//!
//! Counts outlive a configuration: [`Registry`] knows the limits of each route by name, and a reload keeps what still means the
//! same. The limits of a removed route are forgotten with its last call.

mod backoff;
mod cost;
mod counted;
mod credential;
mod feedback;
mod gates;
mod ledger;
mod rates;
mod refusal;
mod shared;
mod slots;
mod subject;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use cost::BOUND;
pub use credential::Credential;
pub use feedback::Admission;
pub(crate) use ledger::Ledger;
pub(crate) use rates::{check_tenant_rate, new_rate};
pub use refusal::{Denied, Refusal};
pub(crate) use slots::{Asked, Queued, priority};
pub(crate) use subject::Subject;
pub use view::{AccountSlotsView, BackoffView, LimitView};

use crate::canon::{Code, ConcurrencyUnit};
use crate::config::types::{Credentials, Route, Tenant};
use crate::fleet::{Fleet, Hidden, Label};
use crate::limit::gate::{AccountSet, Gate, Setup, SlotStats, TenantShare};
use crate::limit::{Backoffs, Keys};
use crate::proxy::headers::{self, SubprotocolKeys};
use crate::proxy::{RequestBody, redact};
use crate::telemetry::metrics::RouteMetrics;
use futures_util::future::Either;
use gates::{Gates, Sharing};
use http::{HeaderName, HeaderValue, request};
use rates::{Charges, Rates};
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How often a part of the idle entries is forgotten: all of them within a minute or so.
const TIDY: Duration = Duration::from_secs(1);

/// The limits of all routes, by name.
#[derive(Default)]
pub struct Registry {
    keys: Keys,
    /// Where limits are shared with other gateways.
    fleet: OnceLock<Arc<Fleet>>,
    routes: Mutex<HashMap<String, Weak<RouteLimits>>>,
}

/// The limits of one route under one configuration.
pub struct RouteLimits {
    /// Its settings.
    route: Arc<Route>,
    metrics: Arc<RouteMetrics>,
    keys: Keys,
    fleet: Option<Arc<Fleet>>,
    rates: Rates,
    /// Kept while calls are temporarily not counted; none when they never were.
    gates: Option<Arc<Gates>>,
    backoffs: Arc<Backoffs<Code>>,
    /// Credentials that were refused on a socket a moment ago.
    turned_away: Arc<Backoffs<Code>>,
    /// The keys of the credentials that the route injects, by their place in the configuration, and the number by which
    /// the gate knows each: it stays the same when a reload gives the account another place.
    accounts: Vec<u64>,
    /// All of them, as one credential.
    all: Credential,
    numbers: Vec<usize>,
    /// Every account that the gate has known, with its number: one that a reload takes away has its calls there until they end, and
    /// has them again when the next reload brings it back.
    known: Vec<(u64, usize)>,
    /// Whether there is another upstream: then an unavailable one causes no backoff.
    elsewhere: bool,
    /// What takes a slot.
    unit: ConcurrencyUnit,
    /// Where the provider says how many it allows, and how many it counts.
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
    /// Shares the limits of all routes from now on. Called before there are any.
    pub fn join(&self, fleet: Arc<Fleet>) {
        // A second fleet would change what is counted where; there is one for the life of a process.
        let _ = self.fleet.set(fleet);
    }

    /// Gives back what the fleet has granted, at the end of the process.
    pub async fn leave_fleet(&self) {
        if let Some(fleet) = self.fleet.get() {
            fleet.leave().await;
        }
    }

    /// The limits of a route, with what the ones of its name have counted so far.
    pub(crate) fn route(
        &self,
        (route, tenants): (&Arc<Route>, &[Arc<Tenant>]),
        metrics: &Arc<RouteMetrics>,
        now: Instant,
    ) -> Arc<RouteLimits> {
        let mut routes = self.lock();
        let old = routes.get(&route.name).and_then(Weak::upgrade);
        let fleet = self.fleet.get();
        let share = |tenant: &Arc<Tenant>| (slots::tenant_number(&self.keys, tenant), share(tenant));
        let tenants: Vec<_> = tenants.iter().map(share).collect();
        let limits = Arc::new(RouteLimits::new(route, metrics, &self.keys, fleet, old.as_deref(), now));
        if let Some(gates) = &limits.gates {
            gates.share_among(&tenants);
        }
        // The gates of keys are shared as they come.
        if let (Some(fleet), Some(Gates::Accounts(gate))) = (fleet, limits.gates.as_deref()) {
            let accounts = route.credentials.iter().zip(&limits.numbers);
            let accounts = accounts.map(|(one, number)| (*number, Label::Hidden(Hidden::of(meaning(one)))));
            fleet.share_accounts(&route.name, accounts, gate);
        }
        let shown = limits.gates.as_ref().filter(|_| limits.counts());
        metrics.show_slots(shown.map(|gates| Arc::clone(gates) as Arc<dyn SlotStats>).as_ref());
        routes.retain(|_, limits| limits.strong_count() > 0);
        let _ = routes.insert(route.name.clone(), Arc::downgrade(&limits));
        limits
    }

    /// Ends the backoffs and pauses of one route or of all, and returns how many there were; none when no route has this name.
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

    /// Forgets idle entries, a part of them each second, for as long as it is polled.
    pub async fn keep_tidy(&self) {
        let mut ticks = tokio::time::interval(TIDY);
        loop {
            let now = ticks.tick().await.into_std();
            for (_, limits) in self.all() {
                limits.rates.sweep(now);
                limits.backoffs.sweep(now);
                limits.turned_away.sweep(now);
                if let Some(gates) = &limits.gates {
                    gates.sweep(now);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Weak<RouteLimits>>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RouteLimits {
    fn new(
        route: &Arc<Route>,
        metrics: &Arc<RouteMetrics>,
        keys: &Keys,
        fleet: Option<&Arc<Fleet>>,
        old: Option<&RouteLimits>,
        now: Instant,
    ) -> RouteLimits {
        let spec = &route.profile.spec().concurrency;
        let header = |name: &Option<String>| name.as_deref().and_then(|name| name.parse().ok());
        let accounts: Vec<u64> = route.credentials.iter().map(|one| keys.of(meaning(one))).collect();
        let hidden = || Hidden::of(route.credentials.iter().map(meaning).collect::<Vec<_>>());
        let all = Credential { key: keys.of(&accounts), hidden: fleet.map(|_| hidden()) };
        let (gates, known) = gates(route, &accounts, fleet, old, now);
        let number = |account: &u64| known.iter().find(|(other, _)| other == account).map(|(_, number)| *number);
        let numbers = accounts.iter().filter_map(number).collect();
        RouteLimits {
            rates: Rates::new(&route.rate_limits, old.map(|old| &old.rates), now),
            gates,
            numbers,
            known,
            backoffs: old.map_or_else(Backoffs::new, |old| Arc::clone(&old.backoffs)),
            turned_away: old.map_or_else(Backoffs::new, |old| Arc::clone(&old.turned_away)),
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
                Either::Left(self.rates.charge(&self.keys, subject, &self.route.profile, upload, how))
            }
            // Boxed: where nothing is shared, requests do not carry it about.
            Some(fleet) => {
                Either::Right(Box::pin(self.rates.charge_fleet((fleet, &self.keys), &self.route, subject, upload)))
            }
        }
    }

    /// Whether bodies may be read before they go out.
    pub(crate) fn reads_bodies(&self) -> bool {
        self.rates.read_bodies()
    }

    /// The key of the credential that a request goes out with: the accounts of the route, or the key that the client brings
    /// in a header, in the query or in a subprotocol, whichever is first. All that bring none share one.
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

    /// Whether calls are counted.
    pub fn counts(&self) -> bool {
        self.route.concurrency.is_some()
    }

    /// The gate for a credential, where calls are counted.
    pub fn gate(&self, credential: Credential) -> Option<Arc<Gate>> {
        let gates = self.gates.as_ref().filter(|_| self.counts())?;
        Some(gates.of(credential, rates::now()))
    }

    fn clear_waits(&self) -> usize {
        let gates = self.gates.as_ref().map(|gates| gates.all()).unwrap_or_default();
        self.backoffs.clear() + self.turned_away.clear() + gates.iter().map(|gate| gate.end_pauses()).sum::<usize>()
    }

    /// Whether a request takes a slot for as long as it lasts. Where units on a WebSocket are counted, the session asks for
    /// those.
    pub(crate) fn takes_slot(&self, websocket: bool, counted_inside: impl FnOnce() -> bool) -> bool {
        match self.unit {
            ConcurrencyUnit::Request => true,
            ConcurrencyUnit::Socket => websocket,
            ConcurrencyUnit::Context | ConcurrencyUnit::Generation => !(websocket && counted_inside()),
        }
    }

    /// Every account that the route has; one where clients bring their own.
    pub(crate) fn all_accounts(&self) -> AccountSet {
        (0..self.accounts.len().max(1)).fold(AccountSet::NONE, AccountSet::with)
    }
}

fn share(tenant: &Arc<Tenant>) -> TenantShare {
    TenantShare { weight: tenant.weight, reserve: tenant.reserve, max: tenant.max }
}

/// What makes an account: two are the same when all of this is.
fn meaning(one: &Credentials) -> impl Hash {
    let header = one.header.as_ref().map(HeaderName::as_str);
    (header, &one.query, &one.subprotocol, &one.first_message, one.value.reveal())
}

/// The gates of a route, and the accounts that they know by now, each with its number. Existing gates are kept and resized, and an
/// account keeps its number wherever it stands in the configuration.
fn gates(
    route: &Route,
    accounts: &[u64],
    fleet: Option<&Arc<Fleet>>,
    old: Option<&RouteLimits>,
    now: Instant,
) -> (Option<Arc<Gates>>, Vec<(u64, usize)>) {
    let kept = old.and_then(|old| Some((old, old.gates.clone()?)));
    let kept = kept.filter(|(old, _)| old.accounts.is_empty() == accounts.is_empty());
    let kept = kept.and_then(|(old, gates)| Some((known(accounts, &old.known, &gates)?, gates)));
    let (known, kept) = match kept {
        Some((known, gates)) => (known, Some(gates)),
        None => (accounts.iter().copied().zip(0..).collect(), None),
    };
    let Some(concurrency) = &route.concurrency else { return (kept, known) };
    let count = known.iter().map(|(_, number)| number + 1).max().unwrap_or(1);
    let setup = Setup { max: concurrency.max, queue: concurrency.queue, accounts: count };
    if let Some(gates) = kept {
        gates.reconfigure(&setup, concurrency.learn, now);
        if let Gates::Accounts(gate) = &*gates {
            let gone = known.iter().filter(|(account, _)| !accounts.contains(account));
            gate.retire(gone.fold(AccountSet::NONE, |all, (_, number)| all.with(*number)));
        }
        return (Some(gates), known);
    }
    let gates = if accounts.is_empty() {
        let sharing = fleet.map(|fleet| Sharing { fleet: Arc::clone(fleet), route: route.name.clone() });
        Gates::of_keys(setup, concurrency.learn, sharing)
    } else {
        Gates::of_accounts(&setup, concurrency.learn)
    };
    (Some(gates), known)
}

/// The accounts that a gate knows, these among them: each has its old number, or else the first that is nobody's, or that of one which
/// is gone with its last call. None when there are no more.
fn known(accounts: &[u64], before: &[(u64, usize)], gates: &Gates) -> Option<Vec<(u64, usize)>> {
    let mut known = before.to_vec();
    let Gates::Accounts(gate) = gates else { return Some(known) };
    for account in accounts {
        if known.iter().any(|(other, _)| other == account) {
            continue;
        }
        let is_free = |number: &usize| known.iter().all(|(_, taken)| taken != number);
        let number = (0..AccountSet::MOST).find(is_free).or_else(|| {
            let is_idle = |number| gate.demand(number).in_use == 0 && gate.demand(number).waiting == 0;
            let is_gone = |(account, number): &(u64, usize)| !accounts.contains(account) && is_idle(*number);
            let at = known.iter().position(is_gone)?;
            let (_, number) = known.remove(at);
            gate.replace(number);
            Some(number)
        })?;
        known.push((*account, number));
    }
    Some(known)
}
