//! What holds for any bytes, any status and any headers: classifying ends, the envelope is whole, its bounds hold, and
//! nothing that a provider sent can break a header.

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use serde_json::Value;
use speechgate::canon::envelope::{self, Compatible, Stamp};
use speechgate::canon::{CanonicalError, Code, Evidence, Fault, Observed, Profile, Type, read_json, resolve};
use speechgate::config::{built_in, built_in_names};
use speechgate::render::http::{Form, response};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

/// The largest body that an envelope may come to: 16 KiB of the provider's, escaped at worst, and all the rest.
const LARGEST: usize = 256 * 1024;

const STAMP: Stamp<'static> = Stamp {
    request_id: "01KAQ8Z6M3W4E0J7T5YV9S2N1C",
    timestamp: "2026-11-21T09:30:00.123Z",
    provider: Some("provider"),
    route: Some("route"),
    upstream_body: true,
    docs: None,
};

static PROFILES: LazyLock<Vec<Arc<Profile>>> =
    LazyLock::new(|| built_in_names().map(|name| built_in(name).expect("built in").expect("valid")).collect());

/// Bytes that look like what providers send, damaged: JSON of every shape, text, pages, garbage.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let word = "[ -~\u{80}-\u{ff}]{0,40}";
    let shapes = [
        r#"{"detail":{"status":"W","message":"W","code":"W"}}"#,
        r#"{"error":{"code":"W","message":"W","retryAfterSeconds":N}}"#,
        r#"{"error_code":null,"title":"W","message":"W","request_id":"W"}"#,
        r#"{"detail":[{"loc":["body","W"],"msg":"W"}]}"#,
        r#"{"jsonrpc":"2.0","error":{"code":-N,"message":"W"}}"#,
        r#"["W",N,{"W":"W"}]"#,
        "W: W",
        "<html><title>W</title><h1>W</h1>",
    ];
    let filled = (prop::sample::select(shapes.to_vec()), word, any::<i32>())
        .prop_map(|(shape, word, number)| shape.replace('W', &word).replace('N', &number.to_string()).into_bytes());
    let damaged =
        (filled, any::<prop::sample::Index>(), any::<u8>(), any::<bool>()).prop_map(|(mut body, at, byte, cut)| {
            let at = at.index(body.len());
            if cut {
                body.truncate(at)
            } else {
                body[at] = byte
            }
            body
        });
    let deep = (0_usize..3000).prop_map(|depth| "[".repeat(depth).into_bytes());
    prop_oneof![4 => damaged, 2 => prop::collection::vec(any::<u8>(), 0..2000), 1 => deep]
}

fn fields() -> impl Strategy<Value = HeaderMap> {
    let names = [
        "retry-after",
        "x-request-id",
        "www-authenticate",
        "content-type",
        "x-should-retry",
        "server",
        "cf-ray",
        "etag",
    ];
    let field = (prop::sample::select(names.to_vec()), prop::collection::vec(any::<u8>(), 0..60));
    prop::collection::vec(field, 0..6).prop_map(|fields| {
        let valid = fields
            .into_iter()
            .filter_map(|(name, value)| Some((HeaderName::from_static(name), HeaderValue::from_bytes(&value).ok()?)));
        valid.collect()
    })
}

/// Every always-field is there, from its closed set.
fn whole(value: &Value) -> Result<(), TestCaseError> {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let code = Code::from_name(&text("code"));
    prop_assert!(code.is_some(), "{value}");
    let code = code.expect("checked");
    prop_assert_eq!(text("type"), code.kind().as_str());
    prop_assert!(Type::ALL.contains(&code.kind()));
    prop_assert_eq!(value["status"].as_u64(), Some(u64::from(code.status())));
    prop_assert!(!text("message").is_empty());
    prop_assert!(value["retryable"].is_boolean());
    prop_assert!(["provider", "network", "gateway", "client"].contains(&text("origin").as_str()));
    for name in ["request_id", "timestamp"] {
        prop_assert!(!text(name).is_empty(), "{name} in {value}");
    }
    let wait = &value["retry_after_seconds"];
    prop_assert!(wait.is_null() || wait.as_f64().is_some_and(|wait| wait >= 0.0), "{wait}");
    Ok(())
}

fn check(profile: &Profile, seen: &Observed<'_>, received: &HeaderMap) -> Result<(), TestCaseError> {
    let evidence = Evidence::new(seen);
    let error = resolve(profile, &evidence).error;
    let again = resolve(profile, &evidence).error;
    prop_assert_eq!(error.code, again.code, "classifying twice agrees");
    for form in [Form::Canonical, Form::Problem, Form::Compatible(profile, Some(&evidence))] {
        let answer = response(&error, &STAMP, form, Some(received.clone()));
        prop_assert!(answer.body().len() <= LARGEST.max(evidence.body.len() + LARGEST));
        for (name, value) in answer.headers() {
            let clean = value.as_bytes().iter().all(|byte| !matches!(byte, 0..=8 | 10..=31 | 127));
            prop_assert!(clean, "{name}: {value:?}");
        }
        for name in ["x-request-id", "x-error-code", "x-error-type", "x-should-retry", "proxy-status"] {
            prop_assert!(answer.headers().contains_key(name), "{name}");
        }
        let length = answer.headers()["content-length"].to_str().ok().and_then(|length| length.parse().ok());
        prop_assert_eq!(length, Some(answer.body().len()));
        if let Form::Compatible(..) = form {
            continue;
        }
        let value: Value = serde_json::from_slice(answer.body()).expect("an envelope is JSON");
        prop_assert_eq!(value["error"]["status"].as_u64(), Some(u64::from(answer.status().as_u16())));
        whole(&value["error"])?;
    }
    if let Compatible::Json(body) = envelope::compatible(profile, &error, &STAMP, &evidence) {
        let value: Value = serde_json::from_slice(&body).expect("a compatible body is JSON");
        whole(&value[envelope::GATEWAY_ERROR])?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_answer_becomes_a_whole_envelope(
        body in bodies(), status in 400_u16..1000, headers in fields(), truncated: bool, which in any::<prop::sample::Index>(),
    ) {
        let profile = &PROFILES[which.index(PROFILES.len())];
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_253_400);
        let seen = Observed::http(status, &headers, &body, now).cut(truncated);
        check(profile, &seen, &headers)?;
    }

    #[test]
    fn any_message_and_any_close_becomes_a_whole_envelope(
        body in bodies(), close in any::<u16>(), reason in ".{0,60}", which in any::<prop::sample::Index>(), closes: bool,
    ) {
        let profile = &PROFILES[which.index(PROFILES.len())];
        let headers = HeaderMap::new();
        let now = SystemTime::UNIX_EPOCH;
        let seen = if closes { Observed::close(close, &reason, now) } else { Observed::frame(&body, now) };
        check(profile, &seen, &headers)?;
    }

    /// What is valid is read as it is, and of what was cut anywhere the members that were whole are left.
    #[test]
    fn json_that_was_cut_or_spoilt_keeps_its_beginning(
        code in "[a-z_]{1,12}", text in ".{0,40}", number in any::<f64>(), at in any::<prop::sample::Index>(), spoilt in any::<u8>(),
    ) {
        let first = format!("{{\"code\":{},", serde_json::json!(code));
        let rest = serde_json::json!({"list": [text, {"n": number}], "last": true}).to_string();
        let bytes = format!("{first}{}", &rest[1..]).into_bytes();
        let read = read_json(&bytes).expect("an object").to_value();
        prop_assert_eq!(&read, &serde_json::from_slice::<Value>(&bytes).expect("JSON"));
        let behind = first.len() + at.index(bytes.len() - first.len());
        let cut = read_json(&bytes[..behind]).expect("an object").to_value();
        prop_assert_eq!(&cut["code"], &code);
        let mut changed = bytes.clone();
        changed[behind] = spoilt;
        let changed = read_json(&changed).expect("an object").to_value();
        prop_assert_eq!(&changed["code"], &code);
    }

    #[test]
    fn the_tolerant_reader_takes_anything(bytes in prop::collection::vec(any::<u8>(), 0..300), json in "[\\[\\]{}\",:0-9a-e\\\\u]{0,120}") {
        let _ = read_json(&bytes);
        let _ = read_json(json.as_bytes());
    }
}

#[test]
fn the_tolerant_reader_is_linear() {
    // Each would take minutes if a byte were looked at once per level or once per byte before it.
    for part in ["[", "{\"a\":", "\"", "{\"a\":\"\\u", "[1,", "{}}", ",\"a\"", "\\", "[[[[\"\\\"", "{x"] {
        let text = format!("{{\"code\":\"x\",\"rest\":[{}", part.repeat(1 << 18));
        let read = read_json(text.as_bytes()).expect("an object").to_value();
        assert_eq!(read["code"], "x", "{part}");
    }
}

#[test]
fn every_fault_of_our_own_is_a_whole_envelope() {
    for fault in Fault::ALL {
        let error = CanonicalError::from_fault(*fault);
        for profile in PROFILES.iter() {
            for form in [Form::Canonical, Form::Problem, Form::Compatible(profile, None)] {
                let answer = response(&error, &STAMP, form, None);
                let value: Value = serde_json::from_slice(answer.body()).expect("JSON");
                let member = if matches!(form, Form::Compatible(..)) { envelope::GATEWAY_ERROR } else { "error" };
                assert_eq!(value[member]["code"], fault.code().as_str(), "{fault:?}");
                assert_eq!(value[member]["origin"], fault.origin().as_str());
                let proxy_status = answer.headers()["proxy-status"].to_str().expect("ASCII");
                assert_eq!(proxy_status, format!("speechgate; error={}", fault.proxy_status()));
            }
        }
    }
}
