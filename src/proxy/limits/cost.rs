//! What a request costs where characters or bytes are counted.
//!
//! Characters are those of the texts that the profile names, in a JSON body. At most [`BOUND`] bytes are read for it before the
//! request goes out, and the body then goes out unchanged; a coded one is decoded for it, within [`DECODED`]. It is read as
//! leniently as errors are: other parsers take lone surrogates, `NaN` and deep nesting too. What begins like JSON, or says that it
//! is, and cannot be read even so costs its length in bytes, which is never less than its characters: other
//! parsers take what this one does not. So does what is larger than the bound: the length that was announced, or else what was
//! read, and the rest as it comes. What is no JSON has no text and costs nothing.
//!
//! Bytes are those of Content-Length. A body without one is read up to the bound; if it ends there, that is the cost, and
//! otherwise the rest is charged as it comes, and the request fails where the limit is reached.

use super::subject::Subject;
use crate::canon::{Fault, Profile, read_json};
use crate::config::types::Cost;
use crate::proxy::RequestBody;
use crate::proxy::request_body::Ahead;
use crate::upstream::decode;
use bytes::Bytes;
use http::{HeaderMap, header};

/// Most bytes of a body that are read before it goes out.
pub(crate) const BOUND: usize = 64 * 1024;

/// Most bytes that a coded body is decoded to, in order to be read.
const DECODED: usize = 1024 * 1024;
/// The byte order mark: some senders begin UTF-8 with it, and some parsers accept that.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

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
        match (cost, upload.length(), self.characters) {
            (Cost::Requests, _, _) => Ok((1, false)),
            // One second is asked for; the rest is taken when it is known.
            (Cost::AudioSeconds, _, _) => Ok((u64::from(self.generation), false)),
            (Cost::BodyBytes, Some(length), _) => Ok((length, false)),
            (Cost::BodyBytes, None, _) => {
                let ahead = upload.read_ahead(BOUND).await?;
                Ok((ahead.bytes.len() as u64, !ahead.whole))
            }
            (Cost::TextCharacters, _, Some(known)) => Ok(known),
            (Cost::TextCharacters, length, None) => {
                let ahead = upload.read_ahead(BOUND).await?;
                let known = self.characters_of(ahead, length);
                self.characters = Some(known);
                Ok(known)
            }
        }
    }

    fn characters_of(&self, ahead: Ahead, length: Option<u64>) -> (u64, bool) {
        let read = ahead.bytes.len() as u64;
        let encoding = self.headers.get(header::CONTENT_ENCODING);
        let decoded = decode(Bytes::from(ahead.bytes), encoding, DECODED);
        let body = decoded.bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&decoded.bytes);
        let says_json = || {
            let media_type =
                self.headers.get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes).unwrap_or_default();
            media_type.windows(4).any(|part| part.eq_ignore_ascii_case(b"json"))
        };
        let json = body.trim_ascii_start().first().is_some_and(|first| matches!(first, b'{' | b'[')) || says_json();
        let unreadable = encoding.is_some() && decoded.undecodable;
        if !(json || unreadable) {
            return (0, false);
        }
        if !ahead.whole {
            return (length.unwrap_or(read), length.is_none());
        }
        let known = if decoded.undecodable || decoded.truncated { None } else { read_json(body) };
        let unread = length.unwrap_or(read).max(decoded.bytes.len() as u64);
        (known.map_or(unread, |body| self.profile.characters(&body)), false)
    }
}
