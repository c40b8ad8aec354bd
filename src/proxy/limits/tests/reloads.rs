//! What a reload keeps.

use super::{CONCURRENCY, call, refusal, shared, slot, state};
use crate::canon::Code;
use crate::limit::gate::{AccountSet, Priority};
use crate::proxy::{RouteRuntime, State};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, advance};

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
    let view = shared.limits.view(Instant::now().into_std());
    assert_eq!((view[0].limit, view[0].in_use, view[0].backoffs.len()), (Some(2), 1, 1));
    assert_eq!((view[0].backoffs[0].code, view[0].backoffs[0].remaining_seconds), ("overloaded", 9.0));
    let call = runtime(&second);
    let third = state(&shared, "b", "");
    drop(second);
    let names = || shared.limits.view(Instant::now().into_std()).into_iter().map(|one| one.route).collect::<Vec<_>>();
    assert_eq!(names(), ["a", "b"], "a call of it still runs");
    drop((call, permit));
    assert_eq!(names(), ["b"]);
    drop(third);
    assert!(names().is_empty());
}

/// A reload knows accounts by what they are: whatever place one has now, its running calls count.
#[tokio::test(start_paused = true)]
async fn a_reload_that_adds_an_account_forgets_no_running_call() {
    let shared = shared();
    let keys = |keys: &[&str], more: &str| {
        let listed: Vec<String> =
            keys.iter().map(|key| format!("{{ header = 'xi-api-key', value = '{key}-key' }}")).collect();
        format!("credentials = [{}]\n{more}", listed.join(", "))
    };
    let counted = "concurrency = { max = 2, queue = 0, max_wait = '1s' }";
    let load = |text: String| {
        let state = state(&shared, "a", &text);
        state.runtime(&state.config.routes[0])
    };
    let account = async |route: &Arc<RouteRuntime>| {
        let permit = slot(route).await.ok()?;
        let account = route.limits.account_of(&permit);
        std::mem::forget(permit);
        Some(account)
    };
    let one = load(keys(&["one"], counted));
    assert_eq!((account(&one).await, account(&one).await, account(&one).await), (Some(0), Some(0), None));
    let two = load(keys(&["two", "one"], counted));
    assert_eq!((account(&two).await, account(&two).await, account(&two).await), (Some(0), Some(0), None));
    let view = || shared.limits.view(Instant::now().into_std()).remove(0);
    assert_eq!((view().limit, view().in_use), (Some(4), 4));
    // Taken out for a time and put back.
    let without = load(keys(&["two", "one"], ""));
    assert!(!without.limits.counts());
    let again = load(keys(&["three", "two"], counted));
    assert_eq!((account(&again).await, account(&again).await, account(&again).await), (Some(0), Some(0), None));
    assert_eq!((view().limit, view().accounts.len()), (Some(4), 2), "what is not there any more counts for nothing");
    drop((one, two, without));
}

/// Found by the simulation: a reload that took an account away and one that brought it back gave it a new number, and its running
/// calls were forgotten.
#[tokio::test(start_paused = true)]
async fn an_account_that_comes_back_has_its_running_calls() {
    let shared = shared();
    let load = |keys: &[&str]| {
        let listed: Vec<String> =
            keys.iter().map(|key| format!("{{ header = 'xi-api-key', value = '{key}-key' }}")).collect();
        let text =
            format!("credentials = [{}]\nconcurrency = {{ max = 1, queue = 0, max_wait = '1s' }}", listed.join(", "));
        let state = state(&shared, "a", &text);
        state.runtime(&state.config.routes[0])
    };
    let only = async |route: &RouteRuntime| {
        route.limits.slot(1.into(), Priority::Normal.into(), AccountSet::only(0)).await.ok().flatten()
    };
    let both = load(&["one", "two"]);
    let running = only(&both).await;
    assert!(running.is_some());
    let _without = load(&["two"]);
    let again = load(&["one"]);
    assert!(only(&again).await.is_none(), "its only slot is in use");
    drop((running, both));
    assert!(only(&again).await.is_some());
    // However often accounts come and go, there is a number for each.
    let mut last = again;
    for number in 0..200 {
        let route = load(&[&format!("key-{number}"), "one"]);
        assert!(only(&route).await.is_some(), "{number}");
        last = route;
    }
    drop(last);
}

/// A number that an account had which is long gone came with what had been learned of that one.
#[tokio::test(start_paused = true)]
async fn an_account_with_an_old_number_has_a_plan_of_its_own() {
    let shared = shared();
    let load = |names: &[String]| {
        let listed: Vec<String> =
            names.iter().map(|key| format!("{{ header = 'xi-api-key', value = '{key}-key' }}")).collect();
        let counted = "concurrency = { max = 4, queue = 0, max_wait = '1s', learn = true }";
        let state = state(&shared, "a", &format!("credentials = [{}]\n{counted}", listed.join(", ")));
        state.runtime(&state.config.routes[0])
    };
    let all: Vec<String> = (0..AccountSet::MOST).map(|number| format!("old-{number}")).collect();
    let old = load(&all);
    for account in 0..AccountSet::MOST {
        let permit = old.limits.slot(1.into(), Priority::Normal.into(), AccountSet::only(account)).await.ok().flatten();
        old.limits.failed(&mut call(permit), "/x", &refusal(Code::ConcurrencyLimited, 1));
    }
    advance(Duration::from_secs(10)).await;
    let new = load(&["new".to_owned()]);
    let view = shared.limits.view(Instant::now().into_std()).remove(0);
    assert_eq!((view.limit, view.accounts[0].learned), (Some(4), 4));
    drop((old, new));
}
