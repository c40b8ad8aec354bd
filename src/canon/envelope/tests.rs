use super::*;
use crate::canon::{Observed, ProfileSpec, resolve};
use http::HeaderMap;
use std::time::SystemTime;

#[test]
fn the_operators_link_stands_in_for_the_providers() {
    let stamp = Stamp {
        request_id: "r",
        timestamp: "t",
        provider: None,
        route: None,
        upstream_body: true,
        docs: Some("https://x.example/"),
    };
    let mut error = CanonicalError::from_fault(crate::canon::Fault::Loop);
    let link = |error: &CanonicalError| {
        let value: Value = serde_json::from_slice(&object(error, &stamp)).expect("JSON");
        value["doc_url"].as_str().map(str::to_owned)
    };
    assert_eq!(link(&error).as_deref(), Some("https://x.example/invalid_request"));
    error.doc_url = Some("https://provider.example".to_owned());
    assert_eq!(link(&error).as_deref(), Some("https://provider.example"));
}

#[test]
fn a_compatible_body_with_broken_utf8_is_json_all_the_same() {
    let profile = Profile::compile("test", ProfileSpec::default()).expect("an empty profile");
    let headers = HeaderMap::new();
    let stamp = Stamp { request_id: "r", timestamp: "t", provider: None, route: None, upstream_body: true, docs: None };
    for (body, member) in [
        (&b"{\"a\x9b\":\"b\",\"code\":\"x\"}"[..], "code"),
        (b"{\"gateway_error\":1,\"code\":\"x\"}", "code"),
        (b"{}", GATEWAY_ERROR),
        (b" {\"code\":\"}\"} ", "code"),
        (b"{\"code\":1} trailing }", "code"),
    ] {
        let seen = Observed::http(400, &headers, body, SystemTime::UNIX_EPOCH);
        let evidence = Evidence::new(&seen);
        let error = resolve(&profile, &evidence).error;
        let Compatible::Json(json) = compatible(&profile, &error, &stamp, &evidence) else {
            panic!("{body:?} has a place for a member");
        };
        let value: Value = serde_json::from_slice(&json).expect("JSON");
        assert_eq!(value[GATEWAY_ERROR]["status"], 400, "{value}");
        assert!(value.get(member).is_some(), "{value}");
    }
}

/// A body that the reader takes and that made the envelope around it one level too deep for a client's parser.
#[test]
fn an_envelope_around_a_deep_body_can_be_parsed() {
    let spec: ProfileSpec = toml::from_str("details = { deep = '$.a' }").expect("a profile");
    let profile = Profile::compile("test", spec).expect("a profile");
    let headers = HeaderMap::new();
    let stamp = Stamp { request_id: "r", timestamp: "t", provider: None, route: None, upstream_body: true, docs: None };
    let depths = [1, 2, 47, 48, 49, 50, 64].into_iter().chain(118..=130);
    for depth in depths {
        for (open, close, levels) in [("{\"a\":", "}", 1), ("[", "]", 1), ("{\"a\\\"[\":[", "]}", 2)] {
            let (times, as_json) = (depth / levels, depth / levels * levels <= 48);
            let body = open.repeat(times) + "1" + &close.repeat(times);
            let seen = Observed::http(400, &headers, body.as_bytes(), SystemTime::UNIX_EPOCH);
            let evidence = Evidence::new(&seen);
            let error = resolve(&profile, &evidence).error;
            let parsed = |json: &[u8]| -> Value {
                serde_json::from_slice(json).unwrap_or_else(|error| panic!("{depth} times {open}: {error}"))
            };
            let shown = &parsed(&canonical(&error, &stamp))["error"]["upstream"]["body"];
            assert!(times == 0 || shown.is_string() != as_json, "{depth} times {open}: {shown}");
            let _ = (parsed(&event(&error, &stamp, None)), parsed(&problem(&error, &stamp)));
            if let Compatible::Json(json) = compatible(&profile, &error, &stamp, &evidence) {
                assert_eq!(parsed(&json)[GATEWAY_ERROR]["status"], 400);
            }
        }
    }
}
