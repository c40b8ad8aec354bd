//! The decision: which code an observation has, and every step that led to it.
//!
//! The steps are told to a [`Trace`] as they are taken. On the data path that is a sink that does nothing; `explain` formats
//! them. So there is one order of questions, and nobody has to repeat it.

use super::code::Code;
use super::codes::Known;
use super::evidence::{Evidence, TEXT_LIMIT, shorten};
use super::extracted::Extracted;
use super::heuristics;
use super::mapping::Mapping;
use super::profile::Profile;
use super::rule::{Mismatch, Rule};
use super::selectors::Selectors;
use super::spec::Phase;
use std::borrow::Cow;

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

/// The decision, before the envelope's members are gathered.
#[derive(Clone)]
pub(crate) struct Decision<'p> {
    pub(crate) code: Code,
    pub(crate) mapping: Option<&'p Mapping>,
    pub(crate) matched: Matched<'p>,
    /// Whether the provider's own code was known to its profile.
    pub(crate) known: bool,
}

/// One step on the way to a decision.
pub(crate) enum Step<'s> {
    /// A rule was asked; with no mismatch it decided.
    Rule(&'s Profile, &'s Rule, Option<Mismatch<'s>>),
    /// A rule on the status alone was put off, because a word in an unknown code says more.
    Deferred(&'s Profile, &'s Rule),
    /// The code tables were asked; with a row they decided.
    Codes(&'s Profile, Option<Known<'s>>),
    /// The edge profile was passed over: what the provider itself worded is not the edge's.
    EdgeSkipped,
    /// A word in the code.
    Word(Option<&'static [&'static str]>),
    /// The status alone.
    Status(Option<u16>),
    /// A phrase in the text.
    Text(Option<&'static [&'static str]>),
    /// The close code alone.
    Close(Option<u16>),
    /// A connection that ended without a word.
    Abort,
    /// Nothing was left to ask.
    Nothing,
}

/// Where the steps go.
pub(crate) trait Trace {
    /// What the provider's own selectors found.
    fn read(&mut self, _extracted: &Extracted<'_, '_>) {}
    /// One step.
    fn step(&mut self, _step: Step<'_>) {}
}

/// Nobody wants to know.
pub(crate) struct Untraced;

impl Trace for Untraced {}

/// Reads what rules compare.
pub(crate) fn extract<'p, 'e>(profile: &'p Profile, evidence: &'e Evidence<'_>) -> Extracted<'p, 'e> {
    let fields = &profile.fields;
    let inside = |selectors: &Selectors| selectors.text(evidence)?.parse::<u16>().ok();
    let (code, known) = profile.codes_in(evidence).next().map_or((None, None), |(code, known)| (Some(code), known));
    let wire = evidence.status.filter(|status| !(200..300).contains(status));
    Extracted {
        code,
        known,
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

/// Decides: the provider's profile, then what stands in front of providers, then the generic profile and heuristics.
pub(crate) fn decide<'p>(
    profile: &'p Profile,
    extracted: &Extracted<'p, '_>,
    evidence: &Evidence<'_>,
    trace: &mut impl Trace,
) -> Decision<'p> {
    trace.read(extracted);
    let has_code = extracted.code.is_some();
    if let Some(decision) = ask(profile, extracted, evidence, has_code, trace) {
        return decision;
    }
    let mut code = extracted.code.clone();
    if let Some(fallback) = profile.fallback.as_deref() {
        if has_code {
            trace.step(Step::EdgeSkipped);
        } else {
            let edge = extract(&fallback.edge, evidence);
            if let Some(decision) = ask(&fallback.edge, &edge, evidence, false, trace) {
                return Decision { known: true, ..decision };
            }
        }
        let mut generic = extract(&fallback.generic, evidence);
        generic.code = code.or(generic.code);
        if let Some(decision) = ask(&fallback.generic, &generic, evidence, false, trace) {
            return Decision { known: !has_code, ..decision };
        }
        code = generic.code;
    }
    guess(profile, extracted, code.as_deref(), evidence, trace)
}

/// Asks one profile: rules that name a code, the code tables, the other rules.
fn ask<'p>(
    profile: &'p Profile,
    extracted: &Extracted<'p, '_>,
    evidence: &Evidence<'_>,
    word_first: bool,
    trace: &mut impl Trace,
) -> Option<Decision<'p>> {
    for rule in &profile.early_rules {
        if holds(profile, rule, extracted, evidence, trace) {
            return Some(by_rule(profile, rule, true));
        }
    }
    let row = look_up(profile, extracted, evidence);
    trace.step(Step::Codes(profile, row));
    if let Some(row) = row {
        let matched = Matched::Code(profile.name(), row.space, row.code);
        return Some(Decision { code: row.mapping.code, mapping: Some(row.mapping), matched, known: true });
    }
    for rule in &profile.late_rules {
        if word_first && rule.is_status_only() {
            trace.step(Step::Deferred(profile, rule));
        } else if holds(profile, rule, extracted, evidence, trace) {
            return Some(by_rule(profile, rule, extracted.code.is_none() || rule.names_code()));
        }
    }
    None
}

/// The first code of the selectors that a table knows, else the first that there is at all.
fn look_up<'p>(profile: &'p Profile, extracted: &Extracted<'p, '_>, evidence: &Evidence<'_>) -> Option<Known<'p>> {
    let others = || profile.codes_in(evidence).skip(1).find_map(|(_, known)| known);
    extracted.known.or_else(others).or_else(|| profile.codes.find(extracted.code.as_deref()?))
}

fn holds(
    profile: &Profile,
    rule: &Rule,
    extracted: &Extracted<'_, '_>,
    evidence: &Evidence<'_>,
    trace: &mut impl Trace,
) -> bool {
    let mismatch = rule.mismatch(extracted, evidence);
    let holds = mismatch.is_none();
    trace.step(Step::Rule(profile, rule, mismatch));
    holds
}

fn by_rule<'p>(profile: &'p Profile, rule: &'p Rule, known: bool) -> Decision<'p> {
    let matched = Matched::Rule(profile.name(), rule.index);
    Decision { code: rule.then.code, mapping: Some(&rule.then), matched, known }
}

/// What no profile knows: a word in the code, the status, the text, the close code.
fn guess<'p>(
    profile: &'p Profile,
    extracted: &Extracted<'_, '_>,
    code: Option<&str>,
    evidence: &Evidence<'_>,
    trace: &mut impl Trace,
) -> Decision<'p> {
    let known = extracted.code.is_none();
    let decision = |code, matched| Decision { code, mapping: None, matched, known };
    let word = code.and_then(heuristics::by_word);
    trace.step(Step::Word(word.map(|(_, words)| words)));
    if let Some((code, words)) = word {
        return decision(code, Matched::Word(words));
    }
    // Rules on the status alone know less than a word in the code, but more than the heuristics.
    for rule in profile.late_rules.iter().filter(|rule| rule.is_status_only()) {
        if holds(profile, rule, extracted, evidence, trace) {
            return by_rule(profile, rule, known);
        }
    }
    let status = extracted.status.and_then(|status| Some((heuristics::by_status(status)?, status)));
    trace.step(Step::Status(status.map(|(_, status)| status)));
    if let Some((code, status)) = status {
        return decision(code, Matched::Status(status));
    }
    let texts = [extracted.message.as_deref(), extracted.title.as_deref(), evidence.ws_reason, evidence.text()];
    let text = texts.into_iter().flatten().find_map(heuristics::by_text);
    trace.step(Step::Text(text.map(|(_, words)| words)));
    if let Some((code, words)) = text {
        return decision(code, Matched::Text(words));
    }
    let close = extracted.close.and_then(|close| Some((heuristics::by_close(close)?, close)));
    trace.step(Step::Close(close.map(|(_, close)| close)));
    if let Some((code, close)) = close {
        return decision(code, Matched::Close(close));
    }
    if evidence.phase == Phase::Abort {
        trace.step(Step::Abort);
        return decision(Code::UpstreamDisconnected, Matched::Nothing);
    }
    trace.step(Step::Nothing);
    decision(Code::UnknownError, Matched::Nothing)
}
