//! Slots by credential: the gates of a route or an account, and the numbers by which gates know credentials.

use super::gates::{Gates, Sharing};
use crate::config::types::Concurrency;
use crate::limit::gate::{AccountSet, Gate, Permit, Setup};
use std::sync::Arc;
use std::time::Instant;

/// The gates, which outlive a configuration.
#[derive(Default)]
pub(super) struct Plan {
    /// Kept while calls are temporarily not limited; none when they never were.
    pub(super) gates: Option<Arc<Gates>>,
    /// The numbers by which a gate knows the credentials, by index in the configuration: a number stays the same when a reload
    /// moves the credentials.
    pub(super) numbers: Vec<usize>,
    /// Every credential that the gate has known, with its number. The calls of a credential that a reload removes keep its number
    /// until they end, and count for it again if a later reload restores it.
    known: Vec<(u64, usize)>,
    /// Whether clients bring the keys.
    by_key: bool,
}

impl Plan {
    /// The slots of these credentials, or of the clients' own keys if there are none. Existing gates are kept and resized, and a
    /// credential keeps its number wherever it is in the configuration.
    pub(super) fn new(
        concurrency: Option<&Concurrency>,
        credentials: &[u64],
        sharing: impl FnOnce() -> Option<Sharing>,
        old: Option<&Plan>,
        now: Instant,
    ) -> Plan {
        let by_key = credentials.is_empty();
        let kept = old.and_then(|old| Some((old, old.gates.clone()?))).filter(|(old, _)| old.by_key == by_key);
        let kept = kept.and_then(|(old, gates)| Some((known(credentials, &old.known, &gates)?, gates)));
        let (known, kept) = match kept {
            Some((known, gates)) => (known, Some(gates)),
            None => (credentials.iter().copied().zip(0..).collect(), None),
        };
        let number = |one: &u64| known.iter().find(|(other, _)| other == one).map(|(_, number)| *number);
        let numbers = credentials.iter().filter_map(number).collect();
        let Some(concurrency) = concurrency else { return Plan { gates: kept, numbers, known, by_key } };
        let count = known.iter().map(|(_, number)| number + 1).max().unwrap_or(1);
        let setup = Setup { max: concurrency.max, queue: concurrency.queue, accounts: count };
        let gates = match kept {
            Some(gates) => {
                gates.reconfigure(&setup, concurrency.learn, now);
                if let Gates::Accounts(gate) = &*gates {
                    let gone = known.iter().filter(|(one, _)| !credentials.contains(one));
                    gate.retire(gone.fold(AccountSet::NONE, |all, (_, number)| all.with(*number)));
                }
                gates
            }
            None if by_key => Gates::of_keys(setup, concurrency.learn, sharing()),
            None => Gates::of_accounts(&setup, concurrency.learn),
        };
        Plan { gates: Some(gates), numbers, known, by_key }
    }

    /// The gate of all credentials; none if calls are not limited, or each client key has one.
    pub(super) fn gate(&self) -> Option<&Arc<Gate>> {
        match self.gates.as_deref()? {
            Gates::Accounts(gate) => Some(gate),
            Gates::Keys(_) => None,
        }
    }

    /// The gate's numbers of these credentials; each client key has a gate with a single number.
    pub(super) fn numbers_of(&self, credentials: AccountSet) -> AccountSet {
        if self.numbers.is_empty() {
            return AccountSet::only(0);
        }
        let numbers = self.numbers.iter().enumerate().filter(|(place, _)| credentials.contains(*place));
        numbers.fold(AccountSet::NONE, |all, (_, number)| all.with(*number))
    }

    /// The credential of a slot, by its index in the configuration.
    pub(super) fn place_of(&self, permit: &Permit) -> usize {
        self.numbers.iter().position(|number| *number == permit.account()).unwrap_or_default()
    }

    /// Counts the calls of these slots as well, where their credentials are the same.
    pub(super) fn inherit(&self, from: &Plan) {
        let (Some(gate), Some(other)) = (self.gate(), from.gate()) else { return };
        for (credential, number) in &from.known {
            if let Some((_, own)) = self.known.iter().find(|(one, _)| one == credential) {
                gate.inherit(*own, other, *number);
            }
        }
    }

    /// Whether these are the slots of one of these credentials.
    pub(super) fn knows(&self, credentials: &[u64]) -> bool {
        self.known.iter().any(|(one, _)| credentials.contains(one))
    }
}

/// The credentials that a gate knows, including these: each has its old number, or else the first unused one, or that of a
/// credential without any calls. None when numbers run out.
fn known(credentials: &[u64], before: &[(u64, usize)], gates: &Gates) -> Option<Vec<(u64, usize)>> {
    let mut known = before.to_vec();
    let Gates::Accounts(gate) = gates else { return Some(known) };
    for one in credentials {
        if known.iter().any(|(other, _)| other == one) {
            continue;
        }
        let is_free = |number: &usize| known.iter().all(|(_, taken)| taken != number);
        let number = (0..AccountSet::MOST).find(is_free).or_else(|| {
            let is_idle = |number| gate.demand(number).in_use == 0 && gate.demand(number).waiting == 0;
            let is_gone = |(one, number): &(u64, usize)| !credentials.contains(one) && is_idle(*number);
            let at = known.iter().position(is_gone)?;
            let (_, number) = known.remove(at);
            gate.replace(number);
            Some(number)
        })?;
        known.push((*one, number));
    }
    Some(known)
}
