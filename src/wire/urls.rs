//! Header fields of answers that hold URLs, which clients follow.

use http::HeaderName;

/// How a field holds URLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// It is one, absolute or relative.
    Url,
    /// `<…>; rel="next", <…>` (RFC 8288 3).
    Links,
    /// `5; url=…` (HTML, shared declarative refresh steps).
    Refresh,
}

/// How a field of this name holds URLs; none when it holds none. This is the only list of them: what leads clients back here, and what a
/// client may see its own key in, builds on it.
#[must_use]
pub fn holds(name: &HeaderName) -> Option<Holds> {
    match name.as_str().as_bytes() {
        b"location" | b"content-location" | b"sourcemap" | b"x-sourcemap" => Some(Holds::Url),
        // Where a job that goes on is asked for, in the words of Azure; where an upload goes on, in those of Google.
        b"operation-location" | b"azure-asyncoperation" | b"x-goog-upload-url" | b"x-goog-upload-control-url" => {
            Some(Holds::Url)
        }
        b"link" => Some(Holds::Links),
        b"refresh" => Some(Holds::Refresh),
        _ => None,
    }
}
