//! Where requests and messages hold the facts of a generation: audio, its format, the model.

use super::format::Format;
use super::kept;
use crate::canon::json::Json;
use crate::canon::path::Path;
use crate::canon::spec::{AudioSpec, FormatSpec, Scalar};
use http::header::{HeaderMap, HeaderName};
use memchr::memmem::Finder;
use std::borrow::Cow;

/// Where audio is.
#[derive(Debug)]
pub enum AudioPlace {
    /// The whole body of an answer or a request.
    Body,
    /// Binary messages.
    Binary,
    /// A member in base64.
    Member(Box<AudioMember>),
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
    /// What that is: it is asked for with every request.
    pub usual: Format,
    /// The sample rate where nobody gives one.
    pub default_rate: Option<u32>,
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

impl FormatPlaces {
    pub(super) fn compile(at: &str, spec: &FormatSpec, problem: &mut dyn FnMut(String, String)) -> FormatPlaces {
        FormatPlaces {
            name: facts(&format!("{at}.name"), &spec.name, problem),
            rate: facts(&format!("{at}.rate"), &spec.rate, problem),
            bit_rate: facts(&format!("{at}.bit_rate"), &spec.bit_rate, problem),
            channels: facts(&format!("{at}.channels"), &spec.channels, problem),
            default: spec.default.as_deref().map(Box::from),
            usual: Format::named(spec.default.as_deref().unwrap_or_default(), spec.default_rate, None, None),
            default_rate: spec.default_rate,
        }
    }
}

impl FormatPlaces {
    /// All places of it.
    pub(super) fn all(&self) -> impl Iterator<Item = &Fact> {
        self.name.iter().chain(&self.rate).chain(&self.bit_rate).chain(&self.channels)
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
pub(super) fn parameter(query: Option<&str>, name: &str) -> Option<String> {
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

pub(super) fn facts(at: &str, spec: &[String], problem: &mut dyn FnMut(String, String)) -> Vec<Fact> {
    kept(at, spec.iter().map(|text| Fact::parse(text)), problem)
}

pub(super) fn audio(at: &str, spec: &[AudioSpec], problem: &mut dyn FnMut(String, String)) -> Vec<AudioPlace> {
    let member = |from: &str| Some(quoted(Path::parse(from).ok()?.last_key()?));
    let bad = |from: &str| format!("`{from}` is no place of audio; expected `body`, `binary` or a member, `$.audio`");
    let place = |spec: &AudioSpec| match spec {
        AudioSpec::Place(place) if place == "body" => Ok(AudioPlace::Body),
        AudioSpec::Place(place) if place == "binary" => Ok(AudioPlace::Binary),
        AudioSpec::Place(from) => {
            let name = member(from).ok_or_else(|| bad(from))?;
            Ok(AudioPlace::Member(Box::new(AudioMember { name, when: Vec::new() })))
        }
        AudioSpec::Member(spec) => {
            let name = member(&spec.from).ok_or_else(|| bad(&spec.from))?;
            let when = spec.when.iter().map(|(path, values)| {
                let values = values.as_slice().iter().map(Scalar::text).collect();
                Ok((member(path).ok_or_else(|| bad(path))?, values))
            });
            let when = when.collect::<Result<_, String>>()?;
            Ok(AudioPlace::Member(Box::new(AudioMember { name, when })))
        }
    };
    kept(at, spec.iter().map(place), problem)
}

pub(super) fn quoted(name: &str) -> Finder<'static> {
    Finder::new(&format!("\"{name}\"")).into_owned()
}
