//! The limits of a route with a clock that stands still.

use super::feedback::Admission;
use super::{Denied, RouteLimits};
use crate::canon::{CanonicalError, Code, Fault, Origin};
use crate::config;
use crate::limit::gate::{Lanes, Permit, Priority};
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

/// The state of one route with these lines.
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

async fn slot(route: &RouteRuntime) -> Result<Permit, Denied> {
    Ok(route.limits.slot(Priority::Normal, Lanes::ALL).await?.expect("calls are counted"))
}

/// What a provider refuses with.
fn refusal(code: Code, wait: u64) -> CanonicalError {
    let mut error = CanonicalError::from_fault(Fault::Panic);
    (error.code, error.origin, error.fault) = (code, Origin::Provider, None);
    (error.retryable, error.retry_after) = (true, Some(Duration::from_secs(wait)));
    error
}

fn call(permit: Option<Permit>) -> Admission {
    let mut admission = Admission::new(1, Priority::Normal, 0);
    admission.has(permit, None);
    admission
}

/// How long a request is held, in seconds; none when it may go, as a probe if so.
fn held(limits: &RouteLimits, path: &str) -> Result<bool, f64> {
    match limits.free(limits.lanes(), 1, path) {
        Ok(held) => Ok(held.is_probe()),
        Err(Denied::Limit(refusal)) => Err(refusal.error.retry_after.expect("a wait").as_secs_f64()),
        Err(Denied::Fault(fault)) => panic!("{fault:?}"),
    }
}

fn code(result: Result<Permit, Denied>) -> Option<Fault> {
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
    limits.failed(&mut call(None), "/x", &refusal(Code::Overloaded, 30));
    limits.failed(&mut call(None), "/x", &refusal(Code::PollRateLimited, 60));
    assert_eq!((held(limits, "/x"), held(limits, "/y")), (Err(60.0), Err(30.0)));
    advance(Duration::from_secs(29)).await;
    assert_eq!(held(limits, "/y"), Err(1.0));
    advance(Duration::from_secs(1)).await;
    let Ok(probe) = limits.free(limits.lanes(), 1, "/y") else { panic!("it is its turn") };
    assert!(probe.is_probe() && held(limits, "/y").is_err(), "one at a time");
    drop(probe);
    assert_eq!(held(limits, "/y"), Ok(true), "the next one tries");
    let Ok(probe) = limits.free(limits.lanes(), 1, "/y") else { panic!("it is its turn") };
    let mut trying = call(None);
    trying.has(None, probe.probe_of(0));
    limits.answered(&mut trying, 200, &http::HeaderMap::new());
    assert_eq!((held(limits, "/y"), held(limits, "/x")), (Ok(false), Err(30.0)));
}

/// A quota, a wait of nothing, and what a caller or the network did hold nobody.
#[tokio::test(start_paused = true)]
async fn what_no_wait_helps_holds_nobody() {
    let route = runtime("");
    let ours = CanonicalError { origin: Origin::Network, ..refusal(Code::Unavailable, 9) };
    let never = CanonicalError { retryable: false, ..refusal(Code::RateLimited, 9) };
    let now = refusal(Code::RateLimited, 0);
    for error in [refusal(Code::QuotaExceeded, 9), refusal(Code::InternalError, 9), ours, never, now] {
        route.limits.failed(&mut call(None), "/x", &error);
        assert_eq!(held(&route.limits, "/x"), Ok(false), "{:?}", error.code);
    }
}

/// What counts goes by the name of the route, and is forgotten with the last call of a route that is gone.
#[tokio::test(start_paused = true)]
async fn limits_outlive_their_configuration_as_long_as_they_are_needed() {
    let shared = shared();
    let runtime = |state: &State| state.runtime(&state.config.routes[0]);
    let first = state(&shared, "a", CONCURRENCY);
    let permit = slot(&runtime(&first)).await.expect("a free slot");
    let mut running = call(None);
    runtime(&first).limits.failed(&mut running, "/x", &refusal(Code::Overloaded, 9));
    let second = state(&shared, "a", &CONCURRENCY.replace("max = 1", "max = 2"));
    drop(first);
    let standing = shared.limits.standing(Instant::now().into_std());
    assert_eq!((standing[0].limit, standing[0].in_use, standing[0].holds.len()), (Some(2), 1, 1));
    assert_eq!((standing[0].holds[0].code, standing[0].holds[0].remaining_seconds), ("overloaded", 9.0));
    let call = runtime(&second);
    let third = state(&shared, "b", "");
    drop(second);
    let names =
        || shared.limits.standing(Instant::now().into_std()).into_iter().map(|one| one.route).collect::<Vec<_>>();
    assert_eq!(names(), ["a", "b"], "a call of it still runs");
    drop((call, permit));
    assert_eq!(names(), ["b"]);
    drop(third);
    assert!(names().is_empty());
}
