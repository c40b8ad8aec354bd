//! One generation: what has passed in it, whose time is running, and what is due.

use super::audio::AudioMeter;
use super::facts::Facts;
use super::record::{Figures, Outcome, Record};
use super::silence::{Silent, Watch};
use super::skim::Skimmed;
use crate::canon::generations::{GenerationRule, Text};
use crate::canon::{Code, Evidence, GenerationKind};
use std::time::{Duration, Instant};

/// How many bytes at the beginning of a member may be a header: that of a WAV is 44, and rarely longer.
const HEAD: usize = 512;

/// The input in a body or a message of the client's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its text; none when unknown.
    pub text: Option<Text>,
    /// Whether the client wants audio for what it has sent so far.
    pub flush: bool,
    /// Whether the client's input is complete.
    pub last: bool,
}

/// One generation.
#[derive(Debug)]
pub struct Generation {
    kind: GenerationKind,
    id: Box<str>,
    watch: Watch,
    queued: Duration,
    began: Instant,
    model: Option<Box<str>>,
    characters: Option<u64>,
    /// Whether there is something to speak.
    spoken: bool,
    /// Whether audio is still missing for some text, or a final result for some audio.
    unanswered: bool,
    /// Since when the provider's time has been running; none while it is not.
    owes: Option<Instant>,
    asked: Option<Instant>,
    /// When the client's input was complete.
    whole: Option<Instant>,
    first_byte: Option<Instant>,
    /// When the provider last sent anything for it.
    heard: Option<Instant>,
    first_audio: Option<Instant>,
    last_audio: Option<Instant>,
    longest_gap: Option<Duration>,
    input: AudioMeter,
    output: AudioMeter,
    figures: Figures,
    /// Whether the output is compressed, so that its duration is unknown.
    unmeasured: bool,
}

impl Generation {
    /// A generation that is sent to the provider now, after it has waited this long.
    #[must_use]
    pub fn new(rule: &GenerationRule, facts: &Facts, watch: Watch, now: Instant) -> Generation {
        Generation {
            kind: rule.kind,
            id: Box::default(),
            watch,
            queued: Duration::ZERO,
            began: now,
            model: facts.model().map(Box::from),
            characters: Some(0),
            spoken: false,
            unanswered: false,
            owes: None,
            asked: None,
            whole: None,
            first_byte: None,
            heard: None,
            first_audio: None,
            last_audio: None,
            longest_gap: None,
            input: AudioMeter::new(facts.input(rule)),
            output: AudioMeter::new(facts.output(rule)),
            figures: Figures::default(),
            unmeasured: false,
        }
    }

    /// Sets its id and the time for which it waited.
    pub(super) fn known_as(self, id: &str, queued: Duration) -> Generation {
        Generation { id: id.into(), queued, ..self }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Facts that were learned since it began.
    pub fn described(&mut self, rule: &GenerationRule, facts: &Facts) {
        if self.model.as_deref() != facts.model() {
            self.model = facts.model().map(Box::from);
        }
        self.input.is_in(facts.input(rule));
        self.output.is_in(facts.output(rule));
    }

    /// It can no longer be silent, because the messages cannot be parsed.
    pub fn unwatched(&mut self) {
        self.watch = Watch::default();
    }

    /// Sets its limits from now on.
    pub fn judged_by(&mut self, watch: Watch) {
        self.watch = watch;
    }

    /// Audio may have passed without being counted.
    pub(super) fn unseen(&mut self) {
        self.unwatched();
        self.output.unseen();
    }

    /// The duration of its audio cannot be derived from its bytes, which are compressed.
    pub fn unmeasured(&mut self) {
        self.unmeasured = true;
    }

    /// When audio last arrived.
    #[must_use]
    pub fn last_audio(&self) -> Option<Instant> {
        self.last_audio
    }

    /// Whether the provider has sent anything.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.first_byte.is_some()
    }

    /// Whether the client's input is complete.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.whole.is_some()
    }

    /// Whether the bytes of its audio are needed.
    pub(super) fn wants_bytes(&self) -> bool {
        self.watch.level.is_some() || self.output.wants_bytes()
    }

    /// Whether the bytes of the client's audio are needed.
    pub(super) fn wants_input(&self) -> bool {
        self.input.wants_bytes()
    }

    /// Whether the provider's time is running: a transcription continues while it is not.
    pub(super) fn works(&self) -> bool {
        self.kind != GenerationKind::Stt || self.owes.is_some()
    }

    /// The client sent input for it.
    pub fn said(&mut self, said: Said, now: Instant) {
        match said.text {
            Some(text) => {
                self.characters = self.characters.map(|characters| characters + text.characters);
                self.spoken |= text.spoken;
                self.unanswered |= text.spoken;
            }
            None => (self.characters, self.spoken, self.unanswered) = (None, true, true),
        }
        if said.last {
            let _ = self.whole.get_or_insert(now);
        }
        // A transcription still has to send a result for new audio, a voice audio for new text.
        if (said.flush || said.last) && self.unanswered {
            let _ = self.owes.get_or_insert(now);
            let _ = self.asked.get_or_insert(now);
        }
    }

    /// The client sent audio.
    pub fn input(&mut self, length: u64, known: &[u8]) {
        let _ = self.input.piece(length, known);
        self.unanswered |= self.kind == GenerationKind::Stt && length > 0;
    }

    /// It has no text: only audio counts.
    pub(super) fn without_text(self) -> Generation {
        Generation { characters: None, ..self }
    }

    /// Earlier generations have ended: from now on the provider's time is for this one.
    pub(super) fn has_its_turn(&mut self, now: Instant) {
        (self.owes, self.asked) = (self.owes.map(|_| now), self.asked.map(|_| now));
    }

    /// The client sent audio in base64.
    pub(super) fn input_member(&mut self, found: &Skimmed<'_>) {
        let head = if self.input.wants_bytes() { found.bytes(HEAD) } else { Vec::new() };
        self.input(found.length(), &head);
    }

    /// Facts in the head of the response.
    pub fn answered(&mut self, rule: &GenerationRule, facts: &Facts, now: Instant) {
        self.output.is_in(facts.output(rule));
        self.heard(now);
    }

    /// The provider sent something for it.
    pub fn heard(&mut self, now: Instant) {
        let _ = self.first_byte.get_or_insert(now);
        self.heard = Some(now);
    }

    /// The provider sent audio of this length, of which these bytes are known. `resumed` is when the client last began to read
    /// again.
    pub fn audio(&mut self, length: u64, known: &[u8], resumed: Instant, now: Instant) {
        self.heard(now);
        let loud = self.watch.level.is_none_or(|level| self.output.is_louder(level, known));
        if self.output.piece(length, known) == 0 || !loud {
            return;
        }
        let _ = self.first_audio.get_or_insert(now);
        if let (Some(last), Some(whole)) = (self.last_audio, self.whole) {
            let gap = now.saturating_duration_since(last.max(whole).max(resumed));
            self.longest_gap = self.longest_gap.max(Some(gap));
        }
        (self.last_audio, self.unanswered, self.owes) = (Some(now), false, None);
    }

    /// The provider sent audio in base64.
    pub(super) fn member(&mut self, found: &Skimmed<'_>, resumed: Instant, now: Instant) {
        let known = match () {
            () if self.watch.level.is_some() => found.bytes(usize::MAX),
            () if self.wants_bytes() => found.bytes(HEAD),
            () => Vec::new(),
        };
        self.audio(found.length(), &known, resumed, now);
    }

    /// A final result of a transcription came.
    pub(super) fn result(&mut self, now: Instant) {
        self.heard(now);
        (self.owes, self.unanswered) = (None, false);
    }

    /// Figures that the provider reports.
    pub fn figures(&mut self, rule: &GenerationRule, evidence: &Evidence<'_>) {
        rule.figures(evidence).for_each(|(place, value)| self.figures.told(place, value));
    }

    /// When the provider is next too late, and in which way, unless something arrives before, given that the client has been
    /// reading since `resumed`.
    #[must_use]
    pub fn due(&self, resumed: Instant) -> Option<(Instant, Silent)> {
        let after =
            |since: Instant, limit: Option<Duration>, silent| Some((since.max(resumed).checked_add(limit?)?, silent));
        match self.kind {
            GenerationKind::Stt => {
                let since = self.owes?;
                after(self.heard.map_or(since, |heard| heard.max(since)), self.watch.result, Silent::NoResult)
            }
            GenerationKind::Tts => match (self.owes, self.last_audio, self.whole) {
                (Some(since), _, _) => after(since, self.watch.first_audio, Silent::Late),
                (None, Some(last), Some(whole)) => after(last.max(whole), self.watch.gap, Silent::Stalled),
                (None, _, _) => None,
            },
            // A turn may call a function, or have no words at all.
            GenerationKind::Agent | GenerationKind::Other => None,
        }
    }

    /// Whether it would count as silent if it ended regularly now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.watch.empty && self.kind == GenerationKind::Tts && self.spoken && self.last_audio.is_none()
    }

    /// It has ended.
    #[must_use]
    pub fn end(mut self, outcome: Outcome, silent: Option<Silent>, code: Option<Code>, now: Instant) -> Record {
        self.input.end();
        self.output.end();
        Record {
            kind: self.kind,
            id: self.id,
            model: self.model,
            queued: self.queued,
            began: self.began,
            asked: self.asked,
            first_byte: self.first_byte,
            first_audio: self.first_audio,
            longest_gap: self.longest_gap,
            ended: now,
            characters: self.characters,
            audio_in_bytes: self.input.bytes(),
            audio_in_seconds: self.input.seconds(),
            audio_out_bytes: self.output.bytes(),
            audio_out_seconds: self.output.seconds().filter(|_| !self.unmeasured || self.output.bytes() == 0),
            figures: self.figures,
            outcome,
            silent,
            code: code.or_else(|| silent.map(|silent| silent.fault().code())),
        }
    }
}
