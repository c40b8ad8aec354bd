//! What tenants are said to have used is what the provider charges for: whole calls, retries, calls that the provider breaks off and
//! calls that clients break off, in every form, through one gateway and through four.

use crate::caller::{Form, Tenant, call, lines};
use crate::gateways::Gateway;
use crate::machine;
use crate::provider::Provider;
use crate::server::{DEADLINE, Server};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How far an account may be from the bill.
const NEAR: f64 = 0.005;
/// Each tenant makes so many rounds of everything.
const ROUNDS: [usize; 3] = [1, 2, 3];
/// What a call may be like, and in which forms.
const MANNERS: [(&str, &[Form]); 4] =
    [("whole", &Form::ALL), ("flaky", &[Form::Http, Form::Events]), ("cut", &Form::ALL), ("held", &Form::ALL)];
const BUDGETS: &str = "budgets = [{ characters = 100000, per = '1d' }, { audio_seconds = 10000, per = '7d' }, \
                       { requests = 1000, per = '1d' }, { cost = 100.0, currency = 'USD', per = '30d' }]";

#[track_caller]
fn agree(what: &str, said: f64, billed: f64) {
    assert!((said - billed).abs() <= NEAR * billed, "{what}: {said} are counted and {billed} are charged");
}

async fn accounts(gateways: usize) {
    let _machine = machine().await;
    let Some(server) = Server::start() else { return };
    let provider = Provider::start(5, Duration::from_millis(20)).await;
    let tenants = ["one", "two", "three"].map(Tenant::new);
    let tables: String = tenants.iter().map(|tenant| tenant.table(BUDGETS)).collect();
    let route =
        "retry = { attempts = 2, on = ['unavailable'] }\nconcurrency = { max = 20, queue = 1000, max_wait = '60s' }";
    let backend = format!("[limits]\nbackend = '{}'\nlease = '2s'\ntimeout = '200ms'\n", server.url());
    let backend = if gateways > 1 { backend } else { String::new() };
    let text = format!("{backend}{}{tables}", lines(provider.address, route));
    let fleet: Vec<Gateway> = (0..gateways).map(|_| Gateway::run(&text, &[])).collect();
    let mut calls = JoinSet::new();
    for (tenant, rounds) in tenants.iter().zip(ROUNDS) {
        let all = (0..rounds).flat_map(|round| {
            MANNERS.iter().flat_map(move |(manner, forms)| forms.iter().map(move |form| (round, *manner, *form)))
        });
        for (number, (round, manner, form)) in all.enumerate() {
            let (gateway, tenant) = (fleet[number % gateways].address(), tenant.clone());
            calls.spawn(async move {
                // Each its own, or a retry would be taken for another's.
                let text = format!("{manner} {form:?} in round {round}: Grüße, Welt.");
                let outcome = call(gateway, &tenant, form, manner, &text).await;
                assert!(matches!(outcome.status, 200 | 101), "{manner} {form:?}: {outcome:?}");
                assert_eq!(outcome.whole, matches!(manner, "whole" | "flaky"), "{manner} {form:?}: {outcome:?}");
            });
        }
    }
    let _ = calls.join_all().await;
    // Whoever has gone is noticed a little later.
    let all = async |metric: &str, label: &str| {
        let mut sum = 0.0;
        for gateway in &fleet {
            sum += gateway.metric_of(metric, label).await;
        }
        sum
    };
    let start = Instant::now();
    while provider.seen().running > 0 || all("speechgate_requests_in_flight", "").await > 0.0 {
        assert!(start.elapsed() < DEADLINE, "calls go on: {:?}", provider.seen());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let seen = provider.seen();
    for tenant in &tenants {
        let (name, bill) = (&tenant.name, seen.tenants[&tenant.name]);
        let label = format!("tenant=\"{name}\"");
        let (characters, seconds) = (bill.characters as f64, bill.audio_bytes as f64 / 8000.0);
        let cost = characters / 1000.0 * 0.5 + seconds / 60.0 * 0.6;
        println!(
            "{gateways} gateways, {name}: {characters} characters, {seconds:.2} s, {cost:.4} USD, {} requests",
            bill.requests
        );
        agree("characters", all("speechgate_usage_characters_total", &label).await, characters);
        agree("seconds", all("speechgate_usage_audio_seconds_total", &label).await, seconds);
        agree("money", all("speechgate_usage_cost_total", &label).await, cost);
        agree("requests", all("speechgate_requests_total", &label).await, bill.requests as f64);
        let budgets = [
            ("characters/1d", characters / 100_000.0),
            ("audio_seconds/7d", seconds / 10_000.0),
            ("requests/1d", bill.requests as f64 / 1000.0),
            ("cost-USD/30d", cost / 100.0),
        ];
        for gateway in &fleet {
            for (budget, ratio) in budgets {
                let label = format!("{label},budget=\"{budget}\"");
                let start = Instant::now();
                // What others used is heard within some seconds.
                let near = |said: f64| (said - ratio).abs() <= NEAR * ratio;
                while !near(gateway.metric_of("speechgate_budget_used_ratio", &label).await) {
                    let said = gateway.metric_of("speechgate_budget_used_ratio", &label).await;
                    assert!(start.elapsed() < DEADLINE, "{name} {budget}: {said}, not {ratio}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn what_one_gateway_counts_is_what_the_provider_charges() {
    accounts(1).await;
}

#[tokio::test]
async fn what_four_gateways_count_is_what_the_provider_charges() {
    accounts(4).await;
}
