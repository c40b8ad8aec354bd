//! The pause that a provider asked for binds everybody who would ask it for the same; at its end one request tries.

use super::{Denied, Refusal, RouteLimits};
use crate::canon::Code;
use crate::limit::gate::Lanes;
use crate::limit::hold::{Pass, Place, Probe};
use tokio::time::Instant;

/// The accounts that may be asked now, and the probes that this request is for some of them.
pub(crate) struct Held {
    pub(crate) lanes: Lanes,
    probes: Vec<(usize, Probe<Code>)>,
}

impl Held {
    /// Whether this request tries whether the provider is willing again.
    pub(crate) fn is_probe(&self) -> bool {
        !self.probes.is_empty()
    }

    /// Keeps the probe of the account that is used, and lets others try the rest.
    pub(crate) fn probe_of(self, lane: usize) -> Option<Probe<Code>> {
        self.probes.into_iter().find(|(of, _)| *of == lane).map(|(_, probe)| probe)
    }
}

impl RouteLimits {
    /// Which of these accounts a request to `path` with this key may ask now. Refused when none may, with the shortest wait.
    pub(crate) fn free(&self, lanes: Lanes, credential: u64, path: &str) -> Result<Held, Denied> {
        let mut held = Held { lanes, probes: Vec::new() };
        if self.holds.held() == 0 {
            return Ok(held);
        }
        let now = Instant::now().into_std();
        let mut shortest = None;
        for lane in (0..self.accounts.len().max(1)).filter(|lane| lanes.contains(*lane)) {
            match self.holds.check(self.place(lane, credential, path), now) {
                Pass::Free => {}
                Pass::Probe(probe) => held.probes.push((lane, probe)),
                Pass::Held { what, remaining } => {
                    held.lanes = held.lanes.without(lane);
                    shortest = shortest.into_iter().chain([(remaining, what)]).min();
                }
            }
        }
        match shortest {
            Some((remaining, code)) if held.lanes.is_empty() => Err(Refusal::of_hold(code, remaining).into()),
            Some(_) | None => Ok(held),
        }
    }

    /// Whom a request shares a pause with: all that use the account that the route injects, or the caller's own key; and all of
    /// those that ask for the same path.
    pub(super) fn place(&self, lane: usize, credential: u64, path: &str) -> Place {
        let credential = self.accounts.get(lane).copied().unwrap_or(credential);
        Place { credential, path: self.keys.of((credential, self.keys.of(path))) }
    }
}
