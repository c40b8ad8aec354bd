//! Rules and meanings: conditions on the left, a canonical code on the right.

use super::code::Code;
use super::codes::Known;
use super::evidence::Evidence;
use super::guard::{self, Guard};
use super::select::compile_regex;
use super::spec::{FullMeaningSpec, MeaningSpec, OneOrMany, Phase, RuleSpec, StatusSpec};
use regex::Regex;
use std::borrow::Cow;
use std::sync::Arc;

/// What a provider's code or a rule's match means.
#[derive(Clone, Debug)]
pub(crate) struct Meaning {
    /// The canonical code.
    pub code: Code,
    /// The provider's documented answer to whether to retry.
    pub retryable: Option<bool>,
    /// A documented wait in seconds.
    pub retry_after_seconds: Option<f64>,
    /// Whether it ends the session or stream.
    pub fatal: Option<bool>,
    /// The message when the provider sends none.
    pub message: Option<String>,
    /// Fixed extras.
    pub details: Vec<(String, String)>,
    /// Where the provider documents it.
    pub doc_url: Option<String>,
    /// The provider's code as a metric label; none for a rule without one.
    pub label: Option<Arc<str>>,
}

impl Meaning {
    /// Compiles the right side; `label` is the provider's code when there is one.
    pub(crate) fn compile(spec: &MeaningSpec, label: Option<&str>) -> Result<Meaning, String> {
        let full = match spec {
            MeaningSpec::Full(full) => full,
            MeaningSpec::Code(code) => &FullMeaningSpec {
                code: code.clone(),
                retryable: None,
                retry_after_seconds: None,
                fatal: None,
                message: None,
                details: Default::default(),
                doc_url: None,
            },
        };
        Ok(Meaning {
            code: canonical(&full.code)?,
            retryable: full.retryable,
            retry_after_seconds: full.retry_after_seconds.filter(|wait| wait.is_finite() && *wait >= 0.0),
            fatal: full.fatal,
            message: full.message.clone(),
            details: full.details.clone().into_iter().collect(),
            doc_url: full.doc_url.clone(),
            label: label.map(Arc::from),
        })
    }
}

fn canonical(name: &str) -> Result<Code, String> {
    Code::from_name(name).ok_or_else(|| {
        let nearest = Code::ROWS
            .iter()
            .map(|row| (strsim::jaro_winkler(name, row.name), row.name))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map_or("", |(_, nearest)| nearest);
        format!("`{name}` is not a canonical code; did you mean `{nearest}`?")
    })
}

/// The values that rules compare, read once per profile.
#[derive(Debug, Default)]
pub(crate) struct Facts<'p, 'e> {
    /// The provider's code, and what the profile's table says of it.
    pub(crate) code: Option<Cow<'e, str>>,
    pub(crate) known: Option<Known<'p>>,
    /// Title and message.
    pub(crate) title: Option<Cow<'e, str>>,
    pub(crate) message: Option<Cow<'e, str>>,
    /// Status on the wire, or found inside when that one is missing or 2xx.
    pub(crate) status: Option<u16>,
    /// Close code on the wire, or found inside.
    pub(crate) close: Option<u16>,
}

/// One compiled rule.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Its place in the profile as written, bases behind.
    pub(crate) index: usize,
    codes: Vec<Pattern>,
    statuses: Vec<StatusTest>,
    phases: Vec<Phase>,
    closes: Vec<u16>,
    guards: Vec<Guard>,
    message: Option<Regex>,
    pub(crate) then: Meaning,
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
    Exact(Box<str>),
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
            (None, None) => Pattern::Exact(text.into()),
        }
    }

    fn matches(&self, code: Option<&str>) -> bool {
        let Some(code) = code else { return matches!(self, Pattern::Anything) };
        match self {
            Pattern::Anything => true,
            Pattern::Exact(exact) => code == &**exact,
            Pattern::Prefix(prefix) => code.starts_with(&**prefix),
            Pattern::Suffix(suffix) => code.ends_with(&**suffix),
            Pattern::Inside(part) => code.contains(&**part),
        }
    }
}

impl Rule {
    /// Compiles one rule; the error says of every member that cannot be why.
    pub(crate) fn compile(index: usize, spec: &RuleSpec) -> Result<Rule, Vec<(&'static str, String)>> {
        let codes: Vec<Box<str>> = list(spec.code.as_ref()).iter().map(super::spec::Scalar::text).collect();
        let label = codes.first().filter(|code| !code.contains('*')).map(|code| &**code);
        let statuses = list(spec.status.as_ref()).iter().map(StatusTest::compile).collect::<Result<Vec<_>, _>>();
        let guards = guard::compile_all(&spec.when);
        let message = spec.message.as_deref().map(compile_regex).transpose();
        let then = Meaning::compile(&spec.then, label);
        match (statuses, guards, message, then) {
            (Ok(statuses), Ok(guards), Ok(message), Ok(then)) => Ok(Rule {
                index,
                codes: codes.iter().map(|code| Pattern::parse(code)).collect(),
                statuses,
                phases: list(spec.phase.as_ref()),
                closes: list(spec.close.as_ref()),
                guards,
                message,
                then,
            }),
            (statuses, guards, message, then) => {
                let problems = [
                    ("status", statuses.err()),
                    ("when", guards.err()),
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
        self.codes.iter().any(|code| matches!(code, Pattern::Anything | Pattern::Exact(_)))
    }

    /// Whether the rule knows codes at all.
    pub(crate) fn names_code(&self) -> bool {
        !self.codes.is_empty()
    }

    /// Whether it has no condition at all, so that nothing behind it can ever match.
    pub(crate) fn is_unconditional(&self) -> bool {
        self.statuses.is_empty()
            && self.phases.is_empty()
            && self.closes.is_empty()
            && self.guards.is_empty()
            && self.message.is_none()
            && (self.codes.is_empty() || self.codes.iter().any(|code| matches!(code, Pattern::Anything)))
    }

    /// Whether it tests nothing but the status.
    pub(crate) fn is_status_only(&self) -> bool {
        !self.statuses.is_empty()
            && self.codes.is_empty()
            && self.closes.is_empty()
            && self.guards.is_empty()
            && self.message.is_none()
    }

    /// The first condition that does not hold; none when the rule matches. Cheap conditions first, expressions last.
    pub(crate) fn mismatch(&self, facts: &Facts<'_, '_>, evidence: &Evidence<'_>) -> Option<Mismatch<'_>> {
        if !self.phases.is_empty() && !self.phases.contains(&evidence.phase) {
            return Some(Mismatch::Phase);
        }
        if !self.codes.is_empty() && !self.codes.iter().any(|code| code.matches(facts.code.as_deref())) {
            return Some(Mismatch::Code);
        }
        if !self.statuses.is_empty() && !self.statuses.iter().any(|status| status.matches(facts.status)) {
            return Some(Mismatch::Status);
        }
        if !self.closes.is_empty() && !facts.close.is_some_and(|close| self.closes.contains(&close)) {
            return Some(Mismatch::Close);
        }
        if let Some(guard) = self.guards.iter().find(|guard| !guard.holds(evidence)) {
            return Some(Mismatch::Guard(guard));
        }
        let regex = self.message.as_ref()?;
        let texts = [facts.message.as_deref(), facts.title.as_deref(), evidence.text(), evidence.ws_reason];
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
    Guard(&'r Guard),
    Message(&'r Regex),
}

impl std::fmt::Display for Mismatch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Mismatch::Phase => f.write_str("another phase"),
            Mismatch::Code => f.write_str("another code"),
            Mismatch::Status => f.write_str("another status"),
            Mismatch::Close => f.write_str("another close code"),
            Mismatch::Guard(guard) => write!(f, "not so: {guard}"),
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
