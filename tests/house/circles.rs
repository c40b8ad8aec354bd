//! No circle between files of different ideas: whoever reads a file can read what it imports first.
//!
//! An arrow goes from a file to the file that defines what it names, through every `pub use` on the way. A file that uses what
//! its own parent defines is part of its parent's idea (`x/y.rs` and `x.rs` or `x/mod.rs`), so that arrow does not count, except
//! towards the root of a module of the map: nobody below `proxy/mod.rs` needs the list of the steps.

use super::{hold, rust_files};
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};

/// A module of the crate: its file, the modules in it, and what it passes on by `pub use` under which name.
#[derive(Debug, Default)]
struct Module {
    file: String,
    children: BTreeSet<String>,
    passed_on: BTreeMap<String, Vec<String>>,
    imports: Vec<Vec<String>>,
}

/// The path of the module that a file holds: `proxy/ws/mod.rs` is `proxy::ws`.
fn module_of(file: &str) -> Vec<String> {
    let mut parts: Vec<String> = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib")) {
        parts.pop();
    }
    parts
}

/// What is shipped of a source: without comments, and without what only tests see.
pub(super) fn shipped(source: &str) -> String {
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = code.collect::<Vec<_>>().join("\n");
    let inline = Regex::new(r"#\[cfg\(test\)\]\s*(?:#\[[^\]]*\]\s*)*mod \w+ \{").expect("a pattern");
    let end = inline.find(&code).map_or(code.len(), |tests| tests.start());
    Regex::new(r"#\[cfg\(test\)\]\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([^)]*\))? )?(?:use|mod) [^;]*;")
        .expect("a pattern")
        .replace_all(&code[..end], "")
        .into_owned()
}

/// Every path that a tree such as `a::{b, c::{d as e, self}}` stands for, with the name that each is known by.
fn flatten(tree: &str, before: &[String], paths: &mut Vec<(Vec<String>, String)>) {
    let tree = tree.trim();
    if let Some(open) = tree.find('{') {
        let mut path = before.to_vec();
        path.extend(tree[..open].split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned));
        let inner = &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())];
        let (mut depth, mut from) = (0, 0);
        for (at, char) in inner.char_indices() {
            match char {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    flatten(&inner[from..at], &path, paths);
                    from = at + 1;
                }
                _ => {}
            }
        }
        return flatten(&inner[from..], &path, paths);
    }
    if tree.is_empty() {
        return;
    }
    let (place, name) = tree.split_once(" as ").map_or((tree, None), |(place, name)| (place, Some(name.trim())));
    let mut path = before.to_vec();
    path.extend(place.split("::").map(str::trim).map(str::to_owned));
    if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
        path.pop();
    }
    let name = name.or(path.last().map(String::as_str)).unwrap_or_default().to_owned();
    paths.push((path, name));
}

/// A path that a file names.
pub(super) struct Named {
    pub(super) path: Vec<String>,
    /// Under which name the file passes it on by `pub use`.
    passed_on: Option<String>,
}

/// Every path that a `use` names, groups written out, and every path from `crate`, `super` or `self` in the rest of the code.
pub(super) fn named(code: &str) -> Vec<Named> {
    let uses = Regex::new(r"(?m)^[ ]*(pub(?:\([^)]*\))? )?use ([^;]+);").expect("a pattern");
    let inline = Regex::new(r"\b((?:crate|super|self)(?:::\w+)+)").expect("a pattern");
    let mut all = Vec::new();
    for used in uses.captures_iter(code) {
        let mut paths = Vec::new();
        flatten(&used[2], &[], &mut paths);
        let public = used.get(1).is_some();
        all.extend(paths.into_iter().map(|(path, name)| Named { path, passed_on: public.then_some(name) }));
    }
    let without = uses.replace_all(code, "");
    let inline = inline.captures_iter(&without).map(|path| path[1].split("::").map(str::to_owned).collect());
    all.extend(inline.map(|path| Named { path, passed_on: None }));
    all
}

/// The modules of the crate by their paths.
fn modules(files: &[(String, String)]) -> BTreeMap<Vec<String>, Module> {
    let mut all: BTreeMap<Vec<String>, Module> = BTreeMap::new();
    let files = files.iter().filter(|(file, _)| file != "main.rs" && !file.contains("test"));
    for (file, source) in files {
        let path = module_of(file);
        let module = all.entry(path.clone()).or_default();
        module.file.clone_from(file);
        for Named { path, passed_on } in named(&shipped(source)) {
            match passed_on {
                Some(name) => drop(module.passed_on.insert(name, path)),
                None => module.imports.push(path),
            }
        }
        if let Some((name, parent)) = path.split_last() {
            let _ = all.entry(parent.to_vec()).or_default().children.insert(name.clone());
        }
    }
    all
}

/// The file that defines what a path names, seen from a module; none for what is not of this crate.
fn definer(all: &BTreeMap<Vec<String>, Module>, from: &[String], path: &[String], depth: u8) -> Option<String> {
    let mut at: Vec<String> = from.to_vec();
    let mut rest = path;
    let mut own = false;
    while let Some((first, others)) = rest.split_first() {
        match first.as_str() {
            "crate" => at.clear(),
            "self" => {}
            "super" => drop(at.pop()),
            _ => break,
        }
        (rest, own) = (others, true);
    }
    if depth > 8 {
        return None;
    }
    for name in rest {
        let module = all.get(&at)?;
        if module.children.contains(name) {
            at.push(name.clone());
        } else if let Some(target) = module.passed_on.get(name) {
            return definer(all, &at, target, depth + 1);
        } else if own {
            break;
        } else {
            // A crate, or a name that another import has brought.
            return None;
        }
        own = true;
    }
    all.get(&at).map(|module| module.file.clone())
}

/// Whether one file is part of the other's idea: the other holds the module in which it lies.
fn is_part_of(file: &str, other: &str) -> bool {
    let (file, other) = (module_of(file), module_of(other));
    other.len() > 1 && file.len() > other.len() && file.starts_with(&other)
}

/// Who imports whom.
fn arrows(files: &[(String, String)]) -> BTreeMap<String, BTreeSet<String>> {
    let all = modules(files);
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, module) in &all {
        let targets = module.imports.iter().filter_map(|import| definer(&all, path, import, 0));
        let counts = |target: &String| {
            !target.is_empty() && *target != module.file && target != "lib.rs" && !is_part_of(&module.file, target)
        };
        arrows.entry(module.file.clone()).or_default().extend(targets.filter(counts));
    }
    arrows
}

/// The circles: for each the files that can all be reached from each other.
fn circles(arrows: &BTreeMap<String, BTreeSet<String>>) -> Vec<BTreeSet<String>> {
    let reach = |from: &String| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(next) = open.pop() {
            for target in arrows.get(next).into_iter().flatten() {
                if seen.insert(target.clone()) {
                    open.push(target);
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<String>> = arrows.keys().map(|file| (file, reach(file))).collect();
    let mut found = BTreeSet::new();
    for (file, targets) in &reached {
        if targets.contains(*file) {
            let same = targets.iter().filter(|target| reached.get(target).is_some_and(|back| back.contains(*file)));
            let _ = found.insert(same.cloned().collect::<BTreeSet<String>>());
        }
    }
    found.into_iter().collect()
}

/// A circle in words: every arrow in it.
fn told(arrows: &BTreeMap<String, BTreeSet<String>>, circle: &BTreeSet<String>) -> String {
    let inside = circle.iter().flat_map(|file| {
        let targets = arrows.get(file).into_iter().flatten().filter(|target| circle.contains(*target));
        targets.map(move |target| format!("{file} -> {target}"))
    });
    format!("{} files: {}", circle.len(), inside.collect::<Vec<_>>().join(", "))
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let arrows = arrows(&rust_files("src"));
    let count: usize = arrows.values().map(BTreeSet::len).sum();
    assert!(count > 300, "{count} arrows: most were not seen");
    let found: Vec<String> = circles(&arrows).iter().map(|circle| told(&arrows, circle)).collect();
    hold("circles:", &found);
}

#[test]
fn seeded_circles_are_found() {
    for (files, wrong) in [
        (&[("lib.rs", "pub mod a; pub mod b;"), ("a.rs", "use crate::b::B;"), ("b.rs", "pub struct B;")][..], 0),
        (&[("a.rs", "use crate::b::B;"), ("b.rs", "use crate::a;\nfn f() { a::x() }")], 1),
        (&[("p/mod.rs", "mod x;\nmod y;"), ("p/x.rs", "use super::y::Y;"), ("p/y.rs", "fn f() { super::x::g() }")], 1),
        // Through what another file passes on.
        (
            &[
                ("p/mod.rs", "pub use x::X;\npub use y::Y;"),
                ("p/x.rs", "use super::{Y, other::{Z}};"),
                ("p/y.rs", "use super::X;"),
            ],
            1,
        ),
        (&[("p/mod.rs", "pub use x::X;"), ("p/x.rs", "use std::fmt;"), ("p/y.rs", "use super::X;")], 0),
        // Towards the root of a module that knows it, and within an idea.
        (&[("p/mod.rs", "use x::X;"), ("p/x.rs", "use super::handle;")], 1),
        (&[("p/q/mod.rs", "use x::X;"), ("p/q/x.rs", "use super::Own;")], 0),
        // Comments and tests do not count.
        (
            &[("a.rs", "use crate::b::B;"), ("b.rs", "// use crate::a;\n#[cfg(test)]\nmod tests {\n use crate::a;\n}")],
            0,
        ),
    ] {
        let files: Vec<_> = files.iter().map(|(file, source)| ((*file).to_owned(), (*source).to_owned())).collect();
        assert_eq!(circles(&arrows(&files)).len(), wrong, "{files:?}: {:?}", arrows(&files));
    }
}
