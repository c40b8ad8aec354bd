//! The README says what is true: its tables and pictures come from the code, its configurations load, its example works.

use super::{hold, path, text};
use http::{HeaderMap, HeaderName, HeaderValue};
use regex::Regex;
use serde_json::Value;
use speechgate::canon::envelope::Stamp;
use speechgate::canon::{Code, Evidence, Observed, Profile, Type, reference, resolve};
use speechgate::config::{self, Loaded};
use speechgate::render::http::{Form, response};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::time::SystemTime;

/// Beyond it nobody reads to the end.
const MOST_LINES: usize = 500;

/// What is between `<!-- name -->` and `<!-- /name -->`.
fn section<'t>(readme: &'t str, name: &str) -> &'t str {
    let begin = readme.find(&format!("<!-- {name} -->\n")).unwrap_or_else(|| panic!("no section {name}"));
    let rest = &readme[begin + name.len() + 10..];
    &rest[..rest.find(&format!("<!-- /{name} -->")).unwrap_or_else(|| panic!("no end of section {name}"))]
}

/// The contents of the fenced blocks of a language.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let fence = format!("```{language}\n");
    let inside = text.split(&fence).skip(1);
    inside.map(|block| block.split("```").next().unwrap_or_default()).collect()
}

fn block<'t>(readme: &'t str, name: &str, language: &str) -> &'t str {
    let blocks = blocks(section(readme, name), language);
    assert_eq!(blocks.len(), 1, "section {name}");
    blocks[0]
}

/// Fails when a section is not what the code makes of it, or writes it anew.
#[track_caller]
fn derived(name: &str, made: &str) {
    let readme = text("README.md");
    let written = section(&readme, name);
    if written == made {
        return;
    }
    assert!(
        std::env::var_os("SPEECHGATE_BLESS").is_some(),
        "section `{name}` of README.md is out of date; run SPEECHGATE_BLESS=1 cargo test --test house\n{made}"
    );
    let frame = |inner: &str| format!("<!-- {name} -->\n{inner}<!-- /{name} -->");
    let renewed = readme.replace(&frame(written), &frame(made));
    fs::write(path("README.md"), renewed).expect("README.md can be written");
}

fn code_table() -> String {
    let mut table = String::from("| type | code | status | retry | what happened |\n|---|---|---|---|---|\n");
    for kind in Type::ALL {
        let rows = Code::ROWS.iter().filter(|row| row.kind == kind);
        for (index, row) in rows.enumerate() {
            let first = if index == 0 { format!("`{kind}`") } else { String::new() };
            let retry = if row.retryable { "yes" } else { "no" };
            // A String takes everything.
            let _ = writeln!(table, "| {first} | `{}` | {} | {retry} | {} |", row.name, row.status, row.sentence);
        }
    }
    table
}

/// What the gateway makes of a recorded answer, head and body, as it is shown to people.
fn answered(profile: &Profile, route: &str, recording: &str, pretty: bool) -> String {
    let (head, body) = recording.split_once("\n\n").expect("a head and a body");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a field");
        let name: HeaderName = name.parse().expect("a field name");
        headers.append(name, HeaderValue::from_str(value).expect("a field value"));
    }
    let status = status.parse().expect("a status");
    let seen = Observed::http(status, &headers, body.trim_end().as_bytes(), SystemTime::UNIX_EPOCH);
    let error = resolve(profile, &Evidence::new(&seen)).error;
    let stamp = Stamp {
        request_id: "01KAQ8Z6M3W4E0J7T5YV9S2N1C",
        timestamp: "2026-11-21T09:30:00.123Z",
        provider: Some(profile.name()),
        route: Some(route),
        upstream_body: true,
        docs: None,
    };
    let answer = response(&error, &stamp, Form::Canonical, Some(headers));
    let mut shown = format!("```http\nHTTP/1.1 {}\n", answer.status());
    for (name, value) in answer.headers().iter().filter(|(name, _)| *name != "content-length") {
        let _ = writeln!(shown, "{name}: {}", value.to_str().expect("text"));
    }
    let body: Value = serde_json::from_slice(answer.body()).expect("JSON");
    let body = if pretty { a_member_a_line(&body["error"]) } else { body.to_string() };
    let _ = write!(shown, "\n{body}\n```\n");
    shown
}

/// The envelope with each member on a line of its own.
fn a_member_a_line(error: &Value) -> String {
    let members = error.as_object().expect("an object").iter();
    let lines: Vec<String> = members.map(|(name, value)| format!("    \"{name}\": {value}")).collect();
    format!("{{\n  \"error\": {{\n{}\n  }}\n}}", lines.join(",\n"))
}

/// Fails when the static copy of the error reference is not what the code makes of it, or writes it anew.
#[test]
fn the_error_reference_is_up_to_date() {
    let profiles: Vec<_> = config::built_in_profiles().collect();
    assert_eq!(profiles.len(), config::built_in_names().count());
    let entries = reference::entries(profiles.iter().map(AsRef::as_ref));
    let unexplained: Vec<String> = entries
        .iter()
        .filter(|entry| entry.said.is_empty() && entry.faults.is_empty())
        .map(|entry| entry.row.name.to_owned())
        .collect();
    assert!(unexplained.is_empty(), "{unexplained:?}");
    let (file, made) = ("config/errors.md", reference::markdown(&entries));
    if std::env::var_os("SPEECHGATE_BLESS").is_some() {
        fs::write(path(file), &made).expect("config/errors.md can be written");
    }
    let written = fs::read_to_string(path(file)).unwrap_or_default();
    assert!(written == made, "{file} is out of date; run SPEECHGATE_BLESS=1 cargo test --test house");
}

fn load(text: &str) -> Loaded {
    let variables = ["ELEVENLABS_API_KEY", "SECOND_KEY"].map(|name| (name.to_owned(), "sk-1234567890".to_owned()));
    config::load_str(&[("README.md", text)], variables).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"))
}

/// The names of the metrics in a text; those of a histogram's parts are its own.
fn metrics(text: &str) -> BTreeSet<String> {
    let pattern = Regex::new(r"\b(?:speechgate|process)_[a-z_]+\b").expect("a pattern");
    let names = pattern.find_iter(text).map(|name| name.as_str());
    let whole = |name: &str| {
        let of_histogram = ["_bucket", "_sum", "_count"].into_iter().find_map(|part| name.strip_suffix(part));
        of_histogram.unwrap_or(name).to_owned()
    };
    names.map(whole).collect()
}

/// The keys of the profile vocabulary, by the word of the schema.
fn vocabulary() -> BTreeSet<String> {
    let schema: Value = serde_json::from_str(&config::schema_text()).expect("a schema");
    let tables = schema["$defs"].as_object().expect("definitions");
    let ours = tables.iter().filter(|(name, _)| name.ends_with("Spec"));
    let keys = ours.flat_map(|(_, table)| table["properties"].as_object().into_iter().flatten());
    keys.map(|(key, _)| key.clone()).collect()
}

/// The paths of this repository that a text names.
fn paths(text: &str) -> BTreeSet<String> {
    let pattern =
        Regex::new(r"`(?:bash )?((?:src|config|tests|deploy|benches|\.ci|\.licenses)/[\w./-]*)").expect("a pattern");
    pattern.captures_iter(text).map(|path| path[1].to_owned()).collect()
}

#[test]
fn the_derived_parts_are_up_to_date() {
    derived("codes", &code_table());
    let readme = text("README.md");
    let size = format!("{} types and {} codes", Type::ALL.len(), Code::ROWS.len());
    assert!(readme.contains(&size), "README.md does not say `{size}`");
    let elevenlabs = config::built_in("elevenlabs").expect("built in").expect("valid");
    derived("after", &answered(&elevenlabs, "tts", block(&readme, "before", "http"), true));
    let acme = load(block(&readme, "acme", "toml"));
    let acme = acme.profile("acme").expect("the example's own profile");
    derived("acme-after", &answered(&acme, "acme", block(&readme, "acme-before", "http"), false));
}

#[test]
fn every_configuration_loads() {
    let readme = text("README.md");
    let blocks = blocks(&readme, "toml");
    assert!(blocks.len() >= 2, "{blocks:?}");
    for block in blocks {
        assert!(!load(block).config.routes.is_empty(), "{block}");
    }
}

/// The example is worth nothing when the generic profile alone would have said the same.
#[test]
fn the_example_of_an_own_provider_needs_its_profile() {
    let readme = text("README.md");
    let generic = config::built_in("generic").expect("built in").expect("valid");
    let without = answered(&generic, "acme", block(&readme, "acme-before", "http"), false);
    let code = |text: &str| text.lines().find(|line| line.starts_with("x-error-code")).map(str::to_owned);
    assert_ne!(code(&without), code(section(&readme, "acme-after")));
}

#[test]
fn everything_that_is_named_exists_and_everything_that_exists_is_named() {
    let readme = text("README.md");
    let missing = |what: &str, wanted: BTreeSet<String>| {
        let absent = wanted.into_iter().filter(|name| !readme.contains(&format!("`{name}`")));
        absent.map(|name| format!("the {what} `{name}` is not in README.md")).collect::<Vec<_>>()
    };
    hold("profiles:", &missing("profile", config::built_in_names().map(str::to_owned).collect()));
    hold("vocabulary:", &missing("key", vocabulary()));
    // The modules under test are left out: they use names of metrics as samples.
    let sources =
        ["fleet.rs", "metrics.rs", "metrics/families.rs", "metrics/registry.rs", "otlp.rs", "process.rs", "retries.rs"]
            .map(|file| text(&format!("src/telemetry/{file}")))
            .concat();
    let there = metrics(&sources);
    assert!(there.len() > 10, "{there:?}");
    hold("metrics:", &missing("metric", there.clone()));
    let invented: Vec<String> = metrics(&readme).difference(&there).cloned().collect();
    hold("no such metric:", &invented);
    let made = text(".gitignore");
    let missing = |name: &String| !path(name).exists() && !made.contains(name.as_str());
    let dangling: Vec<String> = paths(&readme).into_iter().filter(missing).collect();
    hold("no such file:", &dangling);
    assert!(readme.lines().count() < MOST_LINES, "{} lines", readme.lines().count());
}

#[test]
fn seeded_mistakes_are_found() {
    let text =
        "<!-- a -->\n```toml\nx = 1\n```\n<!-- /a --> `src/nothing.rs` and `bash tests/all.sh` speechgate_x_bucket";
    assert_eq!(block(text, "a", "toml"), "x = 1\n");
    assert_eq!(paths(text).into_iter().collect::<Vec<_>>(), ["src/nothing.rs", "tests/all.sh"]);
    assert_eq!(metrics(text).into_iter().collect::<Vec<_>>(), ["speechgate_x"]);
    assert!(vocabulary().len() > 40);
    assert_eq!(code_table().lines().count(), Code::ROWS.len() + 2);
}
