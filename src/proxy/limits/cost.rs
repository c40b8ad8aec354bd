//! What a request costs where characters or bytes are counted.
//!
//! Characters are those of the texts that the profile names, in a JSON body, which is recognised by its first byte. At most
//! [`BOUND`] bytes are read for it before the request goes out, and the body then goes out unchanged. A JSON body that is
//! larger, or one that is coded, is charged its length in bytes, which is never less than its characters: the one that
//! was announced, or else what was read. What has no text costs nothing.
//!
//! Bytes are those that Content-Length announces. A body that announces none is read up to the bound; if that is all, it is
//! charged so, and otherwise what follows is charged as it comes, and the request ends where the limit does.

use crate::canon::{Fault, Profile};
use crate::config::types::Cost;
use crate::proxy::RequestBody;
use crate::proxy::request_body::Ahead;
use http::{HeaderMap, header};

/// Most bytes of a body that are read before it goes out.
pub(crate) const BOUND: usize = 64 * 1024;

/// The costs of one request, each found out once.
pub(super) struct Costs<'a> {
    profile: &'a Profile,
    headers: &'a HeaderMap,
    characters: Option<u64>,
}

impl<'a> Costs<'a> {
    pub(super) fn new(profile: &'a Profile, headers: &'a HeaderMap) -> Costs<'a> {
        Costs { profile, headers, characters: None }
    }

    /// What the request costs; and whether more of its body is still to be charged.
    pub(super) async fn of(&mut self, cost: Cost, upload: &mut RequestBody) -> Result<(u64, bool), Fault> {
        match (cost, upload.length(), self.characters) {
            (Cost::Requests, _, _) => Ok((1, false)),
            (Cost::BodyBytes, Some(length), _) => Ok((length, false)),
            (Cost::BodyBytes, None, _) => {
                let ahead = upload.read_ahead(BOUND).await?;
                Ok((ahead.bytes.len() as u64, !ahead.whole))
            }
            (Cost::TextCharacters, _, Some(characters)) => Ok((characters, false)),
            (Cost::TextCharacters, length, None) => {
                let ahead = upload.read_ahead(BOUND).await?;
                let characters = self.characters(&ahead, length);
                self.characters = Some(characters);
                Ok((characters, false))
            }
        }
    }

    fn characters(&self, ahead: &Ahead, length: Option<u64>) -> u64 {
        let json = ahead.bytes.trim_ascii_start().first().is_some_and(|first| matches!(first, b'{' | b'['));
        let all = length.unwrap_or(ahead.bytes.len() as u64);
        let coded = self.headers.contains_key(header::CONTENT_ENCODING);
        match (coded || json && !ahead.whole, json) {
            (true, _) => all,
            (false, true) => serde_json::from_slice(&ahead.bytes).map_or(0, |body| self.profile.characters(&body)),
            (false, false) => 0,
        }
    }
}
