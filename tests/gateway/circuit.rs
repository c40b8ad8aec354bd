//! Failing upstreams are left alone and tried again.

use crate::support::check::whole_json;
use crate::support::provider::OK;
use crate::support::world::{get, json_answer};
use crate::support::{Act, Answer, Gateway, Provider, Settings, World, envelope};
use std::time::Duration;

const BODY: &str = "{\"detail\":{\"status\":\"something\",\"message\":\"It failed.\"}}";
const BREAKER: &str = "circuit_breaker = { failures = 3, open = \"1s\" }";

fn failing(status: u16) -> Act {
    Act::send(json_answer(status, "", BODY))
}

fn world(lines: &str) -> World {
    World::with(|settings| settings.beside("guarded", "/g", lines))
}

/// Answers and how often the provider was asked for them.
fn asked(world: &World, times: usize) -> (Vec<u16>, usize) {
    let statuses = (0..times).map(|_| world.get("/g/x").status).collect();
    (statuses, world.provider.take().len())
}

fn assert_open(answer: &Answer) {
    let error = envelope(answer, "circuit_open");
    assert_eq!((answer.status, error["origin"].as_str()), (503, Some("gateway")));
    let wait = error["retry_after_seconds"].as_f64().expect("a wait");
    assert!(wait > 0.0 && wait <= 1.0, "{wait}");
    assert_eq!(answer.field("retry-after"), "1");
    assert_eq!(answer.field("proxy-status"), "speechgate; error=destination_unavailable");
    assert!(!answer.fields.has("x-speechgate-attempts"));
}

/// Waits as an open circuit says: the next request is its probe.
fn wait_as_told(world: &World) {
    let wait = envelope(&world.get("/g/x"), "circuit_open")["retry_after_seconds"].as_f64().expect("a wait");
    std::thread::sleep(Duration::from_secs_f64(wait) + Duration::from_millis(2));
}

#[test]
fn a_failing_upstream_is_left_alone_and_one_probe_decides() {
    let world = world(BREAKER);
    world.provider.always([failing(503)]);
    assert_eq!(asked(&world, 3), (vec![503; 3], 3));
    assert_open(&world.get("/g/x"));
    assert!(world.provider.take().is_empty(), "nothing was sent");
    wait_as_told(&world);
    let _ = envelope(&world.get("/g/x"), "unavailable");
    assert_eq!(world.provider.take().len(), 1);
    assert_open(&world.get("/g/x"));
    world.provider.always([Act::send(OK)]);
    wait_as_told(&world);
    assert_eq!(asked(&world, 1), (vec![200], 1));
    assert_eq!(asked(&world, 5), (vec![200; 5], 5), "closed again");
    assert_eq!(world.get("/p/x").status, 200, "other routes have circuits of their own, or none");
    world.gateway.metric_becomes("speechgate_requests_in_flight", &[("route", "guarded")], 0.0);
    let refusals = [("route", "guarded"), ("limit", "circuit")];
    assert_eq!(world.gateway.metric("speechgate_limit_rejections_total", &refusals), 4.0);
}

#[test]
fn only_one_probe_is_sent_at_a_time() {
    let world = world(BREAKER);
    world.provider.always([Act::Fin]);
    assert_eq!(asked(&world, 3).0, [502; 3]);
    world.provider.always([Act::Hang]);
    let _ = world.provider.take();
    wait_as_told(&world);
    let mut waiting = world.client();
    let _ = waiting.send(get("/g/x"));
    let _ = world.provider.one();
    (0..5).for_each(|_| assert_open(&world.get("/g/x")));
    assert!(world.provider.take().is_empty());
    // A client that leaves says nothing about the upstream: the next one is the probe.
    waiting.reset();
    let _ = world.provider.abandoned();
    world.gateway.metric_becomes("speechgate_requests_in_flight", &[("route", "guarded")], 0.0);
    world.provider.always([Act::send(OK)]);
    assert_eq!(asked(&world, 3), (vec![200; 3], 3));
}

#[test]
fn only_broken_upstreams_count() {
    let world = world(BREAKER);
    for status in [400, 401, 402, 403, 404, 409, 429] {
        world.provider.always([failing(status)]);
        let (statuses, asked) = asked(&world, 4);
        assert_eq!(asked, 4, "{statuses:?}");
    }
    // A success between two failures shows that it works.
    for status in [503, 503, 200, 502, 504, 200, 503, 503, 200] {
        world.provider.next([if status == 200 { Act::send(OK) } else { failing(status) }]);
        assert_eq!(world.get("/g/x").status, status);
    }
    // Neither do clients that leave.
    let _ = world.provider.take();
    world.provider.always([Act::Hang]);
    for _ in 0..4 {
        let mut client = world.client();
        let _ = client.send(get("/g/x"));
        let _ = world.provider.one();
        client.reset();
        let _ = world.provider.abandoned();
    }
    world.provider.always([Act::send(OK)]);
    assert_eq!(asked(&world, 1), (vec![200], 1));
}

#[test]
fn without_a_breaker_there_is_none() {
    let world = world("retry = {}");
    world.provider.always([failing(500)]);
    assert_eq!(asked(&world, 20), (vec![500; 20], 20));
}

#[test]
fn an_open_upstream_is_passed_over_and_costs_no_retry() {
    let (first, second) = (Provider::start(), Provider::start());
    let urls = [&first, &second].map(|provider| format!("http://{}", provider.address()));
    let lines = "retry = {}\ncircuit_breaker = { failures = 3, open = \"10m\" }";
    let gateway = Gateway::start(&Settings::new().over("guarded", "/g", &urls, lines));
    first.always([failing(503)]);
    for _ in 0..20 {
        assert_eq!(gateway.client().send(get("/g/x")).answer().status, 200);
    }
    assert_eq!((first.take().len(), second.take().len()), (3, 20));
    assert_eq!(gateway.metric("speechgate_retries_total", &[("route", "guarded"), ("outcome", "success")]), 3.0);
    second.always([failing(503)]);
    // There is nowhere else to go: the second is tried twice for the first of these, and breaks with the next.
    for _ in 0..2 {
        let _ = envelope(&gateway.client().send(get("/g/x")).answer(), "unavailable");
    }
    assert_eq!((first.take().len(), second.take().len()), (0, 3));
    let answer = gateway.client().send(get("/g/x")).answer();
    let error = envelope(&answer, "circuit_open");
    assert!(error["retry_after_seconds"].as_f64().is_some_and(|wait| wait > 590.0), "{error}");
}

#[test]
fn a_compatible_route_says_it_in_the_providers_own_shape() {
    let world = world(&format!("envelope = \"compatible\"\n{BREAKER}"));
    world.provider.always([failing(503)]);
    assert_eq!(asked(&world, 3), (vec![503; 3], 3));
    let answer = world.get("/g/x");
    let body = whole_json(&answer, "application/json").expect("JSON");
    let gateway = &body["gateway_error"];
    assert_eq!(
        (answer.status, gateway["code"].as_str(), answer.field("retry-after").as_str()),
        (503, Some("circuit_open"), "1")
    );
    assert!(body["detail"]["message"].is_string() && gateway["origin"] == "gateway", "{body}");
    assert!(world.provider.take().is_empty());
}

#[test]
fn an_open_circuit_survives_a_reload() {
    let world = world("circuit_breaker = { failures = 3, open = \"10m\" }");
    world.provider.always([failing(503)]);
    assert_eq!(asked(&world, 4), (vec![503; 4], 3));
    world.gateway.signal("HUP");
    world.gateway.metric_becomes("speechgate_config_reloads_total", &[("result", "success")], 1.0);
    assert_eq!(asked(&world, 2), (vec![503; 2], 0));
}

/// A stream that breaks after its first byte is a failure like any other.
#[test]
fn streams_that_break_open_the_circuit() {
    let world = world(BREAKER);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 100\r\n\r\nsome of it";
    for _ in 0..3 {
        world.provider.next([Act::send(head), Act::Fin]);
        let mut client = world.client();
        assert!(client.send(get("/g/x")).answer().cut.is_some());
        world.gateway.metric_becomes("speechgate_requests_in_flight", &[("route", "guarded")], 0.0);
    }
    assert_open(&world.get("/g/x"));
}
