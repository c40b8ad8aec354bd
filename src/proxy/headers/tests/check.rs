//! What is refused, what upgrades, and which host is asked for.

use super::*;

/// What the check of a request with these parts says.
fn checked(parts: &Parts, max_target_bytes: usize) -> Result<Checked, Fault> {
    check_request(parts, Fields::of(&parts.headers), max_target_bytes)
}

#[test]
fn requests_are_refused_or_pass() {
    let plain = Ok(Checked { websocket: false, answer_here: false });
    let here = Ok(Checked { websocket: false, answer_here: true });
    for (request, headers, expected) in [
        ("GET /x HTTP/1.1", &["host: a.example"][..], plain),
        ("GET /x HTTP/1.1", &["host: a.example:8080"], plain),
        ("GET /x HTTP/1.1", &["host: a_b.example:"], plain),
        ("GET /x HTTP/1.1", &["host: [::1]:80"], plain),
        ("GET /x HTTP/1.0", &[], plain),
        ("GET http://a/x HTTP/1.1", &["host: b"], plain),
        ("GET https://a/x HTTP/2", &[], plain),
        ("GET https://a/x HTTP/2", &["host: b"], plain),
        ("GET /x HTTP/2", &["host: b"], plain),
        ("PURGE /x HTTP/1.1", &["host: a"], plain),
        // Host
        ("GET /x HTTP/1.1", &[], Err(Fault::BadHost)),
        ("GET /x HTTP/2", &[], Err(Fault::BadHost)),
        ("GET http://a/x HTTP/1.1", &[], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host: a", "host: a"], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host:"], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host: a b"], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host: a,b"], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host: a/b"], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host: user@a"], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host: http://a"], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host: a:80:80"], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host: a:+80"], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host: a:65536"], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host: :80"], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host: [::1"], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host: [zz]"], Err(Fault::BadHost)),
        ("GET /x HTTP/1.1", &["host: ::1"], Err(Fault::BadHost)),
        ("GET http://u@a/x HTTP/1.1", &["host: a"], Err(Fault::BadHost)),
        // Target and method
        ("GET ftp://a/x HTTP/1.1", &["host: a"], Err(Fault::BadRequest)),
        ("GET a:80 HTTP/1.1", &["host: a"], Err(Fault::BadRequest)),
        ("GET * HTTP/1.1", &["host: a"], Err(Fault::BadPath)),
        ("OPTIONS * HTTP/1.1", &["host: a"], here),
        ("OPTIONS /x HTTP/1.1", &["host: a", "max-forwards: 0"], here),
        ("OPTIONS /x HTTP/1.1", &["host: a", "max-forwards: 1"], plain),
        ("GET /x HTTP/1.1", &["host: a", "max-forwards: 0"], plain),
        ("TRACE /x HTTP/1.1", &["host: a"], Err(Fault::MethodRefused)),
        ("CONNECT a:443 HTTP/1.1", &["host: a:443"], Err(Fault::MethodRefused)),
        ("GET /12345678901234567890123456789012 HTTP/1.1", &["host: a"], Err(Fault::TargetTooLong)),
        // Framing
        ("POST /x HTTP/1.1", &["host: a", "content-length: 5"], plain),
        ("POST /x HTTP/1.1", &["host: a", "transfer-encoding: Chunked"], plain),
        ("POST /x HTTP/1.1", &["host: a", "content-length: 5", "content-length: 5"], Err(Fault::BadRequest)),
        ("POST /x HTTP/1.1", &["host: a", "content-length: +5"], Err(Fault::BadRequest)),
        ("POST /x HTTP/1.1", &["host: a", "content-length: 5, 5"], Err(Fault::BadRequest)),
        ("POST /x HTTP/1.1", &["host: a", "content-length:"], Err(Fault::BadRequest)),
        ("POST /x HTTP/1.1", &["host: a", "content-length: 5", "transfer-encoding: chunked"], Err(Fault::BadRequest)),
        ("POST /x HTTP/1.1", &["host: a", "transfer-encoding: gzip, chunked"], Err(Fault::BadRequest)),
        ("POST /x HTTP/1.1", &["host: a", "transfer-encoding: chunked, chunked"], Err(Fault::BadRequest)),
        ("POST /x HTTP/1.1", &["host: a", "transfer-encoding: identity"], Err(Fault::BadRequest)),
        (
            "POST /x HTTP/1.1",
            &["host: a", "transfer-encoding: gzip", "transfer-encoding: chunked"],
            Err(Fault::BadRequest),
        ),
        (
            "POST /x HTTP/1.1",
            &["host: a", "transfer-encoding: chunked", "transfer-encoding: chunked"],
            Err(Fault::BadRequest),
        ),
        (
            "POST /x HTTP/1.1",
            &["host: a", "transfer-encoding: chunked", "transfer-encoding: identity"],
            Err(Fault::BadRequest),
        ),
        ("POST /x HTTP/1.0", &["host: a", "transfer-encoding: chunked"], Err(Fault::BadRequest)),
        // Wishes to upgrade that are ignored
        ("GET /x HTTP/1.1", &["host: a", "upgrade: websocket"], plain),
        ("GET /x HTTP/1.1", &["host: a", "upgrade: h2c", "connection: upgrade, http2-settings"], plain),
    ] {
        assert_eq!(checked(&parts(request, headers), 32), expected, "{request} {headers:?}");
    }
}

#[test]
fn only_a_proper_handshake_upgrades() {
    let check =
        |request: &str, headers: &[&str]| checked(&parts(request, headers), 99).map(|checked| checked.websocket);
    assert_eq!(check("GET /x HTTP/1.1", &HANDSHAKE), Ok(true));
    assert_eq!(check("GET /x HTTP/1.0", &HANDSHAKE), Ok(false));
    assert_eq!(check("POST /x HTTP/1.1", &HANDSHAKE), Err(Fault::UpgradeRefused));
    for (at, wrong) in [
        (3, "x: no version"),
        (4, "sec-websocket-key: c2hvcnQ="),
        (4, "x: no key"),
        (4, "sec-websocket-key: dGhlIHNhbXBsZSBub25j!!=="),
    ] {
        let mut headers = HANDSHAKE;
        headers[at] = wrong;
        assert_eq!(check("GET /x HTTP/1.1", &headers), Err(Fault::UpgradeRefused), "{wrong}");
    }
    let mut headers = HANDSHAKE;
    headers[3] = "sec-websocket-version: 8";
    assert_eq!(check("GET /x HTTP/1.1", &headers), Err(Fault::UpgradeVersion));
    for extra in ["sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", "content-length: 5", "transfer-encoding: chunked"] {
        let headers: Vec<&str> = HANDSHAKE.into_iter().chain([extra]).collect();
        assert_eq!(check("GET /x HTTP/1.1", &headers), Err(Fault::UpgradeRefused), "{extra}");
    }
}

#[test]
fn the_target_names_the_host_before_the_field_does() {
    for (request, headers, expected) in [
        ("GET /x HTTP/1.1", &["host: b"][..], Some("b")),
        ("GET http://a:1/x HTTP/1.1", &["host: b"], Some("a:1")),
        ("GET https://a/x HTTP/2", &["host: b"], Some("a")),
        ("GET /x HTTP/1.0", &[], None),
    ] {
        assert_eq!(authority(&parts(request, headers)), expected.map(HeaderValue::from_static));
    }
}

/// A key was looked for in the method as it was, though a `%` may stand in a method.
#[test]
fn an_escaped_key_in_a_method_is_not_shown() {
    let key = crate::proxy::gateway_key::make().expect("random bytes");
    let shown = |method: &str| super::super::shown_method(&Method::from_bytes(method.as_bytes()).expect("a method"));
    assert_eq!(shown(&key).as_str(), "***");
    assert_eq!(shown(&key.replacen("sg_", "%73g_", 1)).as_str(), "***");
    assert_eq!(shown("%50%55T").as_str(), "%50%55T");
}
