//! Six tenants on one plan: one with ten times its share, five within theirs.

use crate::caller::{Form, Tenant, call, lines};
use crate::gateways::Gateway;
use crate::machine;
use crate::provider::{Provider, Seen};
use crate::server::{DEADLINE, Server};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// So many that the next one comes free in a small part of a call: who has as many clients as slots waits for that after each call.
const SLOTS: u32 = 36;
const TENANTS: usize = 6;
/// The slots that are a tenant's while all want theirs.
const SHARE: usize = SLOTS as usize / TENANTS;
/// Pieces of a call.
const PIECES: u32 = 10;

/// How long calls take, how long is looked, and how well slots have to be used: of short calls a busy machine takes more away.
#[derive(Clone, Copy)]
struct Load {
    call: Duration,
    window: Duration,
    used: f64,
}

impl Load {
    fn asked_for() -> Load {
        match std::env::var_os("SPEECHGATE_FULL") {
            Some(_) => Load { call: Duration::from_secs(3), window: Duration::from_secs(45), used: 0.95 },
            None => Load { call: Duration::from_millis(1500), window: Duration::from_secs(10), used: 0.9 },
        }
    }

    /// Longer than any call, so that none outlives the lease that it began with.
    fn lease(self) -> Duration {
        self.call * 3
    }
}

/// What one call of a tenant within its share waited, and when it began.
struct Waited {
    at: Instant,
    waited: Duration,
}

async fn client(gateway: SocketAddr, tenant: Tenant, number: usize, stop: Arc<AtomicBool>) -> Vec<Waited> {
    let mut all = Vec::new();
    let mut turn = number;
    while !stop.load(Ordering::Relaxed) {
        let at = Instant::now();
        let outcome = call(gateway, &tenant, Form::ALL[turn % 3], "whole", "Hi.").await;
        assert!(outcome.whole, "{} by {:?}: {outcome:?}", tenant.name, Form::ALL[turn % 3]);
        all.push(Waited { at, waited: outcome.waited });
        turn += 1;
    }
    all
}

/// The part of all slots that was in use between two looks, and Jain's index of what each tenant had of them.
fn between(name: &str, before: &Seen, after: &Seen) -> (f64, f64) {
    let time = (after.at - before.at).as_secs_f64();
    let used = (after.slot_seconds - before.slot_seconds) / (f64::from(SLOTS) * time);
    let had = |tenant: &String| {
        let of = |seen: &Seen| seen.tenants.get(tenant).map_or(0.0, |bill| bill.slot_seconds);
        (of(after) - of(before)) / time
    };
    let served: Vec<f64> = after.tenants.keys().map(had).collect();
    let (sum, squares) = served.iter().fold((0.0, 0.0), |(sum, squares), one| (sum + one, squares + one * one));
    let jain = sum * sum / (served.len() as f64 * squares);
    println!("{name:>10}: slots in use {:.1}%, Jain {jain:.3}, slots by tenant {served:.2?}", used * 100.0);
    (used, jain)
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !done().await {
        assert!(start.elapsed() < DEADLINE * 2, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn window(provider: &Provider, time: Duration) -> (Seen, Seen) {
    let before = provider.seen();
    tokio::time::sleep(time).await;
    (before, provider.seen())
}

async fn shares(gateways: usize) {
    let _machine = machine().await;
    let Some(mut server) = Server::start() else { return };
    let load = Load::asked_for();
    let provider = Provider::start(PIECES, load.call / PIECES).await;
    let tenants: Vec<Tenant> = (0..TENANTS).map(|number| Tenant::new(&format!("t{number}"))).collect();
    let tables: String = tenants.iter().map(|tenant| tenant.table("")).collect();
    let route = format!("concurrency = {{ max = {SLOTS}, queue = 1000, max_wait = '120s' }}");
    let lease = load.lease().as_secs();
    let text = format!(
        "[limits]\nbackend = '{}'\nlease = '{lease}s'\ntimeout = '200ms'\n{}{tables}",
        server.url(),
        lines(provider.address, &route)
    );
    let fleet: Vec<Gateway> = (0..gateways).map(|_| Gateway::run(&text, &[])).collect();
    let all_say = async |metric: &str, value: f64| {
        for gateway in &fleet {
            if gateway.metric(metric).await != value {
                return false;
            }
        }
        true
    };
    until("all have met", async || all_say("speechgate_fleet_size", gateways as f64).await).await;
    let (stop, mut clients) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
    for (number, tenant) in tenants.iter().enumerate() {
        // The first is everywhere; the others have a client for each slot of their shares, at two gateways.
        for call in 0..if number == 0 { 10 * SHARE } else { SHARE } {
            let gateway = fleet[(number + call) % gateways].address();
            let (tenant, stop) = (tenant.clone(), Arc::clone(&stop));
            clients.spawn(async move { (number, client(gateway, tenant, call, stop).await) });
        }
    }
    until("all slots are in use", async || provider.seen().running == SLOTS).await;
    tokio::time::sleep(load.call * 2).await;
    let calm = window(&provider, load.window).await;

    server.stop();
    until("each is on its own", async || all_say("speechgate_fleet_connected", 0.0).await).await;
    // What others may still use by their leases is nobody's until these are over.
    tokio::time::sleep(load.lease()).await;
    let alone = window(&provider, load.call * 3).await;
    server.start_again();
    until("all are back", async || all_say("speechgate_fleet_connected", 1.0).await).await;
    tokio::time::sleep(load.lease() * 2).await;
    let back = window(&provider, load.window).await;
    stop.store(true, Ordering::Relaxed);
    let outcomes = clients.join_all().await;

    let mut waits: Vec<Duration> = outcomes
        .iter()
        .filter(|(tenant, _)| *tenant > 0)
        .flat_map(|(_, all)| all)
        .filter(|one| [&calm, &back].iter().any(|(from, to)| from.at <= one.at && one.at + one.waited <= to.at))
        .map(|one| one.waited)
        .collect();
    waits.sort_unstable();
    // The first piece comes after a tenth of a call.
    let p99 = waits[(waits.len() * 99).div_ceil(100) - 1].saturating_sub(load.call / PIECES);
    let peak = provider.seen().peak;
    println!("{gateways} gateways: {} waits, p99 {p99:.2?}, at most {peak} of {SLOTS} calls at once", waits.len());
    let (calm, alone, back) =
        (between("calm", &calm.0, &calm.1), between("alone", &alone.0, &alone.1), between("back", &back.0, &back.1));
    assert!(peak <= SLOTS, "{peak} calls at once");
    for (name, (used, jain)) in [("calm", calm), ("back", back)] {
        assert!(jain >= 0.95, "{name}: {jain:.3}");
        assert!(used >= load.used, "{name}: slots in use {used:.3}");
    }
    assert!(alone.0 > 0.5, "a lost backend stops nobody: {:.3}", alone.0);
    assert!(p99 <= load.call, "a tenant within its share waits {p99:?}");
}

#[tokio::test]
async fn one_gateway_gives_six_tenants_what_is_theirs() {
    shares(1).await;
}

#[tokio::test]
async fn eight_gateways_give_six_tenants_what_is_theirs() {
    shares(8).await;
}
