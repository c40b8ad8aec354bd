//! The decision: which code an observation has, and every step that led to it.
//!
//! Each step is reported to a [`Trace`] as it is taken. On the data path the trace does nothing; `explain` formats
//! the steps. The order of evaluation is written once, here.

use super::agreement::{agrees, by_status};
use super::code::Code;
use super::codes::Known;
use super::evidence::{Evidence, TEXT_LIMIT, shorten};
use super::extracted::Extracted;
use super::grpc;
use super::heuristics::{self, Strength};
use super::mapping::Mapping;
use super::profile::Profile;
use super::rule::{Mismatch, Rule};
use super::selectors::Selectors;
use super::spec::Phase;
use std::borrow::Cow;

/// What decided the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matched<'p> {
    /// A rule: the profile, and the rule's index in it (rules of the bases follow).
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
    /// A rule was evaluated; it decided when there is no mismatch.
    Rule(&'s Profile, &'s Rule, Option<Mismatch<'s>>),
    /// A rule on the status alone was postponed, because other evidence may be stronger.
    Deferred(&'s Profile, &'s Rule),
    /// The code tables were searched; they decided when there is a row.
    Codes(&'s Profile, Option<Known<'s>>),
    /// The edge's rules were skipped, because the provider itself wrote this error.
    EdgeRulesSkipped,
    /// Words of this strength in the codes that no table knows.
    Word(Strength, Option<(&'s str, &'static [&'static str])>),
    /// A catch-all code that a table knows, and that the status agrees with.
    CatchAll(Option<(&'s Profile, Known<'s>)>),
    /// The status alone.
    Status(Option<u16>),
    /// A phrase in the text.
    Text(Option<&'static [&'static str]>),
    /// The close code alone.
    Close(Option<u16>),
    /// A connection that ended without a close frame or a body.
    Abort,
    /// No evidence was left.
    Nothing,
}

/// Where the steps go.
pub(crate) trait Trace {
    /// One step.
    fn step(&mut self, _step: Step<'_>) {}
}

/// A trace that discards every step.
pub(crate) struct Untraced;

impl Trace for Untraced {}

/// Reads what rules compare.
pub(crate) fn extract<'e>(profile: &Profile, evidence: &'e Evidence<'_>) -> Extracted<'e> {
    let fields = &profile.fields;
    let inside = |selectors: &Selectors| selectors.text(evidence)?.parse::<u16>().ok();
    // The effective status: each gRPC number implies one.
    let grpc = evidence.grpc.map(|status| grpc::http_status(status.number()));
    let wire = evidence.status.filter(|status| !(200..300).contains(status));
    let status = wire.or_else(|| inside(&fields.status).filter(|status| *status >= 400)).or(grpc);
    let mut codes = profile.codes_in(evidence).peekable();
    let code = codes.peek().map(|(code, _)| code.clone());
    let despite_status = codes.any(|(_, row)| row.is_some_and(|row| row.mapping.despite_status));
    Extracted {
        code,
        title: fields.title.text(evidence).map(bounded),
        message: fields.message.text(evidence).map(bounded),
        status,
        heard: status.filter(|_| !despite_status),
        close: inside(&fields.close).or(evidence.ws_code),
    }
}

/// Regular expressions read at most this much of a field, as of a text.
fn bounded(text: Cow<'_, str>) -> Cow<'_, str> {
    shorten(text, TEXT_LIMIT)
}

/// A code that was found, with its row when a table has one.
struct Candidate<'p, 'e> {
    code: Cow<'e, str>,
    known: Option<(&'p Profile, Known<'p>)>,
    /// Whether the provider's own selectors found it.
    own: bool,
}

impl Candidate<'_, '_> {
    /// A number that no table has may come from a proxy as well as from the provider.
    fn is_claimed(&self) -> bool {
        self.known.is_some() || !self.code.bytes().all(|byte| byte.is_ascii_digit())
    }
}

/// Decides by the strength of the evidence: the codes and, unless the provider gave one, the fixed texts of what stands in front of
/// providers, the provider's codes and rules, the generic profile's codes, telling words, its rules, words that the status does not
/// contradict, rules on the status alone, the status, the text.
pub(crate) fn decide<'p>(
    profile: &'p Profile,
    extracted: &Extracted<'_>,
    evidence: &Evidence<'_>,
    trace: &mut impl Trace,
) -> Decision<'p> {
    let fallback = profile.fallback.as_deref();
    if let Some(decision) = fallback.and_then(|fallback| by_mark(&fallback.edge, evidence, trace)) {
        return decision;
    }
    let mut candidates = candidates(profile, evidence, true);
    if let Some(decision) = fallback.and_then(|fallback| by_edge(&fallback.edge, &candidates, evidence, trace)) {
        return decision;
    }
    if let Some(decision) = by_code(profile, extracted, &candidates, evidence, trace) {
        return decision;
    }
    let unknown = !candidates.is_empty();
    if let Some(decision) = by_rules(profile, extracted, evidence, trace) {
        return decision;
    }
    let Some(fallback) = fallback else {
        return guess(profile, extracted, None, &candidates, evidence, trace);
    };
    let generic = &fallback.generic;
    for candidate in &mut candidates {
        candidate.known = candidate.known.or_else(|| Some((generic, generic.codes.find(&candidate.code)?)));
    }
    candidates.extend(self::candidates(generic, evidence, false));
    // The words of an unknown code count as evidence, but it may not be a code at all, so it is not reported as one.
    candidates.extend(spelled_like_a_code(evidence).map(|code| Candidate { code, known: None, own: false }));
    let mut read = extract(generic, evidence);
    read.code = extracted.code.clone().or(read.code);
    let known = !unknown;
    if let Some(decision) = by_code(generic, &read, &candidates, evidence, trace) {
        return Decision { known, ..decision };
    }
    let status = extracted.heard.or(read.heard);
    if let Some(decision) = by_word(Strength::Strong, &candidates, (status, None), trace) {
        return Decision { known, ..decision };
    }
    if let Some(decision) = by_rules(generic, &read, evidence, trace) {
        return Decision { known, ..decision };
    }
    guess(profile, extracted, Some(&read), &candidates, evidence, trace)
}

/// What a close's reason begins with, where it is spelled like a code: `INVALID_AUTH: The key is unknown.`
fn spelled_like_a_code<'e>(evidence: &'e Evidence<'_>) -> Option<Cow<'e, str>> {
    let word = evidence.ws_reason?.trim().split([' ', ':', '.', ',', ';', '(']).next()?;
    let is_code =
        word.trim_matches('_').contains('_') && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_code.then_some(Cow::Borrowed(word))
}

/// The codes that the profile's selectors find, in order.
fn candidates<'p, 'e>(profile: &'p Profile, evidence: &'e Evidence<'_>, own: bool) -> Vec<Candidate<'p, 'e>> {
    let found = profile.codes_in(evidence);
    found.map(|(code, known)| Candidate { code, known: known.map(|row| (profile, row)), own }).collect()
}

/// Rules that name a code, then the first code that a table knows, that is no catch-all, and that is not as general as a status which
/// says otherwise.
fn by_code<'p>(
    profile: &'p Profile,
    extracted: &Extracted<'_>,
    candidates: &[Candidate<'p, '_>],
    evidence: &Evidence<'_>,
    trace: &mut impl Trace,
) -> Option<Decision<'p>> {
    for rule in &profile.early_rules {
        if holds(profile, rule, extracted, evidence, trace) {
            return Some(by_rule(profile, rule, true));
        }
    }
    // Numbers are looked up in their own code space; other codes may still be in the plain table.
    // After an unknown code a vague one (usually the type) is weaker evidence than the words of the unknown code.
    let mut before = false;
    let row = candidates.iter().find_map(|one| {
        let row =
            one.known.filter(|(_, row)| row.mapping.stands(extracted.heard) && !(before && row.mapping.is_vague()));
        before |= one.known.is_none();
        row
    });
    let row = row.or_else(|| {
        let plain = profile.codes.find(extracted.code.as_deref()?)?;
        plain.mapping.stands(extracted.heard).then_some((profile, plain))
    });
    trace.step(Step::Codes(profile, row.map(|(_, row)| row)));
    row.map(|(profile, row)| by_row(profile, row))
}

/// The rules evaluated after the code tables. A rule on the status alone is weaker than any word.
fn by_rules<'p>(
    profile: &'p Profile,
    extracted: &Extracted<'_>,
    evidence: &Evidence<'_>,
    trace: &mut impl Trace,
) -> Option<Decision<'p>> {
    for rule in &profile.late_rules {
        if rule.is_status_only() {
            trace.step(Step::Deferred(profile, rule));
        } else if holds(profile, rule, extracted, evidence, trace) {
            return Some(by_rule(profile, rule, extracted.code.is_none() || rule.names_code()));
        }
    }
    None
}

/// Codes of the edge (proxies, load balancers). They are unmistakable, so they count whatever else was found, even where
/// the provider's selectors found them too.
fn by_mark<'p>(edge: &'p Profile, evidence: &Evidence<'_>, trace: &mut impl Trace) -> Option<Decision<'p>> {
    let extracted = extract(edge, evidence);
    by_code(edge, &extracted, &candidates(edge, evidence, true), evidence, trace)
}

/// Rules of the edge. They are evaluated only if the provider wrote nothing itself.
fn by_edge<'p>(
    edge: &'p Profile,
    own: &[Candidate<'_, '_>],
    evidence: &Evidence<'_>,
    trace: &mut impl Trace,
) -> Option<Decision<'p>> {
    if own.iter().any(Candidate::is_claimed) {
        trace.step(Step::EdgeRulesSkipped);
        return None;
    }
    let decision = by_rules(edge, &extract(edge, evidence), evidence, trace)?;
    Some(Decision { known: true, ..decision })
}

/// Words of one strength in unknown codes, except those that only repeat the status.
fn by_word<'p>(
    strength: Strength,
    candidates: &[Candidate<'p, '_>],
    (status, told): (Option<u16>, Option<Code>),
    trace: &mut impl Trace,
) -> Option<Decision<'p>> {
    let unknown = candidates.iter().filter(|one| one.known.is_none());
    let found = unknown.into_iter().find_map(|one| Some((one, heuristics::by_word(&one.code, strength, status)?)));
    let found = found.filter(|(_, (code, _))| Some(*code) != told);
    trace.step(Step::Word(strength, found.map(|(one, (_, words))| (&*one.code, words))));
    let (_, (code, words)) = found?;
    let known = !candidates.iter().any(|one| one.own);
    Some(Decision { code, mapping: None, matched: Matched::Word(words), known })
}

fn holds(
    profile: &Profile,
    rule: &Rule,
    extracted: &Extracted<'_>,
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

fn by_row<'p>(profile: &'p Profile, row: Known<'p>) -> Decision<'p> {
    let matched = Matched::Code(profile.name(), row.space, row.code);
    Decision { code: row.mapping.code, mapping: Some(row.mapping), matched, known: true }
}

/// The heuristics: a word in the code, a catch-all code, the status, the text, the close code.
fn guess<'p>(
    profile: &'p Profile,
    extracted: &Extracted<'_>,
    generic: Option<&Extracted<'_>>,
    candidates: &[Candidate<'p, '_>],
    evidence: &Evidence<'_>,
    trace: &mut impl Trace,
) -> Decision<'p> {
    let known = !candidates.iter().any(|one| one.own);
    let decision = |code, matched| Decision { code, mapping: None, matched, known };
    let status = extracted.status.or(generic.and_then(|generic| generic.status));
    let heard = extracted.heard.or(generic.and_then(|generic| generic.heard));
    // An HTML page does not come from the provider, so rules on the status alone do not apply.
    let mut bare = profile.late_rules.iter().filter(|rule| rule.is_status_only() && !evidence.is_markup());
    let bare = bare.find(|rule| rule.mismatch(extracted, evidence).is_none());
    let told = bare.and(status).and_then(by_status);
    // Without a generic profile the strong words have not been tried yet.
    let strengths = [Strength::Strong, Strength::Fair, Strength::Weak];
    for strength in strengths.into_iter().skip(usize::from(generic.is_some())) {
        if let Some(decision) = by_word(strength, candidates, (heard, told), trace) {
            return decision;
        }
    }
    // Rules on the status alone are weaker than a word in the code, but stronger than the heuristics.
    if let Some(rule) = bare {
        trace.step(Step::Rule(profile, rule, None));
        return by_rule(profile, rule, known);
    }
    let catch_all = candidates.iter().filter_map(|one| Some((one.own, one.known?)));
    let catch_all = catch_all.into_iter().find(|(_, (_, row))| agrees(row.mapping.code, heard));
    trace.step(Step::CatchAll(catch_all.map(|(_, found)| found)));
    if let Some((own, (of, row))) = catch_all {
        return Decision { known: known || own && of.name() == profile.name(), ..by_row(of, row) };
    }
    let by_status = status.and_then(|status| Some((by_status(status)?, status)));
    trace.step(Step::Status(by_status.map(|(_, status)| status)));
    if let Some((code, status)) = by_status {
        return decision(code, Matched::Status(status));
    }
    let texts = [
        extracted.message.as_deref(),
        generic.and_then(|generic| generic.message.as_deref()),
        extracted.title.as_deref(),
        generic.and_then(|generic| generic.title.as_deref()),
        evidence.ws_reason,
        evidence.text(),
    ];
    let text = texts.into_iter().flatten().find_map(heuristics::by_text);
    trace.step(Step::Text(text.map(|(_, words)| words)));
    if let Some((code, words)) = text {
        return decision(code, Matched::Text(words));
    }
    let close = extracted.close.or(generic.and_then(|generic| generic.close));
    let close = close.and_then(|close| Some((heuristics::by_close(close)?, close)));
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
