//! Why an observation means what it means: every question that was asked, in order, with its answer.

use super::classify::{Matched, facts};
use super::evidence::Evidence;
use super::ladder;
use super::profile::Profile;
use super::rule::{Facts, Rule};
use std::borrow::Cow;

/// One question and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Whom: `elevenlabs rules[3]`, `elevenlabs codes`, `generic ladder: status`.
    pub place: String,
    /// Whether this decided.
    pub matched: bool,
    /// What matched, or why it did not.
    pub why: String,
}

/// What the selectors of a profile read, and what was asked until something matched.
#[derive(Clone, Debug, Default)]
pub struct Explanation {
    /// Field and value, in the words of the profile.
    pub read: Vec<(&'static str, String)>,
    /// The questions in order.
    pub asked: Vec<Asked>,
}

/// Tells how a decision came about; `matched` is what [`super::resolve`] said.
#[must_use]
pub fn explain(profile: &Profile, evidence: &Evidence<'_>, matched: &Matched<'_>) -> Explanation {
    let facts = facts(profile, evidence);
    let mut explanation = Explanation { read: read(&facts), asked: Vec::new() };
    explanation.profile(profile, &facts, evidence, matched);
    if explanation.decided() {
        return explanation;
    }
    if let Some(fallback) = profile.fallback.as_deref() {
        if facts.code.is_none() {
            let edge = self::facts(&fallback.edge, evidence);
            explanation.profile(&fallback.edge, &edge, evidence, matched);
        } else {
            explanation.note("edge", false, "not asked: the provider gave a code of its own");
        }
        if !explanation.decided() {
            let mut generic = self::facts(&fallback.generic, evidence);
            generic.code = facts.code.clone().or(generic.code);
            explanation.profile(&fallback.generic, &generic, evidence, matched);
        }
    }
    if !explanation.decided() {
        explanation.ladder(profile, &facts, evidence, matched);
    }
    explanation
}

fn read(facts: &Facts<'_, '_>) -> Vec<(&'static str, String)> {
    let fields = [
        ("code", facts.code.clone().map(Cow::into_owned)),
        ("title", facts.title.clone().map(Cow::into_owned)),
        ("message", facts.message.clone().map(Cow::into_owned)),
        ("status", facts.status.map(|status| status.to_string())),
        ("close code", facts.close.map(|close| close.to_string())),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

impl Explanation {
    fn decided(&self) -> bool {
        self.asked.last().is_some_and(|asked| asked.matched)
    }

    fn note(&mut self, place: impl Into<String>, matched: bool, why: impl Into<String>) {
        self.asked.push(Asked { place: place.into(), matched, why: why.into() });
    }

    fn profile(&mut self, profile: &Profile, facts: &Facts<'_, '_>, evidence: &Evidence<'_>, matched: &Matched<'_>) {
        self.rules(profile, &profile.early_rules, facts, evidence, matched);
        if self.decided() {
            return;
        }
        let place = format!("{} codes", profile.name());
        if let Matched::Code(name, space, code) = matched
            && *name == profile.name()
        {
            let place = if space.is_empty() { place } else { format!("{} spaces.{space}", profile.name()) };
            return self.note(place, true, format!("`{code}` has a row"));
        }
        let values: Vec<String> = profile.codes_in(evidence).map(|(code, _)| format!("`{code}`")).collect();
        let why = match values.as_slice() {
            [] => "no code was found".to_owned(),
            values => format!("no row for {}", values.join(", ")),
        };
        self.note(place, false, why);
        self.rules(profile, &profile.late_rules, facts, evidence, matched);
    }

    fn rules(
        &mut self,
        profile: &Profile,
        rules: &[Rule],
        facts: &Facts<'_, '_>,
        evidence: &Evidence<'_>,
        matched: &Matched<'_>,
    ) {
        for rule in rules {
            let place = format!("{} rules[{}]", profile.name(), rule.index);
            if *matched == Matched::Rule(profile.name(), rule.index) {
                return self.note(place, true, "every condition holds");
            }
            let why = match rule.mismatch(facts, evidence) {
                Some(mismatch) => mismatch.to_string(),
                None => "holds, but a word in the unknown code says more than a status".to_owned(),
            };
            self.note(place, false, why);
        }
    }

    fn ladder(&mut self, profile: &Profile, facts: &Facts<'_, '_>, evidence: &Evidence<'_>, matched: &Matched<'_>) {
        let quoted = |words: &[&str]| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" and ");
        if let Matched::Word(words) = matched {
            return self.note("ladder: word in the code", true, format!("has {}", quoted(words)));
        }
        self.note("ladder: word in the code", false, "no code with a word that is known");
        self.rules(profile, &profile.late_rules, facts, evidence, matched);
        if self.decided() {
            return;
        }
        if let Matched::Status(status) = matched {
            return self.note("ladder: HTTP status", true, status.to_string());
        }
        self.note("ladder: HTTP status", false, "there is none that says anything");
        if let Matched::Text(words) = matched {
            return self.note("ladder: phrase in the text", true, format!("has {}", quoted(words)));
        }
        self.note("ladder: phrase in the text", false, "none that is known");
        if let Matched::Close(close) = matched {
            return self.note("ladder: close code", true, close.to_string());
        }
        let normal = evidence.ws_code.is_some_and(|close| ladder::by_close(close).is_none());
        let why = if normal { "a normal close" } else { "nothing is left to ask: unknown_error" };
        self.note("ladder: close code", true, why);
    }
}
