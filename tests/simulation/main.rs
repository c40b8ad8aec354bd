//! Simulations of the limits: whole worlds of gateways, clients, providers and a backend under a clock that jumps.
//!
//! | module | what it is |
//! |---|---|
//! | `world` | a seed, its clock, what happened and the first rule that did not hold |
//! | `fleet` | gateways that share the slots of an account, and tenants and routes them: the real agents, leases, gates and scripts |
//! | `route` | one gateway and its providers: waits, retries, learned caps, reloads |
//! | `shares` | tenants of gateways that share slots: weights, reserves, maxima |
//! | `rates` | gateways that share a rate |
//! | `network` | the backend and the way to it, which lose, delay, hang, die and forget |
//! | `store` | a model of Redis that runs the real scripts |
//! | `agreement` | the model against a real server |
//!
//! # What it was seen to find
//!
//! Each was taken out of the source as it was when this was written, and 10,000 seeds were run until one failed. A change of a world's
//! story gives other seeds.
//!
//! | taken out | where | rule that did not hold | first seed |
//! |---|---|---|---|
//! | a wait binds the credential that it was said to (one key for all) | `RouteLimits::backoff_keys` | held for what nobody said to it | 1 |
//! | each key has a gate of its own (one gate for all) | `Keyed::of` | a slot is free and somebody waits | 7 |
//! | the deadline of a probe (1000 s) | `backoff::PROBE_DEADLINE` | held long after the end of the wait | 346 |
//! | the body is there before a request is the probe | `RouteLimits::sets_out` | held after the wait, and nobody is trying | 235 |
//! | a retry waits as long as it was told | `policy::wait` | sent again too early | 49 |
//! | a retry asks again whether it may | `RouteLimits::goes_again` | sent during a wait | 283 |
//! | a retry that is accepted is no refusal any more | `Permit::succeeded` | less is learned than the plan | 1405 |
//! | running calls are kept while a reload counts none | `gates` in `proxy::limits` | a fifth slot of four | 1843 |
//! | the routes of an account share its backoffs | `RouteLimits::new` | sent during a wait | 28 |
//! | an account goes on with its slots after a reload | `AccountLimits::new` | a fifth slot of four | 25 |
//! | waiters of an account that a reload takes away | `GateState::dispatch` | a slot is free and somebody waits | 157 |
//! | the agent hears of the end of a pause | `GateState::concerns_fleet` | a slot is free and somebody waits | 2880 |
//! | the fleet hears what a gateway learns | `Lease::news` | refused more than ten times in a calm fleet | 78 |
//! | after the loss of the backend each keeps what it was granted | `Lease::without_backend` | more calls than the plan | 711 |
//!
//! Seen before its mend was there, when a fleet had 20 to 50 calls, and not since: grants are written before they are published (more
//! calls than the plan). `tests/fleet/slots.rs` holds it.
//!
//! Not found in 10,000 seeds: that a gateway without a share tells of the end of its calls (`Lease::wants_update`, `Lease::watches`). Calls
//! here are too short for it; `tests/fleet/defects.rs` holds it.

mod agreement;
mod fleet;
mod network;
mod rates;
mod route;
#[path = "../fleet/server.rs"]
#[expect(dead_code, reason = "the tests of the fleet stop the server and start it again, too")]
mod server;
mod shares;
mod store;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use world::{Knobs, Violation};

/// How many seeds a run takes unless `SPEECHGATE_SEEDS` says otherwise.
const SEEDS: u64 = 10_000;
/// After so many failures a run ends.
const ENOUGH: usize = 5;

fn simulate(seed: u64, traces: bool) -> Result<(), Violation> {
    simulate_with(seed, traces, Knobs::default())
}

fn simulate_with(seed: u64, traces: bool, knobs: Knobs) -> Result<(), Violation> {
    let run = || match seed % 3 {
        0 => world::run(seed, traces, fleet::run),
        1 => world::run(seed, traces, |rng, log| route::run(rng, log, knobs)),
        _ => world::run(seed, traces, rates::run),
    };
    // A panic is a failure like any other: its seed is what is wanted.
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    ended.unwrap_or_else(|_| Err(Violation { what: "it panicked".to_owned(), trace: Vec::new() }))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

#[test]
fn every_seed_keeps_the_rules() {
    let (seeds, first, begun) =
        (number("SPEECHGATE_SEEDS").unwrap_or(SEEDS), number("SPEECHGATE_FIRST").unwrap_or(0), Instant::now());
    let enough = number("SPEECHGATE_ENOUGH").and_then(|number| usize::try_from(number).ok()).unwrap_or(ENOUGH);
    let (next, failed) = (AtomicU64::new(first), std::sync::Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let _ = scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds || failed.lock().expect("no panic").len() >= enough {
                        break;
                    }
                    if simulate(seed, false).is_err() {
                        failed.lock().expect("no panic").push(seed);
                    }
                }
            });
        }
    });
    eprintln!("{seeds} seeds in {:.1?}", begun.elapsed());
    let mut failed = failed.into_inner().expect("no panic");
    failed.sort_unstable();
    for seed in &failed {
        show(*seed);
    }
    assert!(failed.is_empty(), "{} seeds fail", failed.len());
}

/// Runs one seed again, with its trace.
fn show(seed: u64) {
    let Err(violation) = simulate(seed, true) else { return eprintln!("seed {seed} does not fail again") };
    eprintln!(
        "\nseed {seed}; again: SPEECHGATE_SEED={seed} cargo test --test simulation replay -- --nocapture\n{violation}"
    );
}

#[test]
fn replay() {
    let seed = number("SPEECHGATE_SEED").unwrap_or(0);
    if let Err(violation) = simulate(seed, true) {
        panic!("seed {seed}\n{violation}");
    }
}

/// The steps that clients take here are those of `proxy::admit` and `proxy::retry`; done wrong, they are found.
#[test]
fn a_step_that_is_wrong_is_found() {
    let wrong = [
        ("probes before its body", Knobs { probes_before_its_body: true, ..Knobs::default() }),
        ("retries at once", Knobs { retries_at_once: true, ..Knobs::default() }),
        ("retries ignore waits", Knobs { retries_ignore_waits: true, ..Knobs::default() }),
        ("shares credentials", Knobs { shares_credentials: true, ..Knobs::default() }),
    ];
    for (name, knobs) in wrong {
        let found = (1..1500).step_by(3).find_map(|seed| Some((seed, simulate_with(seed, false, knobs).err()?)));
        let Some((seed, violation)) = found else { panic!("{name} is not found") };
        eprintln!("{name}: seed {seed}: {}", violation.what);
    }
}
