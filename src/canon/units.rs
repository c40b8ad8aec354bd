//! What counts as one of the provider's concurrent units on a socket: where one begins and where it ends, as data.

use super::condition::AnyOf;
use super::evidence::Evidence;
use super::select::Selector;
use super::selectors::Selectors;
use super::spec::{OneOrMany, SocketUnitsSpec};
use super::template::PathTemplate;
use memchr::memmem::Finder;

/// The longest id that is told apart from others, in characters.
const ID: usize = 256;

/// The units of one kind of socket.
#[derive(Debug)]
pub struct SocketUnits {
    paths: Vec<PathTemplate>,
    id: Selectors,
    max: Option<u32>,
    begins: AnyOf,
    last: AnyOf,
    cancels: AnyOf,
    ends: AnyOf,
    /// Bytes one of which stands in every message that ends one; none when any may.
    needles: Option<Vec<Finder<'static>>>,
}

impl SocketUnits {
    pub(crate) fn compile(at: &str, spec: &SocketUnitsSpec, problem: &mut dyn FnMut(String, String)) -> SocketUnits {
        let mut keep = |key: &str, result: Result<Selector, String>| match result {
            Ok(selector) => Some(selector),
            Err(error) => {
                problem(format!("{at}.{key}"), error);
                None
            }
        };
        let id = spec.id.iter().filter_map(|one| keep("id", Selector::compile(one))).collect();
        let mut paths = Vec::new();
        for path in spec.path.as_ref().map(OneOrMany::as_slice).unwrap_or_default() {
            match PathTemplate::parse(path) {
                Ok(path) => paths.push(path),
                Err(error) => problem(format!("{at}.path"), error),
            }
        }
        if spec.max == Some(0) {
            problem(format!("{at}.max"), "no unit could ever begin".to_owned());
        }
        let ends = AnyOf::compile(&format!("{at}.ends"), Some(&spec.ends), problem);
        SocketUnits {
            paths,
            id,
            max: spec.max,
            begins: AnyOf::compile(&format!("{at}.begins"), Some(&spec.begins), problem),
            last: AnyOf::compile(&format!("{at}.last"), spec.last.as_ref(), problem),
            cancels: AnyOf::compile(&format!("{at}.cancels"), spec.cancels.as_ref(), problem),
            needles: ends.needles(),
            ends,
        }
    }

    pub(crate) fn covers(&self, method: &str, path: &str) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|template| template.matches(method, path))
    }

    /// The unit that a message is about; empty where units have no ids.
    #[must_use]
    pub fn id(&self, evidence: &Evidence<'_>) -> String {
        self.id.text(evidence).map_or_else(String::new, |id| id.chars().take(ID).collect())
    }

    /// How many of them one socket takes at one time, where the provider has a bound of that kind.
    #[must_use]
    pub fn max(&self) -> Option<u32> {
        self.max
    }

    /// Whether units have ids; without them there is one at a time.
    #[must_use]
    pub fn have_ids(&self) -> bool {
        !self.id.is_empty()
    }

    /// Whether a message of the client's begins one that is not running.
    #[must_use]
    pub fn begins(&self, evidence: &Evidence<'_>) -> bool {
        self.begins.holds(evidence)
    }

    /// Whether a message of the client's is the last of what it has to say in one.
    #[must_use]
    pub fn is_last(&self, evidence: &Evidence<'_>) -> bool {
        self.last.holds(evidence)
    }

    /// Whether a message of the client's ends one at once.
    #[must_use]
    pub fn cancels(&self, evidence: &Evidence<'_>) -> bool {
        self.cancels.holds(evidence)
    }

    /// Whether a message of the provider's ends one.
    #[must_use]
    pub fn ends(&self, evidence: &Evidence<'_>) -> bool {
        self.ends.holds(evidence)
    }

    /// Whether the bytes of a message of the provider's could end one: nothing else is parsed.
    #[must_use]
    pub fn may_end(&self, text: &[u8]) -> bool {
        self.needles.as_ref().is_none_or(|needles| needles.iter().any(|needle| needle.find(text).is_some()))
    }
}
