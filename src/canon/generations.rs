//! The generations of one kind of request or socket, ready to be asked: what a tracker compares messages with.

use super::condition::AnyOf;
pub use super::cost::Text;
use super::cost::{self, Counting, TextPath};
use super::evidence::Evidence;
use super::json::Json;
use super::path::Path;
use super::select::Selector;
use super::selectors::Selectors;
use super::spec::{AudioSpec, ConditionSpec, CostSpec, FormatSpec, GenerationKind, GenerationSpec};
use super::spec::{OneOrMany, Scalar, SelectorSpec, Table};
use super::template::PathTemplate;
use http::header::{HeaderMap, HeaderName};
use memchr::memmem::Finder;
use std::borrow::Cow;

/// The longest id that is told apart from others, in characters.
const ID: usize = 256;

/// The provider's own figures that have a name.
pub const FIGURES: [&str; 4] = ["characters", "audio_seconds", "credits", "tokens"];

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
}

/// Bytes one of which stands in every message that has to be parsed; none when any message may have to be.
type Needles = Option<Vec<Finder<'static>>>;

/// Where audio is.
#[derive(Debug)]
pub enum AudioPlace {
    /// The whole body of an answer or a request.
    Body,
    /// Binary messages.
    Binary,
    /// A member in base64.
    Member(AudioMember),
}

/// A member in base64: its name in quotes, and what other members, by their names in quotes, have to be.
#[derive(Debug)]
pub struct AudioMember {
    /// The name.
    pub name: Finder<'static>,
    /// The others.
    pub when: Vec<(Finder<'static>, Vec<Box<str>>)>,
}

/// Where the parts of a format are.
#[derive(Debug, Default)]
pub struct FormatPlaces {
    /// The name.
    pub name: Vec<Fact>,
    /// The sample rate.
    pub rate: Vec<Fact>,
    /// The bit rate.
    pub bit_rate: Vec<Fact>,
    /// How many channels.
    pub channels: Vec<Fact>,
    /// The name where nobody gives one.
    pub default: Option<Box<str>>,
}

/// One place of a fact about a request.
#[derive(Debug)]
pub enum Fact {
    /// A parameter of the query.
    Query(Box<str>),
    /// A parameter of the path template.
    Path(Box<str>),
    /// A header field of the answer, else of the request.
    Header(HeaderName),
    /// A member of what the client sends.
    Member(Path),
}

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
        GenerationRule {
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
        }
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
        self.id.text(evidence).map_or_else(String::new, |id| id.chars().take(ID).collect())
    }

    /// How many of them one socket takes at one time, where the provider has a bound of that kind.
    #[must_use]
    pub fn max(&self) -> Option<u32> {
        self.max
    }

    /// Whether they have ids; without them there is one at a time.
    #[must_use]
    pub fn have_ids(&self) -> bool {
        !self.id.is_empty()
    }

    /// Whether a message of the client's begins one that is not running.
    #[must_use]
    pub fn begins(&self, evidence: &Evidence<'_>) -> bool {
        self.begins.holds(evidence)
    }

    /// Whether a message of the provider's begins one.
    #[must_use]
    pub fn starts(&self, evidence: &Evidence<'_>) -> bool {
        self.starts.holds(evidence)
    }

    /// Whether a message of the client's is the last of what it has to say in one.
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

    /// Whether the profile says where the text is.
    #[must_use]
    pub fn knows_text(&self) -> bool {
        !self.texts.is_empty()
    }

    /// The provider's own figures that are here, by their places in [`FIGURES`].
    pub fn figures(&self, evidence: &Evidence<'_>) -> impl Iterator<Item = (usize, f64)> {
        let number =
            |text: Cow<'_, str>| text.trim().parse::<f64>().ok().filter(|found| found.is_finite() && *found >= 0.0);
        self.figures.iter().filter_map(move |(name, places)| Some((*name, places.text(evidence).and_then(number)?)))
    }

    /// The value of a parameter of the path.
    #[must_use]
    pub fn path_parameter<'p>(&self, method: &str, path: &'p str, name: &str) -> Option<&'p str> {
        self.paths.iter().find_map(|template| template.capture(method, path, name))
    }
}

impl FormatPlaces {
    fn compile(at: &str, spec: &FormatSpec, problem: &mut dyn FnMut(String, String)) -> FormatPlaces {
        FormatPlaces {
            name: facts(&format!("{at}.name"), &spec.name, problem),
            rate: facts(&format!("{at}.rate"), &spec.rate, problem),
            bit_rate: facts(&format!("{at}.bit_rate"), &spec.bit_rate, problem),
            channels: facts(&format!("{at}.channels"), &spec.channels, problem),
            default: spec.default.as_deref().map(Box::from),
        }
    }
}

impl Fact {
    fn parse(text: &str) -> Result<Fact, String> {
        match text.split_once(':') {
            Some(("query", name)) if !name.is_empty() => Ok(Fact::Query(name.into())),
            Some(("path", name)) if !name.is_empty() => Ok(Fact::Path(name.into())),
            Some(("h", name)) => {
                name.parse().map(Fact::Header).map_err(|_| format!("`{name}` is no name of a header field"))
            }
            _ if text.starts_with('$') => Path::parse(text).map(Fact::Member),
            _ => Err(format!("`{text}` is no place; expected `query:name`, `path:name`, `h:name` or `$.member`")),
        }
    }

    /// The value as it stands in a query, decoded.
    #[must_use]
    pub fn in_query(&self, query: Option<&str>) -> Option<String> {
        match self {
            Fact::Query(name) => parameter(query, name),
            Fact::Path(_) | Fact::Header(_) | Fact::Member(_) => None,
        }
    }

    /// The value as it stands in header fields.
    #[must_use]
    pub fn in_headers<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        match self {
            Fact::Header(name) => headers.get(name)?.to_str().ok().map(str::trim).filter(|value| !value.is_empty()),
            Fact::Query(_) | Fact::Path(_) | Fact::Member(_) => None,
        }
    }

    /// The value as it stands in what the client sends.
    #[must_use]
    pub fn in_body<'v>(&self, body: &'v Json<'_>) -> Option<Cow<'v, str>> {
        match self {
            Fact::Member(path) => path.walk(body)?.scalar(),
            Fact::Query(_) | Fact::Path(_) | Fact::Header(_) => None,
        }
    }
}

/// A parameter of a query, decoded.
fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(found, _)| *found == name)?;
    let value = decoded(value);
    (!value.trim().is_empty()).then(|| value.trim().to_owned())
}

/// A value of a query without its escapes.
fn decoded(value: &str) -> String {
    let (mut bytes, mut left) = (Vec::with_capacity(value.len()), value.as_bytes());
    while let Some((first, rest)) = left.split_first() {
        let hex = rest.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        let escaped = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(escaped.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        left = if escaped.is_some() { rest.get(2..).unwrap_or_default() } else { rest };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn may_match(needles: &Needles, text: &[u8]) -> bool {
    needles.as_ref().is_none_or(|needles| needles.iter().any(|needle| needle.find(text).is_some()))
}

fn united<const N: usize>(all: [Needles; N]) -> Needles {
    Some(all.into_iter().collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
}

/// What could be compiled; the rest are problems.
fn kept<T>(at: &str, all: impl Iterator<Item = Result<T, String>>, problem: &mut dyn FnMut(String, String)) -> Vec<T> {
    let mut keep = |one: Result<T, String>| one.map_err(|error| problem(at.to_owned(), error)).ok();
    all.filter_map(&mut keep).collect()
}

fn selectors(at: &str, spec: &[SelectorSpec], problem: &mut dyn FnMut(String, String)) -> Selectors {
    kept(at, spec.iter().map(Selector::compile), problem).into_iter().collect()
}

fn facts(at: &str, spec: &[String], problem: &mut dyn FnMut(String, String)) -> Vec<Fact> {
    kept(at, spec.iter().map(|text| Fact::parse(text)), problem)
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

fn audio(at: &str, spec: &[AudioSpec], problem: &mut dyn FnMut(String, String)) -> Vec<AudioPlace> {
    let member = |from: &str| Some(quoted(Path::parse(from).ok()?.last_key()?));
    let bad = |from: &str| format!("`{from}` is no place of audio; expected `body`, `binary` or a member, `$.audio`");
    let place = |spec: &AudioSpec| match spec {
        AudioSpec::Place(place) if place == "body" => Ok(AudioPlace::Body),
        AudioSpec::Place(place) if place == "binary" => Ok(AudioPlace::Binary),
        AudioSpec::Place(from) => {
            let name = member(from).ok_or_else(|| bad(from))?;
            Ok(AudioPlace::Member(AudioMember { name, when: Vec::new() }))
        }
        AudioSpec::Member(spec) => {
            let name = member(&spec.from).ok_or_else(|| bad(&spec.from))?;
            let when = spec.when.iter().map(|(path, values)| {
                let values = values.as_slice().iter().map(Scalar::text).collect();
                Ok((member(path).ok_or_else(|| bad(path))?, values))
            });
            Ok(AudioPlace::Member(AudioMember { name, when: when.collect::<Result<_, String>>()? }))
        }
    };
    kept(at, spec.iter().map(place), problem)
}

/// The last names of the members that these lead to, in quotes.
fn names<'s>(places: impl Iterator<Item = &'s SelectorSpec>) -> Vec<Finder<'static>> {
    let from = |spec: &'s SelectorSpec| match spec {
        SelectorSpec::Place(place) => place,
        SelectorSpec::Full(full) => &full.from,
    };
    places.filter_map(|place| Some(quoted(Path::parse(from(place)).ok()?.last_key()?))).collect()
}

fn quoted(name: &str) -> Finder<'static> {
    Finder::new(&format!("\"{name}\"")).into_owned()
}
