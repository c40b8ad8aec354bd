//! The documents say what is true: their tables and pictures come from the code, their configurations load, their examples
//! work, their links lead somewhere, and each of their command lines is one that the program takes and that a test runs.

use super::{hold, path, rust_files, text};
use http::{HeaderMap, HeaderName, HeaderValue};
use regex::Regex;
use serde_json::Value;
use speechgate::canon::envelope::Stamp;
use speechgate::canon::{Code, Evidence, Observed, Phase, Profile, Type, reference, resolve};
use speechgate::config::{self, Loaded};
use speechgate::render::http::{Form, response};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

/// Every document that a person reads, but for `config/errors.md`, which is made from the code.
const DOCUMENTS: [&str; 10] = [
    "README.md",
    "config/CLIENTS.md",
    "config/PROFILES.md",
    "config/PROVIDERS.md",
    "deploy/README.md",
    "deploy/OPERATIONS.md",
    "src/docs/architecture.md",
    "src/docs/extending.md",
    "benches/RESULTS.md",
    ".github/CONTRIBUTING.md",
];

/// The README is a way in: what, why, try, run, where the rest is.
const MOST_LINES: usize = 250;

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
        "| profile | provider | failures are found in | codes and rules | samples | since |\n|---|---|---|---|---|---|\n",
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
            "| [`{name}`](providers/{name}.toml) | {who} | {} | {known} | {samples} | 0.1 |",
            found.join(", ")
        );
    }
    table
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

/// The paths of this repository that a text names, on their own or as part of a command.
fn paths(text: &str) -> BTreeSet<String> {
    let pattern = Regex::new(r"`(?:bash )?((?:src|config|tests|deploy|benches|\.ci|\.github|\.licenses)/[\w./-]*)")
        .expect("a pattern");
    // `NAME` stands for a name.
    pattern.captures_iter(text).map(|path| path[1].to_owned()).filter(|path| !path.contains("NAME")).collect()
}

/// Where the links of a document lead: `[text](target)`, `src="target"` and `srcset="target"`, addresses elsewhere left out.
fn links(text: &str) -> Vec<String> {
    let pattern = Regex::new(r#"\]\(([^)\s]+)\)|\bsrc(?:set)?="([^"]+)""#).expect("a pattern");
    let targets = pattern.captures_iter(text).filter_map(|link| link.get(1).or(link.get(2)));
    let targets = targets.map(|target| target.as_str().to_owned());
    targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:")).collect()
}

/// The anchors of a document's headings, as they are made by the sites that show Markdown.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |heading: &str| {
        let lower = heading.to_lowercase();
        let kept = lower.chars().filter(|char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_'));
        kept.map(|char| if char == ' ' { '-' } else { char }).collect()
    };
    headings.map(anchor).collect()
}

/// What is wrong with the links of a document at this place.
fn dead_links(document: &str, text: &str, read: &dyn Fn(&Path) -> Option<String>) -> Vec<String> {
    let folder = Path::new(document).parent().unwrap_or(Path::new(""));
    let mut dead = Vec::new();
    for link in links(text) {
        let (file, anchor) = link.split_once('#').map_or((link.as_str(), None), |(file, anchor)| (file, Some(anchor)));
        let target = if file.is_empty() { Some(text.to_owned()) } else { read(&folder.join(file)) };
        match (target, anchor) {
            (None, _) => dead.push(format!("{document}: nothing is at `{link}`")),
            (Some(there), Some(anchor)) if !anchors(&there).contains(anchor) => {
                dead.push(format!("{document}: no heading is `{link}`"));
            }
            (Some(_), _) => {}
        }
    }
    dead
}

/// The blocks of shell commands, each with the mark in front of it: the file of the test that runs it, and the test. What no
/// machine of the tests can run (a container engine, a cluster) says `checked` instead, and names what looks at the files.
fn shell_blocks(text: &str) -> Vec<(Option<(String, String)>, String)> {
    let mark = Regex::new(r"<!-- (?:tested|checked): (\S+) (\w+) -->\n(?:<!-- \w+ -->\n)?$").expect("a pattern");
    let mut blocks = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find("```sh\n").map(|at| at + from) {
        let begin = at + "```sh\n".len();
        let end = text[begin..].find("```").map_or(text.len(), |end| begin + end);
        let tested = mark.captures(&text[..at]).map(|mark| (mark[1].to_owned(), mark[2].to_owned()));
        blocks.push((tested, text[begin..end].to_owned()));
        from = end + 3;
    }
    blocks
}

/// The blocks of a document that no test runs.
fn untested(document: &str, text: &str, read: &dyn Fn(&Path) -> Option<String>) -> Vec<String> {
    let runs =
        |file: &str, test: &str| read(Path::new(file)).is_some_and(|source| source.contains(&format!("fn {test}(")));
    let wrong = shell_blocks(text).into_iter().filter_map(|(tested, block)| {
        let first = block.lines().next().unwrap_or_default().to_owned();
        match tested {
            None => Some(format!("{document}: no `<!-- tested: FILE TEST -->` stands in front of `{first}`")),
            Some((file, test)) if !runs(&file, &test) => Some(format!("{document}: {file} has no test `{test}`")),
            Some(_) => None,
        }
    });
    wrong.collect()
}

/// The arguments of every command line of speechgate in blocks and in running text.
fn command_lines(text: &str) -> Vec<Vec<String>> {
    let pattern = Regex::new(
        r"(?m)(?:^|[`|&]\s*)(?:\w+=\S+ )*(?:(?:target/release/|/usr/local/bin/)?speechgate|cargo run --release --) ((?:serve|demo|check|explain|codes|schema|health|completions|key)\b[^`\n#&;>]*)",
    )
    .expect("a pattern");
    let lines = pattern.captures_iter(text).map(|line| line[1].replace('\\', ""));
    // A synopsis is no command line.
    lines.filter(|line| !line.contains(['…', '[', '|'])).map(|line| words(&line)).collect()
}

/// The words of a command line, as a shell divides it.
fn words(line: &str) -> Vec<String> {
    let (mut all, mut word, mut quote) = (Vec::new(), String::new(), None);
    for char in line.chars() {
        match (quote, char) {
            (None, '"' | '\'') => quote = Some(char),
            (Some(open), _) if char == open => quote = None,
            (None, _) if char.is_whitespace() => all.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
            _ => word.push(char),
        }
    }
    all.extend((!word.is_empty()).then_some(word));
    all
}

/// Whether the program takes this command line. `--help` behind it ends the run before anything is done, and after all
/// that stands in front of it has been understood.
fn is_taken(arguments: &[String]) -> Result<(), String> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_speechgate"));
    let output = program.args(arguments).arg("--help").output().expect("the program runs");
    let said = || String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned();
    if output.status.success() { Ok(()) } else { Err(format!("`speechgate {}`: {}", arguments.join(" "), said())) }
}

/// What is at a place of the repository: a file's text, and nothing of a folder.
fn there(place: &Path) -> Option<String> {
    let place = path(&place.to_string_lossy());
    if place.is_dir() {
        Some(String::new())
    } else {
        fs::read(&place).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
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
fn everything_that_is_named_exists_and_everything_that_exists_is_named() {
    let (readme, profiles, operations) = (text("README.md"), text("config/PROFILES.md"), text("deploy/OPERATIONS.md"));
    let missing = |what: &str, document: &str, whole: &str, wanted: BTreeSet<String>| {
        let absent = wanted.into_iter().filter(|name| !whole.contains(&format!("`{name}`")));
        absent.map(|name| format!("the {what} `{name}` is not in {document}")).collect::<Vec<_>>()
    };
    let names = config::built_in_names().map(str::to_owned).collect();
    hold("profiles:", &missing("profile", "README.md", &readme, names));
    hold("vocabulary:", &missing("key", "config/PROFILES.md", &profiles, vocabulary()));
    // The modules under test are left out: they use names of metrics as samples.
    let files = rust_files("src/telemetry").into_iter().filter(|(file, _)| !file.contains("test"));
    let sources: String =
        files.map(|(_, source)| source.split("#[cfg(test)]").next().unwrap_or_default().to_owned()).collect();
    let there_are = metrics(&sources);
    assert!(there_are.len() > 10, "{there_are:?}");
    hold("metrics:", &missing("metric", "deploy/OPERATIONS.md", &operations, there_are.clone()));
    let made = text(".gitignore");
    let mut dangling = Vec::new();
    for document in DOCUMENTS {
        let whole = text(document);
        let invented = metrics(&whole);
        dangling.extend(invented.difference(&there_are).map(|name| format!("{document}: no metric `{name}`")));
        let missing = |name: &String| !path(name).exists() && !made.contains(name.as_str());
        dangling.extend(paths(&whole).into_iter().filter(missing).map(|name| format!("{document}: no file `{name}`")));
    }
    hold("named and not there:", &dangling);
    assert!(readme.lines().count() <= MOST_LINES, "{} lines", readme.lines().count());
}

#[test]
fn every_link_leads_somewhere() {
    let dead: Vec<String> =
        DOCUMENTS.iter().flat_map(|document| dead_links(document, &text(document), &there)).collect();
    hold("dead links:", &dead);
    let linked: usize = DOCUMENTS.iter().map(|document| links(&text(document)).len()).sum();
    assert!(linked >= 2, "{linked}");
}

/// The steps of the hand walks: each section's list of `file::function`.
fn walks(text: &str) -> Vec<Vec<(String, String)>> {
    let step = Regex::new(r"`(src/[\w/]+\.rs)::(\w+)`").expect("a pattern");
    let walks = text.split("\n## ").filter(|section| section.starts_with("The path of"));
    walks.map(|walk| step.captures_iter(walk).map(|step| (step[1].to_owned(), step[2].to_owned())).collect()).collect()
}

#[test]
fn the_hand_walks_name_functions_that_are_there_and_visit_none_twice() {
    let walks = walks(&text("src/docs/architecture.md"));
    assert_eq!(walks.len(), 2);
    for walk in walks {
        assert!((10..=20).contains(&walk.len()), "{} hops", walk.len());
        let different: BTreeSet<_> = walk.iter().collect();
        assert_eq!(different.len(), walk.len(), "{walk:?}");
        let missing = walk.iter().filter(|(file, function)| {
            let named = Regex::new(&format!(r"fn {function}\b")).expect("a pattern");
            !there(Path::new(file)).is_some_and(|source| named.is_match(&source))
        });
        let missing: Vec<String> = missing.map(|(file, function)| format!("{file}::{function}")).collect();
        hold("no such function:", &missing);
    }
}

#[test]
fn every_block_of_commands_is_run_by_a_test() {
    let wrong: Vec<String> =
        DOCUMENTS.iter().flat_map(|document| untested(document, &text(document), &there)).collect();
    hold("untested commands:", &wrong);
}

#[test]
fn the_program_takes_every_command_line() {
    let lines: BTreeSet<Vec<String>> = DOCUMENTS.iter().flat_map(|document| command_lines(&text(document))).collect();
    assert!(lines.len() >= 8, "{lines:?}");
    let wrong: Vec<String> = lines.iter().filter_map(|line| is_taken(line).err()).collect();
    hold("the program does not take:", &wrong);
}

#[test]
fn the_test_command_of_the_readme_is_the_one_that_the_gate_runs() {
    let command = "bash tests/all.sh";
    assert!(text("README.md").contains(&format!("\n{command}\n")));
    assert!(text(".ci/run").contains(&format!("step {command}")));
}

#[test]
fn seeded_mistakes_are_found() {
    let text =
        "<!-- a -->\n```toml\nx = 1\n```\n<!-- /a --> `src/nothing.rs` and `bash tests/all.sh` speechgate_x_bucket";
    assert_eq!(block(text, "a", "toml"), "x = 1\n");
    assert_eq!(paths(text).into_iter().collect::<Vec<_>>(), ["src/nothing.rs", "tests/all.sh"]);
    assert_eq!(metrics(text).into_iter().collect::<Vec<_>>(), ["speechgate_x"]);
    assert!(vocabulary().len() > 40);
    assert_eq!(type_table().lines().count(), Type::ALL.len() + 2);
    let read = |place: &Path| (place == Path::new("a/b.md")).then(|| "# One heading, here\nfn run_it() {}".to_owned());
    for (link, dead) in [
        ("[x](b.md)", 0),
        ("[x](b.md#one-heading-here)", 0),
        ("[x](https://elsewhere.example/)", 0),
        ("[x](b.md#another)", 1),
        ("[x](c.md)", 1),
        ("<img src=\"c.png\">", 1),
    ] {
        assert_eq!(dead_links("a/x.md", link, &read).len(), dead, "{link}");
    }
    for (block, wrong) in [
        ("<!-- tested: a/b.md run_it -->\n```sh\nls\n```", 0),
        ("<!-- tested: a/b.md run_it -->\n<!-- mark -->\n```sh\nls\n```", 0),
        ("```sh\nls\n```", 1),
        ("<!-- tested: a/b.md run_that -->\n```sh\nls\n```", 1),
        ("<!-- tested: a/c.md run_it -->\n```sh\nls\n```", 1),
    ] {
        assert_eq!(untested("x.md", block, &read).len(), wrong, "{block}");
    }
    let found = command_lines("`speechgate codes --provider corti`\nX=1 speechgate check --config 'a b'   # why\n");
    assert_eq!(found, [vec!["codes", "--provider", "corti"], vec!["check", "--config", "a b"]]);
    assert!(is_taken(&["codes".to_owned(), "--provider".to_owned(), "corti".to_owned()]).is_ok());
    assert!(is_taken(&["codes".to_owned(), "--provders".to_owned(), "corti".to_owned()]).is_err());
}
