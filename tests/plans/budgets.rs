//! Budgets end to end, with gateways that are processes: what clients, operators and Redis see of them.

use crate::caller::{Form, Tenant, call, lines};
use crate::gateways::Gateway;
use crate::machine;
use crate::provider::Provider;
use crate::server::{DEADLINE, Server};
use std::time::{Duration, Instant, SystemTime};
use tokio::task::JoinSet;

const RATIO: &str = "speechgate_budget_used_ratio";

async fn provider() -> Provider {
    Provider::start(2, Duration::from_millis(5)).await
}

async fn becomes(gateway: &Gateway, what: &str, fits: impl Fn(f64) -> bool) {
    let start = Instant::now();
    loop {
        let ratio = gateway.metric(RATIO).await;
        if fits(ratio) {
            return;
        }
        assert!(start.elapsed() < DEADLINE, "{what}: {ratio}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_budget_is_warned_of_and_then_refuses_in_every_form() {
    const DAY: u64 = 24 * 60 * 60;
    let (provider, tenant) = (provider().await, Tenant::new("bot"));
    let tables = tenant.table("budgets = [{ requests = 10, per = '1d' }]");
    let gateway = Gateway::run(&format!("{}{tables}", lines(provider.address, "")), &[]);
    for number in 1..=10_u32 {
        let outcome = call(gateway.address(), &tenant, Form::ALL[number as usize % 2], "whole", "Hi.").await;
        assert!(outcome.whole, "{outcome:?}");
        let told = outcome.text.lines().find_map(|line| line.strip_prefix("x-speechgate-budget-remaining: "));
        // The ninth finds eight used.
        let left = (number > 8).then(|| format!("\"requests/1d\";r={}", 11 - number));
        assert_eq!(told, left.as_deref(), "{number}: {outcome:?}");
    }
    becomes(&gateway, "all of it", |ratio| ratio == 1.0).await;
    let line = gateway.line("a budget is nearly used up").await;
    assert!(line.contains("\"tenant\":\"bot\"") && line.contains("requests/1d"), "{line}");
    for form in Form::ALL {
        let before = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
        let outcome = call(gateway.address(), &tenant, form, "whole", "Hi.").await;
        assert_eq!(outcome.status, 402, "{form:?}: {outcome:?}");
        if form == Form::Socket {
            continue;
        }
        let (head, body) = outcome.text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains("x-error-code: quota_exceeded"), "{head}");
        let body: serde_json::Value = serde_json::from_str(body.trim()).unwrap_or_else(|_| panic!("{outcome:?}"));
        let error = &body["error"];
        assert_eq!(
            (error["code"].as_str(), error["origin"].as_str()),
            (Some("quota_exceeded"), Some("gateway")),
            "{error}"
        );
        let wait = error["retry_after_seconds"].as_f64().expect("when it begins anew");
        let midnight = (DAY - before % DAY) as f64;
        // A day may have begun while it was asked.
        assert!((wait - midnight).abs() <= 30.0 || wait > midnight, "{wait} and not {midnight}");
    }
    assert_eq!(provider.seen().tenants["bot"].requests, 10);
    assert_eq!(gateway.metric_of("speechgate_limit_rejections_total", "limit=\"budget\"").await, 3.0);
    assert_eq!(gateway.lines("a budget is nearly used up"), 1, "told once");
}

#[tokio::test]
async fn sixteen_clients_of_four_gateways_overrun_a_budget_by_a_generation_each() {
    const AMOUNT: u64 = 2000;
    const TEXT: &str = "0123456789";
    const CLIENTS: usize = 16;
    let _machine = machine().await;
    let Some(server) = Server::start() else { return };
    let (provider, tenant) = (provider().await, Tenant::new("bot"));
    let tables = tenant.table(&format!("budgets = [{{ characters = {AMOUNT}, per = '30d' }}]"));
    let backend = format!("[limits]\nbackend = '{}'\nlease = '20s'\ntimeout = '2s'\n", server.url());
    let text = format!("{backend}{}{tables}", lines(provider.address, ""));
    let fleet: Vec<Gateway> = (0..4).map(|_| Gateway::run(&text, &[])).collect();
    for gateway in &fleet {
        let start = Instant::now();
        while gateway.metric("speechgate_fleet_connected").await != 1.0 {
            assert!(start.elapsed() < DEADLINE, "it does not connect");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (gateway, tenant) = (fleet[number % fleet.len()].address(), tenant.clone());
        clients.spawn(async move {
            for turn in 0..AMOUNT {
                // Whoever opens a socket for each asks like anybody else.
                let outcome = call(gateway, &tenant, Form::ALL[(number + turn as usize) % 3], "whole", TEXT).await;
                if outcome.status == 402 {
                    return;
                }
                assert!(outcome.whole, "{outcome:?}");
            }
            panic!("nobody refuses");
        });
    }
    let _ = clients.join_all().await;
    let used = provider.seen().tenants["bot"].characters;
    println!("of {AMOUNT} characters {used} were used by {CLIENTS} clients");
    assert!((AMOUNT..=AMOUNT + (CLIENTS * TEXT.len()) as u64).contains(&used), "{used}");
    // All know it, and so does whoever starts now.
    let later = Gateway::run(&text, &[]);
    for gateway in fleet.iter().chain([&later]) {
        becomes(gateway, "all know it", |ratio| (ratio - used as f64 / AMOUNT as f64).abs() < 1e-6).await;
    }
}

/// The promise is a second; a busy machine may write a little later, so what ended three seconds before has to be there.
const KEPT_AFTER: Duration = Duration::from_secs(3);

/// Calls one after the other for so long, and when each had ended.
async fn uses(gateway: &Gateway, tenant: &Tenant, time: Duration) -> Vec<Instant> {
    let (start, mut ended) = (Instant::now(), Vec::new());
    while start.elapsed() < time {
        let outcome = call(gateway.address(), tenant, Form::Http, "whole", "Hi.").await;
        assert!(outcome.whole, "{outcome:?}");
        ended.push(Instant::now());
    }
    ended
}

#[tokio::test]
async fn a_gateway_that_is_killed_loses_a_second_of_its_file_at_most() {
    let (provider, tenant, folder) = (provider().await, Tenant::new("bot"), tempfile::tempdir().expect("a folder"));
    let tables = tenant.table("budgets = [{ requests = 100000, per = '30d' }]");
    let state = folder.path().join("state.json");
    let text = format!("[limits]\nstate = '{}'\n{}{tables}", state.display(), lines(provider.address, ""));
    let mut known = 0;
    for _ in 0..2 {
        let mut gateway = Gateway::run(&text, &[]);
        let before = (gateway.metric(RATIO).await * 100_000.0).round() as usize;
        assert!(before >= known, "{before} of {known}");
        let ended = uses(&gateway, &tenant, Duration::from_secs(4)).await;
        let killed = Instant::now();
        gateway.kill();
        known = before + ended.iter().filter(|end| **end + KEPT_AFTER < killed).count();
        let text = std::fs::read_to_string(&state).expect("a file");
        println!("{} requests, {known} have to be known: {text}", before + ended.len());
    }
    let gateway = Gateway::run(&text, &[]);
    assert!(gateway.metric(RATIO).await * 100_000.0 > known as f64 - 0.5);
}

#[tokio::test]
async fn a_fleet_loses_nothing_with_a_gateway_or_with_the_data_of_its_backend() {
    let _machine = machine().await;
    let Some(server) = Server::start() else { return };
    let (provider, tenant) = (provider().await, Tenant::new("bot"));
    let tables = tenant.table("budgets = [{ requests = 1000, per = '30d' }]");
    let backend = format!("[limits]\nbackend = '{}'\nlease = '10s'\ntimeout = '1s'\n", server.url());
    let text = format!("{backend}{}{tables}", lines(provider.address, ""));
    let mut killed = Gateway::run(&text, &[]);
    let other = Gateway::run(&text, &[]);
    let mut all = uses(&killed, &tenant, Duration::from_millis(500)).await.len();
    tokio::time::sleep(KEPT_AFTER).await;
    killed.kill();
    let is = |count: usize| move |ratio: f64| (ratio * 1000.0 - count as f64).abs() < 0.5;
    becomes(&other, "what the killed one used", is(all)).await;
    all += uses(&other, &tenant, Duration::from_millis(300)).await.len();
    becomes(&other, "its own beside it", is(all)).await;
    // Flushed in the middle of it.
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let flushed = async {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let () = redis::cmd("FLUSHALL").query_async(&mut connection).await.expect("flushed");
        }
    };
    let (more, ()) = tokio::join!(uses(&other, &tenant, Duration::from_secs(1)), flushed);
    all += more.len();
    becomes(&other, "after the data was lost", is(all)).await;
    let third = Gateway::run(&text, &[]);
    becomes(&third, "whoever starts then knows it", is(all)).await;
}
