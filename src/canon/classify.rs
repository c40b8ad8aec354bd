//! What an observation means: the provider's profile, then what stands in front of providers, then the generic ladder.
//!
//! Total: it never fails, and it ends for any input.

use super::code::Code;
use super::codes::Known;
use super::error::{CanonicalError, UpstreamBody, UpstreamError};
use super::evidence::{Evidence, TEXT_LIMIT, shorten};
use super::fault::Origin;
use super::ladder;
use super::observed::Observed;
use super::profile::Profile;
use super::retry;
use super::rule::{Facts, Meaning};
use super::select::Selector;
use super::selectors::Selectors;
use super::spec::Phase;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// Longest message for people, in characters.
const MESSAGE_LIMIT: usize = 2048;
/// Longest id, code, parameter or link, in characters.
const FIELD_LIMIT: usize = 512;
/// Largest provider body that an envelope carries.
const BODY_LIMIT: usize = 16 * 1024;
/// Largest extra from a provider that `details` carries.
const DETAIL_LIMIT: usize = 4 * 1024;

/// What decided the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matched<'p> {
    /// A rule: the profile and the rule's place in it, bases behind.
    Rule(&'p str, usize),
    /// A row of a code table: the profile, the code space (empty for `codes`), the provider's code.
    Code(&'p str, &'p str, &'p str),
    /// A recognisable word in an unknown code.
    Word(&'static [&'static str]),
    /// The HTTP status alone.
    Status(u16),
    /// The close code alone.
    Close(u16),
    /// A phrase in the message.
    Text(&'static [&'static str]),
    /// Nothing.
    Nothing,
}

/// A classified failure and what decided it.
#[derive(Debug)]
pub struct Classified<'p> {
    /// The failure in the closed vocabulary.
    pub error: CanonicalError,
    /// What decided the code.
    pub matched: Matched<'p>,
}

/// What an observation means to a provider.
#[must_use]
pub fn classify(profile: &Profile, seen: &Observed<'_>) -> CanonicalError {
    resolve(profile, &Evidence::new(seen)).error
}

/// Like [`classify`], for a body that is decoded already, and with what decided.
#[must_use]
pub fn resolve<'p>(profile: &'p Profile, evidence: &Evidence<'_>) -> Classified<'p> {
    let facts = facts(profile, evidence);
    let verdict = decide(profile, &facts, evidence);
    let error = assemble(profile, facts, &verdict, evidence);
    Classified { error, matched: verdict.matched }
}

/// The decision, before the envelope's members are gathered.
struct Verdict<'p> {
    code: Code,
    meaning: Option<&'p Meaning>,
    matched: Matched<'p>,
    /// Whether the provider's own code was known to its profile.
    known: bool,
}

/// Reads what rules compare.
pub(crate) fn facts<'e>(profile: &Profile, evidence: &'e Evidence<'_>) -> Facts<'e> {
    let fields = &profile.fields;
    let inside = |selectors: &Selectors| selectors.text(evidence)?.parse::<u16>().ok();
    let wire = evidence.status.filter(|status| !(200..300).contains(status));
    Facts {
        code: profile.codes_in(evidence).next().map(|(code, _)| code),
        title: fields.title.text(evidence).map(bounded),
        message: fields.message.text(evidence).map(bounded),
        status: wire.or_else(|| inside(&fields.status).filter(|status| *status >= 400)),
        close: inside(&fields.close).or(evidence.ws_code),
    }
}

/// Expressions look at no more of a field than of a text.
fn bounded(text: Cow<'_, str>) -> Cow<'_, str> {
    shorten(text, TEXT_LIMIT)
}

fn decide<'p>(profile: &'p Profile, facts: &Facts<'_>, evidence: &Evidence<'_>) -> Verdict<'p> {
    let unknown_code = facts.code.as_deref();
    if let Some(verdict) = ask(profile, facts, evidence, unknown_code.is_some()) {
        return verdict;
    }
    let mut code = facts.code.clone();
    if let Some(fallback) = profile.fallback.as_deref() {
        // What the provider itself worded is not the edge's.
        if unknown_code.is_none() {
            let edge = self::facts(&fallback.edge, evidence);
            if let Some(verdict) = ask(&fallback.edge, &edge, evidence, false) {
                return Verdict { known: true, ..verdict };
            }
        }
        let mut generic = self::facts(&fallback.generic, evidence);
        generic.code = code.or(generic.code);
        if let Some(verdict) = ask(&fallback.generic, &generic, evidence, false) {
            return Verdict { known: unknown_code.is_none(), ..verdict };
        }
        code = generic.code;
    }
    climb(profile, facts, code.as_deref(), evidence)
}

/// The generic ladder: word, status, text.
fn climb<'p>(profile: &'p Profile, facts: &Facts<'_>, code: Option<&str>, evidence: &Evidence<'_>) -> Verdict<'p> {
    let rung = |code, matched| Verdict { code, meaning: None, matched, known: facts.code.is_none() };
    if let Some((code, words)) = code.and_then(ladder::by_word) {
        return rung(code, Matched::Word(words));
    }
    // Rules on the status alone know less than a word in the code, but more than the ladder.
    let by_status = profile.late_rules.iter().filter(|rule| rule.is_status_only());
    for rule in by_status {
        if rule.mismatch(facts, evidence).is_none() {
            let matched = Matched::Rule(profile.name(), rule.index);
            return Verdict { meaning: Some(&rule.then), ..rung(rule.then.code, matched) };
        }
    }
    if let Some((code, status)) = facts.status.and_then(|status| Some((ladder::by_status(status)?, status))) {
        return rung(code, Matched::Status(status));
    }
    let texts = [facts.message.as_deref(), facts.title.as_deref(), evidence.ws_reason, evidence.text()];
    if let Some((code, words)) = texts.into_iter().flatten().find_map(ladder::by_text) {
        return rung(code, Matched::Text(words));
    }
    if let Some((code, close)) = facts.close.and_then(|close| Some((ladder::by_close(close)?, close))) {
        return rung(code, Matched::Close(close));
    }
    if evidence.phase == Phase::Abort {
        return rung(Code::UpstreamDisconnected, Matched::Nothing);
    }
    rung(Code::UnknownError, Matched::Nothing)
}

/// Asks one profile: rules that name a code, the code tables, the other rules.
fn ask<'p>(profile: &'p Profile, facts: &Facts<'_>, evidence: &Evidence<'_>, word_first: bool) -> Option<Verdict<'p>> {
    let by_rule = |rule: &'p super::rule::Rule, known| {
        let matched = Matched::Rule(profile.name(), rule.index);
        Verdict { code: rule.then.code, meaning: Some(&rule.then), matched, known }
    };
    if let Some(rule) = profile.early_rules.iter().find(|rule| rule.mismatch(facts, evidence).is_none()) {
        return Some(by_rule(rule, true));
    }
    if let Some(known) = look_up(profile, facts.code.as_deref(), evidence) {
        let matched = Matched::Code(profile.name(), known.space, known.code);
        return Some(Verdict { code: known.meaning.code, meaning: Some(known.meaning), matched, known: true });
    }
    let mut late = profile.late_rules.iter().filter(|rule| !(word_first && rule.is_status_only()));
    late.find(|rule| rule.mismatch(facts, evidence).is_none())
        .map(|rule| by_rule(rule, facts.code.is_none() || rule.names_code()))
}

/// The first code of the selectors that a table knows; `code` is the first that there is at all.
fn look_up<'p>(profile: &'p Profile, code: Option<&str>, evidence: &Evidence<'_>) -> Option<Known<'p>> {
    let selected = profile.codes_in(evidence).find_map(|(_, known)| known);
    selected.or_else(|| profile.codes.find("", code?))
}

fn assemble(profile: &Profile, facts: Facts<'_>, verdict: &Verdict<'_>, evidence: &Evidence<'_>) -> CanonicalError {
    let reader = Reader { profile, evidence };
    let (code, meaning) = (verdict.code, verdict.meaning);
    let Facts { code: said, title, message, status, close: _ } = facts;
    let retryable = reader
        .text(|profile| &profile.fields.retryable)
        .and_then(|word| yes_or_no(&word))
        .or_else(|| meaning.and_then(|meaning| meaning.retryable))
        .unwrap_or(code.row().retryable || code == Code::UnknownError && status.is_some_and(|status| status >= 500));
    let details = details(profile, meaning, evidence);
    let documented = || Duration::try_from_secs_f64(meaning?.retry_after_seconds?).ok();
    CanonicalError {
        code,
        origin: Origin::Provider,
        retryable,
        retry_after: reader.retry_after().or_else(documented),
        message: worded(&reader, title, message, code, meaning),
        param: reader.field(|profile| &profile.fields.param).or_else(|| first_param(&details)),
        doc_url: reader
            .field(|profile| &profile.fields.doc_url)
            .filter(|url| url.starts_with("https://") || url.starts_with("http://"))
            .or_else(|| meaning.and_then(|meaning| meaning.doc_url.clone())),
        details,
        context_id: own_field(&profile.fields.context_id, evidence),
        done: profile.fields.done.text(evidence).and_then(|word| yes_or_no(&word)),
        fatal: meaning.and_then(|meaning| meaning.fatal),
        upstream_label: label(verdict, said.is_some()),
        unmapped: !verdict.known || code == Code::UnknownError && matches!(verdict.matched, Matched::Nothing),
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
    meaning: Option<&Meaning>,
) -> String {
    let said = message.or_else(|| reader.text(|profile| &profile.fields.message));
    let title = title.or_else(|| reader.text(|profile| &profile.fields.title));
    let reason = || reader.evidence.ws_reason.map(str::trim).filter(|reason| !reason.is_empty()).map(Cow::Borrowed);
    let joined = match (title, said.or_else(reason)) {
        (Some(title), Some(said)) if says_more(&title, &said) => {
            Some(Cow::Owned(format!("{}: {said}", title.trim_end_matches('.'))))
        }
        (title, said) => said.or(title),
    };
    let words = joined.or_else(|| meaning.and_then(|meaning| meaning.message.as_deref()).map(Cow::Borrowed));
    shorten(words.unwrap_or(Cow::Borrowed(code.row().sentence)), MESSAGE_LIMIT).into_owned()
}

/// Whether a title says what the message does not say by itself.
fn says_more(title: &str, message: &str) -> bool {
    let plain = |text: &str| text.trim_end_matches('.').to_lowercase();
    !plain(message).contains(&plain(title))
}

fn details(profile: &Profile, meaning: Option<&Meaning>, evidence: &Evidence<'_>) -> Map<String, Value> {
    let mut details = Map::new();
    for (name, text) in meaning.map(|meaning| meaning.details.as_slice()).unwrap_or_default() {
        let _ = details.insert(name.clone(), Value::String(text.clone()));
    }
    for (name, selectors) in &profile.fields.details {
        let found = selectors.asked(evidence).find_map(|(_, selector)| selector.json(evidence));
        if let Some(value) = found.filter(|value| !is_empty(value) && weight(value) <= DETAIL_LIMIT) {
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

fn weight(value: &Value) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |bytes| bytes.len())
}

/// The provider's code as a label from a closed set.
fn label(verdict: &Verdict<'_>, has_code: bool) -> Arc<str> {
    let known = verdict.meaning.and_then(|meaning| meaning.label.clone());
    known.unwrap_or_else(|| Arc::from(if has_code { "other" } else { "none" }))
}

fn upstream(reader: &Reader<'_>, code: Option<Cow<'_, str>>) -> UpstreamError {
    let evidence = reader.evidence;
    let generic_code = || reader.field(|profile| &profile.fields.code);
    UpstreamError {
        status: evidence.status,
        close: evidence.ws_code,
        code: code.map(|code| shorten(code, FIELD_LIMIT).into_owned()).or_else(generic_code),
        kind: reader.field(|profile| &profile.fields.kind),
        request_id: reader.field(|profile| &profile.fields.request_id),
        body: body(evidence),
        truncated: evidence.truncated,
    }
}

/// The provider's body for the envelope: JSON as JSON, text as a string; none past the bound or when it is binary.
fn body(evidence: &Evidence<'_>) -> Option<UpstreamBody> {
    if evidence.truncated || evidence.body.is_empty() || evidence.body.len() > BODY_LIMIT {
        return None;
    }
    if let Some(json) = evidence.json() {
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
