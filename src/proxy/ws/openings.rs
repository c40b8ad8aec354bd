//! What the client said that configures its session: it is said again to a new socket of the provider's, and what the provider answers
//! to that is not told twice.
//!
//! Pure: messages in, messages out. Never text or audio.

use crate::canon::{Evidence, GenerationRule, Observed, RedialRule};
use std::sync::Arc;
use std::time::SystemTime;

/// Most bytes that are kept of one socket. With more it is not dialled again.
const MOST: usize = 64 * 1024;

/// What is kept of one socket.
#[derive(Debug)]
pub(super) struct Openings {
    rule: Arc<RedialRule>,
    generations: Arc<GenerationRule>,
    /// In the order in which they were said.
    kept: Vec<Kept>,
    /// A new socket would be told all that this one was.
    whole: bool,
    /// The client's first messages carry a key, so that a new socket has to be shown one first.
    keyed: bool,
    /// What configured the generation that began last.
    begun: Vec<Box<[u8]>>,
    /// Which greetings the client has been told, and which of them it is not told again.
    greeted: Vec<bool>,
    repeated: Vec<bool>,
}

#[derive(Debug)]
struct Kept {
    kind: usize,
    id: String,
    /// The message that was sent.
    text: Box<[u8]>,
    keyed: bool,
    answer: Answer,
}

/// The provider's answer to an opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It is none of the provider's customs.
    Never,
    /// It is still to come, for the client.
    Owed,
    /// The client has been told.
    Told,
    /// It is to come once more, and the client is not told again.
    Repeated,
}

impl Openings {
    pub(super) fn new(rule: Arc<RedialRule>, generations: Arc<GenerationRule>) -> Openings {
        let none = vec![false; rule.greetings()];
        Openings {
            greeted: none.clone(),
            repeated: none,
            rule,
            generations,
            kept: Vec::new(),
            whole: true,
            keyed: false,
            begun: Vec::new(),
        }
    }

    /// Whether a new socket would know all that this one does.
    pub(super) fn are_whole(&self) -> bool {
        self.whole && (!self.keyed || self.kept.first().is_some_and(|kept| kept.keyed))
    }

    /// What configured the generation that has just begun, and is not said again to the sockets after this.
    pub(super) fn take_begun(&mut self) -> Vec<Box<[u8]>> {
        std::mem::take(&mut self.begun)
    }

    /// The client says this, and that is sent in its place; `keyed` says whether a key is in it. Whether it is an opening.
    pub(super) fn said(&mut self, text: &[u8], sent: &[u8], keyed: bool) -> bool {
        self.keyed |= keyed;
        self.begun.clear();
        let seen = Observed::frame(text, SystemTime::now());
        let evidence = Evidence::new(&seen);
        let begins = self.generations.begins(&evidence);
        let speaks = || evidence.tree().is_some_and(|body| self.generations.text(body).spoken);
        let kind = if begins || speaks() { None } else { self.rule.opening(&evidence) };
        let id = self.generations.id(&evidence);
        let Some(kind) = kind else {
            if begins {
                let rule = &self.rule;
                let own = self.kept.extract_if(.., |kept| rule.is_of_generation(kept.kind) && kept.id == id);
                self.begun = own.map(|kept| kept.text).collect();
            }
            self.said_other();
            return false;
        };
        if !self.rule.keeps_all(kind) {
            let own = self.rule.is_of_generation(kind);
            self.kept.retain(|kept| kept.kind != kind || own && kept.id != id);
        }
        let size = self.kept.iter().map(|kept| kept.text.len()).sum::<usize>();
        if size + sent.len() > MOST {
            self.is_unknown();
            return true;
        }
        let answer = if self.rule.has_answer(kind) { Answer::Owed } else { Answer::Never };
        self.kept.push(Kept { kind, id, text: sent.into(), keyed, answer });
        true
    }

    /// The client says something that configures nothing.
    pub(super) fn said_other(&mut self) {
        if self.rule.remembers {
            self.is_unknown();
        }
    }

    /// The client said something that cannot be said again, or was not looked at.
    pub(super) fn is_unknown(&mut self) {
        self.whole = false;
        self.kept = Vec::new();
    }

    /// What a new socket is told first.
    pub(super) fn say_again(&mut self) -> impl Iterator<Item = &[u8]> {
        self.repeated.clone_from(&self.greeted);
        for kept in &mut self.kept {
            if kept.answer == Answer::Told {
                kept.answer = Answer::Repeated;
            }
        }
        self.kept.iter().map(|kept| &*kept.text)
    }

    /// Whether a message of the provider's has to be looked at.
    pub(super) fn may_answer(&self, text: &[u8]) -> bool {
        let open = |kept: &Kept| matches!(kept.answer, Answer::Owed | Answer::Repeated);
        let greets = self.greeted.iter().any(|greeted| !greeted) || self.repeated.contains(&true);
        (greets || self.kept.iter().any(open)) && self.rule.may_answer(text)
    }

    /// The provider says this. Whether the client has been told already.
    pub(super) fn heard(&mut self, evidence: &Evidence<'_>) -> bool {
        if let Some(greeting) = self.rule.greeting(evidence) {
            if let Some(greeted) = self.greeted.get_mut(greeting) {
                *greeted = true;
            }
            return self.repeated.get_mut(greeting).is_some_and(std::mem::take);
        }
        let open = |kept: &&mut Kept| matches!(kept.answer, Answer::Owed | Answer::Repeated);
        let rule = &self.rule;
        let Some(kept) = self.kept.iter_mut().filter(open).find(|kept| rule.answers(kept.kind, evidence)) else {
            return false;
        };
        std::mem::replace(&mut kept.answer, Answer::Told) == Answer::Repeated
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::{Profile, ProfileSpec};

    const PROFILE: &str = r#"
        generations = [{ id = "$.id", begins = { "$.text" = { matches = '\S' } }, ends = { "$.done" = true }, text = "$.text" }]
        [[websocket.redial]]
        opening = [
          { when = { "$.type" = "setup" }, answer = { "$.type" = "ready" } },
          { when = { "$.type" = "part" }, answer = { "$.type" = "parted" }, all = true },
          { when = { "$.voice" = { exists = true } }, of_generation = true },
        ]
        greeting = [{ "$.type" = "hello" }, { "$.type" = "welcome" }]
    "#;

    fn openings(change: &str) -> Openings {
        let spec: ProfileSpec =
            toml::from_str(&PROFILE.replace("[[websocket.redial]]", &format!("[[websocket.redial]]\n{change}")))
                .expect("a profile");
        let profile = Profile::compile("test", spec).expect("a profile");
        let rule = profile.redial("GET", "/x").expect("a socket that may be dialled again");
        Openings::new(Arc::clone(rule), Arc::clone(profile.generations("GET", "/x").expect("generations")))
    }

    /// Plays `c` (the client says), `p` (the provider says, and the client is told), `x` (the same, and it is not told) and `n` (a new
    /// socket, which is told this first).
    fn plays(change: &str, script: &[(char, &str)]) -> Openings {
        let mut openings = openings(change);
        for (number, (what, text)) in script.iter().enumerate() {
            match what {
                'c' => drop(openings.said(text.as_bytes(), text.as_bytes(), text.contains("key"))),
                'n' => {
                    let again: Vec<_> =
                        openings.say_again().map(|text| String::from_utf8(text.to_vec()).expect("UTF-8")).collect();
                    assert_eq!(again.join(" "), *text, "{number}");
                }
                _ => {
                    let seen = Observed::frame(text.as_bytes(), SystemTime::now());
                    let told = !(openings.may_answer(text.as_bytes()) && openings.heard(&Evidence::new(&seen)));
                    assert_eq!(told, *what == 'p', "{number}: {text}");
                }
            }
        }
        openings
    }

    const SETUP: &str = r#"{"type":"setup","a":1}"#;
    const LATER: &str = r#"{"type":"setup","a":2}"#;
    const PART: &str = r#"{"type":"part"}"#;

    #[test]
    fn the_last_of_a_kind_is_said_again_and_its_answer_is_not_told_twice() {
        let (hello, ready) = (r#"{"type":"hello"}"#, r#"{"type":"ready"}"#);
        let _ = plays(
            "",
            &[
                ('p', hello),
                ('c', SETUP),
                ('p', ready),
                ('c', LATER),
                ('p', ready),
                ('n', LATER),
                ('x', hello),
                ('x', ready),
                // What comes once more is news.
                ('p', hello),
                ('p', ready),
                ('n', LATER),
                ('x', ready),
                ('x', hello),
            ],
        );
        // What the client has not been told yet it is told.
        let _ = plays(
            "",
            &[('c', SETUP), ('n', SETUP), ('p', hello), ('p', ready), ('n', SETUP), ('x', ready), ('x', hello)],
        );
    }

    #[test]
    fn all_of_a_kind_stay_in_order_where_each_changes_a_part() {
        let both = format!("{PART} {LATER} {PART}");
        let parted = r#"{"type":"parted"}"#;
        let _ = plays(
            "",
            &[
                ('c', SETUP),
                ('c', PART),
                ('c', LATER),
                ('c', PART),
                ('p', parted),
                ('n', &both),
                ('x', parted),
                ('p', parted),
                ('n', &both),
            ],
        );
    }

    #[test]
    fn what_configures_one_generation_goes_with_its_beginning() {
        let voice = |id: u8| format!(r#"{{"id":"{id}","voice":"v","text":" "}}"#);
        let (one, two) = (voice(1), voice(2));
        let both = format!("{one} {two}");
        let _ = plays("", &[('c', &one), ('c', &two), ('n', &both), ('c', r#"{"id":"1","text":"Hi."}"#), ('n', &two)]);
    }

    #[test]
    fn text_is_never_kept_and_what_a_provider_remembers_is_not_said_again() {
        let spoken = r#"{"type":"setup","text":"secret"}"#;
        assert!(plays("", &[('c', spoken), ('n', "")]).are_whole());
        assert!(plays("remembers = true", &[('c', SETUP), ('n', SETUP)]).are_whole());
        assert!(!plays("remembers = true", &[('c', SETUP), ('c', spoken), ('n', "")]).are_whole());
        assert!(!plays("remembers = true", &[('c', r#"{"type":"other"}"#)]).are_whole());
        assert!(plays("", &[('c', r#"{"type":"other"}"#)]).are_whole());
        // A socket whose first message showed a key is followed by one that is told that message first, or by none.
        let keyed = r#"{"type":"setup","key":"k"}"#;
        assert!(plays("", &[('c', keyed), ('c', PART), ('n', &format!("{keyed} {PART}"))]).are_whole());
        assert!(!plays("", &[('c', keyed), ('c', LATER)]).are_whole());
        assert!(!plays("", &[('c', r#"{"id":"1","text":"Hi.","key":"k"}"#), ('c', LATER)]).are_whole());
        let large = format!(r#"{{"type":"part","x":"{}"}}"#, "x".repeat(MOST / 2));
        assert!(plays("", &[('c', &large)]).are_whole());
        assert!(!plays("", &[('c', &large), ('c', &large), ('n', "")]).are_whole());
    }
}
