//! Rate limits: who is counted together, what is charged, and how a refusal reads.

use super::support::world::get_with;
use super::support::{Answer, World, envelope};
use serde_json::Value;

/// The route `/l` with these lines, beside the standard ones.
fn limited(lines: &str) -> World {
    World::with(|settings| settings.beside("limited", "/l", lines))
}

/// A refusal by a rate, after everything that is promised of it has been checked.
fn refused(answer: &Answer, code: &str, policy: &str) -> Value {
    let error = envelope(answer, code);
    assert_eq!(
        (&error["origin"], &error["route"], &error["status"]),
        (&"gateway".into(), &"limited".into(), &429.into())
    );
    assert_eq!(error["retryable"], true);
    let wait = error["retry_after_seconds"].as_f64().expect("a wait");
    assert!(wait > 0.0, "{wait}");
    assert_eq!(answer.field("ratelimit-policy"), policy);
    let name = policy.split(';').next().expect("a name");
    assert_eq!(answer.field("ratelimit"), format!("{name};r=0;t={}", wait.ceil()));
    assert_eq!(answer.field("proxy-status"), "speechgate; error=http_request_denied");
    error
}

#[test]
fn a_refusal_says_how_long_and_nothing_reaches_the_provider() {
    let world = limited("rate_limits = [{ requests = 2, per = '60s' }]");
    for _ in 0..2 {
        assert_eq!(world.get("/l/v1/voices").status, 200);
    }
    let error = refused(&world.get("/l/v1/voices"), "rate_limited", "\"rate-1\";q=2;w=60");
    let wait = error["retry_after_seconds"].as_f64().expect("a wait");
    assert!((20.0..=30.0).contains(&wait), "half a window until one more fits: {wait}");
    assert_eq!(world.provider.take().len(), 2);
    assert_eq!(world.get("/p/v1/voices").status, 200, "other routes are not concerned");
    world.gateway.metric_becomes("speechgate_limit_rejections_total", &[("route", "limited"), ("limit", "rate")], 1.0);
    let line = world.gateway.line(|line| line["status"] == 429);
    assert_eq!((&line["origin"], &line["code"]), (&"gateway".into(), &"rate_limited".into()));
}

/// A request by its target and its header lines, and whether it passes.
type Asked<'a> = (&'a str, &'a str, bool);

/// Every row is a gateway of its own.
#[test]
fn what_has_a_count_of_its_own() {
    let cases: [(&str, &str, &[Asked<'_>]); 6] = [
        ("the route", "", &[("/l/a", "", true), ("/l/b", "x: 1\r\n", false)]),
        (
            "a header",
            "key = 'header:x-tenant'",
            &[
                ("/l/a", "x-tenant: a\r\n", true),
                ("/l/a", "X-Tenant: b\r\n", true),
                ("/l/a", "x-tenant: a\r\n", false),
                ("/l/a", "", true),
                ("/l/a", "", false),
            ],
        ),
        ("an address", "key = 'client-ip'", &[("/l/a", "", true), ("/l/a", "x-forwarded-for: 192.0.2.1\r\n", false)]),
        (
            "a caller's own key",
            "key = 'credential'",
            &[
                ("/l/a", "xi-api-key: one\r\n", true),
                ("/l/a", "xi-api-key: two\r\n", true),
                ("/l/a", "authorization: Bearer one\r\n", false),
                ("/l/a?xi-api-key=three", "", true),
                ("/l/a?single_use_token=four", "", true),
                ("/l/a?single_use_token=four", "", false),
                ("/l/a", "xi-api-key: two\r\n", false),
            ],
        ),
        (
            "a part of the path",
            "match = 'GET /v1/jobs/{id}', key = 'path:id', code = 'poll_rate_limited'",
            &[
                ("/l/v1/jobs/1", "", true),
                ("/l/v1/jobs/2", "", true),
                ("/l/v1/jobs/1?x=y", "", false),
                ("/l/v1//jobs/1/", "", false),
                ("/l/v1/jobs/1/audio", "", true),
                ("/l/v1/jobs", "", true),
            ],
        ),
        ("only what matches", "match = 'POST'", &[("/l/a", "", true), ("/l/a", "", true)]),
    ];
    for (name, key, requests) in cases {
        let world = limited(&format!("rate_limits = [{{ requests = 1, per = '60s', {key} }}]").replace(", }", " }"));
        for (index, (target, lines, passes)) in requests.iter().enumerate() {
            let status = world.ask(get_with(target, lines)).status;
            assert_eq!(status, if *passes { 200 } else { 429 }, "{name}: request {index}");
        }
    }
}
