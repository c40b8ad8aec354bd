//! Budgets that a fleet counts together, with the real server.

use crate::server::{DEADLINE, Server};
use speechgate::config::secret::Secret;
use speechgate::config::types::Limits;
use speechgate::fleet::{Fleet, SharedBudget};
use speechgate::limit::budgets::{Spending, Spent};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// A moment of some day.
const NOW: Duration = Duration::from_secs(1_796_000_400);

/// One gateway of a fleet, and what it has counted of one budget.
struct Gateway {
    fleet: Arc<Fleet>,
    budget: [SharedBudget; 1],
}

impl Gateway {
    fn new(server: &Server, id: &str) -> Gateway {
        let backend = Some(Secret::new(server.url()));
        let (lease, timeout) = (Duration::from_secs(2), Duration::from_millis(20));
        let limits = Limits { backend, ca_file: None, state: None, lease, timeout, prefix: "t".to_owned() };
        let fleet = Fleet::start(&limits, id, Arc::default, &Handle::current()).expect("a URL").expect("a backend");
        let spending = Arc::new(Spending::new(1, Spent::default()));
        Gateway { fleet, budget: [SharedBudget { name: "a:characters/1d".to_owned(), spending }] }
    }

    /// As the gateway does it: at once, and again until somebody hears.
    async fn tells(&self) {
        let start = Instant::now();
        while !self.fleet.tell(&self.budget, NOW).await {
            assert!(start.elapsed() < DEADLINE, "nobody hears it");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn uses(&self, amount: f64) {
        let _ = self.budget[0].spending.add(amount, f64::MAX, NOW);
    }

    fn used(&self) -> f64 {
        self.budget[0].spending.used(NOW)
    }
}

async fn fleet<const N: usize>(server: &Server, names: [&str; N]) -> [Gateway; N] {
    let fleet = names.map(|name| Gateway::new(server, name));
    for gateway in &fleet {
        gateway.tells().await;
    }
    fleet
}

/// All have told what they used, and then all know the sum.
async fn agree(fleet: &[Gateway]) -> Vec<f64> {
    for _ in 0..2 {
        for gateway in fleet {
            gateway.tells().await;
        }
    }
    fleet.iter().map(Gateway::used).collect()
}

#[tokio::test]
async fn sixteen_clients_on_four_gateways_go_beyond_a_budget_by_one_generation_each() {
    const AMOUNT: f64 = 1000.0;
    const GENERATION: f64 = 10.0;
    const CLIENTS: u32 = 16;
    let Some(server) = Server::start() else { return };
    let fleet = fleet(&server, ["g0", "g1", "g2", "g3"]).await.map(Arc::new);
    let (served, mut clients) = (Arc::new(AtomicU32::new(0)), Vec::new());
    for client in 0..CLIENTS {
        let (gateway, served) = (Arc::clone(&fleet[client as usize % 4]), Arc::clone(&served));
        clients.push(tokio::spawn(async move {
            loop {
                gateway.fleet.ask(&gateway.budget, NOW).await;
                if gateway.used() >= AMOUNT {
                    return;
                }
                // Nobody waits for what was used to be told: whoever begins next here tells it.
                tokio::time::sleep(Duration::from_micros(u64::from(client) * 300)).await;
                gateway.uses(GENERATION);
                let _ = served.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    for client in clients {
        tokio::time::timeout(DEADLINE, client).await.expect("in time").expect("a client");
    }
    let used = f64::from(served.load(Ordering::Relaxed)) * GENERATION;
    assert!(used >= AMOUNT && used <= AMOUNT + f64::from(CLIENTS) * GENERATION, "{used}");
    for gateway in &fleet {
        gateway.tells().await;
    }
    fleet[0].tells().await;
    assert_eq!(fleet[0].used(), used);
}

#[tokio::test]
async fn what_is_used_while_the_backend_hangs_or_is_gone_counts_once() {
    let Some(mut server) = Server::start() else { return };
    let fleet = fleet(&server, ["g0", "g1"]).await;
    fleet.iter().for_each(|gateway| gateway.uses(100.0));
    assert_eq!(agree(&fleet).await, [200.0, 200.0]);
    // What is told to a backend that hangs is read later, and told again.
    server.hang(true);
    for gateway in &fleet {
        gateway.uses(10.0);
        assert!(!gateway.fleet.tell(&gateway.budget, NOW).await);
        gateway.uses(1.0);
        assert_eq!(gateway.used(), 211.0, "it goes on with what it knew and its own");
    }
    server.hang(false);
    assert_eq!(agree(&fleet).await, [222.0, 222.0]);
    // One that has lost all its data is told what was known, by both, and what each has used since.
    server.stop();
    fleet[0].uses(5.0);
    fleet[1].uses(7.0);
    server.start_again();
    assert_eq!(agree(&fleet).await, [234.0, 234.0]);
    fleet.iter().for_each(|gateway| gateway.uses(1.0));
    assert_eq!(agree(&fleet).await, [236.0, 236.0]);
}

#[tokio::test]
async fn gateways_that_have_gone_are_not_forgotten() {
    let Some(mut server) = Server::start() else { return };
    let [one, other] = fleet(&server, ["g0", "g1"]).await;
    one.uses(30.0);
    one.tells().await;
    other.tells().await;
    drop(one);
    let again = Gateway::new(&server, "g2");
    again.tells().await;
    assert_eq!(again.used(), 30.0, "after a restart");
    // Somebody still knows it when the backend does not.
    server.stop();
    server.start_again();
    other.tells().await;
    again.uses(1.0);
    again.tells().await;
    let third = Gateway::new(&server, "g3");
    third.tells().await;
    assert_eq!(third.used(), 31.0);
    // What was given back goes back.
    again.budget[0].spending.give_back(1.0, NOW);
    again.tells().await;
    third.tells().await;
    assert_eq!(third.used(), 30.0);
}

#[tokio::test]
async fn each_period_has_a_count_of_its_own() {
    let Some(server) = Server::start() else { return };
    let [gateway] = fleet(&server, ["g0"]).await;
    gateway.uses(30.0);
    gateway.tells().await;
    let tomorrow = NOW + Duration::from_secs(24 * 60 * 60);
    assert!(gateway.fleet.tell(&gateway.budget, tomorrow).await);
    assert_eq!(gateway.budget[0].spending.used(tomorrow), 0.0);
    let keys: Vec<String> =
        redis::cmd("KEYS").arg("t:budget:*").query_async(&mut crate::connect(&server).await).await.expect("keys");
    let [key] = keys.as_slice() else { panic!("{keys:?}") };
    let left: i64 = redis::cmd("TTL").arg(key).query_async(&mut crate::connect(&server).await).await.expect("seconds");
    assert!((24 * 60 * 60..=48 * 60 * 60).contains(&left), "{left}");
}
