//! What is said in calls of gRPC: statuses, sentences, details, and messages that clients can read. Written byte by byte, so that the
//! gateway's reading is held against something else than itself.

use crate::simulator::fault::Fault;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use serde_json::Value;

/// The names of google.rpc.Code, by number.
const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The trailers of a call that went well.
pub(super) fn success() -> HeaderMap {
    trailers_of(0, "", &[])
}

/// The trailers of a failure: its own number where it has one, else that of its HTTP status.
pub(super) fn trailers(fault: &Fault) -> HeaderMap {
    let body: Value = serde_json::from_str(&fault.body).unwrap_or_default();
    let error = body.get("error").unwrap_or(&body);
    let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (name, message) = (text("status"), text("message"));
    let number = match fault.name.strip_prefix("grpc-").and_then(|number| number.parse().ok()) {
        Some(number) => number,
        None => by_name(&name).unwrap_or_else(|| by_status(fault.status)),
    };
    let reason = error.pointer("/details/0/reason").and_then(Value::as_str).filter(|reason| by_name(reason).is_none());
    let reason = reason.or(Some(name.as_str()).filter(|name| !name.is_empty() && by_name(name).is_none()));
    let mut details = Vec::new();
    if let Some(reason) = reason {
        details.push(any("ErrorInfo", &[field(1, reason.as_bytes()), field(2, b"googleapis.com")].concat()));
    }
    if number == 8 {
        // google.protobuf.Duration of one second.
        details.push(any("RetryInfo", &field(1, &[8, 1])));
    }
    trailers_of(number, &message, &details)
}

/// As many calls as the plan sells are running.
pub(super) fn plan_is_full() -> HeaderMap {
    trailers_of(8, "Quota exceeded: too many concurrent streams.", &[])
}

/// A typing mistake in a test must not pass for a provider's answer.
pub(super) fn no_such_fault(name: &str) -> HeaderMap {
    let mut trailers = trailers_of(12, &format!("there is no fault-{name} here"), &[]);
    trailers.insert("x-simulator-note", HeaderValue::from_static("no such fault"));
    trailers
}

/// A message that answers one of a client's, with its prefix: audio or words where the method is one of the known services, else
/// one without members, which is a message of every type.
pub(super) fn answer(path: &str) -> Bytes {
    let words = field(1, &field(1, b"hello there"));
    let message = if path.contains("Synthesize") {
        field(1, &[0; 640])
    } else if path.contains("nvidia.riva") && path.contains("Recognize") {
        field(1, &words)
    } else if path.contains("speech.v2") && path.contains("StreamingRecognize") {
        field(6, &words)
    } else if path.contains("speech.v2") && path.contains("Recognize") {
        field(3, &words)
    } else if path.contains("Recognize") {
        field(2, &words)
    } else {
        Vec::new()
    };
    let length = u32::try_from(message.len()).unwrap_or_default().to_be_bytes();
    Bytes::from([&[0], &length[..], &message].concat())
}

fn by_name(name: &str) -> Option<u8> {
    NAMES.iter().position(|known| *known == name).and_then(|number| u8::try_from(number).ok())
}

/// As code.proto has it, the other way round.
fn by_status(status: u16) -> u8 {
    match status {
        400 => 3,
        401 => 16,
        403 => 7,
        404 => 5,
        409 => 10,
        429 => 8,
        499 => 1,
        501 => 12,
        503 => 14,
        504 => 4,
        _ => 13,
    }
}

fn trailers_of(number: u8, message: &str, details: &[Vec<u8>]) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(u16::from(number)));
    let encoded: String = message
        .bytes()
        .map(|byte| match byte {
            b' '..=b'~' if byte != b'%' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    trailers.extend(
        HeaderValue::from_str(&encoded).ok().map(|message| (http::HeaderName::from_static("grpc-message"), message)),
    );
    if !details.is_empty() {
        let details: Vec<u8> = details.iter().flat_map(|detail| field(3, detail)).collect();
        let status = [&[8, number][..], &field(2, message.as_bytes()), &details].concat();
        let value = HeaderValue::from_str(&STANDARD_NO_PAD.encode(status)).ok();
        trailers.extend(value.map(|value| (http::HeaderName::from_static("grpc-status-details-bin"), value)));
    }
    trailers
}

/// `google.protobuf.Any`
fn any(name: &str, message: &[u8]) -> Vec<u8> {
    let url = format!("type.googleapis.com/google.rpc.{name}");
    [field(1, url.as_bytes()), field(2, message)].concat()
}

/// A member of protobuf that has a length.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = value.len();
    while length >= 128 {
        bytes.push(u8::try_from(length % 128).unwrap_or_default() | 128);
        length /= 128;
    }
    bytes.push(u8::try_from(length).unwrap_or_default());
    bytes.extend_from_slice(value);
    bytes
}
