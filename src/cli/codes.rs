//! `speechgate codes`: the vocabulary, and the mapping of a provider's codes to it.

use super::Format;
use crate::canon::spec::{MappingSpec, Table};
use crate::canon::{Code, Profile, Type, reference};
use crate::config;
use serde_json::{Value, json};

/// Lists every type and code.
pub(super) fn all(format: Format) -> String {
    if format == Format::Markdown {
        let profiles: Vec<_> = config::built_in_profiles().collect();
        return reference::markdown(&reference::entries(profiles.iter().map(AsRef::as_ref)));
    }
    if format == Format::Json {
        let codes: Vec<Value> = Code::ROWS
            .iter()
            .map(|row| {
                json!({
                    "code": row.name, "type": row.kind.as_str(), "status": row.status, "close_code": row.close,
                    "grpc_status": row.grpc,
                    "retryable": row.retryable, "meaning": row.sentence, "advice": row.advice,
                })
            })
            .collect();
        let types: Vec<Value> =
            Type::ALL.iter().map(|kind| json!({ "type": kind.as_str(), "advice": kind.advice() })).collect();
        return pretty(&json!({ "types": types, "codes": codes }));
    }
    let rows = Code::ROWS.iter().map(|row| {
        let retry = if row.retryable { "yes" } else { "no" };
        [row.kind.to_string(), row.name.to_owned(), row.status.to_string(), retry.to_owned(), row.sentence.to_owned()]
    });
    table(["TYPE", "CODE", "STATUS", "RETRY", "MEANING"], rows)
}

/// Lists how a provider's codes map. Rules that depend on more than a code are shown by `explain`.
pub(super) fn of(profile: &Profile, format: Format) -> String {
    if format == Format::Markdown {
        return reference::markdown(&reference::entries([profile]));
    }
    let spec = profile.spec();
    let spaces = spec.spaces.iter().map(|(space, table)| (space.as_str(), table));
    let rows: Vec<[String; 5]> =
        std::iter::once(("", &spec.codes)).chain(spaces).flat_map(|(space, table)| mapped(space, table)).collect();
    if format == Format::Json {
        let codes: Vec<Value> = rows
            .iter()
            .map(|[upstream, code, kind, status, retry]| {
                json!({
                    "upstream_code": upstream, "code": code, "type": kind,
                    "status": status.parse::<u16>().unwrap_or_default(), "retryable": retry == "yes",
                })
            })
            .collect();
        return pretty(&json!({ "provider": profile.name(), "codes": codes }));
    }
    table(["UPSTREAM CODE", "CODE", "TYPE", "STATUS", "RETRY"], rows.into_iter())
}

fn mapped<'a>(space: &'a str, table: &'a Table<MappingSpec>) -> impl Iterator<Item = [String; 5]> + 'a {
    table.iter().filter_map(move |(upstream, meaning)| {
        let retryable = match meaning {
            MappingSpec::Code(_) => None,
            MappingSpec::Full(full) => full.retryable,
        };
        let row = Code::from_name(meaning.code())?.row();
        let retry = if retryable.unwrap_or(row.retryable) { "yes" } else { "no" };
        let upstream = if space.is_empty() { upstream.clone() } else { format!("{space} {upstream}") };
        Some([upstream, row.name.to_owned(), row.kind.to_string(), row.status.to_string(), retry.to_owned()])
    })
}

fn pretty(value: &Value) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

/// Aligned columns, without trailing spaces.
fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}
