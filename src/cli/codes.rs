//! What `speechgate codes` prints.

use crate::canon::code::Row;
use crate::canon::spec::MeaningSpec;
use crate::canon::{Code, Profile, Type};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Every type and code.
pub(super) fn all(as_json: bool) -> String {
    if as_json {
        let types = Type::ALL.map(|kind| json!({ "type": kind.as_str(), "advice": kind.advice() }));
        let codes: Vec<Value> = Code::ROWS.iter().map(row).collect();
        return pretty(&json!({ "types": types, "codes": codes }));
    }
    let head = ["TYPE", "CODE", "STATUS", "CLOSE", "RETRY", "MEANING"].map(str::to_owned);
    let rows = Code::ROWS.iter().map(|row| {
        [
            row.kind.as_str().to_owned(),
            row.name.to_owned(),
            row.status.to_string(),
            row.close.to_string(),
            yes(row.retryable),
            row.sentence.to_owned(),
        ]
    });
    table(std::iter::once(head).chain(rows).collect())
}

/// How a provider's codes map. Rules that look at more than a code are `explain`'s to show.
pub(super) fn of(profile: &Profile, as_json: bool) -> String {
    let spec = profile.spec();
    let spaces = spec.spaces.iter().map(|(space, codes)| (space.as_str(), codes));
    let rows: Vec<(&str, &str, Meaning)> = std::iter::once(("", &spec.codes))
        .chain(spaces)
        .flat_map(|(space, codes)| codes.iter().map(move |(code, spec)| (space, code.as_str(), Meaning::of(spec))))
        .collect();
    if as_json {
        let rows: Vec<Value> = rows.iter().map(|(space, code, meaning)| meaning.json(space, code)).collect();
        return pretty(&json!({ "provider": profile.name(), "codes": rows }));
    }
    let head = ["PROVIDER CODE", "TYPE", "CODE", "STATUS", "RETRY"].map(str::to_owned);
    let lines = rows.into_iter().map(|(space, code, meaning)| {
        let code = if space.is_empty() { code.to_owned() } else { format!("{space} {code}") };
        let (kind, status) = meaning.row.map_or(("", String::new()), |row| (row.kind.as_str(), row.status.to_string()));
        [code, kind.to_owned(), meaning.name.to_owned(), status, yes(meaning.retryable)]
    });
    table(std::iter::once(head).chain(lines).collect())
}

/// What a provider's code means.
struct Meaning<'a> {
    name: &'a str,
    row: Option<&'static Row>,
    retryable: bool,
}

impl<'a> Meaning<'a> {
    fn of(spec: &'a MeaningSpec) -> Meaning<'a> {
        let (name, retryable) = match spec {
            MeaningSpec::Code(name) => (name, None),
            MeaningSpec::Full(full) => (&full.code, full.retryable),
        };
        let row = Code::from_name(name).map(Code::row);
        Meaning { name, row, retryable: retryable.or(row.map(|row| row.retryable)).unwrap_or(false) }
    }

    fn json(&self, space: &str, code: &str) -> Value {
        let mut members: BTreeMap<&str, Value> = BTreeMap::from([
            ("upstream_code", json!(code)),
            ("code", json!(self.name)),
            ("retryable", json!(self.retryable)),
        ]);
        if !space.is_empty() {
            let _ = members.insert("space", json!(space));
        }
        if let Some(row) = self.row {
            let _ = members.insert("type", json!(row.kind.as_str()));
            let _ = members.insert("status", json!(row.status));
        }
        json!(members)
    }
}

fn row(row: &Row) -> Value {
    json!({
        "type": row.kind.as_str(),
        "code": row.name,
        "status": row.status,
        "close": row.close,
        "retryable": row.retryable,
        "meaning": row.sentence,
        "advice": row.advice,
    })
}

fn yes(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Columns as wide as their widest cell, the last as it comes.
fn table<const N: usize>(rows: Vec<[String; N]>) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_listed_in_both_forms() {
        let text = all(false);
        assert_eq!(text.lines().count(), Code::ROWS.len() + 1);
        let json: Value = serde_json::from_str(&all(true)).expect("JSON");
        for (row, listed) in Code::ROWS.iter().zip(json["codes"].as_array().expect("a list")) {
            assert_eq!(listed["code"], row.name);
            assert!(text.lines().any(|line| line.split_whitespace().nth(1) == Some(row.name)), "{}", row.name);
        }
        assert_eq!(json["types"].as_array().map(Vec::len), Some(Type::ALL.len()));
    }

    #[test]
    fn every_row_of_a_provider_is_a_known_code() {
        for name in crate::config::built_in_names() {
            let profile = crate::config::built_in(name).expect(name).expect(name);
            let json: Value = serde_json::from_str(&of(&profile, true)).expect("JSON");
            let rows = json["codes"].as_array().expect("a list");
            assert!(rows.iter().all(|row| row["status"].is_u64()), "{name}");
            assert_eq!(of(&profile, false).lines().count(), rows.len() + 1);
        }
    }
}
