//! Preflights of browsers where clients show gateway keys: they carry none.

use crate::support::world::{get, get_with};
use crate::support::{Act, Gateway, Provider, Settings};
use crate::tenants::{KEY, ask, world};

/// A preflight shows no key, so nobody's limits may learn from its answer, and no provider hears of it where clients have keys.
#[test]
fn a_preflight_reaches_no_provider_and_affects_no_other_request() {
    let (gateway, provider) = world();
    let preflight = "OPTIONS /p/v1/x HTTP/1.1\r\nHost: a\r\nOrigin: https://page.example\r\n\
                     Access-Control-Request-Method: POST\r\nContent-Length: 5\r\n\r\nABCDE";
    assert_eq!(ask(&gateway, preflight).status, 204);
    assert_eq!(ask(&gateway, get_with("/p/v1/after", &format!("xi-api-key: {}\r\n", *KEY))).status, 200);
    assert_eq!(provider.one().target(), "/v1/after", "the first that it hears of");
}

#[test]
fn a_preflight_with_a_retry_after_causes_no_backoff() {
    let provider = Provider::start();
    let gateway = Gateway::start(&Settings::new().route(
        "plain",
        "/p",
        provider.address(),
        "credentials = { header = \"xi-api-key\", value = \"sk\" }\ncircuit_breaker = { failures = 1 }",
    ));
    let preflight = "OPTIONS /p/v1/x HTTP/1.1\r\nHost: a\r\nOrigin: https://page.example\r\n\
                     Access-Control-Request-Method: POST\r\n\r\n";
    for refusal in ["429 Too Many Requests\r\nRetry-After: 60", "500 Internal Server Error"] {
        provider.next([Act::send(format!("HTTP/1.1 {refusal}\r\nContent-Length: 0\r\n\r\n"))]);
        assert!(ask(&gateway, preflight).status >= 429);
        assert_eq!(ask(&gateway, get("/p/v1/y")).status, 200, "{refusal}");
    }
}

/// A browser asks whether its page may before it sends any key.
#[test]
fn preflights_need_no_key() {
    let (gateway, provider) = world();
    let preflight = "OPTIONS /p/v1/a HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n\r\n";
    assert_eq!(ask(&gateway, preflight).status, 204);
    assert!(provider.take().is_empty(), "it is answered here");
    assert_eq!(ask(&gateway, "OPTIONS /p/v1/a HTTP/1.1\r\nHost: a\r\n\r\n").status, 401);
    assert_eq!(gateway.admin("/livez").status, 200);
}
