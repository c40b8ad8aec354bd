//! Header fields that concern one connection and are never forwarded.

use http::header::{CONNECTION, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue};

/// The connection-specific fields: hop-by-hop in HTTP/1.1 (RFC 9110 7.6.1), forbidden in HTTP/2 (RFC 9113 8.2.2). This is their only
/// list: what more a proxy removes, and what an operator may not set, builds on it.
pub static CONNECTION_SPECIFIC: [HeaderName; 5] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Takes away the white space around a value. With it a request is malformed (RFC 9113 8.2.1), and a provider may end the connection
/// for it, on which the calls of other clients are.
pub fn trim(value: &mut HeaderValue) {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if !is_space(value.as_bytes().first()) && !is_space(value.as_bytes().last()) {
        return;
    }
    // What is left of a value is one.
    if let Ok(mut trimmed) = HeaderValue::from_bytes(value.as_bytes().trim_ascii()) {
        trimmed.set_sensitive(value.is_sensitive());
        *value = trimmed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client of HTTP/2 could have the connection ended that it shared with others.
    #[test]
    fn no_value_has_white_space_around_it() {
        for (sent, expected) in [
            (" y", "y"),
            ("y ", "y"),
            ("\t y z \t", "y z"),
            (" ", ""),
            ("\t", ""),
            ("", ""),
            ("y", "y"),
            ("a b", "a b"),
        ] {
            for sensitive in [false, true] {
                let mut value = HeaderValue::from_static(sent);
                value.set_sensitive(sensitive);
                trim(&mut value);
                assert_eq!((value.as_bytes(), value.is_sensitive()), (expected.as_bytes(), sensitive), "{sent:?}");
            }
        }
    }
}
