//! The generations of one socket: which run, each with its slot, which were refused, and which have ended.

mod ends;

use super::facts::{Asked, Facts};
use super::members::MemberScan;
use super::one::{Generation, Said};
use super::record::{Outcome, Record};
use super::silence::Watch;
use super::skim::skim;
use crate::canon::generations::{AudioPlace, GenerationRule, Text, known_id};
use crate::canon::{Evidence, GenerationKind};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most generations of one socket that run, and most that are remembered as refused.
const MOST: usize = 64;

/// How many of those that have ended are remembered: the provider may still speak of them.
const PAST: usize = 64;

/// The generations of one socket; `P` is the slot that each has.
#[derive(Debug)]
pub struct Tracker<P> {
    rule: Arc<GenerationRule>,
    watch: Watch,
    facts: Facts,
    /// Every text is wanted at once.
    eager: bool,
    running: Vec<Running<P>>,
    /// What is said in those for which there is no room, all together; none of them is ever called silent.
    overflow: Option<Running<P>>,
    /// The ids of the last that have ended.
    past: VecDeque<Box<str>>,
    /// Those whose client has not said its last word yet, and of which nothing more goes to the provider.
    refused: Vec<String>,
    ended: Vec<Ended<P>>,
    /// Looks for the audio in texts of the client's that are too long to be looked at.
    scan: Option<MemberScan>,
    /// The client does not take what comes.
    blocked: bool,
    /// When it last began to.
    resumed: Instant,
}

#[derive(Debug)]
struct Running<P> {
    generation: Generation,
    slot: P,
}

/// One that has ended.
#[derive(Debug)]
pub struct Ended<P> {
    /// What is left of it.
    pub record: Record,
    /// Its slot.
    pub slot: P,
    /// Nobody has told the client that it was silent.
    pub untold: bool,
}

/// What becomes of a message of the client's.
#[derive(Debug)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It belongs to a generation that was refused.
    Swallow,
    /// It begins a generation, which needs a slot first.
    Begin(Box<Beginning>),
}

/// The beginning of a generation.
#[derive(Debug)]
pub struct Beginning {
    /// Its id; empty without one.
    pub id: String,
    said: Said,
    facts: Facts,
    since: Instant,
}

impl<P: Default> Tracker<P> {
    /// The generations of a socket that was opened so.
    #[must_use]
    pub fn new(rule: Arc<GenerationRule>, watch: Watch, asked: Asked<'_>, now: Instant) -> Tracker<P> {
        Tracker {
            facts: Facts::of(&rule, asked),
            eager: rule.is_eager(asked.query),
            rule,
            watch,
            running: Vec::new(),
            overflow: None,
            past: VecDeque::new(),
            refused: Vec::new(),
            ended: Vec::new(),
            scan: None,
            blocked: false,
            resumed: now,
        }
    }

    /// Looks at a message of the client's.
    pub fn client(&mut self, evidence: &Evidence<'_>, now: Instant) -> Verdict {
        let (rule, id) = (Arc::clone(&self.rule), self.rule.id(evidence));
        let cancels = rule.cancels(evidence);
        let last = rule.is_last(evidence);
        if let Some(at) = self.refused.iter().position(|refused| *refused == id) {
            if last || cancels {
                let _ = self.refused.remove(at);
            }
            return Verdict::Swallow;
        }
        if let Some(body) = evidence.tree() {
            self.facts.read_body(&rule, body);
        }
        if cancels {
            // Without ids all that wait in line are meant.
            while let Some(at) = self.place(&id) {
                self.finish(Some(at), Outcome::Cancelled, now);
            }
            return Verdict::Pass;
        }
        let text = rule.text_of(evidence);
        let flush = rule.flushes(evidence) || self.eager && text.spoken;
        let said = Said { text: Some(text), flush, last };
        let begins = rule.begins(evidence);
        if let Some(running) = self.spoken_to(&id, begins) {
            running.generation.said(said, now);
            return Verdict::Pass;
        }
        // Where generations have ids, a message without one may be about all of them.
        if begins {
            return Verdict::Begin(Box::new(Beginning { id, said, facts: self.facts.clone(), since: now }));
        }
        if let Some(overflow) = self.overflow.as_mut().filter(|_| text.characters > 0) {
            overflow.generation.said(said, now);
        }
        Verdict::Pass
    }

    /// Whether a text of the client's has to be looked at. Audio in it is counted here, and begins a transcription.
    pub fn client_text(&mut self, text: &[u8], now: Instant) -> bool {
        let rule = Arc::clone(&self.rule);
        let Some(found) = skim(&rule.input, text) else { return true };
        if let Some(running) = self.hearing(now) {
            running.generation.input_member(&found);
        }
        let (before, behind) = found.around;
        rule.may_say_more(before) || rule.may_say_more(behind)
    }

    /// A part of a text of the client's goes by that is too long to be looked at. How many characters it costs: as many as it has bytes
    /// beside audio. Nobody knows whose they are: with ids they are counted in one generation of all such.
    pub fn client_unread(&mut self, piece: &[u8], now: Instant) -> u64 {
        let rule = Arc::clone(&self.rule);
        let mut scan = self.scan.take().or_else(|| rule.input.iter().find_map(MemberScan::of));
        let running = match rule.kind == GenerationKind::Stt || !rule.have_ids() {
            true => self.hearing(now).map(|running| &mut running.generation),
            false => None,
        };
        let generation = match running {
            Some(generation) => generation,
            None => {
                let new = || {
                    let mut generation = Generation::new(&rule, &self.facts, self.watch, now);
                    generation.unwatched();
                    Running { generation, slot: P::default() }
                };
                &mut self.overflow.get_or_insert_with(new).generation
            }
        };
        let length = piece.len() as u64;
        let text = scan.as_mut().map_or(length, |scan| scan.feed_input(piece, generation));
        let characters = if rule.kind != GenerationKind::Stt && rule.knows_text() { text } else { 0 };
        if characters > 0 {
            generation.said(Said { text: Some(Text { characters, spoken: true }), ..Said::default() }, now);
        }
        self.scan = scan;
        characters
    }

    /// The client sent a binary message, or a part of one.
    pub fn client_binary(&mut self, length: u64, known: &[u8], now: Instant) {
        if has_binary(&self.rule.input)
            && let Some(running) = self.hearing(now)
        {
            running.generation.input(length, known);
        }
    }

    /// Whether binary messages of the client's, and of the provider's, are audio.
    #[must_use]
    pub fn hears_binary(&self) -> (bool, bool) {
        (has_binary(&self.rule.input), has_binary(&self.rule.audio))
    }

    /// The one to which the client's audio belongs. A transcription begins with it, and takes no slot.
    fn hearing(&mut self, now: Instant) -> Option<&mut Running<P>> {
        if self.running.is_empty() && self.rule.kind == GenerationKind::Stt {
            let generation = Generation::new(&self.rule, &self.facts, self.watch, now).without_text();
            self.running.push(Running { generation, slot: P::default() });
        }
        self.running.last_mut()
    }

    /// A text of the provider's: audio in it is counted. Whether it has to be parsed and given to [`Tracker::provider`].
    pub fn provider_text(&mut self, text: &[u8], now: Instant) -> bool {
        let rule = Arc::clone(&self.rule);
        if !self.any_run() && !rule.have_starts() {
            return false;
        }
        let Some(found) = skim(&rule.audio, text) else { return rule.may_matter(text) };
        let id = found.beside(&rule.id_names);
        let id = id.as_deref().and_then(|id| std::str::from_utf8(id).ok()).map(known_id);
        let resumed = self.resumed;
        let at = self.about(id.as_deref());
        if let Some(running) = at.and_then(|at| self.running.get_mut(at)).or(self.overflow.as_mut()) {
            running.generation.member(&found, resumed, now);
        }
        let (before, behind) = found.around;
        rule.may_matter(before) || rule.may_matter(behind)
    }

    /// The provider sent a binary message, or a part of one.
    pub fn provider_binary(&mut self, length: u64, known: &[u8], now: Instant) {
        let resumed = self.resumed;
        if has_binary(&self.rule.audio)
            && let Some(running) = self.about(None).and_then(|at| self.running.get_mut(at))
        {
            running.generation.audio(length, known, resumed, now);
        }
    }

    /// A text of the provider's, too long to be looked at, goes by: it may have been audio of any of those that run.
    pub fn unseen(&mut self) {
        let all = self.running.iter_mut().chain(&mut self.overflow);
        all.for_each(|running| running.generation.unseen());
    }

    /// Looks at a message of the provider's that may matter.
    pub fn provider(&mut self, evidence: &Evidence<'_>, now: Instant) {
        let (rule, id) = (Arc::clone(&self.rule), self.rule.id(evidence));
        if rule.starts(evidence) && self.find(&id).is_none() && self.has_room() {
            let generation = Generation::new(&rule, &self.facts, self.watch, now).known_as(&id, Duration::ZERO);
            self.running.push(Running { generation, slot: P::default() });
        }
        let (ends, result) = (rule.ends(evidence), rule.is_result(evidence));
        let id = Some(id).filter(|id| !id.is_empty());
        if let Some(running) = self.about(id.as_deref()).and_then(|at| self.running.get_mut(at)) {
            running.generation.figures(&rule, evidence);
            match result {
                true => running.generation.result(now),
                false => running.generation.heard(now),
            }
        }
        if ends {
            // Without an id it is the end of the one that has none.
            let at = id.as_deref().map_or_else(|| self.place(""), |id| self.about(Some(id)));
            self.finish(at, Outcome::Complete, now);
        }
    }

    /// The client does not take what comes, or takes it again.
    pub fn blocked(&mut self, blocked: bool, now: Instant) {
        if self.blocked && !blocked {
            self.resumed = now;
        }
        self.blocked = blocked;
    }

    /// When something is due, if nothing comes before.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let running = self.in_turn().iter().filter(|_| !self.blocked);
        running.filter_map(|running| Some(running.generation.due(self.resumed)?.0)).min()
    }

    /// Ends what is silent by now: it is among the ended, and untold.
    pub fn overdue(&mut self, now: Instant) {
        if self.blocked {
            return;
        }
        let resumed = self.resumed;
        let due = |running: &Running<P>| running.generation.due(resumed).filter(|(due, _)| *due <= now);
        let first = |all: &[Running<P>]| all.iter().enumerate().find_map(|(at, one)| Some((at, due(one)?.1)));
        while let Some((at, silent)) = first(self.in_turn()) {
            self.take(at, Outcome::Silent, Some(silent), None, now);
        }
    }

    /// Those that the provider works on: without ids one after the other.
    fn in_turn(&self) -> &[Running<P>] {
        match self.rule.have_ids() {
            true => &self.running,
            false => self.running.get(..1).unwrap_or_default(),
        }
    }

    /// Whether any run.
    #[must_use]
    pub fn any_run(&self) -> bool {
        !self.running.is_empty() || self.overflow.is_some()
    }

    /// Whether somebody waits for the provider.
    #[must_use]
    pub fn works(&self) -> bool {
        self.running.iter().any(|running| running.generation.works())
    }

    /// The ids of those that run, where they have any.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        let with_ids = self.running.iter().filter(|_| self.rule.have_ids());
        with_ids.map(|running| running.generation.id().to_owned()).filter(|id| !id.is_empty()).collect()
    }

    /// Whether one more may run.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.running.len() < MOST
    }

    /// A generation has its slot. One for which there is no room is counted with others of its kind.
    pub fn began(&mut self, beginning: Box<Beginning>, slot: P, now: Instant) {
        let Beginning { id, said, facts, since } = *beginning;
        let queued = now.saturating_duration_since(since);
        let mut generation = Generation::new(&self.rule, &facts, self.watch, now);
        if !self.has_room() {
            generation.unwatched();
            return self.overflow.get_or_insert(Running { generation, slot }).generation.said(said, now);
        }
        generation = generation.known_as(&id, queued);
        generation.said(said, now);
        self.running.push(Running { generation, slot });
    }

    /// A generation has none.
    pub fn refuse(&mut self, beginning: Box<Beginning>) {
        if !beginning.said.last {
            if self.refused.len() == MOST {
                let _ = self.refused.remove(0);
            }
            self.refused.push(beginning.id);
        }
    }

    /// The limits of those that begin from now on.
    pub fn watch(&mut self, watch: Watch) {
        self.watch = watch;
    }

    fn place(&self, id: &str) -> Option<usize> {
        self.running.iter().position(|running| running.generation.id() == id)
    }

    fn find(&mut self, id: &str) -> Option<&mut Running<P>> {
        self.running.iter_mut().find(|running| running.generation.id() == id)
    }

    /// The one that a message of the client's is about. Without ids, one that would begin a generation begins the next one once the client
    /// has said all in the last: the provider takes them one after the other.
    fn spoken_to(&mut self, id: &str, begins: bool) -> Option<&mut Running<P>> {
        if self.rule.have_ids() {
            return self.find(id);
        }
        let next = begins && self.rule.have_ends();
        self.running.last_mut().filter(|last| !(next && last.generation.is_whole()))
    }

    /// The one that a message of the provider's is about: of one without an id the only one, or the one that has none. An id that
    /// nobody gave is the provider's own, for the one that has none.
    fn about(&self, id: Option<&str>) -> Option<usize> {
        let Some(id) = id.filter(|_| self.rule.have_ids()) else {
            return Some(0).filter(|_| self.running.len() == 1).or_else(|| self.place(""));
        };
        let known = || self.past.iter().any(|past| **past == *id);
        self.place(id).or_else(|| self.place("").filter(|_| !known()))
    }
}

fn has_binary(places: &[AudioPlace]) -> bool {
    places.iter().any(|place| matches!(place, AudioPlace::Binary))
}
