//! The status page in a real browser, against a running gateway with a provider that says hostile things.
//!
//! The checks are in `check.mjs`. `setup.sh` installs the browser and what drives it; a plain `cargo test` does without them
//! and says so, `tests/all.sh` insists on them.
#![cfg(feature = "serve")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Set by the command that runs every suite.
const FULL: &str = "SPEECHGATE_FULL";

fn file(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(relative)
}

#[test]
fn the_status_page_works_in_a_browser() {
    let (full, stamp) = (std::env::var_os(FULL).is_some(), file(".cache/page/.stamp"));
    if !stamp.exists() {
        assert!(!full, "{FULL} is set, and the browser's driver is not installed: no {}", stamp.display());
    }
    if !full {
        // Past the harness, which swallows what a passing test prints.
        let _ = writeln!(std::io::stderr(), "page: left to `bash tests/all.sh`, which installs a browser");
        return;
    }
    let output = Command::new("node")
        .arg(file("page/check.mjs"))
        .env("SPEECHGATE", env!("CARGO_BIN_EXE_speechgate"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("node starts");
    let report = String::from_utf8_lossy(&output.stdout);
    let passed = report.lines().filter(|line| line.starts_with("ok ")).count();
    assert!(output.status.success() && passed > 10, "{passed} checks passed:\n{report}");
}
