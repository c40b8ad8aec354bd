//! From what was observed to what it means: the one place that decides whether something is an error.
//!
//! The gateway, `speechgate explain` and the corpus test all ask here, so that they cannot come to differ. Pure.

mod coded;

pub use coded::{Coded, codec_of, encode, recode};

use crate::canon::detectors::Detector;
use crate::canon::grpc;
use crate::canon::{CanonicalError, Classified, Codec, Evidence, Matched, Phase, Profile, resolve};
use crate::wire::close;
use crate::wire::coding::StreamCoding;
use http::{HeaderMap, HeaderValue, header};
use serde::de::IgnoredAny;

/// Largest body, event or line that is looked at for an error; larger ones pass untouched.
pub const LIMIT: usize = 64 * 1024;

/// So much of a success that calls itself audio is looked at.
const FIRST_BYTES: usize = 64;

/// The close codes with which nothing is wrong.
const CLEAN: [u16; 3] = [1000, 1001, close::NO_STATUS];

/// The names under which newline-separated JSON goes.
pub const NDJSON: [&str; 6] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/x-json-stream",
    "application/stream+json",
];

/// What kind of answer this is, as its head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The whole answer is an error, whatever its body says.
    Error,
    /// It has no content by its nature (RFC 9110 6.4.1).
    Empty,
    /// A stream, each piece of which may be an error.
    Stream(Framing),
    /// A success in whose body a failure may hide.
    Inspected,
    /// Bytes that nobody looks at.
    Plain,
}

/// How a stream is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `text/event-stream`
    Sse,
    /// Newline-separated JSON.
    Ndjson,
    /// Binary messages of AWS: `application/vnd.amazon.eventstream`
    EventStream,
}

/// An error, and how it was recognised.
#[derive(Debug)]
pub struct Detected<'p> {
    /// What it means.
    pub error: CanonicalError,
    /// What decided that.
    pub matched: Matched<'p>,
    /// What recognised it; none where the protocol itself says that it is an error.
    pub detector: Option<&'p Detector>,
}

impl Form {
    /// The form of an answer to this request, given as method and path. Where nobody knows the request, every body is
    /// inspected in which the profile looks for failures at all.
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
    /// The framing that an answer announces; none when it is no stream of events, or one whose coding cannot be undone piece
    /// by piece. `lines`: whether what calls itself JSON is newline-separated here, as the profile says.
    fn of(headers: &HeaderMap, lines: impl FnOnce() -> bool) -> Option<Framing> {
        let media_type = headers.get(header::CONTENT_TYPE)?;
        let essence = media_type.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let is = |name: &&str| essence.eq_ignore_ascii_case(name.as_bytes());
        let framing = if is(&"text/event-stream") {
            Framing::Sse
        } else if NDJSON.iter().any(is) || is(&"application/json") && lines() {
            Framing::Ndjson
        } else if codec_of(headers) == Some(Codec::EventStream) {
            Framing::EventStream
        } else {
            return None;
        };
        let readable = media_type.to_str().is_ok() && StreamCoding::of(headers).is_some();
        readable.then_some(framing)
    }

    /// The phase in which its pieces are.
    #[must_use]
    pub fn phase(self) -> Phase {
        match self {
            // A message with a name and a payload is an event, however it is framed.
            Framing::Sse | Framing::EventStream => Phase::Sse,
            Framing::Ndjson => Phase::Ndjson,
        }
    }

    /// The codec of its pieces, where they are not text.
    #[must_use]
    pub fn codec(self) -> Option<Codec> {
        match self {
            Framing::Sse | Framing::Ndjson => None,
            Framing::EventStream => Some(Codec::EventStream),
        }
    }
}

/// Whether an answer calls itself audio, video or an image.
#[must_use]
pub fn is_media(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    [&b"audio/"[..], b"video/", b"image/"]
        .iter()
        .any(|kind| media_type.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind)))
}

/// Whether the beginning of a body leaves it open that it is JSON in which a failure may hide.
#[must_use]
pub fn may_be_json(body: &[u8]) -> bool {
    matches!(body.trim_ascii_start().first(), None | Some(b'{' | b'[' | 0xEF))
}

/// Whether this begins like JSON and its end is missing. A failure of which only half has come at the end of a stream is not what
/// the provider had to say: the stream broke.
#[must_use]
pub fn is_cut(bytes: &[u8]) -> bool {
    let looks_like_json = matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['));
    looks_like_json && serde_json::from_slice::<IgnoredAny>(bytes).is_err_and(|error| error.is_eof())
}

/// Whether the beginning of a success leaves it open that a failure hides in it. Of what calls itself audio only bytes that are
/// certainly no audio do: the beginning of a JSON object or of a page, all of it text.
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

/// Whether a piece of a stream or a message may be an error, by its bytes as they came: all that most pieces are ever asked.
#[must_use]
pub fn suspects(profile: &Profile, phase: Phase, raw: &[u8]) -> bool {
    profile.may_be_error(phase, raw)
}

/// What an observation means; none when it is no error. `request` is the method and the path that it answers, when known.
#[must_use]
pub fn detect<'p>(
    profile: &'p Profile,
    request: Option<(&str, &str)>,
    evidence: &Evidence<'_>,
) -> Option<Detected<'p>> {
    let detector = || profile.detect(request, evidence);
    let (detector, fatal) = match evidence.phase {
        // A connection that ended, a status of 400 or more and the status of a gRPC call speak for themselves.
        Phase::Http | Phase::Handshake | Phase::Abort => (None, None),
        Phase::Grpc if evidence.grpc.is_none_or(grpc::Status::is_ok) => return None,
        Phase::Grpc => (None, Some(true)),
        Phase::Frame if evidence.body.len() > LIMIT => return None,
        // What has fields of its own may say all in them.
        Phase::Frame
            if evidence.coded.is_none_or(|(codec, _)| !codec.has_fields())
                && evidence.body.trim_ascii_start().first() != Some(&b'{') =>
        {
            return None;
        }
        Phase::Job if evidence.truncated || evidence.body.len() > LIMIT => return None,
        // A page is an answer of its own, but not where it calls itself audio.
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
