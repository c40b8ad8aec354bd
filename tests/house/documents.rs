//! The documents say what is true: what they name exists, their links lead somewhere, and each of their command lines is one that
//! the program takes and that a test runs.

use super::{DOCUMENTS, hold, path, rust_files, text};
use regex::Regex;
use serde_json::Value;
use speechgate::config;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The README is a way in: what, why, try, run, where the rest is.
const MOST_LINES: usize = 250;

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
    assert_eq!(paths(text).into_iter().collect::<Vec<_>>(), ["src/nothing.rs", "tests/all.sh"]);
    assert_eq!(metrics(text).into_iter().collect::<Vec<_>>(), ["speechgate_x"]);
    assert!(vocabulary().len() > 40);
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
