//! Rate limits: requests per time, for each value of a limit's key. They reject at once and never wait.
//!
//! Limits for some requests are checked before those for all, so that a rejection names the narrowest. Charges are refunded
//! unless the request is sent: a request that is rejected, or whose client leaves the queue, uses up nothing.

use super::cost::Costs;
use super::counted::SharedCharge;
use super::refusal::Place;
use super::subject::Subject;
use super::{Denied, Refusal, refusal};
use crate::canon::Profile;
use crate::config::types::{Cost, LimitKey, RateLimit};
use crate::fleet::Check;
use crate::limit::Keys;
use crate::limit::rate::{Quota, Rate};
use crate::proxy::RequestBody;
use crate::proxy::path::decode;
use crate::proxy::request_body::Meter;
use http::HeaderMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The rate limits of a route, in the order in which they are checked.
#[derive(Default)]
pub(super) struct Rates(pub(super) Vec<Entry>);

/// One limit, and its counts.
pub(super) struct Entry {
    pub(super) limit: RateLimit,
    /// Its position in the configuration, by which header fields name it.
    pub(super) place: Place,
    pub(super) rate: Arc<Rate>,
}

/// The charges of a request; refunded when this is dropped before it is kept.
#[derive(Default)]
pub(crate) struct Charges {
    /// Charges to local limits.
    pub(super) here: Vec<(Arc<Rate>, u64, NonZeroU32)>,
    /// Charges to the fleet.
    pub(super) fleet: Option<SharedCharge>,
    /// What is left of each limit, in the words of headers, where the route says so.
    pub(super) left: Option<Box<HeaderMap>>,
    /// What the fleet has not heard of.
    pub(super) owed: Option<SharedCharge>,
}

impl Rates {
    /// Limits that count the same as old ones keep their counts: unchanged if their numbers are equal, and otherwise converted as
    /// far as possible.
    pub(super) fn new(limits: &[RateLimit], of_account: bool, old: Option<&Rates>, now: Instant) -> Rates {
        let mut old: Vec<&Entry> = old.into_iter().flat_map(|old| &old.0).collect();
        let mut rates: Vec<Option<Arc<Rate>>> = vec![None; limits.len()];
        for exactly in [true, false] {
            for (rate, limit) in rates.iter_mut().zip(limits).filter(|(rate, _)| rate.is_none()) {
                let same = |entry: &&Entry| entry.counts_as(limit) && (!exactly || entry.quota() == quota(limit));
                let Some(at) = old.iter().position(same) else { continue };
                let entry = old.remove(at);
                if !exactly {
                    entry.rate.reconfigure(quota(limit), now);
                }
                *rate = Some(Arc::clone(&entry.rate));
            }
        }
        let entry = |(index, (limit, rate)): (usize, (&RateLimit, Option<Arc<Rate>>))| Entry {
            limit: limit.clone(),
            place: Place { number: index + 1, of_account },
            rate: rate.unwrap_or_else(|| Arc::new(Rate::new(quota(limit), now))),
        };
        let mut entries: Vec<Entry> = limits.iter().zip(rates).enumerate().map(entry).collect();
        entries.sort_by_key(|entry| entry.limit.matches.is_none());
        Rates(entries)
    }

    pub(super) fn sweep(&self, now: Instant) {
        self.0.iter().for_each(|entry| entry.rate.sweep(now));
    }
}

/// Charges a request to each of these limits that counts it.
pub(super) async fn charge<'e>(
    entries: impl Iterator<Item = &'e Entry> + Send,
    keys: &Keys,
    subject: &Subject<'_>,
    profile: &Profile,
    (upload, (begun, tells)): (&mut RequestBody, (Instant, bool)),
) -> Result<Charges, Denied> {
    let mut charges = Charges::default();
    let mut costs = Costs::new(profile, subject);
    for entry in entries {
        let Some(key) = entry.key(keys, subject.credential.key, subject) else { continue };
        let (cost, more) = costs.of(entry.limit.cost, upload).await?;
        if more {
            upload.meter(meter(&entry.rate, key));
        }
        let Some(cost) = NonZeroU32::new(u32::try_from(cost).unwrap_or(u32::MAX)) else { continue };
        // Reading the body may have taken long.
        let now = if entry.limit.cost == Cost::Requests { begun } else { now() };
        match entry.rate.check(key, cost, now) {
            Err(refused) => return Err(Refusal::of_rate(&entry.limit, entry.place, cost.get(), refused).into()),
            Ok(left) if tells => refusal::tell(charges.left.get_or_insert_default(), &entry.limit, entry.place, left),
            Ok(_) => {}
        }
        charges.here.push((Arc::clone(&entry.rate), key, cost));
    }
    Ok(charges)
}

impl Entry {
    /// Whether its cost depends on the body.
    pub(super) fn reads_bodies(&self) -> bool {
        matches!(self.limit.cost, Cost::TextCharacters | Cost::BodyBytes)
    }

    /// Whether this limit counts the same requests by the same key.
    fn counts_as(&self, limit: &RateLimit) -> bool {
        let same = |one: &RateLimit| (one.matches.clone(), one.key.clone(), one.cost);
        same(&self.limit) == same(limit)
    }

    /// The check that the fleet makes for a request.
    pub(super) fn check(&self, key: u64, name: u64, cost: NonZeroU32) -> Check {
        let Place { number: limit, of_account } = self.place;
        Check { limit, of_account, key, name, quota: self.quota(), cost }
    }

    pub(super) fn quota(&self) -> Quota {
        quota(&self.limit)
    }

    /// The key under which a request is counted; none when this limit does not count it.
    pub(super) fn key(&self, keys: &Keys, credential: u64, subject: &Subject<'_>) -> Option<u64> {
        let of_account = self.place.of_account;
        // An account counts under its own name, whatever the route, and by the paths at the provider, which its routes have in
        // common.
        let path = if of_account { subject.provider_path } else { subject.path };
        let key = self.key_at(path, keys, credential, subject)?;
        Some(if of_account { keys.of((credential, key)) } else { key })
    }

    fn key_at(&self, path: &str, keys: &Keys, credential: u64, subject: &Subject<'_>) -> Option<u64> {
        let template = self.limit.matches.as_ref();
        if let (Some(template), LimitKey::PathParameter(name)) = (template, &self.limit.key) {
            // In any encoding: the template compares decoded paths.
            let value = template.capture(subject.method, path, name);
            return value.map(|value| keys.of(decode(value.as_bytes())));
        }
        if template.is_some_and(|template| !template.matches(subject.method, path)) {
            return None;
        }
        Some(match &self.limit.key {
            LimitKey::Route | LimitKey::PathParameter(_) => keys.together(),
            LimitKey::Header(name) => keys.of(subject.headers.get(name).map(http::HeaderValue::as_bytes)),
            LimitKey::ClientIp => keys.of(subject.address),
            LimitKey::Credential => credential,
        })
    }
}

impl Charges {
    /// The request goes out. Gives what is left of each limit, where the route says so.
    pub(crate) fn keep(mut self) -> Option<Box<HeaderMap>> {
        self.here.clear();
        self.fleet = None;
        if let Some(owed) = self.owed.take() {
            owed.fleet.owe(&owed.route, &owed.checks);
        }
        self.left.take()
    }
}

impl Drop for Charges {
    fn drop(&mut self) {
        for (rate, key, cost) in self.here.drain(..) {
            rate.give_back(key, cost);
        }
        if let Some(shared) = self.fleet.take() {
            shared.give_back();
        }
    }
}

/// A rate limit of a tenant.
pub(crate) fn new_rate(limit: &RateLimit, now: Instant) -> Rate {
    Rate::new(quota(limit), now)
}

/// Charges one request to such a limit.
///
/// # Errors
/// The rejection when it is exceeded.
pub(crate) fn check_tenant_rate(limit: &RateLimit, number: usize, rate: &Rate, now: Instant) -> Result<(), Denied> {
    let checked = rate.check(0, NonZeroU32::MIN, now);
    checked.map(drop).map_err(|refused| Refusal::of_tenant(limit, number, refused).into())
}

fn quota(limit: &RateLimit) -> Quota {
    // The configuration guarantees that both are at least one.
    let amount = NonZeroU32::new(limit.requests).unwrap_or(NonZeroU32::MIN);
    let burst = NonZeroU32::new(limit.burst).unwrap_or(NonZeroU32::MIN);
    Quota { amount, per: limit.per.max(Duration::from_nanos(1)), burst }
}

/// Charges bytes as they arrive, until the limit is reached.
pub(super) fn meter(rate: &Arc<Rate>, key: u64) -> Meter {
    let rate = Arc::clone(rate);
    Box::new(move |bytes| {
        let cost = NonZeroU32::new(u32::try_from(bytes).unwrap_or(u32::MAX));
        cost.is_none_or(|cost| rate.check(key, cost, now()).is_ok())
    })
}

pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
