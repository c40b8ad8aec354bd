//! Runs the drivers, programs in the SDKs' own languages, and gathers what they saw.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    compare,
    matrix::{Case, Driver},
};

/// What one call led to: everything that a program using the SDK can see.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub(crate) struct Outcome {
    pub(crate) case: String,
    /// `ok` or `error`.
    pub(crate) outcome: String,
    /// What the SDK returned.
    pub(crate) value: Value,
    pub(crate) class: String,
    pub(crate) bases: Vec<String>,
    pub(crate) status: Option<u16>,
    pub(crate) message: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
    /// The members that the exception's class offers beside those above.
    pub(crate) fields: Map<String, Value>,
    /// JavaScript's `error.cause`.
    pub(crate) cause: Option<String>,
    /// How many HTTP requests the SDK sent.
    pub(crate) requests: u32,
}

impl Outcome {
    /// The gateway's code, wherever it reached the SDK's user.
    pub(crate) fn code(&self) -> String {
        let told = || compare::ours(&self.value).or_else(|| compare::ours(&self.body));
        let code = self.headers.get("x-error-code").cloned();
        code.or_else(|| Some(told()?["code"].as_str()?.to_owned())).unwrap_or_default()
    }

    /// In a few words.
    pub(crate) fn brief(&self) -> String {
        let status = self.status.map_or(String::new(), |status| format!(" {status}"));
        let times = if self.requests > 1 { format!(" after {} requests", self.requests) } else { String::new() };
        format!("{} {}{status}{times}", self.outcome, self.class)
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk")
}

fn installed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.cache/sdk").join(name)
}

/// What is missing before the drivers can run, if anything.
pub(crate) fn missing() -> Option<PathBuf> {
    ["python", "python-legacy", "frameworks", "grpc", "node"]
        .map(|name| installed(name).join(".stamp"))
        .into_iter()
        .find(|stamp| !stamp.exists())
}

impl Driver {
    fn command(self, plan: &Path) -> Command {
        let python = |name| {
            let mut command = Command::new(installed(name).join("bin/python"));
            let _ = command.args(["-W", "ignore", "-B"]).arg(folder().join("drivers/driver.py")).arg(plan);
            command
        };
        match self {
            Self::Python => python("python"),
            Self::PythonLegacy => python("python-legacy"),
            Self::Node => {
                let mut command = Command::new("node");
                let _ = command
                    .arg("--no-warnings")
                    .arg(folder().join("drivers/driver.mjs"))
                    .arg(plan)
                    .arg(installed("node"));
                command
            }
        }
    }

    fn run(self, cases: &[Case], urls: &BTreeMap<String, String>) -> Vec<Outcome> {
        let cases: Vec<_> = cases.iter().filter(|case| case.driver == self).collect();
        let plan = tempfile::NamedTempFile::new().expect("a temporary file");
        fs::write(plan.path(), json!({ "urls": urls, "cases": cases }).to_string()).expect("the plan is written");
        let output = self
            .command(plan.path())
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .expect("the driver starts");
        assert!(output.status.success(), "a driver failed: {}", output.status);
        let lines = String::from_utf8(output.stdout).expect("drivers print UTF-8");
        lines.lines().map(|line| serde_json::from_str(line).expect("one outcome a line")).collect()
    }
}

/// Runs a plan with the plugins of frameworks.
pub(crate) fn frameworks<O: for<'de> Deserialize<'de>>(plan: &Value) -> Vec<O> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), plan.to_string()).expect("the plan is written");
    let output = Command::new(installed("frameworks").join("bin/python"))
        .args(["-W", "ignore", "-B"])
        .arg(folder().join("drivers/frameworks.py"))
        .arg(file.path())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .expect("the driver starts");
    assert!(output.status.success(), "the driver failed: {}", output.status);
    let lines = String::from_utf8(output.stdout).expect("drivers print UTF-8");
    lines.lines().map(|line| serde_json::from_str(line).expect("one outcome a line")).collect()
}

/// Makes every call of the plan against these addresses; outcomes by case.
pub(crate) fn run(cases: &[Case], urls: &BTreeMap<String, String>) -> BTreeMap<String, Outcome> {
    thread::scope(|scope| {
        let drivers = Driver::ALL.map(|driver| scope.spawn(move || driver.run(cases, urls)));
        let outcomes = drivers.into_iter().flat_map(|driver| driver.join().expect("a driver's thread"));
        outcomes.map(|outcome| (outcome.case.clone(), outcome)).collect()
    })
}
