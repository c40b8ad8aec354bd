//! The simulator stands apart: it needs nothing of the gateway, and nothing but the demo knows it.

use super::{hold, rust_files};
use regex::Regex;

/// Who may name the simulator: the command that starts it.
const KNOWS_THE_SIMULATOR: [&str; 2] = ["cli/demo.rs", "cli/demo/tour.rs"];

/// The text without comments and without tests that stand in the file.
fn shipped(source: &str) -> String {
    let code = source.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| [line, "\n"]).collect()
}

/// The paths that a `use` names, groups written out.
fn expand(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        return vec![path.trim().to_owned()];
    };
    // The group ends with the last brace, because paths have nothing behind a group.
    let (start, inside) = (&tree[..open], &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())]);
    let (mut depth, mut parts, mut part) = (0, Vec::new(), String::new());
    for character in inside.chars() {
        if character == ',' && depth == 0 {
            parts.push(std::mem::take(&mut part));
            continue;
        }
        depth += i32::from(character == '{') - i32::from(character == '}');
        part.push(character);
    }
    parts.push(part);
    let named = parts.iter().filter(|part| !part.trim().is_empty());
    named.flat_map(|part| expand(part)).map(|path| format!("{start}{path}")).collect()
}

/// The paths within the crate that a file names.
fn paths(source: &str) -> Vec<String> {
    let uses = Regex::new(r"(?m)^\s*(?:pub(?:\([a-z]+\))? )?use ([^;]+);").expect("a pattern");
    let inline = Regex::new(r"\b(?:crate|super)(?:::\w+)+").expect("a pattern");
    let used = uses.captures_iter(source).flat_map(|found| expand(&found[1]));
    let rest = uses.replace_all(source, "");
    used.chain(inline.find_iter(&rest).map(|found| found.as_str().to_owned())).collect()
}

/// The files that name the simulator and may not.
fn simulator_users(files: &[(String, String)]) -> Vec<String> {
    let outside = files.iter().filter(|(file, _)| !file.starts_with("simulator/"));
    let names = |path: &String| path.split("::").find(|part| !matches!(*part, "crate" | "super")) == Some("simulator");
    let outside = outside.filter(|(file, source)| {
        !KNOWS_THE_SIMULATOR.contains(&file.as_str()) && paths(&shipped(source)).iter().any(names)
    });
    outside.map(|(file, _)| format!("src/{file} names the simulator")).collect()
}

/// What the simulator takes from the gateway.
fn simulator_needs(files: &[(String, String)]) -> Vec<String> {
    let mut findings = Vec::new();
    for (file, source) in files.iter().filter(|(file, _)| file.starts_with("simulator/")) {
        let foreign = paths(&shipped(source)).into_iter();
        let foreign = foreign.filter(|path| path.starts_with("crate::") && !path.starts_with("crate::simulator"));
        findings.extend(foreign.map(|path| format!("src/{file} uses {path}")));
    }
    findings
}

fn without_tests() -> Vec<(String, String)> {
    rust_files("src").into_iter().filter(|(file, _)| !file.contains("tests")).collect()
}

#[test]
fn the_simulator_stands_apart() {
    let files = without_tests();
    hold("only the demo may start simulators:", &simulator_users(&files));
    hold("the simulator needs nothing of the gateway:", &simulator_needs(&files));
}

#[test]
fn seeded_mistakes_are_found() {
    let file = |name: &str, source: &str| (name.to_owned(), source.to_owned());
    assert_eq!(expand("a::{b::{c, d as e}, f}"), ["a::b::c", "a::b::d", "a::f"]);
    let users = [file("proxy/x.rs", "use crate::{canon, simulator};"), file("cli/demo.rs", "use crate::simulator::X;")];
    assert_eq!(simulator_users(&users), ["src/proxy/x.rs names the simulator"]);
    assert_eq!(
        simulator_needs(&[file("simulator/x.rs", "use crate::{app, simulator::y};")]),
        ["src/simulator/x.rs uses crate::app"]
    );
}
