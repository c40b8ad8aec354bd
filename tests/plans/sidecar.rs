//! One gateway that does not know the plan.

use crate::clients::{Clients, End};
use crate::gateways::Gateway;
use crate::{Load, PACE, machine};
use speechgate::simulator::{Options, Provider, Simulator};
use std::time::{Duration, Instant};

/// The share of the plan that was in use, and what was refused.
async fn window(simulator: &Simulator, plan: usize, time: Duration) -> (f64, u64) {
    let (before, start) = (simulator.stats(), Instant::now());
    tokio::time::sleep(time).await;
    let after = simulator.stats();
    let used = (after.slot_seconds - before.slot_seconds) / (plan as f64 * start.elapsed().as_secs_f64());
    (used, after.refused - before.refused)
}

#[tokio::test]
async fn the_cap_follows_a_plan_that_changes() {
    const LARGE: usize = 10;
    const SMALL: usize = 4;
    let _machine = machine().await;
    let load = Load::asked_for();
    let options = Options { plan: Some(LARGE), pace: PACE, ..Options::default() };
    let simulator = Simulator::start(Provider::ElevenLabs, options).await.expect("a provider");
    // What the operator allows is not what the plan has.
    let gateway = Gateway::start(&simulator.url(), "{ max = 30, queue = 1000, max_wait = '60s', learn = true }", "");
    let clients = Clients::start(load.clients, &[gateway.address()], Duration::from_secs(1));
    let mut table = Vec::new();
    for plan in [LARGE, SMALL, LARGE] {
        simulator.set_plan(Some(plan));
        let (_, settling) = window(&simulator, plan, load.twelfths(1)).await;
        let (used, refused) = window(&simulator, plan, load.twelfths(3)).await;
        let cap = gateway.metric("speechgate_concurrency_limit").await;
        println!(
            "plan {plan:>2}: cap {cap}, in use {:.1}% of the time, {settling} refused at first, {refused} later",
            used * 100.0
        );
        table.push((plan, cap, used, settling, refused));
    }
    let outcomes = clients.finish().await;
    assert!(!outcomes.iter().any(|outcome| outcome.end == End::Broken));
    for (plan, cap, used, settling, refused) in table {
        // The cap learns from headers; a call more may be tried now and then.
        assert!(cap >= plan as f64 && cap <= plan as f64 + 1.0, "plan {plan}: {cap}");
        assert!(used >= 0.95, "plan {plan}: {used:.3}");
        // Until the first answer tells of the plan, as many are refused as the gateway sent too much.
        assert!(settling <= 30 - plan as u64, "plan {plan}: {settling}");
        assert!(refused <= 2, "plan {plan}: {refused}");
    }
}
