//! Whole fleets: gates in this process, each with a fleet handle of its own, and the real server between them.

use crate::connect;
use crate::server::{DEADLINE, Server};
use speechgate::config::secret::Secret;
use speechgate::config::types::Limits;
use speechgate::fleet::{Check, Fleet};
use speechgate::limit::rate::Quota;
use speechgate::limit::{AccountSet, Entry, Gate, Permit, Priority, Setup};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

pub(crate) const LEASE: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_millis(5);

/// One gateway of a fleet.
pub(crate) struct Gateway {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) gate: Arc<Gate>,
}

impl Gateway {
    pub(crate) fn new(server: &Server, id: &str, max: u32, lease: Duration) -> Gateway {
        Gateway::on(server, id, max, lease, &Handle::current())
    }

    fn on(server: &Server, id: &str, max: u32, lease: Duration, runtime: &Handle) -> Gateway {
        let backend = Some(Secret::new(server.url()));
        let limits = Limits { backend, ca_file: None, state: None, lease, timeout: TIMEOUT, prefix: "t".to_owned() };
        let fleet = Fleet::start(&limits, id, Arc::default, runtime).expect("a URL").expect("a backend");
        let gate = Gate::new(&Setup { max, queue: 1000, accounts: 1 });
        fleet.share("tts", 1, &gate);
        Gateway { fleet, gate }
    }

    pub(crate) async fn enter(&self) -> Permit {
        match self.gate.enter(Priority::Normal, AccountSet::ALL, Instant::now()) {
            Entry::Admitted(permit) => permit,
            Entry::Queued(waiting) => tokio::time::timeout(DEADLINE, waiting).await.expect("a slot in time"),
            Entry::Full => panic!("the queue is full"),
        }
    }

    pub(crate) async fn take(&self, count: usize) -> Vec<Permit> {
        let mut permits = Vec::new();
        for _ in 0..count {
            permits.push(self.enter().await);
        }
        permits
    }
}

/// Fleets of as many gateways; the first grace of the server is over.
pub(crate) async fn fleet(server: &Server, count: usize, max: u32, lease: Duration) -> Vec<Gateway> {
    let mut connection = connect(server).await;
    let _: () =
        redis::cmd("HSET").arg("t:slots:tts:0").arg("clock").arg(0).query_async(&mut connection).await.expect("set");
    let fleet: Vec<Gateway> = (0..count).map(|n| Gateway::new(server, &format!("g{n}"), max, lease)).collect();
    // Each is known when each has had a slot.
    for gateway in &fleet {
        drop(gateway.enter().await);
    }
    fleet
}

/// What a provider counts.
#[derive(Default)]
struct Plan {
    in_use: AtomicU32,
    peak: AtomicU32,
}

impl Plan {
    async fn hold(&self, time: Duration) {
        let now = self.in_use.fetch_add(1, Ordering::SeqCst) + 1;
        let _ = self.peak.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(time).await;
        let _ = self.in_use.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < DEADLINE, "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn slots_go_round_in_the_order_of_waits() {
    const SLOTS: u32 = 10;
    const HOLD: Duration = Duration::from_millis(20);
    const TIME: Duration = Duration::from_secs(2);
    let Some(server) = Server::start() else { return };
    let (plan, fleet) = (Arc::new(Plan::default()), fleet(&server, 8, SLOTS, LEASE).await);
    let start = Instant::now();
    let mut clients = Vec::new();
    // All stay to the end: one that is dropped leaves the fleet.
    let fleet: Vec<Arc<Gateway>> = fleet.into_iter().map(Arc::new).collect();
    for (number, gateway) in fleet.iter().enumerate() {
        for _ in 0..5 {
            let (gateway, plan) = (Arc::clone(gateway), Arc::clone(&plan));
            clients.push(tokio::spawn(async move {
                let (mut waited, mut served) = (Duration::ZERO, 0_u32);
                while start.elapsed() < TIME {
                    let came = Instant::now();
                    let permit = gateway.enter().await;
                    waited += came.elapsed();
                    plan.hold(HOLD).await;
                    drop(permit);
                    served += 1;
                }
                (number, waited, served)
            }));
        }
    }
    let mut sums = [(Duration::ZERO, 0); 8];
    for client in clients {
        let (number, waited, served) = client.await.expect("a caller");
        sums[number].0 += waited;
        sums[number].1 += served;
    }
    assert_eq!(plan.peak.load(Ordering::SeqCst), SLOTS);
    let served: u32 = sums.iter().map(|(_, served)| served).sum();
    let used = f64::from(served) * HOLD.as_secs_f64() / (f64::from(SLOTS) * start.elapsed().as_secs_f64());
    // A busy machine takes its time between two calls that are as short as these; `tests/plans` measures longer ones.
    assert!(used > 0.5, "slots were used {used:.2} of the time");
    let means = sums.map(|(waited, served)| waited.as_secs_f64() / f64::from(served));
    let (least, most) = (means.iter().copied().fold(f64::MAX, f64::min), means.iter().copied().fold(0.0, f64::max));
    assert!(most < least * 1.2, "mean waits differ: {means:?}");
}

#[tokio::test]
async fn idle_slots_are_called_back_by_a_message() {
    let Some(server) = Server::start() else { return };
    let fleet = fleet(&server, 2, 4, LEASE).await;
    drop(fleet[0].take(4).await);
    // The renewal of the one that holds them is a third of a minute away.
    let start = Instant::now();
    let permits = fleet[1].take(4).await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    drop(permits);
    drop(fleet[0].take(4).await);
}

#[tokio::test]
async fn slots_in_hand_are_used_without_the_backend() {
    let Some(server) = Server::start() else { return };
    let fleet = fleet(&server, 1, 4, LEASE).await;
    drop(fleet[0].take(4).await);
    server.hang(true);
    for _ in 0..100 {
        let entry = fleet[0].gate.enter(Priority::Normal, AccountSet::ALL, Instant::now());
        assert!(matches!(entry, Entry::Admitted(_)));
    }
    server.hang(false);
}

#[tokio::test]
async fn a_backend_that_hangs_costs_a_stated_time() {
    let Some(server) = Server::start() else { return };
    let lease = Duration::from_secs(1);
    let fleet = fleet(&server, 2, 4, lease).await;
    let held = fleet[0].take(2).await;
    server.hang(true);
    // The other may use its share until its lease is over.
    let start = Instant::now();
    let permits = fleet[1].take(2).await;
    let waited = start.elapsed();
    assert!(waited < lease + Duration::from_secs(2), "{waited:?}");
    let third = fleet[1].gate.enter(Priority::Normal, AccountSet::ALL, Instant::now());
    assert!(matches!(third, Entry::Queued(_)), "two is its half of four");
    drop((third, permits));

    let checks = [check(7)];
    let start = Instant::now();
    assert!(fleet[1].fleet.count("tts", &checks).await.is_err());
    let first = start.elapsed();
    assert!(first < Duration::from_secs(1), "{first:?}");
    // Nobody waits again for what did not answer.
    let start = Instant::now();
    for _ in 0..100 {
        assert!(fleet[1].fleet.count("tts", &checks).await.is_err());
    }
    assert!(start.elapsed() < Duration::from_secs(1));
    server.hang(false);
    let start = Instant::now();
    while fleet[1].fleet.count("tts", &checks).await.is_err() {
        assert!(start.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(held);
    drop(fleet[1].take(4).await);
}

pub(crate) fn check(key: u64) -> Check {
    let ten = NonZeroU32::new(10).expect("ten");
    let quota = Quota { amount: ten, per: Duration::from_secs(3600), burst: ten };
    Check { limit: 0, of_account: false, key, name: key, quota, cost: NonZeroU32::MIN }
}

#[tokio::test]
async fn a_rate_is_shared_and_its_keys_are_not_shown() {
    let Some(server) = Server::start() else { return };
    let fleet = fleet(&server, 2, 1, LEASE).await;
    let key = fleet[0].fleet.keys().of("sk-secret");
    assert_eq!(key, fleet[1].fleet.keys().of("sk-secret"));
    let mut passed = 0;
    for turn in 0..24 {
        let counted = loop {
            // A busy machine may be slower than the deadline.
            match fleet[turn % 2].fleet.count("tts", &[check(key)]).await {
                Ok(counted) => break counted,
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        };
        passed += u32::from(counted.refused.is_none());
        if let Some((limit, wait)) = counted.refused {
            assert!(limit == 0 && wait > Duration::from_secs(300) && wait <= Duration::from_secs(360), "{wait:?}");
        }
    }
    // What was counted at the backend and not heard of in time is refused later.
    assert!((8..=10).contains(&passed), "{passed}");
    fleet[0].fleet.give_back("tts", &[check(key)]).await;
    let counted = fleet[1].fleet.count("tts", &[check(key)]).await;
    assert!(counted.ok().is_none_or(|counted| counted.refused.is_none()), "what was given back can be had");
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connect(&server).await).await.expect("keys");
    assert!(keys.iter().any(|key| key.starts_with("t:rate:tts:0:")), "{keys:?}");
    assert!(!keys.iter().any(|key| key.contains("secret")), "{keys:?}");
}

/// At the moment a backend dies some gateways hold more than their parts, and others less: nobody takes the rest of its part
/// while those may still use what they were granted.
#[tokio::test]
async fn a_backend_that_dies_gives_nobody_more_than_the_plan() {
    const PLAN: u32 = 10;
    let lease = Duration::from_secs(2);
    let Some(mut server) = Server::start() else { return };
    let fleet = fleet(&server, 8, PLAN, lease).await;
    let fleet: Vec<Arc<Gateway>> = fleet.into_iter().map(Arc::new).collect();
    let (plan, start) = (Arc::new(Plan::default()), Instant::now());
    let mut clients = Vec::new();
    for (number, gateway) in fleet.iter().enumerate() {
        // Some have far more to do than others.
        for _ in 0..if number < 3 { 8 } else { 1 } {
            let (gateway, plan) = (Arc::clone(gateway), Arc::clone(&plan));
            clients.push(tokio::spawn(async move {
                while start.elapsed() < lease * 3 {
                    let entry = gateway.gate.enter(Priority::Normal, AccountSet::ALL, Instant::now());
                    let permit = match entry {
                        Entry::Admitted(permit) => Some(permit),
                        Entry::Queued(waiting) => tokio::time::timeout(lease * 2, waiting).await.ok(),
                        Entry::Full => panic!("the queue is full"),
                    };
                    if permit.is_some() {
                        plan.hold(Duration::from_millis(150)).await;
                    }
                }
            }));
        }
    }
    tokio::time::sleep(lease / 2).await;
    assert_eq!(plan.peak.load(Ordering::SeqCst), PLAN);
    server.stop();
    for client in clients {
        client.await.expect("a client");
    }
    assert_eq!(plan.peak.load(Ordering::SeqCst), PLAN);
    let sum: u32 = fleet.iter().map(|gateway| gateway.gate.cap(0)).sum();
    assert_eq!(sum, PLAN, "in the end each has its part");
}

#[tokio::test]
async fn without_a_backend_the_parts_add_up_to_the_plan() {
    let Some(mut server) = Server::start() else { return };
    for (gateways, plan) in [(8, 3), (3, 10)] {
        let fleet = fleet(&server, gateways, plan, Duration::from_millis(600)).await;
        server.stop();
        let sum = || fleet.iter().map(|gateway| gateway.gate.cap(0)).sum::<u32>();
        let each = plan.div_ceil(gateways as u32);
        let local = || fleet.iter().all(|gateway| gateway.gate.cap(0) <= each) && sum() == plan;
        until("local shares", local).await;
        server.start_again();
    }
}

#[tokio::test]
async fn a_backend_that_forgets_everything_hands_out_no_slot_twice() {
    let Some(mut server) = Server::start() else { return };
    let fleet = fleet(&server, 3, 6, LEASE).await;
    let held = [fleet[0].take(4).await, fleet[1].take(2).await];
    server.stop();
    server.start_again();
    // The third has nothing in hand: it gets its part when the backend is gone for long enough, and else has to wait.
    let mut waiting = Vec::new();
    for _ in 0..6 {
        waiting.push(fleet[2].gate.enter(Priority::Normal, AccountSet::ALL, Instant::now()));
    }
    until("all are back", || fleet.iter().map(|gateway| gateway.gate.cap(0)).sum::<u32>() >= 6).await;
    let in_use = || fleet.iter().map(|gateway| gateway.gate.stats().in_use).sum::<u32>();
    assert!(in_use() <= 6 + 2, "six run, and two is the part of the third: {}", in_use());
    drop(held);
    until("slots come free", || fleet[2].gate.stats().in_use == 6).await;
    assert_eq!(fleet[0].gate.stats().in_use + fleet[1].gate.stats().in_use, 0);
}

#[tokio::test]
async fn who_was_stopped_for_longer_than_its_lease_wakes_up_with_nothing() {
    let lease = Duration::from_millis(600);
    let Some(server) = Server::start() else { return };
    let stopped = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let sleeper = Gateway::on(&server, "sleeper", 3, lease, stopped.handle());
    let (sleeper, permits) = tokio::task::spawn_blocking(move || {
        let permits = stopped.block_on(sleeper.take(3));
        // Nothing of it runs from here on.
        (sleeper, (permits, stopped))
    })
    .await
    .expect("taken");
    let other = Gateway::new(&server, "other", 3, lease);
    let got = other.take(3).await;
    // Its calls come to their end, and their slots are not its own any more: neither for who waits nor for who comes.
    let waits = sleeper.gate.enter(Priority::Normal, AccountSet::ALL, Instant::now());
    let (permits, stopped) = permits;
    drop(permits);
    assert!(matches!(waits, Entry::Queued(_)));
    let comes = sleeper.gate.enter(Priority::Normal, AccountSet::ALL, Instant::now());
    assert!(matches!(comes, Entry::Queued(_)));
    assert_eq!((sleeper.gate.stats().in_use, sleeper.gate.cap(0)), (0, 0));
    drop((got, waits, comes));
    stopped.shutdown_background();
}

#[tokio::test]
async fn who_leaves_is_not_waited_for() {
    let Some(server) = Server::start() else { return };
    let mut fleet = fleet(&server, 2, 4, LEASE).await;
    drop(fleet[0].take(4).await);
    let leaver = fleet.remove(0);
    leaver.fleet.leave().await;
    drop(fleet[0].take(4).await);
    let fields: Vec<String> =
        redis::cmd("HKEYS").arg("t:slots:tts:0").query_async(&mut connect(&server).await).await.expect("fields");
    assert!(fields.iter().any(|name| name.starts_with("g1.")) && !fields.iter().any(|name| name.starts_with("g0.")));
}

#[tokio::test]
async fn a_gate_that_was_replaced_keeps_its_calls_counted_until_they_end() {
    let Some(server) = Server::start() else { return };
    let mut fleet = fleet(&server, 1, 2, LEASE).await;
    let old = fleet[0].enter().await;
    let gate = Gate::new(&Setup { max: 2, queue: 10, accounts: 1 });
    fleet[0].fleet.share("tts", 1, &gate);
    fleet[0].gate = gate;
    let new = fleet[0].enter().await;
    let mut second = match fleet[0].gate.enter(Priority::Normal, AccountSet::ALL, Instant::now()) {
        Entry::Queued(waiting) => waiting,
        Entry::Admitted(_) | Entry::Full => panic!("the old call holds the second slot"),
    };
    let early = tokio::time::timeout(Duration::from_millis(100), &mut second).await;
    assert!(early.is_err());
    drop(old);
    let second = tokio::time::timeout(DEADLINE, second).await.expect("the slot of the old call");
    drop((new, second));
}
