//! The files under `deploy/`, each checked by the tool that will read it.
//!
//! `setup.sh` puts the tools into `tests/.cache/deploy`; a plain `cargo test` does without them and says so, `tests/all.sh` insists on
//! them.

/// The Dockerfile, compose, the manifests, the unit.
mod files;
/// The image, built and run.
mod image;
/// Rules and dashboard: they parse, they fire, and what they name exists.
mod prometheus;
/// The commands of the README, up to an alert.
mod stranger;

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Set by the command that runs every suite.
const FULL: &str = "SPEECHGATE_FULL";
/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_speechgate");

/// A file below the root of the repository.
fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// Its text.
fn text(relative: &str) -> String {
    std::fs::read_to_string(path(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
}

/// A tool of the cache.
fn tool(name: &str) -> PathBuf {
    let places = ["python/bin", "prometheus/usr/bin"].map(|place| path("tests/.cache/deploy").join(place).join(name));
    let found = places.into_iter().find(|place| place.exists());
    found.unwrap_or_else(|| panic!("{FULL} is set, and {name} is not installed: run tests/deploy/setup.sh"))
}

/// Whether the tools are to be used; without them a plain `cargo test` passes, and says what it left out.
fn full(what: &str) -> bool {
    let full = std::env::var_os(FULL).is_some();
    if !full {
        // Past the harness, which swallows what a passing test prints.
        let _ = writeln!(io::stderr(), "left to tests/all.sh: {what}");
    }
    full
}

/// What a command prints on both streams, and whether it succeeded.
fn run(program: impl AsRef<OsStr>, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(&program).args(arguments).current_dir(path("")).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", program.as_ref().display()));
    let printed = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&printed).into_owned())
}

/// The same, which has to succeed.
#[track_caller]
fn passes(program: impl AsRef<OsStr>, arguments: &[&str]) -> String {
    let (passed, printed) = run(program, arguments);
    assert!(passed, "{arguments:?} failed:\n{printed}");
    printed
}

/// The same, which has to fail: a check that cannot fail says nothing.
#[track_caller]
fn refuses(program: impl AsRef<OsStr>, arguments: &[&str]) {
    let (passed, printed) = run(program, arguments);
    assert!(!passed, "{arguments:?} passed a mistake:\n{printed}");
}

/// A file in a directory of the test's own.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Scratch {
        Scratch(tempfile::tempdir().expect("a directory"))
    }

    fn write(&self, name: &str, text: &str) -> String {
        let file = self.0.path().join(name);
        std::fs::create_dir_all(file.parent().expect("inside the directory")).expect("a directory");
        std::fs::write(&file, text).expect("written");
        file.display().to_string()
    }
}

/// Replaces what has to be there.
#[track_caller]
fn changed(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "there is no {from:?} to change in:\n{text}");
    text.replace(from, to)
}
