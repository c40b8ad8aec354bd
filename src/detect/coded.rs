//! Bodies and messages that are encoded other than as plain JSON: decoding them to JSON, and replacing that JSON.

use crate::canon::{Codec, Observed};
use crate::wire::event_stream::{self, Message};
use crate::wire::headed;
use crate::wire::packed::Packing;
use http::{HeaderMap, HeaderValue, header};
use serde_json::{Map, Value};

/// The media types of each codec.
const TYPES: [(&str, Codec); 6] = [
    ("application/msgpack", Codec::Msgpack),
    ("application/x-msgpack", Codec::Msgpack),
    ("application/vnd.msgpack", Codec::Msgpack),
    ("application/cbor", Codec::Cbor),
    ("application/problem+cbor", Codec::Cbor),
    ("application/vnd.amazon.eventstream", Codec::EventStream),
];

/// A body or a message, decoded.
#[derive(Debug)]
pub struct Coded<'a> {
    raw: &'a [u8],
    decoded: Option<Decoded<'a>>,
}

#[derive(Debug)]
struct Decoded<'a> {
    codec: Codec,
    headers: HeaderMap,
    body: Body<'a>,
}

#[derive(Debug)]
enum Body<'a> {
    Within(&'a [u8]),
    Made(Vec<u8>),
}

impl<'a> Coded<'a> {
    /// A message of a WebSocket. One that is not valid in the codec is used as it is.
    #[must_use]
    pub fn message(codec: Option<Codec>, raw: &'a [u8]) -> Coded<'a> {
        Coded { raw, decoded: codec.and_then(|codec| decode(codec, raw)) }
    }

    /// The body of a response, whose head names the codec.
    #[must_use]
    pub fn body_of(headers: &HeaderMap, raw: &'a [u8]) -> Coded<'a> {
        Coded::message(codec_of(headers), raw)
    }

    /// The decoded body: JSON or text.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        match self.decoded.as_ref().map(|decoded| &decoded.body) {
            None => self.raw,
            Some(Body::Within(body)) => body,
            Some(Body::Made(body)) => body,
        }
    }

    /// The name of an event: what the message says that it is.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        let headers = &self.decoded.as_ref()?.headers;
        let names = ["exception-type", "error-code", "event-type"];
        names.iter().find_map(|name| headers.get(*name)?.to_str().ok())
    }

    /// Whether the original is binary.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        self.decoded.as_ref().is_some_and(|decoded| decoded.codec.is_binary())
    }

    /// The same with what stands beside its body as `clean` gives it: fields of an event stream, and the block before a text. None when
    /// that changes nothing.
    #[must_use]
    pub fn with_fields(&self, mut clean: impl FnMut(&[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
        match self.decoded.as_ref()?.codec {
            Codec::EventStream => Message::read(self.raw)?.with_fields(clean),
            Codec::Headed => {
                let headed = headed::read(self.raw)?;
                Some([&clean(headed.block)?, headed.body].concat())
            }
            Codec::Msgpack | Codec::Cbor => None,
        }
    }

    /// The original with another body.
    #[must_use]
    pub fn with_body(&self, body: &[u8]) -> Option<Vec<u8>> {
        self.decoded.as_ref().map_or_else(|| Some(body.to_vec()), |decoded| recode(decoded.codec, self.raw, body))
    }

    /// Completes an observation whose body came from here; the body in `seen` may have been redacted.
    #[must_use]
    pub fn observed<'s>(&'s self, seen: Observed<'s>) -> Observed<'s> {
        match &self.decoded {
            None => seen,
            Some(decoded) if decoded.codec.has_fields() => seen.coded(decoded.codec, self.raw).within(&decoded.headers),
            Some(decoded) => seen.coded(decoded.codec, self.raw),
        }
    }
}

/// The codec of a body, by its head.
#[must_use]
pub fn codec_of(headers: &HeaderMap) -> Option<Codec> {
    codec_named(essence(headers.get(header::CONTENT_TYPE)?))
}

/// A media type without its parameters.
pub(super) fn essence(media_type: &HeaderValue) -> &[u8] {
    media_type.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

/// The codec of a body of this type.
pub(super) fn codec_named(essence: &[u8]) -> Option<Codec> {
    TYPES.iter().find(|(name, _)| essence.eq_ignore_ascii_case(name.as_bytes())).map(|(_, codec)| *codec)
}

/// The original message with this JSON in place of its own; none when the codec has no place for it. Members that were added to a
/// packed map are appended to it, and its other bytes are unchanged.
#[must_use]
pub fn recode(codec: Codec, raw: &[u8], json: &[u8]) -> Option<Vec<u8>> {
    match codec {
        Codec::Headed => Some([headed::read(raw)?.block, json].concat()),
        Codec::EventStream => Some(Message::read(raw)?.with_payload(json)),
        Codec::Msgpack => repack(Packing::Msgpack, raw, json),
        Codec::Cbor => repack(Packing::Cbor, raw, json),
    }
}

/// Encodes a message of our own; none in a codec that has no place for one. `__type` names an exception.
#[must_use]
pub fn encode(codec: Codec, json: &[u8]) -> Option<Vec<u8>> {
    let value = || serde_json::from_slice::<Value>(json).ok();
    match codec {
        Codec::Headed => None,
        Codec::EventStream => {
            let value = value()?;
            let name = value.get("__type").and_then(Value::as_str).unwrap_or("InternalFailureException");
            Some(event_stream::exception(name, json))
        }
        Codec::Msgpack => Some(Packing::Msgpack.write(&value()?)),
        Codec::Cbor => Some(Packing::Cbor.write(&value()?)),
    }
}

fn repack(packing: Packing, raw: &[u8], json: &[u8]) -> Option<Vec<u8>> {
    let Ok(Value::Object(after)) = serde_json::from_slice::<Value>(json) else { return None };
    let Value::Object(before) = packing.read(raw)? else { return None };
    let kept = before.iter().all(|(name, value)| after.get(name) == Some(value));
    if !kept {
        return Some(packing.write(&Value::Object(after)));
    }
    let added: Map<String, Value> = after.into_iter().filter(|(name, _)| !before.contains_key(name)).collect();
    added.iter().try_fold(raw.to_vec(), |bytes, (name, value)| packing.with_member(&bytes, name, value))
}

fn decode(codec: Codec, raw: &[u8]) -> Option<Decoded<'_>> {
    let packed = |packing: Packing| {
        let body = Body::Made(serde_json::to_vec(&packing.read(raw)?).ok()?);
        Some(Decoded { codec, headers: HeaderMap::new(), body })
    };
    match codec {
        Codec::Headed => {
            let headed = headed::read(raw)?;
            Some(Decoded { codec, headers: headed.headers, body: Body::Within(headed.body) })
        }
        Codec::EventStream => {
            let message = Message::read(raw)?;
            Some(Decoded { codec, headers: message.headers(), body: Body::Within(message.payload) })
        }
        Codec::Msgpack => packed(Packing::Msgpack),
        Codec::Cbor => packed(Packing::Cbor),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::UNIX_EPOCH;

    /// A message in each codec with this value.
    fn messages(value: &Value) -> [(Codec, Vec<u8>); 4] {
        let json = value.to_string();
        [
            (Codec::Headed, format!("Path:speech.phrase\r\n\r\n{json}").into_bytes()),
            (Codec::EventStream, event_stream::exception("BadRequestException", json.as_bytes())),
            (Codec::Msgpack, Packing::Msgpack.write(value)),
            (Codec::Cbor, Packing::Cbor.write(value)),
        ]
    }

    #[test]
    fn every_codec_decodes_to_the_same_value_and_keeps_the_rest() {
        let value = json!({"reason": "error", "code": 7, "list": [1, {"a": null}]});
        for (codec, raw) in messages(&value) {
            let coded = Coded::message(Some(codec), &raw);
            assert_eq!(serde_json::from_slice::<Value>(coded.body()).expect("JSON"), value, "{codec:?}");
            let seen = coded.observed(Observed::frame(coded.body(), UNIX_EPOCH));
            assert_eq!((seen.raw(), seen.coded.map(|(codec, _)| codec)), (&raw[..], Some(codec)));
            let mut more = value.clone();
            more["gateway_error"] = json!({"code": "x"});
            let again = recode(codec, &raw, more.to_string().as_bytes()).expect("a place");
            let told = Coded::message(Some(codec), &again);
            assert_eq!(serde_json::from_slice::<Value>(told.body()).expect("JSON"), more, "{codec:?}");
            assert_eq!(told.name(), coded.name());
        }
    }

    #[test]
    fn what_stands_beside_a_body_is_cleaned() {
        let clean = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).expect("text");
            text.contains("sk-1").then(|| text.replace("sk-1", "***").into_bytes())
        };
        let field = |name: &str, kind: u8, value: &[u8]| {
            let length = u16::try_from(value.len()).expect("short").to_be_bytes();
            [&[u8::try_from(name.len()).expect("short")], name.as_bytes(), &[kind], &length, value].concat()
        };
        let blocks = [
            [field(":error-message", 7, b"bad key sk-1"), field("x", 6, b"sk-1")].concat(),
            [&field("a", 7, b"ok")[..], &[1, b'b', 4, 0, 0, 0, 1], b"\x01csk-1"].concat(),
        ];
        let expected = [
            [field(":error-message", 7, b"bad key ***"), field("x", 6, b"***")].concat(),
            [&field("a", 7, b"ok")[..], &[1, b'b', 4, 0, 0, 0, 1], b"\x01c***"].concat(),
        ];
        for (block, expected) in blocks.iter().zip(expected) {
            let message = event_stream::exception("E", b"{}");
            let raw =
                Message { fields: block, ..Message::read(&message).expect("a message") }.with_payload(b"{\"a\":1}");
            assert_eq!(event_stream::field_blocks(&[&raw[..], &raw].concat()).collect::<Vec<_>>(), [&block[..], block]);
            let coded = Coded::message(Some(Codec::EventStream), &raw);
            let cleaned = coded.with_fields(clean).expect("a key was there");
            let read = Message::read(&cleaned).expect("its checksums are right");
            assert_eq!((read.fields, read.payload), (&expected[..], &b"{\"a\":1}"[..]));
            assert_eq!(Coded::message(Some(Codec::EventStream), &cleaned).with_fields(clean), None);
        }
        let raw = b"Path:turn.end\r\nX-Key:sk-1\r\n\r\n{}";
        let cleaned = Coded::message(Some(Codec::Headed), raw).with_fields(clean).expect("a key was there");
        assert_eq!(cleaned, b"Path:turn.end\r\nX-Key:***\r\n\r\n{}");
    }

    #[test]
    fn invalid_messages_are_used_as_they_are() {
        for codec in [Codec::Headed, Codec::EventStream, Codec::Msgpack, Codec::Cbor] {
            for raw in [&b"{\"error\":\"x\"}"[..], b"", b"\xff\xfe\xfd"] {
                let coded = Coded::message(Some(codec), raw);
                assert_eq!((coded.body(), coded.name()), (raw, None), "{codec:?}");
                assert_eq!(recode(codec, raw, b"{}"), None);
            }
        }
    }

    #[test]
    fn a_body_is_in_the_codec_that_its_type_names() {
        let raw = Packing::Cbor.write(&json!({"__type": "com.amazonaws.transcribe#BadRequestException"}));
        let mut headers = HeaderMap::new();
        assert_eq!(Coded::body_of(&headers, &raw).body(), raw);
        let _ = headers.insert(header::CONTENT_TYPE, "Application/CBOR; x=y".parse().expect("a value"));
        assert!(Coded::body_of(&headers, &raw).body().starts_with(b"{\"__type\""));
    }

    #[test]
    fn an_exception_of_our_own_has_its_name() {
        let message = encode(Codec::EventStream, br#"{"__type":"LimitExceededException","Message":"m"}"#).expect("one");
        assert_eq!(Coded::message(Some(Codec::EventStream), &message).name(), Some("LimitExceededException"));
        assert_eq!(encode(Codec::Headed, b"{}"), None);
    }

    #[test]
    fn numbers_of_many_digits_are_what_they_were() {
        // A fast number parser takes some of these for their neighbours, and the message would then have been re-encoded.
        let numbers = [
            6.493_079_410_990_404_6e196,
            1.588_197_377_9e-269,
            5.508_150_913_713_994e-126,
            2.491_219_496_907_404_4e-26,
        ];
        let value = json!({"list": numbers, "more": [-1.363_115_719_979_656e57, 1.796_279_467_453_656_9e-25]});
        for (codec, raw) in messages(&value) {
            let coded = Coded::message(Some(codec), &raw);
            let mut more: Value = serde_json::from_slice(coded.body()).expect("JSON");
            assert_eq!(more, value, "{codec:?}");
            more["gateway_error"] = json!({"code": "x"});
            let again = recode(codec, &raw, more.to_string().as_bytes()).expect("a place");
            if matches!(codec, Codec::Msgpack | Codec::Cbor) {
                assert!(again.windows(raw.len() - 1).any(|bytes| bytes == &raw[1..]), "{codec:?} was written anew");
            }
        }
    }
}
