//! MessagePack and CBOR as JSON, and JSON members put into them.
//!
//! A value is read with a bound on its depth; its size is bounded by whoever holds the bytes. What JSON has no word for is told
//! in words: bytes that are no text by their number, what is not a number as null.

use cbor4ii::core::dec::{Decode, Read};
use cbor4ii::core::enc::Encode;
use cbor4ii::core::utils::{BufWriter, SliceReader};
use rmpv::ValueRef;
use serde_json::{Map, Number, Value};
use std::borrow::Cow;

/// Deepest value that is read.
const DEPTH: usize = 64;

/// A binary form of what JSON says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// MessagePack.
    Msgpack,
    /// CBOR (RFC 8949).
    Cbor,
}

impl Packing {
    /// The value in these bytes, all of them; none when they are something else, or no map and no list.
    #[must_use]
    pub fn read(self, bytes: &[u8]) -> Option<Value> {
        let value = match self {
            Packing::Msgpack => {
                let mut rest = bytes;
                // A list and what is in it count as two.
                let value = rmpv::decode::read_value_ref_with_max_depth(&mut rest, DEPTH * 2).ok()?;
                msgpack(&value).filter(|_| rest.is_empty())?
            }
            Packing::Cbor => {
                let bytes = spelled_out(bytes)?;
                let mut reader = SliceReader::new(&bytes);
                let value = cbor4ii::core::Value::decode(&mut reader).ok()?;
                let over = reader.fill(1).ok()?.as_ref().is_empty();
                cbor(&value, DEPTH).filter(|_| over)?
            }
        };
        matches!(value, Value::Object(_) | Value::Array(_)).then_some(value)
    }

    /// A value in this form.
    #[must_use]
    pub fn write(self, value: &Value) -> Vec<u8> {
        match self {
            Packing::Msgpack => {
                let mut bytes = Vec::new();
                // A `Vec` takes every byte.
                let _ = rmpv::encode::write_value(&mut bytes, &as_msgpack(value));
                bytes
            }
            Packing::Cbor => {
                let mut bytes = BufWriter::new(Vec::new());
                let _ = as_cbor(value).encode(&mut bytes);
                bytes.into_inner()
            }
        }
    }

    /// A map with one more member behind its own, every other byte as it was; none when it is no map.
    #[must_use]
    pub fn with_member(self, map: &[u8], name: &str, value: &Value) -> Option<Vec<u8>> {
        let (head, own) = self.head(map)?;
        let (mut bytes, end) = match head {
            Some(head) => (head, &[][..]),
            // A map of unknown length ends with its own mark.
            None => (map.get(..1)?.to_vec(), map.get(map.len().checked_sub(1)?..)?),
        };
        bytes.extend_from_slice(own.get(..own.len() - end.len())?);
        bytes.extend_from_slice(&self.write(&Value::from(name)));
        bytes.extend_from_slice(&self.write(value));
        bytes.extend_from_slice(end);
        Some(bytes)
    }

    /// The head of a map with one member more, if it says how many there are, and what stands behind the head.
    fn head(self, map: &[u8]) -> Option<(Option<Vec<u8>>, &[u8])> {
        let (first, rest) = map.split_first()?;
        let (length, count) = match (self, first) {
            (Packing::Msgpack, 0x80..=0x8f) => (0, u64::from(first & 0x0f)),
            (Packing::Msgpack, 0xde) => (2, 0),
            (Packing::Msgpack, 0xdf) => (4, 0),
            (Packing::Cbor, 0xa0..=0xb7) => (0, u64::from(first & 0x1f)),
            (Packing::Cbor, 0xb8..=0xbb) => (1 << (first & 0x03), 0),
            (Packing::Cbor, 0xbf) => return Some((None, rest)),
            _ => return None,
        };
        let (number, own) = rest.split_at_checked(length)?;
        let count = number.iter().fold(count, |count, byte| count << 8 | u64::from(*byte)) + 1;
        let count = u32::try_from(count).ok()?;
        let large = |mark: u8| [&[mark][..], &count.to_be_bytes()].concat();
        let head = match (self, u8::try_from(count)) {
            (Packing::Msgpack, Ok(count @ ..=0x0f)) => vec![0x80 | count],
            (Packing::Msgpack, _) => large(0xdf),
            (Packing::Cbor, Ok(count @ ..=0x17)) => vec![0xa0 | count],
            (Packing::Cbor, _) => large(0xba),
        };
        Some((Some(head), own))
    }
}

/// CBOR without what the reader does not take: floats of half the precision as whole ones, `undefined` and unassigned simple values
/// as null. None when it ends in the middle of an item.
fn spelled_out(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    if memchr::memchr3(0xf7, 0xf8, 0xf9, bytes).is_none() {
        return Some(Cow::Borrowed(bytes));
    }
    let (mut rest, mut spelled) = (bytes, Vec::with_capacity(bytes.len() + 16));
    // What a list or a map holds stands behind its head, item after item, so that no depth has to be followed.
    while let Some(head) = rest.first() {
        let argument = match head & 0x1f {
            info @ 24..=27 => 1 << (info - 24),
            _ => 0,
        };
        let (item, behind) = rest.split_at_checked(1 + argument)?;
        rest = behind;
        match *item {
            [0xf9, high, low] => {
                spelled.push(0xfa);
                spelled.extend_from_slice(&half(u16::from_be_bytes([high, low])).to_be_bytes());
            }
            [0xf7] | [0xf8, _] => spelled.push(0xf6),
            _ => {
                spelled.extend_from_slice(item);
                // Bytes and texts bring what their argument counts, unless they come in parts, each of which says its own length.
                if matches!(head >> 5, 2 | 3) && head & 0x1f != 31 {
                    let start = if argument == 0 { u64::from(head & 0x1f) } else { 0 };
                    let length = item.iter().skip(1).fold(start, |length, byte| length << 8 | u64::from(*byte));
                    let (text, behind) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                    spelled.extend_from_slice(text);
                    rest = behind;
                }
            }
        }
    }
    Some(Cow::Owned(spelled))
}

/// A float of half the precision (IEEE 754, binary16): one bit of sign, five of exponent, ten of fraction.
fn half(bits: u16) -> f32 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction * 2_f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + fraction) * 2_f32.powi(exponent - 25),
    };
    if bits & 0x8000 == 0 { size } else { -size }
}

fn msgpack(value: &ValueRef<'_>) -> Option<Value> {
    Some(match value {
        ValueRef::Nil => Value::Null,
        ValueRef::Boolean(truth) => Value::Bool(*truth),
        ValueRef::Integer(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => number.into(),
            (None, number) => number.into(),
        },
        ValueRef::F32(number) => float(f64::from(*number)),
        ValueRef::F64(number) => float(*number),
        ValueRef::String(text) => bytes(text.as_bytes()),
        ValueRef::Binary(binary) => bytes(binary),
        ValueRef::Array(list) => list.iter().map(msgpack).collect::<Option<Vec<_>>>()?.into(),
        ValueRef::Map(members) => {
            let member =
                |(name, value): &(ValueRef<'_>, ValueRef<'_>)| Some((named(&msgpack(name)?)?, msgpack(value)?));
            Value::Object(members.iter().map(member).collect::<Option<Map<_, _>>>()?)
        }
        ValueRef::Ext(_, binary) => bytes(binary),
    })
}

fn cbor(value: &cbor4ii::core::Value, depth: usize) -> Option<Value> {
    use cbor4ii::core::Value as Cbor;
    let depth = depth.checked_sub(1)?;
    Some(match value {
        Cbor::Bool(truth) => Value::Bool(*truth),
        Cbor::Integer(number) => match (u64::try_from(*number), i64::try_from(*number)) {
            (Ok(number), _) => number.into(),
            (_, Ok(number)) => number.into(),
            _ => Value::String(number.to_string()),
        },
        Cbor::Float(number) => float(*number),
        Cbor::Bytes(binary) => bytes(binary),
        Cbor::Text(text) => text.as_str().into(),
        Cbor::Array(list) => list.iter().map(|entry| cbor(entry, depth)).collect::<Option<Vec<_>>>()?.into(),
        Cbor::Map(members) => {
            let member = |(name, value): &(Cbor, Cbor)| Some((named(&cbor(name, depth)?)?, cbor(value, depth)?));
            Value::Object(members.iter().map(member).collect::<Option<Map<_, _>>>()?)
        }
        // What a tag says of its value, a date, is no matter here.
        Cbor::Tag(_, value) => cbor(value, depth)?,
        // The type is marked so that more may be added.
        Cbor::Null | _ => Value::Null,
    })
}

/// A member's name. JSON has texts only.
fn named(name: &Value) -> Option<String> {
    match name {
        Value::String(name) => Some(name.clone()),
        Value::Number(_) | Value::Bool(_) => Some(name.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn float(number: f64) -> Value {
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

fn bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => format!("({} bytes)", bytes.len()).into(),
    }
}

/// JSON as MessagePack's values.
fn as_msgpack(value: &Value) -> rmpv::Value {
    match value {
        Value::Null => rmpv::Value::Nil,
        Value::Bool(truth) => rmpv::Value::Boolean(*truth),
        Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(number), ..) => number.into(),
            (_, Some(number), _) => number.into(),
            (_, _, number) => number.unwrap_or_default().into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(list) => rmpv::Value::Array(list.iter().map(as_msgpack).collect()),
        Value::Object(members) => {
            rmpv::Value::Map(members.iter().map(|(name, value)| (name.as_str().into(), as_msgpack(value))).collect())
        }
    }
}

/// JSON as CBOR's values.
fn as_cbor(value: &Value) -> cbor4ii::core::Value {
    use cbor4ii::core::Value as Cbor;
    match value {
        Value::Null => Cbor::Null,
        Value::Bool(truth) => Cbor::Bool(*truth),
        Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(number), ..) => Cbor::Integer(number.into()),
            (_, Some(number), _) => Cbor::Integer(number.into()),
            (_, _, number) => Cbor::Float(number.unwrap_or_default()),
        },
        Value::String(text) => Cbor::Text(text.clone()),
        Value::Array(list) => Cbor::Array(list.iter().map(as_cbor).collect()),
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| (Cbor::Text(name.clone()), as_cbor(value));
            Cbor::Map(members.iter().map(member).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const BOTH: [Packing; 2] = [Packing::Msgpack, Packing::Cbor];

    #[test]
    fn known_bytes() {
        let value = json!({"event": "finish", "reason": "error", "code": 429, "list": [null, true, -1, 1.5]});
        let msgpack = b"\x84\xa5event\xa6finish\xa6reason\xa5error\xa4code\xcd\x01\xad\xa4list\x94\xc0\xc3\xff\xcb\x3f\xf8\0\0\0\0\0\0";
        assert_eq!(Packing::Msgpack.read(msgpack), Some(value.clone()));
        let cbor = b"\xa4\x65event\x66finish\x66reason\x65error\x64code\x19\x01\xad\x64list\x84\xf6\xf5\x20\xfb\x3f\xf8\0\0\0\0\0\0";
        assert_eq!(Packing::Cbor.read(cbor), Some(value));
        // A date, a map of unknown length, a number as a name, bytes.
        let cbor = b"\xbf\x61a\xc1\x1a\x65\x00\x00\x00\x01\x43\xff\xfe\xfd\xff";
        assert_eq!(Packing::Cbor.read(cbor), Some(json!({"a": 1_694_498_816, "1": "(3 bytes)"})));
        assert_eq!(Packing::Msgpack.read(b"\x81\xa1a\xd6\xff\0\0\0\0"), Some(json!({"a": "\0\0\0\0"})));
    }

    /// Encoders that save bytes write 1.5 as three of them.
    #[test]
    fn half_floats_are_read() {
        for (bits, expected) in [
            (0x3e00, json!(1.5)),
            (0xc400, json!(-4.0)),
            (0x0000, json!(0.0)),
            (0x0001, json!(5.960_464_477_539_063e-8)),
            (0x0400, json!(0.000_061_035_156_25)),
            (0x7bff, json!(65504.0)),
            (0x7c00, json!(null)),
            (0x7e00, json!(null)),
        ] {
            let [high, low] = u16::to_be_bytes(bits);
            let cbor = [&b"\xa2\x64wait\xf9"[..], &[high, low], b"\x61b\xf7"].concat();
            assert_eq!(Packing::Cbor.read(&cbor), Some(json!({"wait": expected, "b": null})), "{bits:#x}");
        }
        // The mark inside a text is a part of it, and an item that was cut is none.
        let cbor = b"\xa1\x42\xf9\x00\x9f\xf9\x3e\x00\xf8\x20\xff";
        assert_eq!(Packing::Cbor.read(cbor), Some(json!({"(2 bytes)": [1.5, null]})));
        assert_eq!(Packing::Cbor.read(b"\xa1\x61a\xf9\x3e"), None);
    }

    #[test]
    fn what_is_something_else() {
        for packing in BOTH {
            let deep = |depth| packing.write(&(0..depth).fold(json!(1), |value, _| json!([value])));
            assert!(packing.read(&deep(40)).is_some() && packing.read(&deep(70)).is_none(), "{packing:?}");
            let huge: &[u8] =
                if packing == Packing::Cbor { b"\x9a\xff\xff\xff\xff\x01" } else { b"\xdd\xff\xff\xff\xff\x01" };
            for bytes in [&b""[..], b"{\"a\":1}", b"text", b"\x00", huge, &[b"\x80", &b"x"[..]].concat()] {
                assert_eq!(packing.read(bytes), None, "{packing:?} {bytes:?}");
            }
        }
    }

    #[test]
    fn a_member_is_added_and_nothing_else_changes() {
        for (packing, count) in
            BOTH.into_iter().flat_map(|one| [0, 1, 14, 15, 16, 22, 23, 24, 255, 256, 70_000].map(|n| (one, n)))
        {
            let own: Map<String, Value> = (0..count).map(|at| (format!("m{at}"), at.into())).collect();
            let before = packing.write(&Value::Object(own.clone()));
            let after = packing.with_member(&before, "gateway_error", &json!({"code": "x"})).expect("a map");
            let mut expected = own;
            let _ = expected.insert("gateway_error".to_owned(), json!({"code": "x"}));
            assert_eq!(packing.read(&after), Some(Value::Object(expected)), "{packing:?} {count}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for packing in BOTH {
                if let Some(value) = packing.read(&bytes) {
                    prop_assert_eq!(packing.read(&packing.write(&value)), Some(value));
                }
            }
        }
    }

    #[test]
    fn a_map_of_unknown_length_keeps_its_end() {
        let after = Packing::Cbor.with_member(b"\xbf\x61a\x01\xff", "b", &json!(2)).expect("a map");
        assert_eq!((Packing::Cbor.read(&after), after.last()), (Some(json!({"a": 1, "b": 2})), Some(&0xff)));
        assert_eq!(Packing::Cbor.with_member(b"\x81\x01", "b", &json!(2)), None);
    }
}
