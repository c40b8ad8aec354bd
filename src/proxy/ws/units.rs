//! The concurrent units of one socket: which run, each with its slot, and which were refused.
//!
//! Pure: messages in, verdicts out. The session waits for slots and gives them back by dropping what is here.

use crate::canon::{Evidence, SocketUnits};
use std::sync::Arc;

/// Most units of one socket that run, and most that are remembered as refused.
const MOST: usize = 64;

/// The units of one socket; `P` is the slot that each has.
#[derive(Debug)]
pub(super) struct Units<P> {
    spec: Arc<SocketUnits>,
    running: Vec<(String, P)>,
    /// Units whose client has not said its last word yet, and of which nothing more goes to the provider.
    refused: Vec<String>,
}

/// What becomes of a message of the client's.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    /// It belongs to a unit that was refused.
    Swallow,
    /// It begins a unit, which needs a slot first.
    Begin(Beginning),
}

/// The beginning of a unit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Beginning {
    pub(super) id: String,
    /// The client has nothing more to say in it.
    last: bool,
}

impl<P> Units<P> {
    pub(super) fn new(spec: Arc<SocketUnits>) -> Units<P> {
        Units { spec, running: Vec::new(), refused: Vec::new() }
    }

    /// Looks at a message of the client's. The slot of a unit that it cancels is free.
    pub(super) fn client(&mut self, evidence: &Evidence<'_>) -> Verdict {
        let id = self.spec.id(evidence);
        let last = self.spec.is_last(evidence) || self.spec.cancels(evidence);
        if let Some(at) = self.refused.iter().position(|refused| *refused == id) {
            if last {
                let _ = self.refused.remove(at);
            }
            return Verdict::Swallow;
        }
        if self.spec.cancels(evidence) {
            drop(self.take(&id));
            return Verdict::Pass;
        }
        if self.running.iter().any(|(running, _)| *running == id) || !self.spec.begins(evidence) {
            return Verdict::Pass;
        }
        Verdict::Begin(Beginning { id, last })
    }

    /// Whether any run.
    pub(super) fn any_run(&self) -> bool {
        !self.running.is_empty()
    }

    /// The ids of those that run, where they have any.
    pub(super) fn ids(&self) -> Vec<String> {
        let with_ids = self.running.iter().filter(|_| self.spec.have_ids());
        with_ids.map(|(id, _)| id.clone()).filter(|id| !id.is_empty()).collect()
    }

    /// Whether one more may run.
    pub(super) fn has_room(&self) -> bool {
        self.running.len() < MOST
    }

    /// A unit has its slot.
    pub(super) fn began(&mut self, beginning: Beginning, slot: P) {
        self.running.push((beginning.id, slot));
    }

    /// A unit has none.
    pub(super) fn refuse(&mut self, beginning: Beginning) {
        if !beginning.last {
            if self.refused.len() == MOST {
                let _ = self.refused.remove(0);
            }
            self.refused.push(beginning.id);
        }
    }

    /// Whether a message of the provider's has to be looked at.
    pub(super) fn may_end(&self, text: &[u8]) -> bool {
        !self.running.is_empty() && self.spec.may_end(text)
    }

    /// Looks at a message of the provider's: the slot of the unit that it ends.
    pub(super) fn provider(&mut self, evidence: &Evidence<'_>) -> Option<P> {
        if !self.spec.ends(evidence) {
            return None;
        }
        let id = self.spec.id(evidence);
        self.take(&id)
    }

    /// The provider failed a unit: its slot. Without an id it is the only one that runs; of several nobody knows which.
    pub(super) fn failed(&mut self, id: Option<&str>) -> Option<P> {
        // An error may name a turn where the client's messages do not.
        let id = id.filter(|_| self.spec.have_ids());
        match id.and_then(|id| self.take(id)) {
            None if self.running.len() == 1 && id.is_none() => self.running.pop().map(|(_, slot)| slot),
            slot => slot,
        }
    }

    /// The socket ends, and all units with it.
    pub(super) fn end(&mut self) {
        self.running.clear();
    }

    fn take(&mut self, id: &str) -> Option<P> {
        let at = self.running.iter().position(|(running, _)| running == id)?;
        Some(self.running.swap_remove(at).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::{Observed, Profile, ProfileSpec};
    use std::time::SystemTime;

    const PROFILE: &str = "[concurrency]\nunit = 'context'\n[[concurrency.sockets]]\nid = ['$.id', '$.ID']\n\
        begins = { '$.text' = { exists = true } }\nlast = { '$.more' = { not = true } }\ncancels = { '$.cancel' = true }\n\
        ends = { '$.done' = true }";

    fn units() -> Units<&'static str> {
        let spec: ProfileSpec = toml::from_str(PROFILE).expect("a profile");
        let profile = Profile::compile("test", spec).expect("a profile");
        Units::new(Arc::clone(profile.socket_units("GET", "/").expect("counted")))
    }

    fn seen<T>(text: &str, look: impl FnOnce(&Evidence<'_>) -> T) -> T {
        look(&Evidence::new(&Observed::frame(text.as_bytes(), SystemTime::UNIX_EPOCH)))
    }

    /// `+` begins and gets a slot, `-` begins and gets none, `=` passes, `0` is swallowed.
    fn verdicts(units: &mut Units<&'static str>, messages: &[(&str, char)]) {
        for (text, expected) in messages {
            let verdict = seen(text, |evidence| units.client(evidence));
            let found = match (verdict, expected) {
                (Verdict::Pass, _) => '=',
                (Verdict::Swallow, _) => '0',
                (Verdict::Begin(beginning), '-') => {
                    units.refuse(beginning);
                    '-'
                }
                (Verdict::Begin(beginning), _) => {
                    units.began(beginning, "slot");
                    '+'
                }
            };
            assert_eq!(found, *expected, "{text}");
        }
    }

    #[test]
    fn units_begin_once_and_refused_ones_are_swallowed_to_their_end() {
        let mut units = units();
        verdicts(
            &mut units,
            &[
                (r#"{"id":"a"}"#, '='),
                (r#"{"id":"a","text":"x","more":true}"#, '+'),
                (r#"{"id":"a","text":"y","more":true}"#, '='),
                (r#"{"id":"b","text":"x","more":true}"#, '-'),
                (r#"{"id":"b","text":"y","more":true}"#, '0'),
                (r#"{"id":"a","text":"z"}"#, '='),
                (r#"{"id":"b","text":"z"}"#, '0'),
                (r#"{"id":"b","text":"x"}"#, '-'),
                (r#"{"id":"b","text":"x"}"#, '+'),
                (r#"{"id":"b","cancel":true}"#, '='),
                (r#"{"id":"b","text":"x"}"#, '+'),
                (r#"{"text":"x"}"#, '+'),
            ],
        );
        assert!(units.may_end(br#"{"done":true}"#) && !units.may_end(br#"{"done":false}"#));
        let mut ends = |text| seen(text, |evidence| units.provider(evidence));
        assert_eq!(ends(r#"{"ID":"a","done":false}"#), None);
        assert_eq!(ends(r#"{"ID":"c","done":true}"#), None);
        assert_eq!(ends(r#"{"ID":"a","done":true}"#), Some("slot"));
        assert_eq!(units.failed(None), None, "nobody knows which");
        assert_eq!(units.failed(Some("b")), Some("slot"));
        assert_eq!(units.failed(None), Some("slot"), "the only one");
        assert!(!units.may_end(br#"{"done":true}"#), "nothing runs");
    }

    #[test]
    fn where_units_have_no_ids_any_error_ends_the_one_that_runs() {
        let text = PROFILE.replace("id = ['$.id', '$.ID']\n", "");
        let spec: ProfileSpec = toml::from_str(&text).expect("a profile");
        let profile = Profile::compile("test", spec).expect("a profile");
        let mut units = Units::new(Arc::clone(profile.socket_units("GET", "/").expect("counted")));
        verdicts(&mut units, &[(r#"{"id":"a","text":"x"}"#, '+'), (r#"{"id":"b","text":"x"}"#, '=')]);
        assert_eq!(units.failed(Some("a")), Some("slot"));
        verdicts(&mut units, &[(r#"{"id":"b","text":"x"}"#, '+')]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut units = units();
        for number in 0..3 * MOST {
            let text = format!(r#"{{"id":"{number}{}","text":"x","more":true}}"#, "x".repeat(1000));
            let Verdict::Begin(beginning) = seen(&text, |evidence| units.client(evidence)) else {
                panic!("a beginning")
            };
            assert!(beginning.id.len() <= 256);
            if number < MOST { units.began(beginning, "slot") } else { units.refuse(beginning) }
        }
        assert!(!units.has_room() && units.refused.len() == MOST);
        units.end();
        assert!(units.has_room());
    }
}
