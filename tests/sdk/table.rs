//! Fault × SDK × outcome × what the metrics say, as `sockets.tsv` has it.
//!
//! An SDK that gives up when a socket ends has read the last message or only the close behind it, which is chance, with the
//! gateway and without. So every cell is a set: all that has been seen. `SPEECHGATE_BLESS=1` adds what it sees; a row that is no
//! longer true has to be deleted first. What a session did here is right if the table has it, or if it did the same directly.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::PathBuf,
    thread,
};

use crate::{
    Run,
    demo::Demo,
    driver::{self, Outcome},
    faults::Moment,
    matrix::Case,
};

const HEAD: &str = "client, method, fault\tdirectly\tthrough the gateway\ttold\tcounted";

type Cell = BTreeSet<String>;

/// What has been seen of one session.
#[derive(Clone, Default)]
struct Row {
    direct: Cell,
    gateway: Cell,
    /// The codes of `gateway_error`, as far as the SDK hands them out.
    told: Cell,
    /// The code in `speechgate_errors_total`.
    counted: Cell,
}

/// The whole of it.
pub(crate) struct Table(BTreeMap<String, Row>);

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/sockets.tsv")
}

fn brief(outcome: &Outcome) -> String {
    let brief = outcome.brief();
    let hung = if crate::sockets::hung(&outcome.value) { "waits for ever" } else { brief.trim() };
    hung.to_owned()
}

impl Table {
    /// The checked-in one, with what `run` has seen added to it if that is wished.
    pub(crate) fn of(run: &Run) -> Table {
        let mut table = Table::read(&fs::read_to_string(file()).unwrap_or_default());
        if env::var_os("SPEECHGATE_BLESS").is_some() {
            table.learn(run);
            fs::write(file(), table.write()).expect("the table is written");
        }
        table
    }

    fn read(text: &str) -> Table {
        let cell = |text: &str| text.split(" | ").filter(|one| !one.is_empty()).map(str::to_owned).collect();
        let row = |line: &str| {
            let mut cells = line.split('\t');
            let id = cells.next()?.to_owned();
            let mut next = || cells.next().map(cell).unwrap_or_default();
            Some((id, Row { direct: next(), gateway: next(), told: next(), counted: next() }))
        };
        Table(text.lines().skip(1).filter_map(row).collect())
    }

    fn write(&self) -> String {
        let cell = |cell: &Cell| cell.iter().cloned().collect::<Vec<_>>().join(" | ");
        let row = |(id, row): (&String, &Row)| {
            format!(
                "{id}\t{}\t{}\t{}\t{}\n",
                cell(&row.direct),
                cell(&row.gateway),
                cell(&row.told),
                cell(&row.counted)
            )
        };
        format!("{HEAD}\n{}", self.0.iter().map(row).collect::<String>())
    }

    fn learn(&mut self, run: &Run) {
        let mut silent = Vec::new();
        for pair in run.pairs() {
            let row = self.0.entry(pair.case.id.clone()).or_default();
            let _ = row.direct.insert(brief(pair.direct));
            let _ = row.gateway.insert(brief(pair.gateway));
            let code = pair.gateway.code();
            if !code.is_empty() {
                let _ = row.told.insert(code.clone());
                let _ = row.counted.insert(code);
            } else if pair.case.failure().is_some() && row.counted.is_empty() {
                silent.push(pair.case);
            }
        }
        // A refused upgrade is counted as the same code whichever socket it was; what no SDK tells is asked of the metrics.
        let told = |case: &Case| {
            let same = run.pairs().find(|other| {
                let name = |case: &Case| case.fault.as_ref().map(|fault| (fault.name.clone(), fault.moment));
                other.case.provider == case.provider
                    && name(other.case) == name(case)
                    && !other.gateway.code().is_empty()
            });
            let fault = case.fault.as_ref().filter(|fault| fault.moment == Moment::Handshake)?;
            same.filter(|_| !fault.name.contains("net-")).map(|same| same.gateway.code())
        };
        let (known, unknown): (Vec<_>, Vec<_>) =
            silent.into_iter().map(|case| (case, told(case))).partition(|(_, code)| code.is_some());
        for (case, code) in known {
            self.0.entry(case.id.clone()).or_default().counted.extend(code);
        }
        let unknown: Vec<&Case> = unknown.into_iter().map(|(case, _)| case).collect();
        for (case, counted) in counted_one_by_one(&unknown) {
            self.0.entry(case.id.clone()).or_default().counted.extend(counted);
        }
    }

    /// Everything in which this run is not what the table says.
    pub(crate) fn differences(&self, run: &Run) -> Vec<String> {
        let mut found = Vec::new();
        for pair in run.pairs() {
            let Some(row) = self.0.get(&pair.case.id) else {
                found.push(format!("{}: not in sockets.tsv", pair.case.id));
                continue;
            };
            let (direct, gateway, code) = (brief(pair.direct), brief(pair.gateway), pair.gateway.code());
            if !row.gateway.contains(&gateway) && gateway != direct {
                found.push(format!("{}: {gateway}, the table has {:?}", pair.case.id, row.gateway));
            }
            if !code.is_empty() && !row.counted.contains(&code) {
                found.push(format!("{}: told {code}, the table has {:?}", pair.case.id, row.counted));
            }
        }
        let ids: BTreeSet<&String> = run.cases.iter().map(|case| &case.id).collect();
        found.extend(self.0.keys().filter(|id| !ids.contains(id)).map(|id| format!("{id}: only in sockets.tsv")));
        found.extend(self.sums(run));
        found
    }

    /// Whether ending as `gateway` did is one of the ways in which the session ends directly.
    pub(crate) fn ends_so_directly(&self, id: &str, gateway: &Outcome) -> bool {
        self.0.get(id).is_some_and(|row| row.direct.contains(&brief(gateway)))
    }

    /// The metrics have, code by code, what the rows say.
    fn sums(&self, run: &Run) -> Vec<String> {
        let (mut least, mut most) = (BTreeMap::<_, u64>::new(), BTreeMap::<_, u64>::new());
        for pair in run.pairs().filter(|pair| pair.case.failure().is_some()) {
            let case = pair.case;
            let Some(row) = self.0.get(&case.id) else { continue };
            // An HTTP request that leads to a socket may be sent again, and fail each time.
            let times = u64::from(pair.gateway.requests.max(1));
            for code in &row.counted {
                let key = (case.provider.clone(), code.clone());
                *least.entry(key.clone()).or_default() += times * u64::from(row.counted.len() == 1);
                *most.entry(key).or_default() += times;
            }
        }
        let all: BTreeSet<_> = most.keys().chain(run.codes.keys()).collect();
        fn count(of: &BTreeMap<(String, String), u64>, key: &(String, String)) -> u64 {
            of.get(key).copied().unwrap_or_default()
        }
        let wrong =
            |key: &&&(String, String)| !(count(&least, key)..=count(&most, key)).contains(&count(&run.codes, key));
        let told = |key: &(String, String)| {
            let (counted, least, most) = (count(&run.codes, key), count(&least, key), count(&most, key));
            format!("speechgate_errors_total {} {}: {counted}, the table has {least} to {most}", key.0, key.1)
        };
        all.iter().filter(wrong).map(|key| told(key)).collect()
    }
}

/// What the metrics have of each session, which is alone with a gateway.
fn counted_one_by_one<'c>(cases: &[&'c Case]) -> Vec<(&'c Case, Cell)> {
    let alone = |cases: &[&'c Case]| -> Vec<(&'c Case, Cell)> {
        let demo = Demo::start("compatible");
        cases.iter().map(|case| (*case, counted_alone(&demo, case))).collect()
    };
    thread::scope(|scope| {
        let parts = cases.chunks(cases.len().div_ceil(4).max(1)).map(|part| scope.spawn(move || alone(part)));
        let parts: Vec<_> = parts.collect();
        parts.into_iter().flat_map(|part| part.join().expect("a thread that counts")).collect()
    })
}

fn counted_alone(demo: &Demo, case: &Case) -> Cell {
    let before = demo.errors_counted();
    let _ = driver::run(std::slice::from_ref(case), &demo.routes());
    let after = demo.errors_counted();
    let more = after.into_iter().filter(|(key, count)| before.get(key).is_none_or(|before| before < count));
    more.filter(|((provider, _), _)| *provider == case.provider).map(|((_, code), _)| code).collect()
}
