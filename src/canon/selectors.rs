//! Ordered lists of selectors. Most look for names that do not occur, which a bit test finds out before any is evaluated.

use super::evidence::Evidence;
use super::outline::Outline;
use super::select::Selector;
use std::borrow::Cow;

/// Selectors of one field; the first that finds something wins.
#[derive(Debug, Default)]
pub(crate) struct Selectors {
    list: Vec<Selector>,
    needs: Outline,
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

    /// All of them with their indexes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Selector)> {
        self.list.iter().enumerate()
    }

    /// Those that may find something, with their indexes.
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
