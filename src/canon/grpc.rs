//! gRPC: how a call ended, read from trailers and written to them.
//!
//! A status is a number in `grpc-status`, a sentence in `grpc-message` and, from many servers, a `google.rpc.Status` in
//! `grpc-status-details-bin`. What is read becomes one JSON tree in the shape that Google's REST answers have,
//! `{"error":{"code","message","status","details":[…]}}`, so that one selector reads both.

mod details;

pub use details::{Note, write_details};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use std::borrow::Cow;

/// The number of the status.
pub const STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// The sentence beside it, percent-encoded.
pub const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// A `google.rpc.Status` in base64.
pub const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// `DEADLINE_EXCEEDED`
pub const DEADLINE_EXCEEDED: u16 = 4;

/// `INTERNAL`
pub const INTERNAL: u16 = 13;

/// `UNKNOWN`: how clients read a status that is not a number.
const UNKNOWN: u16 = 2;

/// The names of `google.rpc.Code` with the HTTP statuses that `code.proto` gives them, by number.
const NAMES: [(&str, u16); 17] = [
    ("OK", 200),
    ("CANCELLED", 499),
    ("UNKNOWN", 500),
    ("INVALID_ARGUMENT", 400),
    ("DEADLINE_EXCEEDED", 504),
    ("NOT_FOUND", 404),
    ("ALREADY_EXISTS", 409),
    ("PERMISSION_DENIED", 403),
    ("RESOURCE_EXHAUSTED", 429),
    ("FAILED_PRECONDITION", 400),
    ("ABORTED", 409),
    ("OUT_OF_RANGE", 400),
    ("UNIMPLEMENTED", 501),
    ("INTERNAL", 500),
    ("UNAVAILABLE", 503),
    ("DATA_LOSS", 500),
    ("UNAUTHENTICATED", 401),
];

/// Base64 with or without padding: the protocol allows both.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    number: u16,
    message: String,
    json: Vec<u8>,
}

impl Status {
    /// The status in these trailers, or in the header fields of an answer that is nothing else; none where there is no status. One
    /// that is no number is `UNKNOWN`, as every client reads it.
    #[must_use]
    pub fn read(trailers: &HeaderMap) -> Option<Status> {
        let number = number(trailers)?;
        if number == 0 {
            return Some(Status { number, message: String::new(), json: Vec::new() });
        }
        let text = |name: &HeaderName| trailers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
        let message = percent_decoded(text(&MESSAGE)).into_owned();
        let details = decode_base64(text(&DETAILS)).map(|bytes| details::read(&bytes)).unwrap_or_default();
        let (name, status) = facts(number);
        let mut error = json!({ "code": status, "message": message, "status": name });
        if let (false, Value::Object(error)) = (details.is_empty(), &mut error) {
            let _ = error.insert("details".to_owned(), Value::Array(details));
        }
        let json = json!({ "error": error }).to_string().into_bytes();
        Some(Status { number, message, json })
    }

    /// Whether the call succeeded.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.number == 0
    }

    /// The number as it was sent.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The sentence, decoded.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// All of it as JSON; nothing of a success.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// Removes secrets from its texts; returns whether there were any.
    #[must_use]
    pub fn cleaned(self, clean: impl Fn(Vec<u8>) -> Vec<u8>) -> (Status, bool) {
        let message = clean(self.message.clone().into_bytes());
        let message = String::from_utf8(message).unwrap_or_default();
        let json = clean(self.json.clone());
        let changed = message != self.message || json != self.json;
        (Status { number: self.number, message, json }, changed)
    }
}

/// Only the number of a status, which is all that a success needs. Clients differ in which of several they take, so
/// statuses that disagree are not believed.
#[must_use]
pub fn number(trailers: &HeaderMap) -> Option<u16> {
    let read = |value: &HeaderValue| value.to_str().ok().and_then(|text| text.trim().parse().ok()).unwrap_or(UNKNOWN);
    let mut numbers = trailers.get_all(&STATUS).iter().map(read);
    let first = numbers.next()?;
    Some(if numbers.all(|other| other == first) { first } else { UNKNOWN })
}

/// The HTTP status that `google.rpc.Code` gives a number.
#[must_use]
pub fn http_status(number: u16) -> u16 {
    facts(number).1
}

/// The name of a number, as `google.rpc.Code` has it.
#[must_use]
pub fn name(number: u16) -> &'static str {
    facts(number).0
}

fn facts(number: u16) -> (&'static str, u16) {
    NAMES.get(usize::from(number)).or_else(|| NAMES.get(usize::from(UNKNOWN))).copied().unwrap_or(("UNKNOWN", 500))
}

/// A sentence encoded for `grpc-message` and cut to a number of bytes, and the part of it that was kept.
#[must_use]
pub fn percent_encoded(text: &str, most: usize) -> (String, &str) {
    let mut encoded = String::with_capacity(text.len().min(most));
    for (at, char) in text.char_indices() {
        let before = encoded.len();
        match char {
            ' '..='$' | '&'..='~' => encoded.push(char),
            _ => {
                let mut bytes = [0; 4];
                for byte in char.encode_utf8(&mut bytes).bytes() {
                    encoded.push('%');
                    encoded.extend(
                        [byte >> 4, byte & 15]
                            .map(|digit| char::from_digit(u32::from(digit), 16).unwrap_or('0').to_ascii_uppercase()),
                    );
                }
            }
        }
        if encoded.len() > most {
            encoded.truncate(before);
            return (encoded, text.get(..at).unwrap_or_default());
        }
    }
    (encoded, text)
}

/// Decodes a `grpc-message`. Invalid escapes stay as they are and invalid UTF-8 is replaced: a message is never lost
/// because of an encoding error.
#[must_use]
pub fn percent_decoded(text: &[u8]) -> Cow<'_, str> {
    if memchr::memchr(b'%', text).is_none() {
        return String::from_utf8_lossy(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                decoded.push(*byte);
                rest = after;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

/// The first of the binary values that a field holds: several may be joined by commas.
fn decode_base64(field: &[u8]) -> Option<Vec<u8>> {
    let first = field.split(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
    BASE64.decode(first).ok()
}

/// Bytes as a field whose name ends in `-bin` holds them.
#[must_use]
pub fn encode_base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

#[cfg(test)]
mod tests;
