//! What must be the same through the gateway as without it, and what must be there in addition.

use std::{borrow::Cow, sync::LazyLock};

use regex::{Regex, Replacer};
use serde_json::{Map, Value};

use crate::{driver::Outcome, matrix::Case};

/// The types of the envelope; a client branches on them, so a new one would be noticed here.
const TYPES: [&str; 14] = [
    "invalid_request",
    "authentication",
    "payment_required",
    "permission_denied",
    "not_found",
    "conflict",
    "not_ready",
    "rate_limited",
    "concurrency_limited",
    "internal",
    "upstream",
    "unavailable",
    "timeout",
    "cancelled",
];

/// Headers on every error, whatever the envelope.
const ERROR_HEADERS: [&str; 4] = ["x-request-id", "x-error-code", "x-error-type", "x-should-retry"];

/// One call by both ways.
pub(crate) struct Pair<'a> {
    pub(crate) case: &'a Case,
    pub(crate) direct: &'a Outcome,
    pub(crate) gateway: &'a Outcome,
}

/// Differences found, each a sentence with both sides.
#[derive(Default)]
pub(crate) struct Findings(pub(crate) Vec<String>);

impl Findings {
    fn expect_same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, direct: T, gateway: T) {
        if direct != gateway {
            self.0.push(format!("{what}: direct {direct:?}, through the gateway {gateway:?}"));
        }
    }

    fn expect(&mut self, what: &str, holds: bool) {
        if !holds {
            self.0.push(what.to_owned());
        }
    }
}

/// Everything that must hold for a call on a compatible route.
pub(crate) fn compatible(pair: &Pair<'_>) -> Findings {
    let Pair { case, direct, gateway } = pair;
    let mut found = Findings::default();
    found.expect_same("outcome", &direct.outcome, &gateway.outcome);
    found.expect_same("class", &direct.class, &gateway.class);
    found.expect_same("bases", &direct.bases, &gateway.bases);
    found.expect_same("status", direct.status, gateway.status);
    found.expect_same("cause", &direct.cause, &gateway.cause);
    found.expect_same("requests sent", direct.requests, gateway.requests);
    found.expect_same("message", settled_text(&direct.message), settled_text(&gateway.message));
    found.expect_same("body", settled(&direct.body), without_ours(settled(&gateway.body)));
    found.expect_same("value", settled(&direct.value), without_ours(settled(&gateway.value)));
    found.expect_same("fields", parsed_fields(direct, direct), parsed_fields(direct, gateway));
    found.expect_same("retry-after", direct.headers.get("retry-after"), retry_after(direct, gateway));
    if gateway.outcome == "error" {
        expect_error_headers(&mut found, gateway);
        match gateway.body.get("gateway_error") {
            Some(error) => expect_envelope(&mut found, error, pair),
            // A body that is no object has no room for one more member; and one SDK hands out no body at all.
            None => found.expect("gateway_error in the body", !gateway.body.is_object()),
        }
    } else if case.fault.is_some() {
        match member(&gateway.value, "gateway_error") {
            Some(error) => expect_envelope(&mut found, error, pair),
            None => found.expect("a failure inside a success carries gateway_error", false),
        }
    }
    found
}

/// Everything that must hold for a call on a canonical route.
pub(crate) fn canonical(pair: &Pair<'_>) -> Findings {
    let Pair { case, direct, gateway } = pair;
    let mut found = Findings::default();
    if direct.outcome == "ok" && case.fault.is_none() {
        found.expect_same("outcome", &direct.outcome, &gateway.outcome);
        found.expect_same("value", settled(&direct.value), settled(&gateway.value));
        return found;
    }
    let place = if gateway.outcome == "error" {
        gateway.body.get("error").or(gateway.fields.get("detail"))
    } else {
        member(&gateway.value, "error")
    };
    match place {
        Some(error) => {
            expect_envelope(&mut found, error, pair);
            if gateway.outcome == "error" {
                expect_error_headers(&mut found, gateway);
                found.expect_same("status in the envelope", error["status"].as_u64(), gateway.status.map(u64::from));
            }
        }
        None => found.0.push(format!("no envelope: {:?} {} {}", gateway.class, gateway.body, gateway.value)),
    }
    found
}

/// A hint that the provider gave in its body alone becomes a header here, and that is no difference.
fn retry_after<'a>(direct: &Outcome, gateway: &'a Outcome) -> Option<&'a String> {
    direct.headers.get("retry-after").and_then(|_| gateway.headers.get("retry-after"))
}

fn expect_error_headers(found: &mut Findings, gateway: &Outcome) {
    for name in ERROR_HEADERS {
        found.expect(&format!("header {name}"), gateway.headers.contains_key(name));
    }
    found.expect("header proxy-status", gateway.headers.contains_key("proxy-status"));
}

fn expect_envelope(found: &mut Findings, error: &Value, pair: &Pair<'_>) {
    let Pair { case, direct, gateway } = pair;
    let text = |name: &str| error[name].as_str().unwrap_or_default();
    for name in ["code", "message", "request_id", "timestamp"] {
        found.expect(&format!("{name} in {error}"), !text(name).is_empty());
    }
    found.expect(&format!("type in {error}"), TYPES.contains(&text("type")));
    found.expect(&format!("status in {error}"), error["status"].is_u64());
    found.expect(&format!("retryable in {error}"), error["retryable"].is_boolean());
    found.expect(&format!("origin in {error}"), text("origin") == "provider");
    found.expect(
        &format!("provider and route in {error}"),
        text("provider") == case.provider && text("route") == case.provider,
    );
    if gateway.outcome == "error" {
        found.expect_same("x-error-code", gateway.headers.get("x-error-code").map(String::as_str), Some(text("code")));
        found.expect_same("x-error-type", gateway.headers.get("x-error-type").map(String::as_str), Some(text("type")));
        found.expect_same(
            "x-request-id",
            gateway.headers.get("x-request-id").map(String::as_str),
            Some(text("request_id")),
        );
        found.expect_same("upstream.status", direct.status.map(u64::from), error["upstream"]["status"].as_u64());
    }
}

/// The exception's own members as they should be; `requestId` of one SDK is empty directly and ours through the gateway.
fn parsed_fields(direct: &Outcome, outcome: &Outcome) -> Value {
    let gained = |name: &String| name == "requestId" && direct.fields.get(name).is_none_or(Value::is_null);
    let kept = outcome.fields.iter().filter(|(name, _)| !gained(name));
    without_ours(settled(&Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect())))
}

/// The first member of this name anywhere in the value.
fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(members) => members
            .get(name)
            .filter(|found| found.is_object())
            .or_else(|| members.values().find_map(|inner| member(inner, name))),
        Value::Array(items) => items.iter().find_map(|inner| member(inner, name)),
        _ => None,
    }
}

fn without_ours(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(name, _)| name != "gateway_error");
            Value::Object(kept.map(|(name, inner)| (name, without_ours(inner))).collect::<Map<_, _>>())
        }
        Value::Array(items) => items.into_iter().map(without_ours).collect(),
        other => other,
    }
}

/// The value without what differs between any two calls: ids made for one request, times, and the address asked.
fn settled(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(settled_text(text).into_owned()),
        Value::Array(items) => items.iter().map(settled).collect(),
        Value::Object(members) => members.iter().map(|(name, inner)| (name.clone(), settled(inner))).collect(),
        other => other.clone(),
    }
}

fn settled_text(text: &str) -> Cow<'_, str> {
    static PER_CALL: LazyLock<[(Regex, &str); 4]> = LazyLock::new(|| {
        [
            (r"(?:http|ws)://127\.0\.0\.1:\d+(?:/(?:elevenlabs|cartesia|breeze|corti|zenhire)\b)?", "<address>"),
            (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uuid>"),
            (r"\breq_[0-9A-Za-z_]+", "<request>"),
            (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", "<time>"),
        ]
        .map(|(pattern, mark)| (Regex::new(pattern).expect("the pattern is well formed"), mark))
    });
    let mut text = Cow::Borrowed(text);
    for (pattern, mut mark) in PER_CALL.iter().map(|(pattern, mark)| (pattern, *mark)) {
        if let Cow::Owned(changed) = pattern.replace_all(&text, mark.by_ref()) {
            text = Cow::Owned(changed);
        }
    }
    text
}
