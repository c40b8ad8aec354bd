//! Any text as a provider's profile: refused with reasons, or one that classifies anything.
#![no_main]

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use speechgate::canon::{Observed, Profile, ProfileSpec, classify, envelope};
use speechgate_fuzz::{STAMP, check_object, now};

const FAILURES: [&[u8]; 4] = [
    b"",
    b"{\"error\":{\"code\":\"a\",\"message\":\"b\"}}",
    b"{\"detail\":[{\"loc\":[\"a\",1],\"msg\":\"b\"}]}",
    b"<html>\xff",
];

fuzz_target!(|text: &str| {
    let Ok(spec) = toml::from_str::<ProfileSpec>(text) else { return };
    let profile = match Profile::compile("fuzzed", spec) {
        Ok(profile) => profile,
        Err(problems) => {
            assert!(!problems.is_empty() && problems.iter().all(|problem| !problem.problem.is_empty()));
            return;
        }
    };
    let headers = HeaderMap::new();
    for body in FAILURES {
        let error = classify(&profile, &Observed::http(429, &headers, body, now()));
        let canonical = envelope::canonical(&error, &STAMP);
        let canonical: Value = serde_json::from_slice(&canonical).expect("valid JSON");
        check_object(&canonical["error"]);
    }
});
