//! What is built in: versions below which there are known holes, where packages come from, and under which licences.

use super::{hold, text};
use serde_json::Value;
use std::process::Command;

/// The first version without the hole, and what the hole is.
const FLOORS: [(&str, &str, &str); 8] = [
    ("bytes", "1.11.1", "an overflow in reserve"),
    ("h2", "0.4.16", "floods: rapid reset, CONTINUATION, empty DATA"),
    ("hyper", "1.5.1", "an advisory sets this floor"),
    ("rustls", "0.23.18", "a panic on a fragmented handshake"),
    ("rustls-webpki", "0.103.13", "an advisory sets this floor"),
    ("tokio", "1.44.2", "unsound cloning in broadcast channels"),
    ("tracing-subscriber", "0.3.20", "terminal escapes in logs"),
    ("tungstenite", "0.20.1", "unbounded headers in a handshake"),
];

/// Where packages may come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Packages that may be there in two versions, and why.
const TWICE: [(&str, &str); 8] = [
    ("base64", "the simulators' WebSocket codec has not moved on yet; the newer one is built for tests only"),
    ("getrandom", "ring has not moved on yet"),
    ("hashbrown", "governor has not moved on yet"),
    ("r-efi", "not built on Unix"),
    ("rand", "OpenTelemetry's SDK has not moved on yet; the newer one is built for tests only"),
    ("rand_core", "comes with rand"),
    ("syn", "derive macros are moving from 2 to 3; build time only"),
    ("windows-sys", "not built on Unix"),
];

/// Licences that ask for no more than a notice.
const LICENCES: [&str; 9] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "Unicode-3.0",
    "Zlib",
];

/// A package of the lock file.
struct Package {
    name: String,
    version: String,
    source: Option<String>,
}

fn locked(lock: &str) -> Vec<Package> {
    let lock: toml::Table = lock.parse().expect("a lock file");
    let packages = lock["package"].as_array().expect("packages");
    let text = |package: &toml::Value, key: &str| Some(package.get(key)?.as_str()?.to_owned());
    packages
        .iter()
        .map(|package| Package {
            name: text(package, "name").expect("a name"),
            version: text(package, "version").expect("a version"),
            source: text(package, "source"),
        })
        .collect()
}

/// Numbers of a version, to be compared; a version before a release counts as that release.
fn numbers(version: &str) -> Vec<u64> {
    let plain = version.split(['-', '+']).next().unwrap_or(version);
    plain.split('.').map(|part| part.parse().expect("a number")).collect()
}

fn below_floor(packages: &[Package]) -> Vec<String> {
    let floor = |package: &Package| {
        let (_, floor, why) = FLOORS.iter().find(|(name, ..)| *name == package.name)?;
        let low = numbers(&package.version) < numbers(floor);
        low.then(|| format!("{} {} is below {floor}: {why}", package.name, package.version))
    };
    packages.iter().filter_map(floor).collect()
}

fn from_elsewhere(packages: &[Package]) -> Vec<String> {
    let elsewhere = packages.iter().filter(|package| match &package.source {
        Some(source) => source != REGISTRY,
        None => package.name != "speechgate",
    });
    elsewhere.map(|package| format!("{} comes from {:?}", package.name, package.source)).collect()
}

fn doubled(packages: &[Package]) -> Vec<String> {
    let mut names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    names.sort_unstable();
    let twice = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
    let unknown = twice.filter(|name| !TWICE.iter().any(|(known, _)| known == name));
    unknown.map(|name| format!("{name} is there in more than one version")).collect()
}

/// Whether an SPDX expression can be met with the allowed licences. `/` is the old spelling of OR.
fn allowed(expression: &str) -> bool {
    let plain = expression.replace(" / ", " OR ").replace('/', " OR ");
    // AND binds closer than OR; the groups in parentheses that occur are ORs within an AND.
    let plain = plain.trim();
    if let Some((group, rest)) = plain.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        let rest = rest.trim();
        return match rest.strip_prefix("AND ") {
            Some(rest) => allowed(group) && allowed(rest),
            None => rest.is_empty() && allowed(group),
        };
    }
    plain.split(" OR ").any(|either| either.split(" AND ").all(|licence| LICENCES.contains(&licence.trim())))
}

/// Every package that is built here, by the word of cargo.
fn built() -> Vec<(String, Option<String>)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let run = |program: &std::ffi::OsStr, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(super::path("")).output().expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let version = run(&cargo, &["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
    // Packages for other platforms need not have been downloaded.
    let arguments = ["metadata", "--locked", "--format-version=1", "--filter-platform", host];
    let metadata: Value = serde_json::from_str(&run(&cargo, &arguments)).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let text = |package: &Value, key: &str| package[key].as_str().map(str::to_owned);
    packages.iter().map(|package| (text(package, "name").expect("a name"), text(package, "license"))).collect()
}

fn unlicensed(packages: &[(String, Option<String>)]) -> Vec<String> {
    let bad = packages.iter().filter(|(_, licence)| !licence.as_deref().is_some_and(allowed));
    bad.map(|(name, licence)| format!("{name}: {licence:?}")).collect()
}

#[test]
fn no_package_is_older_than_its_last_known_hole() {
    let packages = locked(&text("Cargo.lock"));
    hold("too old:", &below_floor(&packages));
    let present = FLOORS.iter().filter(|(name, ..)| packages.iter().any(|package| package.name == *name));
    assert!(present.count() >= 7, "the floors name packages that are not there any more");
}

#[test]
fn packages_come_from_one_registry_and_once() {
    let packages = locked(&text("Cargo.lock"));
    hold("from elsewhere:", &from_elsewhere(&packages));
    hold("twice:", &doubled(&packages));
    for (name, _) in TWICE {
        let count = packages.iter().filter(|package| package.name == name).count();
        assert!(count > 1, "{name} is there once by now: take it off the list");
    }
}

#[test]
fn every_licence_is_allowed() {
    let packages = built();
    assert!(packages.len() > 50, "{packages:?}");
    hold("licences:", &unlicensed(&packages));
}

/// Files of others that are kept in the repository: each is what its `SOURCE` says it is, and its licence stands beside.
#[test]
fn files_of_others_are_what_they_were() {
    let folder = "src/server/status/uplot";
    let source = text(&format!("{folder}/SOURCE"));
    let sums: Vec<(&str, &str)> = source.lines().filter_map(|line| line.split_once("  ")).collect();
    for file in std::fs::read_dir(super::path(folder)).expect("the folder can be read") {
        let name = file.expect("an entry").file_name().to_string_lossy().into_owned();
        let bytes = std::fs::read(super::path(&format!("{folder}/{name}"))).expect("a file");
        let sum: String = ring::digest::digest(&ring::digest::SHA256, &bytes)
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert!(name == "SOURCE" || sums.contains(&(&*sum, &*name)), "{name} is not the file that SOURCE names: {sum}");
    }
    assert!(source.contains("MIT") && sums.len() == 3, "{source}");
}

#[test]
fn seeded_mistakes_are_found() {
    let lock = |name: &str, version: &str, source: &str| {
        locked(&format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n{source}"))
    };
    for (version, low) in
        [("0.4.15", true), ("0.4.16", false), ("0.10.0", false), ("1.0.0-rc.1", false), ("0.3.99", true)]
    {
        assert_eq!(below_floor(&lock("h2", version, "")).len(), usize::from(low), "{version}");
    }
    let source = format!("source = \"{REGISTRY}\"");
    assert!(from_elsewhere(&lock("x", "1.0.0", &source)).is_empty());
    assert_eq!(from_elsewhere(&lock("x", "1.0.0", "source = \"git+https://example.com/x\"")).len(), 1);
    assert_eq!(from_elsewhere(&lock("x", "1.0.0", "")).len(), 1);
    let two = lock("x", "1.0.0", "[[package]]\nname = \"x\"\nversion = \"2.0.0\"");
    assert_eq!(doubled(&two).len(), 1);
    for (expression, fine) in [
        ("MIT OR Apache-2.0", true),
        ("MIT/Apache-2.0", true),
        ("Apache-2.0 / MIT", true),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("Apache-2.0 AND ISC", true),
        ("GPL-3.0 OR MIT", true),
        ("Apache-2.0 AND OpenSSL", false),
        ("(MIT OR Apache-2.0) AND OpenSSL", false),
        ("GPL-3.0", false),
        ("", false),
    ] {
        assert_eq!(allowed(expression), fine, "{expression}");
    }
}
