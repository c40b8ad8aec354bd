//! The admin listener: liveness, readiness, counters that agree with what happened.

use crate::support::world::{get, json_answer, post};
use crate::support::{Act, World};

#[test]
fn it_is_alive_and_ready() {
    let world = World::start();
    for path in ["/livez", "/readyz"] {
        assert_eq!(world.gateway.admin(path).status, 200, "{path}");
    }
    assert_eq!(world.gateway.admin("/nowhere").status, 404);
    for path in ["/livez", "/readyz", "/metrics", "/config"] {
        assert_eq!(world.get(path).status, 404, "{path} is not for clients");
    }
}

#[test]
fn metrics_are_in_the_text_format() {
    let world = World::start();
    assert_eq!(world.get("/p/a").status, 200);
    let page = world.gateway.admin("/metrics");
    assert!(
        page.field("content-type").starts_with("text/plain")
            || page.field("content-type").starts_with("application/openmetrics-text")
    );
    let text = page.text();
    for name in [
        "speechgate_errors_total",
        "speechgate_requests_total",
        "speechgate_requests_in_flight",
        "speechgate_build_info",
    ] {
        let declared =
            text.lines().any(|line| line.starts_with("# TYPE ") && line.contains(name.trim_end_matches("_total")));
        assert!(declared, "{name} has no TYPE line");
    }
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        assert!(
            value.parse::<f64>().is_ok() && series.starts_with(|first: char| first.is_ascii_alphabetic()),
            "{line}"
        );
    }
}

#[test]
fn every_request_is_counted_once() {
    let world = World::start();
    let voice = "{\"detail\":{\"status\":\"voice_not_found\",\"message\":\"No.\"}}";
    for _ in 0..3 {
        assert_eq!(world.get("/p/a").status, 200);
    }
    for _ in 0..2 {
        world.provider.next([Act::send(json_answer(404, "", voice))]);
        assert_eq!(world.get("/p/a").status, 404);
    }
    world.provider.next([Act::Fin]);
    assert_eq!(world.ask(post("/p/a", "x")).status, 502);
    assert_eq!(world.get("/nowhere").status, 404);
    let gateway = &world.gateway;
    gateway.metric_becomes("speechgate_requests_total", &[("route", "plain"), ("status", "200")], 3.0);
    gateway.metric_becomes("speechgate_requests_total", &[("route", "plain")], 6.0);
    gateway.metric_becomes(
        "speechgate_errors_total",
        &[("code", "voice_not_found"), ("origin", "provider"), ("provider", "elevenlabs"), ("transport", "http")],
        2.0,
    );
    gateway.metric_becomes("speechgate_errors_total", &[("code", "upstream_disconnected"), ("origin", "network")], 1.0);
    gateway.metric_becomes("speechgate_errors_total", &[("code", "route_not_found"), ("origin", "gateway")], 1.0);
    gateway.metric_becomes("speechgate_errors_total", &[], 4.0);
    gateway.metric_becomes("speechgate_requests_in_flight", &[], 0.0);
}

#[test]
fn a_client_that_leaves_is_counted_as_that() {
    let world = World::start();
    world.provider.next([Act::send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"), Act::Hang]);
    let mut client = world.client();
    let _ = client.send(get("/p/a")).head().expect("a head");
    drop(client);
    let _ = world.provider.abandoned();
    world.gateway.metric_becomes("speechgate_errors_total", &[("code", "client_cancelled"), ("origin", "client")], 1.0);
    world.gateway.metric_becomes("speechgate_errors_total", &[], 1.0);
    world.gateway.metric_becomes("speechgate_requests_in_flight", &[], 0.0);
}

#[test]
fn an_answer_that_breaks_off_is_counted_as_the_providers() {
    let world = World::start();
    world.provider.next([Act::send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"), Act::Fin]);
    let answer = world.get("/p/a");
    assert!(answer.cut.is_some() || answer.status == 502);
    world.gateway.metric_becomes(
        "speechgate_errors_total",
        &[("code", "upstream_disconnected"), ("origin", "network")],
        1.0,
    );
    world.gateway.metric_becomes("speechgate_errors_total", &[], 1.0);
}
