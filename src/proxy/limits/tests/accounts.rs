//! What routes of one account share, and what a reload makes of it.

use super::{call, code, held, refusal, shared};
use crate::canon::{Code, Fault};
use crate::config;
use crate::limit::gate::{AccountSet, Priority};
use crate::proxy::limits::{Denied, LimitView, Slot};
use crate::proxy::{RouteRuntime, Shared, State};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, advance, sleep};

const TWO: &str = "concurrency = { max = 2, queue = 4, max_wait = '3s' }";

/// An account with this name, this key and these lines.
fn account(name: &str, key: &str, lines: &str) -> String {
    format!("[[accounts]]\nname = '{name}'\ncredentials = {{ header = 'xi-api-key', value = '{key}' }}\n{lines}\n")
}

/// A route with these lines.
fn route(name: &str, lines: &str) -> String {
    route_to(name, "http://127.0.0.1:1", lines)
}

fn route_to(name: &str, upstream: &str, lines: &str) -> String {
    format!(
        "[[routes]]\nname = '{name}'\nmatch = {{ path = '/{name}' }}\nprovider = 'elevenlabs'\nupstream = '{upstream}'\n{lines}\n"
    )
}

/// The state of a configuration that is put together of these parts.
fn load(shared: &Arc<Shared>, parts: &[String]) -> State {
    let text = parts.concat();
    let loaded = config::load_str(&[("t.toml", &text)], []).unwrap_or_else(|problems| panic!("{problems:?}"));
    State::new(Arc::new(loaded.config), Arc::clone(shared)).expect("a state")
}

fn runtime(state: &State, name: &str) -> Arc<RouteRuntime> {
    let route = state.config.routes.iter().find(|route| route.name == name).expect("a route of this name");
    state.runtime(route)
}

async fn slot(route: &RouteRuntime) -> Result<Slot, Denied> {
    Ok(route.limits.slot(1.into(), Priority::Normal.into(), AccountSet::ALL).await?.expect("calls are counted"))
}

/// What is shown of a route: the limit, its calls, and those that wait.
fn shown(shared: &Arc<Shared>, name: &str) -> (Option<u32>, u32, u32) {
    let LimitView { limit, in_use, queued, .. } = view(shared, name);
    (limit, in_use, queued)
}

fn view(shared: &Arc<Shared>, name: &str) -> LimitView {
    let mut all = shared.limits.view(Instant::now().into_std()).into_iter();
    all.find(|view| view.route == name).expect("a route of this name")
}

#[tokio::test(start_paused = true)]
async fn routes_of_an_account_have_its_slots_together() {
    let shared = shared();
    let state = load(
        &shared,
        &[account("e", "k", TWO), route("a", "account = 'e'"), route("b", "account = 'e'"), route("own", TWO)],
    );
    let [a, b, own] = ["a", "b", "own"].map(|name| runtime(&state, name));
    let (first, second) = (slot(&a).await.expect("free"), slot(&b).await.expect("free"));
    let (third, ()) = tokio::join!(slot(&b), async {
        sleep(Duration::from_secs(1)).await;
        assert_eq!((shown(&shared, "a"), shown(&shared, "b")), ((Some(2), 1, 0), (Some(2), 1, 1)));
        assert!(slot(&own).await.is_ok(), "another route is not concerned");
        drop(first);
    });
    assert!(third.is_ok());
    assert_eq!((shown(&shared, "a"), shown(&shared, "b")), ((Some(2), 0, 0), (Some(2), 2, 0)));
    let begun = Instant::now();
    assert_eq!(code(slot(&a).await), Some(Fault::QueueTimeout));
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
    drop((second, third));
    assert_eq!((shown(&shared, "a"), shown(&shared, "b")), ((Some(2), 0, 0), (Some(2), 0, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_route_has_a_bound_of_its_own_beside_its_account() {
    let shared = shared();
    let one = "account = 'e'\nconcurrency = { max = 1, queue = 1, max_wait = '5s' }";
    let state = load(&shared, &[account("e", "k", TWO), route("a", one), route("b", "account = 'e'")]);
    let [a, b] = ["a", "b"].map(|name| runtime(&state, name));
    let begun = Instant::now();
    let first = slot(&a).await.expect("free");
    assert_eq!(shown(&shared, "a"), (Some(1), 1, 0));
    let (second, full, other) = tokio::join!(slot(&a), async { code(slot(&a).await) }, async {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(shown(&shared, "a"), (Some(1), 1, 1));
        slot(&b).await.expect("who waits for the route's own slot has none of the account's")
    });
    assert_eq!((code(second), full), (Some(Fault::QueueTimeout), Some(Fault::QueueFull)));
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
    // First its own slot, after four seconds, then the account's, after two more: each wait by itself.
    let others = slot(&b).await;
    assert!(others.is_err(), "both slots of the account are taken");
    drop(first);
    let last = slot(&b).await.expect("free");
    let begun = Instant::now();
    let (waited, ()) = tokio::join!(slot(&a), async {
        sleep(Duration::from_secs(1)).await;
        assert_eq!((shown(&shared, "a"), shown(&shared, "b")), ((Some(1), 0, 1), (Some(2), 2, 0)));
        sleep(Duration::from_secs(1)).await;
        drop(last);
    });
    assert!(waited.is_ok() && begun.elapsed() == Duration::from_secs(2));
    drop(waited);
    // Who leaves while it waits for the account gives its own slot back.
    let taken = slot(&b).await.expect("free");
    assert!(tokio::time::timeout(Duration::from_secs(1), slot(&a)).await.is_err());
    assert_eq!(shown(&shared, "a"), (Some(1), 0, 0));
    drop((other, taken));
    assert!(slot(&a).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_a_provider_says_through_one_route_is_known_to_all() {
    let shared = shared();
    let learning = "concurrency = { max = 4, queue = 0, max_wait = '1s', learn = true }";
    let state = load(
        &shared,
        &[account("e", "k", learning), route("a", "account = 'e'"), route("b", "account = 'e'"), route("c", "")],
    );
    let [a, b, c] = ["a", "b", "c"].map(|name| runtime(&state, name));
    let _running = slot(&a).await.expect("free");
    let mut refused = call(slot(&a).await.ok());
    a.limits.failed(&mut refused, "/x", &refusal(Code::ConcurrencyLimited, 0));
    refused.end();
    assert_eq!((shown(&shared, "b"), code(slot(&b).await)), ((Some(1), 0, 0), Some(Fault::QueueFull)));
    a.limits.failed(&mut call(None), "/x", &refusal(Code::RateLimited, 30));
    assert_eq!(
        (held(&a.limits, "/y"), held(&b.limits, "/y"), held(&c.limits, "/y")),
        (Err(30.0), Err(30.0), Ok(false))
    );
    assert_eq!(view(&shared, "b").account.as_deref(), Some("e"));
    assert_eq!(shared.limits.clear_waits(Some("b")), Some(1));
    assert_eq!((held(&a.limits, "/y"), shared.limits.clear_waits(None)), (Ok(false), Some(0)));
    // A credential that is refused on a socket of one opens none of the other.
    a.limits.turn_away(&call(None), "/x", &refusal(Code::InvalidCredentials, 0));
    assert!(b.limits.may_open(AccountSet::only(0), 1, "/x").is_err());
    assert!(c.limits.may_open(AccountSet::only(0), 1, "/x").is_ok());
}

/// The routes of an account may have their prefixes at different places of the provider, and at different hosts of its.
#[tokio::test(start_paused = true)]
async fn a_wait_for_a_path_is_for_that_of_the_provider() {
    let shared = shared();
    let named = "account = 'e'";
    let state = load(
        &shared,
        &[
            account("e", "k", ""),
            route_to("deep", "https://api.example.com/v1", named),
            route_to("root", "https://API.example.com:443", named),
            route_to("other", "https://eu.example.com", named),
            route_to("deaf", "https://api.example.com", "account = 'e'\nwaits = { enabled = false }"),
        ],
    );
    let [deep, root, other, deaf] = ["deep", "root", "other", "deaf"].map(|name| runtime(&state, name).limits.clone());
    deep.failed(&mut call(None), "/jobs/17", &refusal(Code::PollRateLimited, 9));
    deaf.failed(&mut call(None), "/v1/other", &refusal(Code::PollRateLimited, 9));
    assert_eq!((held(&deep, "/jobs/17"), held(&root, "/v1/jobs/17")), (Err(9.0), Err(9.0)));
    assert_eq!(
        (held(&root, "/jobs/17"), held(&other, "/v1/jobs/17"), held(&deaf, "/v1/jobs/17")),
        (Ok(false), Ok(false), Ok(false))
    );
    assert_eq!(held(&root, "/v1/other"), Ok(false));
    // Two kinds of paths that are out of order are all of the account's.
    deep.failed(&mut call(None), "/tts/voice-12", &refusal(Code::Unavailable, 20));
    assert_eq!((held(&root, "/v1/tts/voice-99"), held(&other, "/v1/x")), (Err(20.0), Ok(false)));
    root.failed(&mut call(None), "/v1/stt", &refusal(Code::Unavailable, 20));
    assert_eq!(held(&other, "/v1/x"), Err(20.0));
}

#[tokio::test(start_paused = true)]
async fn a_reload_forgets_no_running_call_of_an_account() {
    let shared = shared();
    let learning = "concurrency = { max = 2, queue = 0, max_wait = '1s' }";
    let named = |name: &str| format!("account = '{name}'");
    let full = async |state: &State, name: &str| code(slot(&runtime(state, name)).await) == Some(Fault::QueueFull);
    let own = format!("credentials = {{ header = 'xi-api-key', value = 'k' }}\n{learning}");
    // A route has the key for itself, and another one as well, with fewer calls.
    let mut state = load(&shared, &[route("a", &own), route("b", &own)]);
    let a = runtime(&state, "a");
    let mut running = vec![slot(&a).await.expect("free"), slot(&a).await.expect("free")];
    a.limits.failed(&mut call(None), "/x", &refusal(Code::RateLimited, 30));
    drop(a);
    let steps: [&[String]; 6] = [
        // Then both name an account with it, another route comes, the account gets another name, loses its routes and has them again.
        &[account("e", "k", learning), route("b", &named("e")), route("a", &named("e"))],
        &[account("e", "k", learning), route("a", &named("e")), route("c", &named("e"))],
        &[
            account("other", "k2", learning),
            account("e2", "k", learning),
            route("c", &named("e2")),
            route("b", &named("other")),
        ],
        &[account("e2", "k", learning), route("d", "")],
        &[account("e2", "k", ""), route("b", &named("e2"))],
        &[account("e2", "k", learning), route("b", &named("e2")), route("c", &named("e2"))],
    ];
    for (step, parts) in steps.iter().enumerate() {
        state = load(&shared, parts);
        let names = state.config.routes.iter().map(|route| route.name.clone()).collect::<Vec<_>>();
        for name in names.iter().filter(|_| ![3, 4].contains(&step)) {
            let new = step == 2 && name == "b";
            assert_eq!(full(&state, name).await, !new, "{step} {name}");
            assert_eq!(held(&runtime(&state, name).limits, "/y").is_err(), !new, "{step} {name}");
        }
    }
    drop(running.pop());
    assert!(!full(&state, "b").await);
    assert_eq!(shared.limits.clear_waits(Some("b")), Some(1));
    advance(Duration::from_secs(1)).await;
    drop((running, state));
}

/// A route that leaves its account, and one that has a bound beside it, count from then on for themselves.
#[tokio::test(start_paused = true)]
async fn a_route_that_moves_shares_its_slots_with_nobody_else() {
    let shared = shared();
    let one = "concurrency = { max = 1, queue = 0, max_wait = '1s' }";
    let own = format!("credentials = {{ header = 'xi-api-key', value = 'k' }}\n{one}");
    let both = format!("account = 'e'\n{one}");
    let state = load(&shared, &[route("a", &own), route("b", &own)]);
    let running = slot(&runtime(&state, "a")).await.expect("free");
    let state = load(&shared, &[account("e", "k", TWO), route("a", &both), route("b", "account = 'e'")]);
    let [a, b] = ["a", "b"].map(|name| runtime(&state, name));
    let second = slot(&a).await.expect("its own bound is new, and the account has one more");
    assert_eq!(shown(&shared, "a"), (Some(1), 1, 0));
    assert_eq!(code(slot(&b).await), Some(Fault::QueueTimeout), "the running call is one of the account's");
    drop((running, second));
    a.limits.failed(&mut call(None), "/x", &refusal(Code::RateLimited, 30));
    let state = load(&shared, &[account("e", "k", TWO), route("a", &own), route("b", "account = 'e'")]);
    let [a, b] = ["a", "b"].map(|name| runtime(&state, name));
    assert_eq!((held(&a.limits, "/x"), held(&b.limits, "/x")), (Ok(false), Err(30.0)));
    let _kept = [slot(&b).await.expect("free"), slot(&b).await.expect("free")];
    assert!(slot(&a).await.is_ok());
}

/// What one account had counted went to each of two that had a part of its keys.
#[tokio::test(start_paused = true)]
async fn an_account_that_is_split_becomes_two() {
    let shared = shared();
    let one = "concurrency = { max = 1, queue = 0, max_wait = '1s' }";
    let both = format!(
        "[[accounts]]\nname = 'e'\ncredentials = [{{ header = 'x-k', value = 'k' }}, {{ header = 'x-k', value = 'l' }}]\n{one}\n"
    );
    let alone = |name: &str, key: &str| account(name, key, one).replace("xi-api-key", "x-k");
    let state = load(&shared, &[both, route("a", "account = 'e'")]);
    let only = async |state: &State, name: &str, place: usize| {
        let only = AccountSet::only(place);
        runtime(state, name).limits.slot(1.into(), Priority::Normal.into(), only).await.ok().flatten()
    };
    let running = only(&state, "a", 0).await;
    assert!(running.is_some());
    let split = |first: &str, second: &str| {
        [
            alone(first, "l"),
            alone(second, "k"),
            route("a", &format!("account = '{first}'")),
            route("b", &format!("account = '{second}'")),
        ]
    };
    let state = load(&shared, &split("f", "e"));
    assert!(only(&state, "b", 0).await.is_none(), "the account of that name has the running call");
    let of_other = only(&state, "a", 0).await;
    assert!(of_other.is_some(), "the other has slots of its own");
    // They change their names.
    let state = load(&shared, &split("e", "f"));
    assert!(only(&state, "a", 0).await.is_none() && only(&state, "b", 0).await.is_none());
    drop(of_other);
    assert!(only(&state, "a", 0).await.is_some() && only(&state, "b", 0).await.is_none());
    drop(running);
    assert!(only(&state, "b", 0).await.is_some());
}

/// Of several routes that became one account only the calls of the busiest were counted: the plan was overshot by all others.
#[tokio::test(start_paused = true)]
async fn an_account_counts_the_calls_of_every_route_that_is_merged_into_it() {
    let shared = shared();
    let four = "concurrency = { max = 4, queue = 4, max_wait = '9s' }";
    let full = "concurrency = { max = 4, queue = 0, max_wait = '1s' }";
    let own = format!("credentials = {{ header = 'xi-api-key', value = 'k' }}\n{four}");
    let state = load(&shared, &[route("a", &own), route("b", &own), route("c", &own.replace("max = 4", "max = 1"))]);
    let [a, b, c] = ["a", "b", "c"].map(|name| runtime(&state, name));
    let (mut running, of_c) = (vec![slot(&a).await.expect("free"), slot(&a).await.expect("free")], slot(&c).await);
    let mut others = Vec::new();
    for _ in 0..4 {
        others.push(slot(&b).await.expect("free"));
    }
    let mut waits = Box::pin(slot(&c));
    assert!(tokio::time::timeout(Duration::ZERO, &mut waits).await.is_err(), "it waits under the old configuration");
    // One keeps a bound of its own, one is gone, and all calls go on with the old configuration.
    let one = "account = 'e'\nconcurrency = { max = 1, queue = 0, max_wait = '1s' }";
    let state = load(&shared, &[account("e", "k", full), route("a", one), route("b", "account = 'e'")]);
    let new = runtime(&state, "b");
    let refused = async || code(slot(&new).await) == Some(Fault::QueueFull);
    assert!(refused().await, "seven run of four");
    drop(of_c);
    let waited = waits.await.expect("the slot that came free where it waits");
    assert!(refused().await, "still seven");
    running.clear();
    assert!(refused().await, "five");
    drop(waited);
    assert!(refused().await, "four");
    drop(others.pop());
    let mut fresh = vec![slot(&new).await.expect("three ran")];
    assert!(refused().await);
    // The same again changes nothing.
    let state = load(&shared, &[account("e", "k", full), route("a", one), route("b", "account = 'e'")]);
    let new = runtime(&state, "b");
    drop(others);
    for _ in 0..3 {
        fresh.push(slot(&new).await.expect("free"));
    }
    assert!(code(slot(&new).await) == Some(Fault::QueueFull));
    drop(fresh);
    assert_eq!(shown(&shared, "b"), (Some(4), 0, 0));
}

/// Two accounts become one, and a route joins one that counts already.
#[tokio::test(start_paused = true)]
async fn accounts_that_become_one_keep_the_calls_of_both() {
    let shared = shared();
    let two = "concurrency = { max = 2, queue = 0, max_wait = '1s' }";
    let own = format!("credentials = {{ header = 'xi-api-key', value = 'k' }}\n{two}");
    let state = load(
        &shared,
        &[
            account("e", "k", two),
            account("f", "l", two),
            route("a", "account = 'e'"),
            route("b", "account = 'f'"),
            route("c", &own),
        ],
    );
    let [a, b, c] = ["a", "b", "c"].map(|name| runtime(&state, name));
    let running = [slot(&a).await.expect("free"), slot(&c).await.expect("free")];
    let of_other = slot(&b).await.expect("free");
    let both = format!(
        "[[accounts]]\nname = 'e'\ncredentials = [{{ header = 'xi-api-key', value = 'k' }}, {{ header = 'xi-api-key', value = 'l' }}]\n{two}\n"
    );
    let state = load(&shared, &[both, route("a", "account = 'e'"), route("c", "account = 'e'")]);
    let new = runtime(&state, "a");
    let last = slot(&new).await.expect("one of the second key");
    assert_eq!(code(slot(&new).await), Some(Fault::QueueFull), "two of each key");
    drop(of_other);
    let second = slot(&new).await.expect("free");
    assert_eq!(code(slot(&new).await), Some(Fault::QueueFull));
    drop((running, last, second));
}
