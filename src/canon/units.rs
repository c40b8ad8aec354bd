//! What counts as one of the provider's concurrent units on a socket: where one begins and where it ends, as data.

use super::evidence::Evidence;
use super::guard::{self, Guard};
use super::select::Selector;
use super::selectors::Selectors;
use super::spec::{GuardSpec, OneOrMany, SocketUnitsSpec, Table};
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
    begins: Any,
    last: Any,
    cancels: Any,
    ends: Any,
    /// Bytes one of which stands in every message that ends one; none when any may.
    needles: Option<Vec<Finder<'static>>>,
}

/// Tables of guards, one of which has to hold as a whole.
#[derive(Debug, Default)]
struct Any(Vec<Vec<Guard>>);

impl Any {
    fn compile(at: &str, spec: Option<&OneOrMany<Table<GuardSpec>>>, problem: &mut dyn FnMut(String, String)) -> Any {
        let mut all = Vec::new();
        for table in spec.map(OneOrMany::as_slice).unwrap_or_default() {
            match guard::compile_all(table) {
                Ok(guards) if guards.is_empty() => {
                    problem(at.to_owned(), "without a guard every message would fit".to_owned())
                }
                Ok(guards) => all.push(guards),
                Err(error) => problem(at.to_owned(), error),
            }
        }
        Any(all)
    }

    fn holds(&self, evidence: &Evidence<'_>) -> bool {
        self.0.iter().any(|guards| guards.iter().all(|guard| guard.holds(evidence)))
    }

    fn needles(&self) -> Option<Vec<Finder<'static>>> {
        let each = self.0.iter().map(|guards| guards.iter().find_map(Guard::needles));
        let all: Vec<String> = each.collect::<Option<Vec<_>>>()?.concat();
        Some(all.iter().map(|needle| Finder::new(needle.as_bytes()).into_owned()).collect())
    }
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
        let ends = Any::compile(&format!("{at}.ends"), Some(&spec.ends), problem);
        SocketUnits {
            paths,
            id,
            max: spec.max,
            begins: Any::compile(&format!("{at}.begins"), Some(&spec.begins), problem),
            last: Any::compile(&format!("{at}.last"), spec.last.as_ref(), problem),
            cancels: Any::compile(&format!("{at}.cancels"), spec.cancels.as_ref(), problem),
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

    /// Whether a message of the caller's begins one that is not running.
    #[must_use]
    pub fn begins(&self, evidence: &Evidence<'_>) -> bool {
        self.begins.holds(evidence)
    }

    /// Whether a message of the caller's is the last of what it has to say in one.
    #[must_use]
    pub fn is_last(&self, evidence: &Evidence<'_>) -> bool {
        self.last.holds(evidence)
    }

    /// Whether a message of the caller's ends one at once.
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
