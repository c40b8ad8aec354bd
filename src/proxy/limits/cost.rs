//! The cost of a request for limits that count characters or bytes.
//!
//! Characters are those of the texts that the profile names, in a JSON body (`request_body::text` says how it is read). At most
//! [`BOUND`] bytes are read before the request is sent, and the body is then sent unchanged. A larger body costs its declared
//! length, or else the bytes read so far, and the rest as it arrives.
//!
//! Bytes are those of Content-Length. A body without it is read up to the bound; if it ends there, that is the cost, and
//! otherwise the rest is charged as it arrives, and the request fails when the limit is reached.

use super::subject::Subject;
use crate::canon::{Fault, Profile};
use crate::config::types::Cost;
use crate::proxy::RequestBody;
use crate::proxy::request_body::{Ahead, Content, Kind};
use bytes::Bytes;
use http::HeaderMap;

/// Most bytes of a body that are read before it is sent.
pub(crate) const BOUND: usize = 64 * 1024;

/// The costs of one request, each determined once.
pub(super) struct Costs<'a> {
    profile: &'a Profile,
    headers: &'a HeaderMap,
    /// Whether the request is itself a generation.
    generation: bool,
    /// Characters, and whether the rest of the body is charged as it arrives.
    characters: Option<(u64, bool)>,
}

impl<'a> Costs<'a> {
    pub(super) fn new(profile: &'a Profile, subject: &Subject<'a>) -> Costs<'a> {
        Costs { profile, headers: subject.headers, generation: subject.generation, characters: None }
    }

    /// The cost of the request, and whether more of its body is charged later.
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
            // The decoded size of a part says nothing about the whole.
            Content::Unread(_) if !ahead.whole => (read, length.is_none()),
            Content::Unread(length) => (length, false),
        }
    }
}
