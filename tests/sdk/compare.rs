//! What must be the same through the gateway as without it, and what must be there in addition.

use std::{borrow::Cow, sync::LazyLock};

use regex::{Regex, Replacer};
use serde_json::{Map, Value};

use crate::{driver::Outcome, faults::Moment, matrix::Case};

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

impl Pair<'_> {
    pub(crate) fn moment(&self) -> Option<Moment> {
        self.case.failure().map(|fault| fault.moment)
    }
}

/// Differences found, each a sentence with both sides.
#[derive(Default)]
pub(crate) struct Findings(pub(crate) Vec<String>);

impl Findings {
    pub(crate) fn expect_same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, direct: T, gateway: T) {
        if direct != gateway {
            self.0.push(format!("{what}: direct {direct:?}, through the gateway {gateway:?}"));
        }
    }

    pub(crate) fn expect(&mut self, what: &str, holds: bool) {
        if !holds {
            self.0.push(what.to_owned());
        }
    }
}

/// Everything that must hold for a call on a compatible route.
pub(crate) fn compatible(pair: &Pair<'_>) -> Findings {
    let mut found = Findings::default();
    match pair.moment() {
        None => expect_same_success(&mut found, pair),
        Some(Moment::Cut) => expect_cut(&mut found, pair),
        Some(Moment::Network) => expect_typed(&mut found, pair),
        Some(_) => {
            expect_same_outcome(&mut found, pair);
            expect_reachable(&mut found, pair);
        }
    }
    found
}

/// Everything that must hold for a call on a canonical route.
pub(crate) fn canonical(pair: &Pair<'_>) -> Findings {
    let mut found = Findings::default();
    match pair.moment() {
        None => expect_same_success(&mut found, pair),
        Some(Moment::Cut) => expect_cut(&mut found, pair),
        Some(_) => expect_carried(&mut found, pair),
    }
    found
}

pub(crate) fn expect_same_success(found: &mut Findings, pair: &Pair<'_>) {
    let Pair { direct, gateway, .. } = pair;
    found.expect("the direct call succeeds", direct.outcome == "ok");
    found.expect_same("outcome", &direct.outcome, &gateway.outcome);
    found.expect_same("value", settled(&direct.value), settled(&gateway.value));
    found.expect_same("requests sent", direct.requests, gateway.requests);
}

/// Nothing can be said in the middle of audio; but nobody may take half of it for the whole.
fn expect_cut(found: &mut Findings, pair: &Pair<'_>) {
    found.expect_same("outcome", "error", &pair.direct.outcome);
    found.expect_same("outcome", &pair.direct.outcome, &pair.gateway.outcome);
    // Which of the transport's exceptions it is depends on how much a reset overtakes, by either way.
}

/// Directly the SDK has no answer at all; through the gateway it has one, in a form that it knows.
fn expect_typed(found: &mut Findings, pair: &Pair<'_>) {
    found.expect_same("outcome", "error", &pair.gateway.outcome);
    found.expect("the SDK's own error, with a status", pair.gateway.status.is_some());
    expect_reachable(found, pair);
}

pub(crate) fn expect_same_outcome(found: &mut Findings, pair: &Pair<'_>) {
    let Pair { direct, gateway, .. } = pair;
    found.expect_same("outcome", &direct.outcome, &gateway.outcome);
    found.expect_same("class", &direct.class, &gateway.class);
    found.expect_same("bases", &direct.bases, &gateway.bases);
    found.expect_same("status", direct.status, gateway.status);
    found.expect_same("cause", &direct.cause, &gateway.cause);
    found.expect_same("requests sent", direct.requests, gateway.requests);
    found.expect_same("value", settled(&direct.value), without_ours(settled(&gateway.value)));
    found.expect_same("retry-after", direct.headers.get("retry-after"), retry_after(direct, gateway));
    // A page of HTML, a word or nothing at all becomes a body of the provider's usual shape: the exception is the same,
    // and what it carries says more.
    let reached = gateway.headers.contains_key("x-error-code") || ours(&gateway.body).is_some();
    let gained = reached && pair.case.failure().is_some_and(|fault| fault.foreign);
    if !gained {
        found.expect_same("message", settled_text(&direct.message), settled_text(&gateway.message));
        found.expect_same("body", settled(&direct.body), without_ours(settled(&gateway.body)));
        found.expect_same("fields", parsed_fields(direct, direct), parsed_fields(direct, gateway));
    }
}

/// The canonical object is there for whoever looks, on a compatible route.
pub(crate) fn expect_reachable(found: &mut Findings, pair: &Pair<'_>) {
    let Pair { direct, gateway, .. } = pair;
    if gateway.outcome == "error" && gateway.status.is_some() {
        expect_error_headers(found, gateway);
        match gateway.body.get("gateway_error") {
            Some(error) => expect_envelope(found, error, pair),
            // A body that is no object has no room for one more member; and one SDK hands out no body at all.
            None => found.expect("gateway_error in the body", !gateway.body.is_object()),
        }
    } else if direct.outcome == "ok" {
        match ours(&gateway.value) {
            Some(error) => expect_envelope(found, error, pair),
            None => found.0.push(format!("a failure inside a success carries gateway_error: {}", gateway.value)),
        }
    }
}

/// The canonical object stands where the provider's own words were, on a canonical route.
fn expect_carried(found: &mut Findings, pair: &Pair<'_>) {
    let Pair { gateway, .. } = pair;
    let failed = gateway.outcome == "error";
    // One SDK keeps no body, and takes the object for the error's text.
    let in_body = || gateway.body.get("error").or(gateway.fields.get("detail")).filter(|error| error.is_object());
    if pair.case.drops {
        // The reason why compatible routes exist.
        return found.expect_same("outcome", &pair.direct.outcome, &gateway.outcome);
    }
    if failed && gateway.status.is_none() && matches!(pair.moment(), Some(Moment::Events | Moment::Lines)) {
        // The status was sent long ago: some SDKs raise an error of their own, with nothing of the stream in it.
        return found.expect_same("outcome", &pair.direct.outcome, &gateway.outcome);
    }
    let place = if failed { in_body() } else { canonical_object(&gateway.value) };
    let Some(error) = place else {
        found.0.push(format!("no envelope: {:?} {} {}", gateway.class, gateway.body, gateway.value));
        return;
    };
    expect_envelope(found, error, pair);
    if failed {
        expect_error_headers(found, gateway);
        found.expect_same("status in the envelope", error["status"].as_u64(), gateway.status.map(u64::from));
    }
}

/// A hint that the provider gave in its body alone becomes a header here, and that is no difference.
fn retry_after<'a>(direct: &Outcome, gateway: &'a Outcome) -> Option<&'a String> {
    direct.headers.get("retry-after").and_then(|_| gateway.headers.get("retry-after"))
}

fn expect_error_headers(found: &mut Findings, gateway: &Outcome) {
    if gateway.headers.is_empty() {
        // The oldest SDK keeps none.
        return;
    }
    for name in ERROR_HEADERS {
        found.expect(&format!("header {name}"), gateway.headers.contains_key(name));
    }
    found.expect("header proxy-status", gateway.headers.contains_key("proxy-status"));
}

fn expect_envelope(found: &mut Findings, error: &Value, pair: &Pair<'_>) {
    let Pair { case, direct, gateway } = pair;
    let text = |name: &str| error[name].as_str().unwrap_or_default();
    for name in ["code", "message", "timestamp"] {
        found.expect(&format!("{name} in {error}"), !text(name).is_empty());
    }
    let request_id = text("request_id").len() + text("requestId").len();
    found.expect(&format!("request_id in {error}"), request_id > 0);
    found.expect(&format!("type in {error}"), TYPES.contains(&text("type")));
    found.expect(&format!("status in {error}"), error["status"].is_u64());
    found.expect(&format!("retryable in {error}"), error["retryable"].is_boolean());
    let network = pair.moment() == Some(Moment::Network);
    found.expect(&format!("origin in {error}"), text("origin") == if network { "network" } else { "provider" });
    found.expect(
        &format!("provider and route in {error}"),
        text("provider") == case.provider && text("route") == case.provider,
    );
    if gateway.outcome == "error" && !gateway.headers.is_empty() {
        found.expect_same("x-error-code", gateway.headers.get("x-error-code").map(String::as_str), Some(text("code")));
        found.expect_same("x-error-type", gateway.headers.get("x-error-type").map(String::as_str), Some(text("type")));
        found.expect_same(
            "x-request-id",
            gateway.headers.get("x-request-id").map(String::as_str),
            Some(text("request_id")),
        );
        if !network {
            found.expect_same("upstream.status", direct.status.map(u64::from), error["upstream"]["status"].as_u64());
        }
    }
}

/// The exception's own members as they should be; `requestId` of one SDK is empty directly and ours through the gateway.
fn parsed_fields(direct: &Outcome, outcome: &Outcome) -> Value {
    let gained = |name: &String| name == "requestId" && direct.fields.get(name).is_none_or(Value::is_null);
    let kept = outcome.fields.iter().filter(|(name, _)| !gained(name));
    without_ours(settled(&Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect())))
}

/// The first canonical object anywhere in the value, whatever the member's name.
fn canonical_object(value: &Value) -> Option<&Value> {
    match value {
        Value::Object(members)
            if ["retryable", "origin", "timestamp"].iter().all(|name| members.contains_key(*name)) =>
        {
            Some(value)
        }
        Value::Object(members) => members.values().find_map(canonical_object),
        Value::Array(items) => items.iter().find_map(canonical_object),
        _ => None,
    }
}

/// The member that a compatible route adds, also as one SDK spells it.
fn is_ours(name: &str) -> bool {
    matches!(name, "gateway_error" | "gatewayError")
}

/// The first such member anywhere in the value.
pub(crate) fn ours(value: &Value) -> Option<&Value> {
    match value {
        Value::Object(members) => members
            .iter()
            .find_map(|(name, inner)| Some(inner).filter(|inner| is_ours(name) && inner.is_object()))
            .or_else(|| members.values().find_map(ours)),
        Value::Array(items) => items.iter().find_map(ours),
        _ => None,
    }
}

pub(crate) fn without_ours(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(name, _)| !is_ours(name));
            Value::Object(kept.map(|(name, inner)| (name, without_ours(inner))).collect::<Map<_, _>>())
        }
        Value::Array(items) => items.into_iter().map(without_ours).collect(),
        other => other,
    }
}

/// The value without what differs between any two calls: ids made for one request, times, and the address asked.
pub(crate) fn settled(value: &Value) -> Value {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::{
        faults::Fault,
        matrix::{Case, Driver},
    };

    fn case() -> Case {
        Case {
            id: "a case".to_owned(),
            number: 0,
            key: None,
            client: "elevenlabs-python".to_owned(),
            provider: "elevenlabs".to_owned(),
            method: "voices.get".to_owned(),
            target: None,
            headers: BTreeMap::new(),
            retries: Some(0),
            fault: Some(Fault {
                name: "quota_exceeded".to_owned(),
                moment: Moment::Answer,
                foreign: false,
                control: false,
            }),
            drops: false,
            more: false,
            driver: Driver::Python,
        }
    }

    fn direct() -> Outcome {
        Outcome {
            outcome: "error".to_owned(),
            class: "ApiError".to_owned(),
            status: Some(401),
            body: json!({ "detail": { "status": "quota_exceeded" } }),
            requests: 1,
            ..Outcome::default()
        }
    }

    fn through_the_gateway() -> Outcome {
        let error = json!({
            "type": "payment_required", "code": "quota_exceeded", "status": 402, "message": "…", "retryable": false,
            "origin": "provider", "provider": "elevenlabs", "route": "elevenlabs", "request_id": "01K",
            "timestamp": "2026-11-21T09:30:00.123Z", "upstream": { "status": 401 },
        });
        let headers = [
            ("x-request-id", "01K"),
            ("x-error-code", "quota_exceeded"),
            ("x-error-type", "payment_required"),
            ("x-should-retry", "false"),
            ("proxy-status", "speechgate; received-status=401"),
        ];
        Outcome {
            body: json!({ "detail": { "status": "quota_exceeded" }, "gateway_error": error }),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            ..direct()
        }
    }

    fn findings(change: fn(&mut Outcome)) -> Vec<String> {
        let (case, direct, mut gateway) = (case(), direct(), through_the_gateway());
        change(&mut gateway);
        compatible(&Pair { case: &case, direct: &direct, gateway: &gateway }).0
    }

    #[test]
    fn sameness_passes_and_each_difference_is_found() {
        assert_eq!(findings(|_| ()), [""; 0]);
        let changes: [fn(&mut Outcome); 7] = [
            |gateway| gateway.class = "Exception".to_owned(),
            |gateway| gateway.status = Some(402),
            |gateway| gateway.requests = 3,
            |gateway| gateway.body["detail"]["status"] = json!("other"),
            |gateway| drop(gateway.body.as_object_mut().and_then(|body| body.remove("gateway_error"))),
            |gateway| gateway.body["gateway_error"]["origin"] = json!("gateway"),
            |gateway| drop(gateway.headers.remove("x-error-code")),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            assert!(!findings(change).is_empty(), "change {number} goes unnoticed");
        }
    }
}
