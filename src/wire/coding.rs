//! The names of content codings (RFC 9110 8.4.1), and which coding of a stream can be undone.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// One content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `gzip`
    Gzip,
    /// `deflate`
    Deflate,
    /// `br`
    Brotli,
    /// `zstd`
    Zstd,
}

impl Coding {
    /// The coding of this name, in lower case.
    #[must_use]
    pub fn named(name: &str) -> Option<Coding> {
        Some(match name {
            "gzip" | "x-gzip" => Coding::Gzip,
            "deflate" => Coding::Deflate,
            "br" => Coding::Brotli,
            "zstd" => Coding::Zstd,
            _ => return None,
        })
    }
}

/// The coding of a streamed body, if it has one that can be undone piece by piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamCoding(Option<Coding>);

impl StreamCoding {
    /// The coding that these headers announce. None if it must not or cannot be undone here: it is unknown, there are several,
    /// or the sender wants nobody to change it (RFC 9110 7.7).
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<StreamCoding> {
        let mut named = None;
        for name in items(headers, &header::CONTENT_ENCODING).filter(|name| !name.eq_ignore_ascii_case(b"identity")) {
            if named.replace(name).is_some() {
                return None;
            }
        }
        let Some(name) = named else { return Some(StreamCoding(None)) };
        let coding = Coding::named(&str::from_utf8(name).ok()?.to_ascii_lowercase())?;
        let fixed = items(headers, &header::CACHE_CONTROL).any(|item| item.eq_ignore_ascii_case(b"no-transform"));
        (!fixed).then_some(StreamCoding(Some(coding)))
    }

    /// The coding itself; none where there is nothing to undo.
    #[must_use]
    pub fn coding(self) -> Option<Coding> {
        self.0
    }

    /// Takes out of the headers what no longer holds once the coding is undone.
    pub fn undo(self, headers: &mut HeaderMap) {
        let _ = headers.remove(header::CONTENT_ENCODING);
        if self.0.is_some() {
            remove_validators(headers);
        }
    }
}

/// The items of a list field, on however many lines.
fn items<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> + use<'h> {
    let lines = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    lines.flat_map(|line| line.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii).filter(|item| !item.is_empty())
}

/// Removes the fields that speak of the bytes of a body as they came: its length, its ETag, its digests (RFC 9110 8.8, RFC 9530). None of
/// them outlives a change of the body.
pub fn remove_validators(headers: &mut HeaderMap) {
    for name in OF_THE_BYTES {
        let _ = headers.remove(name);
    }
}

const OF_THE_BYTES: [HeaderName; 7] = [
    header::CONTENT_LENGTH,
    header::ETAG,
    header::ACCEPT_RANGES,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];
