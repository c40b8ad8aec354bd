//! Whatever ended a call of gRPC: its trailers are read, what they become is bounded and readable, and the details that are written say
//! the same status and sentence, because clients refuse others.
#![no_main]

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use speechgate::canon::grpc::{self, Status};
use speechgate::canon::{Evidence, Observed, classify};
use speechgate::render::grpc::{Form, trailers};
use speechgate::wire::grpc::Messages;
use speechgate_fuzz::{STAMP, check_headers, check_object, now, profile, seen};

fuzz_target!(|data: &[u8]| {
    let (whole, cut) = (Messages::default().feed(data, 1 << 20), {
        let mut messages = Messages::default();
        data.chunks(1 + data.len() % 7).all(|chunk| messages.feed(chunk, 1 << 20))
    });
    assert_eq!(whole, cut, "chunks make no difference");
    let mut received = seen(data).headers;
    // Half of the inputs are details as they stand, which no mutation of base64 would reach.
    if data.len() % 2 == 0 {
        let details = grpc::encode_base64(data.get(..4096).unwrap_or(data));
        let _ = received.insert(grpc::DETAILS, details.parse().expect("base64 is a value"));
        let _ = received.insert(grpc::STATUS, u16::from(data.first().copied().unwrap_or_default()).into());
    }
    let Some(status) = Status::read(&received).filter(|status| !status.is_ok()) else { return };
    let seen = Observed::grpc(&status, &received, now());
    let evidence = Evidence::new(&seen);
    let error = classify(profile(data), &seen);
    for form in [Form::Canonical, Form::Compatible(Some(&evidence)), Form::Compatible(None)] {
        let own = if matches!(form, Form::Canonical) { HeaderMap::new() } else { received.clone() };
        let told = trailers(&error, &STAMP, form, Some(own));
        check_headers(&told);
        // Beside long words of the provider's own there may be no room for it.
        let object = told.get("x-gateway-error").map(|object| serde_json::from_slice::<Value>(object.as_bytes()));
        assert!(object.is_some() || matches!(form, Form::Compatible(Some(_))), "the object");
        object.into_iter().for_each(|object| check_object(&object.expect("valid JSON")));
        let size: usize = told.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        assert!(size < 8 * 1024, "{size}");
        assert_eq!(told.get_all(grpc::STATUS).iter().count(), 1, "one status");
        let again = Status::read(&told).expect("a status");
        assert!(!again.is_ok(), "an error stays one");
        if matches!(form, Form::Canonical) {
            let tree: Value = serde_json::from_slice(again.json()).expect("valid JSON");
            assert_eq!(tree["error"]["details"][0]["domain"], "speechgate");
        }
    }
});
