//! Tenants share a route's slots: by weight, with reserves and maxima, in the order of their priorities.

use super::support::stage::Stage;
use super::support::world::get_with;
use super::support::{Client, Gateway, Settings};
use serde_json::Value;
use speechgate::proxy::gateway_key::{hash, make, shown};

const QUEUED: &str = "speechgate_concurrency_queued";

/// A gateway whose route `/s` has so many slots, and these tenants with their keys.
fn world<const N: usize>(max: u32, tenants: [&str; N]) -> (Stage, Gateway, [String; N]) {
    let stage = Stage::start();
    let keys = [(); N].map(|()| make().expect("random bytes"));
    let mut lines = format!(
        "credentials = {{ header = 'xi-api-key', value = 'sk-route' }}\nconcurrency = {{ max = {max}, max_wait = '20s' }}\n"
    );
    for (index, (key, tenant)) in keys.iter().zip(tenants).enumerate() {
        let hash = shown(&hash(key.as_bytes()));
        lines.push_str(&format!("[[tenants]]\nname = 't{index}'\nkeys = ['{hash}']\n{tenant}\n"));
    }
    let gateway = Gateway::start(&Settings::new().route("slots", "/s", stage.provider.address(), &lines));
    (stage, gateway, keys)
}

fn ask(gateway: &Gateway, key: &str, target: &str, lines: &str) -> Client {
    let mut client = gateway.client();
    let _ = client.send(get_with(target, &format!("xi-api-key: {key}\r\n{lines}")));
    client
}

fn queue(gateway: &Gateway, key: &str, target: &str, lines: &str, queued: u32) -> Client {
    let client = ask(gateway, key, target, lines);
    gateway.metric_becomes(QUEUED, &[("route", "slots")], f64::from(queued));
    client
}

#[test]
fn who_asks_most_does_not_get_most() {
    let (stage, gateway, [greedy, modest]) = world(2, ["", ""]);
    let mut clients = Vec::new();
    for target in ["/s/g1", "/s/g2"] {
        clients.push(ask(&gateway, &greedy, target, ""));
        let _ = stage.next(1);
    }
    for (queued, target) in (1..).zip(["/s/g3", "/s/g4", "/s/g5"]) {
        clients.push(queue(&gateway, &greedy, target, "", queued));
    }
    clients.push(queue(&gateway, &modest, "/s/m1", "", 4));
    stage.release(1);
    assert_eq!(stage.next(1), ["/m1"], "the tenant without a slot is next, though it came last");
    stage.release(6);
    assert!(clients.iter_mut().all(|client| client.answer().status == 200));
}

#[test]
fn it_is_seen_who_holds_slots_who_waits_and_who_is_over() {
    let budget = "budgets = [{ requests = 4, per = '1d' }]\nrate_limits = [{ requests = 50, per = '1m' }]";
    let (stage, gateway, [greedy, modest, full]) = world(3, [&format!("weight = 2\n{budget}"), "", "max = 1"]);
    let mut clients: Vec<Client> = ["/s/g1", "/s/g2"].map(|target| ask(&gateway, &greedy, target, "")).into();
    clients.push(ask(&gateway, &full, "/s/f1", ""));
    assert_eq!(stage.next(3).len(), 3);
    clients.push(queue(&gateway, &full, "/s/f2", "", 1));
    clients.push(queue(&gateway, &greedy, "/s/g3", "", 2));
    let low = "x-speechgate-priority: low\r\n";
    clients.push(queue(&gateway, &modest, "/s/m1", low, 3));
    clients.push(queue(&gateway, &greedy, "/s/g4", "", 4));
    for (name, tenants) in [("speechgate_concurrency_in_use", [2.0, 0.0, 1.0]), (QUEUED, [2.0, 1.0, 1.0])] {
        let of = |tenant| gateway.metric(name, &[("route", "slots"), ("tenant", tenant)]);
        assert_eq!(["t0", "t1", "t2"].map(of), tenants, "{name}");
    }
    assert_eq!(gateway.metric("speechgate_tenant_weight", &[("tenant", "t0")]), 2.0);
    let page: Value = serde_json::from_str(&gateway.admin("/status.json").text()).expect("JSON");
    let tenants = &page["tenants"];
    let seen = |index: usize| {
        let (tenant, route) = (&tenants[index], &tenants[index]["routes"][0]);
        (tenant["over_share"].as_bool(), route["in_use"].as_u64(), route["queued"].as_u64())
    };
    assert_eq!(seen(0), (Some(false), Some(2), Some(2)), "with one fewer it would have less for its weight: {page}");
    assert_eq!(seen(1), (Some(false), Some(0), Some(1)), "{page}");
    assert_eq!((tenants[2]["max"].as_u64(), seen(2).1), (Some(1), Some(1)), "{page}");
    let budget = &tenants[0]["budgets"][0];
    assert_eq!((budget["budget"].as_str(), budget["used_ratio"].as_f64()), (Some("requests/1d"), Some(1.0)), "{page}");
    assert_eq!(tenants[0]["rates"][0]["left"], 46, "{page}");
    let refused = ask(&gateway, &greedy, "/s/g5", "").answer();
    assert_eq!((refused.status, refused.field("x-error-code")), (402, "quota_exceeded".to_owned()));
    stage.release(9);
    assert!(clients.iter_mut().all(|client| client.answer().status == 200));
    gateway.metric_becomes("speechgate_concurrency_in_use", &[("route", "slots")], 0.0);
    let waits = |labels| gateway.metric("speechgate_queue_wait_seconds_count", labels);
    assert_eq!(waits(&[("tenant", "t1"), ("priority", "low")]), 1.0);
    assert_eq!(waits(&[("tenant", "t0")]), 4.0, "who is refused before asks for no slot");
    let tenants: Value = serde_json::from_str(&gateway.admin("/tenants").text()).expect("JSON");
    assert_eq!(tenants["tenants"][0]["budgets"][0]["used"], 4.0, "{tenants}");
}

#[test]
fn a_tenant_s_priority_is_only_lowered_by_its_client() {
    let (stage, gateway, [high, low, free]) = world(1, ["priority = 'high'", "priority = 'low'", ""]);
    let mut clients = vec![ask(&gateway, &free, "/s/first", "")];
    let _ = stage.next(1);
    let waiting = [
        (&low, "/s/low", "x-speechgate-priority: high\r\n"),
        (&high, "/s/lowered", "x-speechgate-priority: normal\r\n"),
        (&free, "/s/high", "x-speechgate-priority: high\r\n"),
        (&high, "/s/own", ""),
    ];
    for (queued, (key, target, lines)) in (1..).zip(waiting) {
        clients.push(queue(&gateway, key, target, lines, queued));
    }
    let mut order = Vec::new();
    for _ in waiting {
        stage.release(1);
        order.extend(stage.next(1));
    }
    stage.release(1);
    assert!(clients.iter_mut().all(|client| client.answer().status == 200));
    assert_eq!(order[2..], ["/lowered", "/low"], "{order:?}");
}

#[test]
fn no_tenant_exceeds_its_maximum_or_takes_a_reserve() {
    let (stage, gateway, [reserved, bounded]) = world(3, ["reserve = 2", "max = 1"]);
    let mut clients = vec![ask(&gateway, &bounded, "/s/b1", "")];
    assert_eq!(stage.next(1), ["/b1"]);
    clients.push(queue(&gateway, &bounded, "/s/b2", "", 1));
    for target in ["/s/r1", "/s/r2"] {
        clients.push(ask(&gateway, &reserved, target, ""));
        assert_eq!(stage.next(1).len(), 1);
    }
    stage.release(4);
    assert!(clients.iter_mut().all(|client| client.answer().status == 200));
}

/// A place in a queue is for those who may call.
#[test]
fn a_call_that_waits_for_a_slot_ends_with_its_key() {
    let (stage, gateway, [revoked, stays]) = world(1, ["", ""]);
    let mut first = ask(&gateway, &stays, "/s/first", "");
    let _ = stage.next(1);
    let mut waits = queue(&gateway, &revoked, "/s/waits", "", 1);
    let file = gateway.file("gateway.toml");
    let text = std::fs::read_to_string(&file).expect("there");
    let without = text.replace(&shown(&hash(revoked.as_bytes())), &shown(&hash(b"another")));
    assert_ne!(text, without);
    std::fs::write(&file, without).expect("written");
    let began = std::time::Instant::now();
    assert_eq!(gateway.ask_admin("POST", "/-/reload").status, 200);
    let answer = waits.answer();
    assert!(began.elapsed() < std::time::Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(answer.status, 401);
    assert!(answer.text().contains("\"code\":\"invalid_credentials\""), "{}", answer.text());
    gateway.metric_becomes(QUEUED, &[("route", "slots")], 0.0);
    stage.release(1);
    assert_eq!(first.answer().status, 200);
}
