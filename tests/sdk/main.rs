//! The providers' official SDKs, against the simulators and through the gateway.
//!
//! Each row of `matrix.toml` is called three times: straight at a simulator, through a compatible route and through
//! a canonical one. What the SDK's user sees is then compared, exception by exception and byte by byte. The SDKs are
//! installed by `setup.sh`; a plain `cargo test` does without them and says so, `tests/all.sh` insists on them.
#![cfg(feature = "serve")]

mod compare;
mod demo;
mod driver;
mod faults;
mod frameworks;
mod gateway;
mod grpc;
mod interop;
mod keys;
mod matrix;
mod plugins;
mod provider;
mod sockets;
mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use compare::{Findings, Pair};
use demo::Demo;
use driver::Outcome;
use faults::{Fault, Moment};
use matrix::{Case, Matrix};
use table::Table;

/// Set by the command that runs every suite.
const FULL: &str = "SPEECHGATE_FULL";

/// Says something that the test harness does not swallow when the test passes.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// The outcomes of all cases by both ways.
struct Run {
    cases: Vec<Case>,
    direct: BTreeMap<String, Outcome>,
    gateway: BTreeMap<String, Outcome>,
    /// Failures by provider, as the gateway's metrics have them.
    counted: BTreeMap<String, u64>,
    /// The same by provider and code.
    codes: BTreeMap<(String, String), u64>,
}

impl Run {
    fn through(envelope: &str, matrix: &Matrix, faults: fn(&str) -> Vec<Fault>) -> Self {
        // A demo each: simulators answer a poll by how often it was asked.
        let (without, demo) = (Demo::start(envelope), Demo::start(envelope));
        let faults = matrix.providers().map(|name| (name.clone(), faults(name))).collect();
        let cases = matrix.cases(faults);
        let direct = driver::run(&cases, &without.simulators());
        let gateway = driver::run(&cases, &demo.routes());
        let codes = demo.errors_counted();
        let mut counted = BTreeMap::new();
        for ((provider, _), count) in &codes {
            *counted.entry(provider.clone()).or_default() += count;
        }
        Self { cases, direct, gateway, counted, codes }
    }

    fn pairs(&self) -> impl Iterator<Item = Pair<'_>> {
        self.cases.iter().map(|case| Pair { case, direct: &self.direct[&case.id], gateway: &self.gateway[&case.id] })
    }

    /// Failures by provider, as the SDKs saw them: each request of a call that failed is one, or the session.
    fn seen(&self) -> BTreeMap<String, u64> {
        let mut seen = BTreeMap::new();
        for pair in self.pairs().filter(|pair| pair.case.failure().is_some()) {
            *seen.entry(pair.case.provider.clone()).or_default() += u64::from(pair.gateway.requests.max(1));
        }
        seen
    }

    /// Sessions and calls by the code that the SDK was told; some SDKs drop it.
    fn codes_seen(&self) -> BTreeMap<(String, String), u64> {
        let mut seen = BTreeMap::new();
        for pair in self.pairs().filter(|pair| !pair.gateway.code().is_empty()) {
            *seen.entry((pair.case.provider.clone(), pair.gateway.code())).or_default() += 1;
        }
        seen
    }

    /// Leaves a table of fault × SDK × outcome for people to read.
    fn write_table(&self, envelope: &str) -> PathBuf {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sdk-{envelope}.tsv"));
        let mut table = "case\tdirect\tthrough the gateway\tcode\n".to_owned();
        for Pair { case, direct, gateway } in self.pairs() {
            let code = gateway.code();
            table.push_str(&format!("{}\t{}\t{}\t{code}\n", case.id, direct.brief(), gateway.brief()));
        }
        for ((provider, code), count) in &self.codes {
            table.push_str(&format!("speechgate_errors_total\t{provider}\t{code}\t{count}\n"));
        }
        fs::write(&path, table).expect("the build's folder for tests is writable");
        path
    }

    /// Panics with every difference there is.
    fn judge(&self, envelope: &str, check: impl Fn(&Pair<'_>) -> Findings, others: Vec<String>) {
        let mut report: String = others.into_iter().map(|other| other + "\n").collect();
        for pair in self.pairs() {
            for finding in check(&pair).0 {
                report.push_str(&format!("{}: {finding}\n", pair.case.id));
            }
        }
        if self.counted != self.seen() {
            report.push_str(&format!("speechgate_errors_total: {:?}, the SDKs saw {:?}\n", self.counted, self.seen()));
        }
        for ((provider, code), seen) in self.codes_seen() {
            let counted = self.codes.get(&(provider.clone(), code.clone())).copied().unwrap_or_default();
            if counted < seen {
                report.push_str(&format!("{provider} {code}: {counted} counted, the SDKs saw {seen}\n"));
            }
        }
        let table = self.write_table(envelope);
        say(&format!(
            "{envelope} routes: {} calls of official SDKs compared, see {}",
            self.cases.len(),
            table.display()
        ));
        assert!(report.is_empty(), "{} differences on {envelope} routes:\n{report}", report.lines().count());
    }
}

/// Whether the SDKs are here; without them a plain `cargo test` passes, and says what it left out.
fn sdks_are_here(suite: &str) -> bool {
    let full = env::var_os(FULL).is_some();
    match driver::missing() {
        None if full => true,
        Some(stamp) if full => panic!("{FULL} is set, and the SDKs are not installed: no {}", stamp.display()),
        _ => {
            say(&format!("left to tests/all.sh: {suite}"));
            false
        }
    }
}

#[test]
fn every_fault_is_tried_with_some_sdk() {
    let matrix = Matrix::http();
    let all: BTreeMap<_, _> = matrix.providers().map(|name| (name.clone(), faults::of(name))).collect();
    let tried: BTreeSet<_> =
        matrix.cases(all.clone()).into_iter().filter_map(|case| Some((case.provider, case.fault?.name))).collect();
    let every = all.iter().flat_map(|(provider, faults)| faults.iter().map(move |fault| (provider, fault)));
    let over_http = every.filter(|(_, fault)| fault.moment != Moment::Frame);
    let left: Vec<_> = over_http
        .map(|(provider, fault)| (provider.clone(), fault.name.clone()))
        .filter(|fault| !tried.contains(fault))
        .collect();
    assert!(left.is_empty(), "matrix.toml leaves out {left:?}");
}

#[test]
fn official_sdks_raise_the_same_errors_through_compatible_routes() {
    if sdks_are_here("official SDKs through compatible routes") {
        Run::through("compatible", &Matrix::http(), faults::of).judge("compatible", compare::compatible, Vec::new());
    }
}

#[test]
fn official_sdks_carry_the_envelope_through_canonical_routes() {
    if sdks_are_here("official SDKs through canonical routes") {
        Run::through("canonical", &Matrix::http(), faults::of).judge("canonical", compare::canonical, Vec::new());
    }
}

#[test]
fn official_sdks_end_sessions_the_same_way_through_compatible_routes() {
    if sdks_are_here("official SDKs over WebSockets") {
        let run = Run::through("compatible", &Matrix::sockets(), faults::on_sockets);
        let table = Table::of(&run);
        run.judge("websocket", |pair| sockets::compatible(pair, &table), table.differences(&run));
    }
}
