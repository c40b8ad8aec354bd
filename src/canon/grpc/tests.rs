//! Trailers and what they say.

use super::*;
use http::HeaderValue;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

fn trailers(fields: &[(&'static str, &[u8])]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let _ = map.append(*name, HeaderValue::from_bytes(value).expect("a value"));
    }
    map
}

fn tree(status: &Status) -> Value {
    serde_json::from_slice(status.json()).expect("JSON")
}

#[test]
fn a_status_is_a_number_a_sentence_and_details() {
    let details = write_details(Note {
        number: 8,
        message: "slow down",
        reason: "RATE_LIMITED".to_owned(),
        metadata: BTreeMap::from([("quota_metric".to_owned(), "requests".to_owned())]),
        retry_after: Some(Duration::from_millis(1500)),
    });
    for padded in [true, false] {
        let mut text = encode_base64(&details);
        while padded && !text.len().is_multiple_of(4) {
            text.push('=');
        }
        let trailers = trailers(&[
            ("grpc-status", b"8"),
            ("grpc-message", b"slow%20down"),
            ("grpc-status-details-bin", text.as_bytes()),
        ]);
        let status = Status::read(&trailers).expect("a status");
        assert_eq!((status.number(), status.message(), status.is_ok()), (8, "slow down", false));
        let expected = json!({ "error": { "code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED", "details": [
            { "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "RATE_LIMITED", "domain": "speechgate",
              "metadata": { "quota_metric": "requests" } },
            { "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.500000000s" },
        ] } });
        assert_eq!(tree(&status), expected, "padded: {padded}");
    }
}

#[test]
fn what_is_no_number_is_unknown_and_nothing_is_no_status() {
    for (value, number) in [(&b"0"[..], 0), (b"16", 16), (b" 5 ", 5), (b"99", 99), (b"", 2), (b"-1", 2), (b"x", 2)] {
        assert_eq!(Status::read(&trailers(&[("grpc-status", value)])).map(|status| status.number()), Some(number));
    }
    assert_eq!(Status::read(&trailers(&[("grpc-message", b"x")])), None);
    let odd = Status::read(&trailers(&[("grpc-status", b"99")])).expect("a status");
    assert_eq!(tree(&odd)["error"]["status"], "UNKNOWN");
}

/// Success was read from the first while clients ended with the last.
#[test]
fn statuses_that_disagree_are_no_success() {
    for (first, second, number) in [(&b"0"[..], &b"13"[..], 2), (b"13", b"0", 2), (b"0", b"x", 2), (b"0", b"0", 0)] {
        let trailers = trailers(&[("grpc-status", first), ("grpc-status", second)]);
        assert_eq!(super::number(&trailers), Some(number));
        assert_eq!(Status::read(&trailers).map(|status| status.number()), Some(number));
    }
    let agreed = Status::read(&trailers(&[("grpc-status", b"13"), ("grpc-status", b"13")]));
    assert_eq!(agreed.map(|status| status.number()), Some(13));
}

#[test]
fn details_that_are_no_message_leave_the_rest() {
    let cut = encode_base64(&[0x1a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1]);
    for details in [&b"%%%"[..], b"AAAA", b"====", b"", cut.as_bytes(), b"Cgg,AAAA"] {
        let trailers =
            trailers(&[("grpc-status", b"13"), ("grpc-message", b"oops"), ("grpc-status-details-bin", details)]);
        let status = Status::read(&trailers).expect("a status");
        assert_eq!(tree(&status), json!({ "error": { "code": 500, "message": "oops", "status": "INTERNAL" } }));
    }
}

#[test]
fn messages_that_nobody_knows_keep_their_type_and_traces_stay_hidden() {
    // Two Any: a DebugInfo with a stack trace, and a type of somebody's own.
    let any = |name: &str, value: &[u8]| {
        let url = format!("type.googleapis.com/{name}");
        let mut bytes = vec![0x0a, u8::try_from(url.len()).expect("short")];
        bytes.extend_from_slice(url.as_bytes());
        bytes.extend([0x12, u8::try_from(value.len()).expect("short")]);
        bytes.extend_from_slice(value);
        bytes
    };
    let mut status = Vec::new();
    for one in [any("google.rpc.DebugInfo", b"\x0a\x09main.rs:1"), any("acme.Own", b"\x0a\x01x")] {
        status.extend([0x1a, u8::try_from(one.len()).expect("short")]);
        status.extend(one);
    }
    let expected = json!([
        { "@type": "type.googleapis.com/google.rpc.DebugInfo" },
        { "@type": "type.googleapis.com/acme.Own" },
    ]);
    assert_eq!(Value::Array(details::read(&status)), expected);
}

#[test]
fn sentences_are_percent_encoded() {
    for (text, encoded) in [("plain text", "plain text"), ("100%", "100%25"), ("ä\n", "%C3%A4%0A"), ("", "")] {
        assert_eq!(percent_encoded(text, 1024), (encoded.to_owned(), text));
        assert_eq!(percent_decoded(encoded.as_bytes()), text);
    }
    // No character is cut in two.
    assert_eq!(percent_encoded("aää", 8), ("a%C3%A4".to_owned(), "aä"));
    for (encoded, text) in [("%", "%"), ("%4", "%4"), ("%zz", "%zz"), ("%ff", "\u{fffd}"), ("a%41", "aA")] {
        assert_eq!(percent_decoded(encoded.as_bytes()), text);
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_read_again(text in "\\PC{0,80}", most in 0..400_usize) {
        let (encoded, kept) = percent_encoded(&text, most);
        prop_assert!(encoded.len() <= most && encoded.is_ascii());
        prop_assert_eq!(percent_decoded(encoded.as_bytes()), kept);
    }

    #[test]
    fn any_details_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let text = encode_base64(&bytes);
        let trailers = trailers(&[("grpc-status", b"3"), ("grpc-status-details-bin", text.as_bytes())]);
        let status = Status::read(&trailers).expect("a status");
        prop_assert_eq!(&tree(&status)["error"]["status"], "INVALID_ARGUMENT");
    }
}
