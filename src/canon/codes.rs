//! A provider's code tables. A table is asked before the expression that would cut a code out of a text: nearly always the
//! text is the code.

use super::evidence::Evidence;
use super::mapping::Mapping;
use super::select::Selector;
use super::selectors::Selectors;
use std::borrow::Cow;
use std::collections::HashMap;

/// A provider's codes and what they mean.
#[derive(Debug, Default)]
pub(crate) struct CodeTable(HashMap<Box<str>, Row>);

#[derive(Debug)]
struct Row {
    mapping: Mapping,
    /// One bit for each code selector (by index) that reads this code unchanged, that is, whose expression
    /// matches all of it.
    plain: u64,
}

/// A code that a table knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'p> {
    /// The table's name; empty for `codes`.
    pub(crate) space: &'p str,
    pub(crate) code: &'p str,
    pub(crate) mapping: &'p Mapping,
    plain: u64,
}

impl CodeTable {
    pub(crate) fn new(rows: impl Iterator<Item = (Box<str>, Mapping)>) -> CodeTable {
        CodeTable(rows.map(|(code, mapping)| (code, Row { mapping, plain: 0 })).collect())
    }

    /// Marks the codes that this selector reads unchanged.
    fn settle(&mut self, place: usize, selector: &Selector) {
        for (code, row) in &mut self.0 {
            if selector.takes_all(code) {
                row.plain |= bit(place);
            }
        }
    }

    fn find<'p>(&'p self, space: &'p str, code: &str) -> Option<Known<'p>> {
        let (code, row) = self.0.get_key_value(code)?;
        Some(Known { space, code, mapping: &row.mapping, plain: row.plain })
    }
}

/// All code tables of a profile: `codes`, and the other code spaces by name.
#[derive(Debug, Default)]
pub(crate) struct Codes {
    plain: CodeTable,
    spaces: HashMap<Box<str>, CodeTable>,
}

impl Codes {
    /// The tables, prepared for the selectors that find codes.
    pub(crate) fn new(plain: CodeTable, spaces: HashMap<Box<str>, CodeTable>, selectors: &Selectors) -> Codes {
        let mut codes = Codes { plain, spaces };
        for (place, selector) in selectors.iter() {
            let table = match &selector.space {
                None => Some(&mut codes.plain),
                Some(space) => codes.spaces.get_mut(space),
            };
            table.into_iter().for_each(|table| table.settle(place, selector));
        }
        codes
    }

    /// The row of `codes` for a code.
    pub(crate) fn find(&self, code: &str) -> Option<Known<'_>> {
        self.plain.find("", code)
    }

    /// The code that a close's reason is, or with which it begins, when `codes` has it: `INVALID_AUTH: The key is unknown.`
    pub(crate) fn in_reason<'p, 'e>(&'p self, reason: &'e str) -> Option<(Cow<'e, str>, Option<Known<'p>>)> {
        let reason = reason.trim().trim_end_matches('.');
        let before_colon = reason.split(": ").next().unwrap_or(reason);
        let first = reason.split([' ', ':', ',', ';']).next().unwrap_or(reason);
        let found = [reason, before_colon, first].into_iter().find_map(|text| Some((text, self.find(text)?)));
        // A number alone may count anything.
        let (code, row) = found.filter(|(code, _)| code.bytes().any(|byte| byte.is_ascii_alphabetic()))?;
        Some((Cow::Borrowed(code), Some(row)))
    }

    /// The codes that the selectors find, in order, with what the tables say of each.
    pub(crate) fn read<'p, 'e>(
        &'p self,
        selectors: &'p Selectors,
        evidence: &'e Evidence<'_>,
    ) -> impl Iterator<Item = (Cow<'e, str>, Option<Known<'p>>)> {
        selectors.asked(evidence).filter_map(move |(place, selector)| {
            let known = |code: &str| match selector.space.as_deref() {
                None => self.find(code),
                Some(space) => {
                    let (space, table) = self.spaces.get_key_value(space)?;
                    table.find(space, code)
                }
            };
            let text = selector.uncut(evidence)?;
            if let Some(row) = known(&text).filter(|row| row.plain & bit(place) != 0) {
                return Some((text, Some(row)));
            }
            let code = selector.cut(text)?;
            let row = known(&code);
            Some((code, row))
        })
    }
}

/// `None` for an index beyond the width of the mask; such selectors are always evaluated.
fn bit(place: usize) -> u64 {
    u32::try_from(place).ok().and_then(|place| 1_u64.checked_shl(place)).unwrap_or(0)
}
