//! Any bytes as a message in any codec: what is read is JSON of a bounded size, a member that is added is there afterwards and the
//! rest is as it was, and a body of AWS's messages passes whole however it is cut.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use speechgate::canon::Codec;
use speechgate::detect::{Coded, recode};
use speechgate::wire::Verdict;
use speechgate::wire::event_stream::{Message, Splitter};
use std::collections::VecDeque;

fuzz_target!(|data: &[u8]| {
    for codec in [Codec::Headed, Codec::EventStream, Codec::Msgpack, Codec::Cbor] {
        let coded = Coded::message(Some(codec), data);
        assert!(coded.body().len() <= data.len() * 8 + 64, "{} bytes of {}", coded.body().len(), data.len());
        let Ok(Value::Object(mut before)) = serde_json::from_slice(coded.body()) else { continue };
        let _ = before.insert("gateway_error".to_owned(), json!({"code": "x"}));
        let more = Value::Object(before);
        // None where the bytes were no message of the codec, or have no place for a member.
        let Some(again) = recode(codec, data, more.to_string().as_bytes()) else { continue };
        let told = Coded::message(Some(codec), &again);
        assert_eq!(serde_json::from_slice::<Value>(told.body()).expect("JSON"), more, "{codec:?}");
    }
    let Some((&size, stream)) = data.split_first() else { return };
    let whole = split(stream, stream.len().max(1));
    assert_eq!(whole, split(stream, usize::from(size) % 17 + 1));
    assert_eq!(whole.1, stream, "what passes is not changed");
});

fn split(stream: &[u8], size: usize) -> (usize, Vec<u8>) {
    let (mut splitter, mut out, mut messages) = (Splitter::new(200), VecDeque::new(), 0);
    for chunk in stream.chunks(size) {
        splitter.feed(&Bytes::copy_from_slice(chunk), &mut out, |message| {
            messages += usize::from(Message::read(message).is_some());
            Verdict::Pass
        });
    }
    let mut bytes: Vec<u8> = out.into_iter().flatten().collect();
    bytes.extend(splitter.finish().unwrap_or_default());
    (messages, bytes)
}
