//! Selectors: where in an observation a value is. An ordered list of them; the first non-empty value wins.

use super::condition::{self, Condition, compile_regex};
use super::evidence::Evidence;
use super::outline::Outline;
use super::place::{Found, Place};
use super::spec::{FullSelectorSpec, SelectorSpec, Unit};
use regex::Regex;
use serde_json::Value;
use std::borrow::Cow;

/// A compiled selector: the place, how to read it, when to ask it.
#[derive(Debug)]
pub(crate) struct Selector {
    place: Place,
    /// What must be there for the place to have a value.
    pub(crate) needs: Outline,
    capture: Option<Regex>,
    conditions: Vec<Condition>,
    /// Unit of a retry hint.
    pub(crate) unit: Option<Unit>,
    /// Code table in which a code is looked up.
    pub(crate) space: Option<Box<str>>,
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
            conditions: condition::compile_all(&full.when)?,
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
        self.conditions.iter().all(|condition| condition.holds(evidence)).then_some(found)
    }
}

fn captured<'t>(regex: &Regex, text: Cow<'t, str>) -> Option<Cow<'t, str>> {
    let part = regex.captures(&text)?.get(1)?.range();
    Some(match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(part)?),
        Cow::Owned(text) => Cow::Owned(text.get(part)?.to_owned()),
    })
}
