//! The pause that a provider asked for binds everybody who would ask it for the same; at its end one request tries.

use super::{Denied, Refusal, RouteLimits};
use crate::canon::Code;
use crate::limit::gate::Lanes;
use crate::limit::hold::{Pass, Place, Probe};
use std::time::Instant;

/// The accounts that may be asked now, and the probes that this request is for some of them.
pub(crate) struct Held {
    pub(crate) lanes: Lanes,
    probes: Vec<(usize, Probe<Code>)>,
}

/// What of a request decides whom it shares a pause with: the keys of its own credential and of its path.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Target {
    credential: u64,
    path: u64,
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
    /// Which of these accounts may be asked now. Refused when none may, with the shortest wait.
    pub(crate) fn free(&self, lanes: Lanes, target: Target, now: Instant) -> Result<Held, Denied> {
        let mut held = Held { lanes, probes: Vec::new() };
        if self.holds.held() == 0 {
            return Ok(held);
        }
        let mut shortest = None;
        for lane in (0..self.accounts.len().max(1)).filter(|lane| lanes.contains(*lane)) {
            match self.holds.check(self.place(lane, target), now) {
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

    /// Where a request goes: to the account that the route injects, or to the caller's own.
    pub(super) fn place(&self, lane: usize, target: Target) -> Place {
        let credential = self.accounts.get(lane).copied().unwrap_or(target.credential);
        Place { credential, path: self.keys.of((credential, target.path)) }
    }

    /// What of a request decides whom it shares a pause with.
    pub(crate) fn target(&self, credential: u64, path: &str) -> Target {
        Target { credential, path: self.keys.of(path) }
    }
}
