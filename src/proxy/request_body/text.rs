//! Extracts the text of a request body, and decides what a body is charged that cannot be read.
//!
//! Reading is as lenient as for errors, because other parsers also accept lone surrogates, `NaN` and deep nesting. A body with a
//! content coding is decoded, within [`DECODED`]. A body that looks like JSON or is declared as JSON, but cannot be read, is
//! charged its length in bytes, encoded or decoded, whichever is more: that is never less than its characters, and other parsers
//! may accept what this one does not. So is a body larger than the reader's bound. A body that is not JSON has no text and is not
//! charged.

use crate::canon::{Json, read_json};
use crate::upstream::decode;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

/// Most bytes that a body with a content coding is decoded to.
const DECODED: usize = 1024 * 1024;
/// The byte order mark: some senders begin UTF-8 with it, and some parsers accept that.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What the request's head says about its body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kind {
    encoding: Option<HeaderValue>,
    says_json: bool,
}

/// The readable content of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content<T> {
    /// It has no text.
    NoText,
    /// What was read.
    Read(T),
    /// It has text that cannot be read, of at most this length.
    Unread(u64),
}

impl Kind {
    pub(crate) fn of(headers: &HeaderMap) -> Kind {
        let media_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        Kind {
            encoding: headers.get(header::CONTENT_ENCODING).cloned(),
            says_json: memchr::memchr2_iter(b'j', b'J', media_type)
                .any(|at| media_type.get(at..at + 4).is_some_and(|part| part.eq_ignore_ascii_case(b"json"))),
        }
    }

    /// Whether a body with this beginning may be JSON; one with a content coding always may.
    pub(crate) fn may_be_json(&self, bytes: &[u8]) -> bool {
        self.says_json || self.encoding.is_some() || begins_json(bytes, false)
    }

    /// Reads a body of this length, of which these bytes have arrived; `whole`: nothing more follows.
    pub(crate) fn read<T>(
        &self,
        bytes: Bytes,
        whole: bool,
        length: u64,
        read: impl FnOnce(&Json<'_>) -> T,
    ) -> Content<T> {
        let decoded = decode(bytes, self.encoding.as_ref(), DECODED);
        let body = decoded.bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&decoded.bytes);
        let undecodable = self.encoding.is_some() && decoded.undecodable;
        if !(self.says_json || undecodable || begins_json(body, whole)) {
            return Content::NoText;
        }
        let readable = whole && !decoded.undecodable && !decoded.truncated;
        match readable.then(|| read_json(body)).flatten() {
            Some(body) => Content::Read(read(&body)),
            None => Content::Unread(length.max(decoded.bytes.len() as u64)),
        }
    }
}

/// Whether a body begins like JSON or, if incomplete, still may: white space and byte order marks decide nothing.
fn begins_json(bytes: &[u8], whole: bool) -> bool {
    let body = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let goes_on = !whole && (body.trim_ascii_start().is_empty() || BYTE_ORDER_MARK.starts_with(body));
    goes_on || body.trim_ascii_start().first().is_some_and(|first| matches!(first, b'{' | b'['))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(fields: &[(&'static str, &'static str)]) -> Kind {
        let fields =
            fields.iter().map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)));
        Kind::of(&fields.collect())
    }

    #[test]
    fn unreadable_bodies_cost_their_length() {
        let json = [("content-type", "application/json")];
        let gzip = [("content-encoding", "gzip")];
        let padded = [&[b' '; 70_000][..], b"{"].concat();
        for (name, kind, bytes, whole, expected) in [
            ("JSON", kind(&[]), &b" {\"text\":\"abc\"}"[..], true, Content::Read(3)),
            ("its beginning", kind(&[]), b"{\"te", false, Content::Unread(99)),
            ("its padding", kind(&[]), &padded[..65_536], false, Content::Unread(65_536)),
            ("padding and no more", kind(&[]), b"   ", true, Content::NoText),
            ("broken JSON", kind(&[]), b"{\"text\":", true, Content::Unread(99)),
            ("what says that it is JSON", kind(&json), b"text", true, Content::Unread(99)),
            ("audio", kind(&[]), b"RIFF\xff\xff", false, Content::NoText),
            ("what cannot be decoded", kind(&gzip), b"\x1f\x8b\x08broken", true, Content::Unread(99)),
        ] {
            let read = kind.read(Bytes::copy_from_slice(bytes), whole, 99, |body| {
                let Json::Object(members) = body else { panic!("{body:?}") };
                members.get("text").and_then(Json::as_text).unwrap_or_default().len() as u64
            });
            assert_eq!(read, expected, "{name}");
        }
    }

    #[test]
    fn white_space_in_a_piece_of_its_own_does_not_end_the_reading() {
        for (bytes, may) in
            [(&b" "[..], true), (b"\xef\xbb", true), (b"", true), (b" {", true), (b"RI", false), (b" a", false)]
        {
            assert_eq!(kind(&[]).may_be_json(bytes), may, "{bytes:?}");
        }
    }
}
