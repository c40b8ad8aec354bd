//! `[[accounts]]`, and what a route says of its account

use super::Reader;
use super::credentials::credentials;
use super::limits;
use crate::canon::Profile;
use crate::config::path::Path;
use crate::config::problem::Findings;
use crate::config::raw;
use crate::config::types::{Account, Credentials};
use crate::config::values;
use std::collections::HashMap;
use std::sync::Arc;

/// The accounts as routes look for them.
pub(super) struct Accounts<'a> {
    raw: &'a [raw::Account],
    pub(super) all: Vec<Arc<Account>>,
}

/// All accounts; each on its own, then against each other.
pub(super) fn accounts<'a>(raw: &'a [raw::Account], findings: &mut Findings) -> Accounts<'a> {
    unique_names(raw, findings);
    let each = raw.iter().enumerate();
    let all: Vec<Arc<Account>> = each.filter_map(|(index, raw)| account(index, raw, findings)).map(Arc::new).collect();
    unique_credentials(raw, &all, findings);
    Accounts { raw, all }
}

fn account(index: usize, raw: &raw::Account, findings: &mut Findings) -> Option<Account> {
    let path = Path::of("accounts").index(index);
    let credentials = credentials(raw.credentials.as_ref(), &path.key("credentials"), findings);
    let here = path.key("concurrency");
    let concurrency = raw.concurrency.as_ref().and_then(|raw| limits::concurrency(raw, &here, findings));
    let rate_limits = limits::rate_limits(&raw.rate_limits, None, &path.key("rate_limits"), findings);
    let waits = limits::waits(&raw.waits, &path.key("waits"), findings);
    let mut reader = Reader { path, findings };
    let name = reader.read("name", raw.name.as_deref(), |text| values::name(text).map(|()| text.to_owned()));
    Some(Account { name: name?, index, credentials, concurrency, rate_limits, waits })
}

fn unique_names(raw: &[raw::Account], findings: &mut Findings) {
    let mut seen = HashMap::new();
    for (index, name) in raw.iter().enumerate().filter_map(|(index, raw)| Some((index, raw.name.as_deref()?))) {
        let first = *seen.entry(name).or_insert(index);
        if first != index {
            let path = Path::of("accounts").index(index).key("name");
            let what = format!("{} is already the name of `accounts[{first}]`", findings.quote(&path, name));
            findings.value(&path, what).expected("a name of its own");
        }
    }
}

/// One plan that is two accounts would be counted as if it were two plans.
fn unique_credentials(raw: &[raw::Account], all: &[Arc<Account>], findings: &mut Findings) {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for account in all {
        let path = Path::of("accounts").index(account.index).key("credentials");
        for (at, one) in account.credentials.iter().enumerate() {
            let first = *seen.entry(one.value.reveal()).or_insert(account.index);
            if first != account.index {
                let what = format!("the same credentials as those of `accounts[{first}]`");
                let path = value_of(raw.get(account.index).and_then(|raw| raw.credentials.as_ref()), at, &path);
                findings.value(&path, what).expected("one account, which all its routes name");
            }
        }
    }
}

/// Where the value of one of these credentials stands.
pub(in crate::config) fn value_of(raw: Option<&raw::CredentialsList>, at: usize, path: &Path) -> Path {
    match raw {
        Some(raw::CredentialsList::Many(_)) => path.index(at).key("value"),
        Some(raw::CredentialsList::One(_)) | None => path.key("value"),
    }
}

impl Accounts<'_> {
    /// The account that a route names; none when it names none, or one that is not there.
    pub(super) fn of(&self, route: &raw::Route, path: &Path, findings: &mut Findings) -> Option<Arc<Account>> {
        let name = route.account.as_ref()?.0.as_str();
        let path = path.key("account");
        if route.credentials.is_some() {
            findings.key(&path, "stands beside `credentials`").expected("one of the two");
        }
        let names = || self.raw.iter().filter_map(|raw| raw.name.as_deref());
        if !names().any(|other| other == name) {
            let what = format!("{} is the name of no account", findings.quote(&path, name));
            findings.value(&path, what).expected("the name of one of `[[accounts]]`").nearest(name, names());
        }
        self.all.iter().find(|account| account.name == name).cloned()
    }

    /// What the rate limits of an account count has to be known to the profile of each of its routes.
    pub(super) fn are_counted_by(&self, account: &Account, profile: &Profile, findings: &mut Findings) {
        let Some(raw) = self.raw.get(account.index) else { return };
        let path = Path::of("accounts").index(account.index).key("rate_limits");
        limits::are_counted_by(&raw.rate_limits, profile, &path, findings);
    }
}

/// The credentials of a route: its account's, or its own.
pub(super) fn credentials_of(
    account: Option<&Arc<Account>>,
    raw: &raw::Route,
    path: &Path,
    findings: &mut Findings,
) -> Vec<Credentials> {
    match account {
        Some(account) => account.credentials.clone(),
        None => credentials(raw.credentials.as_ref(), &path.key("credentials"), findings),
    }
}
