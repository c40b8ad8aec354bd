//! Rules: conditions on the left, a canonical code on the right.

use super::agreement;
use super::code::Code;
use super::codes::Codes;
use super::condition::{self, Condition, compile_regex};
use super::evidence::Evidence;
use super::extracted::Extracted;
use super::mapping::Mapping;
use super::spec::{OneOrMany, Phase, RuleSpec, StatusSpec};
use regex::Regex;

/// One compiled rule.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Its index in the profile as written; those of the bases follow.
    pub(crate) index: usize,
    codes: Vec<Pattern>,
    statuses: Vec<StatusTest>,
    phases: Vec<Phase>,
    closes: Vec<u16>,
    conditions: Vec<Condition>,
    message: Option<Regex>,
    pub(crate) then: Mapping,
}

#[derive(Debug)]
enum StatusTest {
    Exact(u16),
    Class(u16),
}

/// A code with `*` at either end.
#[derive(Debug)]
enum Pattern {
    Anything,
    /// The code, and what it means where it says no more than a status would.
    Exact(Box<str>, Option<Code>),
    Prefix(Box<str>),
    Suffix(Box<str>),
    Inside(Box<str>),
}

impl Pattern {
    fn parse(text: &str) -> Pattern {
        match (text.strip_prefix('*'), text.strip_suffix('*')) {
            (Some(""), _) => Pattern::Anything,
            (Some(rest), Some(_)) => Pattern::Inside(rest.trim_end_matches('*').into()),
            (Some(suffix), None) => Pattern::Suffix(suffix.into()),
            (None, Some(prefix)) => Pattern::Prefix(prefix.into()),
            (None, None) => Pattern::Exact(text.into(), None),
        }
    }

    fn matches(&self, code: Option<&str>) -> bool {
        let Some(code) = code else { return matches!(self, Pattern::Anything) };
        match self {
            Pattern::Anything => true,
            Pattern::Exact(exact, _) => code == &**exact,
            Pattern::Prefix(prefix) => code.starts_with(&**prefix),
            Pattern::Suffix(suffix) => code.ends_with(&**suffix),
            Pattern::Inside(part) => code.contains(&**part),
        }
    }
}

impl Rule {
    /// Compiles one rule; the error lists every member that is wrong, and why.
    pub(crate) fn compile(index: usize, spec: &RuleSpec) -> Result<Rule, Vec<(&'static str, String)>> {
        let codes: Vec<Box<str>> = list(spec.code.as_ref()).iter().map(super::spec::Scalar::text).collect();
        let label = codes.first().filter(|code| !code.contains('*')).map(|code| &**code);
        let statuses = list(spec.status.as_ref()).iter().map(StatusTest::compile).collect::<Result<Vec<_>, _>>();
        let conditions = condition::compile_all(&spec.when);
        let message = spec.message.as_deref().map(compile_regex).transpose();
        let then = Mapping::compile(&spec.then, label);
        match (statuses, conditions, message, then) {
            (Ok(statuses), Ok(conditions), Ok(message), Ok(then)) => Ok(Rule {
                index,
                codes: codes.iter().map(|code| Pattern::parse(code)).collect(),
                statuses,
                phases: list(spec.phase.as_ref()),
                closes: list(spec.close.as_ref()),
                conditions,
                message,
                then,
            }),
            (statuses, conditions, message, then) => {
                let problems = [
                    ("status", statuses.err()),
                    ("when", conditions.err()),
                    ("message", message.err()),
                    ("then", then.err()),
                ];
                Err(problems.into_iter().filter_map(|(member, problem)| Some((member, problem?))).collect())
            }
        }
    }

    /// Whether the rule is asked before the code table: it names a code, or any. One for a family of codes (`UPSTREAM_*`)
    /// must not take the rows of its members.
    pub(crate) fn is_early(&self) -> bool {
        self.codes.iter().any(|code| matches!(code, Pattern::Anything | Pattern::Exact(..)))
    }

    /// Whether the rule has a condition on the code.
    pub(crate) fn names_code(&self) -> bool {
        !self.codes.is_empty()
    }

    /// Whether it has no condition at all, so that no later rule can ever match.
    pub(crate) fn is_unconditional(&self) -> bool {
        self.statuses.is_empty()
            && self.phases.is_empty()
            && self.closes.is_empty()
            && self.conditions.is_empty()
            && self.message.is_none()
            && (self.codes.is_empty() || self.codes.iter().any(|code| matches!(code, Pattern::Anything)))
    }

    /// Whether it tests nothing but the status.
    pub(crate) fn is_status_only(&self) -> bool {
        !self.statuses.is_empty()
            && self.codes.is_empty()
            && self.closes.is_empty()
            && self.conditions.is_empty()
            && self.message.is_none()
    }

    /// Sets what its codes mean by the code table, so that it can tell vague ones.
    pub(crate) fn settle(&mut self, codes: &Codes) {
        for pattern in &mut self.codes {
            if let Pattern::Exact(code, vague) = pattern {
                *vague = codes.find(code).filter(|row| row.mapping.is_vague()).map(|row| row.mapping.code);
            }
        }
    }

    /// Whether it counts beside this status. One that names the status has thought of it; one on a code needs a code that is
    /// specific or that the status leaves room for; any other needs a status that leaves room for its meaning.
    fn stands(&self, extracted: &Extracted<'_>) -> bool {
        let (code, status) = (self.then.code, extracted.heard);
        let is_text = self.message.is_some() && self.codes.iter().all(|code| matches!(code, Pattern::Anything));
        let contradicted =
            if is_text { agreement::contradicts_text(code, status) } else { agreement::contradicts(code, status) };
        if !self.statuses.is_empty() || !contradicted {
            return true;
        }
        self.codes.iter().filter(|pattern| pattern.matches(extracted.code.as_deref())).any(|pattern| match pattern {
            Pattern::Exact(_, Some(vague)) => !agreement::contradicts(*vague, status),
            Pattern::Exact(_, None) => agreement::stands(code, status),
            Pattern::Anything | Pattern::Prefix(_) | Pattern::Suffix(_) | Pattern::Inside(_) => false,
        })
    }

    /// The first condition that does not hold; none when the rule matches. Cheap conditions first, expressions last.
    pub(crate) fn mismatch(&self, extracted: &Extracted<'_>, evidence: &Evidence<'_>) -> Option<Mismatch<'_>> {
        if !self.phases.is_empty() && !self.phases.contains(&evidence.phase) {
            return Some(Mismatch::Phase);
        }
        if !self.codes.is_empty() && !self.codes.iter().any(|code| code.matches(extracted.code.as_deref())) {
            return Some(Mismatch::Code);
        }
        if !self.statuses.is_empty() && !self.statuses.iter().any(|status| status.matches(extracted.status)) {
            return Some(Mismatch::Status);
        }
        if !self.closes.is_empty() && !extracted.close.is_some_and(|close| self.closes.contains(&close)) {
            return Some(Mismatch::Close);
        }
        if let Some(condition) = self.conditions.iter().find(|condition| !condition.holds(evidence)) {
            return Some(Mismatch::Condition(condition));
        }
        if !self.stands(extracted) {
            return Some(Mismatch::Contradicted);
        }
        let regex = self.message.as_ref()?;
        let texts = [extracted.message.as_deref(), extracted.title.as_deref(), evidence.text(), evidence.ws_reason];
        let found = texts.into_iter().flatten().any(|text| regex.is_match(text));
        (!found).then_some(Mismatch::Message(regex))
    }
}

/// Why a rule did not match, for `explain`.
#[derive(Debug)]
pub(crate) enum Mismatch<'r> {
    Phase,
    Code,
    Status,
    Close,
    Condition(&'r Condition),
    Contradicted,
    Message(&'r Regex),
}

impl std::fmt::Display for Mismatch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Mismatch::Phase => f.write_str("another phase"),
            Mismatch::Code => f.write_str("another code"),
            Mismatch::Status => f.write_str("another status"),
            Mismatch::Close => f.write_str("another close code"),
            Mismatch::Condition(condition) => write!(f, "not so: {condition}"),
            Mismatch::Contradicted => f.write_str("the status says otherwise"),
            Mismatch::Message(regex) => write!(f, "no text matches `{regex}`"),
        }
    }
}

impl StatusTest {
    fn compile(spec: &StatusSpec) -> Result<StatusTest, String> {
        match spec {
            StatusSpec::Exact(status @ 100..=999) => Ok(StatusTest::Exact(*status)),
            StatusSpec::Class(class) => match class.as_bytes() {
                [digit @ b'1'..=b'9', b'x' | b'X', b'x' | b'X'] => Ok(StatusTest::Class(u16::from(digit - b'0'))),
                _ => Err(format!("`{class}` is not a status; expected a number or a class such as \"5xx\"")),
            },
            StatusSpec::Exact(status) => Err(format!("{status} is not an HTTP status")),
        }
    }

    fn matches(&self, status: Option<u16>) -> bool {
        status.is_some_and(|status| match self {
            StatusTest::Exact(exact) => status == *exact,
            StatusTest::Class(class) => status / 100 == *class,
        })
    }
}

fn list<T: Clone>(values: Option<&OneOrMany<T>>) -> Vec<T> {
    values.map(OneOrMany::to_vec).unwrap_or_default()
}
