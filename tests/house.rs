//! House rules that no compiler holds: who imports whom, what stays pure, what the documents promise, which versions are in.
//!
//! Each rule is a function over text that gives what breaks it, and each is tried on a seeded mistake as well, so that none
//! can pass by looking at nothing. After a wanted change, `SPEECHGATE_BLESS=1 cargo test --test house` rewrites the parts of
//! the documents that are derived from the code.

#[path = "house/circles.rs"]
mod circles;
#[path = "house/derived.rs"]
mod derived;
#[path = "house/documents.rs"]
mod documents;
#[path = "house/packages.rs"]
mod packages;
#[path = "house/simulator.rs"]
mod simulator;
#[path = "house/sources.rs"]
mod sources;

use std::path::{Path, PathBuf};
use std::{fs, io};

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

/// A file below the root of the repository.
fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// The text of a file of the repository.
fn text(relative: &str) -> String {
    fs::read_to_string(path(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
}

/// Every Rust file below a folder, in a stable order: its path within the folder, with `/`, and its text.
fn rust_files(folder: &str) -> Vec<(String, String)> {
    fn walk(at: &Path, root: &Path, files: &mut Vec<(String, String)>) -> io::Result<()> {
        for entry in fs::read_dir(at)? {
            let found = entry?.path();
            if found.is_dir() {
                walk(&found, root, files)?;
            } else if found.extension().is_some_and(|extension| extension == "rs") {
                let name = found.strip_prefix(root).unwrap_or(&found).to_string_lossy().replace('\\', "/");
                files.push((name, fs::read_to_string(&found)?));
            }
        }
        Ok(())
    }
    let (root, mut files) = (path(folder), Vec::new());
    walk(&root, &root, &mut files).expect("the sources can be read");
    files.sort();
    files
}

/// Fails with every finding, one on a line.
#[track_caller]
fn hold(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}\n  {}\n", findings.join("\n  "));
}
