//! Rules and dashboard: they parse, every alert has its story, and every metric that they name is one of a running gateway.

use crate::stranger::demo;
use crate::{Scratch, changed, full, passes, refuses, text, tool};
use regex::Regex;
use serde_json::Value;
use speechgate::canon::Type;
use std::collections::BTreeSet;

const RULES: [&str; 2] = ["deploy/prometheus/recording.yaml", "deploy/prometheus/alerts.yaml"];

fn dashboard() -> Value {
    serde_json::from_str(&text("deploy/grafana/errors.json")).expect("JSON")
}

/// Every query of a dashboard, with its variables filled in.
fn queries(dashboard: &Value) -> Vec<String> {
    fn walk(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("expr").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|value| walk(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| walk(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(dashboard, &mut found);
    let variables = Regex::new(r"\$(route|provider|type|origin)\b").expect("a pattern");
    let filled = |query: String| {
        let query = query.replace("$__rate_interval", "5m").replace("$__range", "1h");
        variables.replace_all(&query, ".*").into_owned()
    };
    found.into_iter().map(filled).collect()
}

/// Queries as a file of rules, so that promtool parses them.
fn as_rules(queries: &[String]) -> String {
    let rules = queries.iter().enumerate().map(|(index, query)| {
        format!("      - record: dashboard:query{index}\n        expr: {}\n", Value::from(query.as_str()))
    });
    format!("groups:\n  - name: dashboard\n    rules:\n{}", rules.collect::<String>())
}

/// The metrics of the gateway that a text names; those of recording rules have a colon.
fn named(text: &str) -> BTreeSet<String> {
    let pattern = Regex::new(r"\b(?:speechgate|process)_[a-z_]+\b").expect("a pattern");
    pattern.find_iter(text).map(|name| name.as_str().to_owned()).collect()
}

/// The metrics that a page of Prometheus' text format declares, the parts of histograms by their own names.
fn declared(page: &str) -> BTreeSet<String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let names = types.flat_map(|(name, kind)| {
        let parts: &[&str] = if kind == "histogram" { &["", "_bucket", "_sum", "_count"] } else { &[""] };
        parts.iter().map(move |part| format!("{name}{part}"))
    });
    names.collect()
}

#[test]
fn the_rules_hold_their_stories() {
    if !full("promtool, on rules and dashboard") {
        return;
    }
    let promtool = tool("promtool");
    passes(&promtool, &["check", "config", "deploy/prometheus/demo.yaml"]);
    passes(&promtool, &["check", "rules", RULES[0], RULES[1]]);
    passes(&promtool, &["test", "rules", "deploy/prometheus/tests.yaml"]);
    // An alert that never fires fails its story.
    let scratch = Scratch::new();
    let alerts = changed(&text(RULES[1]), "> 0.8 * (speechgate", "> 8 * (speechgate");
    let _ = scratch.write("alerts.yaml", &alerts);
    let _ = scratch.write("recording.yaml", &text(RULES[0]));
    refuses(&promtool, &["test", "rules", &scratch.write("tests.yaml", &text("deploy/prometheus/tests.yaml"))]);
}

#[test]
fn every_alert_has_a_story_in_which_it_fires() {
    let alert = Regex::new(r"- alert: (\w+)").expect("a pattern");
    let fires = Regex::new(r"alertname: (\w+)\n\s+exp_alerts:\n\s+- exp_labels").expect("a pattern");
    let names = |pattern: &Regex, text: &str| -> BTreeSet<String> {
        pattern.captures_iter(text).map(|found| found[1].to_owned()).collect()
    };
    let alerts = names(&alert, &text(RULES[1]));
    assert!(alerts.len() >= 12, "{alerts:?}");
    assert_eq!(alerts, names(&fires, &text("deploy/prometheus/tests.yaml")));
}

/// What counts as the clients' own is the same to the status page, the rules and the dashboard.
#[test]
fn clients_mistakes_are_left_out_alike() {
    let pattern = Regex::new(r#"type!~\\?"([a-z_|]+)\\?""#).expect("a pattern");
    let clients: BTreeSet<&str> = Type::ALL.iter().filter(|kind| kind.is_clients()).map(|kind| kind.as_str()).collect();
    for file in [RULES[0], "deploy/grafana/errors.json"] {
        let text = text(file);
        let lists: Vec<BTreeSet<&str>> =
            pattern.captures_iter(&text).map(|found| found.extract::<1>().1[0].split('|').collect()).collect();
        assert!(!lists.is_empty() && lists.iter().all(|list| *list == clients), "{file}: {lists:?}, not {clients:?}");
    }
}

#[test]
fn the_dashboard_is_whole() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{title}: its id is not its own");
        let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        assert!(at("x") + at("w") <= 24, "{title}: too wide");
        for y in at("y")..at("y") + at("h") {
            for x in at("x")..at("x") + at("w") {
                assert!(taken.insert((x, y)), "{title}: over another panel");
            }
        }
        let targets = panel["targets"].as_array();
        assert!(panel["type"] == "row" || targets.is_some_and(|targets| !targets.is_empty()), "{title}: no query");
        let source = panel["type"] == "row" || panel["datasource"]["uid"] == "${datasource}";
        assert!(source, "{title}: a data source of its own");
    }
    // It is keyed by code.
    assert!(queries(&dashboard).iter().any(|query| query.contains("sum by (code)")));
}

#[test]
fn every_query_of_the_dashboard_parses() {
    if !full("the parser of PromQL, on the dashboard") {
        return;
    }
    let queries = queries(&dashboard());
    assert!(queries.len() > 30, "{queries:?}");
    let scratch = Scratch::new();
    passes(tool("promtool"), &["check", "rules", &scratch.write("good.yaml", &as_rules(&queries))]);
    let wrong = as_rules(&["sum by (code) (rate(speechgate_errors_total))".to_owned()]);
    refuses(tool("promtool"), &["check", "rules", &scratch.write("wrong.yaml", &wrong)]);
}

#[test]
fn every_metric_that_is_named_exists() {
    let demo = demo();
    let mut there = declared(&demo.metrics());
    // These are there where limits are shared.
    there.extend(named(&text("src/telemetry/fleet.rs")));
    // And these where there are tenants.
    there.extend(named(&text("src/telemetry/metrics/registry.rs")));
    let texts = [text(RULES[0]), text(RULES[1]), text("deploy/grafana/errors.json")];
    let wanted = named(&texts.concat());
    assert!(wanted.len() > 20 && there.len() > 30, "{wanted:?} {there:?}");
    let missing: Vec<_> = wanted.difference(&there).collect();
    assert!(missing.is_empty(), "no gateway has {missing:?}");
    assert!(!there.contains("speechgate_mistakes_total"));
}
