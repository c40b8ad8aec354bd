//! `speechgate explain`: a recorded failure in; what it means, why, and what the metrics will say, out.
//!
//! A recorded HTTP answer takes the same way as a live one: hyper parses it, the same reader bounds and decodes its body,
//! the same detectors look at it.

use crate::canon::envelope::{self, Stamp};
use crate::canon::explain::{Explanation, explain};
use crate::canon::{CanonicalError, Evidence, Fault, Matched, Observed, Phase, Profile, resolve};
use crate::proxy::errors::timestamp;
use http::HeaderMap;
use std::fmt::Write as _;
use std::time::SystemTime;

mod recorded;

pub use recorded::Recorded;

/// How a recorded failure arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A whole answer: status line, headers, body.
    Http,
    /// The events of a stream.
    Sse,
    /// Lines of JSON.
    Ndjson,
    /// One text message.
    Websocket,
    /// A close: `1008 the reason`.
    Close,
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
            _ => return None,
        })
    }

    /// What the bytes look like: an answer begins with its status line, a close with its code, a stream with a field.
    #[must_use]
    pub fn guess(bytes: &[u8]) -> Transport {
        let text = bytes.trim_ascii_start();
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| text.starts_with(prefix.as_bytes()));
        if begins(&["HTTP/", "> "]) {
            Transport::Http
        } else if begins(&["data:", "event:", "id:", "retry:", ":"]) {
            Transport::Sse
        } else if text.first() == Some(&b'{') {
            let lines = text.split(|byte| *byte == b'\n').filter(|line| line.trim_ascii().starts_with(b"{"));
            if lines.count() > 1 { Transport::Ndjson } else { Transport::Websocket }
        } else {
            Transport::Close
        }
    }
}

/// What a recorded failure means.
#[derive(Debug)]
pub struct Verdict {
    /// The failure; none when everything passes untouched.
    pub error: Option<CanonicalError>,
    /// The HTTP status that the caller gets; none for streams and sockets.
    pub status: Option<u16>,
    /// The value of the `transport` label.
    pub transport: &'static str,
    /// How it was recognised.
    pub found: String,
    /// Everything that was asked.
    pub explanation: Explanation,
}

impl Verdict {
    fn untouched(found: impl Into<String>, status: Option<u16>, transport: &'static str) -> Verdict {
        Verdict { error: None, status, transport, found: found.into(), explanation: Explanation::default() }
    }

    /// Classifies one observation.
    fn of(
        profile: &Profile,
        seen: &Observed<'_>,
        transport: &'static str,
        found: String,
        fatal: Option<bool>,
    ) -> Verdict {
        let evidence = Evidence::new(seen);
        let classified = resolve(profile, &evidence);
        let explanation = explain(profile, &evidence, &classified.matched);
        let mut error = classified.error;
        error.fatal = error.fatal.or(fatal);
        let status = match seen.phase {
            Phase::Http | Phase::Handshake => Some(error.code.status()),
            Phase::Job => seen.status,
            _ => None,
        };
        Verdict { error: Some(error), status, transport, found, explanation }
    }
}

/// What a recorded failure means to a provider. `request` is the method and the path that it answered, when known.
///
/// # Errors
/// What is wrong with the recording, in one sentence.
pub async fn verdict(
    profile: &Profile,
    transport: Transport,
    request: Option<(&str, &str)>,
    bytes: &[u8],
) -> Result<Verdict, String> {
    match transport {
        Transport::Http => http(profile, request, bytes).await,
        Transport::Sse | Transport::Ndjson => Ok(stream(profile, transport, request, bytes, &HeaderMap::new())),
        Transport::Websocket => Ok(one(profile, Phase::Frame, request, bytes.trim_ascii(), None, &HeaderMap::new())),
        Transport::Close => close(profile, bytes),
    }
}

async fn http(profile: &Profile, request: Option<(&str, &str)>, bytes: &[u8]) -> Result<Verdict, String> {
    let recorded = Recorded::read(bytes).await?;
    let own = recorded.request.as_ref().map(|(method, path)| (method.as_str(), path.as_str()));
    let request = request.or(own);
    let status = recorded.status;
    let mut seen = Observed::http(status, &recorded.headers, &recorded.body, SystemTime::now());
    seen.truncated = recorded.truncated;
    if status >= 400 {
        let found = format!("an HTTP status of {status} is always a failure");
        let transport = if recorded.upgrade { "websocket" } else { "http" };
        seen.phase = if recorded.upgrade { Phase::Handshake } else { Phase::Http };
        return Ok(Verdict::of(profile, &seen, transport, found, None));
    }
    let media_type = recorded.headers.get(http::header::CONTENT_TYPE).map(|value| value.as_bytes()).unwrap_or_default();
    let lines = [&b"ndjson"[..], b"jsonl", b"x-json-stream"];
    if memchr::memmem::find(media_type, b"event-stream").is_some() {
        return Ok(stream(profile, Transport::Sse, request, &recorded.body, &recorded.headers).with_status(status));
    }
    if lines.iter().any(|kind| memchr::memmem::find(media_type, kind).is_some()) {
        return Ok(stream(profile, Transport::Ndjson, request, &recorded.body, &recorded.headers).with_status(status));
    }
    seen.phase = Phase::Job;
    let evidence = Evidence::new(&seen);
    Ok(match profile.detect(request, &evidence) {
        Some(detector) => {
            let found = format!("{} errors[{}]: a failure inside a {status}", profile.name(), detector.index);
            Verdict::of(profile, &seen, "job", found, detector.fatal)
        }
        None => Verdict::untouched(format!("a {status} in which no detector finds a failure"), Some(status), "http"),
    })
}

impl Verdict {
    fn with_status(mut self, status: u16) -> Verdict {
        self.status = Some(status);
        self
    }
}

/// The first event or line that is a failure; half of one at the end is a stream that broke.
fn stream(
    profile: &Profile,
    transport: Transport,
    request: Option<(&str, &str)>,
    bytes: &[u8],
    headers: &HeaderMap,
) -> Verdict {
    let (phase, label) = match transport {
        Transport::Sse => (Phase::Sse, "sse"),
        _ => (Phase::Ndjson, "ndjson"),
    };
    let (units, broken) = recorded::units(phase, bytes);
    for (event, data) in &units {
        let verdict = one(profile, phase, request, data, event.as_deref(), headers);
        if verdict.error.is_some() {
            return verdict;
        }
    }
    if broken {
        let fault = Fault::ResponseBodyIncomplete;
        let found = "the stream ends in the middle of an event".to_owned();
        let error = Some(CanonicalError::from_fault(fault));
        return Verdict { error, status: None, transport: label, found, explanation: Explanation::default() };
    }
    Verdict::untouched(format!("{} events, none of them a failure", units.len()), None, label)
}

/// One event, line or message.
fn one(
    profile: &Profile,
    phase: Phase,
    request: Option<(&str, &str)>,
    bytes: &[u8],
    event: Option<&str>,
    headers: &HeaderMap,
) -> Verdict {
    let label = match phase {
        Phase::Sse => "sse",
        Phase::Ndjson => "ndjson",
        _ => "websocket",
    };
    let seen =
        Observed { phase, status: None, sse_event: event, ..Observed::http(0, headers, bytes, SystemTime::now()) };
    let evidence = Evidence::new(&seen);
    match profile.detect(request, &evidence) {
        Some(detector) => {
            let found = format!("{} errors[{}]", profile.name(), detector.index);
            Verdict::of(profile, &seen, label, found, detector.fatal)
        }
        None => Verdict::untouched("no detector finds a failure in it", None, label),
    }
}

fn close(profile: &Profile, bytes: &[u8]) -> Result<Verdict, String> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    let (code, reason) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let code: u16 =
        code.parse().map_err(|_| format!("`{code}` is not a close code; expected for example `1008 the reason`"))?;
    let headers = HeaderMap::new();
    let seen = Observed {
        phase: Phase::Close,
        status: None,
        ws_code: Some(code),
        ws_reason: Some(reason.trim()).filter(|reason| !reason.is_empty()),
        ..Observed::http(0, &headers, b"", SystemTime::now())
    };
    let evidence = Evidence::new(&seen);
    let detector = profile.detect(None, &evidence);
    let normal = matches!(code, 1000 | 1001 | 1005);
    Ok(match detector {
        Some(detector) => {
            let found = format!("{} errors[{}]", profile.name(), detector.index);
            Verdict::of(profile, &seen, "websocket", found, Some(true))
        }
        None if normal => Verdict::untouched("a normal close", None, "websocket"),
        None => Verdict::of(profile, &seen, "websocket", format!("a close with {code} is a failure"), Some(true)),
    })
}

/// The whole report.
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
    let now = timestamp();
    let stamp = Stamp {
        request_id: "00000000000000000000000000",
        timestamp: &now,
        provider: Some(profile.name()),
        route: Some("explain"),
        upstream_body: true,
        docs: None,
    };
    let json = envelope::canonical(error, &stamp);
    let pretty =
        serde_json::from_slice::<serde_json::Value>(&json).and_then(|value| serde_json::to_string_pretty(&value));
    line(&pretty.unwrap_or_default());
    line("");
    line(&format!("# found      {}", verdict.found));
    if let Some(status) = verdict.status {
        line(&format!("# status     {status}"));
    }
    for (name, value) in &verdict.explanation.read {
        line(&format!("# read       {name}: {}", one_line(value)));
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

/// What decided, in one word, for tests and labels.
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
