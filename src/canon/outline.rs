//! Which names a body and its header fields have, as bits: most selectors look for what is not there.

use super::json::{self, Json, Name};
use http::HeaderMap;

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
