//! The accounts of a route, one for each of its credentials: the number of calls of each, and which are set aside because the
//! provider refused them.

use super::policy::{is_broken, is_refused_account};
use crate::canon::CanonicalError;
use crate::limit::AccountSet;
use serde::Serialize;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long an account is set aside the first time; each further refusal doubles it.
pub(crate) const FIRST: Duration = Duration::from_secs(30);
/// The longest that it is set aside.
pub(crate) const LONGEST: Duration = Duration::from_secs(600);

/// The accounts, by the index of their credentials in the configuration.
#[derive(Debug)]
pub(crate) struct Accounts(Vec<Arc<Account>>);

/// One account.
#[derive(Debug, Default)]
pub(crate) struct Account {
    calls: AtomicU32,
    aside: Mutex<Aside>,
}

#[derive(Debug, Default)]
struct Aside {
    /// How many times in a row it was refused.
    times: u32,
    /// When it is tried again, if it was refused.
    until: Option<Instant>,
    /// Whether a call is trying it again.
    probing: bool,
}

/// The state of an account, for the status page. It never shows the key.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AccountView {
    /// Its index in `credentials`, from 0.
    pub index: usize,
    /// Calls that use it now.
    pub calls: u32,
    /// Seconds until it is tried again; none when it is in use.
    pub set_aside_seconds: Option<f64>,
}

/// A call's use of an account, until it is dropped.
#[derive(Debug)]
pub(crate) struct AccountGuard {
    account: Arc<Account>,
    index: usize,
    /// Whether the account was set aside already when the call began: the response then decides about it.
    aside: bool,
    /// Whether this call is the probe of the account.
    probe: bool,
}

impl Accounts {
    pub(crate) fn new(accounts: impl IntoIterator<Item = Arc<Account>>) -> Accounts {
        Accounts(accounts.into_iter().collect())
    }

    /// Whether the route has no accounts, because clients bring their own keys.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Arc<Account>> {
        self.0.get(index)
    }

    /// The usable accounts: neither set aside nor being probed. When there are none, the one that is due first.
    pub(crate) fn usable(&self, now: Instant) -> AccountSet {
        let usable = self.in_force(now);
        if !usable.is_empty() {
            return usable;
        }
        let due = self.0.iter().enumerate().filter_map(|(index, account)| Some((account.lock().until?, index)));
        due.min().map_or(AccountSet::NONE, |(_, index)| AccountSet::only(index))
    }

    /// The usable accounts; none when all are set aside.
    pub(crate) fn in_force(&self, now: Instant) -> AccountSet {
        let usable = self.0.iter().enumerate().filter(|(_, account)| account.lock().is_usable(now));
        usable.fold(AccountSet::NONE, |accounts, (index, _)| accounts.with(index))
    }

    /// Uses the one of these with the fewest calls.
    pub(crate) fn least_used(&self, accounts: AccountSet, now: Instant) -> Option<AccountGuard> {
        let among = self.0.iter().enumerate().filter(|(index, _)| accounts.contains(*index));
        let (index, _) = among.min_by_key(|(_, account)| account.calls.load(Relaxed))?;
        self.enter(index, now)
    }

    /// Uses this account.
    pub(crate) fn enter(&self, index: usize, now: Instant) -> Option<AccountGuard> {
        let account = Arc::clone(self.0.get(index)?);
        let _ = account.calls.fetch_add(1, Relaxed);
        let (aside, probe) = {
            let mut state = account.lock();
            let aside = state.until.is_some();
            let probe = aside && state.is_usable(now);
            state.probing |= probe;
            (aside, probe)
        };
        Some(AccountGuard { account, index, aside, probe })
    }

    pub(crate) fn view(&self, now: Instant) -> Vec<AccountView> {
        let view = |(index, account): (usize, &Arc<Account>)| AccountView {
            index,
            calls: account.calls.load(Relaxed),
            set_aside_seconds: account.lock().until.map(|until| until.saturating_duration_since(now).as_secs_f64()),
        };
        self.0.iter().enumerate().map(view).collect()
    }
}

impl Account {
    /// No code panics while it holds this lock.
    fn lock(&self) -> MutexGuard<'_, Aside> {
        self.aside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Aside {
    fn is_usable(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now && !self.probing)
    }
}

impl AccountGuard {
    /// The index of the account.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Records an error, of the response or in the middle of it.
    pub(crate) fn record_error(&mut self, error: &CanonicalError) {
        if is_refused_account(error) {
            self.set_aside(tokio::time::Instant::now().into_std());
        } else if error.fault.is_none() && !is_broken(error.code, error.origin) {
            self.accepted();
        }
    }

    /// The provider accepted the account. A call that began before the account was set aside does not restore it.
    pub(crate) fn accepted(&mut self) {
        self.probe = false;
        let mut state = self.account.lock();
        if self.aside || state.until.is_none() {
            *state = Aside::default();
        }
    }

    /// The provider refused the account: it is set aside. If several calls are refused together, one counts.
    pub(crate) fn set_aside(&mut self, now: Instant) {
        let probe = std::mem::take(&mut self.probe);
        let mut aside = self.account.lock();
        if aside.until.is_some() && !probe {
            return;
        }
        let wait = FIRST.saturating_mul(1 << aside.times.min(16)).min(LONGEST);
        *aside = Aside { times: aside.times + 1, until: Some(now + wait), probing: false };
    }
}

impl Drop for AccountGuard {
    fn drop(&mut self) {
        let _ = self.account.calls.fetch_sub(1, Relaxed);
        if self.probe {
            // The probe ended without a result: the next call probes.
            self.account.lock().probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(count: usize) -> Accounts {
        Accounts::new((0..count).map(|_| Arc::default()))
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn the_least_used_is_used() {
        let (accounts, now) = (accounts(3), Instant::now());
        let least = || accounts.least_used(accounts.usable(now), now).expect("an account");
        let (first, second, third) = (least(), least(), least());
        assert_eq!([first.index(), second.index(), third.index()], [0, 1, 2]);
        drop(second);
        assert_eq!(least().index(), 1);
        drop((first, third));
        assert!(accounts.view(now).iter().all(|account| account.calls == 0));
    }

    #[test]
    fn a_refused_account_is_set_aside_ever_longer_until_a_probe_succeeds() {
        let (accounts, mut now) = (accounts(2), Instant::now());
        let mut rests = Vec::new();
        accounts.enter(0, now).expect("an account").set_aside(now);
        for _ in 0..6 {
            assert!(!accounts.usable(now).contains(0));
            let rest = accounts.view(now)[0].set_aside_seconds.expect("set aside");
            rests.push(rest.round() as u64);
            now += Duration::from_secs_f64(rest) + Duration::from_millis(1);
            let mut probe = accounts.enter(0, now).expect("due");
            assert!(!accounts.usable(now).contains(0), "one probe at a time");
            probe.set_aside(now);
        }
        assert_eq!(rests, [30, 60, 120, 240, 480, 600]);
        now += LONGEST;
        accounts.enter(0, now).expect("due").accepted();
        assert!(accounts.usable(now).contains(0) && accounts.view(now)[0].set_aside_seconds.is_none());
        accounts.enter(0, now).expect("an account").set_aside(now);
        assert_eq!(accounts.view(now)[0].set_aside_seconds.map(f64::round), Some(30.0), "it begins anew");
    }

    #[test]
    fn a_probe_without_a_result_lets_the_next_call_probe() {
        let (accounts, now) = (accounts(2), Instant::now());
        accounts.enter(0, now).expect("an account").set_aside(now);
        let later = now + FIRST;
        drop(accounts.enter(0, later).expect("due"));
        assert!(accounts.usable(later).contains(0));
    }

    #[test]
    fn calls_refused_together_count_once() {
        let (accounts, now) = (accounts(2), Instant::now());
        let mut together: Vec<AccountGuard> = (0..5).filter_map(|_| accounts.enter(0, now)).collect();
        together.iter_mut().for_each(|guard| guard.set_aside(now));
        assert_eq!(accounts.view(now)[0].set_aside_seconds.map(f64::round), Some(30.0));
    }

    #[test]
    fn a_call_from_before_does_not_restore_an_account() {
        let (accounts, now) = (accounts(2), Instant::now());
        let [mut before, mut refused] = [(); 2].map(|()| accounts.enter(0, now).expect("an account"));
        refused.set_aside(now);
        before.accepted();
        assert!(!accounts.usable(now).contains(0));
        // A call that used it although it was set aside, for want of another, does restore it.
        accounts.enter(0, now).expect("an account").accepted();
        assert!(accounts.usable(now).contains(0));
    }

    #[test]
    fn when_all_are_set_aside_the_one_due_first_is_used() {
        let (accounts, now) = (accounts(3), Instant::now());
        for (index, after) in [(0, 5), (1, 1), (2, 9)] {
            let now = now + seconds(after);
            accounts.enter(index, now).expect("an account").set_aside(now);
        }
        let later = now + seconds(10);
        assert_eq!(accounts.usable(later), AccountSet::only(1));
        assert!(accounts.in_force(later).is_empty());
    }
}
