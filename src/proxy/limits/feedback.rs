//! What the provider's responses mean for the limits of a route.
//!
//! A 429 can mean three things. For lack of a slot, the learned cap shrinks and later calls queue. For too many requests, all
//! requests with the same credential back off; so do similar requests when the provider is unavailable, unless the route has
//! another upstream. An exhausted quota causes no backoff, because waiting would not help.

use super::{Credential, RouteLimits, Slot};
use crate::canon::{CanonicalError, Code, Origin, Type};
use crate::config::types::WaitScope;
use crate::limit::backoff::{Probe, Reach};
use crate::limit::gate::{Claim, Priority};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The longest pause for lack of a slot: a plan is full until one of its calls ends, and nobody can predict when that is.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long a credential that was refused on a socket opens no other: as long as clients usually retry, but no longer than
/// somebody who has just paid is willing to wait.
const TURNED_AWAY: Duration = Duration::from_secs(5);

/// What the limits of a route have granted a call.
#[derive(Default)]
pub struct Admission {
    /// Its slot, until its last byte.
    permit: Option<Slot>,
    /// Set if the call is a probe during a backoff.
    probe: Option<Probe<Code>>,
    /// The key of the client's credential.
    credential: Credential,
    /// The index of the account that it uses.
    account: usize,
    /// Its claim in a queue, should it need another slot.
    claim: Option<Claim>,
}

impl Admission {
    /// A call with this key and claim, which uses this account.
    #[must_use]
    pub fn new(credential: impl Into<Credential>, claim: impl Into<Claim>, account: usize) -> Admission {
        Admission { credential: credential.into(), account, claim: Some(claim.into()), ..Admission::default() }
    }

    /// Sets its slot.
    pub fn has(&mut self, permit: Option<Slot>) {
        self.permit = permit;
    }

    /// Sets whether it is a probe.
    pub fn tries(&mut self, probe: Option<Probe<Code>>) {
        self.probe = probe;
    }

    /// Whether it is a probe.
    pub fn is_probe(&self) -> bool {
        self.probe.is_some()
    }

    /// The key of the client's credential.
    pub fn credential(&self) -> Credential {
        self.credential
    }

    /// What its backoffs are keyed by, besides the path: its account and the key of its credential.
    pub(super) fn places(&self) -> (usize, u64) {
        (self.account, self.credential.key)
    }

    /// Its claim for slots.
    pub fn claim(&self) -> Claim {
        self.claim.unwrap_or(Claim { priority: Priority::Normal, tenant: None })
    }

    /// The call changes to another account, and releases the slot of the old one. Returns the claim for a new slot; none when it
    /// needs none.
    pub fn moves(&mut self, account: usize) -> Option<Claim> {
        if self.account == account {
            return None;
        }
        (self.account, self.probe) = (account, None);
        self.permit.take().and(self.claim)
    }

    /// The call has ended.
    pub fn end(&mut self) {
        (self.permit, self.probe) = (None, None);
    }
}

impl RouteLimits {
    /// The head of the provider's response has arrived: its concurrency headers count, and a success confirms a probe.
    pub fn answered(&self, admission: &mut Admission, status: u16, headers: &HeaderMap) {
        if status < 400
            && let Some(probe) = admission.probe.take()
        {
            probe.open();
        }
        let Some(permit) = admission.permit.as_ref().filter(|_| self.learns()) else { return };
        let now = Instant::now().into_std();
        let said = |name: &Option<HeaderName>| number(headers.get(name.as_ref()?)?);
        if let Some(limit) = said(&self.limit_header) {
            permit.reported(limit, said(&self.current_header), now);
        }
        if status < 400 {
            permit.succeeded(now);
        }
    }

    /// The provider failed a call to this path, in a response or in the middle of one.
    pub fn failed(&self, admission: &mut Admission, path: &str, error: &CanonicalError) {
        // A request that was never admitted was sent without a key, so its response affects no other request.
        if error.origin != Origin::Provider || admission.claim.is_none() {
            return;
        }
        let now = Instant::now();
        let wait = error.retry_after.filter(|wait| error.retryable && !wait.is_zero());
        match (error.code.kind(), wait) {
            (Type::ConcurrencyLimited, wait) => self.want_of_slots(admission, wait, now),
            (Type::Unavailable, Some(_)) if self.elsewhere => open(admission),
            (Type::RateLimited | Type::Unavailable, Some(wait)) if self.route.waits.enabled => {
                let keys = self.backoff_keys(admission.account, admission.credential.key, path);
                let wait = wait.min(self.route.waits.max_hold);
                self.backoffs.refused(keys, self.reach(error.code), error.code, wait, now.into_std());
                // Until the new backoff ends there is no other probe.
                admission.probe = None;
            }
            _ => open(admission),
        }
    }

    /// The provider refused the credential of an open socket.
    pub(crate) fn turn_away(&self, admission: &Admission, path: &str, error: &CanonicalError) {
        // Clients without a known key may each have one in their first message.
        let known = !self.accounts.is_empty() || admission.credential.key != self.keys.of(<&[u8]>::default());
        if self.route.waits.enabled && known {
            let place = self.backoff_keys(admission.account, admission.credential.key, path);
            let wait = TURNED_AWAY.min(self.route.waits.max_hold);
            self.turned_away.refused(place, Reach::Credential, error.code, wait, Instant::now().into_std());
        }
    }

    /// Work on a socket with this slot has ended, successfully or with this error of the provider.
    pub(crate) fn settled(&self, mut permit: Slot, error: Option<&CanonicalError>) {
        let now = Instant::now();
        let refused = error.filter(|error| error.code.kind() == Type::ConcurrencyLimited);
        if refused.is_some() {
            permit.found_none(self.settle_time(), now.into_std());
        }
        match refused {
            Some(_) if self.learns() => permit.refused(now.into_std()),
            None if self.learns() && error.is_none() => permit.succeeded(now.into_std()),
            Some(_) | None => {}
        }
        let wait = refused.and_then(|error| error.retry_after).filter(|wait| !wait.is_zero());
        if let Some(wait) = wait {
            self.pause(&mut permit, wait, now);
        }
    }

    fn want_of_slots(&self, admission: &mut Admission, wait: Option<Duration>, now: Instant) {
        open(admission);
        let Some(permit) = &mut admission.permit else { return };
        permit.found_none(self.settle_time(), now.into_std());
        if self.learns() {
            permit.refused(now.into_std());
        }
        if let Some(wait) = wait {
            self.pause(permit, wait, now);
        }
    }

    /// Which requests back off after this code.
    fn reach(&self, code: Code) -> Reach {
        match (code, self.route.waits.scope) {
            (Code::PollRateLimited, _) | (_, WaitScope::Path) => Reach::Path,
            (_, WaitScope::Credential) => Reach::Credential,
            (code, WaitScope::Auto) if code.kind() == Type::Unavailable => Reach::Template,
            (_, WaitScope::Auto) => Reach::Credential,
        }
    }

    /// Grants no new slots until one of the calls at the provider has ended, or this time is over.
    fn pause(&self, permit: &mut Slot, wait: Duration, now: Instant) {
        if !self.route.waits.enabled {
            return;
        }
        let until = now + wait.min(LONGEST_PAUSE);
        if !permit.pause(until.into_std()) {
            return;
        }
        let gate = Arc::downgrade(permit.gate());
        // Not joined: it ends by itself, and is harmless if the pause has ended before.
        drop(tokio::spawn(async move {
            tokio::time::sleep_until(until).await;
            if let Some(gate) = gate.upgrade() {
                // The current time and not `until`: if this runs late, a share of the fleet may have expired.
                gate.wake(Instant::now().into_std());
            }
        }));
    }

    /// A call was cancelled after it was sent. Its connection is closed, but the provider notices that a little later: until then
    /// its slot stays taken.
    pub fn settle(&self, admission: &mut Admission) {
        // Without a runtime the process is ending.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let Some(permit) = admission.permit.take_if(|_| !self.settle_time().is_zero()) else { return };
        let settle = permit.settles(self.settle_time(), Instant::now().into_std());
        drop(runtime.spawn(async move {
            tokio::time::sleep(settle).await;
            permit.has_settled(Instant::now().into_std());
        }));
    }

    /// The settle time of a slot, unless that has proved too short.
    fn settle_time(&self) -> Duration {
        self.concurrency().map_or(Duration::ZERO, |concurrency| concurrency.settle)
    }

    fn learns(&self) -> bool {
        self.concurrency().is_some_and(|concurrency| concurrency.learn)
    }
}

/// The provider responded without a Retry-After.
fn open(admission: &mut Admission) {
    if let Some(probe) = admission.probe.take() {
        probe.open();
    }
}

fn number(value: &HeaderValue) -> Option<u32> {
    value.to_str().ok()?.trim().parse().ok()
}
