//! The map in `src/lib.rs` is true: modules import only what stands above them, and the pure ones stay pure.

use super::{hold, path, rust_files, text};
use regex::Regex;
use std::fs;

/// What the top level may hold beside dotfiles and what `.gitignore` names.
const TOP_LEVEL: [&str; 8] = ["Cargo.toml", "Cargo.lock", "README.md", "src", "config", "deploy", "tests", "benches"];

/// What has no place in a pure module: a runtime, a socket, a file, a clock, the process.
const IMPURE: [&str; 12] = [
    r"\btokio\b",
    r"\bhyper(_util)?\b",
    r"\brustls\b",
    r"\btracing\b",
    r"std::(net|fs|env|thread|process)\b",
    r"std::io::std(in|out|err)\b",
    r"\bSystemTime::now\b",
    r"\bInstant::now\b",
    r"\bUtc::now\b",
    r"\bfastrand\b",
    r"\be?println!",
    r"\bstatic mut\b",
];

/// The configuration reads files and names addresses, and nothing more.
const NOT_IN_CONFIG: [&str; 8] = [
    r"\btokio\b",
    r"\bhyper(_util)?\b",
    r"\brustls\b",
    r"\btracing\b",
    r"net::(Tcp|Udp)",
    r"\bSystemTime::now\b",
    r"\bInstant::now\b",
    r"\be?println!",
];

/// Most lines of a file of `src`. What is longer holds two ideas, and each of them gets a file.
const MOST_LINES: usize = 400;

/// A module of the map.
#[derive(Clone, Debug, PartialEq)]
struct Module {
    rank: u8,
    name: String,
}

/// The table of modules in `src/lib.rs`, lowest first; within a row from left to right.
fn map(lib: &str) -> Vec<Module> {
    let row = Regex::new(r"(?m)^//! \| (\d) \| ([^|]+) \|").expect("a pattern");
    let name = Regex::new(r"`(\w+)`").expect("a pattern");
    let modules = row.captures_iter(lib).flat_map(|row| {
        let rank = row[1].parse().expect("a digit");
        let names: Vec<String> = name.captures_iter(&row[2]).map(|name| name[1].to_owned()).collect();
        names.into_iter().map(move |name| Module { rank, name })
    });
    modules.collect()
}

/// The module that a file of `src` belongs to, and how deep below the root of the crate its contents are.
fn home(file: &str) -> (&str, usize) {
    let parts: Vec<&str> = file.trim_end_matches(".rs").split('/').collect();
    let depth = if parts.last() == Some(&"mod") { parts.len() - 1 } else { parts.len() };
    (parts[0], depth)
}

/// The lines that are not comments, with their numbers.
fn code(source: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = source.lines().enumerate().map(|(index, line)| (index + 1, line));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The modules of this crate that a file names: the line, and the module or `*`.
fn imports(file: &str, source: &str) -> Vec<(usize, String)> {
    let pattern = Regex::new(r"\b(crate::|(?:super::)+)(\w+|\*|\{[^;]*)").expect("a pattern");
    let inside = Regex::new(r"^\{?\s*(\w+)|,\s*(\w+)").expect("a pattern");
    let blanked: String = source
        .lines()
        .map(|line| if line.trim_start().starts_with("//") { "\n".to_owned() } else { format!("{line}\n") })
        .collect();
    let mut found = Vec::new();
    for captures in pattern.captures_iter(&blanked) {
        let whole = captures.get(0).expect("a match");
        let line = blanked[..whole.end()].lines().count();
        let ups = captures[1].matches("super").count();
        // Fewer steps up stay within the module; so does `use super::*` in a module that is written inside its file.
        let indented = blanked[..whole.start()].ends_with("    use ");
        if ups > 0 && (ups < home(file).1 || indented && &captures[2] == "*") {
            continue;
        }
        match &captures[2] {
            group if group.starts_with('{') => {
                let outer = outermost(group);
                let names = inside.captures_iter(&outer).filter_map(|name| name.get(1).or(name.get(2)));
                found.extend(names.map(|name| (line, name.as_str().to_owned())));
            }
            name => found.push((line, name.to_owned())),
        }
    }
    found
}

/// The text of a `{…}` group without the groups in it, so that only the first names of its paths are left.
fn outermost(group: &str) -> String {
    let mut depth = 0;
    let mut outer = String::new();
    for char in group.chars() {
        match char {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ if depth == 1 => outer.push(char),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    outer
}

/// What breaks the order of the map.
fn out_of_order(map: &[Module], files: &[(String, String)]) -> Vec<String> {
    let place = |name: &str| map.iter().position(|module| module.name == name);
    let mut findings = Vec::new();
    for (file, source) in files {
        let (name, _) = home(file);
        if matches!(name, "lib" | "main") {
            continue;
        }
        let Some(own) = place(name) else {
            findings.push(format!("src/{file}: the map in src/lib.rs does not show `{name}`"));
            continue;
        };
        for (line, other) in imports(file, source) {
            let allowed = match place(&other) {
                _ if other == name => true,
                Some(there) => map[own].rank > 0 && there < own,
                // No module of the map; one that is missing there was found by its own file.
                None => other != "*",
            };
            if !allowed {
                findings.push(format!("src/{file}:{line}: `{name}` may not import `{other}`"));
            }
        }
    }
    findings
}

/// What has no place in these modules.
fn impure(modules: &[&str], patterns: &[&str], files: &[(String, String)]) -> Vec<String> {
    let patterns: Vec<Regex> = patterns.iter().map(|pattern| Regex::new(pattern).expect("a pattern")).collect();
    let mut findings = Vec::new();
    for (file, source) in files.iter().filter(|(file, _)| modules.contains(&home(file).0)) {
        for (line, code) in code(source) {
            let found = patterns.iter().filter(|pattern| pattern.is_match(code));
            findings.extend(found.map(|pattern| format!("src/{file}:{line}: `{pattern}` in `{}`", code.trim())));
        }
    }
    findings
}

/// The files that are too long.
fn too_long(files: &[(String, String)]) -> Vec<String> {
    let lengths = files.iter().map(|(file, source)| (file, source.lines().count()));
    lengths.filter(|(_, lines)| *lines > MOST_LINES).map(|(file, lines)| format!("src/{file}: {lines} lines")).collect()
}

/// The names of the top level that do not belong there.
fn strangers(names: &[String], ignored: &str) -> Vec<String> {
    let ignored: Vec<&str> = ignored.lines().map(|line| line.trim_matches('/')).collect();
    let known = |name: &str| name.starts_with('.') || TOP_LEVEL.contains(&name) || ignored.contains(&name);
    names.iter().filter(|name| !known(name)).cloned().collect()
}

#[test]
fn modules_import_only_what_stands_above_them() {
    let map = map(&text("src/lib.rs"));
    assert!(map.len() >= 11, "{map:?}");
    hold("imports against the map in src/lib.rs:", &out_of_order(&map, &rust_files("src")));
}

#[test]
fn the_pure_modules_stay_pure() {
    let files: Vec<_> = rust_files("src");
    hold("not pure:", &impure(&["canon", "wire", "render", "limit", "generation", "detect"], &IMPURE, &files));
    let shipped: Vec<_> = files.into_iter().filter(|(file, _)| !file.contains("/tests")).collect();
    hold("more than reading files:", &impure(&["config"], &NOT_IN_CONFIG, &shipped));
}

#[test]
fn no_file_is_longer_than_one_idea() {
    hold("longer than 400 lines; split by idea:", &too_long(&rust_files("src")));
}

#[test]
fn the_top_level_is_a_table_of_contents() {
    let names = fs::read_dir(path("")).expect("the repository can be read");
    let names: Vec<String> =
        names.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    hold("not at the top level:", &strangers(&names, &text(".gitignore")));
}

#[test]
fn seeded_mistakes_are_found() {
    let map = map(
        "//! | 0 | [`canon`] | x |\n//! | 0 | `wire` | x |\n//! | 1 | `render` | x |\n//! | 5 | `app`, `cli` | x |\n",
    );
    assert_eq!(
        map.iter().map(|module| module.name.as_str()).collect::<Vec<_>>(),
        ["canon", "wire", "render", "app", "cli"]
    );
    for (file, source, wrong) in [
        ("render/mod.rs", "use crate::canon::Code;\nuse crate::wire;", 0),
        ("cli.rs", "use crate::{app, canon::{Code, error::X}, render as r};", 0),
        ("canon/code.rs", "//! like crate::app\nuse super::explain::y;", 0),
        ("canon/mod.rs", "use crate::wire::sse;", 1),
        ("render/http.rs", "fn f() { crate::app::run() }", 1),
        ("render/http.rs", "use crate::{canon::{Code, app},\n    cli};", 1),
        ("render/http.rs", "use super::super::app;", 1),
        ("render/http.rs", "use super::super::{canon::{Code, cli}, app};", 1),
        ("render/mod.rs", "use super::app;", 1),
        ("render/mod.rs", "mod tests {\n    use super::*;\n}", 0),
        ("render/mod.rs", "use super::*;", 1),
        ("render/mod.rs", "fn f() {\n    super::app::run()\n}", 1),
        ("app.rs", "use crate::cli;", 1),
        ("wire/mod.rs", "use crate::*;", 1),
        ("stray.rs", "", 1),
    ] {
        let findings = out_of_order(&map, &[(file.to_owned(), source.to_owned())]);
        assert_eq!(findings.len(), wrong, "{file}: {source}: {findings:?}");
    }
    for (source, wrong) in [
        ("let now = SystemTime::now();", 1),
        ("// SystemTime::now() is an argument", 0),
        ("use std::fs::File;", 1),
        ("use tokio::time;", 1),
        ("let hyperbole = 1;", 0),
    ] {
        let files = [("canon/x.rs".to_owned(), source.to_owned())];
        assert_eq!(impure(&["canon"], &IMPURE, &files).len(), wrong, "{source}");
        assert!(impure(&["wire"], &IMPURE, &files).is_empty());
    }
    for (lines, wrong) in [(MOST_LINES, 0), (MOST_LINES + 1, 1)] {
        let files = [("canon/x.rs".to_owned(), "//\n".repeat(lines))];
        assert_eq!(too_long(&files).len(), wrong, "{lines}");
    }
    let names = [".ci", "src", "target", "docs"].map(str::to_owned);
    assert_eq!(strangers(&names, "/target\n"), ["docs"]);
}
