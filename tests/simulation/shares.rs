//! Tenants of a fleet: what each gets of a plan that several gateways share, with the real agents, gates and scripts under a clock that
//! jumps.

use super::network::{Server, Way, Weather};
use fastrand::Rng;
use speechgate::config::secret::Secret;
use speechgate::config::types::Limits;
use speechgate::fleet::Fleet;
use speechgate::limit::{AccountSet, Claim, Entry, Gate, Priority, Setup, TenantShare};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, sleep_until};

const LEASE: Duration = Duration::from_secs(2);
const EVEN: TenantShare = TenantShare { weight: 1, reserve: 0, max: None };

/// A tenant: what it may have, how many calls it wants to have at a time, at which gateways, and how long they take.
#[derive(Clone)]
struct Wants {
    share: TenantShare,
    calls: usize,
    gateways: Vec<usize>,
    lasts: Duration,
}

/// What happens to the backend.
#[derive(Clone, Copy, PartialEq)]
enum Backend {
    Stays,
    /// It is killed at a time and comes back at another, with its data or without.
    Dies {
        at: Duration,
        back: Duration,
        loses_data: bool,
    },
}

/// What was seen of each tenant from one time to another.
#[derive(Debug, Default, Clone)]
struct Seen {
    /// Slot seconds.
    service: f64,
    waits: Vec<Duration>,
    running: u32,
    peak: u32,
}

struct Watch {
    tenants: Vec<Seen>,
    running: u32,
    peak: u32,
    last: Instant,
    /// Nothing before and nothing in between is counted.
    windows: Vec<(Instant, Instant)>,
}

impl Watch {
    fn counts(&self, at: Instant) -> bool {
        self.windows.iter().any(|(from, to)| *from <= at && at < *to)
    }

    /// Time has passed.
    fn passes(&mut self) {
        let now = Instant::now();
        for (from, to) in &self.windows {
            let time = now.min(*to).saturating_duration_since(self.last.max(*from)).as_secs_f64();
            for tenant in &mut self.tenants {
                tenant.service += f64::from(tenant.running) * time;
            }
        }
        self.last = now;
    }
}

struct Figures {
    tenants: Vec<Seen>,
    /// The most calls that ran at once, at any time.
    peak: u32,
    /// Slots in use, of all in the windows.
    used: f64,
}

/// Runs a fleet. Counted is what happens from the fifth second on, as long as the backend is there and, after it was away, from two leases
/// later on.
fn run(gateways: usize, plan: u32, wants: &[Wants], backend: Backend, seconds: u64) -> Figures {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(fleet(gateways, plan, wants.to_vec(), backend, seconds))
}

async fn fleet(gateways: usize, plan: u32, wants: Vec<Wants>, backend: Backend, seconds: u64) -> Figures {
    fastrand::seed(7);
    let weather = Weather { delay: Duration::from_micros(500), slow: 0, lost: 0, reorders: false };
    let server = Server::new(Rng::with_seed(7), weather);
    let begun = Instant::now();
    let (from, end) = (begun + Duration::from_secs(5), begun + Duration::from_secs(seconds));
    let windows = match backend {
        Backend::Stays => vec![(from, end)],
        Backend::Dies { at, back, .. } => vec![(from, begun + at), (begun + back + LEASE * 2, end)],
    };
    let shares: Vec<(u64, TenantShare)> = (1..).zip(wants.iter().map(|wants| wants.share)).collect();
    let mut fleet = Vec::new();
    for index in 0..gateways {
        let backend = Some(Secret::new("redis://simulated".to_owned()));
        let timeout = Duration::from_millis(5);
        let limits = Limits { state: None, backend, ca_file: None, lease: LEASE, timeout, prefix: "t".to_owned() };
        let dial = Arc::new(Way { server: Arc::clone(&server), gateway: index });
        let handle = Fleet::start_over(dial, &limits, &format!("g{index}"), Arc::default, &Handle::current());
        let gate = Gate::new(&Setup { max: plan, queue: 1000, accounts: 1 });
        gate.share_among(&shares, Arc::new(|| Instant::now().into_std()));
        handle.share("tts", 1, &gate);
        fleet.push((handle, gate));
    }
    let tenants = vec![Seen::default(); wants.len()];
    let watch = Arc::new(Mutex::new(Watch { tenants, running: 0, peak: 0, last: begun, windows }));
    let mut clients = Vec::new();
    for (tenant, wants) in wants.iter().enumerate() {
        for call in 0..wants.calls {
            let gate = Arc::clone(&fleet[wants.gateways[call % wants.gateways.len()]].1);
            clients.push(tokio::spawn(client(gate, Arc::clone(&watch), tenant, wants.lasts, call, end)));
        }
    }
    if let Backend::Dies { at, back, loses_data } = backend {
        sleep_until(begun + at).await;
        server.dies(loses_data);
        sleep_until(begun + back).await;
        server.comes_back();
    }
    for client in clients {
        client.await.expect("a client");
    }
    let mut watch = watch.lock().expect("whole");
    watch.passes();
    let time: f64 = watch.windows.iter().map(|(from, to)| (*to - *from).as_secs_f64()).sum();
    let service: f64 = watch.tenants.iter().map(|tenant| tenant.service).sum();
    Figures { tenants: watch.tenants.clone(), peak: watch.peak, used: service / (time * f64::from(plan)) }
}

/// Calls, one after the other.
async fn client(
    gate: Arc<Gate>,
    watch: Arc<Mutex<Watch>>,
    tenant: usize,
    lasts: Duration,
    number: usize,
    end: Instant,
) {
    let mut rng = Rng::with_seed((tenant * 1000 + number) as u64);
    while Instant::now() < end {
        let came = Instant::now();
        let claim = Claim { priority: Priority::Normal, tenant: Some(tenant as u64 + 1) };
        let permit = match gate.enter(claim, AccountSet::ALL, came.into_std()) {
            Entry::Admitted(permit) => permit,
            Entry::Queued(waiting) => waiting.await,
            Entry::Full => {
                sleep(lasts).await;
                continue;
            }
        };
        {
            let mut watch = watch.lock().expect("whole");
            watch.passes();
            watch.running += 1;
            watch.peak = watch.peak.max(watch.running);
            let counts = watch.counts(came) && watch.counts(Instant::now());
            let seen = &mut watch.tenants[tenant];
            seen.running += 1;
            seen.peak = seen.peak.max(seen.running);
            if counts {
                seen.waits.push(came.elapsed());
            }
        }
        sleep(lasts.mul_f64(0.5 + rng.f64())).await;
        let mut watch = watch.lock().expect("whole");
        watch.passes();
        watch.running -= 1;
        watch.tenants[tenant].running -= 1;
        drop(watch);
        drop(permit);
    }
}

/// Jain's index: 1 when all are equal, 1/n when one has everything.
fn jain(values: &[f64]) -> f64 {
    let (sum, squares) = values.iter().fold((0.0, 0.0), |(sum, squares), value| (sum + value, squares + value * value));
    sum * sum / (values.len() as f64 * squares)
}

fn p99(seen: &Seen) -> Duration {
    let mut waits = seen.waits.clone();
    waits.sort();
    waits.get(waits.len() * 99 / 100).copied().unwrap_or_default()
}

const CALL: Duration = Duration::from_millis(400);
const DIES: Backend = Backend::Dies { at: Duration::from_secs(12), back: Duration::from_secs(16), loses_data: false };

/// One tenant at ten times its share of thirty slots, and five within theirs.
fn crowd(gateways: usize, at: impl Fn(usize) -> Vec<usize>) -> Vec<Wants> {
    let modest = |tenant: usize| Wants { share: EVEN, calls: 5, gateways: at(tenant), lasts: CALL };
    let greedy = Wants { share: EVEN, calls: 50, gateways: (0..gateways).collect(), lasts: CALL };
    std::iter::once(greedy).chain((0..5).map(modest)).collect()
}

#[test]
fn one_tenant_at_ten_times_its_share_takes_nothing_from_those_within_theirs() {
    let lost = Backend::Dies { at: Duration::from_secs(12), back: Duration::from_secs(16), loses_data: true };
    for (name, gateways, alone, backend) in [
        ("one gateway", 1, false, Backend::Stays),
        ("one, the backend dies", 1, false, DIES),
        ("eight", 8, false, Backend::Stays),
        ("eight, the backend dies", 8, false, DIES),
        ("eight, the backend loses its data", 8, false, lost),
        ("eight, each within its share at one of them", 8, true, Backend::Stays),
        ("eight, each at one, and the backend dies", 8, true, DIES),
    ] {
        let everywhere: Vec<usize> = (0..gateways).collect();
        let wants = crowd(gateways, |tenant| if alone { vec![tenant] } else { everywhere.clone() });
        let figures = run(gateways, 30, &wants, backend, 30);
        let service: Vec<f64> = figures.tenants.iter().map(|tenant| tenant.service).collect();
        let waits: Vec<Duration> = figures.tenants[1..].iter().map(p99).collect();
        let (fair, longest) = (jain(&service), waits.iter().max().copied().unwrap_or_default());
        println!(
            "{name}: Jain {fair:.3}, p99 of those within {longest:?}, peak {}, {:.1}% in use",
            figures.peak,
            figures.used * 100.0
        );
        assert!(fair >= 0.95, "{name}: {service:?}");
        assert!(longest <= CALL, "{name}: {waits:?}");
        assert!(figures.peak <= 30, "{name}: {}", figures.peak);
        assert!(figures.used >= 0.95, "{name}: {}", figures.used);
    }
}

#[test]
fn weights_hold_for_the_fleet_as_a_whole() {
    for slots in [2, 10] {
        let weights = [1, 2, 4];
        let tenant = |(index, weight): (usize, u32)| Wants {
            share: TenantShare { weight, ..EVEN },
            calls: 20,
            gateways: if index == 2 { vec![3] } else { vec![0, 1, 2] },
            lasts: CALL,
        };
        let wants: Vec<Wants> = weights.into_iter().enumerate().map(tenant).collect();
        let figures = run(4, slots, &wants, Backend::Stays, 30);
        let of = |(seen, weight): (&Seen, u32)| seen.service / f64::from(weight);
        let for_weight: Vec<f64> = figures.tenants.iter().zip(weights).map(of).collect();
        println!("{slots} slots: Jain {:.3}, {:.1}% in use", jain(&for_weight), figures.used * 100.0);
        assert!(jain(&for_weight) >= 0.95, "{slots} slots: {for_weight:?}");
        assert!(figures.used >= 0.95 && figures.peak <= slots, "{slots} slots: {} {}", figures.used, figures.peak);
    }
}

#[test]
fn a_maximum_is_that_of_the_whole_fleet() {
    for (name, backend) in [("calm", Backend::Stays), ("the backend dies", DIES)] {
        let bounded =
            Wants { share: TenantShare { max: Some(4), ..EVEN }, calls: 32, gateways: (0..8).collect(), lasts: CALL };
        let other = Wants { share: EVEN, calls: 40, gateways: (0..8).collect(), lasts: CALL };
        let figures = run(8, 20, &[bounded.clone(), other], backend, 30);
        println!("{name}: at most {} of 4, {:.1}% in use", figures.tenants[0].peak, figures.used * 100.0);
        assert_eq!(figures.tenants[0].peak, 4, "{name}");
        assert!(figures.used >= 0.95 && figures.peak <= 20, "{name}: {} {}", figures.used, figures.peak);
        // By itself it holds what it may, and nobody waits for it.
        let alone = run(8, 20, &[bounded], backend, 30);
        let used = alone.used * 20.0 / 4.0;
        assert!(alone.peak == 4 && used >= 0.9, "{name}: {} {used}", alone.peak);
    }
}

#[test]
fn a_reserve_is_kept_at_whichever_gateway_its_tenant_calls() {
    let reserved = |calls, gateway| Wants {
        share: TenantShare { reserve: 6, ..EVEN },
        calls,
        gateways: vec![gateway],
        lasts: CALL,
    };
    // Others would have nearly all by their weight.
    let greedy =
        Wants { share: TenantShare { weight: 100, ..EVEN }, calls: 60, gateways: (0..8).collect(), lasts: CALL };
    for gateway in [0, 7] {
        let figures = run(8, 20, &[reserved(6, gateway), greedy.clone()], Backend::Stays, 20);
        let wait = p99(&figures.tenants[0]);
        println!("reserve at {gateway}: p99 {wait:?}, {:.1}% in use", figures.used * 100.0);
        assert!(wait <= Duration::from_millis(20), "{wait:?}");
        assert!(figures.used >= 0.95 && figures.peak <= 20, "{} {}", figures.used, figures.peak);
    }
    // While it wants one slot, five are kept; while it wants none, none.
    let figures = run(8, 20, &[reserved(1, 3), greedy.clone()], Backend::Stays, 20);
    assert!(figures.tenants[1].service > 13.0 * 15.0, "{}", figures.tenants[1].service);
    let figures = run(8, 20, &[reserved(0, 3), greedy], Backend::Stays, 20);
    assert!(figures.used >= 0.95, "{}", figures.used);
}
