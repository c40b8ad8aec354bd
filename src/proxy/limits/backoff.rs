//! Backoff after a provider's Retry-After: which requests it affects, and the probe at its end.

use super::{Admission, Denied, Refusal, RouteLimits};
use crate::canon::{Code, Fault};
use crate::limit::backoff::{BackoffKeys, Backoffs, Pass, Probe};
use crate::limit::gate::AccountSet;
use crate::proxy::path;
use std::time::Duration;
use tokio::time::Instant;

impl RouteLimits {
    /// Which of these accounts a request to `path` with this key may use now, or probe. If none, it is rejected with the shortest
    /// wait.
    pub fn free(&self, accounts: AccountSet, credential: u64, path: &str) -> Result<AccountSet, Denied> {
        if !self.waits() {
            return Ok(accounts);
        }
        self.not_held(&self.backoffs, accounts, credential, path)
            .map_err(|(remaining, code)| Refusal::of_backoff(code, remaining).into())
    }

    /// Which of these accounts may open a socket: none that the provider refused on another socket a moment ago. A refused
    /// handshake stops clients that retry after any error in a session.
    pub(crate) fn may_open(&self, accounts: AccountSet, credential: u64, path: &str) -> Result<AccountSet, Denied> {
        if self.turned_away.count() == 0 || !self.route.waits.enabled {
            return Ok(accounts);
        }
        self.not_held(&self.turned_away, accounts, credential, path)
            .map_err(|(_, code)| Refusal::of_credential(code).into())
    }

    /// The accounts without a backoff; if all have one, an error with the backoff that ends first.
    fn not_held(
        &self,
        backoffs: &Backoffs<Code>,
        accounts: AccountSet,
        credential: u64,
        path: &str,
    ) -> Result<AccountSet, (Duration, Code)> {
        let now = Instant::now().into_std();
        let mut free = accounts;
        let mut shortest = None;
        for account in (0..self.accounts.len().max(1)).filter(|account| accounts.contains(*account)) {
            if let Some((code, remaining)) = backoffs.peek(self.backoff_keys(account, credential, path), now) {
                free = free.without(account);
                shortest = shortest.into_iter().chain([(remaining, code)]).min();
            }
        }
        match shortest {
            Some(held) if free.is_empty() => Err(held),
            Some(_) | None => Ok(free),
        }
    }

    /// Whether there is any backoff.
    pub fn waits(&self) -> bool {
        self.route.waits.enabled && self.backoffs.count() > 0
    }

    /// A request is sent now; as a probe, if a backoff has ended and nobody has probed since.
    pub fn go(&self, account: usize, credential: u64, path: &str) -> Result<Option<Probe<Code>>, Denied> {
        if !self.waits() {
            return Ok(None);
        }
        match self.backoffs.check(self.backoff_keys(account, credential, path), Instant::now().into_std()) {
            Pass::Free => Ok(None),
            Pass::Probe(probe) => Ok(Some(probe)),
            Pass::BackOff { what, remaining } => Err(Refusal::of_backoff(what, remaining).into()),
        }
    }

    /// The first request of a call that has its slot, or needs none: it is sent once its body has arrived, perhaps as a probe.
    /// Others wait for a probe, so a probe must not wait for its body.
    pub async fn sets_out(
        &self,
        admission: &mut Admission,
        path: &str,
        body: impl Future<Output = Result<(), Fault>>,
    ) -> Result<(), Denied> {
        if self.waits() {
            // A backoff may have begun while it waited for its slot.
            let (account, credential) = admission.places();
            let _ = self.free(AccountSet::only(account), credential, path)?;
            body.await?;
            admission.tries(self.go(account, credential, path)?);
        }
        Ok(())
    }

    /// A retry checks for a backoff again, unless the call is the probe itself.
    pub fn goes_again(&self, admission: &mut Admission, path: &str) -> Result<(), Denied> {
        if !admission.is_probe() {
            let (account, credential) = admission.places();
            admission.tries(self.go(account, credential, path)?);
        }
        Ok(())
    }

    /// The host and base path that paths refer to: the routes of an account have different prefixes, and may have different hosts
    /// and base paths. Routes without an account include it too, so that backoffs by path continue when a route joins an account.
    fn site(&self) -> ((&str, u16), &str) {
        let upstream = self.route.upstreams.first();
        upstream.map_or((("", 0), ""), |one| ((&one.host, one.port), &one.base_path))
    }

    /// The keys of the backoffs that affect this request: those of the same injected account or client key, of the same path, and
    /// of a path of the same kind.
    pub(super) fn backoff_keys(&self, account: usize, credential: u64, path: &str) -> BackoffKeys {
        let credential = self.accounts.get(account).copied().unwrap_or(credential);
        let (host, base) = self.site();
        let path = path::decode([base.as_bytes(), path.as_bytes()].concat().as_slice());
        let key = |what: &[u8], kind: &str| self.keys.of((credential, kind, host, what));
        BackoffKeys { credential, path: key(&path, "path"), template: key(&template(&path), "template") }
    }
}

/// What paths of one kind have in common: segments that look like ids are replaced. An id contains a digit and is longer than a
/// word with a version number, or consists of digits.
fn template(path: &[u8]) -> Vec<u8> {
    const SHORTEST_ID: usize = 8;
    let mut template = Vec::with_capacity(path.len());
    for segment in path.split(|byte| *byte == b'/') {
        let digits = segment.iter().filter(|byte| byte.is_ascii_digit()).count();
        let is_id = digits > 0 && (segment.len() >= SHORTEST_ID || digits == segment.len());
        template.extend_from_slice(if is_id { b"*" } else { segment });
        template.push(b'/');
    }
    template
}

#[cfg(test)]
mod tests {
    use super::template;

    #[test]
    fn an_id_stands_for_any_other_of_its_kind() {
        for (one, other, same) in [
            ("/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM", "/v1/text-to-speech/EXAVITQu4vr4xnSDxMaL", true),
            ("/jobs/17", "/jobs/4", true),
            ("/jobs/550e8400-e29b-41d4-a716-446655440000/result", "/jobs/17/result", true),
            ("/v1/tts", "/v2/tts", false),
            ("/v1/tts", "/v1/broken", false),
            ("/jobs/17", "/jobs/17/result", false),
            ("/v1/models", "/v1/text-to-speech", false),
        ] {
            assert_eq!(template(one.as_bytes()) == template(other.as_bytes()), same, "{one} {other}");
        }
    }
}
