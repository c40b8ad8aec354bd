//! The compiled generations of one kind of request or socket: what a tracker matches messages against.

mod format;
mod places;

pub use format::{Coding, Format};
pub use places::{AudioMember, AudioPlace, Fact, FormatPlaces};

use places::{audio, facts, parameter, quoted};

use super::condition::AnyOf;
pub use super::cost::Text;
use super::cost::{self, Counting, TextPath};
use super::evidence::Evidence;
use super::json::Json;
use super::path::Path;
use super::select::Selector;
use super::selectors::Selectors;
use super::spec::{ConditionSpec, CostSpec, GenerationKind, GenerationSpec};
use super::spec::{OneOrMany, SelectorSpec, Table};
use super::template::PathTemplate;
use memchr::memmem::Finder;
use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The longest id that is kept whole, in bytes.
const ID: usize = 4096;

/// The provider's own figures that have a name.
pub const FIGURES: [&str; 4] = ["characters", "audio_seconds", "credits", "tokens"];

/// The largest figure that is believed; a larger one would dwarf everything counted so far.
const MOST: f64 = 1e9;

/// The generations of one kind of request or socket.
#[derive(Debug)]
pub struct GenerationRule {
    /// What they are.
    pub kind: GenerationKind,
    /// Where the provider's audio is.
    pub audio: Vec<AudioPlace>,
    /// Where the client's audio is.
    pub input: Vec<AudioPlace>,
    /// The format of the provider's audio.
    pub format: FormatPlaces,
    /// The format of the client's audio.
    pub input_format: FormatPlaces,
    /// Where the model is.
    pub model: Vec<Fact>,
    paths: Vec<PathTemplate>,
    id: Selectors,
    /// The last names of the paths in `id`, in quotes, for messages that are not parsed.
    pub id_names: Vec<Finder<'static>>,
    max: Option<u32>,
    begins: AnyOf,
    starts: AnyOf,
    last: AnyOf,
    flush: AnyOf,
    eager: Vec<(Box<str>, Box<str>)>,
    cancels: AnyOf,
    ends: AnyOf,
    result: AnyOf,
    texts: Vec<TextPath>,
    counting: Counting,
    figures: Vec<(usize, Selectors)>,
    needles: Needles,
    client_needles: Needles,
    asked: AskedPlaces,
}

/// In which places there is anything to look for: most rules name a query and a member, and a request has the others too.
#[derive(Clone, Copy, Debug, Default)]
struct AskedPlaces {
    /// The query, or the path.
    target: bool,
    headers: bool,
    members: bool,
}

/// Byte strings, one of which occurs in every message that must be parsed; `None` when any message may have to be.
type Needles = Option<Vec<Finder<'static>>>;

impl GenerationRule {
    pub(crate) fn compile(
        at: &str,
        spec: &GenerationSpec,
        costs: &CostSpec,
        problem: &mut dyn FnMut(String, String),
    ) -> GenerationRule {
        let any =
            |key: &str, spec: &Option<OneOrMany<Table<ConditionSpec>>>, problem: &mut dyn FnMut(String, String)| {
                AnyOf::compile(&format!("{at}.{key}"), spec.as_ref(), problem)
            };
        let paths = spec.path.as_ref().map(OneOrMany::as_slice).unwrap_or_default();
        let paths = kept(&format!("{at}.path"), paths.iter().map(|path| PathTemplate::parse(path)), problem);
        if spec.max == Some(0) {
            problem(format!("{at}.max"), "no generation could ever begin".to_owned());
        }
        let texts = if spec.text.is_empty() { &costs.text } else { &spec.text };
        let texts = kept(&format!("{at}.text"), texts.iter().map(|text| TextPath::parse(text)), problem);
        let begins = any("begins", &spec.begins, problem);
        let starts = any("starts", &spec.starts, problem);
        let (last, flush) = (any("last", &spec.last, problem), any("flush", &spec.flush, problem));
        let cancels = any("cancels", &spec.cancels, problem);
        let (ends, result) = (any("ends", &spec.ends, problem), any("result", &spec.result, problem));
        let figures = figures(at, spec, problem);
        let figure_names = spec.figures.values().flat_map(OneOrMany::as_slice);
        let needles = united([starts.needles(), ends.needles(), result.needles(), Some(names(figure_names))]);
        let eager = spec.eager.iter().filter_map(|pair| match pair.split_once('=') {
            Some((name, value)) => Some((name.into(), value.into())),
            None => {
                problem(format!("{at}.eager"), format!("`{pair}` is no `name=value`"));
                None
            }
        });
        let rule = GenerationRule {
            kind: spec.kind,
            eager: eager.collect(),
            audio: audio(&format!("{at}.audio"), &spec.audio, problem),
            input: audio(&format!("{at}.input"), &spec.input, problem),
            format: FormatPlaces::compile(&format!("{at}.format"), &spec.format, problem),
            input_format: FormatPlaces::compile(&format!("{at}.input_format"), &spec.input_format, problem),
            model: facts(&format!("{at}.model"), &spec.model, problem),
            paths,
            id: selectors(&format!("{at}.id"), &spec.id, problem),
            id_names: names(spec.id.iter()),
            max: spec.max,
            client_needles: united([last.needles(), flush.needles(), cancels.needles(), begins.needles()]),
            begins,
            starts,
            last,
            flush,
            cancels,
            ends,
            result,
            texts,
            counting: Counting::of(costs),
            figures,
            needles,
            asked: AskedPlaces::default(),
        };
        GenerationRule { asked: rule.asked_places(), ..rule }
    }

    fn asked_places(&self) -> AskedPlaces {
        let facts = [&self.format, &self.input_format].into_iter().flat_map(FormatPlaces::all).chain(&self.model);
        facts.fold(AskedPlaces::default(), |asked, fact| match fact {
            Fact::Query(_) | Fact::Path(_) => AskedPlaces { target: true, ..asked },
            Fact::Header(_) => AskedPlaces { headers: true, ..asked },
            Fact::Member(_) => AskedPlaces { members: true, ..asked },
        })
    }

    pub(crate) fn covers(&self, method: &str, path: &str) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|template| template.matches(method, path))
    }

    /// Whether its generations take slots: those that a message of the client's begins.
    #[must_use]
    pub fn takes_slots(&self) -> bool {
        !self.begins.is_empty()
    }

    /// The generation that a message is about; empty where they have no ids.
    #[must_use]
    pub fn id(&self, evidence: &Evidence<'_>) -> String {
        self.id.text(evidence).map_or_else(String::new, |id| known_id(&id).into_owned())
    }

    /// How many of them one socket takes at a time, where the provider limits that.
    #[must_use]
    pub fn max(&self) -> Option<u32> {
        self.max
    }

    /// Whether they have ids; without ids there is one at a time.
    #[must_use]
    pub fn have_ids(&self) -> bool {
        !self.id.is_empty()
    }

    /// Whether a client message begins one that is not running.
    #[must_use]
    pub fn begins(&self, evidence: &Evidence<'_>) -> bool {
        self.begins.holds(evidence)
    }

    /// Whether a message of the provider's begins one.
    #[must_use]
    pub fn starts(&self, evidence: &Evidence<'_>) -> bool {
        self.starts.holds(evidence)
    }

    /// Whether any begin with a message of the provider's.
    #[must_use]
    pub fn have_starts(&self) -> bool {
        !self.starts.is_empty()
    }

    /// Whether a client message ends the input of one.
    #[must_use]
    pub fn is_last(&self, evidence: &Evidence<'_>) -> bool {
        self.last.holds(evidence)
    }

    /// Whether the client wants what it has said so far.
    #[must_use]
    pub fn flushes(&self, evidence: &Evidence<'_>) -> bool {
        self.flush.holds(evidence)
    }

    /// Whether the client of a socket that was opened with this query wants every text at once.
    #[must_use]
    pub fn is_eager(&self, query: Option<&str>) -> bool {
        self.eager.iter().any(|(name, value)| parameter(query, name).as_deref() == Some(&**value))
    }

    /// Whether a client message cancels one at once.
    #[must_use]
    pub fn cancels(&self, evidence: &Evidence<'_>) -> bool {
        self.cancels.holds(evidence)
    }

    /// Whether a message of the provider's ends one.
    #[must_use]
    pub fn ends(&self, evidence: &Evidence<'_>) -> bool {
        self.ends.holds(evidence)
    }

    /// Whether the provider says where one ends.
    #[must_use]
    pub fn have_ends(&self) -> bool {
        !self.ends.is_empty()
    }

    /// Whether a message of the provider's is a final result.
    #[must_use]
    pub fn is_result(&self, evidence: &Evidence<'_>) -> bool {
        self.result.holds(evidence)
    }

    /// Whether the bytes of a message of the provider's have to be parsed; a byte test, so that nothing else ever is.
    #[must_use]
    pub fn may_matter(&self, text: &[u8]) -> bool {
        may_match(&self.needles, text)
    }

    /// The same for a message of the client's that holds audio.
    #[must_use]
    pub fn may_say_more(&self, text: &[u8]) -> bool {
        may_match(&self.client_needles, text)
    }

    /// The text of a body or a message.
    #[must_use]
    pub fn text(&self, body: &Json<'_>) -> Text {
        cost::text(&self.texts, self.counting, body)
    }

    /// The text of a message that has been looked at: one that cannot be read costs its length.
    #[must_use]
    pub fn text_of(&self, message: &Evidence<'_>) -> Text {
        match message.tree() {
            Some(body) => self.text(body),
            None if self.knows_text() => Text { characters: message.length() as u64, spoken: true },
            None => Text::default(),
        }
    }

    /// Whether the profile says where the text is.
    #[must_use]
    pub fn knows_text(&self) -> bool {
        !self.texts.is_empty()
    }

    /// Whether anything in a request's body is asked for: text, the model, a format.
    #[must_use]
    pub fn reads_bodies(&self) -> bool {
        self.knows_text() || self.asked.members
    }

    /// Whether anything in the query or the path is.
    #[must_use]
    pub fn reads_targets(&self) -> bool {
        self.asked.target
    }

    /// Whether anything in header fields is.
    #[must_use]
    pub fn reads_headers(&self) -> bool {
        self.asked.headers
    }

    /// Whether the provider tells figures of its own.
    #[must_use]
    pub fn has_figures(&self) -> bool {
        !self.figures.is_empty()
    }

    /// The provider's own plausible figures in this value, by index in [`FIGURES`].
    pub fn figures(&self, evidence: &Evidence<'_>) -> impl Iterator<Item = (usize, f64)> {
        let number = |text: Cow<'_, str>| text.trim().parse::<f64>().ok().filter(|found| (0.0..=MOST).contains(found));
        self.figures.iter().filter_map(move |(name, places)| Some((*name, places.text(evidence).and_then(number)?)))
    }

    /// The value of a parameter of the path.
    #[must_use]
    pub fn path_parameter<'p>(&self, method: &str, path: &'p str, name: &str) -> Option<&'p str> {
        self.paths.iter().find_map(|template| template.capture(method, path, name))
    }
}

/// An id as it is compared and stored: a very long one is cut and gets a hash of the whole.
#[must_use]
pub fn known_id(id: &str) -> Cow<'_, str> {
    match id.len() <= ID {
        true => Cow::Borrowed(id),
        false => {
            let mut hasher = DefaultHasher::new();
            id.hash(&mut hasher);
            let start = id.get(..id.floor_char_boundary(ID)).unwrap_or_default();
            Cow::Owned(format!("{start}#{:016x}", hasher.finish()))
        }
    }
}

fn may_match(needles: &Needles, text: &[u8]) -> bool {
    needles.as_ref().is_none_or(|needles| needles.iter().any(|needle| needle.find(text).is_some()))
}

fn united<const N: usize>(all: [Needles; N]) -> Needles {
    Some(all.into_iter().collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
}

/// Keeps what compiles and reports the rest as problems.
fn kept<T>(at: &str, all: impl Iterator<Item = Result<T, String>>, problem: &mut dyn FnMut(String, String)) -> Vec<T> {
    let mut keep = |one: Result<T, String>| one.map_err(|error| problem(at.to_owned(), error)).ok();
    all.filter_map(&mut keep).collect()
}

fn selectors(at: &str, spec: &[SelectorSpec], problem: &mut dyn FnMut(String, String)) -> Selectors {
    kept(at, spec.iter().map(Selector::compile), problem).into_iter().collect()
}

fn figures(at: &str, spec: &GenerationSpec, problem: &mut dyn FnMut(String, String)) -> Vec<(usize, Selectors)> {
    let mut all = Vec::new();
    for (name, places) in &spec.figures {
        let at = format!("{at}.figures.{name}");
        match FIGURES.iter().position(|known| known == name) {
            Some(known) => all.push((known, selectors(&at, places.as_slice(), problem))),
            None => problem(at, format!("expected one of {}", FIGURES.join(", "))),
        }
    }
    all
}

/// The last names of the members that these lead to, in quotes.
fn names<'s>(places: impl Iterator<Item = &'s SelectorSpec>) -> Vec<Finder<'static>> {
    let from = |spec: &'s SelectorSpec| match spec {
        SelectorSpec::Place(place) => place,
        SelectorSpec::Full(full) => &full.from,
    };
    places.filter_map(|place| Some(quoted(Path::parse(from(place)).ok()?.last_key()?))).collect()
}
