//! The simulator stands apart: it needs nothing of the gateway, and nothing but the demo knows it.

use super::circles::{named, shipped};
use super::{hold, rust_files};

/// Who may name the simulator: the command that starts it.
const KNOWS_THE_SIMULATOR: [&str; 2] = ["cli/demo.rs", "cli/demo/tour.rs"];

/// The paths within the crate that a file names.
fn paths(source: &str) -> Vec<String> {
    let paths = named(&shipped(source)).into_iter().map(|named| named.path.join("::"));
    paths.filter(|path| path.starts_with("crate::") || path.starts_with("super::")).collect()
}

/// The files that name the simulator and may not.
fn simulator_users(files: &[(String, String)]) -> Vec<String> {
    let outside = files.iter().filter(|(file, _)| !file.starts_with("simulator/"));
    let names = |path: &String| path.split("::").find(|part| !matches!(*part, "crate" | "super")) == Some("simulator");
    let outside = outside
        .filter(|(file, source)| !KNOWS_THE_SIMULATOR.contains(&file.as_str()) && paths(source).iter().any(names));
    outside.map(|(file, _)| format!("src/{file} names the simulator")).collect()
}

/// What the simulator takes from the gateway.
fn simulator_needs(files: &[(String, String)]) -> Vec<String> {
    let mut findings = Vec::new();
    for (file, source) in files.iter().filter(|(file, _)| file.starts_with("simulator/")) {
        let foreign = paths(source).into_iter();
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
    assert_eq!(paths("use crate::{b::{c, d as e}, f};"), ["crate::b::c", "crate::b::d", "crate::f"]);
    let users = [file("proxy/x.rs", "use crate::{canon, simulator};"), file("cli/demo.rs", "use crate::simulator::X;")];
    assert_eq!(simulator_users(&users), ["src/proxy/x.rs names the simulator"]);
    assert_eq!(
        simulator_needs(&[file("simulator/x.rs", "use crate::{app, simulator::y};")]),
        ["src/simulator/x.rs uses crate::app"]
    );
}
