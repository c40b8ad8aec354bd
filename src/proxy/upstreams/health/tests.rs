use super::*;
use crate::config::secret::Secret;
use crate::config::types::{Credentials, Retry};
use crate::limit::AccountSet;

const BREAKER: CircuitBreaker =
    CircuitBreaker { failures: 2, window: Duration::from_secs(30), open: Duration::from_secs(10) };

fn route(hosts: &[&str], keys: &[&str], breaker: Option<CircuitBreaker>) -> Arc<Route> {
    let mut route = crate::proxy::tests::route("/p");
    let upstream = route.upstreams[0].clone();
    let place = |host: &&str| crate::config::types::Upstream { host: (*host).to_owned(), ..upstream.clone() };
    route.upstreams = hosts.iter().map(place).collect();
    let credentials = |key: &&str| Credentials {
        header: Some(http::HeaderName::from_static("xi-api-key")),
        query: None,
        subprotocol: None,
        first_message: None,
        spellings: crate::config::types::Spellings::default(),
        value: Secret::new((*key).to_owned()),
    };
    route.credentials = keys.iter().map(credentials).collect();
    route.circuit_breaker = breaker;
    Arc::new(route)
}

fn chosen(health: &RouteHealth, from: usize, now: Instant) -> Result<usize, Duration> {
    health.choose(from, 0, now).map(|chosen| chosen.upstream)
}

fn fail(health: &RouteHealth, upstream: usize, now: Instant) {
    let chosen = health.choose(upstream, 0, now).expect("not broken yet");
    assert_eq!(chosen.upstream, upstream);
    chosen
        .pass
        .expect("a breaker")
        .ended(Some((Code::UpstreamUnreachable, Origin::Network, Some(Fault::ConnectRefused))), now);
}

#[test]
fn a_plain_route_has_nothing_to_remember() {
    let now = Instant::now();
    assert!(RouteHealth::of(&route(&["a"], &["k"], None), None, &[], now).is_none());
    assert!(RouteHealth::of(&route(&["a"], &["k", "l"], None), None, &[], now).is_some());
    let mut retrying = crate::proxy::tests::route("/p");
    retrying.retry = Some(Retry { attempts: 2, on: Vec::new(), budget: 0.2 });
    assert!(RouteHealth::of(&Arc::new(retrying), None, &[], now).is_some());
}

#[test]
fn broken_upstreams_are_passed_over_until_all_are_broken() {
    let now = Instant::now();
    let health = RouteHealth::of(&route(&["a", "b"], &[], Some(BREAKER)), None, &[], now).expect("a breaker");
    assert_eq!((chosen(&health, 0, now), chosen(&health, 1, now)), (Ok(0), Ok(1)));
    (0..2).for_each(|_| fail(&health, 0, now));
    assert_eq!((chosen(&health, 0, now), chosen(&health, 2, now)), (Ok(1), Ok(1)));
    let later = now + Duration::from_secs(4);
    (0..2).for_each(|_| fail(&health, 1, later));
    assert_eq!(chosen(&health, 1, later), Err(Duration::from_secs(6)), "until the first of them is due");
    let circuits: Vec<_> = health.view(later).upstreams.iter().map(|upstream| upstream.circuit).collect();
    assert_eq!(circuits, [Some("open"), Some("open")]);
    let due = now + Duration::from_secs(10);
    let probe = health.choose(0, 0, due).expect("due");
    assert_eq!(health.view(due).upstreams[0].circuit, Some("half_open"));
    assert!(health.choose(0, 0, due).is_err(), "one probe");
    probe.pass.expect("a breaker").ended(None, due);
    assert_eq!(chosen(&health, 0, due), Ok(0));
}

#[test]
fn what_a_new_configuration_still_names_keeps_its_state() {
    let now = Instant::now();
    let before = RouteHealth::of(&route(&["a", "b"], &["k", "l"], Some(BREAKER)), None, &[], now).expect("a breaker");
    (0..2).for_each(|_| fail(&before, 0, now));
    before.accounts.enter(1, now).expect("an account").set_aside(now);
    let after = RouteHealth::of(&route(&["c", "a"], &["l", "m"], Some(BREAKER)), Some(&before), &[], now);
    let after = after.expect("a breaker");
    assert_eq!(chosen(&after, 1, now), Ok(0), "`a` is broken at its new place");
    assert_eq!(after.accounts.usable(now), AccountSet::only(1), "`l` is set aside at its new place");
    assert!(Arc::ptr_eq(&before.budget, &after.budget));
    let without =
        RouteHealth::of(&route(&["c", "a"], &["l", "m"], None), Some(&after), &[], now).expect("two upstreams");
    assert_eq!(chosen(&without, 1, now), Ok(0), "`a` is known to be out all the same");
}

#[test]
fn the_view_is_plain_data_without_keys() {
    let now = Instant::now();
    let health =
        RouteHealth::of(&route(&["a"], &["sk-secret", "sk-other"], Some(BREAKER)), None, &[], now).expect("it");
    health.accounts.enter(1, now).expect("an account").set_aside(now);
    let shown = serde_json::to_string(&health.view(now)).expect("JSON");
    assert_eq!(
        shown,
        "{\"upstreams\":[{\"authority\":\"api.example.com\",\"circuit\":\"closed\",\"healthy\":null}],\"accounts\":[\
         {\"index\":0,\"calls\":0,\"set_aside_seconds\":null},{\"index\":1,\"calls\":0,\"set_aside_seconds\":30.0}]}"
    );
}

#[test]
fn a_dead_upstream_is_set_aside_without_a_breaker_and_one_request_probes_it() {
    let now = Instant::now();
    let health = RouteHealth::of(&route(&["a", "b"], &[], None), None, &[], now).expect("two upstreams");
    let answered = |upstream, error| {
        let chosen = health.choose(upstream, 0, now).expect("an upstream");
        chosen.pass.expect("it is watched").ended(error, now);
    };
    // Whatever it answers, it is there.
    (0..9).for_each(|_| answered(0, Some((Code::Unavailable, Origin::Provider, None))));
    (0..9)
        .for_each(|_| answered(0, Some((Code::UpstreamDisconnected, Origin::Network, Some(Fault::ConnectionClosed)))));
    assert_eq!(chosen(&health, 0, now), Ok(0));
    (0..3).for_each(|_| fail(&health, 0, now));
    assert_eq!(chosen(&health, 0, now), Ok(1));
    let later = now + PASSIVE.open;
    let probe = health.choose(0, 0, later).expect("due");
    assert_eq!((probe.upstream, chosen(&health, 0, later)), (0, Ok(1)), "one at a time");
    probe.pass.expect("it is watched").ended(None, later);
    assert_eq!(chosen(&health, 0, later), Ok(0));
}

#[test]
fn an_upstream_that_fails_its_checks_comes_last() {
    let now = Instant::now();
    let health = RouteHealth::of(&route(&["a", "b", "c"], &[], None), None, &[], now).expect("several upstreams");
    health.checked().set(0, false);
    assert_eq!((chosen(&health, 0, now), chosen(&health, 2, now)), (Ok(1), Ok(2)));
    assert_eq!(health.choose(0, bit(1) | bit(2), now).map(|chosen| chosen.upstream), Ok(0));
    (0..3).for_each(|upstream| health.checked().set(upstream, false));
    assert_eq!(chosen(&health, 0, now), Ok(0), "the checks may be wrong");
}

#[test]
fn without_a_breaker_nobody_is_refused() {
    let now = Instant::now();
    let health = RouteHealth::of(&route(&["a", "b"], &[], None), None, &[], now).expect("two upstreams");
    for upstream in [0, 1] {
        (0..3).for_each(|_| fail(&health, upstream, now));
    }
    assert_eq!(chosen(&health, 0, now), Ok(0));
    assert_eq!(health.choose(0, bit(0), now).map(|chosen| chosen.upstream), Ok(1));
    assert!(health.choose(0, bit(0) | bit(1), now).is_err(), "all have been tried");
    // The first answer shows that its upstream is back.
    fail(&health, 0, now);
    health.choose(0, bit(0), now).expect("the second").pass.expect("it is watched").ended(None, now);
    assert_eq!((health.is_open(0, now), health.is_open(1, now)), (true, false));
    assert_eq!(chosen(&health, 0, now), Ok(1));
}
