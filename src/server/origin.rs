//! Keeps other web pages, open in a browser that can reach the admin listener, from using it.
//!
//! A page can send requests to any address (CSRF); if its own name resolves to that address, it can also read the responses (DNS
//! rebinding). `Origin`, which browsers send with requests that change something, reveals the first. `Host` reveals the second:
//! an attacker needs a public DNS name, while the admin listener is reached by address, or by a name that is not in the public
//! DNS.

use crate::proxy::headers::is_host;
use http::header::{HOST, HeaderName, HeaderValue, ORIGIN};
use http::{Method, StatusCode, request};
use std::net::IpAddr;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Names below these are not in the public DNS (RFC 6761, RFC 6762, RFC 8375, ICANN's `internal`, `svc` of Kubernetes).
const PRIVATE: [&str; 5] = ["localhost", "local", "internal", "home.arpa", "svc"];

/// Checks whether the admin listener may answer this request; else the status and the text to refuse it with.
pub(super) fn check(request: &request::Parts) -> Result<(), (StatusCode, &'static str)> {
    // Probes reveal nothing, and may use any name.
    if matches!(request.uri.path(), "/livez" | "/readyz") {
        return Ok(());
    }
    let lines = |name: &HeaderName| request.headers.get_all(name).iter().map(HeaderValue::as_bytes);
    if lines(&HOST).nth(1).is_some() || lines(&ORIGIN).nth(1).is_some() {
        return Err((StatusCode::BAD_REQUEST, "one host and one origin are expected\n"));
    }
    // If the request target has an authority too, both are checked.
    let target = request.uri.authority().map(|authority| authority.as_str().as_bytes());
    if !target.into_iter().chain(lines(&HOST)).all(is_private) {
        return Err((
            StatusCode::MISDIRECTED_REQUEST,
            "the admin listener is asked by IP address, by localhost, or by a name that is not in the public DNS (one \
             without dots, or below local, internal, home.arpa or svc)\n",
        ));
    }
    let host = target.or_else(|| lines(&HOST).next()).unwrap_or_default();
    let safe = matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS);
    let elsewhere = |site: &[u8]| site != b"same-origin" && site != b"none";
    let foreign = lines(&ORIGIN).any(|origin| !is_of(origin, host)) || lines(&SEC_FETCH_SITE).any(elsewhere);
    if foreign && !safe {
        return Err((StatusCode::FORBIDDEN, "pages of another origin change nothing here\n"));
    }
    Ok(())
}

/// Whether an origin is that of this host. The scheme is not compared, because a proxy in front may terminate TLS.
fn is_of(origin: &[u8], host: &[u8]) -> bool {
    let authority = [&b"http://"[..], b"https://"].iter().find_map(|scheme| origin.strip_prefix(*scheme));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// Whether no public DNS name can resolve to this host. The value is parsed as strictly as that of a proxied request: an
/// ambiguous host is not private.
fn is_private(host: &[u8]) -> bool {
    if !is_host(host) {
        return false;
    }
    let host = str::from_utf8(host).unwrap_or_default().to_ascii_lowercase();
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((literal, _)) => literal,
        None => host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    name.parse::<IpAddr>().is_ok()
        || !name.is_empty() && !name.contains('.')
        || PRIVATE.iter().any(|private| name.strip_suffix(private).is_some_and(|left| left.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[test]
    fn strangers_neither_change_nor_read_anything() {
        let own = "127.0.0.1:9464";
        for (line, host, origin, expected) in [
            ("POST /-/reload", own, "", 200),
            ("POST /-/reload", own, "http://127.0.0.1:9464", 200),
            ("POST /-/reload", "localhost:9464", "https://LOCALHOST:9464", 200),
            ("POST /-/reload", own, "https://evil.example", 403),
            ("POST /-/reload", own, "null", 403),
            ("POST /-/reload", own, "http://127.0.0.1:8080", 403),
            ("POST /-/reload", own, "http://127.0.0.1", 403),
            ("DELETE /-/waits", own, "https://evil.example", 403),
            ("DELETE /-/waits", own, "http://127.0.0.1:9464.evil.example", 403),
            ("GET /config", own, "https://evil.example", 200),
            ("GET /config", "", "", 200),
            ("GET /config", "[::1]:9464", "", 200),
            ("GET /config", "10.1.2.3", "", 200),
            ("GET /config", "speechgate:9464", "", 200),
            ("GET /metrics", "gate.speech.svc.cluster.local:9464", "", 200),
            ("GET /metrics", "gate.speech.svc:9464", "", 200),
            ("GET /config", "rebound.evil.example", "", 421),
            ("GET /config", "rebound.evil.example.:9464", "", 421),
            ("GET /config", "127.0.0.1.evil.example", "", 421),
            ("GET /config", "evillocalhost.example:9464", "", 421),
            ("GET /config", "evil-local.svcx", "", 421),
            ("GET /metrics", "rebound.evil.example", "", 421),
            ("GET /status.json", "rebound.evil.example", "", 421),
            ("POST /-/reload", "rebound.evil.example", "http://rebound.evil.example", 421),
            ("GET /livez", "probe.example", "", 200),
            ("GET /config", "127.0.0.1:9@evil.example", "", 421),
            ("GET /config", "localhost@evil.example", "", 421),
            ("GET /config", "[::1].evil.com", "", 421),
            ("GET /config", "[::1", "", 421),
            ("GET /config", "[::1]evil.com:80", "", 421),
            ("GET /config", "[evil.com]", "", 421),
            ("GET /config", "127.0.0.1:99999", "", 421),
            ("GET /config", "127.0.0.1:80:80", "", 421),
            ("GET /config", "evil.example/localhost", "", 421),
            ("GET /config", "evil.example:9 localhost", "", 421),
            ("GET /config", "localhost, evil.example", "", 421),
            ("GET /config", ".", "", 421),
            ("POST /-/reload", "127.0.0.1:9464", "ftp://127.0.0.1:9464", 403),
            ("GET http://rebound.evil.example/config", "127.0.0.1", "", 421),
            ("GET http://127.0.0.1/config", "rebound.evil.example", "", 421),
        ] {
            let (method, path) = line.split_once(' ').expect("a method and a path");
            let mut request = Request::builder().method(method).uri(path);
            if !host.is_empty() {
                request = request.header(HOST, host);
            }
            if !origin.is_empty() {
                request = request.header(ORIGIN, origin);
            }
            let (parts, ()) = request.body(()).expect("a request").into_parts();
            let status = check(&parts).map_or_else(|(status, _)| status.as_u16(), |()| 200);
            assert_eq!(status, expected, "{line} {host} {origin}");
        }
        let site = |site| Request::post("/-/reload").header(HOST, own).header(SEC_FETCH_SITE, site).body(());
        for (name, refused) in [("cross-site", true), ("same-site", true), ("same-origin", false), ("none", false)] {
            let (parts, ()) = site(name).expect("a request").into_parts();
            assert_eq!(check(&parts).is_err(), refused, "{name}");
        }
    }

    /// Only the first `Origin` or `Host` line used to be checked.
    #[test]
    fn several_lines_are_refused_wherever_the_foreign_one_stands() {
        let own = "127.0.0.1:9464";
        for (name, value) in [(HOST, "rebound.evil.example"), (ORIGIN, "https://evil.example"), (HOST, own)] {
            for lines in [[own, value], [value, own]] {
                let lines =
                    lines.map(|line| if name == ORIGIN && line == own { "http://127.0.0.1:9464" } else { line });
                let mut request = Request::post("/-/reload").header(&name, lines[0]).header(&name, lines[1]);
                if name != HOST {
                    request = request.header(HOST, own);
                }
                let (parts, ()) = request.body(()).expect("a request").into_parts();
                assert_eq!(check(&parts).map_err(|(status, _)| status.as_u16()), Err(400), "{name} {lines:?}");
            }
        }
        let sites = Request::post("/-/reload").header(HOST, own).header(SEC_FETCH_SITE, "none");
        let (parts, ()) = sites.header(SEC_FETCH_SITE, "cross-site").body(()).expect("a request").into_parts();
        assert!(check(&parts).is_err());
    }
}
