//! `speechgate explain`: what a recorded failure means, why, and which metric labels it gets.
//!
//! A recorded HTTP response is processed like a live one: hyper parses it, the same reader bounds and decodes its body, and the
//! gateway's own function decides whether it is an error.

use crate::canon::explain::{Explanation, explain};
use crate::canon::grpc;
use crate::canon::{CanonicalError, Evidence, Fault, Matched, Observed, Phase, Profile};
use crate::detect::{self, Coded, Detected, Form, Framing};
use crate::telemetry;
use std::fmt::Write as _;
use std::time::SystemTime;

mod document;
mod recorded;

pub use document::{Explained, document};
pub use recorded::Recorded;

/// The transport of a recorded failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A whole response: status line, headers, body.
    Http,
    /// The events of a stream.
    Sse,
    /// Lines of JSON.
    Ndjson,
    /// One message, text or binary.
    Websocket,
    /// A close: `1008 the reason`.
    Close,
    /// The trailers of a gRPC call, one a line: `grpc-status: 8`.
    Grpc,
}

impl Transport {
    /// The transport of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Transport> {
        Some(match name {
            "http" => Transport::Http,
            "sse" => Transport::Sse,
            "ndjson" => Transport::Ndjson,
            "websocket" => Transport::Websocket,
            "close" => Transport::Close,
            "grpc" => Transport::Grpc,
            _ => return None,
        })
    }

    /// Guesses the transport from the bytes: a response begins with its status line, a close with its code, a stream with a
    /// field.
    #[must_use]
    pub fn guess(bytes: &[u8]) -> Transport {
        let text = bytes.trim_ascii_start();
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| text.starts_with(prefix.as_bytes()));
        if begins(&["HTTP/", "> "]) {
            Transport::Http
        } else if text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"grpc-")) {
            Transport::Grpc
        } else if begins(&["data:", "event:", "id:", "retry:", ":"]) {
            Transport::Sse
        } else if text.first() == Some(&b'{') {
            let lines = text.split(|byte| *byte == b'\n').filter(|line| line.trim_ascii().starts_with(b"{"));
            if lines.count() > 1 { Transport::Ndjson } else { Transport::Websocket }
        } else if text.first().is_some_and(u8::is_ascii_digit) {
            Transport::Close
        } else {
            Transport::Websocket
        }
    }
}

/// What a recorded failure means.
#[derive(Debug)]
pub struct Verdict {
    /// The failure; none when everything is passed through.
    pub error: Option<CanonicalError>,
    /// The HTTP status that the client gets; none for streams and sockets.
    pub status: Option<u16>,
    /// The value of the `transport` label.
    pub transport: &'static str,
    /// How it was recognised.
    pub found: String,
    /// The steps of the decision.
    pub explanation: Explanation,
}

impl Verdict {
    fn untouched(found: impl Into<String>, status: Option<u16>, transport: &'static str) -> Verdict {
        Verdict { error: None, status, transport, found: found.into(), explanation: Explanation::default() }
    }

    /// The verdict on one observation, if it is an error.
    fn of(profile: &Profile, request: Option<(&str, &str)>, seen: &Observed<'_>) -> Option<Verdict> {
        let evidence = Evidence::new(seen);
        let Detected { error, detector, .. } = detect::detect(profile, request, &evidence)?;
        let (_, explanation) = explain(profile, &evidence);
        let status = match seen.phase {
            Phase::Http | Phase::Handshake => Some(error.code.status()),
            Phase::Job => seen.status,
            _ => None,
        };
        let found = match (detector, seen.phase, seen.status) {
            (Some(detector), Phase::Job, Some(status)) => {
                format!("{} errors[{}]: a failure inside a {status}", profile.name(), detector.index)
            }
            (Some(detector), ..) => format!("{} errors[{}]", profile.name(), detector.index),
            (None, Phase::Close, _) => format!("a close with {} is a failure", seen.ws_code.unwrap_or_default()),
            (None, Phase::Grpc, _) => {
                let number = seen.grpc.map_or(0, grpc::Status::number);
                format!("a gRPC status of {number} ({}) is always a failure", grpc::name(number))
            }
            (None, _, status) => format!("an HTTP status of {} is always a failure", status.unwrap_or_default()),
        };
        Some(Verdict { error: Some(error), status, transport: label(seen.phase), found, explanation })
    }

    fn with_status(mut self, status: u16) -> Verdict {
        self.status = Some(status);
        self
    }
}

/// The value of the `transport` label.
fn label(phase: Phase) -> &'static str {
    telemetry::metrics::Transport::from(phase).as_str()
}

/// The verdict on a recording of this provider. `request` is the method and the path of the request, when known.
///
/// # Errors
/// A sentence on what is wrong with the recording.
pub async fn verdict(
    profile: &Profile,
    transport: Transport,
    request: Option<(&str, &str)>,
    bytes: &[u8],
) -> Result<Verdict, String> {
    match transport {
        Transport::Http => http(profile, request, bytes).await,
        Transport::Sse => Ok(stream(profile, Framing::Sse, request, bytes)),
        Transport::Ndjson => Ok(stream(profile, Framing::Ndjson, request, bytes)),
        Transport::Websocket => {
            // An editor may have added a line break to a text.
            let is_text = std::str::from_utf8(bytes).is_ok_and(|text| !text.contains('\0'));
            let text = if is_text { bytes.trim_ascii() } else { bytes };
            let suspected = detect::suspects(profile, Phase::Frame, text);
            let coded = Coded::message(profile.codec(request), text);
            let seen = coded.observed(Observed::frame(coded.body(), SystemTime::now()));
            let found = Verdict::of(profile, request, &seen);
            let untouched = || Verdict::untouched("no detector finds a failure in it", None, label(Phase::Frame));
            Ok(found.filter(|_| suspected).unwrap_or_else(untouched))
        }
        Transport::Close => close(profile, request, bytes),
        Transport::Grpc => trailers(profile, request, bytes),
    }
}

async fn http(profile: &Profile, request: Option<(&str, &str)>, bytes: &[u8]) -> Result<Verdict, String> {
    let recorded = Recorded::read(bytes).await?;
    let own = recorded.request.as_ref().map(|(method, path)| (method.as_str(), path.as_str()));
    let request = request.or(own);
    let (status, headers, now) = (recorded.status, &recorded.headers, SystemTime::now());
    let coded = Coded::body_of(headers, &recorded.body);
    let body = coded.body();
    let untouched = |found: &str| Verdict::untouched(format!("a {status} {found}"), Some(status), label(Phase::Http));
    let seen = match Form::of(profile, request, status, headers) {
        Form::Stream(framing) => return Ok(stream(profile, framing, request, &recorded.body).with_status(status)),
        Form::Empty => return Ok(untouched("without content")),
        Form::Plain => return Ok(untouched("in which nobody looks for failures")),
        Form::Inspected if recorded.undecodable => return Ok(untouched("whose content coding is unknown")),
        Form::Inspected => Observed::job(status, headers, body, now),
        Form::Error if recorded.upgrade => Observed::handshake(status, headers, body, now),
        Form::Error => Observed::http(status, headers, body, now),
    };
    let found = Verdict::of(profile, request, &coded.observed(seen).cut(recorded.truncated));
    Ok(found.unwrap_or_else(|| untouched("in which no detector finds a failure")))
}

/// The first event or line that is a failure, or that the last one is missing; half a failure at the end is a stream that broke
/// off.
fn stream(profile: &Profile, framing: Framing, request: Option<(&str, &str)>, bytes: &[u8]) -> Verdict {
    let (units, unseen) = recorded::units(framing, bytes);
    let transport = label(framing.phase());
    let broken = |how: &str| Verdict {
        error: Some(CanonicalError::from_fault(Fault::ResponseBodyIncomplete)),
        status: None,
        transport,
        found: format!("the stream ends {how}"),
        explanation: Explanation::default(),
    };
    let mut last = request.and_then(|(method, path)| profile.stream(framing.phase(), method, path));
    for unit in &units {
        let (now, data) = (SystemTime::now(), unit.data.as_deref().unwrap_or_default());
        let coded = Coded::message(framing.codec(), &unit.raw);
        let seen = match framing {
            Framing::Sse => Observed::event(unit.name.as_deref(), data, now),
            Framing::Ndjson => Observed::line(data, now),
            Framing::EventStream => coded.observed(Observed::event(coded.name(), coded.body(), now)),
        };
        let seen = seen.cut(unit.cut);
        let suspect = unit.data.is_some() && detect::suspects(profile, framing.phase(), &unit.raw);
        if let Some(verdict) = suspect.then(|| Verdict::of(profile, request, &seen)).flatten() {
            return if unit.unended && !unit.cut && detect::is_cut(data) {
                broken("in the middle of a failure")
            } else {
                verdict
            };
        }
        if unit.unended && framing == Framing::EventStream {
            return broken("in the middle of a message");
        }
        let _ = last.take_if(|last| last.ends(&Evidence::new(&seen)));
    }
    if last.is_some() && !unseen {
        return broken("without its last event");
    }
    Verdict::untouched(format!("{} events, none of them a failure", units.len()), None, transport)
}

fn close(profile: &Profile, request: Option<(&str, &str)>, bytes: &[u8]) -> Result<Verdict, String> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    let (code, reason) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let code: u16 =
        code.parse().map_err(|_| format!("`{code}` is not a close code; expected for example `1008 the reason`"))?;
    let found = Verdict::of(profile, request, &Observed::close(code, reason.trim(), SystemTime::now()));
    Ok(found.unwrap_or_else(|| Verdict::untouched("a normal close", None, label(Phase::Close))))
}

/// The trailers of a gRPC call. A call that ends without a status has failed as well.
fn trailers(profile: &Profile, request: Option<(&str, &str)>, bytes: &[u8]) -> Result<Verdict, String> {
    let fields = recorded::fields(bytes)?;
    let Some(status) = grpc::Status::read(&fields) else {
        return Ok(Verdict {
            error: Some(CanonicalError::from_fault(Fault::NotGrpc)),
            found: "the call ends without a `grpc-status`".to_owned(),
            ..Verdict::untouched("", None, label(Phase::Grpc))
        });
    };
    let found = Verdict::of(profile, request, &Observed::grpc(&status, &fields, SystemTime::now()));
    Ok(found.unwrap_or_else(|| Verdict::untouched("a gRPC status of 0 (OK)", None, label(Phase::Grpc))))
}

/// The report for people.
#[must_use]
pub fn report(profile: &Profile, verdict: &Verdict) -> String {
    let mut text = String::new();
    let mut line = |line: &str| {
        let _ = writeln!(text, "{line}");
    };
    let Some(error) = &verdict.error else {
        line("# passes untouched");
        line(&format!("  {}", verdict.found));
        return text;
    };
    line(&serde_json::to_string_pretty(&document::written(profile, error)).unwrap_or_default());
    line("");
    line(&format!("# found      {}", verdict.found));
    if let Some(status) = verdict.status {
        line(&format!("# status     {status}"));
    }
    if verdict.transport == label(Phase::Grpc) {
        let number = error.code.row().grpc;
        line(&format!("# gRPC       {number} {}", grpc::name(number.into())));
    }
    for read in verdict.explanation.read.iter().filter(|read| read.taken) {
        let Some(value) = &read.value else { continue };
        line(&format!("# read       {}: {} ({} of {})", read.field, one_line(value), read.selector, read.profile));
    }
    for asked in &verdict.explanation.asked {
        let mark = if asked.matched { "matched   " } else { "not       " };
        line(&format!("# {mark} {}: {}", asked.place, one_line(&asked.why)));
    }
    line(&format!("# means      {}: {}", error.code, error.code.row().sentence));
    line(&format!("# to do      {}", error.code.row().advice));
    if let Some(fatal) = error.fatal.filter(|_| matches!(verdict.transport, "websocket" | "sse" | "ndjson")) {
        line(&format!("# session    {}", if fatal { "ends with it" } else { "goes on" }));
    }
    line(&format!(
        "# counted    speechgate_errors_total{{route=\"…\",provider=\"{}\",type=\"{}\",code=\"{}\",origin=\"{}\",transport=\"{}\"}}",
        profile.name(),
        error.code.kind(),
        error.code,
        error.origin.as_str(),
        verdict.transport
    ));
    if error.upstream.is_some() {
        line(&format!(
            "# counted    speechgate_upstream_errors_total{{route=\"…\",provider=\"{}\",upstream_code=\"{}\",code=\"{}\"}}",
            profile.name(),
            error.upstream_label,
            error.code
        ));
    }
    if error.unmapped {
        line(&format!("# counted    speechgate_unmapped_errors_total{{route=\"…\",provider=\"{}\"}}", profile.name()));
        let code = error.upstream.as_ref().and_then(|upstream| upstream.code.as_deref());
        if let Some(code) = code {
            line(&format!("# unmapped   add to the profile:  [codes]  {code:?} = \"{}\"", error.code));
        }
    }
    text
}

/// The kind of evidence that decided, in one word, for tests and labels.
#[must_use]
pub fn decided_by(matched: &Matched<'_>) -> &'static str {
    match matched {
        Matched::Rule(..) => "rule",
        Matched::Code(..) => "code",
        Matched::Word(_) => "word",
        Matched::Status(_) => "status",
        Matched::Close(_) => "close",
        Matched::Text(_) => "text",
        Matched::Nothing => "nothing",
    }
}

fn one_line(text: &str) -> String {
    let flat: String = text.chars().map(|char| if char.is_control() { ' ' } else { char }).take(160).collect();
    flat
}
