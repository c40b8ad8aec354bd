//! No circle of imports between the files of a module, and nothing of the data plane that knows the simulator.

use super::{hold, rust_files};
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};

/// The modules whose files import each other in one direction only.
const WITHOUT_CIRCLES: [&str; 1] = ["simulator"];

/// Who may name the simulator: the command that starts it, and the list of modules.
const KNOWS_THE_SIMULATOR: [&str; 3] = ["cli/demo.rs", "cli/demo/tour.rs", "lib.rs"];

/// The path of the module that a file of `src` holds: `a/b/mod.rs` and `a/b.rs` are both `a::b`.
fn module(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    path.split('/').map(str::to_owned).collect()
}

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

/// Which file each file of a folder imports, by their names.
fn imports(files: &[(String, String)]) -> BTreeMap<String, BTreeSet<String>> {
    let by_module: BTreeMap<Vec<String>, &String> = files.iter().map(|(file, _)| (module(file), file)).collect();
    let target = |from: &[String], path: &str| {
        // A path that begins with neither `crate` nor `super` names a child of the file, or another crate.
        let mut at = if path.starts_with("crate::") { Vec::new() } else { from.to_vec() };
        let names = path.split("::").map(str::trim);
        for name in names {
            match name {
                "crate" | "self" => {}
                "super" => drop(at.pop()),
                name => at.push(name.to_owned()),
            }
        }
        // The longest part of the path that is a file; the rest names something in it.
        (1..=at.len()).rev().find_map(|length| by_module.get(&at[..length]).copied())
    };
    let edges = files.iter().map(|(file, source)| {
        let from = module(file);
        let named = paths(&shipped(source));
        let targets = named.iter().filter_map(|path| target(&from, path)).filter(|to| *to != file).cloned();
        (file.clone(), targets.collect())
    });
    edges.collect()
}

/// The files that reach themselves, each with what it reaches on the way.
fn circles(files: &[(String, String)]) -> Vec<String> {
    let edges = imports(files);
    let reach = |from: &String| {
        let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(file) = open.pop() {
            for to in edges.get(file).into_iter().flatten() {
                if reached.insert(to.clone()) {
                    open.push(to);
                }
            }
        }
        reached
    };
    let reached: BTreeMap<&String, BTreeSet<String>> = edges.keys().map(|file| (file, reach(file))).collect();
    let back = |file: &String, other: &String| reached.get(other).is_some_and(|there| there.contains(file));
    let on_circles = reached.iter().filter(|(file, there)| there.contains(**file));
    let found = on_circles.map(|(file, there)| {
        let others: Vec<&str> =
            there.iter().filter(|other| *other != *file && back(file, other)).map(String::as_str).collect();
        format!("src/{file} is on a circle with {}", others.join(", "))
    });
    found.collect()
}

/// The files that name the simulator and may not.
fn simulator_users(files: &[(String, String)]) -> Vec<String> {
    let named = Regex::new(r"\bsimulator::|\bsimulator;").expect("a pattern");
    let outside = files.iter().filter(|(file, _)| !file.starts_with("simulator/"));
    let outside = outside
        .filter(|(file, source)| !KNOWS_THE_SIMULATOR.contains(&file.as_str()) && named.is_match(&shipped(source)));
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
fn files_of_a_module_import_each_other_in_one_direction() {
    let files = without_tests();
    for module in WITHOUT_CIRCLES {
        let own: Vec<_> = files.iter().filter(|(file, _)| file.starts_with(&format!("{module}/"))).cloned().collect();
        assert!(own.len() > 10, "{module} has {} files", own.len());
        hold("circles of imports:", &circles(&own));
    }
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
    let circle = [
        file("x/mod.rs", "mod a;\npub use a::A;"),
        file("x/a.rs", "use crate::x::b::{\n    B, C,\n};"),
        file("x/b.rs", "use super::{c::{D, self}, E as F};\n"),
        file("x/c.rs", "// use super::a;\nfn f() {\n    super::a::g();\n}"),
        file("x/d.rs", "use super::a::A;\n#[cfg(test)]\nmod tests {\n    use super::super::e;\n}"),
        file("x/e.rs", "use super::d;"),
    ];
    // b names E of x/mod.rs, which makes that file a part of it.
    let found = circles(&circle);
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found[0].contains("x/a.rs is on a circle with x/b.rs, x/c.rs, x/mod.rs"), "{found:?}");
    assert!(circles(&circle[4..]).is_empty());
    assert_eq!(expand("a::{b::{c, d as e}, f}"), ["a::b::c", "a::b::d", "a::f"]);
    let users =
        [file("proxy/x.rs", "use crate::simulator::Provider;"), file("cli/demo.rs", "use crate::simulator::X;")];
    assert_eq!(simulator_users(&users), ["src/proxy/x.rs names the simulator"]);
    assert_eq!(
        simulator_needs(&[file("simulator/x.rs", "use crate::{app, simulator::y};")]),
        ["src/simulator/x.rs uses crate::app"]
    );
}
