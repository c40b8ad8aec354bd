//! Messages as each version of HTTP wants them, and heads of answers that cannot be trusted.

use super::failure::Failure;
use crate::canon::Fault;
use crate::config::types::Upstream;
use crate::wire::hop::{CONNECTION_SPECIFIC, trim};
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, Version};

/// RFC 9110 9.2.2
pub(super) fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE)
}

/// Origin-form and Host. Both are there unless the request has been prepared for HTTP/2 before.
pub(super) fn for_http1<B: http_body::Body>(request: &mut Request<B>) {
    *request.version_mut() = Version::HTTP_11;
    if !request.body().is_end_stream() && request.body().size_hint().exact().is_none() {
        // hyper sends no body with GET and HEAD whose length nobody announced, unless it is told how.
        let announced = request.headers().contains_key(header::CONTENT_LENGTH);
        if !announced {
            let _ = request.headers_mut().insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
    let Some(authority) = request.uri().authority().cloned() else { return };
    if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
        request.headers_mut().entry(header::HOST).or_insert(host);
    }
    *request.uri_mut() = Uri::from(target(request.uri()));
}

/// `:scheme` and `:authority` in place of Host, and nothing that HTTP/2 forbids (RFC 9113 8.2.2).
pub(super) fn for_http2<B>(request: &mut Request<B>, upstream: &Upstream) {
    *request.version_mut() = Version::HTTP_2;
    let host = request.headers_mut().remove(header::HOST);
    let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(if upstream.tls { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(authority.unwrap_or_else(|| upstream.authority.clone()));
    parts.path_and_query = Some(target(request.uri()));
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    let headers = request.headers_mut();
    for name in &CONNECTION_SPECIFIC {
        headers.remove(name);
    }
    for value in headers.values_mut() {
        trim(value);
    }
    if headers.get(header::TE).is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"trailers")) {
        headers.remove(header::TE);
    }
}

fn target(uri: &Uri) -> PathAndQuery {
    uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
}

/// Refuses heads whose framing two readers could take differently, which hyper does not do. The one owner of the framing of
/// answers: nothing above sees two readings.
pub(super) fn checked<B>(mut response: Response<B>, upgrade: bool) -> Result<Response<B>, Failure> {
    let invalid = |what| Failure::new(Fault::ResponseHeadInvalid, what);
    if response.status() == StatusCode::SWITCHING_PROTOCOLS && !upgrade {
        return Err(invalid("101 to a request that did not ask for it"));
    }
    if response.version() == Version::HTTP_2 && is_too_large(response.headers()) {
        return Err(Failure::new(Fault::ResponseHeadTooLarge, "the header section is too large"));
    }
    let headers = response.headers_mut();
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") || codings.next().is_some() {
            return Err(invalid("a transfer coding that was not asked for"));
        }
        if headers.contains_key(header::CONTENT_LENGTH) {
            return Err(invalid("both Transfer-Encoding and Content-Length"));
        }
    }
    one_length(headers).map_err(invalid)?;
    Ok(response)
}

/// Whether a header or trailer section of HTTP/2 is larger than is taken, as it is counted there (RFC 9113 6.5.2). HTTP/1 has bounds of
/// its own.
pub(super) fn is_too_large(fields: &HeaderMap) -> bool {
    fields.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD).sum::<usize>() > MOST_FIELDS
}

/// Largest header section of an answer, and largest trailer section.
const MOST_FIELDS: usize = 64 * 1024;
/// What a field counts for beyond its name and value.
const FIELD: usize = 32;

/// Makes one Content-Length of several that agree.
fn one_length(headers: &mut HeaderMap) -> Result<(), &'static str> {
    let (mut length, mut seen) = (None, 0);
    for value in headers.get_all(header::CONTENT_LENGTH) {
        for one in value.as_bytes().split(|byte| *byte == b',') {
            let one = one.trim_ascii();
            let digits = !one.is_empty() && one.iter().all(u8::is_ascii_digit);
            if !digits || length.is_some_and(|known: &[u8]| known != one) {
                return Err("a Content-Length that is not one number");
            }
            (length, seen) = (Some(one), seen + 1);
        }
    }
    if seen > 1
        && let Some(Ok(length)) = length.map(HeaderValue::from_bytes)
    {
        headers.insert(header::CONTENT_LENGTH, length);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_framing_of_an_answer_has_one_reading_or_none() {
        for (fields, expected) in [
            (&[][..], Ok(None)),
            (&[("transfer-encoding", "chunked")], Ok(None)),
            (&[("transfer-encoding", "Chunked")], Ok(None)),
            (&[("content-length", "5")], Ok(Some("5"))),
            // Equal lengths said twice are one (RFC 9110 8.6).
            (&[("content-length", "5"), ("content-length", "5")], Ok(Some("5"))),
            (&[("content-length", "5, 5")], Ok(Some("5"))),
            (&[("content-length", "5, 6")], Err(())),
            (&[("content-length", "5"), ("content-length", "6")], Err(())),
            (&[("content-length", "5x")], Err(())),
            (&[("content-length", "+5")], Err(())),
            (&[("content-length", "")], Err(())),
            (&[("transfer-encoding", "gzip, chunked")], Err(())),
            (&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], Err(())),
            (&[("transfer-encoding", "chunked"), ("content-length", "5")], Err(())),
        ] {
            let mut response = Response::new(());
            for (name, value) in fields {
                let _ = response.headers_mut().append(*name, HeaderValue::from_static(value));
            }
            let found = checked(response, false).map_err(|failure| {
                assert_eq!(failure.fault, Fault::ResponseHeadInvalid, "{fields:?}");
            });
            let length = found.map(|response| {
                let all: Vec<_> = response.headers().get_all(header::CONTENT_LENGTH).iter().cloned().collect();
                assert!(all.len() <= 1, "{all:?}");
                all.first().map(|length| length.to_str().expect("text").to_owned())
            });
            assert_eq!(length, expected.map(|length| length.map(str::to_owned)), "{fields:?}");
        }
    }
}
