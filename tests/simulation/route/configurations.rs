//! The configurations that a reload chooses from.

use super::KEYS;
use speechgate::config::{self, Config};
use speechgate::proxy::{RouteRuntime, Shared, State as Proxy};
use speechgate::telemetry::metrics::Metrics;
use std::sync::{Arc, LazyLock};

pub(super) static METRICS: LazyLock<Arc<Metrics>> = LazyLock::new(|| Arc::new(Metrics::new("simulated", 1)));

/// The configurations that a reload chooses from: the first with the clients' own keys, the others with accounts, in any order,
/// some missing; one of them counts no calls. In the last ones two routes share an account.
pub(super) static CONFIGS: LazyLock<Vec<Arc<Config>>> = LazyLock::new(|| {
    let counted = "concurrency = { max = 4, queue = 100, max_wait = '60s' }";
    let learning = "concurrency = { max = 4, queue = 100, max_wait = '60s', learn = true }";
    let retry =
        "retry = { attempts = 3, on = ['rate_limited', 'concurrency_limited', 'unavailable'], budget = '100%' }";
    let listed = |accounts: &[usize]| {
        let all: Vec<String> =
            accounts.iter().map(|key| format!("{{ header = 'xi-api-key', value = '{}' }}", KEYS[*key])).collect();
        if all.is_empty() { String::new() } else { format!("credentials = [{}]", all.join(", ")) }
    };
    let route = |name: &str, lines: &str| {
        format!(
            "[[routes]]\nname = '{name}'\nmatch = {{ path = '/{name}' }}\nprovider = 'elevenlabs'\n\
             upstream = 'http://127.0.0.1:1'\n{lines}\n{retry}\n"
        )
    };
    let parse = |text: &str| {
        let loaded = config::load_str(&[("simulated.toml", text)], []);
        Arc::new(loaded.unwrap_or_else(|problems| panic!("{problems:?}")).config)
    };
    let load = |accounts: &[usize], counted: &str| parse(&route("r", &format!("{}\n{counted}", listed(accounts))));
    let share = |name: &str, accounts: &[usize], counted: &str| {
        let account = format!("[[accounts]]\nname = '{name}'\n{}\n{counted}\n", listed(accounts));
        let line = format!("account = '{name}'");
        parse(&format!("{account}{}{}", route("r", &line), route("s", &line)))
    };
    vec![
        load(&[], counted),
        load(&[0, 1, 2], counted),
        load(&[2, 0, 1], counted),
        load(&[1, 0], counted),
        load(&[2], counted),
        load(&[0, 1, 2], ""),
        load(&[], learning),
        share("a", &[0, 1, 2], counted),
        share("a", &[2, 0, 1], counted),
        share("a", &[1, 0], counted),
        share("b", &[2, 1], counted),
        share("a", &[0, 1, 2], ""),
    ]
});

/// The limits under a configuration, with what was counted under the one before.
pub(super) fn runtimes(config: &Arc<Config>, shared: &Arc<Shared>) -> Vec<Arc<RouteRuntime>> {
    let state = Proxy::new(Arc::clone(config), Arc::clone(shared)).expect("a state");
    config.routes.iter().map(|route| state.runtime(route)).collect()
}

/// Which keys the accounts of a configuration are.
pub(super) fn accounts(config: &Config) -> Vec<usize> {
    let values = config.routes[0].credentials.iter().map(|one| one.value.reveal());
    values.filter_map(|value| KEYS.iter().position(|key| *key == value)).collect()
}
