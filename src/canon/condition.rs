//! Conditions: tests over any selector that decide whether a detector, a rule or a selector applies.

use super::codec::CodedSockets;
use super::evidence::Evidence;
use super::place::{Found, Place};
use super::spec::{ConditionSpec, ConditionTestSpec, OneOrMany, Scalar, Table};
use memchr::memmem::Finder;
use regex::Regex;
use std::fmt;

/// One compiled condition.
#[derive(Debug)]
pub(crate) struct Condition {
    name: Box<str>,
    place: Place,
    test: Test,
}

#[derive(Debug)]
enum Test {
    In(Vec<Box<str>>),
    Not(Vec<Box<str>>),
    Exists(bool),
    Matches(Regex),
    All(Vec<Test>),
}

/// Compiles a table of conditions, cheap tests first.
pub(crate) fn compile_all(table: &Table<ConditionSpec>) -> Result<Vec<Condition>, String> {
    let mut conditions: Vec<Condition> =
        table.iter().map(|(name, spec)| Condition::compile(name, spec)).collect::<Result<_, String>>()?;
    conditions.sort_by_key(|condition| condition.test.cost());
    Ok(conditions)
}

impl Condition {
    fn compile(name: &str, spec: &ConditionSpec) -> Result<Condition, String> {
        let test = match spec {
            ConditionSpec::Is(scalar) => Test::In(vec![scalar.text()]),
            ConditionSpec::In(scalars) => Test::In(scalars.iter().map(Scalar::text).collect()),
            ConditionSpec::Test(test) => Test::compile(name, test)?,
        };
        Ok(Condition { name: name.into(), place: Place::parse(name)?, test })
    }

    /// Whether the condition holds.
    pub(crate) fn holds(&self, evidence: &Evidence<'_>) -> bool {
        self.test.holds(&self.place, evidence)
    }

    /// Byte strings, one of which must occur in a message for this condition to hold; `None` when no such strings exist.
    pub(crate) fn needles(&self, written: Written) -> Option<Vec<String>> {
        // The bytes of an event include its field lines, so its name is among them.
        if let (Place::Text, Test::In(wanted)) = (&self.place, &self.test) {
            return Some(wanted.iter().map(|one| one.to_string()).collect());
        }
        let there = match matches!(self.place, Place::Header(_)) {
            true => written.fields,
            false => matches!(self.place, Place::SseEvent) || self.place.json_key().is_some(),
        };
        self.test.needles(&self.place, written).filter(|_| there)
    }
}

/// How messages are written, where it is not JSON alone.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written {
    /// They may have header fields of their own.
    fields: bool,
    /// Names may be unquoted, and numbers may be in binary.
    packed: bool,
}

impl Written {
    /// How the messages of these sockets are written.
    pub(crate) fn by(sockets: &[CodedSockets]) -> Written {
        let any = |is: fn(&CodedSockets) -> bool| sockets.iter().any(is);
        Written {
            fields: any(|sockets| sockets.codec.has_fields()),
            packed: any(|sockets| sockets.codec.is_binary() && !sockets.codec.has_fields()),
        }
    }
}

/// `$.status = failed`, for `explain`.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.test)
    }
}

/// Tables of conditions, one of which has to hold as a whole.
#[derive(Debug, Default)]
pub(crate) struct AnyOf(Vec<Vec<Condition>>);

impl AnyOf {
    pub(crate) fn compile(
        at: &str,
        spec: Option<&OneOrMany<Table<ConditionSpec>>>,
        problem: &mut dyn FnMut(String, String),
    ) -> AnyOf {
        let mut all = Vec::new();
        for table in spec.map(OneOrMany::as_slice).unwrap_or_default() {
            match compile_all(table) {
                Ok(conditions) if conditions.is_empty() => {
                    problem(at.to_owned(), "without a condition every message would fit".to_owned())
                }
                Ok(conditions) => all.push(conditions),
                Err(error) => problem(at.to_owned(), error),
            }
        }
        AnyOf(all)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn holds(&self, evidence: &Evidence<'_>) -> bool {
        self.0.iter().any(|conditions| conditions.iter().all(|condition| condition.holds(evidence)))
    }

    pub(crate) fn needles(&self) -> Option<Vec<Finder<'static>>> {
        let each = self.0.iter().map(|conditions| conditions.iter().find_map(|one| one.needles(Written::default())));
        let all: Vec<String> = each.collect::<Option<Vec<_>>>()?.concat();
        Some(all.iter().map(|needle| Finder::new(needle.as_bytes()).into_owned()).collect())
    }
}

impl Test {
    fn compile(name: &str, spec: &ConditionTestSpec) -> Result<Test, String> {
        let mut tests = Vec::new();
        tests.extend(spec.exists.map(Test::Exists));
        if let Some(not) = &spec.not {
            tests.push(Test::Not(not.as_slice().iter().map(Scalar::text).collect()));
        }
        if let Some(pattern) = &spec.matches {
            tests.push(Test::Matches(compile_regex(pattern)?));
        }
        match tests.len() {
            0 => Err(format!("the condition on `{name}` tests nothing; give `exists`, `not` or `matches`")),
            1 => Ok(tests.remove(0)),
            _ => Ok(Test::All(tests)),
        }
    }

    fn holds(&self, place: &Place, evidence: &Evidence<'_>) -> bool {
        match self {
            Test::Exists(wanted) => {
                let there = place.find(evidence).is_some_and(|found| found.is_something());
                there == *wanted
            }
            Test::All(tests) => tests.iter().all(|test| test.holds(place, evidence)),
            Test::In(_) | Test::Not(_) | Test::Matches(_) => {
                let found = place.find(evidence).and_then(Found::into_text);
                match (self, found) {
                    (Test::In(wanted), Some(found)) => wanted.iter().any(|one| **one == *found),
                    (Test::Not(refused), Some(found)) => !refused.iter().any(|one| **one == *found),
                    (Test::Not(_), None) => true,
                    (Test::Matches(regex), Some(found)) => regex.is_match(&found),
                    _ => false,
                }
            }
        }
    }

    fn needles(&self, place: &Place, written: Written) -> Option<Vec<String>> {
        let is_text = |text: &str| {
            !written.packed
                || text.starts_with(|first: char| first.is_ascii_alphabetic()) && text != "true" && text != "false"
        };
        match self {
            // JSON may escape any character, but no provider escapes what it could write plainly, except the slash.
            Test::In(wanted) if wanted.iter().all(|one| is_plain(one) && is_text(one)) => {
                Some(wanted.iter().map(|one| one.to_string()).collect())
            }
            Test::Exists(true) | Test::In(_) | Test::Matches(_) => {
                place.json_key().map(|key| vec![if written.packed { key.to_owned() } else { format!("\"{key}\"") }])
            }
            Test::All(tests) => tests.iter().find_map(|test| test.needles(place, written)),
            Test::Exists(false) | Test::Not(_) => None,
        }
    }

    fn cost(&self) -> u8 {
        match self {
            Test::In(_) | Test::Not(_) | Test::Exists(_) => 0,
            Test::Matches(_) | Test::All(_) => 1,
        }
    }
}

fn is_plain(text: &str) -> bool {
    text.len() > 2 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b' '))
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Test::In(wanted) => write!(f, "is {}", wanted.join(" or ")),
            Test::Not(refused) => write!(f, "is not {}", refused.join(" nor ")),
            Test::Exists(true) => f.write_str("exists"),
            Test::Exists(false) => f.write_str("does not exist"),
            Test::Matches(regex) => write!(f, "matches `{regex}`"),
            Test::All(tests) => tests.iter().enumerate().try_for_each(|(index, test)| {
                let and = if index == 0 { "" } else { " and " };
                write!(f, "{and}{test}")
            }),
        }
    }
}

/// Compiles an expression with a size limit, so that a typing mistake cannot exhaust the memory.
pub(crate) fn compile_regex(pattern: &str) -> Result<Regex, String> {
    regex::RegexBuilder::new(pattern)
        .size_limit(1 << 20)
        .build()
        .map_err(|error| format!("`{pattern}` is not a regular expression: {}", last_line(&error.to_string())))
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ")
}
