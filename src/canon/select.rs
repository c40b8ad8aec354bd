//! Selectors: where in an observation a value is. An ordered list of them; the first non-empty value wins.

use super::evidence::Evidence;
use super::json::{Json, Name};
use super::selectors::Outline;
use super::spec::{FullSelectorSpec, SelectorSpec, Unit};
use http::HeaderName;
use regex::Regex;
use serde_json::Value;
use std::borrow::Cow;

/// A compiled selector: the place, how to read it, when to ask it.
#[derive(Debug)]
pub struct Selector {
    place: Place,
    /// What must be there for the place to have a value.
    pub(crate) needs: Outline,
    capture: Option<Regex>,
    guards: Vec<super::guard::Guard>,
    /// Unit of a retry hint.
    pub(crate) unit: Option<Unit>,
    /// Code table in which a code is looked up.
    pub(crate) space: Option<Box<str>>,
}

/// A place in an observation.
#[derive(Debug)]
pub(crate) enum Place {
    Json(Path),
    Header(HeaderName),
    WwwAuthenticate(Box<str>),
    HttpStatus,
    WsCode,
    WsReason,
    SseEvent,
    Text,
    TextTitle,
}

/// What a selector found.
#[derive(Debug)]
pub(crate) enum Found<'e> {
    Json(&'e Json<'e>),
    Text(Cow<'e, str>),
}

impl<'e> Found<'e> {
    /// As text, when it is a scalar that says something.
    pub(crate) fn into_text(self) -> Option<Cow<'e, str>> {
        match self {
            Found::Json(Json::Text(text)) => Some(Cow::Borrowed(text.trim())),
            Found::Json(Json::Number(number)) => Some(Cow::Owned(number.to_string())),
            Found::Json(Json::Bool(truth)) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
            Found::Json(Json::Null | Json::List(_) | Json::Object(_)) => None,
            Found::Text(Cow::Borrowed(text)) => Some(Cow::Borrowed(text.trim())),
            Found::Text(Cow::Owned(text)) => Some(Cow::Owned(text.trim().to_owned())),
        }
        .filter(|text| !text.is_empty())
    }

    /// As JSON, when it says something.
    pub(crate) fn into_json(self) -> Option<Value> {
        match self {
            Found::Json(Json::Null) => None,
            Found::Json(value) => Some(value.to_value()),
            Found::Text(text) => Some(Value::String(text.trim().to_owned())).filter(|text| text != ""),
        }
    }

    /// Whether it says something.
    pub(crate) fn is_something(&self) -> bool {
        match self {
            Found::Json(value) => !matches!(value, Json::Null),
            Found::Text(text) => !text.trim().is_empty(),
        }
    }
}

impl Selector {
    /// Compiles one selector.
    pub(crate) fn compile(spec: &SelectorSpec) -> Result<Selector, String> {
        let full = match spec {
            SelectorSpec::Place(place) => &FullSelectorSpec {
                from: place.clone(),
                capture: None,
                unit: None,
                when: Default::default(),
                space: None,
            },
            SelectorSpec::Full(full) => full,
        };
        let capture = full.capture.as_deref().map(compile_regex).transpose()?;
        if let Some(regex) = &capture
            && regex.captures_len() != 2
        {
            return Err(format!("`capture` needs exactly one group, `{regex}` has {}", regex.captures_len() - 1));
        }
        let place = Place::parse(&full.from)?;
        Ok(Selector {
            needs: place.needs(),
            place,
            capture,
            guards: super::guard::compile_all(&full.when)?,
            unit: full.unit,
            space: full.space.as_deref().map(Box::from),
        })
    }

    /// The value as text.
    pub(crate) fn text<'e>(&self, evidence: &'e Evidence<'_>) -> Option<Cow<'e, str>> {
        self.found(evidence)?.into_text()
    }

    /// The value as JSON.
    pub(crate) fn json(&self, evidence: &Evidence<'_>) -> Option<Value> {
        self.found(evidence)?.into_json()
    }

    /// The text of the place, before the expression cuts anything out of it.
    pub(crate) fn uncut<'e>(&self, evidence: &'e Evidence<'_>) -> Option<Cow<'e, str>> {
        self.place(evidence)?.into_text()
    }

    /// What the expression cuts out of a text; all of it without one.
    pub(crate) fn cut<'t>(&self, text: Cow<'t, str>) -> Option<Cow<'t, str>> {
        match &self.capture {
            Some(regex) => Found::Text(captured(regex, text)?).into_text(),
            None => Some(text),
        }
    }

    /// Whether the expression cuts nothing off this text.
    pub(crate) fn takes_all(&self, text: &str) -> bool {
        self.cut(Cow::Borrowed(text)).is_some_and(|cut| cut == text)
    }

    fn found<'e>(&self, evidence: &'e Evidence<'_>) -> Option<Found<'e>> {
        let found = self.place(evidence)?;
        let Some(regex) = &self.capture else { return Some(found) };
        captured(regex, found.into_text()?).map(Found::Text)
    }

    fn place<'e>(&self, evidence: &'e Evidence<'_>) -> Option<Found<'e>> {
        let found = self.place.find(evidence)?;
        self.guards.iter().all(|guard| guard.holds(evidence)).then_some(found)
    }
}

fn captured<'t>(regex: &Regex, text: Cow<'t, str>) -> Option<Cow<'t, str>> {
    let part = regex.captures(&text)?.get(1)?.range();
    Some(match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(part)?),
        Cow::Owned(text) => Cow::Owned(text.get(part)?.to_owned()),
    })
}

/// Compiles an expression within a bound, so that an operator's typing mistake cannot eat the memory.
pub(crate) fn compile_regex(pattern: &str) -> Result<Regex, String> {
    regex::RegexBuilder::new(pattern)
        .size_limit(1 << 20)
        .build()
        .map_err(|error| format!("`{pattern}` is not a regular expression: {}", last_line(&error.to_string())))
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ")
}

impl Place {
    pub(crate) fn parse(text: &str) -> Result<Place, String> {
        Ok(match text {
            "http.status" => Place::HttpStatus,
            "ws.code" => Place::WsCode,
            "ws.reason" => Place::WsReason,
            "sse.event" => Place::SseEvent,
            "text" => Place::Text,
            "text.title" => Place::TextTitle,
            _ if text.starts_with('$') => Place::Json(Path::parse(text)?),
            _ => match text.split_once(':') {
                Some(("h", name)) => Place::Header(
                    HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes())
                        .map_err(|_| format!("`{name}` is not a header name"))?,
                ),
                Some(("www-authenticate", parameter)) if !parameter.is_empty() => {
                    Place::WwwAuthenticate(parameter.to_ascii_lowercase().into())
                }
                _ => {
                    return Err(format!(
                        "`{text}` is not a selector; expected `$.path`, `h:name`, `www-authenticate:parameter`, `http.status`, \
                         `ws.code`, `ws.reason`, `sse.event`, `text` or `text.title`"
                    ));
                }
            },
        })
    }

    pub(crate) fn find<'e>(&self, evidence: &'e Evidence<'_>) -> Option<Found<'e>> {
        match self {
            Place::Json(path) => path.walk(evidence.tree()?).map(Found::Json),
            Place::Header(name) => {
                let value = evidence.headers.get(name)?;
                Some(Found::Text(String::from_utf8_lossy(value.as_bytes())))
            }
            Place::WwwAuthenticate(parameter) => evidence
                .headers
                .get_all(http::header::WWW_AUTHENTICATE)
                .iter()
                .find_map(|value| auth_parameter(&String::from_utf8_lossy(value.as_bytes()), parameter))
                .map(|value| Found::Text(Cow::Owned(value))),
            Place::HttpStatus => number(evidence.status?),
            Place::WsCode => number(evidence.ws_code?),
            Place::WsReason => evidence.ws_reason.map(|reason| Found::Text(Cow::Borrowed(reason))),
            Place::SseEvent => evidence.sse_event.map(|event| Found::Text(Cow::Borrowed(event))),
            Place::Text => evidence.text().map(|text| Found::Text(Cow::Borrowed(text))),
            Place::TextTitle => evidence.page_title().map(|title| Found::Text(Cow::Borrowed(title))),
        }
    }

    fn needs(&self) -> Outline {
        match self {
            Place::Json(path) => path.needs(),
            Place::Header(name) => Outline::field(name.as_str()),
            Place::WwwAuthenticate(_) => Outline::field(http::header::WWW_AUTHENTICATE.as_str()),
            Place::HttpStatus | Place::WsCode | Place::WsReason | Place::SseEvent | Place::Text | Place::TextTitle => {
                Outline::always()
            }
        }
    }

    /// The JSON member whose name must stand in the bytes for this place to have a value.
    pub(crate) fn json_key(&self) -> Option<&str> {
        let Place::Json(path) = self else { return None };
        path.last_key()
    }
}

fn number<'e>(value: u16) -> Option<Found<'e>> {
    Some(Found::Text(Cow::Owned(value.to_string())))
}

/// One parameter of a challenge: `Bearer realm="x", error="invalid_token"` (RFC 9110 11.6.1, RFC 6750 3).
fn auth_parameter(challenge: &str, parameter: &str) -> Option<String> {
    let mut rest = challenge;
    loop {
        let equals = rest.find('=')?;
        let (before, after) = (rest.get(..equals)?, rest.get(equals + 1..)?);
        let name = before.trim_end().rsplit([' ', ',', '\t']).next()?;
        let after = after.trim_start();
        let (value, remaining) = match after.strip_prefix('"') {
            Some(quoted) => quoted_string(quoted),
            None => {
                let end = after.find([',', ' ']).unwrap_or(after.len());
                (after.get(..end)?.to_owned(), after.get(end..)?)
            }
        };
        if name.eq_ignore_ascii_case(parameter) {
            return Some(value);
        }
        rest = remaining;
    }
}

fn quoted_string(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (value, text.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => value.push(char),
        }
    }
    (value, "")
}

/// A path into JSON: `$`, `$.a.b`, `$.list[0]`, `$.list[?key=value].x`, `$['odd key']`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(Name),
    Index(usize),
    Find(Name, Box<str>),
}

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// One sentence on what was expected.
    pub fn parse(text: &str) -> Result<Path, String> {
        let bad = || format!("`{text}` is not a path; expected `$.a.b`, `$.list[0]` or `$.list[?key=value]`");
        let mut rest = text.strip_prefix('$').ok_or_else(bad)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let step;
            (step, rest) = if let Some(after) = rest.strip_prefix('.') {
                let end = after.find(['.', '[']).unwrap_or(after.len());
                let (key, rest) = after.split_at(end);
                (Some(Step::Key(Name::new(key))).filter(|_| !key.is_empty()), rest)
            } else {
                let inside = rest.strip_prefix('[').ok_or_else(bad)?;
                let (inside, rest) = inside.split_once(']').ok_or_else(bad)?;
                (Step::bracketed(inside), rest)
            };
            steps.push(step.ok_or_else(bad)?);
        }
        Ok(Path { steps })
    }

    /// Reads a path that is relative to an entry: `loc`, `a.b`, or empty for the entry itself.
    pub(crate) fn parse_relative(text: &str) -> Result<Path, String> {
        let absolute = match text {
            "" | "$" => "$".to_owned(),
            _ if text.starts_with("$") => text.to_owned(),
            _ => format!("$.{text}"),
        };
        Path::parse(&absolute)
    }

    /// The value at this path.
    #[must_use]
    pub fn walk<'v, 'a>(&self, root: &'v Json<'a>) -> Option<&'v Json<'a>> {
        self.steps.iter().try_fold(root, |value, step| match step {
            Step::Key(key) => value.member(key),
            Step::Index(index) => value.as_list()?.get(*index),
            Step::Find(key, wanted) => {
                value.as_list()?.iter().find(|entry| entry.member(key).is_some_and(|found| scalar_is(found, wanted)))
            }
        })
    }

    /// The keys of this path, when it consists of keys only.
    #[must_use]
    pub fn keys(&self) -> Option<Vec<&str>> {
        self.steps
            .iter()
            .map(|step| match step {
                Step::Key(key) => Some(key.as_str()),
                Step::Index(_) | Step::Find(..) => None,
            })
            .collect()
    }

    /// What must be there for it to lead anywhere.
    pub(crate) fn needs(&self) -> Outline {
        match self.steps.first() {
            Some(Step::Key(key)) => Outline::member(key),
            Some(Step::Index(_) | Step::Find(..)) | None => Outline::always(),
        }
    }

    fn last_key(&self) -> Option<&str> {
        self.steps.iter().rev().find_map(|step| match step {
            Step::Key(key) | Step::Find(key, _) => Some(key.as_str()),
            Step::Index(_) => None,
        })
    }
}

impl Step {
    fn bracketed(inside: &str) -> Option<Step> {
        if let Some(test) = inside.strip_prefix('?') {
            let (key, value) = test.split_once('=')?;
            let value = value.trim().trim_matches(['"', '\'']);
            let key = key.trim().trim_start_matches("@.");
            return (!key.is_empty()).then(|| Step::Find(Name::new(key), value.into()));
        }
        if let Some(key) = inside.strip_prefix('\'').and_then(|key| key.strip_suffix('\'')) {
            return Some(Step::Key(Name::new(key)));
        }
        inside.parse().ok().map(Step::Index)
    }
}

/// Whether a scalar, as it is written, equals the text.
fn scalar_is(value: &Json<'_>, text: &str) -> bool {
    match value {
        Json::Text(found) => found == text,
        Json::Number(number) => number.to_string() == text,
        Json::Bool(truth) => (if *truth { "true" } else { "false" }) == text,
        Json::Null | Json::List(_) | Json::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_values() {
        let tree: Json<'_> =
            serde_json::from_str(r#"{"a":{"b":[{"k":"x","v":1},{"k":"y","v":2}]},"odd key":true,"n":null}"#)
                .expect("JSON");
        for (path, expected) in [
            ("$.a.b[0].v", Some("1")),
            ("$.a.b[?k=y].v", Some("2")),
            ("$.a.b[?k=z].v", None),
            ("$['odd key']", Some("true")),
            ("$.a", None),
            ("$.n", None),
            ("$.a.b[7]", None),
            ("$.missing.x", None),
        ] {
            let path = Path::parse(path).expect("path");
            let found = path.walk(&tree).and_then(|value| Found::Json(value).into_text());
            assert_eq!(found.as_deref(), expected, "{path:?}");
        }
        for bad in ["a.b", "$..a", "$.a[", "$.a[x]", "$.a[?k]", "$a"] {
            assert!(Path::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn challenges_give_their_parameters() {
        let challenge = r#"Bearer realm="acme, inc", error="invalid_token", error_description="The \"token\" expired""#;
        for (parameter, expected) in [
            ("realm", Some("acme, inc")),
            ("error", Some("invalid_token")),
            ("error_description", Some("The \"token\" expired")),
            ("scope", None),
        ] {
            assert_eq!(auth_parameter(challenge, parameter).as_deref(), expected, "{parameter}");
        }
        assert_eq!(auth_parameter("Bearer error=invalid_token, a=b", "error").as_deref(), Some("invalid_token"));
        assert_eq!(auth_parameter("Basic", "realm"), None);
        assert_eq!(auth_parameter("Bearer realm=\"open", "realm").as_deref(), Some("open"));
    }
}
