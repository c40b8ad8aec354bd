//! Charges the limits for what a call uses after it was admitted: text in the messages of a socket, seconds of audio.
//!
//! A generation that begins is checked like a request, with the text that begins it; if a limit has no room, it does not begin. A
//! generation in progress is never cut: what it uses beyond that is charged all the same, and later ones wait. The length of
//! audio is known at its end, so for `audio-seconds` a generation is charged one second first and the rest afterwards. If
//! gateways share their limits, each charges this to its own share.

use super::rates::now;
use super::refusal::Place;
use super::subject::Subject;
use super::{Denied, Refusal, RouteLimits};
use crate::config::types::{Cost, RateLimit};
use crate::fleet::{Check, Fleet};
use crate::generation::Record;
use crate::limit::rate::{Quota, Rate};
use std::num::NonZeroU32;
use std::sync::Arc;

/// The limits that still count a call after its admission.
#[derive(Debug)]
pub(crate) struct Ledger {
    lines: Vec<Line>,
    fleet: Option<Arc<Fleet>>,
    route: String,
}

struct Line {
    limit: RateLimit,
    place: Place,
    rate: Arc<Rate>,
    key: u64,
    /// Its name in the fleet.
    name: u64,
    quota: Quota,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("place", &self.place).finish_non_exhaustive()
    }
}

impl RouteLimits {
    /// Whether seconds of audio are counted.
    pub(crate) fn counts_audio(&self) -> bool {
        self.entries().any(|entry| entry.limit.cost == Cost::AudioSeconds)
    }

    /// The limits that go on counting this call; none where all that count it were asked when it was admitted.
    pub(crate) fn ledger(&self, subject: &Subject<'_>, websocket: bool) -> Option<Box<Ledger>> {
        let goes_on = |cost| match cost {
            Cost::Requests | Cost::BodyBytes => false,
            Cost::TextCharacters => websocket,
            Cost::AudioSeconds => websocket || subject.generation,
        };
        if !self.entries().any(|entry| goes_on(entry.limit.cost)) {
            return None;
        }
        let lines: Vec<Line> = self
            .entries()
            .filter(|entry| goes_on(entry.limit.cost))
            .filter_map(|entry| {
                let key = entry.key(&self.keys, subject.credential.key, subject)?;
                let name = self.fleet.as_ref().and_then(|fleet| {
                    let names = fleet.keys();
                    entry.key(&names, names.of(subject.credential.hidden), subject)
                });
                let quota = entry.quota();
                let (limit, place, rate) = (entry.limit.clone(), entry.place, Arc::clone(&entry.rate));
                Some(Line { limit, place, rate, key, name: name.unwrap_or_default(), quota })
            })
            .collect();
        let (fleet, route) = (self.fleet.clone(), self.route.name.clone());
        (!lines.is_empty()).then(|| Box::new(Ledger { lines, fleet, route }))
    }
}

impl Ledger {
    /// A generation with this many characters is about to begin.
    ///
    /// # Errors
    /// When a limit has no room for it; then nothing is charged.
    pub(crate) fn begins(&self, characters: u64) -> Result<(), Denied> {
        let mut taken: Vec<(&Line, NonZeroU32)> = Vec::new();
        for line in &self.lines {
            let Some(cost) = count(if line.limit.cost == Cost::AudioSeconds { 1 } else { characters }) else {
                continue;
            };
            if let Some(fleet) = &self.fleet {
                line.rate.reconfigure(fleet.local_quota(&line.quota), now());
            }
            if let Err(refused) = line.rate.check(line.key, cost, now()) {
                taken.iter().for_each(|(line, cost)| line.rate.give_back(line.key, *cost));
                return Err(Refusal::of_rate(&line.limit, line.place, cost.get(), refused).into());
            }
            taken.push((line, cost));
        }
        taken.iter().for_each(|(line, cost)| self.tell(line, *cost));
        Ok(())
    }

    /// A generation in progress sent more text.
    pub(crate) fn goes_on(&self, characters: u64) {
        let Some(cost) = count(characters) else { return };
        for line in self.lines.iter().filter(|line| line.limit.cost == Cost::TextCharacters) {
            line.rate.take(line.key, cost, now());
            self.tell(line, cost);
        }
    }

    /// A generation has ended: its audio beyond the first second is charged.
    pub(crate) fn ended(&self, record: &Record) {
        let seconds = record.metered_audio_seconds().unwrap_or_default().ceil() as u64;
        for line in self.lines.iter().filter(|line| line.limit.cost == Cost::AudioSeconds) {
            match count(seconds.saturating_sub(1)) {
                Some(cost) => {
                    line.rate.take(line.key, cost, now());
                    self.tell(line, cost);
                }
                None if seconds == 0 => line.rate.give_back(line.key, NonZeroU32::MIN),
                None => {}
            }
        }
    }

    /// The fleet is told with the next request that it counts.
    fn tell(&self, line: &Line, cost: NonZeroU32) {
        if let Some(fleet) = &self.fleet {
            let cost = cost.min(line.quota.burst);
            let Place { number: limit, of_account } = line.place;
            let check = Check { limit, of_account, key: line.key, name: line.name, quota: line.quota, cost };
            fleet.owe(&self.route, &[check]);
        }
    }
}

fn count(amount: u64) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(amount).unwrap_or(u32::MAX))
}
