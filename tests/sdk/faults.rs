//! The faults that the simulators can be asked for, from the simulators' own tables.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;

/// Where a fault without a `moment` of its own shows: in the answer's status and body.
const ANSWER: &str = "answer";

/// A provider's faults by name, each with the moment at which it shows.
pub(crate) type Faults = BTreeMap<String, String>;

#[derive(Deserialize)]
struct Table {
    group: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    moment: Option<String>,
    faults: BTreeMap<String, toml::Value>,
}

/// All that this provider's simulator knows.
pub(crate) fn of(provider: &str) -> Faults {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/simulator/faults").join(provider).with_extension("toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let table: Table = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let groups = table.group.into_iter();
    groups
        .flat_map(|group| {
            let moment = group.moment.unwrap_or_else(|| ANSWER.to_owned());
            group.faults.into_iter().map(move |(name, row)| {
                let own = row.get("moment").and_then(toml::Value::as_str).map(str::to_owned);
                (name, own.unwrap_or_else(|| moment.clone()))
            })
        })
        .collect()
}
