//! Eight gateways share ten slots.

use crate::clients::{Clients, End, Outcome};
use crate::gateways::Gateway;
use crate::server::{DEADLINE, Server};
use crate::{Load, PACE, machine};
use speechgate::simulator::{Options, Provider, Simulator, Stats};
use std::time::{Duration, Instant};

const GATEWAYS: usize = 8;
const SLOTS: usize = 10;
const LEASE: Duration = Duration::from_secs(2);

/// What the provider counted between two moments.
struct Window {
    used: f64,
    refused: u64,
    served: u64,
}

async fn window(simulator: &Simulator, time: Duration) -> Window {
    let (before, start) = (simulator.stats(), Instant::now());
    tokio::time::sleep(time).await;
    let after = simulator.stats();
    between(&before, &after, start.elapsed())
}

fn between(before: &Stats, after: &Stats, time: Duration) -> Window {
    let used = (after.slot_seconds - before.slot_seconds) / (SLOTS as f64 * time.as_secs_f64());
    Window { used, refused: after.refused - before.refused, served: after.served - before.served }
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !done().await {
        assert!(start.elapsed() < DEADLINE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn provider() -> Simulator {
    let options = Options { plan: Some(SLOTS), pace: PACE, ..Options::default() };
    Simulator::start(Provider::ElevenLabs, options).await.expect("a provider")
}

#[tokio::test]
async fn ten_slots_for_eight_gateways() {
    let _machine = machine().await;
    let Some(mut server) = Server::start() else { return };
    let (load, simulator) = (Load::asked_for(), provider().await);
    let limits = format!("[limits]\nbackend = '{}'\nlease = '{}s'\ntimeout = '50ms'\n", server.url(), LEASE.as_secs());
    let concurrency = format!("{{ max = {SLOTS}, queue = 1000, max_wait = '60s' }}");
    let mut gateways: Vec<Gateway> =
        (0..GATEWAYS).map(|_| Gateway::start(&simulator.url(), &concurrency, &limits)).collect();
    until("all have met", async || {
        let mut met = true;
        for gateway in &gateways {
            met &= gateway.metric("speechgate_fleet_size").await == GATEWAYS as f64;
        }
        met
    })
    .await;
    let addresses: Vec<_> = gateways.iter().map(Gateway::address).collect();
    let clients = Clients::start(load.clients, &addresses, Duration::from_secs(1));
    until("all slots are in use", async || simulator.stats().in_use == SLOTS).await;

    let calm = window(&simulator, load.twelfths(4)).await;
    let calm_until = load.twelfths(4);
    for gateway in &mut gateways[..2] {
        gateway.kill();
    }
    // What the dead held comes back with the end of its lease.
    let killed = window(&simulator, LEASE.max(load.twelfths(1))).await;
    let after_kill = window(&simulator, load.twelfths(2)).await;
    // First it only hangs, and then it is gone.
    server.hang(true);
    let hangs = window(&simulator, load.twelfths(1)).await;
    server.stop();
    let before_loss = simulator.stats();
    until("all say that they are on their own", async || {
        let mut alone = true;
        for gateway in &gateways[2..] {
            alone &= gateway.metric("speechgate_fleet_connected").await == 0.0;
        }
        alone
    })
    .await;
    // Until the leases of all others are over nobody takes the rest of its part.
    tokio::time::sleep(LEASE).await;
    let losing = simulator.stats().refused - before_loss.refused;
    let gone = window(&simulator, load.twelfths(1)).await;
    server.start_again();
    let back = window(&simulator, LEASE.max(load.twelfths(1))).await;
    let recovered = window(&simulator, load.twelfths(3)).await;
    let outcomes = clients.finish().await;
    let waits = waits(&outcomes, calm_until);
    for (name, window) in [
        ("calm", &calm),
        ("two killed", &killed),
        ("after that", &after_kill),
        ("backend hangs", &hangs),
        ("no backend", &gone),
        ("backend is back", &back),
        ("recovered", &recovered),
    ] {
        let Window { used, refused, served } = window;
        println!("{name:>16}: slots in use {:.1}% of the time, {served} served, {refused} refused", used * 100.0);
    }
    println!("mean waits by gateway in seconds: {waits:.2?}");

    for (name, window) in [("calm", &calm), ("after two were killed", &after_kill), ("recovered", &recovered)] {
        assert!(window.used >= 0.95, "{name}: {:.3}", window.used);
        assert_eq!(window.refused, 0, "{name}");
    }
    assert_eq!(killed.refused, 0);
    // Whoever goes from its share to its part may meet a call of another that goes on: each such call once.
    let lost = hangs.refused + losing + gone.refused + back.refused;
    assert!(lost <= SLOTS as u64, "{lost} refused");
    assert!(gone.used > 0.5, "a lost backend does not stop anybody: {}", gone.used);
    let (least, most) = (waits.iter().copied().fold(f64::MAX, f64::min), waits.iter().copied().fold(0.0, f64::max));
    // The means of a short load are of few calls each.
    let factor = if load.time < Duration::from_secs(30) { 2.0 } else { 1.25 };
    assert!(most <= least * factor, "waits differ by gateway: {waits:?}");
    let refused = outcomes.iter().filter(|outcome| matches!(outcome.end, End::Refused(_))).count();
    assert!(refused <= SLOTS, "{refused} clients were refused");
}

/// The mean wait at each gateway of calls that began and had their slot in the calm.
fn waits(outcomes: &[Outcome], until: Duration) -> Vec<f64> {
    let at = |gateway: usize| {
        let own = outcomes.iter().filter(|one| one.gateway == gateway && one.at + one.waited < until);
        let waits: Vec<f64> = own.map(|one| one.waited.as_secs_f64()).collect();
        waits.iter().sum::<f64>() / waits.len().max(1) as f64
    };
    (0..GATEWAYS).map(at).collect()
}

#[tokio::test]
async fn the_same_load_without_gateways() {
    let _machine = machine().await;
    let (load, simulator) = (Load::asked_for(), provider().await);
    let clients = Clients::start(load.clients, &[simulator.address()], Duration::from_secs(1));
    let all = window(&simulator, load.twelfths(4)).await;
    let outcomes = clients.finish().await;
    let refused = outcomes.iter().filter(|outcome| matches!(outcome.end, End::Refused(429))).count();
    println!("without gateways: {} served, {} refused, {refused} of {} calls", all.served, all.refused, outcomes.len());
    assert!(refused * 2 > outcomes.len(), "{refused} of {}", outcomes.len());
}
