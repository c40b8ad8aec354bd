//! An error as the end of a gRPC call: the fields of its trailers.

use super::http::{X_GATEWAY_ERROR, X_REQUEST_ID, ascii_json, describe, forget_the_old_body};
use crate::canon::envelope::{self, Stamp};
use crate::canon::grpc::{self, DETAILS, MESSAGE, Note, STATUS};
use crate::canon::{CanonicalError, Evidence, UpstreamError};
use http::{HeaderMap, HeaderValue};
use std::collections::BTreeMap;

/// Longest sentence, in bytes as it is sent. Clients take 8 KiB of trailers in all.
const MESSAGE_LIMIT: usize = 1024;
/// Longest canonical object.
const OBJECT_LIMIT: usize = 3072;
/// How much of a message such an object keeps that would else be too long, in characters.
const SHORT_MESSAGE: usize = 100;
/// The same for words of the provider's.
const SHORT_WORD: usize = 32;

/// How the end of a call is worded.
#[derive(Clone, Copy, Debug)]
pub enum Form<'a> {
    /// The code's status, and `<code>: <message>`.
    Canonical,
    /// The provider's own status, sentence and details, where it ended the call itself; else the code's status and the sentence alone.
    Compatible(Option<&'a Evidence<'a>>),
}

/// The trailers. `received` are those of the provider, cleaned, which stay but for what is worded anew.
#[must_use]
pub fn trailers(error: &CanonicalError, stamp: &Stamp<'_>, form: Form<'_>, received: Option<HeaderMap>) -> HeaderMap {
    let mut trailers = received.unwrap_or_default();
    let _ = forget_the_old_body(&mut trailers);
    let own = match form {
        Form::Canonical => None,
        Form::Compatible(evidence) => evidence.and_then(|evidence| evidence.grpc),
    };
    let number = own.map_or(u16::from(error.code.row().grpc), grpc::Status::number);
    let words = match (own, form) {
        (Some(own), _) => own.message().to_owned(),
        (None, Form::Canonical) => format!("{}: {}", error.code, error.message),
        (None, Form::Compatible(_)) => error.message.clone(),
    };
    let (message, said) = grpc::percent_encoded(&words, MESSAGE_LIMIT);
    if own.is_none() || !trailers.contains_key(&STATUS) {
        let _ = trailers.insert(STATUS, HeaderValue::from(number));
    }
    if own.is_none() || !trailers.contains_key(&MESSAGE) {
        let _ = trailers.remove(&MESSAGE);
        let message = HeaderValue::try_from(message).ok().filter(|message| !message.is_empty());
        trailers.extend(message.map(|message| (MESSAGE, message)));
    }
    if own.is_none() {
        let _ = trailers.remove(&DETAILS);
    }
    // Clients refuse details that say another sentence.
    if !trailers.contains_key(&DETAILS) && (own.is_none() || said == words) {
        let details = details(error, stamp, u8::try_from(number).unwrap_or(2), said);
        trailers.extend(HeaderValue::try_from(details).ok().map(|details| (DETAILS, details)));
    }
    if let Ok(id) = HeaderValue::from_str(stamp.request_id) {
        let _ = trailers.insert(X_REQUEST_ID, id);
    }
    describe(error, &mut trailers);
    let _ = trailers.remove(&X_GATEWAY_ERROR);
    trailers.extend(object(error, stamp).map(|object| (X_GATEWAY_ERROR, object)));
    trailers
}

/// The canonical object, as much of it as there is room for. What the provider said is said beside it.
fn object(error: &CanonicalError, stamp: &Stamp<'_>) -> Option<HeaderValue> {
    let bare = Stamp { upstream_body: false, ..*stamp };
    let whole = ascii_json(&envelope::object(error, &bare), OBJECT_LIMIT);
    whole.or_else(|| {
        let cut = |text: &str, most: usize| text.chars().take(most).collect::<String>();
        let upstream = error.upstream.as_deref().map(|said| {
            let word = |word: &Option<String>| word.as_deref().map(|word| cut(word, SHORT_WORD));
            let (code, kind, request_id) = (word(&said.code), word(&said.kind), word(&said.request_id));
            Box::new(UpstreamError { code, kind, request_id, body: None, ..said.clone() })
        });
        let short = CanonicalError {
            message: cut(&error.message, SHORT_MESSAGE),
            details: Default::default(),
            doc_url: None,
            param: None,
            upstream,
            ..error.clone()
        };
        ascii_json(&envelope::object(&short, &bare), OBJECT_LIMIT)
    })
}

/// `google.rpc.Status` with ErrorInfo and RetryInfo, for clients that read those.
fn details(error: &CanonicalError, stamp: &Stamp<'_>, number: u8, message: &str) -> String {
    let retryable = if error.retryable { "true" } else { "false" };
    let upstream = error.upstream.as_ref().and_then(|upstream| upstream.code.clone());
    let known = [
        ("code", Some(error.code.as_str())),
        ("type", Some(error.code.kind().as_str())),
        ("origin", Some(error.origin.as_str())),
        ("retryable", Some(retryable)),
        ("request_id", Some(stamp.request_id)),
        ("provider", stamp.provider),
        ("route", stamp.route),
        ("upstream_code", upstream.as_deref().filter(|code| code.len() <= MOST_CODE)),
    ];
    let known = known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
    let metadata: BTreeMap<String, String> = known.collect();
    let reason = error.code.as_str().to_ascii_uppercase();
    grpc::encode_base64(&grpc::write_details(Note {
        number,
        message,
        reason,
        metadata,
        retry_after: error.retry_after,
    }))
}

/// A provider's code that is longer is no code.
const MOST_CODE: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::{Fault, Observed, Profile, ProfileSpec, resolve};
    use std::time::{Duration, SystemTime};

    const STAMP: Stamp<'_> = Stamp {
        request_id: "r-1",
        timestamp: "2026-11-21T09:30:00.123Z",
        provider: Some("google"),
        route: Some("stt"),
        upstream_body: true,
        docs: None,
    };

    fn field<'t>(trailers: &'t HeaderMap, name: &str) -> &'t str {
        trailers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// What the trailers of a provider become, in one form.
    fn ended(fields: &[(&'static str, &str)], compatible: bool) -> HeaderMap {
        let mut received = HeaderMap::new();
        for (name, value) in fields {
            let _ = received.append(*name, HeaderValue::from_str(value).expect("a value"));
        }
        let status = grpc::Status::read(&received).expect("a status");
        let seen = Observed::grpc(&status, &received, SystemTime::UNIX_EPOCH);
        let evidence = Evidence::new(&seen);
        let profile = Profile::compile("test", ProfileSpec::default()).expect("an empty profile");
        let error = resolve(&profile, &evidence).error;
        let form = if compatible { Form::Compatible(Some(&evidence)) } else { Form::Canonical };
        trailers(&error, &STAMP, form, Some(received.clone()))
    }

    #[test]
    fn what_ends_a_call_is_in_its_trailers() {
        let mut error = CanonicalError::from_fault(Fault::QueueFull);
        error.retry_after = Some(Duration::from_millis(1500));
        let trailers = trailers(&error, &STAMP, Form::Canonical, None);
        for (name, value) in [
            ("grpc-status", "8"),
            (
                "grpc-message",
                "concurrency_limited: As many calls as this route allows are running, and as many as may are waiting.",
            ),
            ("x-error-code", "concurrency_limited"),
            ("x-error-type", "concurrency_limited"),
            ("x-should-retry", "true"),
            ("x-request-id", "r-1"),
        ] {
            assert_eq!(field(&trailers, name), value, "{name}");
        }
        let object: serde_json::Value =
            serde_json::from_str(field(&trailers, "x-gateway-error")).expect("the canonical object");
        assert_eq!((&object["code"], &object["retry_after_seconds"]), (&"concurrency_limited".into(), &1.5.into()));
        // The details say the same status and sentence: clients refuse others.
        let read = grpc::Status::read(&trailers).expect("a status");
        let tree: serde_json::Value = serde_json::from_slice(read.json()).expect("JSON");
        let details = &tree["error"]["details"];
        assert_eq!(
            (&details[0]["reason"], &details[0]["domain"]),
            (&"CONCURRENCY_LIMITED".into(), &"speechgate".into())
        );
        assert_eq!(details[0]["metadata"]["route"], "stt");
        assert_eq!(details[1]["retryDelay"], "1.500000000s");
    }

    #[test]
    fn a_compatible_end_is_the_providers_with_more_beside_it() {
        let own = [
            ("grpc-status", "3"),
            ("grpc-message", "bad%20%C3%A4"),
            ("grpc-status-details-bin", "CAM"),
            ("x-own", "1"),
        ];
        let kept = ended(&own, true);
        for (name, value) in own {
            assert_eq!(field(&kept, name), value, "{name}");
        }
        assert_eq!(field(&kept, "x-error-code"), "invalid_request");
        let anew = ended(&own, false);
        assert_eq!(field(&anew, "grpc-message"), "invalid_request: bad %C3%A4");
        assert!(field(&anew, "grpc-status-details-bin").len() > 20 && field(&anew, "x-own") == "1");
        // A number of the provider's own stays its own.
        assert_eq!(field(&ended(&[("grpc-status", "42")], true), "grpc-status"), "42");
        assert_eq!(field(&ended(&[("grpc-status", "42")], false), "grpc-status"), "13");
    }

    /// Words that are escaped to six times their length left no room for the object.
    #[test]
    fn the_object_is_there_however_long_its_words_are() {
        let long = || Some("\u{1f600}".repeat(512));
        let upstream = UpstreamError { code: long(), kind: long(), request_id: long(), ..Default::default() };
        let error = CanonicalError {
            message: "\u{1f600}".repeat(2048),
            upstream: Some(Box::new(upstream)),
            ..CanonicalError::from_fault(Fault::Panic)
        };
        let trailers = trailers(&error, &STAMP, Form::Canonical, None);
        let object: serde_json::Value = serde_json::from_str(field(&trailers, "x-gateway-error")).expect("an object");
        assert_eq!(object["code"], "internal_error");
    }

    #[test]
    fn trailers_stay_within_what_clients_take() {
        for long in ["x".repeat(20_000), "ä".repeat(4000), "%".repeat(60_000), "\u{1f600}\n".repeat(4000)] {
            let (encoded, _) = grpc::percent_encoded(&long, 60_000);
            for compatible in [true, false] {
                let trailers = ended(&[("grpc-status", "8"), ("grpc-message", &encoded)], compatible);
                let own = if compatible { encoded.len() } else { 0 };
                let size: usize = trailers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
                assert!(size - own < 7 * 1024, "{size} of {}", long.len());
                let object: serde_json::Value =
                    serde_json::from_str(field(&trailers, "x-gateway-error")).expect("an object");
                assert_eq!(object["upstream"]["grpc_status"], 8);
            }
        }
    }
}
