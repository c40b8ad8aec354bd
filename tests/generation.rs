//! A tracker that is fed by hand, with a clock that is a number.

#[path = "generation/ids.rs"]
mod ids;
#[path = "generation/meter.rs"]
mod meter;

use proptest::prelude::*;
use speechgate::canon::generations::Text;
use speechgate::canon::{Code, Evidence, GenerationKind, GenerationRule, Observed, Profile, ProfileSpec};
use speechgate::generation::{Asked, Ended, Facts, Generation, Outcome, Record, Said, Silent, Tracker, Verdict, Watch};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

const CONTEXTS: &str = "[[generations]]\nid = ['$.id', '$.ID']\nbegins = { '$.text' = { exists = true } }\n\
    last = { '$.more' = { not = true } }\nflush = { '$.flush' = true }\ncancels = { '$.cancel' = true }\nends = { '$.done' = true }\n\
    text = '$.text'\naudio = '$.audio'\nformat = { default = 'pcm_16000' }\nmodel = '$.model'\n\
    figures = { characters = '$.used' }\n";

const LISTENS: &str = "[[generations]]\nkind = 'stt'\nlast = { '$.type' = 'Finish' }\nends = { '$.final' = true }\n\
    result = { '$.final' = true }\ninput = 'binary'\ninput_format = { default = 'ulaw_8000' }\n";

fn rule(text: &str) -> Arc<GenerationRule> {
    let spec: ProfileSpec = toml::from_str(text).expect("a profile");
    let profile = Profile::compile("test", spec).expect("a right profile");
    Arc::clone(profile.generations("GET", "/").expect("generations"))
}

const WATCH: Watch = Watch {
    first_audio: Some(Duration::from_secs(4)),
    gap: Some(Duration::from_secs(3)),
    empty: true,
    result: Some(Duration::from_secs(5)),
    level: None,
};

/// A tracker and its clock.
struct Bench {
    tracker: Tracker<&'static str>,
    begun: Instant,
    /// Milliseconds since it began.
    now: u64,
}

impl Bench {
    fn new(text: &str) -> Bench {
        let begun = Instant::now();
        let asked = Asked { method: "GET", path: "/", query: None };
        Bench { tracker: Tracker::new(rule(text), WATCH, asked, begun), begun, now: 0 }
    }

    fn clock(&self) -> Instant {
        self.begun + Duration::from_millis(self.now)
    }

    fn after(&mut self, milliseconds: u64) -> &mut Bench {
        self.now += milliseconds;
        self
    }

    /// `+` begins and gets a slot, `-` begins and gets none, `=` passes, `0` is swallowed.
    fn client(&mut self, text: &str, expected: char) -> &mut Bench {
        let now = self.clock();
        let verdict = seen(text, |evidence| self.tracker.client(evidence, now));
        let found = match (verdict, expected) {
            (Verdict::Pass, _) => '=',
            (Verdict::Swallow, _) => '0',
            (Verdict::Begin(beginning), '-') => {
                self.tracker.refuse(beginning);
                '-'
            }
            (Verdict::Begin(beginning), _) => {
                self.tracker.began(beginning, "slot", now);
                '+'
            }
        };
        assert_eq!(found, expected, "{text}");
        self
    }

    fn provider(&mut self, text: &str) -> &mut Bench {
        let now = self.clock();
        if self.tracker.provider_text(text.as_bytes(), now) {
            seen(text, |evidence| self.tracker.provider(evidence, now));
        }
        self
    }

    /// When something is due, in milliseconds since the beginning.
    fn due(&self) -> Option<u128> {
        self.tracker.due().map(|due| (due - self.begun).as_millis())
    }

    fn blocked(&mut self, blocked: bool) -> &mut Bench {
        let now = self.clock();
        self.tracker.blocked(blocked, now);
        self
    }

    fn overdue(&mut self) -> Vec<Ended<&'static str>> {
        let now = self.clock();
        self.tracker.overdue(now);
        self.tracker.take_ended()
    }
}

fn seen<T>(text: &str, look: impl FnOnce(&Evidence<'_>) -> T) -> T {
    look(&Evidence::new(&Observed::frame(text.as_bytes(), SystemTime::UNIX_EPOCH)))
}

/// A tenth of a second of PCM.
fn audio(id: &str) -> String {
    format!(r#"{{"id":"{id}","audio":"{}"}}"#, "AQEB".repeat(1066) + "AQE=")
}

#[test]
fn generations_begin_once_and_refused_ones_are_swallowed_to_their_end() {
    let mut bench = Bench::new(CONTEXTS);
    bench
        .client(r#"{"id":"a"}"#, '=')
        .client(r#"{"id":"a","text":"x","more":true}"#, '+')
        .client(r#"{"id":"a","text":"y","more":true}"#, '=')
        .client(r#"{"id":"b","text":"x","more":true}"#, '-')
        .client(r#"{"id":"b","text":"y","more":true}"#, '0')
        .client(r#"{"id":"a","text":"z"}"#, '=')
        .client(r#"{"id":"b","text":"z"}"#, '0')
        .client(r#"{"id":"b","text":"x"}"#, '-')
        .client(r#"{"id":"b","text":"x"}"#, '+')
        .client(r#"{"id":"b","cancel":true}"#, '=')
        .client(r#"{"id":"b","text":"x"}"#, '+');
    let ended = bench.tracker.take_ended();
    assert_eq!(ended.iter().map(|one| one.record.outcome).collect::<Vec<_>>(), [Outcome::Cancelled]);
    bench.provider(r#"{"ID":"a","done":false}"#).provider(r#"{"ID":"c","done":true}"#);
    bench.client(r#"{"text":"x"}"#, '+');
    assert!(bench.tracker.take_ended().is_empty());
    bench.provider(&audio("a")).provider(r#"{"ID":"a","done":true}"#);
    let ended = bench.tracker.take_ended();
    assert_eq!((ended.len(), ended[0].record.outcome, ended[0].slot), (1, Outcome::Complete, "slot"));
    let code = Code::VoiceNotFound;
    bench.client(r#"{"id":"d","text":"x"}"#, '+');
    bench.tracker.failed(Some("b"), code, bench.clock());
    let ended = bench.tracker.take_ended();
    assert_eq!(ended.iter().map(|one| &*one.record.id).collect::<Vec<_>>(), ["b"], "the named one");
    // One that the provider gave up without a name kept its slot as long as its socket was open.
    bench.tracker.failed(None, code, bench.clock());
    let ended = bench.tracker.take_ended();
    assert!(ended.iter().all(|one| one.record.code == Some(code) && one.record.outcome == Outcome::Failed));
    assert_eq!((ended.len(), bench.tracker.any_run()), (2, false), "all that ran");
}

#[test]
fn where_generations_have_no_ids_any_error_ends_the_one_that_runs() {
    let mut bench = Bench::new(&CONTEXTS.replace("id = ['$.id', '$.ID']\n", ""));
    bench.client(r#"{"id":"a","text":"x","more":true}"#, '+').client(r#"{"id":"b","text":"x"}"#, '=');
    bench.tracker.failed(Some("a"), Code::TextInvalid, bench.clock());
    assert_eq!(bench.tracker.take_ended().len(), 1);
    bench.client(r#"{"id":"b","text":"x"}"#, '+');
}

/// Deepgram's Speak: texts that were flushed before the first one had ended were one generation with it.
#[test]
fn without_ids_the_next_generation_begins_after_the_current_one() {
    let mut bench = Bench::new(&CONTEXTS.replace("id = ['$.id', '$.ID']\n", ""));
    bench
        .client(r#"{"text":"one","more":true}"#, '+')
        .client(r#"{}"#, '=')
        .client(r#"{"text":"three","more":true}"#, '+');
    bench.client(r#"{"text":"four"}"#, '=').after(3_000).provider(&audio(""));
    assert_eq!(bench.due(), Some(6_000), "the first one may stall");
    assert!(bench.after(2_000).provider(&audio("")).overdue().is_empty(), "the second one's time has not begun");
    bench.provider(r#"{"done":true}"#);
    assert_eq!(bench.due(), Some(9_000), "now it has");
    bench.after(100).provider(&audio("")).provider(r#"{"done":true}"#);
    let ended = bench.tracker.take_ended();
    let found: Vec<_> = ended.iter().map(|one| (one.record.characters, one.record.audio_out_seconds)).collect();
    assert_eq!(found, [(Some(3), Some(0.2)), (Some(9), Some(0.1))]);
    assert_eq!(ended[1].record.provider_time_to_first_audio(), Some(Duration::from_millis(100)));
    // What clears the line clears all of it.
    bench.client(r#"{"text":"x"}"#, '+').client(r#"{"text":"x"}"#, '+').client(r#"{"cancel":true}"#, '=');
    assert_eq!((bench.tracker.take_ended().len(), bench.tracker.any_run()), (2, false));
}

/// Deepgram's Finalize with nothing left to hear brings no answer.
#[test]
fn a_transcription_that_has_answered_everything_owes_nothing() {
    let mut bench = Bench::new(LISTENS);
    let now = bench.clock();
    bench.tracker.client_binary(160, &[], now);
    bench.client(r#"{"type":"Finish"}"#, '=');
    assert_eq!(bench.due(), Some(5_000));
    let mut bench = Bench::new(&LISTENS.replace("ends = { '$.final' = true }", "ends = { '$.over' = true }"));
    bench.tracker.client_binary(160, &[], now);
    bench.provider(r#"{"final":true}"#).client(r#"{"type":"Finish"}"#, '=');
    assert_eq!(bench.due(), None);
    bench.tracker.client_binary(160, &[], now);
    bench.client(r#"{"type":"Finish"}"#, '=');
    assert!(bench.due().is_some());
}

#[test]
fn punctuation_alone_needs_no_audio() {
    for (text, silent) in [("...", None), ("?! — “”", None), ("7", Some(Silent::Empty)), ("не", Some(Silent::Empty))]
    {
        let mut bench = Bench::new(CONTEXTS);
        bench.client(&format!(r#"{{"id":"a","text":"{text}"}}"#), '+').provider(r#"{"id":"a","done":true}"#);
        assert_eq!(bench.tracker.take_ended().remove(0).record.silent, silent, "{text}");
    }
}

#[test]
fn tracked_state_is_bounded() {
    let mut bench = Bench::new(CONTEXTS);
    for number in 0..192 {
        let text = format!(r#"{{"id":"{number}{}","text":"x","more":true}}"#, "x".repeat(10_000));
        bench.client(&text, if number < 64 { '+' } else { '-' });
    }
    assert!(!bench.tracker.has_room() && bench.tracker.ids().iter().all(|id| id.len() <= 4096 + 17));
    bench.tracker.end(Outcome::Cancelled, None, bench.clock());
    assert!(bench.tracker.has_room() && bench.tracker.take_ended().len() == 64);
}

#[test]
fn a_record_has_text_and_audio_amounts() {
    let mut bench = Bench::new(CONTEXTS);
    bench.client(r#"{"id":"a","text":"Grüße, ","more":true,"model":"sonic-3"}"#, '+').after(1000);
    bench.client(r#"{"id":"a","text":"Welt"}"#, '=').after(300).provider(&audio("a")).after(50);
    bench.provider(&audio("a")).after(700).provider(&audio("a")).after(10);
    bench.provider(r#"{"id":"a","done":true,"used":12}"#);
    let Record { id, model, characters, audio_out_seconds, longest_gap, outcome, figures, code, .. } =
        bench.tracker.take_ended().remove(0).record;
    assert_eq!((&*id, model.as_deref(), characters), ("a", Some("sonic-3"), Some(11)));
    assert_eq!((audio_out_seconds, longest_gap), (Some(0.3), Some(Duration::from_millis(700))));
    assert_eq!((outcome, figures.characters(), code), (Outcome::Complete, Some(12.0), None));
}

#[test]
fn silence_is_measured_from_when_the_provider_has_its_input() {
    // Late: from the last word on, not from the first.
    let mut bench = Bench::new(CONTEXTS);
    bench.client(r#"{"id":"a","text":"x","more":true}"#, '+').after(60_000);
    assert_eq!(bench.due(), None, "more text may come");
    bench.client(r#"{"id":"a","text":"y"}"#, '=');
    assert_eq!(bench.due(), Some(64_000));
    assert!(bench.after(3_999).overdue().is_empty());
    let ended = bench.after(1).overdue();
    assert_eq!((ended[0].record.silent, ended[0].untold), (Some(Silent::Late), true));
    assert_eq!(ended[0].record.code, Some(Code::AudioLate));
    assert_eq!((bench.due(), bench.tracker.any_run()), (None, false));

    // Stalled: only when all was said, and the client's own time does not count.
    let mut bench = Bench::new(CONTEXTS);
    bench.client(r#"{"id":"a","text":"x","more":true}"#, '+').provider(&audio("a")).after(30_000);
    assert_eq!(bench.due(), None);
    bench.client(r#"{"id":"a","text":" "}"#, '=');
    assert_eq!(bench.due(), Some(33_000), "all that was said has had audio, and the end is missing");
    bench.after(1_000).provider(&audio("a")).blocked(true);
    assert_eq!(bench.due(), None, "the client does not read");
    bench.after(20_000).blocked(false);
    assert_eq!(bench.due(), Some(54_000));
    assert_eq!(bench.after(3_000).overdue()[0].record.silent, Some(Silent::Stalled));

    // Empty: an end without audio, unless there was nothing to speak.
    let mut bench = Bench::new(CONTEXTS);
    bench.client(r#"{"id":"a","text":"x"}"#, '+').client(r#"{"id":"b","text":" "}"#, '+');
    bench.provider(r#"{"id":"a","done":true}"#).provider(r#"{"id":"b","done":true}"#);
    let ended = bench.tracker.take_ended();
    assert_eq!(ended.iter().map(|one| one.record.silent).collect::<Vec<_>>(), [Some(Silent::Empty), None]);

    // A flush counts for text that had no audio, and for nothing else.
    let mut bench = Bench::new(CONTEXTS);
    bench.client(r#"{"id":"a","text":"x","more":true}"#, '+').after(100).provider(&audio("a")).after(5_000);
    bench.client(r#"{"id":"a","text":"","flush":true,"more":true}"#, '=');
    assert_eq!(bench.due(), None);
    bench.client(r#"{"id":"a","text":"y","flush":true,"more":true}"#, '=');
    assert_eq!(bench.due(), Some(9_100));
    bench.provider(&audio("a"));
    assert_eq!(bench.due(), None);
}

#[test]
fn a_late_piece_of_one_context_is_no_sign_of_life_of_another() {
    let mut bench = Bench::new(CONTEXTS);
    bench.client(r#"{"id":"a","text":"x"}"#, '+').after(4_000);
    assert_eq!(bench.overdue().len(), 1);
    bench.client(r#"{"id":"b","text":"x"}"#, '+').provider(&audio("a")).after(4_000);
    assert_eq!(bench.overdue()[0].record.first_audio, None);
}

#[test]
fn a_transcription_owes_its_result() {
    let mut bench = Bench::new(LISTENS);
    let now = bench.clock();
    bench.tracker.client_binary(800, &[], now);
    bench.after(100_000).client(r#"{"type":"Finish"}"#, '=');
    assert_eq!(bench.due(), Some(105_000));
    bench.after(4_000).provider(r#"{"final":false,"words":"x"}"#);
    assert_eq!(bench.due(), Some(105_000), "of this nothing was parsed");
    let ended = bench.after(1_000).overdue();
    assert_eq!(ended[0].record.silent, Some(Silent::NoResult));
    assert_eq!(ended[0].record.audio_in_seconds, Some(0.1));
    let now = bench.clock();
    bench.tracker.client_binary(800, &[], now);
    bench.client(r#"{"type":"Finish"}"#, '=').after(1_000).provider(r#"{"final":true}"#);
    assert_eq!(bench.tracker.take_ended()[0].record.outcome, Outcome::Complete);
}

/// Audio.
const PIECE: &str = r#"{"id":"a","audio":"AQEBAQEB"}"#;

/// A generation of a provider that is well: the client takes its time, at most `pauses[n]` seconds between two messages or in reading.
fn healthy(pauses: &[u64]) -> Vec<Ended<&'static str>> {
    let mut bench = Bench::new(CONTEXTS);
    let mut raised = Vec::new();
    for (number, pause) in pauses.iter().enumerate() {
        let first = number == 0;
        bench.client(r#"{"id":"a","text":"word ","more":true}"#, if first { '+' } else { '=' });
        if number % 3 == 2 {
            bench.client(r#"{"id":"a","text":"word ","flush":true,"more":true}"#, '=');
            bench.after(200).provider(PIECE);
        }
        if number % 4 == 3 {
            // It speaks, and the client does not read.
            bench.provider(PIECE).blocked(true).after(pause * 1000);
            raised.extend(bench.overdue());
            bench.blocked(false).after(100).provider(PIECE);
        }
        bench.after(pause * 1000);
        raised.extend(bench.overdue());
    }
    bench.client(r#"{"id":"a","text":"end"}"#, '=').after(2_000).provider(PIECE).after(2_500);
    raised.extend(bench.overdue());
    bench.provider(r#"{"id":"a","done":true}"#);
    raised.extend(bench.overdue().into_iter().filter(|one| one.untold));
    raised
}

#[test]
fn a_hundred_thousand_healthy_generations_raise_nothing() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..100_000 {
        let pauses: Vec<u64> = (0..1 + next() % 5).map(|_| next() % 31).collect();
        let raised = healthy(&pauses);
        assert!(raised.is_empty(), "{pauses:?}: {raised:?}");
    }
}

/// A generation of HTTP whose body comes in these pieces, all at one time.
fn body(bytes: &[u8], sizes: &[usize], format: &str) -> (u64, Option<f64>) {
    let rule = rule(&format!("[[generations]]\nformat = {{ default = '{format}' }}\n"));
    let now = Instant::now();
    let mut generation = Generation::new(&rule, &Facts::default(), WATCH, now);
    let (mut left, mut sizes) = (bytes, sizes.iter().copied().cycle());
    while !left.is_empty() {
        let (piece, rest) = left.split_at(sizes.next().unwrap_or(left.len()).clamp(1, left.len()));
        generation.audio(piece.len() as u64, piece, now, now);
        left = rest;
    }
    let record = generation.end(Outcome::Complete, None, None, now);
    (record.audio_out_bytes, record.audio_out_seconds)
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_record(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..400),
        wav in any::<bool>(),
        sizes in proptest::collection::vec(1usize..90, 1..8),
    ) {
        if wav {
            let mut header = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\0\0\0\0".to_vec();
            header.append(&mut bytes);
            bytes = header;
        }
        for format in ["pcm_8000", "mp3_44100_128", "opus_48000"] {
            prop_assert_eq!(body(&bytes, &sizes, format), body(&bytes, &[bytes.len().max(1)], format));
        }
    }
}

#[test]
fn text_that_cannot_be_read_is_taken_for_speech() {
    let rule = rule("[[generations]]\n");
    let now = Instant::now();
    let mut generation = Generation::new(&rule, &Facts::default(), WATCH, now);
    generation.said(Said { text: None, flush: false, last: true }, now);
    assert_eq!(generation.due(now), Some((now + Duration::from_secs(4), Silent::Late)));
    let mut silent = Generation::new(&rule, &Facts::default(), WATCH, now);
    silent.said(Said { text: Some(Text { characters: 3, spoken: false }), flush: false, last: true }, now);
    assert_eq!((silent.due(now), silent.is_empty()), (None, false));
    assert_eq!(generation.end(Outcome::Cancelled, None, None, now).characters, None);
    assert_eq!(rule.kind, GenerationKind::Tts);
}
