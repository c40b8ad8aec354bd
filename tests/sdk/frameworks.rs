//! LiveKit's and Pipecat's plugins and further SDKs, straight at a provider and through a route with `envelope = "auto"`.
//!
//! What their user is told is compared cell by cell. A cell may be better through the gateway where `frameworks.toml` says why; none
//! may be worse, and none may hang that does not hang directly.

use std::{collections::BTreeMap, env, fs, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    driver,
    gateway::Gateway,
    provider::{Dialect, Provider},
    say,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    clients: BTreeMap<String, Client>,
    pub(crate) dialects: BTreeMap<String, Dialect>,
    better: Vec<Better>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Client {
    provider: String,
    over: Over,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Over {
    Http,
    Socket,
}

/// Cells that are better through the gateway.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Better {
    clients: Vec<String>,
    faults: Vec<String>,
    why: String,
}

/// One call.
#[derive(Clone, Serialize)]
struct Case {
    id: String,
    client: String,
    provider: String,
    key: String,
    #[serde(skip)]
    fault: String,
}

/// What the program was told.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
struct Outcome {
    case: String,
    /// `ok`, `error` or `hung`.
    ended: String,
    class: String,
    status: Option<u16>,
    retryable: Option<bool>,
    audio: u64,
    /// How often the provider was asked for it.
    #[serde(skip)]
    asked: u32,
}

impl Outcome {
    /// In a few words.
    fn brief(&self) -> String {
        let status = self.status.map_or_else(String::new, |status| format!(" {status}"));
        let retry = match self.retryable {
            Some(true) => ", may be tried again",
            Some(false) => ", final",
            None => "",
        };
        match self.ended.as_str() {
            "ok" => "all is well".to_owned(),
            "hung" => "hangs".to_owned(),
            _ => format!("{}{status}{retry}; asked {}", self.class, self.asked),
        }
    }
}

/// The faults of each kind, in the order of the table.
fn faults(over: Over) -> &'static [&'static str] {
    match over {
        Over::Http => &["", "wrong-key", "quota", "rate", "server"],
        Over::Socket => &[
            "",
            "handshake-wrong-key",
            "handshake-quota",
            "handshake-rate",
            "handshake-server",
            "early-quota",
            "early-wrong-key",
            "socket-quota",
            "socket-wrong-key",
            "socket-server",
            "socket-drop",
        ],
    }
}

impl Plan {
    /// Makes every call that works with this API key below this address, and gives what did not work.
    pub(crate) fn with_key(&self, key: &str, url: &str) -> Vec<String> {
        let works = self.cases().into_iter().filter(|case| case.fault.is_empty());
        let cases: Vec<Case> = works.map(|case| Case { key: key.to_owned(), ..case }).collect();
        // All of them are loaded while the first few run.
        let outcomes = self.outcomes(&cases, url, 60.0);
        say(&format!("gateway keys: {} clients of frameworks and further SDKs", outcomes.len()));
        assert_eq!(outcomes.len(), self.clients.len());
        let failed = outcomes.into_iter().filter(|outcome| outcome.ended != "ok");
        failed.map(|outcome| format!("{outcome:?}")).collect()
    }

    fn outcomes(&self, cases: &[Case], url: &str, patience: f64) -> Vec<Outcome> {
        let urls: BTreeMap<&String, String> =
            self.dialects.keys().map(|name| (name, format!("{url}/{name}"))).collect();
        driver::frameworks(&json!({ "urls": urls, "cases": cases, "patience": patience }))
    }

    pub(crate) fn read() -> Self {
        toml::from_str(include_str!("frameworks.toml")).expect("frameworks.toml is of this shape")
    }

    fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for (name, client) in &self.clients {
            for fault in faults(client.over) {
                let shown = if fault.is_empty() { "success" } else { fault };
                cases.push(Case {
                    id: format!("{name} {shown}"),
                    client: name.clone(),
                    provider: client.provider.clone(),
                    key: format!("key-{}-{fault}", cases.len()).trim_end_matches('-').to_owned(),
                    fault: (*fault).to_owned(),
                });
            }
        }
        cases
    }

    fn why(&self, case: &Case) -> Option<&str> {
        let mut rows = self.better.iter().filter(|row| row.clients.contains(&case.client));
        rows.find(|row| row.faults.contains(&case.fault)).map(|row| row.why.as_str())
    }
}

/// A gateway with a route for each dialect.
fn serving(plan: &Plan, provider: &Provider) -> Gateway {
    let mut text =
        "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nenabled = false\n[telemetry]\nlog = { access = false }\n"
            .to_owned();
    for name in plan.dialects.keys() {
        text.push_str(&format!(
            "[[routes]]\nname = \"{name}\"\nmatch = {{ path = \"/{name}\" }}\nprovider = \"{name}\"\n\
             upstream = \"http://{}/{name}\"\nenvelope = \"auto\"\n",
            provider.address
        ));
    }
    Gateway::serve(&text)
}

/// Makes all calls below this address.
fn run(plan: &Plan, cases: &[Case], url: &str, provider: &Provider) -> BTreeMap<String, Outcome> {
    let outcomes = plan.outcomes(cases, url, 12.0);
    let keys: BTreeMap<&str, &str> = cases.iter().map(|case| (case.id.as_str(), case.key.as_str())).collect();
    let counted =
        outcomes.into_iter().map(|outcome| Outcome { asked: provider.asked(keys[&*outcome.case]), ..outcome });
    counted.map(|outcome| (outcome.case.clone(), outcome)).collect()
}

/// Whether a cell is worse through the gateway, in words.
fn worse(case: &Case, direct: &Outcome, gateway: &Outcome) -> Option<&'static str> {
    match (direct.ended.as_str(), gateway.ended.as_str()) {
        _ if case.fault.is_empty() && gateway.ended != "ok" => Some("what works fails"),
        ("hung", "hung") => None,
        (_, "hung") => Some("it hangs"),
        ("error", "ok") => Some("a failure passes for success"),
        ("error", "error") if gateway.asked > direct.asked => Some("the provider is asked more often"),
        _ => None,
    }
}

#[test]
fn plugins_of_frameworks_are_told_the_same_or_better_through_the_gateway() {
    if !crate::sdks_are_here("LiveKit, Pipecat and further SDKs") {
        return;
    }
    let plan = Plan::read();
    let cases = plan.cases();
    let (alone, behind) = (Provider::start(plan.dialects.clone()), Provider::start(plan.dialects.clone()));
    let gateway = serving(&plan, &behind);
    // One after the other: some of them wait for fractions of a second.
    let direct = run(&plan, &cases, &format!("http://{}", alone.address), &alone);
    let through = run(&plan, &cases, &gateway.url(), &behind);
    let (mut report, mut table) = (String::new(), "client, fault\tdirectly\tthrough the gateway\twhy\n".to_owned());
    for case in &cases {
        let (direct, through) = (&direct[&case.id], &through[&case.id]);
        let (said, same) = ((direct.brief(), through.brief()), direct.brief() == through.brief());
        let why = plan.why(case);
        table.push_str(&format!("{}\t{}\t{}\t{}\n", case.id, said.0, said.1, why.unwrap_or_default()));
        if let Some(worse) = worse(case, direct, through) {
            report.push_str(&format!("{}: {worse}: {} instead of {}\n", case.id, said.1, said.0));
        }
        match why {
            None if !same => report.push_str(&format!("{}: no reason why {} instead of {}\n", case.id, said.1, said.0)),
            Some(_) if same => {
                report.push_str(&format!("{}: said to be better, and is the same: {}\n", case.id, said.0))
            }
            _ => {}
        }
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sdk-frameworks.tsv");
    fs::write(&path, table).expect("the build's folder for tests is writable");
    say(&format!("frameworks: {} calls compared, see {}", cases.len(), path.display()));
    assert!(report.is_empty(), "{} differences:\n{report}", report.lines().count());
}
