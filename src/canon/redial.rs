//! Sockets of a provider that may be dialled again while the client keeps its own: what is said to a new one first, and what its answer
//! to that looks like.

use super::condition::AnyOf;
use super::evidence::Evidence;
use super::spec::{ConditionSpec, OneOrMany, Table};
use super::template::PathTemplate;
use memchr::memmem::Finder;
use schemars::JsonSchema;
use serde::Deserialize;

/// One kind of socket that may be dialled again between generations, where the route says `websocket = { redial = true }`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedialSpec {
    /// Method and path template of the handshake; every path without it.
    pub path: Option<OneOrMany<String>>,
    /// Whether the provider remembers what it was told for as long as the socket lives, or ends it with its generation. Such a socket is
    /// dialled again only as long as the client has said nothing but openings.
    pub remembers: bool,
    /// The client's messages that configure a session, and are said again to a new socket. One with text or audio is none.
    pub opening: Option<OneOrMany<OpeningSpec>>,
    /// Conditions over what the provider says first of itself. Each table fits one message of a socket; the client is not told it twice.
    pub greeting: Option<OneOrMany<Table<ConditionSpec>>>,
    /// Conditions over a close by which the provider ends a socket on which nothing was said for long, or that is old. What means `session_timeout` is such an end in any case, and so is what the generic profile's `idle` says.
    pub idle: Option<OneOrMany<Table<ConditionSpec>>>,
}

/// Messages that configure a session.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpeningSpec {
    /// Conditions over the client's message.
    pub when: OneOrMany<Table<ConditionSpec>>,
    /// Conditions over the provider's answer to it, which the client is not told twice.
    pub answer: Option<OneOrMany<Table<ConditionSpec>>>,
    /// Whether all of them are said again, because each changes a part; only the last without it.
    #[serde(default)]
    pub all: bool,
    /// Whether it configures the generation of its id alone: it is said again only until that has begun.
    #[serde(default)]
    pub of_generation: bool,
}

/// The same, ready to be asked.
#[derive(Debug)]
pub struct RedialRule {
    paths: Vec<PathTemplate>,
    /// Only as long as the client has said nothing but openings.
    pub remembers: bool,
    openings: Vec<Opening>,
    greetings: Vec<AnyOf>,
    idle: AnyOf,
    /// Bytes one of which stands in every greeting and every answer; none when any message may be one.
    needles: Option<Vec<Finder<'static>>>,
}

#[derive(Debug)]
struct Opening {
    when: AnyOf,
    answer: AnyOf,
    all: bool,
    of_generation: bool,
}

impl RedialRule {
    pub(crate) fn compile(at: &str, spec: &RedialSpec, problem: &mut dyn FnMut(String, String)) -> RedialRule {
        let mut paths = Vec::new();
        for path in spec.path.as_ref().map(OneOrMany::as_slice).unwrap_or_default() {
            match PathTemplate::parse(path) {
                Ok(path) => paths.push(path),
                Err(error) => problem(format!("{at}.path"), error),
            }
        }
        let mut openings = Vec::new();
        for (index, one) in spec.opening.as_ref().map(OneOrMany::as_slice).unwrap_or_default().iter().enumerate() {
            let at = format!("{at}.opening[{index}]");
            let when = AnyOf::compile(&format!("{at}.when"), Some(&one.when), problem);
            if when.is_empty() {
                problem(format!("{at}.when"), "without a condition no message would be one".to_owned());
            }
            let answer = AnyOf::compile(&format!("{at}.answer"), one.answer.as_ref(), problem);
            openings.push(Opening { when, answer, all: one.all, of_generation: one.of_generation });
        }
        let mut greetings = Vec::new();
        for one in spec.greeting.as_ref().map(OneOrMany::as_slice).unwrap_or_default() {
            let one = OneOrMany::One(one.clone());
            greetings.push(AnyOf::compile(&format!("{at}.greeting"), Some(&one), problem));
        }
        let said = greetings.iter().chain(openings.iter().map(|one| &one.answer));
        let needles: Option<Vec<Vec<_>>> = said.map(AnyOf::needles).collect();
        RedialRule {
            paths,
            remembers: spec.remembers,
            idle: AnyOf::compile(&format!("{at}.idle"), spec.idle.as_ref(), problem),
            openings,
            greetings,
            needles: needles.map(|all| all.into_iter().flatten().collect()),
        }
    }

    /// Whether it is about the socket that this request opens.
    #[must_use]
    pub fn covers(&self, method: &str, path: &str) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|template| template.matches(method, path))
    }

    /// Which kind of opening a message of the client's is.
    #[must_use]
    pub fn opening(&self, evidence: &Evidence<'_>) -> Option<usize> {
        self.openings.iter().position(|one| one.when.holds(evidence))
    }

    /// Whether every message of this kind is said again, and not only the last.
    #[must_use]
    pub fn keeps_all(&self, kind: usize) -> bool {
        self.openings.get(kind).is_some_and(|one| one.all)
    }

    /// Whether messages of this kind configure the generation of their id alone.
    #[must_use]
    pub fn is_of_generation(&self, kind: usize) -> bool {
        self.openings.get(kind).is_some_and(|one| one.of_generation)
    }

    /// Whether the provider answers messages of this kind.
    #[must_use]
    pub fn has_answer(&self, kind: usize) -> bool {
        self.openings.get(kind).is_some_and(|one| !one.answer.is_empty())
    }

    /// Whether a message of the provider's answers one of this kind.
    #[must_use]
    pub fn answers(&self, kind: usize, evidence: &Evidence<'_>) -> bool {
        self.openings.get(kind).is_some_and(|one| one.answer.holds(evidence))
    }

    /// How many messages the provider may greet with.
    #[must_use]
    pub fn greetings(&self) -> usize {
        self.greetings.len()
    }

    /// Which of them a message is.
    #[must_use]
    pub fn greeting(&self, evidence: &Evidence<'_>) -> Option<usize> {
        self.greetings.iter().position(|one| one.holds(evidence))
    }

    /// Whether a message of the provider's has to be parsed to know whether it greets or answers; a byte test.
    #[must_use]
    pub fn may_answer(&self, text: &[u8]) -> bool {
        self.needles.as_ref().is_none_or(|needles| needles.iter().any(|needle| needle.find(text).is_some()))
    }

    /// Whether the provider ends a socket so on which nothing was said, or that is old.
    #[must_use]
    pub fn is_idle(&self, evidence: &Evidence<'_>) -> bool {
        self.idle.holds(evidence)
    }
}
