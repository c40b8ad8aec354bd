//! Decides whether an observation is an error, and what it means. No other code decides that.
//!
//! The gateway, `speechgate explain` and the corpus test all call this, so that they cannot come to differ. Pure.

mod coded;
mod splitter;

pub use coded::{Coded, codec_of, encode, recode};
use coded::{codec_named, essence};
pub use splitter::Splitter;

use crate::canon::detectors::Detector;
use crate::canon::grpc;
use crate::canon::{CanonicalError, Classified, Codec, Evidence, Matched, Phase, Profile, resolve};
use crate::wire::close;
use crate::wire::coding::StreamCoding;
use http::{HeaderMap, HeaderValue, header};
use serde::de::IgnoredAny;

/// Largest body, event or line that is examined for an error; larger ones pass untouched.
pub const LIMIT: usize = 64 * 1024;

/// How much of a success that is declared as audio is examined.
const FIRST_BYTES: usize = 64;

/// The close codes that are not an error.
const CLEAN: [u16; 3] = [1000, 1001, close::NO_STATUS];

/// The media types of newline-separated JSON.
pub const NDJSON: [&str; 6] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/x-json-stream",
    "application/stream+json",
];

/// The kind of a response, judged by its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The whole response is an error, whatever its body is.
    Error,
    /// It has no body (RFC 9110 6.4.1).
    Empty,
    /// A stream; each of its pieces may be an error.
    Stream(Framing),
    /// A success whose body may contain a failure.
    Inspected,
    /// A body that is not examined.
    Plain,
}

/// The framing of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `text/event-stream`
    Sse,
    /// Newline-separated JSON.
    Ndjson,
    /// Binary messages of AWS: `application/vnd.amazon.eventstream`.
    EventStream,
}

/// An error, and how it was recognised.
#[derive(Debug)]
pub struct Detected<'p> {
    /// What it means.
    pub error: CanonicalError,
    /// What decided that.
    pub matched: Matched<'p>,
    /// The detector that recognised it; none where the protocol itself says that it is an error.
    pub detector: Option<&'p Detector>,
}

impl Form {
    /// The form of a response to this request, which is given as method and path. If the request is not known, every body is
    /// inspected, provided the profile looks for failures in bodies at all.
    #[must_use]
    pub fn of(profile: &Profile, request: Option<(&str, &str)>, status: u16, headers: &HeaderMap) -> Form {
        if status >= 400 {
            return Form::Error;
        }
        if matches!(status, 204 | 304) || request.is_some_and(|(method, _)| method == "HEAD") {
            return Form::Empty;
        }
        let lines = || request.is_some_and(|(method, path)| profile.streams_lines(method, path));
        if let Some(framing) = Framing::of(headers, lines) {
            return Form::Stream(framing);
        }
        let hides = || request.is_none_or(|(method, path)| profile.hides_failures(method, path));
        if (200..300).contains(&status) && hides() { Form::Inspected } else { Form::Plain }
    }
}

impl Framing {
    /// The framing that a response declares; none when it is not a stream of events, or when its content coding cannot be decoded
    /// piece by piece. `lines`: whether the profile says that JSON is newline-separated here.
    fn of(headers: &HeaderMap, lines: impl FnOnce() -> bool) -> Option<Framing> {
        let media_type = headers.get(header::CONTENT_TYPE)?;
        let essence = essence(media_type);
        let is = |name: &&str| essence.eq_ignore_ascii_case(name.as_bytes());
        let framing = if is(&"text/event-stream") {
            Framing::Sse
        } else if NDJSON.iter().any(is) || is(&"application/json") && lines() {
            Framing::Ndjson
        } else if codec_named(essence) == Some(Codec::EventStream) {
            Framing::EventStream
        } else {
            return None;
        };
        let readable = media_type.to_str().is_ok() && StreamCoding::of(headers).is_some();
        readable.then_some(framing)
    }

    /// The phase of the stream's pieces.
    #[must_use]
    pub fn phase(self) -> Phase {
        match self {
            // A message with a name and a payload is an event, whatever its framing.
            Framing::Sse | Framing::EventStream => Phase::Sse,
            Framing::Ndjson => Phase::Ndjson,
        }
    }

    /// The codec of the pieces, unless they are text.
    #[must_use]
    pub fn codec(self) -> Option<Codec> {
        match self {
            Framing::Sse | Framing::Ndjson => None,
            Framing::EventStream => Some(Codec::EventStream),
        }
    }
}

/// Whether a response is declared as audio, video or an image.
#[must_use]
pub fn is_media(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    [&b"audio/"[..], b"video/", b"image/"]
        .iter()
        .any(|kind| media_type.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind)))
}

/// Whether the beginning of a body allows that it is JSON, which may contain a failure.
#[must_use]
pub fn may_be_json(body: &[u8]) -> bool {
    matches!(body.trim_ascii_start().first(), None | Some(b'{' | b'[' | 0xEF))
}

/// Whether this begins like JSON but is incomplete. Half a failure at the end of a stream is not the provider's message: the
/// stream broke off.
#[must_use]
pub fn is_cut(bytes: &[u8]) -> bool {
    let looks_like_json = matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['));
    looks_like_json && serde_json::from_slice::<IgnoredAny>(bytes).is_err_and(|error| error.is_eof())
}

/// Whether the beginning of a success allows that it contains a failure. If it is declared as audio, only bytes that are
/// certainly not audio do: the beginning of a JSON object or of a page, all of it text.
#[must_use]
pub fn may_hide_failure(headers: &HeaderMap, start: &[u8]) -> bool {
    if codec_of(headers).is_some() {
        return true;
    }
    if !is_media(headers) {
        return may_be_json(start);
    }
    let start = start.trim_ascii_start();
    let start = start.get(..FIRST_BYTES).unwrap_or(start);
    let text = start.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | 32..=126 | 128..));
    let begins = match start {
        [b'{', rest @ ..] => matches!(rest.trim_ascii_start().first(), Some(b'"')),
        [b'<', rest @ ..] => matches!(rest.first(), Some(b'!' | b'?' | b'A'..=b'Z' | b'a'..=b'z')),
        _ => false,
    };
    begins && text
}

/// Whether a piece of a stream or a message may be an error, by its raw bytes. Most pieces need no other check.
#[must_use]
pub fn suspects(profile: &Profile, phase: Phase, raw: &[u8]) -> bool {
    profile.may_be_error(phase, raw)
}

/// What an observation means; none when it is not an error. `request` is the method and the path of the request, when known.
#[must_use]
pub fn detect<'p>(
    profile: &'p Profile,
    request: Option<(&str, &str)>,
    evidence: &Evidence<'_>,
) -> Option<Detected<'p>> {
    let detector = || profile.detect(request, evidence);
    let (detector, fatal) = match evidence.phase {
        // An aborted connection, a status of 400 or more and the status of a gRPC call need no detector.
        Phase::Http | Phase::Handshake | Phase::Abort => (None, None),
        Phase::Grpc if evidence.grpc.is_none_or(grpc::Status::is_ok) => return None,
        Phase::Grpc => (None, Some(true)),
        Phase::Frame if evidence.body.len() > LIMIT => return None,
        // A response with header fields may have everything in them.
        Phase::Frame
            if evidence.coded.is_none_or(|(codec, _)| !codec.has_fields())
                && evidence.body.trim_ascii_start().first() != Some(&b'{') =>
        {
            return None;
        }
        Phase::Job if evidence.truncated || evidence.body.len() > LIMIT => return None,
        // A page counts as a failed response, but not if it is declared as audio.
        Phase::Job if !(may_be_json(evidence.body) || evidence.is_markup() && is_media(evidence.headers)) => {
            return None;
        }
        Phase::Job | Phase::Sse | Phase::Ndjson | Phase::Frame => {
            let detector = detector()?;
            (Some(detector), detector.fatal)
        }
        Phase::Close => {
            let detector = detector();
            if detector.is_none() && evidence.ws_code.is_none_or(|code| CLEAN.contains(&code)) {
                return None;
            }
            (detector, Some(true))
        }
    };
    let Classified { mut error, matched } = resolve(profile, evidence);
    error.fatal = error.fatal.or(fatal);
    Some(Detected { error, matched, detector })
}
