//! Where somebody listens or is reached: addresses, URLs, hosts, paths, origins.

use super::Expected;
use crate::config::types::{Listen, Protocol, Upstream};
use http::Uri;
use http::uri::{Authority, Scheme};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

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
pub(in crate::config) fn url(text: &str) -> Result<Uri, Expected> {
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
pub(in crate::config) fn docs_base(text: &str) -> Result<String, Expected> {
    let page = text.split(['?', '#']).next().unwrap_or_default();
    let whole = url(page).map(|_| text);
    if text.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
        return Err("a URL without spaces".to_owned());
    }
    whole.map(|text| if text.ends_with(['/', '#', '=']) { text.to_owned() } else { format!("{text}/") })
}

/// A provider's address; TLS settings are filled in later.
pub(in crate::config) fn upstream(text: &str) -> Result<Upstream, Expected> {
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
pub(in crate::config) fn prefix(text: &str) -> Result<String, Expected> {
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
pub(in crate::config) fn target(text: &str) -> Result<String, Expected> {
    let expected = "a path such as `/health`, with a query or without";
    let parsed = text.parse::<http::uri::PathAndQuery>();
    let fits = text.starts_with('/') && !text.starts_with("//") && text.is_ascii() && !text.contains('#');
    match parsed {
        Ok(parsed) if fits && parsed.as_str() == text => Ok(text.to_owned()),
        _ => Err(expected.to_owned()),
    }
}

/// `redis://[[user]:password@]host[:port][/database]`, the same with `rediss`, or `redis+unix:///path[?…]`.
pub(in crate::config) fn is_backend(text: &str) -> bool {
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

/// What may stand in a path unencoded (RFC 3986 3.3), and the slash.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte)
}

/// An origin as browsers write it (the Fetch standard), or `*`.
pub(in crate::config) fn origin(text: &str) -> Result<(), Expected> {
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
pub(in crate::config) fn host(text: &str) -> Result<String, Expected> {
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
