//! Rate limits that several gateways count together.
//!
//! All limits of a request are checked in one step at the backend. Without a response in time, each is checked locally against
//! this gateway's share of it. A share counts as used up as far as the whole was at the last response, so that nothing is granted
//! twice, and the backend is later told what was admitted without it. What a body without a declared length sends beyond the part
//! that was read ahead is counted locally only.

use super::cost::Costs;
use super::counted::SharedCharge;
use super::rates::{Charges, Entry, meter, now};
use super::subject::Subject;
use super::{Denied, Refusal, refusal};
use crate::config::types::Route;
use crate::fleet::{Check, Counted, Fleet, Uncounted};
use crate::limit::Keys;
use crate::limit::rate::Refused;
use crate::proxy::RequestBody;
use std::num::NonZeroU32;
use std::sync::Arc;

/// Charges a request to each of these limits that counts it.
pub(super) async fn charge<'e>(
    entries: impl Iterator<Item = &'e Entry> + Send,
    (fleet, keys): (&Arc<Fleet>, &Keys),
    route: &Route,
    subject: &Subject<'_>,
    upload: &mut RequestBody,
) -> Result<Charges, Denied> {
    let mut costs = Costs::new(&route.profile, subject);
    let mut asked = Vec::new();
    let (names, credential) = (fleet.keys(), subject.credential);
    for entry in entries {
        let Some(key) = entry.key(keys, credential.key, subject) else { continue };
        let Some(name) = entry.key(&names, names.of(credential.hidden), subject) else { continue };
        let (cost, more) = costs.of(entry.limit.cost, upload).await?;
        if more {
            upload.meter(meter(&entry.rate, key));
        }
        if let Some(cost) = NonZeroU32::new(u32::try_from(cost).unwrap_or(u32::MAX)) {
            asked.push((entry, entry.check(key, name, cost)));
        }
    }
    // A cost above the burst is rejected without asking the backend.
    if asked.is_empty() || asked.iter().any(|(_, check)| check.cost > check.quota.burst) {
        return here(fleet, &asked, route.rate_limit_headers);
    }
    let checks: Vec<Check> = asked.iter().map(|(_, check)| *check).collect();
    let counted = fleet.count(&route.name, &checks).await;
    let shared = SharedCharge { fleet: Arc::clone(fleet), route: route.name.clone(), checks };
    match counted {
        Err(uncounted) => {
            let mut charges = here(fleet, &asked, route.rate_limit_headers)?;
            charges.owed = Some(shared).filter(|_| uncounted == Uncounted::Unheard);
            Ok(charges)
        }
        Ok(counted) => {
            for ((entry, check), left) in asked.iter().zip(&counted.left) {
                entry.rate.mirror(check.key, left, now());
            }
            if let Some(refusal) = refused(&counted, &asked) {
                return Err(refusal.into());
            }
            let mut charges = Charges::default();
            charges.fleet = Some(shared);
            for ((entry, _), left) in asked.iter().zip(&counted.left).filter(|_| route.rate_limit_headers) {
                refusal::tell(charges.left.get_or_insert_default(), &entry.limit, entry.place, *left);
            }
            Ok(charges)
        }
    }
}

fn refused(counted: &Counted, asked: &[(&Entry, Check)]) -> Option<Refusal> {
    let (index, retry_after) = counted.refused?;
    let (left, (entry, check)) = (*counted.left.get(index)?, asked.get(index)?);
    Some(Refusal::of_rate(&entry.limit, entry.place, check.cost.get(), Refused::Later { retry_after, left }))
}

/// Charges a request locally, against this gateway's share of each limit.
fn here(fleet: &Fleet, asked: &[(&Entry, Check)], tells: bool) -> Result<Charges, Denied> {
    let mut charges = Charges::default();
    for (entry, Check { key, quota, cost, .. }) in asked {
        let now = now();
        let part = fleet.local_quota(quota);
        entry.rate.reconfigure(part, now);
        // A cost within the burst is capped at this gateway's share of it; one above the burst is always rejected.
        let cost = if cost > &quota.burst { *cost } else { (*cost).min(part.burst) };
        match entry.rate.check(*key, cost, now) {
            Err(refused) => return Err(Refusal::of_rate(&entry.limit, entry.place, cost.get(), refused).into()),
            Ok(left) if tells => refusal::tell(charges.left.get_or_insert_default(), &entry.limit, entry.place, left),
            Ok(_) => {}
        }
        charges.here.push((Arc::clone(&entry.rate), *key, cost));
    }
    Ok(charges)
}
