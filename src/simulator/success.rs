//! Answers of a provider that works: JSON, audio, audio in JSON, events.

use super::audio::{Chunk, Chunks, Format, base64};
use super::dialect::{Content, Endpoint};
use super::script::{Step, Steps};
use super::speech::{Spoken, duration, timing};
use super::template::{Vars, fill};
use super::uri::{percent_decode, query};
use bytes::{Bytes, BytesMut};
use http::request::Parts;
use serde_json::{Value, json};
use std::time::Duration;

/// What the client wants to hear, and how.
pub(crate) struct SpeechRequest {
    spoken: Vec<Spoken>,
    format: Format,
    timestamps: bool,
    context_id: Value,
    rpc_id: Value,
    pace: f64,
    visits: usize,
}

/// A success, ready to be sent.
pub(crate) struct Success {
    pub(crate) steps: Steps,
    /// All of it, when there is no point in streaming.
    pub(crate) whole: Option<Bytes>,
    /// The time to the first byte.
    pub(crate) first: Duration,
    pub(crate) content_type: &'static str,
    /// Whether the format is not the one that was asked for.
    pub(crate) instead: bool,
}

/// How much faster than it plays audio is success.
pub(crate) const SPEED: f64 = 10.0;

impl SpeechRequest {
    /// Reads what an answer of this kind depends on.
    pub(crate) fn read(parts: &Parts, body: &[u8], endpoint: &Endpoint, pace: f64, visits: usize) -> SpeechRequest {
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = ["text", "transcript", "prompt"].iter().find_map(|key| json.get(*key)?.as_str());
        let wanted =
            query(&parts.uri, "output_format").map(|value| json!(String::from_utf8_lossy(&percent_decode(value))));
        let wanted = wanted.or_else(|| json.get("output_format").filter(|value| !value.is_null()).cloned());
        let wanted = wanted.or_else(|| form_format(body)).unwrap_or_else(|| json!(endpoint.format));
        SpeechRequest {
            spoken: timing(text.unwrap_or("All of this was spoken by a simulator.")),
            format: Format::read(&wanted),
            timestamps: json.get("add_timestamps") == Some(&Value::Bool(true)),
            context_id: json.get("context_id").cloned().unwrap_or_default(),
            rpc_id: json.get("id").cloned().unwrap_or_else(|| json!("1")),
            pace,
            visits,
        }
    }

    /// The same with nothing to say.
    pub(crate) fn unspoken(mut self) -> SpeechRequest {
        self.spoken.clear();
        self
    }
}

/// `output_format[container]` and the like in a multipart form.
fn form_format(body: &[u8]) -> Option<Value> {
    let text = String::from_utf8_lossy(&body[..body.len().min(64 * 1024)]);
    let field = |name: &str| {
        let at = text.find(&format!("name=\"output_format[{name}]\""))?;
        let value = text[at..].split("\r\n\r\n").nth(1)?.split("\r\n").next()?;
        Some(value.to_owned())
    };
    let container = field("container")?;
    let rate: Option<u32> = field("sample_rate").and_then(|rate| rate.parse().ok());
    Some(json!({ "container": container, "encoding": field("encoding"), "sample_rate": rate }))
}

/// The answer that `endpoint` promises.
pub(crate) fn make(endpoint: &'static Endpoint, asked: &SpeechRequest, mut vars: Vars) -> Success {
    vars.insert("context_id".into(), asked.context_id.clone());
    vars.insert("rpc_id".into(), asked.rpc_id.clone());
    // The same text always takes the same time, between 30 and 80 ms.
    let text: u64 = asked.spoken.iter().map(|spoken| u64::from(u32::from(spoken.character))).sum();
    let first = Duration::from_millis(if endpoint.say == Content::Json { 12 } else { 30 + text * 7 % 51 });
    let mut success = Success {
        steps: Box::new(std::iter::empty()),
        whole: None,
        first,
        content_type: "application/json",
        instead: endpoint.say != Content::Json && asked.format.instead,
    };
    let body = endpoint.body.get(asked.visits.min(endpoint.body.len().saturating_sub(1))).map_or("", String::as_str);
    match endpoint.say {
        Content::Json => success.with_text(fill(body, &vars)),
        Content::Spoken => {
            let all = whole(asked);
            vars.extend(timed(&all, 0));
            vars.insert("content_type".into(), asked.format.content_type().into());
            success.with_text(fill(body, &vars));
        }
        Content::Audio => {
            success.content_type = asked.format.content_type();
            let pace = asked.pace;
            success.steps =
                Box::new(chunks(asked).flat_map(move |chunk| [Step::Send(chunk.audio.clone()), pause(&chunk, pace)]));
        }
        Content::Events | Content::Lines => {
            success.content_type =
                if endpoint.say == Content::Events { "text/event-stream" } else { "application/x-ndjson" };
            success.steps = events(endpoint, asked, vars);
        }
    }
    if let Some(content_type) = &endpoint.content_type {
        success.content_type = content_type;
    }
    success
}

impl Success {
    fn with_text(&mut self, text: String) {
        let bytes = Bytes::from(text);
        let half = bytes.len() / 2;
        // For the case that the answer is broken off in between.
        self.steps = Box::new(std::iter::once(Step::Send(bytes.slice(..half))));
        self.whole = Some(bytes);
    }
}

fn chunks(asked: &SpeechRequest) -> Chunks {
    Chunks::new(asked.spoken.clone(), asked.format)
}

fn pause(chunk: &Chunk, pace: f64) -> Step {
    Step::Pause(Duration::from_secs_f64(chunk.seconds / SPEED * pace))
}

/// All chunks in one.
fn whole(asked: &SpeechRequest) -> Chunk {
    let mut audio = BytesMut::new();
    for chunk in chunks(asked) {
        audio.extend_from_slice(&chunk.audio);
    }
    Chunk { audio: audio.freeze(), spoken: asked.spoken.clone(), seconds: duration(&asked.spoken) }
}

/// Events or lines: one for each chunk, one for its words when the client wants them, one for the end.
fn events(endpoint: &'static Endpoint, asked: &SpeechRequest, vars: Vars) -> Steps {
    let end = fill(&endpoint.end, &vars);
    let timed_template = endpoint.timed.as_ref().filter(|_| asked.timestamps);
    let (pace, mut words) = (asked.pace, 0);
    let parts = chunks(asked).flat_map(move |chunk| {
        let mut vars = vars.clone();
        vars.extend(timed(&chunk, words));
        let count = vars.get("words").and_then(Value::as_array).map_or(0, Vec::len);
        words += count;
        let mut text = fill(&endpoint.chunk, &vars);
        if let Some(timed) = timed_template.filter(|_| count > 0) {
            text.push_str(&fill(timed, &vars));
        }
        [Step::Send(Bytes::from(text)), pause(&chunk, pace)]
    });
    let end = (!end.is_empty()).then(|| Step::Send(Bytes::from(end)));
    Box::new(parts.chain(end))
}

/// A chunk's audio and its timing in every form that a provider has for it.
pub(crate) fn timed(chunk: &Chunk, words_before: usize) -> Vars {
    let words = words(&chunk.spoken);
    let each = |value: fn(&Spoken) -> Value| -> Value { chunk.spoken.iter().map(value).collect() };
    let every = |value: fn(&Word) -> Value| -> Value { words.iter().map(value).collect() };
    let list = words.iter().enumerate();
    let list: Value = list
        .map(|(i, word)| json!({"index": words_before + i, "word": word.text, "start": word.start, "end": word.end}))
        .collect();
    let values = [
        ("audio", json!(base64(&chunk.audio))),
        ("characters", each(|spoken| json!(spoken.character))),
        ("character_starts", each(|spoken| json!(millis(spoken.start)))),
        ("character_ends", each(|spoken| json!(millis(spoken.end)))),
        ("character_starts_ms", each(|spoken| json!((spoken.start * 1000.0).round() as u64))),
        ("character_durations_ms", each(|spoken| json!(((spoken.end - spoken.start) * 1000.0).round() as u64))),
        ("words", every(|word| json!(word.text))),
        ("word_starts", every(|word| json!(word.start))),
        ("word_ends", every(|word| json!(word.end))),
        ("word_list", list),
    ];
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

struct Word {
    text: String,
    start: f64,
    end: f64,
}

/// The words that are spoken here; a chunk never holds half a word.
fn words(spoken: &[Spoken]) -> Vec<Word> {
    let runs = spoken.split(|spoken| spoken.character.is_whitespace());
    let word = |run: &[Spoken]| {
        let (first, last) = (run.first()?, run.last()?);
        Some(Word {
            text: run.iter().map(|spoken| spoken.character).collect(),
            start: millis(first.start),
            end: millis(last.end),
        })
    };
    runs.filter_map(word).collect()
}

fn millis(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}
