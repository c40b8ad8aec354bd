//! Wake-ups that were lost: what an agent has to hear of, or its clients wait for the next renewal, a third of a lease later.

use crate::connect;
use crate::server::{DEADLINE, Server};
use crate::shares::{Gateway, LEASE, fleet, until};
use speechgate::limit::{AccountSet, Entry, Permit, Priority, Setup, Waiting};
use std::time::{Duration, Instant};

/// What is soon: far less than a renewal.
const SOON: Duration = Duration::from_secs(5);

/// What is written of a gateway: share, used, waiting, …
async fn record(server: &Server, gateway: &str) -> String {
    let all: std::collections::HashMap<String, String> =
        redis::cmd("HGETALL").arg("t:slots:tts:0").query_async(&mut connect(server).await).await.expect("fields");
    all.into_iter().find(|(name, _)| name.starts_with(&format!("{gateway}."))).map(|(_, text)| text).unwrap_or_default()
}

async fn until_written(server: &Server, any_of: &[&str], begins: &str) {
    let start = Instant::now();
    loop {
        for gateway in any_of {
            if record(server, gateway).await.starts_with(begins) {
                return;
            }
        }
        assert!(start.elapsed() < DEADLINE, "{begins}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn queued(gateway: &Gateway) -> Waiting {
    match gateway.gate.enter(Priority::Normal, AccountSet::ALL, Instant::now()) {
        Entry::Queued(waiting) => waiting,
        Entry::Admitted(_) | Entry::Full => panic!("not queued"),
    }
}

async fn soon(waiting: Waiting) -> Permit {
    tokio::time::timeout(SOON, waiting).await.expect("a slot soon")
}

/// A smaller plan: calls of the larger one run beyond shares of nothing, and their end is told.
#[tokio::test]
async fn calls_beyond_the_share_are_told_of_when_they_end() {
    let Some(server) = Server::start() else { return };
    let fleet = fleet(&server, 3, 6, Duration::from_secs(30)).await;
    let held = (fleet[0].take(3).await, fleet[1].take(3).await);
    for gateway in &fleet {
        gateway.gate.reconfigure(&Setup { max: 2, queue: 1000, accounts: 1 }, Instant::now());
    }
    // Somebody waits, so that all of them take turns with the smaller plan.
    let waiting = queued(&fleet[2]);
    until_written(&server, &["g0", "g1"], "0 3 ").await;
    drop(held);
    let first = soon(waiting).await;
    let second = soon(queued(&fleet[2])).await;
    drop((first, second));
}

#[tokio::test]
async fn a_gateway_that_is_dropped_with_its_last_permits_leaves_the_fleet() {
    let Some(server) = Server::start() else { return };
    let mut fleet = fleet(&server, 2, 2, LEASE).await;
    let permits = fleet[0].take(2).await;
    let waiting = queued(&fleet[1]);
    until_written(&server, &["g1"], "0 0 1 ").await;
    let gone = fleet.remove(0);
    drop(permits);
    drop(gone);
    drop(soon(waiting).await);
}

#[tokio::test]
async fn the_end_of_a_pause_asks_the_backend() {
    let Some(server) = Server::start() else { return };
    let fleet = fleet(&server, 2, 1, LEASE).await;
    // The slot is with the second; the first is paused while somebody comes there.
    drop(fleet[1].take(1).await);
    let end = Instant::now() + Duration::from_millis(300);
    fleet[0].gate.pause(0, end);
    let waiting = queued(&fleet[0]);
    tokio::time::sleep_until(end.into()).await;
    fleet[0].gate.wake(end);
    drop(soon(waiting).await);
}

#[tokio::test]
async fn a_pause_that_the_operator_ends_asks_the_backend() {
    let Some(server) = Server::start() else { return };
    let fleet = fleet(&server, 2, 1, LEASE).await;
    drop(fleet[1].take(1).await);
    fleet[0].gate.pause(0, Instant::now() + Duration::from_secs(3600));
    let waiting = queued(&fleet[0]);
    assert_eq!(fleet[0].gate.end_pauses(), 1);
    drop(soon(waiting).await);
}

#[tokio::test]
async fn a_larger_gate_asks_the_backend() {
    let Some(server) = Server::start() else { return };
    let fleet = fleet(&server, 1, 1, LEASE).await;
    let held = fleet[0].take(1).await;
    let waiting = queued(&fleet[0]);
    until_written(&server, &["g0"], "1 1 ").await;
    fleet[0].gate.reconfigure(&Setup { max: 5, queue: 1000, accounts: 1 }, Instant::now());
    drop(soon(waiting).await);
    drop(held);
}

/// What one gateway learns of the plan is known to the others at once, and so is that the plan grew again.
#[tokio::test]
async fn what_one_gateway_learns_all_know() {
    let Some(server) = Server::start() else { return };
    let fleet = fleet(&server, 3, 12, LEASE).await;
    fleet.iter().for_each(|gateway| gateway.gate.set_learning(true));
    let caps = |cap: u32| move |gateway: &Gateway| gateway.gate.learned(0) == cap;
    let first = fleet[0].enter().await;
    first.reported(3, None, Instant::now());
    until("all know", || fleet.iter().all(caps(3))).await;
    let mut held = fleet[1].take(2).await;
    let waiting = queued(&fleet[2]);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let in_use = || fleet.iter().map(|gateway| gateway.gate.stats().in_use).sum::<u32>();
    assert_eq!(in_use(), 3);
    first.reported(12, None, Instant::now());
    until("all know", || fleet.iter().all(caps(12))).await;
    held.push(soon(waiting).await);
    drop((first, held));
}

/// A node of a cluster has a part of the keys only, and would share limits with some of the gateways; a sentinel has none.
#[tokio::test]
async fn a_cluster_or_a_sentinel_is_refused_and_each_gateway_decides_alone() {
    for settings in [&["--cluster-enabled", "yes"][..], &["--sentinel"]] {
        let Some(server) = Server::start_with(settings) else { return };
        let gateway = Gateway::new(&server, "g0", 10, LEASE);
        let permit = gateway.enter().await;
        assert_eq!(gateway.gate.cap(0), 1, "{settings:?}: it takes itself for one of ten");
        let keys = redis::cmd("KEYS").arg("*").query_async::<Vec<String>>(&mut connect(&server).await).await;
        assert!(keys.is_err() || keys.as_ref().is_ok_and(Vec::is_empty), "{settings:?}: {keys:?}");
        drop(permit);
    }
}
