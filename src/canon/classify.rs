//! What an observation means: the provider's profile, then what stands in front of providers, then the generic heuristics.
//!
//! Classifying is total: it never fails and terminates for any input.

use super::code::Code;
use super::decide::{Decision, Matched, Trace, Untraced, decide, extract};
use super::error::{CanonicalError, UpstreamBody, UpstreamError};
use super::evidence::{Evidence, shorten};
use super::extracted::Extracted;
use super::fault::Origin;
use super::grpc;
use super::mapping::Mapping;
use super::observed::Observed;
use super::profile::Profile;
use super::retry;
use super::select::Selector;
use super::selectors::Selectors;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// Longest message for people, in characters.
const MESSAGE_LIMIT: usize = 2048;
/// Longest id, code, parameter or link, in characters.
pub(super) const FIELD_LIMIT: usize = 512;
/// Largest provider body that an envelope carries.
const BODY_LIMIT: usize = 16 * 1024;
/// Largest extra from a provider that `details` carries.
const DETAIL_LIMIT: usize = 4 * 1024;
/// Deepest provider JSON that an envelope carries as JSON. Clients' parsers stop at 64 levels or more (.NET at 64, serde at
/// 128), and the envelope adds a few levels.
const NESTING_LIMIT: usize = 48;

/// A classified failure and what decided it.
#[derive(Debug)]
pub struct Classified<'p> {
    /// The failure in the closed vocabulary.
    pub error: CanonicalError,
    /// What decided the code.
    pub matched: Matched<'p>,
}

/// Classifies an observation with a provider's profile.
#[must_use]
pub fn classify(profile: &Profile, seen: &Observed<'_>) -> CanonicalError {
    resolve(profile, &Evidence::new(seen)).error
}

/// Like [`classify`], for a body that is decoded already, and with what decided.
#[must_use]
pub fn resolve<'p>(profile: &'p Profile, evidence: &Evidence<'_>) -> Classified<'p> {
    resolve_traced(profile, evidence, &mut Untraced)
}

/// Like [`resolve`], and reports every step of the decision to `trace`.
pub(crate) fn resolve_traced<'p>(
    profile: &'p Profile,
    evidence: &Evidence<'_>,
    trace: &mut impl Trace,
) -> Classified<'p> {
    let extracted = extract(profile, evidence);
    let decision = decide(profile, &extracted, evidence, trace);
    let error = assemble(profile, extracted, &decision, evidence);
    Classified { error, matched: decision.matched }
}

fn assemble(
    profile: &Profile,
    extracted: Extracted<'_>,
    decision: &Decision<'_>,
    evidence: &Evidence<'_>,
) -> CanonicalError {
    let reader = Reader { profile, evidence };
    let (code, mapping) = (decision.code, decision.mapping);
    let Extracted { code: said, title, message, status, heard: _, close: _ } = extracted;
    let retryable = reader
        .text(|profile| &profile.fields.retryable)
        .and_then(|word| yes_or_no(&word))
        .or_else(|| mapping.and_then(|mapping| mapping.retryable))
        .unwrap_or(code.row().retryable || code == Code::UnknownError && status.is_some_and(|status| status >= 500));
    let details = details(profile, mapping, evidence);
    let said = mark(profile, decision).map(Cow::Borrowed).or(said);
    let documented = || Duration::try_from_secs_f64(mapping?.retry_after_seconds?).ok();
    CanonicalError {
        code,
        origin: Origin::Provider,
        retryable,
        retry_after: reader.retry_after().or_else(documented),
        message: worded(&reader, title, message, code, mapping),
        param: reader.field(|profile| &profile.fields.param).or_else(|| first_param(&details)),
        doc_url: reader
            .field(|profile| &profile.fields.doc_url)
            .filter(|url| url.starts_with("https://") || url.starts_with("http://"))
            .or_else(|| mapping.and_then(|mapping| mapping.doc_url.clone())),
        details,
        context_id: own_field(&profile.fields.context_id, evidence),
        done: profile.fields.done.text(evidence).and_then(|word| yes_or_no(&word)),
        fatal: mapping.and_then(|mapping| mapping.fatal),
        of_request: mapping.is_some_and(|mapping| mapping.of_request),
        upstream_label: label(decision, said.is_some()),
        unmapped: !decision.known || code == Code::UnknownError && matches!(decision.matched, Matched::Nothing),
        upstream: Some(Box::new(upstream(&reader, said))),
        fault: None,
    }
}

/// Reads a member with the provider's selectors, then with those of its fallbacks.
struct Reader<'r> {
    profile: &'r Profile,
    evidence: &'r Evidence<'r>,
}

impl<'r> Reader<'r> {
    fn profiles(&self) -> impl Iterator<Item = &'r Profile> {
        let fallback = self.profile.fallback.as_deref();
        let all = [Some(self.profile), fallback.map(|all| &all.edge), fallback.map(|all| &all.generic)];
        all.into_iter().flatten()
    }

    fn text(&self, field: impl Fn(&'r Profile) -> &'r Selectors) -> Option<Cow<'r, str>> {
        self.profiles().find_map(|profile| field(profile).text(self.evidence))
    }

    fn field(&self, field: impl Fn(&'r Profile) -> &'r Selectors) -> Option<String> {
        self.text(field).map(|text| shorten(text, FIELD_LIMIT).into_owned())
    }

    fn retry_after(&self) -> Option<Duration> {
        let hint = |selector: &Selector| retry::wait(&selector.text(self.evidence)?, selector.unit, self.evidence.now);
        let header = || {
            let value = self.evidence.headers.get(http::header::RETRY_AFTER)?.to_str().ok()?;
            retry::wait(value, None, self.evidence.now)
        };
        self.profiles()
            .find_map(|profile| {
                profile.fields.retry_after.asked(self.evidence).find_map(|(_, selector)| hint(selector))
            })
            .or_else(header)
    }
}

fn own_field(selectors: &Selectors, evidence: &Evidence<'_>) -> Option<String> {
    selectors.text(evidence).map(|text| shorten(text, FIELD_LIMIT).into_owned())
}

/// The provider's own words when it sent any, title and message joined when both say something.
fn worded(
    reader: &Reader<'_>,
    title: Option<Cow<'_, str>>,
    message: Option<Cow<'_, str>>,
    code: Code,
    mapping: Option<&Mapping>,
) -> String {
    let said = message.or_else(|| reader.text(|profile| &profile.fields.message));
    let title = title.or_else(|| reader.text(|profile| &profile.fields.title));
    let reason = || {
        let reason = reader.evidence.ws_reason.or(reader.evidence.grpc.map(grpc::Status::message));
        reason.map(str::trim).filter(|reason| !reason.is_empty()).map(Cow::Borrowed)
    };
    let joined = match (title, said.or_else(reason)) {
        (Some(title), Some(said)) if says_more(&title, &said) => {
            Some(Cow::Owned(format!("{}: {said}", title.trim_end_matches('.'))))
        }
        (title, said) => said.or(title),
    };
    let words = joined.or_else(|| mapping.and_then(|mapping| mapping.message.as_deref()).map(Cow::Borrowed));
    shorten(words.unwrap_or(Cow::Borrowed(code.row().sentence)), MESSAGE_LIMIT).into_owned()
}

/// Whether a title adds anything to the message.
fn says_more(title: &str, message: &str) -> bool {
    let plain = |text: &str| text.trim_end_matches('.').to_lowercase();
    !plain(message).contains(&plain(title))
}

fn details(profile: &Profile, mapping: Option<&Mapping>, evidence: &Evidence<'_>) -> Map<String, Value> {
    let mut details = Map::new();
    for (name, text) in mapping.map(|mapping| mapping.details.as_slice()).unwrap_or_default() {
        let _ = details.insert(name.clone(), Value::String(text.clone()));
    }
    for (name, selectors) in &profile.fields.details {
        let found = selectors.asked(evidence).find_map(|(_, selector)| selector.json(evidence));
        if let Some(value) = found.filter(|value| !is_empty(value) && is_light(value)) {
            let _ = details.insert(name.clone(), value);
        }
    }
    if let Some(context) = own_field(&profile.fields.context_id, evidence) {
        let _ = details.insert("context_id".to_owned(), Value::String(context));
    }
    let fallback = profile.fallback.as_deref().map(|fallback| &fallback.generic);
    let projections = std::iter::once(profile).chain(fallback).flat_map(|profile| &profile.fields.validation);
    let asked = projections.filter(|projection| projection.needs.meets(evidence.outline()));
    let mut entries = asked.map(|projection| evidence.tree().map(|tree| projection.entries(tree)));
    if let Some(entries) = entries.find_map(|entries| entries.filter(|entries| !entries.is_empty())) {
        let _ = details.insert("validation_errors".to_owned(), Value::Array(entries));
    }
    details
}

/// The parameter of the first validation error that names one.
fn first_param(details: &Map<String, Value>) -> Option<String> {
    let entries = details.get("validation_errors")?.as_array()?;
    entries.iter().find_map(|entry| Some(entry.get("param")?.as_str()?.to_owned()))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether an extra is small and shallow enough for `details`.
fn is_light(value: &Value) -> bool {
    serde_json::to_vec(value).is_ok_and(|json| json.len() <= DETAIL_LIMIT && is_shallow(&json))
}

/// Whether lists and objects are nested no deeper than an envelope carries.
fn is_shallow(json: &[u8]) -> bool {
    // Cheap test first: hardly any text has that many brackets.
    if memchr::memchr2_iter(b'{', b'[', json).nth(NESTING_LIMIT).is_none() {
        return true;
    }
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest <= NESTING_LIMIT
}

/// The code of the edge (proxy, load balancer) when the edge decided.
fn mark<'p>(profile: &Profile, decision: &Decision<'p>) -> Option<&'p str> {
    let Matched::Code(of, _, code) = decision.matched else { return None };
    profile.fallback.as_deref().is_some_and(|all| all.edge.name() == of).then_some(code)
}

/// The provider's code as a label from a closed set.
fn label(decision: &Decision<'_>, has_code: bool) -> Arc<str> {
    let known = decision.mapping.and_then(|mapping| mapping.label.clone());
    known.unwrap_or_else(|| Arc::from(if has_code { "other" } else { "none" }))
}

fn upstream(reader: &Reader<'_>, code: Option<Cow<'_, str>>) -> UpstreamError {
    let evidence = reader.evidence;
    let generic_code = || reader.field(|profile| &profile.fields.code);
    UpstreamError {
        status: evidence.status,
        close: evidence.ws_code,
        grpc: evidence.grpc.map(grpc::Status::number),
        code: code.map(|code| shorten(code, FIELD_LIMIT).into_owned()).or_else(generic_code),
        kind: reader.field(|profile| &profile.fields.kind),
        request_id: reader.field(|profile| &profile.fields.request_id),
        body: body(evidence),
        truncated: evidence.truncated || evidence.body.len() > BODY_LIMIT,
    }
}

/// The provider's body for the envelope: JSON as JSON, text and JSON that is nested too deep as a string; none past the bound or when
/// it is binary.
fn body(evidence: &Evidence<'_>) -> Option<UpstreamBody> {
    if evidence.truncated || evidence.body.is_empty() || evidence.body.len() > BODY_LIMIT {
        return None;
    }
    if let Some(json) = evidence.json().filter(|json| is_shallow(json.as_bytes())) {
        return Some(UpstreamBody::Json(json.to_owned()));
    }
    let text = String::from_utf8_lossy(evidence.body);
    let text = text.trim().trim_start_matches('\u{feff}');
    let readable = evidence.text().is_some() || evidence.is_markup() || evidence.tree().is_some();
    (readable && !text.is_empty()).then(|| UpstreamBody::Text(text.to_owned()))
}

fn yes_or_no(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Some(true),
        "false" | "no" | "0" => Some(false),
        _ => None,
    }
}
