//! An error as the end of a gRPC call: the fields of its trailers.

use super::http::{PROXY_STATUS, X_GATEWAY_ERROR, X_REQUEST_ID, ascii_json, describe, forget_the_old_body};
use crate::canon::envelope::{self, Stamp};
use crate::canon::grpc::{self, DETAILS, MESSAGE, Note, STATUS};
use crate::canon::{CanonicalError, Evidence, Fault, UpstreamError};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::collections::BTreeMap;

/// Most of all trailers together. Clients take 8 KiB; the rest is for what else the head has of an answer that is nothing but its end.
const TRAILERS_LIMIT: usize = 7680;
/// Longest sentence of the gateway's own, in bytes as it is sent.
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

/// The trailers. `received` are those of the provider, cleaned, which stay but for what is worded anew, as far as there is room: what
/// says how the call ended comes first, then the canonical object, then what else the provider sent.
#[must_use]
pub fn trailers(error: &CanonicalError, stamp: &Stamp<'_>, form: Form<'_>, received: Option<HeaderMap>) -> HeaderMap {
    let received = received.unwrap_or_default();
    let theirs = (received.get(&MESSAGE).cloned(), received.get(&DETAILS).cloned());
    let others = others(&received);
    let own = match form {
        Form::Canonical => None,
        Form::Compatible(evidence) => evidence.and_then(|evidence| evidence.grpc),
    };
    let number = own.map_or_else(|| number_of(error, form), grpc::Status::number);
    let mut trailers = HeaderMap::new();
    let _ = trailers.insert(STATUS, HeaderValue::from(number));
    trailers.extend(HeaderValue::from_str(stamp.request_id).ok().map(|id| (X_REQUEST_ID, id)));
    describe(error, &mut trailers);
    let words = match (own, form) {
        (Some(own), _) => own.message().to_owned(),
        (None, Form::Canonical) => format!("{}: {}", error.code, error.message),
        (None, Form::Compatible(_)) => error.message.clone(),
    };
    let (message, details) = own.map(|_| theirs).unwrap_or_default();
    let kept = message.is_some_and(|message| add(&mut trailers, MESSAGE, message));
    let (message, said) = grpc::percent_encoded(&words, MESSAGE_LIMIT);
    if let (false, false, Ok(message)) = (kept, message.is_empty(), HeaderValue::try_from(message)) {
        let _ = trailers.insert(MESSAGE, message);
    }
    // Clients refuse details that say another sentence.
    let whole = own.is_none() || said == words;
    if let Some(details) = details.filter(|_| kept || whole) {
        let _ = add(&mut trailers, DETAILS, details);
    }
    let most = room(&trailers, &X_GATEWAY_ERROR).min(OBJECT_LIMIT);
    trailers.extend(object(error, stamp, most).map(|object| (X_GATEWAY_ERROR, object)));
    if !trailers.contains_key(&DETAILS)
        && whole
        && let Ok(details) = HeaderValue::try_from(details_of(error, stamp, u8::try_from(number).unwrap_or(2), said))
    {
        let _ = add(&mut trailers, DETAILS, details);
    }
    beside(others, trailers)
}

/// The status of an end that no provider worded: the code's. In the compatible form an answer that broke off is what clients make of a stream
/// that breaks: `INTERNAL`. `UNAVAILABLE` would be tried again by Google's for as long as it lasts, although the call was served.
fn number_of(error: &CanonicalError, form: Form<'_>) -> u16 {
    match (form, error.fault) {
        (Form::Compatible(_), Some(Fault::ResponseBodyIncomplete)) => grpc::INTERNAL,
        _ => u16::from(error.code.row().grpc),
    }
}

/// What a provider sent beside the end of the call, in its order, which removing from it would change.
fn others(received: &HeaderMap) -> HeaderMap {
    let mut left = received.clone();
    let _ = forget_the_old_body(&mut left);
    for name in [STATUS, MESSAGE, DETAILS, X_GATEWAY_ERROR] {
        let _ = left.remove(name);
    }
    let mut others = HeaderMap::with_capacity(left.keys_len());
    for (name, value) in received.iter().filter(|(name, _)| left.contains_key(*name)) {
        let _ = others.append(name, value.clone());
    }
    others
}

/// How much room a field takes in a header section, as HTTP/2 counts it.
fn size(name: &HeaderName, value: &HeaderValue) -> usize {
    name.as_str().len() + value.len() + 32
}

/// The longest value that a further field of this name may have.
fn room(trailers: &HeaderMap, name: &HeaderName) -> usize {
    let taken: usize = trailers.iter().map(|(name, value)| size(name, value)).sum();
    TRAILERS_LIMIT.saturating_sub(taken + name.as_str().len() + 32)
}

/// Adds a field if there is room for it; whether there was.
fn add(trailers: &mut HeaderMap, name: HeaderName, value: HeaderValue) -> bool {
    let fits = value.len() <= room(trailers, &name);
    if fits {
        let _ = trailers.insert(name, value);
    }
    fits
}

/// What else the provider sent, with the gateway's own behind it; where that is too much, the last of the provider's go.
fn beside(others: HeaderMap, own: HeaderMap) -> HeaderMap {
    let all = |fields: &HeaderMap| fields.iter().map(|(name, value)| size(name, value)).sum::<usize>();
    let mut left = TRAILERS_LIMIT.saturating_sub(all(&own));
    let mut trailers = if all(&others) <= left {
        others
    } else {
        let mut kept = HeaderMap::new();
        for (name, value) in &others {
            let Some(rest) = left.checked_sub(size(name, value)) else { break };
            left = rest;
            let _ = kept.append(name, value.clone());
        }
        kept
    };
    for (name, value) in &own {
        // A list of all that have handled the answer, the last of them at its end.
        if name == PROXY_STATUS {
            let _ = trailers.append(name, value.clone());
        } else {
            let _ = trailers.insert(name, value.clone());
        }
    }
    trailers
}

/// The canonical object, as much of it as there is room for. What the provider said is said beside it.
fn object(error: &CanonicalError, stamp: &Stamp<'_>, most: usize) -> Option<HeaderValue> {
    let bare = Stamp { upstream_body: false, ..*stamp };
    let whole = ascii_json(&envelope::object(error, &bare), most);
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
        ascii_json(&envelope::object(&short, &bare), most)
    })
}

/// `google.rpc.Status` with ErrorInfo and RetryInfo, for clients that read those.
fn details_of(error: &CanonicalError, stamp: &Stamp<'_>, number: u8, message: &str) -> String {
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
    use crate::canon::{Observed, Profile, ProfileSpec, resolve};
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

    fn all(trailers: &HeaderMap) -> usize {
        trailers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
    }

    /// A long sentence of the provider's had the whole object beside it, and any number of further fields were kept.
    #[test]
    fn what_the_provider_sends_leaves_the_rest_less_room() {
        let message = "m".repeat(6800);
        let kept = ended(&[("grpc-status", "8"), ("grpc-message", &message), ("x-own", "1")], true);
        assert_eq!(field(&kept, "grpc-message"), message);
        assert!(all(&kept) <= TRAILERS_LIMIT, "{}", all(&kept));

        let names: Vec<&'static str> = (0..90).map(|at| &*format!("x-own-{at:02}").leak()).collect();
        let value = "v".repeat(100);
        let mut fields = vec![("grpc-status", "8"), ("grpc-message", "no")];
        fields.extend(names.iter().map(|name| (*name, value.as_str())));
        for compatible in [true, false] {
            let kept = ended(&fields, compatible);
            assert!((6000..=TRAILERS_LIMIT).contains(&all(&kept)), "{}", all(&kept));
            for name in ["grpc-message", "x-gateway-error", "grpc-status-details-bin", "x-error-code", "proxy-status"] {
                assert!(kept.contains_key(name), "{name}");
            }
            assert!(kept.contains_key("x-own-00") && !kept.contains_key("x-own-89"));
        }
    }

    /// One was counted as a success, and all were sent.
    #[test]
    fn a_status_is_sent_once() {
        for compatible in [true, false] {
            let kept = ended(&[("grpc-status", "0"), ("grpc-status", "13")], compatible);
            assert_eq!(kept.get_all("grpc-status").iter().count(), 1);
            assert_ne!(field(&kept, "grpc-status"), "0");
        }
    }

    #[test]
    fn trailers_stay_within_what_clients_take() {
        for long in ["x".repeat(20_000), "ä".repeat(4000), "%".repeat(60_000), "\u{1f600}\n".repeat(4000)] {
            let (encoded, _) = grpc::percent_encoded(&long, 60_000);
            for compatible in [true, false] {
                let trailers = ended(&[("grpc-status", "8"), ("grpc-message", &encoded)], compatible);
                assert!(all(&trailers) < 7680, "{} of {}", all(&trailers), long.len());
                assert_eq!(field(&trailers, "grpc-status"), "8");
                assert!(field(&trailers, "grpc-message").len() > 1000);
                let object: serde_json::Value =
                    serde_json::from_str(field(&trailers, "x-gateway-error")).expect("an object");
                assert_eq!(object["upstream"]["grpc_status"], 8);
            }
        }
    }
}
