//! Whatever failed in whatever way: classifying ends, twice gives the same, and every form of the envelope is valid,
//! complete and within its bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use speechgate::canon::envelope::{self, Compatible};
use speechgate::canon::{Evidence, Observed, classify};
use speechgate::render::http::{Form, response};
use speechgate_fuzz::{LARGEST, STAMP, check_headers, check_object, now, profile, seen};

fuzz_target!(|data: &[u8]| {
    let profile = profile(data);
    let seen = seen(data);
    let reason = String::from_utf8_lossy(seen.body);
    let observed = Observed {
        phase: seen.phase,
        status: seen.status,
        headers: &seen.headers,
        body: if seen.close.is_some() { b"" } else { seen.body },
        truncated: data.len() % 7 == 0,
        ws_code: seen.close,
        ws_reason: seen.close.is_some().then_some(&*reason),
        sse_event: None,
        grpc: None,
        coded: None,
        now: now(),
    };
    let error = classify(profile, &observed);
    let canonical = envelope::canonical(&error, &STAMP);
    assert_eq!(canonical, envelope::canonical(&classify(profile, &observed), &STAMP), "classifying twice agrees");
    assert!(canonical.len() <= LARGEST, "{} bytes", canonical.len());

    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("valid JSON");
    check_object(&json(&canonical)["error"]);
    check_object(&json(&envelope::event(&error, &STAMP, Some(true)))["error"]);
    check_object(&json(&envelope::problem(&error, &STAMP))["error"]);
    let evidence = Evidence::new(&observed);
    if let Compatible::Json(body) = envelope::compatible(profile, &error, &STAMP, &evidence) {
        check_object(&last_member(&json(&body)));
    }
    for form in
        [Form::Canonical, Form::Problem, Form::Compatible(profile, Some(&evidence)), Form::Compatible(profile, None)]
    {
        let answer = response(&error, &STAMP, form, Some(seen.headers.clone()));
        check_headers(answer.headers());
        assert!(answer.status().as_u16() >= 400, "{}", answer.status());
        assert_eq!(answer.headers()["x-error-code"], error.code.as_str());
    }
});

/// `gateway_error`, which stands last.
fn last_member(body: &Value) -> Value {
    let map = body.as_object().expect("an object");
    let (name, value) = map.iter().last().expect("a member");
    assert_eq!(name, "gateway_error");
    value.clone()
}
