//! What a request costs where characters or bytes are counted.
//!
//! Characters are those of the texts that the profile names, in a JSON body (`request_body::text` says how it is read). At most
//! [`BOUND`] bytes are read for it before the request goes out, and the body then goes out unchanged. What is larger costs the length
//! that was announced, or else what was read, and the rest as it comes.
//!
//! Bytes are those of Content-Length. A body without one is read up to the bound; if it ends there, that is the cost, and
//! otherwise the rest is charged as it comes, and the request fails where the limit is reached.

use super::subject::Subject;
use crate::canon::{Fault, Profile};
use crate::config::types::Cost;
use crate::proxy::RequestBody;
use crate::proxy::request_body::{Ahead, Content, Kind};
use bytes::Bytes;
use http::HeaderMap;

/// Most bytes of a body that are read before it goes out.
pub(crate) const BOUND: usize = 64 * 1024;

/// The costs of one request, each found out once.
pub(super) struct Costs<'a> {
    profile: &'a Profile,
    headers: &'a HeaderMap,
    /// The request is a generation by itself.
    generation: bool,
    /// Characters, and whether the rest of the body is charged as it comes.
    characters: Option<(u64, bool)>,
}

impl<'a> Costs<'a> {
    pub(super) fn new(profile: &'a Profile, subject: &Subject<'a>) -> Costs<'a> {
        Costs { profile, headers: subject.headers, generation: subject.generation, characters: None }
    }

    /// What the request costs; and whether more of its body is still to be charged.
    pub(super) async fn of(&mut self, cost: Cost, upload: &mut RequestBody) -> Result<(u64, bool), Fault> {
        match (cost, self.characters) {
            (Cost::Requests, _) => Ok((1, false)),
            // One second is asked for; the rest is taken when it is known.
            (Cost::AudioSeconds, _) => Ok((u64::from(self.generation), false)),
            (Cost::BodyBytes, _) => match upload.length() {
                Some(length) => Ok((length, false)),
                None => {
                    let ahead = upload.read_ahead(BOUND).await?;
                    Ok((ahead.bytes.len() as u64, !ahead.whole))
                }
            },
            (Cost::TextCharacters, Some(known)) => Ok(known),
            (Cost::TextCharacters, None) => {
                let length = upload.length();
                let ahead = upload.read_ahead(BOUND).await?;
                let known = self.characters_of(ahead, length);
                self.characters = Some(known);
                Ok(known)
            }
        }
    }

    fn characters_of(&self, ahead: Ahead, length: Option<u64>) -> (u64, bool) {
        let read = length.unwrap_or(ahead.bytes.len() as u64);
        let kind = Kind::of(self.headers);
        match kind.read(Bytes::from(ahead.bytes), ahead.whole, read, |body| self.profile.characters(body)) {
            Content::NoText => (0, false),
            Content::Read(characters) => (characters, false),
            // What was decoded of a part says nothing of the whole.
            Content::Unread(_) if !ahead.whole => (read, length.is_none()),
            Content::Unread(length) => (length, false),
        }
    }
}
