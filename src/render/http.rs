//! An error as an HTTP answer: status, headers, body.

use crate::canon::envelope::{self, Compatible, Stamp};
use crate::canon::{CanonicalError, Evidence, Phase, Profile};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

/// The form that the route or the client asks for.
#[derive(Clone, Copy, Debug)]
pub enum Form<'a> {
    /// The envelope of the design.
    Canonical,
    /// RFC 9457.
    Problem,
    /// The provider's own shape with the canonical object added; with what the provider answered, if it did.
    Compatible(&'a Profile, Option<&'a Evidence<'a>>),
}

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_ERROR_CODE: HeaderName = HeaderName::from_static("x-error-code");
const X_ERROR_TYPE: HeaderName = HeaderName::from_static("x-error-type");
const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
pub(super) const X_GATEWAY_ERROR: HeaderName = HeaderName::from_static("x-gateway-error");
pub(super) const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Largest canonical object that travels in a header, for bodies that have no place for it.
const HEADER_LIMIT: usize = 4096;

/// The whole answer. `received` are the provider's header fields, hop-by-hop ones removed; they stay unless they
/// described the old body.
#[must_use]
pub fn response(
    error: &CanonicalError,
    stamp: &Stamp<'_>,
    form: Form<'_>,
    received: Option<HeaderMap>,
) -> Response<Vec<u8>> {
    let mut headers = received.unwrap_or_default();
    let provider_wait = headers.remove(header::RETRY_AFTER);
    // Of a range that is not there, the length of what is there is all that the client can use (RFC 9110 15.5.17).
    let range = headers.remove(header::CONTENT_RANGE);
    let range = range.filter(|_| error.upstream.as_ref().is_some_and(|upstream| upstream.status == Some(416)));
    let provider_type = forget_the_old_body(&mut headers);
    headers.extend(range.map(|range| (header::CONTENT_RANGE, range)));
    let mut status = error.status();
    let (body, content_type) = match form {
        Form::Canonical => (envelope::canonical(error, stamp), JSON),
        Form::Problem => (envelope::problem(error, stamp), PROBLEM_JSON),
        Form::Compatible(profile, evidence) => {
            status = envelope::compatible_status(profile, error);
            compatible(error, stamp, profile, evidence, &mut headers, provider_type)
        }
    };
    let _ = headers.insert(header::CONTENT_TYPE, content_type);
    let _ = headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    // An answer that came from the provider has it already.
    if headers.get(X_REQUEST_ID).is_none_or(|id| id != stamp.request_id)
        && let Ok(id) = HeaderValue::from_str(stamp.request_id)
    {
        let _ = headers.insert(X_REQUEST_ID, id);
    }
    describe(error, &mut headers);
    // On a compatible route a wait that the provider put elsewhere must not make its SDK sleep.
    let wait = match form {
        Form::Compatible(_, Some(_)) => provider_wait,
        Form::Canonical | Form::Problem | Form::Compatible(_, None) => {
            error.retry_after.map(|wait| HeaderValue::from(whole_seconds(wait)))
        }
    };
    if let Some(wait) = wait {
        let _ = headers.insert(header::RETRY_AFTER, wait);
    }
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    *response.headers_mut() = headers;
    response
}

fn compatible(
    error: &CanonicalError,
    stamp: &Stamp<'_>,
    profile: &Profile,
    evidence: Option<&Evidence<'_>>,
    headers: &mut HeaderMap,
    provider_type: Option<HeaderValue>,
) -> (Vec<u8>, HeaderValue) {
    let Some(evidence) = evidence else { return (envelope::native(profile, Phase::Http, error, stamp), JSON) };
    match envelope::compatible(profile, error, stamp, evidence) {
        Compatible::Json(body) => (body, provider_type.filter(is_json).unwrap_or(JSON)),
        Compatible::AsItIs => {
            let bare = Stamp { upstream_body: false, ..*stamp };
            if let Some(value) = ascii_json(&envelope::object(error, &bare), HEADER_LIMIT) {
                let _ = headers.insert(X_GATEWAY_ERROR, value);
            }
            let as_it_was = provider_type.unwrap_or(HeaderValue::from_static("text/plain; charset=utf-8"));
            (evidence.raw().to_vec(), as_it_was)
        }
    }
}

/// Removes what described the body that is replaced, or framed it (RFC 9110 8, 9530), and gives its type.
pub(super) fn forget_the_old_body(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let _ = headers.remove(header::CONTENT_LENGTH);
    let content_type = headers.remove(header::CONTENT_TYPE);
    // Nearly never is there any of the others, so that this is one look at each name.
    let old: Vec<HeaderName> = headers.keys().filter(|name| is_of_a_body(name.as_str())).cloned().collect();
    for name in old {
        let _ = headers.remove(name);
    }
    content_type
}

fn is_of_a_body(name: &str) -> bool {
    matches!(
        name,
        "content-encoding"
            | "transfer-encoding"
            | "content-language"
            | "content-location"
            | "content-disposition"
            | "trailer"
            | "etag"
            | "last-modified"
            | "accept-ranges"
            | "content-md5"
            | "digest"
            | "content-digest"
            | "repr-digest"
    )
}

fn is_json(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(|value| value.contains("json"))
}

/// The headers that every error has, beside the request id.
pub fn describe(error: &CanonicalError, headers: &mut HeaderMap) {
    let _ = headers.insert(X_ERROR_CODE, HeaderValue::from_static(error.code.as_str()));
    let _ = headers.insert(X_ERROR_TYPE, HeaderValue::from_static(error.code.kind().as_str()));
    let retry = if error.retryable { "true" } else { "false" };
    let _ = headers.insert(X_SHOULD_RETRY, HeaderValue::from_static(retry));
    let _ = headers.append(PROXY_STATUS, proxy_status(error));
}

/// RFC 9209: the received status, or the type of what went wrong on the way.
fn proxy_status(error: &CanonicalError) -> HeaderValue {
    const BARE: HeaderValue = HeaderValue::from_static("speechgate");
    let received = error.upstream.as_ref().and_then(|upstream| upstream.status);
    match (error.fault, received) {
        (Some(fault), _) => HeaderValue::from_static(fault.proxy_status_line()),
        (None, Some(status)) => HeaderValue::try_from(format!("speechgate; received-status={status}")).unwrap_or(BARE),
        (None, None) => BARE,
    }
}

fn whole_seconds(wait: std::time::Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// JSON with everything outside ASCII escaped, so that it can be a field value; none when it is too long.
pub(super) fn ascii_json(object: &[u8], most: usize) -> Option<HeaderValue> {
    let text = std::str::from_utf8(object).ok()?;
    let mut ascii = String::with_capacity(text.len());
    for char in text.chars() {
        if matches!(char, ' '..='~') {
            ascii.push(char);
        } else {
            let mut units = [0; 2];
            for unit in char.encode_utf16(&mut units) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    if ascii.len() > most {
        return None;
    }
    HeaderValue::try_from(ascii).ok()
}
