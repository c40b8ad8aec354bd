//! Why an observation was classified as it was: the steps of the decision in words.

use super::classify::{Classified, FIELD_LIMIT, resolve_traced};
use super::decide::{Step, Trace};
use super::evidence::{Evidence, shorten};
use super::heuristics::Strength;
use super::profile::Profile;
use super::reads::{Read, reads};
use super::rule::Rule;
use super::spec::ProfileSpec;

/// One question and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What was asked: `elevenlabs rules[3]`, `elevenlabs codes`, `heuristics: HTTP status`.
    pub place: String,
    /// Whether this decided.
    pub matched: bool,
    /// What matched, or why it did not.
    pub why: String,
}

/// What the selectors of a profile read, and what was asked until something matched.
#[derive(Clone, Debug, Default)]
pub struct Explanation {
    /// What each selector found.
    pub read: Vec<Read>,
    /// The questions in order.
    pub asked: Vec<Asked>,
}

/// Classifies like [`super::resolve`], and tells how the decision came about.
#[must_use]
pub fn explain<'p>(profile: &'p Profile, evidence: &Evidence<'_>) -> (Classified<'p>, Explanation) {
    let read = reads(profile, evidence);
    let mut recorder = Recorder { evidence, explanation: Explanation { read, asked: Vec::new() } };
    let classified = resolve_traced(profile, evidence, &mut recorder);
    let mut explanation = recorder.explanation;
    if let Some(code) = classified.error.upstream.as_ref().and_then(|upstream| upstream.code.as_deref()) {
        take(&mut explanation.read, code);
    }
    (classified, explanation)
}

/// Marks the selector that found this code as the one whose value was taken: what stands in front of the provider may have decided,
/// whatever the provider's own selectors found before.
fn take(read: &mut [Read], code: &str) {
    let mut codes: Vec<&mut Read> = read.iter_mut().filter(|read| read.field == "code").collect();
    let is_code = |read: &Read| read.value.as_deref().is_some_and(|value| shorten(value.into(), FIELD_LIMIT) == code);
    let Some(of) = codes
        .iter()
        .position(|read| read.taken && is_code(read))
        .or_else(|| codes.iter().position(|read| is_code(read)))
    else {
        return;
    };
    codes.iter_mut().enumerate().for_each(|(index, read)| read.taken = index == of);
}

/// Puts each step into words as it is taken.
struct Recorder<'r> {
    evidence: &'r Evidence<'r>,
    explanation: Explanation,
}

impl Recorder<'_> {
    fn note(&mut self, place: impl Into<String>, matched: bool, why: impl Into<String>) {
        self.explanation.asked.push(Asked { place: place.into(), matched, why: why.into() });
    }
}

impl Trace for Recorder<'_> {
    fn step(&mut self, step: Step<'_>) {
        match step {
            Step::Rule(profile, rule, mismatch) => {
                let why = mismatch.as_ref().map_or("every condition holds".to_owned(), ToString::to_string);
                self.note(rule_of(profile, rule), mismatch.is_none(), why);
            }
            Step::Deferred(profile, rule) => {
                let why = "put off: anything else would say more than a status";
                self.note(rule_of(profile, rule), false, why);
            }
            Step::Codes(profile, Some(row)) => {
                let space = if row.space.is_empty() { "codes".to_owned() } else { format!("spaces.{}", row.space) };
                let has = |spec: &ProfileSpec| match row.space {
                    "" => spec.codes.contains_key(row.code),
                    space => spec.spaces.get(space).is_some_and(|table| table.contains_key(row.code)),
                };
                let (written_in, _) = profile.row_of(&has, 0);
                self.note(format!("{written_in} {space}"), true, format!("`{}` has a row", row.code));
            }
            Step::Codes(profile, None) => {
                let values: Vec<String> =
                    profile.codes_in(self.evidence).map(|(code, _)| format!("`{code}`")).collect();
                let why = match values.as_slice() {
                    [] => "no code was found".to_owned(),
                    values => format!("no row for {}", values.join(", ")),
                };
                self.note(format!("{} codes", profile.name()), false, why);
            }
            Step::EdgeRulesSkipped => self.note("edge rules", false, "not asked: the provider gave a code of its own"),
            Step::Word(strength, found) => {
                let place = match strength {
                    Strength::Strong => "heuristics: telling word in the code",
                    Strength::Fair => "heuristics: word in the code that the status allows",
                    Strength::Weak => "heuristics: common word in the code that the status confirms",
                };
                let why = found.map_or("none".to_owned(), |(code, words)| format!("`{code}` {}", has(words)));
                self.note(place, found.is_some(), why);
            }
            Step::CatchAll(found) => {
                let why = found.map_or("none that the status confirms".to_owned(), |(profile, row)| {
                    format!("{}: `{}` has a row", profile.name(), row.code)
                });
                self.note("catch-all codes", found.is_some(), why);
            }
            Step::Status(status) => {
                let why = status.map_or("there is none that says anything".to_owned(), |status| status.to_string());
                self.note("heuristics: HTTP status", status.is_some(), why);
            }
            Step::Text(words) => {
                let why = words.map_or("none that is known".to_owned(), has);
                self.note("heuristics: phrase in the text", words.is_some(), why);
            }
            Step::Close(close) => {
                let why = close.map_or("there is none that says anything".to_owned(), |close| close.to_string());
                self.note("heuristics: close code", close.is_some(), why);
            }
            Step::Abort => self.note("heuristics: the end", true, "the connection ended without a close"),
            Step::Nothing => self.note("heuristics", true, "nothing is left to ask: unknown_error"),
        }
    }
}

/// A rule, named by the profile that has it and its index there.
fn rule_of(profile: &Profile, rule: &Rule) -> String {
    let (written_in, index) = profile.part_of(&|spec| spec.rules.len(), rule.index);
    format!("{written_in} rules[{index}]")
}

fn has(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    format!("has {}", quoted.join(" and "))
}
