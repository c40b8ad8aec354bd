//! The client's messages that configure its session. They are repeated on a new socket to the provider, whose responses to them
//! are not sent to the client a second time.
//!
//! Pure: messages in, messages out. Neither text nor audio is kept.

use crate::canon::{Evidence, GenerationRule, Observed, RedialRule};
use std::sync::Arc;
use std::time::SystemTime;

/// Most bytes that are kept for one socket. With more it is not dialled again.
const MOST: usize = 64 * 1024;

/// The configuring messages of one socket.
#[derive(Debug)]
pub(super) struct Openings {
    rule: Arc<RedialRule>,
    generations: Arc<GenerationRule>,
    /// The messages, in their order.
    kept: Vec<Kept>,
    /// Whether repeating them restores the whole configuration of the socket.
    whole: bool,
    /// Whether the client's first messages carry a key, so that a new socket needs a message with a key first.
    keyed: bool,
    /// The messages that configured the generation that began last, each with whether it waits for a socket.
    begun: Vec<(bool, Box<[u8]>)>,
    /// For each of the provider's greetings, whether the client has received it, and whether a repetition is to be suppressed.
    greeted: Vec<bool>,
    repeated: Vec<bool>,
}

#[derive(Debug)]
struct Kept {
    kind: usize,
    id: String,
    /// The message as it was sent.
    text: Box<[u8]>,
    keyed: bool,
    answer: Answer,
    /// It was said while there was no socket, and waits for the next with all that is said meanwhile.
    waits: bool,
}

/// The state of the provider's response to a configuring message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// The provider does not respond to it.
    Never,
    /// The client still waits for it.
    Owed,
    /// The client has received it.
    Told,
    /// It will be repeated, and the repetition is suppressed.
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

    /// Whether a new socket can be configured exactly like this one.
    pub(super) fn are_whole(&self) -> bool {
        self.whole && (!self.keyed || self.kept.first().is_some_and(|kept| kept.keyed))
    }

    /// Takes the messages that configured the generation that has just begun, each with whether it waits for a socket; they are not
    /// repeated on later sockets.
    pub(super) fn take_begun(&mut self) -> Vec<(bool, Box<[u8]>)> {
        std::mem::take(&mut self.begun)
    }

    /// The client sent `text`, which was forwarded as `sent`; `keyed`: it carries a key; `waits`: there is no socket yet. Returns
    /// whether it is a configuring message.
    pub(super) fn said(&mut self, text: &[u8], sent: &[u8], keyed: bool, waits: bool) -> bool {
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
                // What waits goes out before the generation does.
                self.begun = own.map(|kept| (kept.waits, kept.text)).collect();
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
        self.kept.push(Kept { kind, id, text: sent.into(), keyed, answer, waits });
        true
    }

    /// The client sent something that configures nothing.
    pub(super) fn said_other(&mut self) {
        if self.rule.remembers {
            self.is_unknown();
        }
    }

    /// The client sent something that cannot be repeated, or was not inspected.
    pub(super) fn is_unknown(&mut self) {
        self.whole = false;
        self.kept = Vec::new();
    }

    /// The messages to send on a new socket, before those that wait for it.
    pub(super) fn say_again(&mut self) -> Vec<Box<[u8]>> {
        self.repeated.clone_from(&self.greeted);
        let mut again = Vec::new();
        for kept in &mut self.kept {
            if kept.answer == Answer::Told {
                kept.answer = Answer::Repeated;
            }
            if !std::mem::take(&mut kept.waits) {
                again.push(kept.text.clone());
            }
        }
        again
    }

    /// Whether a message of the provider's has to be inspected.
    pub(super) fn may_answer(&self, text: &[u8]) -> bool {
        let open = |kept: &Kept| matches!(kept.answer, Answer::Owed | Answer::Repeated);
        let greets = self.greeted.iter().any(|greeted| !greeted) || self.repeated.contains(&true);
        (greets || self.kept.iter().any(open)) && self.rule.may_answer(text)
    }

    /// The provider sent this. Returns whether it repeats something that the client has received.
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

    /// Plays `c` (the client sends), `w` (the same while there is no socket), `p` (the provider sends, and it is forwarded), `x` (the
    /// provider sends, and it is suppressed) and `n` (a new socket, on which this is sent first).
    fn plays(change: &str, script: &[(char, &str)]) -> Openings {
        let mut openings = openings(change);
        for (number, (what, text)) in script.iter().enumerate() {
            match what {
                'c' | 'w' => drop(openings.said(text.as_bytes(), text.as_bytes(), text.contains("key"), *what == 'w')),
                'n' => {
                    let again = openings.say_again().into_iter();
                    let again: Vec<_> = again.map(|text| String::from_utf8(text.to_vec()).expect("UTF-8")).collect();
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
    fn the_last_of_a_kind_is_repeated_and_its_response_is_suppressed() {
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
                // A second repetition is forwarded.
                ('p', hello),
                ('p', ready),
                ('n', LATER),
                ('x', ready),
                ('x', hello),
            ],
        );
        // What the client has not received yet is forwarded.
        let _ = plays(
            "",
            &[('c', SETUP), ('n', SETUP), ('p', hello), ('p', ready), ('n', SETUP), ('x', ready), ('x', hello)],
        );
    }

    #[test]
    fn all_of_a_kind_are_repeated_in_order_where_each_changes_a_part() {
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
    fn what_waits_for_a_socket_is_not_said_to_it_twice() {
        let ready = r#"{"type":"ready"}"#;
        let both = format!("{PART} {LATER}");
        // The later one takes the place of the first, and goes out with what waits.
        let script = [
            ('c', SETUP),
            ('c', PART),
            ('p', ready),
            ('w', LATER),
            ('n', PART),
            ('p', ready),
            ('n', &both),
            ('x', ready),
        ];
        let _ = plays("", &script);
    }

    #[test]
    fn what_configures_one_generation_goes_with_its_beginning() {
        let voice = |id: u8| format!(r#"{{"id":"{id}","voice":"v","text":" "}}"#);
        let (one, two) = (voice(1), voice(2));
        let both = format!("{one} {two}");
        let _ = plays("", &[('c', &one), ('c', &two), ('n', &both), ('c', r#"{"id":"1","text":"Hi."}"#), ('n', &two)]);
    }

    #[test]
    fn text_is_never_kept_and_remembered_settings_are_not_repeated() {
        let spoken = r#"{"type":"setup","text":"secret"}"#;
        assert!(plays("", &[('c', spoken), ('n', "")]).are_whole());
        assert!(plays("remembers = true", &[('c', SETUP), ('n', SETUP)]).are_whole());
        assert!(!plays("remembers = true", &[('c', SETUP), ('c', spoken), ('n', "")]).are_whole());
        assert!(!plays("remembers = true", &[('c', r#"{"type":"other"}"#)]).are_whole());
        assert!(plays("", &[('c', r#"{"type":"other"}"#)]).are_whole());
        // If a socket's first message had a key, a new socket gets that message first, or there is none.
        let keyed = r#"{"type":"setup","key":"k"}"#;
        assert!(plays("", &[('c', keyed), ('c', PART), ('n', &format!("{keyed} {PART}"))]).are_whole());
        assert!(!plays("", &[('c', keyed), ('c', LATER)]).are_whole());
        assert!(!plays("", &[('c', r#"{"id":"1","text":"Hi.","key":"k"}"#), ('c', LATER)]).are_whole());
        let large = format!(r#"{{"type":"part","x":"{}"}}"#, "x".repeat(MOST / 2));
        assert!(plays("", &[('c', &large)]).are_whole());
        assert!(!plays("", &[('c', &large), ('c', &large), ('n', "")]).are_whole());
    }
}
