//! Bit sets of the names in a body and its header fields: most selectors look for names that do not occur.

use super::json::{self, Json, Name};
use http::HeaderMap;

/// One bit for each name among the top-level members and the header fields. A selector can only find something when one
/// of its bits is set.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outline {
    members: u64,
    fields: u64,
}

impl Outline {
    /// The bit that is always set, for selectors that do not begin with a name.
    const ALWAYS: Outline = Outline { members: 0, fields: 1 << 63 };

    /// Of an observation.
    pub(crate) fn of(headers: &HeaderMap, tree: Option<&Json<'_>>) -> Outline {
        let fields = headers.keys().fold(0, |bits, name| bits | json::bit(name.as_str()));
        let members = tree.map_or(0, |tree| tree.bits() | tree.as_list().and_then(<[_]>::first).map_or(0, Json::bits));
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

    pub(crate) fn or(self, other: Outline) -> Outline {
        Outline { members: self.members | other.members, fields: self.fields | other.fields }
    }
}
