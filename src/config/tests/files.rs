//! The files of this repository: complete, commented, valid.

use super::*;
use crate::config::types::{Envelope, Envelopes};

#[test]
fn the_complete_file_is_valid_without_any_variable_and_shows_the_defaults() {
    let (report, valid) = check_report(&[PathBuf::from("config/gateway.toml")], [], Missing::IsAProblem);
    assert!(valid, "{report}");
    assert!(
        report.starts_with("valid: 5 routes, no problem\n  clients  127.0.0.1:8080\n  admin    127.0.0.1:9464\n"),
        "{report}"
    );
    let route = "  route breeze: /breeze to https://api.breeze.blue; breeze with auto errors, the client's key\n";
    assert!(report.contains(route), "{report}");
    let given = loaded(&[("gateway.toml", include_str!("../../../config/gateway.toml"))], &[]).config;
    let defaults = loaded(&[("route.toml", &ROUTE.replace("/tts", "/elevenlabs"))], &[]).config;
    assert_eq!(format!("{:?}", given.server), format!("{:?}", defaults.server));
    assert_eq!(format!("{:?}", given.telemetry), format!("{:?}", defaults.telemetry));
    assert_eq!(given.admin, defaults.admin);
    let [given, default] = [&given.routes[0], &defaults.routes[0]];
    assert_eq!(format!("{:?}", given.timeouts), format!("{:?}", default.timeouts));
    assert_eq!(given.max_request_body, default.max_request_body);
    assert_eq!(
        (given.envelope, default.envelope),
        (Envelopes::all(Envelope::Auto), Envelopes::all(Envelope::Canonical))
    );
    assert_eq!((given.upstream_body, given.websocket), (default.upstream_body, default.websocket));
}

/// What the file shows as a comment must be right too: every commented key is put in force, one file for all.
#[test]
fn the_comments_of_the_complete_file_are_valid() {
    let folder = example_files();
    let text: Vec<String> = include_str!("../../../config/gateway.toml").lines().map(uncommented).collect();
    let text = text.join("\n").replace("/etc/speechgate", &folder.path().display().to_string());
    let text = text.replace("${file:/run/secrets/elevenlabs}", "x");
    let variables = [("ELEVENLABS_API_KEY", "sk-1")];
    let all = loaded(&[("gateway.toml", &text)], &variables);
    assert!(all.config.server.tls.is_some() && all.config.routes[0].concurrency.is_some());
    assert_eq!(all.config.routes[0].rate_limits.len(), 3);
}

#[test]
fn the_complete_file_shows_every_key() {
    let text = include_str!("../../../config/gateway.toml");
    let tables = schema::json()["$defs"].as_object().into_iter().flatten();
    let ours = tables.filter(|(name, _)| !name.ends_with("Spec") && !name.starts_with("OneOrMany"));
    let keys: Vec<&String> =
        ours.flat_map(|(_, node)| node["properties"].as_object().into_iter().flatten()).map(|(key, _)| key).collect();
    assert!(keys.len() > 60, "{keys:?}");
    for key in keys {
        assert!(text.contains(&format!("{key} = ")), "{key}");
    }
}

/// Each default has one owner, `defaults.rs`; the schema shows it and the complete file repeats it.
#[test]
fn the_complete_file_shows_the_defaults_of_the_schema() {
    let text: Vec<String> = include_str!("../../../config/gateway.toml").lines().map(uncommented).collect();
    let file: toml::Value = toml::from_str(&text.join("\n")).expect("the complete file is TOML");
    let mut compared = Vec::new();
    compare_defaults(schema::json(), Some(&file), "", &mut compared);
    assert!(compared.len() >= 45, "{compared:#?}");
}

/// Where the file shows something else than the default of the schema: profiles have none of this kind, each rate limit shows
/// another thing, the form of errors is the one that suits most, and two are what the profile of the route says.
const OF_ITS_OWN: [&str; 5] =
    [".providers", ".routes.rate_limits", ".routes.envelope", ".routes.timeouts.response", ".routes.max_request_body"];

/// Compares the defaults of a table in the schema with what a file says, and those of the tables in it.
fn compare_defaults(node: &serde_json::Value, file: Option<&toml::Value>, at: &str, compared: &mut Vec<String>) {
    let name = node["$ref"].as_str().and_then(|target| target.strip_prefix("#/$defs/"));
    let table = name.map_or(node, |name| &schema::json()["$defs"][name]);
    for (key, property) in table["properties"].as_object().into_iter().flatten() {
        let (at, value) = (format!("{at}.{key}"), file.and_then(|file| file.get(key)));
        if OF_ITS_OWN.contains(&at.as_str()) {
            continue;
        }
        // Empty lists and tables are serde's own.
        let empty = |default: &serde_json::Value| default.is_object() || *default == serde_json::json!([]);
        if let Some(default) = property.get("default").filter(|default| !empty(default)) {
            let value = value.unwrap_or_else(|| panic!("{at} is not shown"));
            assert_eq!(comparable(&serde_json::json!(value)), comparable(default), "{at}");
            compared.push(at);
        } else if property["type"] == "array" {
            compare_defaults(&property["items"], value.and_then(|value| value.get(0)), &at, compared);
        } else {
            compare_defaults(property, value, &at, compared);
        }
    }
}

/// A value as text; durations and sizes whatever their unit.
fn comparable(value: &serde_json::Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let duration = values::duration(&text).map(|duration| format!("{duration:?}"));
    duration.or_else(|_| values::size(&text).map(|size| format!("{size} bytes"))).unwrap_or(text)
}

/// Puts a commented key in force. The second of two forms of one key stays a comment.
fn uncommented(line: &str) -> String {
    let Some(rest) = line.strip_prefix("# ") else { return line.to_owned() };
    let second = rest.starts_with("match = { host")
        || rest.starts_with("upstreams = ")
        || rest.starts_with("account = ")
        || rest.starts_with("envelope = {")
        || rest.starts_with("listen = [")
        || rest.contains("${file:");
    let key = rest.split_once(" = ").is_some_and(|(key, _)| path::is_bare(key));
    let more = rest.starts_with("  {")
        || rest == "]"
        || rest.starts_with("[limits]")
        || rest.starts_with("[[accounts]]")
        || rest.starts_with("[[tenants]]")
        || rest.starts_with("[[prices]]")
        || rest.starts_with("[providers");
    if (key || more) && !second { rest.to_owned() } else { line.to_owned() }
}

#[test]
fn every_example_is_valid() {
    let folder = example_files();
    let variables = [("ELEVENLABS_API_KEY", "sk-1")];
    let mut seen = 0;
    for entry in std::fs::read_dir("config/examples").expect("a folder of examples") {
        let path = entry.expect("an example").path();
        let text = std::fs::read_to_string(&path).expect("a text");
        let here = folder.path().display().to_string();
        let text = text.replace("/etc/speechgate", &here).replace("/run/secrets", &here);
        let all = loaded(&[(&path.display().to_string(), &text)], &variables);
        assert!(all.warnings.is_empty(), "{}: {:?}", path.display(), all.warnings);
        seen += 1;
    }
    assert_eq!(seen, 6);
}

/// The names and forms that users were promised.
#[test]
fn the_promised_spelling_is_valid() {
    let text = r#"
[server]
listen = "127.0.0.1:8080"
max_connections = 10000
drain_timeout = "30s"
drain_delay = "0s"

[admin]
listen = "127.0.0.1:9464"

[telemetry]
log = { format = "json", level = "info" }
otlp = { endpoint = "http://127.0.0.1:4318", traces = true, metrics = true, sample_ratio = 0.1 }

[[routes]]
name = "tts"
match = { path = "/elevenlabs" }
provider = "elevenlabs"
upstream = "https://api.elevenlabs.io"
envelope = "canonical"
credentials = { header = "xi-api-key", value = "${ELEVENLABS_API_KEY}" }
rate_limits = [ { requests = 20, per = "1s", burst = 40 } ]
concurrency = { max = 10, queue = 64, max_wait = "3s", learn = true }
timeouts = { connect = "3s", response = "30s", idle = "60s", websocket_idle = "5m" }
max_request_body = "50MiB"

[[routes]]
name = "scoring"
match = { path = "/zenhire" }
provider = "zenhire"
upstream = "https://platform.zenhire.ai"
rate_limits = [
  { requests = 500, per = "1m", key = "header:x-api-key" },
  { requests = 1, per = "10s", match = "GET /api/v1/speech/analyze/{id}", key = "path:id", code = "poll_rate_limited" },
]

[limits]
backend = "redis://127.0.0.1:6379"

[providers.acme]
extends = "generic"
"#;
    let all = loaded(&[("t.toml", text)], &[("ELEVENLABS_API_KEY", "sk-1")]);
    assert_eq!(all.config.routes.len(), 2);
    assert!(all.profile("acme").is_some() && all.profile("corti").is_some() && all.profile("nobody").is_none());
}
