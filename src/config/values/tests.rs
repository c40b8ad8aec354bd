use super::*;
use crate::config::types::Listen;
use std::path::PathBuf;

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
