//! The limits of a route, with a clock that does not advance.

mod accounts;
mod reloads;

use super::feedback::Admission;
use super::{Asked, Denied, RouteLimits, Slot};
use crate::canon::{CanonicalError, Code, Fault, Origin};
use crate::config;
use crate::limit::gate::{AccountSet, Priority};
use crate::proxy::headers::Identity;
use crate::proxy::{RouteRuntime, Shared, State};
use crate::telemetry::metrics::Metrics;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, advance};

const CONCURRENCY: &str = "concurrency = { max = 1, queue = 1, max_wait = '3s' }";

fn shared() -> Arc<Shared> {
    Shared::new(Arc::new(Metrics::new("test", 1)), None, Identity::new("test").expect("an identity"))
}

/// The state of one route with these lines of configuration.
fn state(shared: &Arc<Shared>, name: &str, lines: &str) -> State {
    let text = format!(
        "[[routes]]\nname = '{name}'\nmatch = {{ path = '/r' }}\nprovider = 'elevenlabs'\nupstream = 'http://127.0.0.1:1'\n{lines}\n"
    );
    let loaded = config::load_str(&[("t.toml", &text)], []).unwrap_or_else(|problems| panic!("{problems:?}"));
    State::new(Arc::new(loaded.config), Arc::clone(shared)).expect("a state")
}

fn runtime(lines: &str) -> Arc<RouteRuntime> {
    let state = state(&shared(), "r", lines);
    state.runtime(&state.config.routes[0])
}

async fn slot(route: &RouteRuntime) -> Result<Slot, Denied> {
    Ok(route.limits.slot(1.into(), Priority::Normal.into(), AccountSet::ALL).await?.expect("calls are counted"))
}

/// A provider's refusal.
fn refusal(code: Code, wait: u64) -> CanonicalError {
    let mut error = CanonicalError::from_fault(Fault::Panic);
    (error.code, error.origin, error.fault) = (code, Origin::Provider, None);
    (error.retryable, error.retry_after) = (true, Some(Duration::from_secs(wait)));
    error
}

fn call(permit: Option<Slot>) -> Admission {
    let mut admission = Admission::new(1, Priority::Normal, 0);
    admission.has(permit);
    admission
}

/// How long a request has to back off, in seconds; `Ok` when it may be sent, and whether as a probe.
fn held(limits: &RouteLimits, path: &str) -> Result<bool, f64> {
    match limits.go(0, 1, path) {
        Ok(probe) => Ok(probe.is_some()),
        Err(Denied::Limit(refusal)) => Err(refusal.error.retry_after.expect("a wait").as_secs_f64()),
        Err(Denied::Fault(fault)) => panic!("{fault:?}"),
    }
}

fn code(result: Result<Slot, Denied>) -> Option<Fault> {
    match result {
        Ok(_) => None,
        Err(Denied::Limit(refusal)) => refusal.error.fault,
        Err(Denied::Fault(fault)) => Some(fault),
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_as_long_as_the_route_says() {
    let route = runtime(CONCURRENCY);
    let permit = slot(&route).await.expect("a free slot");
    let begun = Instant::now();
    let (first, second) = tokio::join!(slot(&route), async {
        let full = code(slot(&route).await);
        (full, begun.elapsed())
    });
    assert_eq!(second, (Some(Fault::QueueFull), Duration::ZERO), "one may wait");
    assert_eq!((code(first), begun.elapsed()), (Some(Fault::QueueTimeout), Duration::from_secs(3)));
    let (waiting, ()) = tokio::join!(slot(&route), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        drop(permit);
    });
    assert!(waiting.is_ok() && begun.elapsed() == Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_want_of_a_slot_pauses_the_queue() {
    let route = runtime(CONCURRENCY);
    let permit = slot(&route).await.expect("a free slot");
    let mut refused = call(Some(permit));
    route.limits.failed(&mut refused, "/x", &refusal(Code::ConcurrencyLimited, 2));
    refused.end();
    assert_eq!(held(&route.limits, "/x"), Ok(false), "nobody is refused for it");
    let begun = Instant::now();
    assert!(slot(&route).await.is_ok());
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_pause_ends_with_one_probe() {
    let route = runtime("");
    let limits = &route.limits;
    limits.failed(&mut call(None), "/x", &refusal(Code::RateLimited, 30));
    limits.failed(&mut call(None), "/x", &refusal(Code::PollRateLimited, 60));
    assert_eq!((held(limits, "/x"), held(limits, "/y")), (Err(60.0), Err(30.0)));
    advance(Duration::from_secs(29)).await;
    assert_eq!(held(limits, "/y"), Err(1.0));
    advance(Duration::from_secs(1)).await;
    let Ok(Some(probe)) = limits.go(0, 1, "/y") else { panic!("this request is the probe") };
    assert!(held(limits, "/y").is_err(), "one at a time");
    drop(probe);
    assert_eq!(held(limits, "/y"), Ok(true), "the next one tries");
    let mut trying = call(None);
    trying.tries(limits.go(0, 1, "/y").ok().flatten());
    limits.answered(&mut trying, 200, &http::HeaderMap::new());
    assert_eq!(held(limits, "/y"), Ok(false));
    assert_eq!(held(limits, "/x"), Ok(true), "a wait of a minute is tried after half of it");
}

/// A quota, a wait of zero, and errors of the client or the network cause no backoff.
#[tokio::test(start_paused = true)]
async fn errors_that_no_wait_helps_cause_no_backoff() {
    let route = runtime("");
    let ours = CanonicalError { origin: Origin::Network, ..refusal(Code::Unavailable, 9) };
    let never = CanonicalError { retryable: false, ..refusal(Code::RateLimited, 9) };
    let now = refusal(Code::RateLimited, 0);
    for error in [refusal(Code::QuotaExceeded, 9), refusal(Code::InternalError, 9), ours, never, now] {
        route.limits.failed(&mut call(None), "/x", &error);
        assert_eq!(held(&route.limits, "/x"), Ok(false), "{:?}", error.code);
    }
}

/// What a provider says about one client's key affects no other key: neither its slots nor its backoffs.
#[tokio::test(start_paused = true)]
async fn one_clients_refusal_does_not_affect_other_keys() {
    let route = runtime("concurrency = { max = 2, queue = 1, max_wait = '3s', learn = true }");
    let limits = &route.limits;
    let slot = async |credential: u64| {
        limits.slot(credential.into(), Priority::Normal.into(), AccountSet::ALL).await.ok().flatten()
    };
    let mut small = Admission::new(1, Priority::Normal, 0);
    small.has(slot(1).await);
    limits.failed(&mut small, "/x", &refusal(Code::ConcurrencyLimited, 3600));
    limits.failed(&mut small, "/x", &refusal(Code::RateLimited, 3600));
    small.end();
    assert!(limits.go(0, 1, "/x").is_err() && limits.go(0, 2, "/x").is_ok());
    let begun = Instant::now();
    let (first, second) = (slot(2).await, slot(2).await);
    assert!(first.is_some() && second.is_some() && begun.elapsed().is_zero());
    assert_eq!(
        (limits.gate(1.into()).map(|gate| gate.learned(0)), limits.gate(2.into()).map(|gate| gate.learned(0))),
        (Some(1), Some(2))
    );
}

/// A plan is full until one of its calls ends, whatever seconds the provider states.
#[tokio::test(start_paused = true)]
async fn a_slot_that_comes_free_ends_the_wait_for_one() {
    let route = runtime("concurrency = { max = 3, queue = 9, max_wait = '3s' }");
    let (running, refused) = (slot(&route).await.ok(), slot(&route).await.ok());
    let mut refused = call(refused);
    route.limits.failed(&mut refused, "/x", &refusal(Code::ConcurrencyLimited, 600));
    refused.end();
    let begun = Instant::now();
    let (waiting, ()) = tokio::join!(slot(&route), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(running);
    });
    assert!(waiting.is_ok() && begun.elapsed() == Duration::from_secs(1), "{:?}", begun.elapsed());
}

/// If none of our calls is at the provider, no slot will be released here, so it is tried again after a moment.
#[tokio::test(start_paused = true)]
async fn a_refusal_for_lack_of_slots_pauses_only_briefly() {
    let route = runtime("concurrency = { max = 3, queue = 9, max_wait = '10s' }");
    let mut refused = call(slot(&route).await.ok());
    route.limits.failed(&mut refused, "/x", &refusal(Code::ConcurrencyLimited, 3600));
    refused.end();
    let begun = Instant::now();
    assert!(slot(&route).await.is_ok());
    assert!(begun.elapsed() <= Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// The operator configures how long a wait is respected, which requests it affects, and whether at all.
#[tokio::test(start_paused = true)]
async fn waits_follow_the_route_configuration() {
    for (lines, code, same, other) in [
        ("", Code::RateLimited, Err(60.0), Err(60.0)),
        ("", Code::Unavailable, Err(60.0), Ok(false)),
        ("waits = { max_hold = '7s' }", Code::RateLimited, Err(7.0), Err(7.0)),
        ("waits = { scope = 'credential' }", Code::Unavailable, Err(60.0), Err(60.0)),
        ("waits = { scope = 'path' }", Code::RateLimited, Err(60.0), Ok(false)),
        ("waits = { enabled = false }", Code::RateLimited, Ok(false), Ok(false)),
    ] {
        let route = runtime(lines);
        route.limits.failed(&mut call(None), "/v1/x", &refusal(code, 3600));
        assert_eq!((held(&route.limits, "/v1/x"), held(&route.limits, "/v1/y")), (same, other), "{lines} {code:?}");
    }
}

/// An operator can clear backoffs.
#[tokio::test(start_paused = true)]
async fn waits_are_cleared_by_the_operator() {
    let shared = shared();
    let state = state(&shared, "a", CONCURRENCY);
    let limits = Arc::clone(&state.runtime(&state.config.routes[0]).limits);
    limits.failed(&mut call(None), "/x", &refusal(Code::RateLimited, 3600));
    assert_eq!(shared.limits.clear_waits(Some("b")), None);
    assert_eq!((shared.limits.clear_waits(Some("a")), held(&limits, "/x")), (Some(1), Ok(false)));
    assert_eq!(shared.limits.clear_waits(None), Some(0));
}

/// The provider counts a cancelled call until it notices the closed connection.
#[tokio::test(start_paused = true)]
async fn the_slot_of_a_cancelled_call_settles_before_it_is_free() {
    let route = runtime(CONCURRENCY);
    let mut cancelled = call(slot(&route).await.ok());
    route.limits.settle(&mut cancelled);
    cancelled.end();
    let begun = Instant::now();
    assert!(slot(&route).await.is_ok());
    assert_eq!(begun.elapsed(), Duration::from_millis(100));
    let mut ended = call(slot(&route).await.ok());
    ended.end();
    assert!(
        slot(&route).await.is_ok() && begun.elapsed() == Duration::from_millis(100),
        "one that ended is gone at once"
    );
}

/// If the provider takes longer than that to notice, the settle time grows.
#[tokio::test(start_paused = true)]
async fn a_slot_that_was_released_too_soon_settles_longer_next_time() {
    let route = runtime(CONCURRENCY);
    let settles = async || {
        let mut cancelled = call(slot(&route).await.ok());
        route.limits.settle(&mut cancelled);
        cancelled.end();
        let begun = Instant::now();
        (slot(&route).await.ok(), begun.elapsed())
    };
    let (permit, took) = settles().await;
    assert_eq!(took, Duration::from_millis(100));
    let mut refused = call(permit);
    route.limits.failed(&mut refused, "/x", &refusal(Code::ConcurrencyLimited, 0));
    refused.end();
    let (permit, took) = settles().await;
    assert_eq!(took, Duration::from_millis(200));
    drop(permit);
    advance(Duration::from_secs(120)).await;
    assert_eq!(settles().await.1, Duration::from_millis(100));
}

/// Clients that retry four times after any error in a session stop when the handshake is refused.
#[tokio::test(start_paused = true)]
async fn a_credential_that_was_refused_on_a_socket_opens_none_for_five_seconds() {
    let route = runtime("");
    let limits = &route.limits;
    let all = limits.all_accounts();
    let known = call(None);
    limits.turn_away(&known, "/x", &refusal(Code::QuotaExceeded, 0));
    let refused = |credential| limits.may_open(all, credential, "/y").is_err();
    let of = |call: &Admission| call.credential().key;
    assert!(refused(of(&known)) && !refused(of(&known) + 1), "whatever it asks for, and nobody else");
    assert!(held(limits, "/x") == Ok(false), "requests of other kinds are not held");
    advance(Duration::from_millis(4999)).await;
    assert!(refused(of(&known)));
    advance(Duration::from_millis(1)).await;
    assert!(!refused(of(&known)) && !refused(of(&known)), "nobody has to try first");
    limits.turn_away(&known, "/x", &refusal(Code::InvalidCredentials, 0));
    assert!(refused(of(&known)));
    assert_eq!((limits.clear_waits(), refused(of(&known))), (1, false));
}

/// A slot used to be requested as of the arrival of the request, before its body was read for its cost.
#[tokio::test(start_paused = true)]
async fn a_client_with_a_slow_body_gets_no_slot_of_an_expired_share() {
    let route = runtime(
        "rate_limits = [{ requests = 9, per = '1s', cost = 'text-characters' }]\n\
         concurrency = { max = 4, queue = 9, max_wait = '3s' }",
    );
    let (limits, begun) = (&route.limits, Instant::now());
    let gate = limits.gate(1.into()).expect("calls are counted");
    gate.set_share(0, Some(0));
    gate.shift_share(0, 4, (begun + Duration::from_secs(5)).into_std(), false, begun.into_std());
    let ask = || limits.ask(Arc::clone(&gate), Priority::Normal.into(), AccountSet::ALL, limits.asks_at(begun)).ok();
    assert!(matches!(ask(), Some(Asked::Granted(_))));
    advance(Duration::from_secs(60)).await;
    assert!(matches!(ask(), Some(Asked::Queued(_))), "the share was over 55 s ago");
}
