//! Single values as they are written, read: durations, sizes, addresses, URLs, paths, templates.
//!
//! Each reader gives the value, or says what it expected.

use super::types::{AccessField, Listen, Protocol, Upstream};
use crate::wire::hop::CONNECTION_SPECIFIC;
use http::uri::{Authority, Scheme};
use http::{HeaderName, Uri};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// What was expected instead.
pub(super) type Expected = String;

/// Longer than any deadline makes sense; clocks can add it without overflowing.
const MAX_DURATION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// `30s`, `5m`, `250ms`, `1h 30m`.
pub(super) fn duration(text: &str) -> Result<Duration, Expected> {
    let expected = || {
        "a duration such as `30s`, `5m` or `250ms` (units `ms`, `s`, `m`, `h` and `d`), of at most 30 days".to_owned()
    };
    let duration = humantime::parse_duration(text.trim()).map_err(|_| expected())?;
    if duration > MAX_DURATION { Err(expected()) } else { Ok(duration) }
}

/// A duration that is not zero.
pub(super) fn positive_duration(text: &str) -> Result<Duration, Expected> {
    let duration = duration(text)?;
    if duration.is_zero() { Err("a duration longer than zero".to_owned()) } else { Ok(duration) }
}

/// How long a lease may be: short enough that slots come back, long enough to be renewed in time.
pub(super) fn lease(text: &str) -> Result<Duration, Expected> {
    const FITS: std::ops::RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_secs(60);
    let lease = duration(text).ok().filter(|lease| FITS.contains(lease));
    lease.ok_or_else(|| "a duration from `500ms` to `60s`".to_owned())
}

/// What keys of a backend begin with.
pub(super) fn key_prefix(text: &str) -> Result<String, Expected> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(fits);
    if fits { Ok(text.to_owned()) } else { Err("1 to 64 letters, digits, `-`, `_`, `.` or `:`".to_owned()) }
}

/// `redis://[[user]:password@]host[:port][/database]`, the same with `rediss`, or `redis+unix:///path[?…]`.
pub(super) fn is_backend(text: &str) -> bool {
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains('#') {
        return false;
    }
    if let Some(path) = text.strip_prefix("redis+unix://") {
        return path.starts_with('/') && path.len() > 1;
    }
    let Some(rest) = text.strip_prefix("redis://").or_else(|| text.strip_prefix("rediss://")) else { return false };
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    host.parse::<Authority>().is_ok_and(|host| !host.host().is_empty()) && database.bytes().all(|b| b.is_ascii_digit())
}

/// `50MiB`, `32 KiB`, `1024`.
pub(super) fn size(text: &str) -> Result<u64, Expected> {
    let parsed = text.trim().parse::<bytesize::ByteSize>();
    parsed.map(|size| size.as_u64()).map_err(|_| "a size such as `50MiB`, `32KiB` or a number of bytes".to_owned())
}

/// `127.0.0.1:8080`, `[::1]:8080`, `unix:/run/speechgate.sock`.
///
/// # Errors
/// What was expected.
pub fn listen(text: &str) -> Result<Listen, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        // sun_path of sockaddr_un holds 108 bytes with the closing zero.
        return match path.len() {
            1..=107 if !path.contains('\0') => Ok(Listen::Unix(PathBuf::from(path))),
            0 => Err("a path after `unix:`".to_owned()),
            _ => Err("a socket path of at most 107 bytes".to_owned()),
        };
    }
    text.parse::<SocketAddr>().map(Listen::Tcp).map_err(|_| {
        "an IP address and a port such as `127.0.0.1:8080` or `[::]:8080`, or `unix:` and a path".to_owned()
    })
}

/// A URL whose host is an IPv6 address without its brackets (RFC 3986 3.2.2), as it would be right.
fn bare_ipv6(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    // The last part is taken for the port where the rest is an address without it.
    let whole = authority.parse::<std::net::Ipv6Addr>().ok().map(|address| format!("[{address}]"));
    let with_port = || {
        let (host, port) = authority.rsplit_once(':')?;
        let (address, _) = (host.parse::<std::net::Ipv6Addr>().ok()?, port.parse::<u16>().ok()?);
        Some(format!("[{address}]:{port}"))
    };
    Some(format!("{scheme}://{}{path}", with_port().or(whole)?))
}

/// An `http` or `https` URL without user, query and fragment.
pub(super) fn url(text: &str) -> Result<Uri, Expected> {
    let expected = || "a URL such as `https://api.example.com`".to_owned();
    if text.contains(['?', '#']) {
        return Err("a URL without query and fragment".to_owned());
    }
    if let Some(bracketed) = bare_ipv6(text) {
        return Err(format!("an IPv6 address in brackets, `{bracketed}`"));
    }
    let uri: Uri = text.parse().map_err(|_| expected())?;
    match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS => {}
        Some(_) => return Err("a URL that begins with `http://` or `https://`".to_owned()),
        None => return Err(expected()),
    }
    let authority = uri.authority().ok_or_else(expected)?;
    if authority.as_str().contains('@') {
        return Err("a URL without user and password; `credentials` is the place for them".to_owned());
    }
    host(authority.host())?;
    let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    match (port, authority.port_u16()) {
        ("", _) | (_, Some(1..)) => Ok(uri),
        _ => Err("a port from 1 to 65535".to_owned()),
    }
}

/// A URL that a code can stand behind: `https://example.com/errors`, `https://example.com/errors.md#`.
pub(super) fn docs_base(text: &str) -> Result<String, Expected> {
    let page = text.split(['?', '#']).next().unwrap_or_default();
    let whole = url(page).map(|_| text);
    if text.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
        return Err("a URL without spaces".to_owned());
    }
    whole.map(|text| if text.ends_with(['/', '#', '=']) { text.to_owned() } else { format!("{text}/") })
}

/// A provider's address; TLS settings are filled in later.
pub(super) fn upstream(text: &str) -> Result<Upstream, Expected> {
    let uri = url(text)?;
    let tls = uri.scheme() == Some(&Scheme::HTTPS);
    let default_port = if tls { 443 } else { 80 };
    let host = uri.host().unwrap_or_default().to_lowercase();
    let port = uri.port_u16().unwrap_or(default_port);
    let authority = if port == default_port { host.clone() } else { format!("{host}:{port}") };
    let authority = Authority::try_from(authority).map_err(|_| "a host name or an IP address".to_owned())?;
    Ok(Upstream {
        tls,
        host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        port,
        authority,
        base_path: prefix(uri.path())?,
        ca_file: None,
        client_certificate: None,
        protocol: Protocol::Auto,
    })
}

/// A path prefix: begins with `/`; comes back without a slash at its end, empty for `/`.
pub(super) fn prefix(text: &str) -> Result<String, Expected> {
    if !text.starts_with('/') {
        return Err("a path that begins with `/`".to_owned());
    }
    let path = text.trim_end_matches('/');
    if text.len() > path.len() + 1 || path.contains("//") {
        return Err("a path without empty segments".to_owned());
    }
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err("a path without `.` and `..` segments".to_owned());
    }
    if !path.bytes().all(is_plain) {
        return Err("a path of letters, digits and `-._~!$&'()*+,;=:@/`".to_owned());
    }
    Ok(path.to_owned())
}

/// A path with an optional query, as it stands in a request.
pub(super) fn target(text: &str) -> Result<String, Expected> {
    let expected = "a path such as `/health`, with a query or without";
    let parsed = text.parse::<http::uri::PathAndQuery>();
    let fits = text.starts_with('/') && !text.starts_with("//") && text.is_ascii() && !text.contains('#');
    match parsed {
        Ok(parsed) if fits && parsed.as_str() == text => Ok(text.to_owned()),
        _ => Err(expected.to_owned()),
    }
}

/// What may stand in a path unencoded (RFC 3986 3.3), and the slash.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte)
}

/// An origin as browsers write it (the Fetch standard), or `*`.
pub(super) fn origin(text: &str) -> Result<(), Expected> {
    let expected = "an origin such as `https://app.example.com`: scheme, host in lower case, port unless it is the usual one, no path";
    let Some((scheme, authority)) = text.split_once("://") else {
        return if matches!(text, "*" | "null") { Ok(()) } else { Err(expected.to_owned()) };
    };
    let lower = |text: &str| !text.is_empty() && !text.bytes().any(|byte| byte.is_ascii_uppercase());
    let is_authority = authority.parse::<http::uri::Authority>().is_ok_and(|parsed| parsed.as_str() == authority);
    let usual = matches!(scheme, "https" if authority.ends_with(":443"))
        || matches!(scheme, "http" if authority.ends_with(":80"));
    let fits = lower(scheme) && lower(authority) && is_authority && !authority.contains('@') && !usual;
    if fits { Ok(()) } else { Err(expected.to_owned()) }
}

/// A host name or address without a port, in lower case.
pub(super) fn host(text: &str) -> Result<String, Expected> {
    let expected = "a host name such as `api.example.com`, without a port";
    let address = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(address) = address {
        return match address.parse::<IpAddr>() {
            Ok(IpAddr::V6(_)) => Ok(text.to_lowercase()),
            Ok(IpAddr::V4(_)) | Err(_) => Err(expected.to_owned()),
        };
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if text.len() <= 253 && text.split('.').all(label) { Ok(text.to_lowercase()) } else { Err(expected.to_owned()) }
}

/// A name that is fit for labels, headers and logs.
///
/// # Errors
/// What was expected.
pub fn name(text: &str) -> Result<(), String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    let fits = (1..=64).contains(&text.len()) && plain;
    if fits { Ok(()) } else { Err("1 to 64 letters, digits, `-`, `_` and `.`".to_owned()) }
}

/// A token (RFC 9110 5.6.2).
pub(super) fn token(text: &str) -> Result<String, Expected> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_token) {
        true => Ok(text.to_owned()),
        false => Err("letters, digits and !#$%&'*+-.^_`|~ only".to_owned()),
    }
}

/// The name of a query parameter that needs no escapes.
pub(super) fn parameter(text: &str) -> Result<String, Expected> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err("a query parameter of letters, digits, `-`, `.`, `_` and `~`, such as `token`".to_owned()),
    }
}

/// The name of a member of a JSON object.
pub(super) fn member(text: &str) -> Result<String, Expected> {
    match !text.is_empty() && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err("the name of a member, such as `xi_api_key`".to_owned()),
    }
}

/// A header that an operator may set; those of framing and routing are not.
pub(super) fn header(text: &str) -> Result<HeaderName, Expected> {
    const REFUSED: [&str; 6] = ["content-length", "expect", "host", "te", "trailer", "via"];
    let name: HeaderName = text.parse().map_err(|_| "a header name such as `xi-api-key`".to_owned())?;
    if REFUSED.contains(&name.as_str()) || CONNECTION_SPECIFIC.contains(&name) {
        return Err("a header that is not part of HTTP's own framing".to_owned());
    }
    Ok(name)
}

/// Whether a header of this name holds a secret, as far as its name tells.
pub(super) fn holds_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["authorization", "cookie", "key", "password", "secret", "token"].iter().any(|word| name.contains(word))
}

/// A header whose value the operator may choose on the way of a request or an answer: none of framing, of a WebSocket's
/// handshake, or of this gateway's own.
pub(super) fn changed_header(text: &str) -> Result<HeaderName, Expected> {
    const OWN: [&str; 9] = [
        "proxy-status",
        "ratelimit",
        "ratelimit-policy",
        "retry-after",
        "traceparent",
        "tracestate",
        "x-gateway-error",
        "x-request-id",
        "x-should-retry",
    ];
    let name = header(text)?;
    let handshake = name.as_str().starts_with("sec-websocket-");
    if handshake || OWN.contains(&name.as_str()) || name.as_str().starts_with("x-error-") {
        return Err("a header that this gateway does not write itself".to_owned());
    }
    Ok(name)
}

/// A field of the access log: `user_agent`, `upstream`, `close_code`, `header:NAME`, `response_header:NAME`.
pub(super) fn access_field(text: &str) -> Result<AccessField, Expected> {
    let named = |name: &str| {
        let name: HeaderName = name.parse().map_err(|_| "a header name such as `header:x-tenant`".to_owned())?;
        if holds_secret(name.as_str()) {
            return Err("a header that holds no secret".to_owned());
        }
        Ok(name)
    };
    match text.split_once(':') {
        None if text == "user_agent" => Ok(AccessField::UserAgent),
        None if text == "upstream" => Ok(AccessField::Upstream),
        None if text == "close_code" => Ok(AccessField::CloseCode),
        Some(("header", name)) => named(name).map(AccessField::Header),
        Some(("response_header", name)) => named(name).map(AccessField::ResponseHeader),
        _ => Err("`upstream`, `user_agent`, `close_code`, `header:NAME` or `response_header:NAME`".to_owned()),
    }
}

/// `20%`, as a share.
pub(super) fn percentage(text: &str) -> Result<f64, Expected> {
    let expected = || "a percentage such as `20%`, above 0 and up to 100".to_owned();
    let number: f64 = text.trim().strip_suffix('%').and_then(|text| text.trim().parse().ok()).ok_or_else(expected)?;
    if number > 0.0 && number <= 100.0 { Ok(number / 100.0) } else { Err(expected()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for wrong in ["", "30", "s", "-1s", "31days", "99999999999999999999s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(positive_duration("0ms").is_err());
        assert_eq!(size("50MiB"), Ok(50 * 1024 * 1024));
        assert_eq!(size("1024"), Ok(1024));
        assert!(size("many").is_err());
    }

    #[test]
    fn addresses() {
        assert!(matches!(listen("[::1]:0"), Ok(Listen::Tcp(_))));
        assert_eq!(listen("unix:/run/x.sock"), Ok(Listen::Unix(PathBuf::from("/run/x.sock"))));
        for wrong in ["localhost:8080", "8080", ":8080", "127.0.0.1", "unix:", "127.0.0.1:65536"] {
            assert!(listen(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bases_of_links() {
        for (text, base) in [
            ("https://example.com/errors", "https://example.com/errors/"),
            ("https://example.com/errors/", "https://example.com/errors/"),
            ("https://example.com/errors.md#", "https://example.com/errors.md#"),
            ("https://example.com/find?code=", "https://example.com/find?code="),
        ] {
            assert_eq!(docs_base(text).as_deref(), Ok(base));
        }
        for wrong in ["", "errors", "javascript:alert(1)//#", "https://u:p@example.com/", "https://example.com/#a b"] {
            assert!(docs_base(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn upstreams() {
        let plain = upstream("http://LOCALHOST:80").expect("a valid URL");
        assert_eq!(
            (plain.tls, plain.host.as_str(), plain.port, plain.authority.as_str()),
            (false, "localhost", 80, "localhost")
        );
        let based = upstream("https://[2001:db8::1]:8443/base/v1/").expect("a valid URL");
        assert_eq!((based.host.as_str(), based.port), ("2001:db8::1", 8443));
        assert_eq!((based.authority.as_str(), based.base_path.as_str()), ("[2001:db8::1]:8443", "/base/v1"));
        for wrong in [
            "",
            "api.example.com",
            "/path",
            "ftp://a",
            "wss://a",
            "https://",
            "https://u:p@a",
            "https://a?b",
            "https://a#b",
            "https://a:0",
            "https://a:",
            "https://a:99999",
            "https://a/../b",
            "https://a//b",
            "https://a b",
            "https://a%20b",
            "https://[::1",
            "https://[127.0.0.1]",
        ] {
            assert!(upstream(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn prefixes() {
        assert_eq!(prefix("/"), Ok(String::new()));
        assert_eq!(prefix("/a/b/"), Ok("/a/b".to_owned()));
        for wrong in ["", "a", "//", "/a//b", "/a//", "/./a", "/a/..", "/a%2f", "/a?b", "/ä"] {
            assert!(prefix(wrong).is_err(), "{wrong}");
        }
    }
}
