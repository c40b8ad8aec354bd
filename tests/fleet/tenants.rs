//! Tenants of eight gateways with the real server, which is killed on the way. `tests/simulation/shares.rs` has the figures without the
//! noise of a machine.

use crate::server::{DEADLINE, Server};
use crate::shares::{Gateway, fleet};
use speechgate::limit::{AccountSet, Claim, Entry, Priority, TenantShare};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const GATEWAYS: usize = 8;
const SLOTS: u32 = 16;
const LEASE: Duration = Duration::from_secs(1);
const CALL: Duration = Duration::from_millis(100);
/// The last tenant may hold so many.
const MOST: u32 = 2;

/// What was counted of everybody, and of each tenant.
#[derive(Default)]
struct Counts {
    running: AtomicU32,
    peak: AtomicU32,
    bounded: AtomicU32,
    bounded_peak: AtomicU32,
    served: [AtomicU32; 4],
}

async fn client(gateway: Arc<Gateway>, counts: Arc<Counts>, tenant: usize, end: Instant, counted: impl Fn() -> bool) {
    let up = |now: &AtomicU32, peak: &AtomicU32| {
        let _ = peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    };
    while Instant::now() < end {
        let claim = Claim { priority: Priority::Normal, tenant: Some(tenant as u64) };
        let permit = match gateway.gate.enter(claim, AccountSet::ALL, Instant::now()) {
            Entry::Admitted(permit) => permit,
            Entry::Queued(waiting) => match tokio::time::timeout(Duration::from_secs(5), waiting).await {
                Ok(permit) => permit,
                Err(_) => continue,
            },
            Entry::Full => panic!("the queue is full"),
        };
        up(&counts.running, &counts.peak);
        if tenant == 3 {
            up(&counts.bounded, &counts.bounded_peak);
        }
        tokio::time::sleep(CALL).await;
        let _ = counts.running.fetch_sub(1, Ordering::SeqCst);
        if tenant == 3 {
            let _ = counts.bounded.fetch_sub(1, Ordering::SeqCst);
        }
        if counted() {
            let _ = counts.served[tenant].fetch_add(1, Ordering::SeqCst);
        }
        drop(permit);
    }
}

#[tokio::test]
async fn tenants_of_eight_gateways_get_what_is_theirs_and_no_more() {
    let Some(mut server) = Server::start() else { return };
    let time = Duration::from_secs(if std::env::var_os("SPEECHGATE_FULL").is_some() { 20 } else { 4 });
    let fleet: Vec<Arc<Gateway>> = fleet(&server, GATEWAYS, SLOTS, LEASE).await.into_iter().map(Arc::new).collect();
    let even = TenantShare { weight: 1, reserve: 0, max: None };
    let bounded = TenantShare { max: Some(MOST), ..even };
    for gateway in &fleet {
        gateway.gate.share_among(&[(0, even), (1, even), (2, even), (3, bounded)], Arc::new(Instant::now));
    }
    let (counts, begun) = (Arc::new(Counts::default()), Instant::now());
    let end = begun + time * 3;
    let mut clients = Vec::new();
    // One is everywhere with ten times its share; the others are at one gateway each, with as much as is theirs.
    for (tenant, calls) in [(0, 48), (1, 5), (2, 5), (3, 6)] {
        for call in 0..calls {
            let gateway = Arc::clone(&fleet[if tenant == 0 { call % GATEWAYS } else { tenant }]);
            let calm = move || begun.elapsed() > time / 4 && begun.elapsed() < time;
            clients.push(tokio::spawn(client(gateway, Arc::clone(&counts), tenant, end, calm)));
        }
    }
    tokio::time::sleep(time).await;
    let served = counts.served.each_ref().map(|served| f64::from(served.load(Ordering::SeqCst)));
    server.stop();
    tokio::time::sleep(time).await;
    server.start_again();
    for client in clients {
        client.await.expect("a client");
    }
    println!("served in the calm: {served:?}");
    assert_eq!(counts.peak.load(Ordering::SeqCst), SLOTS);
    assert_eq!(counts.bounded_peak.load(Ordering::SeqCst), MOST);
    let three = &served[..3];
    let (sum, squares) = three.iter().fold((0.0, 0.0), |(sum, squares), one| (sum + one, squares + one * one));
    assert!(sum * sum / (3.0 * squares) >= 0.95, "{served:?}");
}

/// A reload takes a tenant's maximum away: a call that waits because of it goes on at once, and not with the next renewal of a lease.
#[tokio::test]
async fn a_call_that_waits_for_its_tenant_s_maximum_goes_on_when_there_is_none_any_more() {
    let Some(server) = Server::start() else { return };
    // A third of it is longer than anything here is waited for.
    let fleet = fleet(&server, 2, 4, Duration::from_secs(90)).await;
    let shares = |max| {
        for gateway in &fleet {
            gateway.gate.share_among(&[(1, TenantShare { weight: 1, reserve: 0, max })], Arc::new(Instant::now));
        }
    };
    shares(Some(1));
    let claim = Claim { priority: Priority::Normal, tenant: Some(1) };
    let enter = || fleet[0].gate.enter(claim, AccountSet::ALL, Instant::now());
    let first = match enter() {
        Entry::Admitted(permit) => permit,
        Entry::Queued(waiting) => tokio::time::timeout(DEADLINE, waiting).await.expect("the one"),
        Entry::Full => panic!("the queue is full"),
    };
    let Entry::Queued(mut second) = enter() else { panic!("the maximum is one") };
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut second).await.is_err());
    shares(None);
    drop(tokio::time::timeout(DEADLINE, second).await.expect("it waits for nothing any more"));
    drop(first);
}
