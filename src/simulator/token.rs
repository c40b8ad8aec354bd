//! How a client asks for a failure: the token `fault-<name>` anywhere in its request.
//!
//! Official SDKs give little room, but each sends an id, a model or a text that the client chose; so the token counts wherever it stands:
//! in a path segment, a query value, a header, or anywhere in the body (a JSON string, a form field, a part of a multipart body).
//! The header `x-speechgate-fault: <name>` wins over all of them.

use super::uri::percent_decode;
use http::request::Parts;
use memchr::memmem;

/// The header that names a failure.
pub const HEADER: &str = "x-speechgate-fault";

/// As much of a body as is searched.
pub(crate) const SEARCHED: usize = 1024 * 1024;

const TOKEN: &[u8] = b"fault-";

/// The name that the request asks for.
pub(crate) fn requested(parts: &Parts, body: &[u8]) -> Option<String> {
    if let Some(name) = parts.headers.get(HEADER) {
        let name = String::from_utf8_lossy(name.as_bytes()).trim().to_owned();
        return Some(name.strip_prefix("fault-").map(str::to_owned).unwrap_or(name));
    }
    let target = percent_decode(parts.uri.path_and_query().map_or("", |target| target.as_str()));
    find(&target)
        .or_else(|| parts.headers.values().find_map(|value| find(value.as_bytes())))
        .or_else(|| find(&body[..body.len().min(SEARCHED)]))
}

/// The name after the first `fault-` that does not continue a word (`default-voice` is none).
pub(crate) fn find(text: &[u8]) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    for at in memmem::find_iter(&lower, TOKEN) {
        if at > 0 && text[at - 1].is_ascii_alphanumeric() {
            continue;
        }
        let rest = &text[at + TOKEN.len()..];
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-+".contains(byte);
        let name: String = rest.iter().take_while(|byte| is_name(byte)).map(|byte| char::from(*byte)).collect();
        if !name.is_empty() {
            return Some(name);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(target: &str, header: Option<(&str, &str)>, body: &str) -> Option<String> {
        let mut request = http::Request::get(target);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        requested(&request.body(()).unwrap().into_parts().0, body.as_bytes())
    }

    #[test]
    fn the_token_counts_wherever_it_stands() {
        let cases = [
            (asked("/v1/x/fault-quota_exceeded/stream", None, ""), Some("quota_exceeded")),
            (asked("/v1/x/fault-only_for_creator%2B?y=1", None, ""), Some("only_for_creator+")),
            (asked("/v1/x?model=FAULT-a-b&z", None, ""), Some("a-b")),
            (asked("/v1/x?text=say%20fault-a", None, ""), Some("a")),
            (asked("/", Some(("x-model", "fault-null")), ""), Some("null")),
            (asked("/fault-path", Some((HEADER, "BAD_REQUEST")), "fault-body"), Some("BAD_REQUEST")),
            (asked("/", Some((HEADER, "fault-X")), ""), Some("X")),
            (asked("/", None, r#"{"voice":{"id":"fault-mid-null"}}"#), Some("mid-null")),
            (asked("/", None, "--b\r\ncontent-disposition: form-data; name=\"m\"\r\n\r\nfault-x\r\n"), Some("x")),
            (asked("/", None, "client_id=fault-invalid_client&x=1"), Some("invalid_client")),
            (asked("/", None, "run_fault--32001."), Some("-32001")),
            (asked("/default-voice?default-x", None, "default-fault- fault-"), None),
        ];
        for (got, expected) in cases {
            assert_eq!(got.as_deref(), expected);
        }
    }
}
