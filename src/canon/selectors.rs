//! Ordered lists of selectors. Most of them look for what is not there, which a test of bits tells before any is asked.

use super::evidence::Evidence;
use super::json::{self, Json, Name};
use super::select::Selector;
use http::HeaderMap;
use std::borrow::Cow;

/// Selectors of one field; the first that finds something wins.
#[derive(Debug, Default)]
pub(crate) struct Selectors {
    list: Vec<Selector>,
    needs: Outline,
}

/// Which names the outermost members of a body and the header fields have: a bit for each. Of what a selector needs one has to
/// be there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outline {
    members: u64,
    fields: u64,
}

impl Outline {
    /// What is always there, for selectors that do not begin with a name.
    const ALWAYS: Outline = Outline { members: 0, fields: 1 << 63 };

    /// Of an observation.
    pub(crate) fn of(headers: &HeaderMap, tree: Option<&Json<'_>>) -> Outline {
        let fields = headers.keys().fold(0, |bits, name| bits | json::bit(name.as_str()));
        let members = tree.map_or(0, Json::bits);
        Outline { members, fields }.or(Outline::ALWAYS)
    }

    /// A member of this name.
    pub(crate) fn member(name: &Name) -> Outline {
        Outline { members: name.bit(), fields: 0 }
    }

    /// A header field of this name.
    pub(crate) fn field(name: &str) -> Outline {
        Outline { members: 0, fields: json::bit(name) }
    }

    pub(crate) fn always() -> Outline {
        Outline::ALWAYS
    }

    /// Whether one of the names of both is the same.
    pub(crate) fn meets(self, other: Outline) -> bool {
        self.members & other.members | self.fields & other.fields != 0
    }

    fn or(self, other: Outline) -> Outline {
        Outline { members: self.members | other.members, fields: self.fields | other.fields }
    }
}

impl FromIterator<Selector> for Selectors {
    fn from_iter<I: IntoIterator<Item = Selector>>(list: I) -> Selectors {
        let list: Vec<Selector> = list.into_iter().collect();
        let needs = list.iter().fold(Outline::default(), |needs, selector| needs.or(selector.needs));
        Selectors { list, needs }
    }
}

impl Selectors {
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them with their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Selector)> {
        self.list.iter().enumerate()
    }

    /// Those that may find something, with their places.
    pub(crate) fn asked(&self, evidence: &Evidence<'_>) -> impl Iterator<Item = (usize, &Selector)> {
        let there = evidence.outline();
        let list = if self.needs.meets(there) { self.list.as_slice() } else { &[] };
        list.iter().enumerate().filter(move |(_, selector)| selector.needs.meets(there))
    }

    /// The first non-empty text.
    pub(crate) fn text<'e>(&self, evidence: &'e Evidence<'_>) -> Option<Cow<'e, str>> {
        self.asked(evidence).find_map(|(_, selector)| selector.text(evidence))
    }
}
