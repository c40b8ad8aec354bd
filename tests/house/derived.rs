//! The parts of documents that the code makes: tables, pictures of answers, the error reference. Each is compared, or written
//! anew where `SPEECHGATE_BLESS` is set. What a document shows as a configuration loads.

use super::{DOCUMENTS, path, text};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use speechgate::canon::envelope::Stamp;
use speechgate::canon::{Code, Evidence, Observed, Phase, Profile, Type, reference, resolve};
use speechgate::config::{self, Loaded};
use speechgate::render::http::{Form, response};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::time::SystemTime;

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
fn derived(document: &str, name: &str, made: &str) {
    let whole = text(document);
    let written = section(&whole, name);
    if written == made {
        return;
    }
    assert!(
        std::env::var_os("SPEECHGATE_BLESS").is_some(),
        "section `{name}` of {document} is out of date; run SPEECHGATE_BLESS=1 cargo test --test house\n{made}"
    );
    let frame = |inner: &str| format!("<!-- {name} -->\n{inner}<!-- /{name} -->");
    let renewed = whole.replace(&frame(written), &frame(made));
    fs::write(path(document), renewed).expect("the document can be written");
}

/// The types, what to do about each, and their codes; a code whose status differs from its type's says so.
fn type_table() -> String {
    let mut table = String::from("| type | status | what to do | codes |\n|---|---|---|---|\n");
    for kind in Type::ALL {
        let rows: Vec<_> = Code::ROWS.iter().filter(|row| row.kind == kind).collect();
        let status = rows.first().expect("every type has a code").status;
        let codes = rows.iter().map(|row| match row.status == status {
            true => format!("`{}`", row.name),
            false => format!("`{}` ({})", row.name, row.status),
        });
        let codes = codes.collect::<Vec<_>>().join(" ");
        // A String takes everything.
        let _ = writeln!(table, "| `{kind}` | {status} | {} | {codes} |", kind.advice());
    }
    table
}

/// The names of the providers that are built in, for the README: `edge` and `generic` are none.
fn provider_list() -> String {
    let names = config::built_in_names().filter(|name| !matches!(*name, "edge" | "generic"));
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    let (last, others) = names.split_last().expect("providers");
    let mut list = String::from("Built in are");
    let mut width = list.len();
    for word in format!("{} and {last}.", others.join(", ")).split(' ') {
        if width + 1 + word.len() > 130 {
            list.push('\n');
            width = 0;
        } else {
            list.push(' ');
            width += 1;
        }
        list.push_str(word);
        width += word.len();
    }
    list + "\n"
}

/// What a profile has for a provider: who it is, where failures are found beside HTTP statuses, how much is known.
fn provider_table() -> String {
    let mut table = String::from(
        "| profile | provider | failures are found in | codes and rules | samples | since | source |\n|---|---|---|---|---|---|---|\n",
    );
    for profile in config::built_in_profiles() {
        let (name, spec) = (profile.name(), profile.spec());
        let source = text(&format!("config/providers/{name}.toml"));
        // The first sentence of the file's comment, of which the parentheses hold addresses.
        let first = source.lines().next().and_then(|line| line.strip_prefix("# ")).expect("a comment");
        let who = first.split([':', ';']).next().unwrap_or_default();
        let who = who.split(" (").next().unwrap_or_default().trim_end_matches(['.', ',']);
        let found: BTreeSet<&str> =
            spec.errors.iter().filter(|error| !error.ignore).map(|error| place(error.phase)).collect();
        let found: Vec<&str> = ["HTTP answers"].into_iter().chain(found).collect();
        let known = spec.codes.len() + spec.spaces.values().map(|rows| rows.len()).sum::<usize>() + spec.rules.len();
        let samples = fs::read_dir(path("tests/corpus").join(name)).map_or(0, |files| {
            let names = files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned());
            names.filter(|name| !name.ends_with(".json")).count()
        });
        // A String takes everything.
        let _ = writeln!(
            table,
            "| [`{name}`](providers/{name}.toml) | {who} | {} | {known} | {samples} | 0.1 | {} |",
            found.join(", "),
            sources(name, &source)
        );
    }
    table
}

/// Where a profile's facts come from: its first comment names each source, `"errors page": docs.acme.example/errors.`, and the
/// comments at the rows cite those names. `"seen"`, an answer that somebody showed in public, is no document.
fn sources(name: &str, profile: &str) -> String {
    let head = profile.lines().map_while(|line| line.strip_prefix('#')).fold(String::new(), |mut head, line| {
        // An address may go on in the next line.
        let line = if head.ends_with('/') { line.trim_start() } else { line };
        head.push_str(if line.is_empty() { "\n" } else { line });
        head
    });
    let name_and_text =
        regex::Regex::new(r#"\s"([a-zA-Z][\w ]*)"(?:, "[\w ]+")*: ([^\n]+?)(?:\. (?:["A-Z]|$)|; "|\.?(?:\n|$))"#);
    let name_and_text = name_and_text.expect("a regular expression");
    let mut sources = Vec::new();
    let mut at = 0;
    while let Some(found) = name_and_text.captures_at(&head, at) {
        let text = found.get(2).expect("a source");
        at = text.end();
        if &found[1] != "seen" {
            let names = &head[found.get(1).expect("a name").start() - 1..text.start() - 2];
            sources.push(format!("{}: {}", names.replace('"', ""), text.as_str().trim_end_matches('.')));
        }
    }
    assert!(!sources.is_empty(), "{name}: its first comment names no source");
    sources.join("; ").replace('|', "\\|")
}

fn place(phase: Phase) -> &'static str {
    match phase {
        Phase::Handshake => "refused handshakes",
        Phase::Http => "HTTP answers",
        Phase::Sse => "SSE events",
        Phase::Ndjson => "NDJSON lines",
        Phase::Frame => "WebSocket messages",
        Phase::Close => "WebSocket closes",
        Phase::Abort => "broken connections",
        Phase::Job => "jobs inside a 200",
        Phase::Grpc => "gRPC",
    }
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

#[test]
fn the_derived_parts_are_up_to_date() {
    derived("README.md", "codes", &type_table());
    derived("README.md", "providers", &provider_list());
    derived("config/PROVIDERS.md", "providers", &provider_table());
    let readme = text("README.md");
    let size = format!("{} types and {} codes", Type::ALL.len(), Code::ROWS.len());
    assert!(readme.contains(&size), "README.md does not say `{size}`");
    let elevenlabs = config::built_in("elevenlabs").expect("built in").expect("valid");
    derived("README.md", "after", &answered(&elevenlabs, "tts", block(&readme, "before", "http"), true));
    let profiles = text("config/PROFILES.md");
    let acme = load(block(&profiles, "acme", "toml"));
    let acme = acme.profile("acme").expect("the example's own profile");
    derived(
        "config/PROFILES.md",
        "acme-after",
        &answered(&acme, "acme", block(&profiles, "acme-before", "http"), false),
    );
}

#[test]
fn every_configuration_loads() {
    let mut loaded = 0;
    for document in DOCUMENTS {
        let whole = text(document);
        for block in blocks(&whole, "toml").into_iter().filter(|block| block.contains("[[routes]]")) {
            assert!(!load(block).config.routes.is_empty(), "{document}: {block}");
            loaded += 1;
        }
    }
    assert!(loaded >= 5, "{loaded}");
}

/// The example is worth nothing when the generic profile alone would have said the same.
#[test]
fn the_example_of_an_own_provider_needs_its_profile() {
    let profiles = text("config/PROFILES.md");
    let generic = config::built_in("generic").expect("built in").expect("valid");
    let without = answered(&generic, "acme", block(&profiles, "acme-before", "http"), false);
    let code = |text: &str| text.lines().find(|line| line.starts_with("x-error-code")).map(str::to_owned);
    assert_ne!(code(&without), code(section(&profiles, "acme-after")));
}

#[test]
fn seeded_sections_are_found() {
    assert_eq!(block("<!-- a -->\n```toml\nx = 1\n```\n<!-- /a -->", "a", "toml"), "x = 1\n");
    assert_eq!(type_table().lines().count(), Type::ALL.len() + 2);
}
