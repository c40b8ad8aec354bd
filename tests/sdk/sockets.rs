//! What must hold for a WebSocket session through a compatible route.
//!
//! What the provider itself said reaches the SDK as it does without the gateway, with `gateway_error` beside it. Where
//! the provider said nothing, the session may end better than it does directly, but no SDK waits forever.

use serde_json::Value;

use crate::{
    compare::{self, Findings, Pair, ours},
    driver::Outcome,
    faults::Moment,
    table::Table,
};

/// Everything that must hold for a session.
pub(crate) fn compatible(pair: &Pair<'_>, table: &Table) -> Findings {
    let mut found = Findings::default();
    found.expect("the session ends", !hung(&pair.gateway.value));
    match pair.moment() {
        None if pair.case.fault.is_none() => compare::expect_same_success(&mut found, pair),
        None => {
            compare::expect_same_outcome(&mut found, pair);
            found.expect("nothing is added where nothing is wrong", pair.gateway.code().is_empty());
        }
        Some(Moment::Handshake) => {
            compare::expect_same_outcome(&mut found, pair);
            // The WebSocket clients of JavaScript keep nothing of a refusal but its status.
            if pair.gateway.status.is_some() {
                compare::expect_reachable(&mut found, pair);
            }
        }
        Some(Moment::Close) => expect_same_or_told(&mut found, pair),
        Some(Moment::Broken) => expect_explained(&mut found, pair),
        Some(_) => {
            if pair.case.more {
                expect_messages(&mut found, pair);
            } else if !hung(&pair.direct.value) {
                expect_same_end(&mut found, pair, table);
            }
            // An SDK that was still sending keeps the close's reason instead of the message before it.
            let only_reason = pair.gateway.body.is_string();
            found.expect("gateway_error", pair.case.drops || only_reason || !pair.gateway.code().is_empty());
        }
    }
    found
}

/// The session ends with the same exception, or with another that it ends with directly too. What it carries is not compared:
/// whether an SDK has read the last message or only the close behind it when it gives up is chance, without the gateway too.
fn expect_same_end(found: &mut Findings, pair: &Pair<'_>, table: &Table) {
    let Pair { direct, gateway, .. } = pair;
    if !table.ends_so_directly(&pair.case.id, gateway) {
        found.expect_same("outcome", &direct.outcome, &gateway.outcome);
        found.expect_same("class", &direct.class, &gateway.class);
        found.expect_same("status", direct.status, gateway.status);
    }
}

/// Every message of the provider's is there, in its order; what stands between and behind them is the gateway's.
fn expect_messages(found: &mut Findings, pair: &Pair<'_>) {
    let messages = |outcome: &Outcome| -> Vec<Value> {
        let events = outcome.value.as_array().into_iter().flatten();
        let told = events.filter_map(|event| event.get("message"));
        told.map(|message| compare::without_ours(compare::settled(message))).collect()
    };
    let (direct, gateway) = (messages(pair.direct), messages(pair.gateway));
    let mut rest = gateway.iter();
    let kept = !direct.is_empty() && direct.iter().all(|message| rest.any(|other| other == message));
    found.expect(&format!("the provider's messages {direct:?}, in {gateway:?}"), kept);
}

/// A driver marks a session that its SDK still waits for.
pub(crate) fn hung(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.get("hung") == Some(&Value::Bool(true)),
        Value::Array(items) => items.iter().any(hung),
        _ => false,
    }
}

/// A close reaches the SDK as it is; before it stands a message with the canonical object, for SDKs that read messages.
fn expect_same_or_told(found: &mut Findings, pair: &Pair<'_>) {
    let Pair { direct, gateway, .. } = pair;
    if gateway.code().is_empty() && !pair.case.drops && !hung(&direct.value) {
        compare::expect_same_outcome(found, pair);
    }
    if !hung(&direct.value) {
        found.expect_same("class", &direct.class, &gateway.class);
    }
    found.expect_same("status", direct.status, gateway.status);
    found.expect("a failure", direct.outcome != "error" || failed(gateway));
}

fn failed(outcome: &Outcome) -> bool {
    outcome.outcome == "error" || ours(&outcome.value).is_some()
}

/// Directly the SDK can only say that the connection is gone; through the gateway something says what happened.
fn expect_explained(found: &mut Findings, pair: &Pair<'_>) {
    let gateway = pair.gateway;
    let fields = Value::Object(gateway.fields.clone());
    let said = format!("{} {} {} {fields}", gateway.message, gateway.value, gateway.body).to_lowercase();
    let refused = gateway.status == Some(502) || said.contains("502");
    let told = refused || said.contains("upstream_") || pair.case.drops && gateway.outcome == "error";
    found.expect(&format!("what happened, in {said}"), told);
}
