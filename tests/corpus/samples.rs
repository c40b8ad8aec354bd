//! The recordings under `tests/corpus`, taken apart into what may be an error.

use super::{ROOT, streams};
use http::{HeaderMap, HeaderName, HeaderValue};
use speechgate::canon::{Codec, Observed, Phase};
use speechgate::config::built_in;
use speechgate::detect::{self, Form, Framing};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// One sample, taken apart.
pub(super) struct Sample {
    /// `provider/name.ext`
    pub(super) name: String,
    pub(super) provider: String,
    pub(super) request: Option<(String, String)>,
    pub(super) status: Option<u16>,
    pub(super) headers: HeaderMap,
    /// What may be the error, in order: one body, or every event or line.
    pub(super) units: Vec<Unit>,
}

/// One body, event, line, message or close.
pub(super) struct Unit {
    pub(super) phase: Phase,
    /// What the relay sees: an event with its field lines.
    pub(super) raw: Vec<u8>,
    pub(super) body: Vec<u8>,
    pub(super) event: Option<String>,
    pub(super) close: Option<(u16, String)>,
    /// What it is coded in, where its stream says so.
    pub(super) codec: Option<Codec>,
}

impl Unit {
    pub(super) fn new(phase: Phase, body: &[u8]) -> Unit {
        Unit { phase, raw: body.to_vec(), body: body.to_vec(), event: None, close: None, codec: None }
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in fs::read_dir(Path::new(ROOT).join("tests/corpus")).expect("tests/corpus") {
        let folder = folder.expect("folder").path();
        if folder.is_dir() {
            files.extend(fs::read_dir(&folder).expect("samples").map(|entry| entry.expect("entry").path()));
        }
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension != "json"));
    files.sort();
    assert!(files.len() > 400, "only {} samples", files.len());
    files.iter().map(|file| sample(file)).collect()
}

fn sample(file: &Path) -> Sample {
    let provider = file.parent().and_then(Path::file_name).expect("folder").to_string_lossy().into_owned();
    let name = format!("{provider}/{}", file.file_name().expect("name").to_string_lossy());
    let bytes = fs::read(file).expect("sample");
    let mut sample =
        Sample { name, provider, request: None, status: None, headers: HeaderMap::new(), units: Vec::new() };
    sample.units = match file.extension().and_then(|extension| extension.to_str()) {
        Some("http") => http_units(&bytes, &mut sample),
        Some("sse") => events(&bytes),
        Some("ndjson") => lines(&bytes),
        Some("bin") => vec![Unit::new(Phase::Frame, &bytes)],
        Some("ws") => vec![Unit::new(Phase::Frame, bytes.trim_ascii_end())],
        Some("close") => {
            let text = String::from_utf8(bytes).expect("UTF-8");
            let (code, reason) = text.trim_end().split_once(' ').unwrap_or((text.trim_end(), ""));
            let close = (code.parse().expect("close code"), reason.to_owned());
            vec![Unit { close: Some(close), ..Unit::new(Phase::Close, b"") }]
        }
        Some("grpc") => {
            for line in String::from_utf8(bytes).expect("UTF-8").lines() {
                let (name, value) = line.split_once(':').expect("a trailer");
                let _ = sample.headers.append(
                    name.parse::<HeaderName>().expect("a name"),
                    HeaderValue::from_str(value.trim()).expect("a value"),
                );
            }
            vec![Unit::new(Phase::Grpc, b"")]
        }
        other => panic!("{}: {other:?} is no kind of sample", sample.name),
    };
    sample
}

fn http_units(bytes: &[u8], sample: &mut Sample) -> Vec<Unit> {
    let at = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("an empty line behind the head");
    let (head, body) = (std::str::from_utf8(&bytes[..at]).expect("UTF-8"), &bytes[at + 4..]);
    let mut phase = Phase::Http;
    for line in head.split("\r\n") {
        if let Some(asked) = line.strip_prefix("> ") {
            let mut words = asked.split(' ').map(str::to_owned);
            sample.request = words.next().zip(words.next());
            if words.next().is_some() {
                phase = Phase::Handshake;
            }
        } else if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
            sample.status = Some(rest[..3].parse().expect("status"));
        } else {
            let (name, value) = line.split_once(':').expect("a header field");
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a field name");
            let _ = sample.headers.append(name, HeaderValue::from_str(value.trim()).expect("a field value"));
        }
    }
    let field = |name: &str| sample.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    assert_eq!(field("content-length"), body.len().to_string(), "{}: content-length", sample.name);
    let profile = built_in(&sample.provider).expect("a built-in profile").expect("a valid profile");
    let request = sample.request.as_ref().map(|(method, path)| (method.as_str(), path.as_str()));
    let form = Form::of(&profile, request, sample.status.expect("a status line"), &sample.headers);
    sample.units = match form {
        Form::Error => vec![Unit::new(phase, body)],
        Form::Stream(Framing::Ndjson) => lines(body),
        Form::Stream(Framing::Sse) => events(body),
        Form::Stream(Framing::EventStream) => messages(body),
        Form::Inspected | Form::Plain | Form::Empty => vec![Unit::new(Phase::Job, body)],
    };
    let cut = streams::cut(&profile, sample);
    sample.units.drain(..).chain(cut).collect()
}

/// One event or line, as a stream's judge sees it.
pub(super) fn read_event(unit: &Unit) -> Observed<'_> {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
    match unit.phase {
        Phase::Ndjson => Observed::line(&unit.body, now),
        _ => Observed::event(unit.event.as_deref(), &unit.body, now),
    }
}

fn lines(bytes: &[u8]) -> Vec<Unit> {
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    lines.map(|line| Unit::new(Phase::Ndjson, line)).collect()
}

fn messages(mut bytes: &[u8]) -> Vec<Unit> {
    let mut units = Vec::new();
    while let Some(length) = bytes.first_chunk::<4>() {
        let (message, rest) = bytes.split_at(u32::from_be_bytes(*length) as usize);
        units.push(Unit { codec: Some(Codec::EventStream), ..Unit::new(Phase::Sse, message) });
        bytes = rest;
    }
    units
}

fn events(bytes: &[u8]) -> Vec<Unit> {
    let text = String::from_utf8(bytes.to_vec()).expect("UTF-8").replace("\r\n", "\n");
    let mut blocks: Vec<&str> = text.split("\n\n").collect();
    let rest = blocks.pop().filter(|rest| !rest.trim().is_empty());
    let event = |block: &str| {
        let field = |name: &str| {
            let values = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            values.map(|value| value.strip_prefix(' ').unwrap_or(value).to_owned()).collect::<Vec<_>>()
        };
        let (raw, data) = (block.as_bytes().to_vec(), field("data").join("\n"));
        Unit { raw, event: field("event").pop(), ..Unit::new(Phase::Sse, data.as_bytes()) }
    };
    // Half a failure at the end is a stream that broke; anything else passes as it is.
    let rest = rest.map(event).map(|last| if detect::is_cut(&last.body) { Unit::new(Phase::Abort, b"") } else { last });
    blocks.into_iter().map(event).chain(rest).collect()
}
