//! Answers of a provider that is well: JSON, audio, audio in JSON, events.

use super::audio::{Chunk, Chunks, Format, base64};
use super::choose::decode;
use super::dialect::{Row, Say, query};
use super::speech::{Spoken, duration, timing};
use super::stream::{Step, Steps};
use super::template::{Vars, fill};
use bytes::{Bytes, BytesMut};
use http::request::Parts;
use serde_json::{Value, json};
use std::time::Duration;

/// What the caller asked for.
pub(crate) struct Asked {
    spoken: Vec<Spoken>,
    format: Format,
    timestamps: bool,
    context_id: Value,
    rpc_id: Value,
    pace: f64,
    visits: usize,
}

/// A success, ready to be sent.
pub(crate) struct Made {
    pub(crate) steps: Steps,
    /// All of it, when there is no point in streaming.
    pub(crate) whole: Option<Bytes>,
    /// The time to the first byte.
    pub(crate) first: Duration,
    pub(crate) content_type: &'static str,
    /// Whether the format is not the one that was asked for.
    pub(crate) instead: bool,
}

/// How much faster than it plays audio is made.
pub(crate) const SPEED: f64 = 10.0;

impl Asked {
    /// Reads what a row of this kind needs to know.
    pub(crate) fn read(parts: &Parts, body: &[u8], row: &Row, pace: f64, visits: usize) -> Asked {
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = ["text", "transcript", "prompt"].iter().find_map(|key| json.get(*key)?.as_str());
        let wanted = query(&parts.uri, "output_format").map(|value| json!(String::from_utf8_lossy(&decode(value))));
        let wanted = wanted.or_else(|| json.get("output_format").filter(|value| !value.is_null()).cloned());
        let wanted = wanted.or_else(|| form_format(body)).unwrap_or_else(|| json!(row.format));
        Asked {
            spoken: timing(text.unwrap_or("All of this was spoken by a simulator.")),
            format: Format::read(&wanted),
            timestamps: json.get("add_timestamps") == Some(&Value::Bool(true)),
            context_id: json.get("context_id").cloned().unwrap_or_default(),
            rpc_id: json.get("id").cloned().unwrap_or_else(|| json!("1")),
            pace,
            visits,
        }
    }
}

/// `output_format[container]` and its fellows in a multipart form.
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

/// The answer that `row` promises.
pub(crate) fn make(row: &'static Row, asked: &Asked, mut vars: Vars) -> Made {
    vars.insert("context_id".into(), asked.context_id.clone());
    vars.insert("rpc_id".into(), asked.rpc_id.clone());
    // The same text always takes the same time, between 30 and 80 ms.
    let text: u64 = asked.spoken.iter().map(|spoken| u64::from(u32::from(spoken.character))).sum();
    let first = Duration::from_millis(if row.say == Say::Json { 12 } else { 30 + text * 7 % 51 });
    let mut made = Made {
        steps: Box::new(std::iter::empty()),
        whole: None,
        first,
        content_type: "application/json",
        instead: row.say != Say::Json && asked.format.instead,
    };
    let body = row.body.get(asked.visits.min(row.body.len().saturating_sub(1))).map_or("", String::as_str);
    match row.say {
        Say::Json => made.with_text(fill(body, &vars)),
        Say::Spoken => {
            let all = whole(asked);
            vars.extend(timed(&all, 0));
            vars.insert("content_type".into(), asked.format.content_type().into());
            made.with_text(fill(body, &vars));
        }
        Say::Audio => {
            made.content_type = asked.format.content_type();
            let pace = asked.pace;
            made.steps =
                Box::new(chunks(asked).flat_map(move |chunk| [Step::Send(chunk.audio.clone()), pause(&chunk, pace)]));
        }
        Say::Events | Say::Lines => {
            made.content_type = if row.say == Say::Events { "text/event-stream" } else { "application/x-ndjson" };
            made.steps = told(row, asked, vars);
        }
    }
    if let Some(content_type) = &row.content_type {
        made.content_type = content_type;
    }
    made
}

impl Made {
    fn with_text(&mut self, text: String) {
        let bytes = Bytes::from(text);
        let half = bytes.len() / 2;
        // For the case that the answer is broken off in between.
        self.steps = Box::new(std::iter::once(Step::Send(bytes.slice(..half))));
        self.whole = Some(bytes);
    }
}

fn chunks(asked: &Asked) -> Chunks {
    Chunks::new(asked.spoken.clone(), asked.format)
}

fn pause(chunk: &Chunk, pace: f64) -> Step {
    Step::Pause(Duration::from_secs_f64(chunk.seconds / SPEED * pace))
}

/// All chunks in one.
fn whole(asked: &Asked) -> Chunk {
    let mut audio = BytesMut::new();
    for chunk in chunks(asked) {
        audio.extend_from_slice(&chunk.audio);
    }
    Chunk { audio: audio.freeze(), spoken: asked.spoken.clone(), seconds: duration(&asked.spoken) }
}

/// Events or lines: one for each chunk, one for its words when the caller wants them, one for the end.
fn told(row: &'static Row, asked: &Asked, vars: Vars) -> Steps {
    let end = fill(&row.end, &vars);
    let timed_template = row.timed.as_ref().filter(|_| asked.timestamps);
    let (pace, mut words) = (asked.pace, 0);
    let parts = chunks(asked).flat_map(move |chunk| {
        let mut vars = vars.clone();
        vars.extend(timed(&chunk, words));
        let count = vars.get("words").and_then(Value::as_array).map_or(0, Vec::len);
        words += count;
        let mut text = fill(&row.chunk, &vars);
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
