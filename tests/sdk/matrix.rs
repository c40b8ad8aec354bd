//! The table of what is tried, and the plan of calls that follows from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use speechgate::simulator::FAULT_HEADER;

use crate::faults::{Fault, Moment};

/// The table as `matrix.toml` has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Matrix {
    /// Per provider, the faults that every method is tried with.
    providers: BTreeMap<String, Vec<String>>,
    /// Per provider, what only looks like a failure.
    #[serde(default)]
    controls: BTreeMap<String, Vec<String>>,
    clients: Vec<Client>,
    retried: Vec<Retried>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Client {
    name: String,
    provider: String,
    driver: Driver,
    /// Methods tried with every fault that shows at one of these moments.
    #[serde(default)]
    every: BTreeMap<String, Vec<Moment>>,
    /// Of those, only faults whose name starts so: a failed job is one only where its kind is polled.
    #[serde(default)]
    only: BTreeMap<String, String>,
    /// Of those, no faults whose name starts with one of these.
    #[serde(default)]
    except: BTreeMap<String, Vec<String>>,
    /// Methods whose user is told more through the gateway than directly; the table says why.
    #[serde(default)]
    more: Vec<String>,
    /// Methods with which the SDK drops whatever it finds in a stream and does not know.
    #[serde(default)]
    drops: Vec<String>,
    methods: BTreeMap<String, Carrier>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Retried {
    client: String,
    method: String,
    faults: Vec<String>,
}

/// Where a call says which fault it wants.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Carrier {
    Target,
    Header,
}

/// The program that runs a client's calls.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Driver {
    Python,
    PythonLegacy,
    Node,
}

impl Driver {
    pub(crate) const ALL: [Self; 3] = [Self::Python, Self::PythonLegacy, Self::Node];
}

/// One call of one method, as the drivers read it.
#[derive(Clone, Serialize)]
pub(crate) struct Case {
    pub(crate) id: String,
    /// Its place in the plan, of which its API key is made.
    pub(crate) number: usize,
    pub(crate) client: String,
    pub(crate) provider: String,
    pub(crate) method: String,
    /// The API key; `None` for one of the case's own.
    pub(crate) key: Option<String>,
    /// The voice, job or interaction id; `None` for the driver's own harmless one.
    pub(crate) target: Option<String>,
    pub(crate) headers: BTreeMap<String, String>,
    /// `None`: as often as the SDK likes.
    pub(crate) retries: Option<u32>,
    #[serde(skip)]
    pub(crate) fault: Option<Fault>,
    /// Whether the SDK drops what it does not know in this method's stream.
    #[serde(skip)]
    pub(crate) drops: bool,
    /// Whether more is told through the gateway than directly.
    #[serde(skip)]
    pub(crate) more: bool,
    #[serde(skip)]
    pub(crate) driver: Driver,
}

impl Matrix {
    /// Calls that are one HTTP exchange.
    pub(crate) fn http() -> Self {
        toml::from_str(include_str!("matrix.toml")).expect("matrix.toml is of this shape")
    }

    /// WebSocket sessions.
    pub(crate) fn sockets() -> Self {
        toml::from_str(include_str!("sockets.toml")).expect("sockets.toml is of this shape")
    }

    /// The providers' names.
    pub(crate) fn providers(&self) -> impl Iterator<Item = &String> {
        self.providers.keys()
    }

    /// Every call to make, given each provider's faults.
    pub(crate) fn cases(&self, mut faults: BTreeMap<String, Vec<Fault>>) -> Vec<Case> {
        for (provider, controls) in &self.controls {
            let known = faults.get_mut(provider).into_iter().flatten();
            known.filter(|fault| controls.contains(&fault.name)).for_each(|fault| fault.control = true);
        }
        let mut cases = Vec::new();
        for client in &self.clients {
            for method in client.methods.keys() {
                cases.push(client.case(method, None, Some(0)));
                let all = faults[&client.provider].iter();
                let few = &self.providers[&client.provider];
                let wanted = all.filter(|fault| match client.every.get(method) {
                    Some(moments) => moments.contains(&fault.moment) && client.fits(method, &fault.name),
                    None => few.contains(&fault.name),
                });
                cases.extend(wanted.map(|fault| client.case(method, Some(fault), Some(0))));
            }
        }
        for row in &self.retried {
            let client = self.clients.iter().find(|client| client.name == row.client);
            let client = client.expect("a [[retried]] row names a client of the table");
            for name in &row.faults {
                let fault = faults[&client.provider].iter().find(|fault| fault.name == *name);
                let fault = fault.expect("a [[retried]] row names a fault of the provider");
                cases.push(client.case(&row.method, Some(fault), None));
            }
        }
        for (number, case) in cases.iter_mut().enumerate() {
            case.number = number;
        }
        cases
    }
}

impl Case {
    /// The fault, unless it only looks like one.
    pub(crate) fn failure(&self) -> Option<&Fault> {
        self.fault.as_ref().filter(|fault| !fault.control)
    }
}

impl Client {
    fn fits(&self, method: &str, fault: &str) -> bool {
        let others = self.except.get(method).into_iter().flatten();
        self.only.get(method).is_none_or(|kind| fault.starts_with(kind))
            && others.into_iter().all(|kind| !fault.starts_with(kind))
    }

    fn case(&self, method: &str, fault: Option<&Fault>, retries: Option<u32>) -> Case {
        let (mut target, mut headers) = (None, BTreeMap::new());
        if let Some(fault) = fault {
            match self.methods[method] {
                Carrier::Target => target = Some(format!("fault-{}", fault.name)),
                Carrier::Header => drop(headers.insert(FAULT_HEADER.to_owned(), fault.name.clone())),
            }
        }
        let shown = fault.map_or("success", |fault| fault.name.as_str());
        let retrying = if retries.is_none() { " with retries" } else { "" };
        Case {
            id: format!("{} {method} {shown}{retrying}", self.name),
            number: 0,
            client: self.name.clone(),
            provider: self.provider.clone(),
            method: method.to_owned(),
            key: None,
            target,
            headers,
            retries,
            fault: fault.cloned(),
            drops: self.drops.iter().any(|name| name == method),
            more: self.more.iter().any(|name| name == method),
            driver: self.driver,
        }
    }
}
