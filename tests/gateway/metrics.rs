//! The metrics page: both formats, exemplars, the bound on series, and the query of whose faults there are.

use crate::support::page::{Sample, read};
use crate::support::world::{get_with, json_answer, post};
use crate::support::{Act, Gateway, World};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};

const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CALLER: &str = "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
/// What the README promises of one route.
const SERIES_PER_ROUTE: usize = 10_000;

/// The page as a scraper with this `Accept` gets it, and its media type.
fn page(gateway: &Gateway, accept: &str) -> (String, String) {
    let answer = gateway.admin_with("/metrics", &format!("Accept: {accept}\r\n"));
    assert_eq!(answer.status, 200);
    (answer.text(), answer.field("content-type"))
}

/// Some traffic of every kind, one request of it traced.
fn busy() -> World {
    let world = World::start();
    assert_eq!(world.get("/p/a").status, 200);
    world.provider.next([Act::send(json_answer(404, "", "{\"detail\":{\"status\":\"voice_not_found\"}}"))]);
    assert_eq!(world.ask(get_with("/p/a", CALLER)).status, 404);
    world.provider.next([Act::Fin]);
    assert_eq!(world.ask(post("/c/a", "x")).status, 502);
    assert_eq!(world.get("/nowhere").status, 404);
    world.gateway.metric_becomes("speechgate_requests_total", &[], 4.0);
    world
}

#[test]
fn both_formats_are_strict_and_tell_the_same() {
    let world = busy();
    let (plain, kind) = page(&world.gateway, "text/plain");
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    let plain = read(&plain, false).expect("the text format of Prometheus");
    let (open, kind) = page(&world.gateway, OPEN);
    assert_eq!(kind, OPEN);
    let open = read(&open, true).expect("OpenMetrics");
    let series = |samples: &[Sample]| -> BTreeSet<(String, BTreeMap<String, String>)> {
        samples.iter().map(|sample| (sample.name.clone(), sample.labels.clone())).collect()
    };
    assert_eq!(series(&plain), series(&open));
    let seen = |name: &str| -> Vec<&Sample> {
        open.iter().filter(|sample| sample.name == name && sample.exemplar.is_some()).collect()
    };
    let [error] = seen("speechgate_errors_total")[..] else { panic!("one traced error") };
    assert_eq!(error.labels["code"], "voice_not_found");
    let [bucket] = seen("speechgate_request_duration_seconds_bucket")[..] else { panic!("one traced request") };
    for sample in [error, bucket] {
        let exemplar = sample.exemplar.as_ref().expect("an exemplar");
        assert_eq!(exemplar["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    }
}

#[test]
fn hostile_clients_and_providers_make_no_label_and_few_series() {
    let world = World::start();
    let mut client = world.client();
    for round in 0..400 {
        let status = 200 + round;
        let code = format!("evil-code-{round}");
        let body = format!("{{\"detail\":{{\"status\":\"{code}\",\"message\":\"evil {round}\"}},\"code\":\"{code}\"}}");
        world.provider.next([Act::send(json_answer(status, &format!("X-Evil-{round}: {code}\r\n"), &body))]);
        let method = if round % 2 == 0 { "GET".to_owned() } else { format!("EVIL{round}") };
        let _ = client.send(format!(
            "{method} /p/evil-path-{round}?evil={round} HTTP/1.1\r\nHost: evil-host-{round}\r\nX-Request-Id: evil-{round}\r\n\
             Xi-Api-Key: evil-key-{round}\r\nUser-Agent: evil-agent\r\n\r\n"
        ));
        match client.try_answer("GET") {
            Ok(answer) if answer.fields.get("connection").is_none_or(|value| value != "close") => {}
            _ => client = world.client(),
        }
    }
    world.gateway.metric_becomes("speechgate_requests_in_flight", &[], 0.0);
    let (text, _) = page(&world.gateway, OPEN);
    let samples = read(&text, true).expect("OpenMetrics");
    assert!(
        !text.to_lowercase().contains("evil"),
        "{:?}",
        text.lines().find(|line| line.to_lowercase().contains("evil"))
    );
    let of_route = samples.iter().filter(|sample| sample.labels.get("route").is_some_and(|route| route == "plain"));
    let count = of_route.count();
    assert!((200..SERIES_PER_ROUTE).contains(&count), "{count}");
    assert!(world.gateway.metric("speechgate_unmapped_errors_total", &[("route", "plain")]) > 100.0);
}

/// Runs promtool; None where it is not installed and need not be.
fn promtool(arguments: &[&str], input: &str) -> Option<String> {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/.cache/deploy/prometheus/usr/bin/promtool");
    let program = if std::path::Path::new(own).exists() { own } else { "promtool" };
    let started = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => {
            assert!(std::env::var_os("SPEECHGATE_FULL").is_none(), "promtool is missing: {error}");
            eprintln!("left to tests/all.sh, which installs promtool");
            return None;
        }
    };
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("taken");
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{said}");
    Some(said)
}

#[test]
fn promtool_has_nothing_to_say() {
    let world = busy();
    let (plain, _) = page(&world.gateway, "text/plain");
    if let Some(said) = promtool(&["check", "metrics"], &plain) {
        assert_eq!(said, "");
    }
}

#[test]
fn the_documented_query_groups_errors_by_origin() {
    let page = include_str!("../../deploy/OPERATIONS.md");
    let block = page.split("<!-- faults -->").nth(1).expect("the query is marked");
    let query = block.split("```promql\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block");
    let series = [
        ("provider", "upstream", 60),
        ("network", "timeout", 60),
        ("gateway", "unavailable", 180),
        ("provider", "payment_required", 240),
        ("gateway", "rate_limited", 60),
        ("client", "cancelled", 60),
    ]
    .map(|(origin, kind, by)| {
        let series = format!("speechgate_errors_total{{origin=\"{origin}\",type=\"{kind}\"}}");
        json!({ "series": series, "values": format!("0+{by}x10") })
    });
    let expected = [("provider", 2), ("gateway", 3), ("caller", 6)]
        .map(|(whose, value)| json!({ "labels": format!("{{whose=\"{whose}\"}}"), "value": value }));
    let asked = json!([{ "expr": query, "eval_time": "10m", "exp_samples": expected }]);
    let tests = json!([{ "interval": "1m", "input_series": series, "promql_expr_test": asked }]);
    // JSON is YAML too.
    let file = tempfile::NamedTempFile::with_suffix(".yml").expect("a file");
    std::fs::write(file.path(), json!({ "evaluation_interval": "1m", "tests": tests }).to_string()).expect("written");
    let _ = promtool(&["test", "rules", file.path().to_str().expect("a path")], "");
}
