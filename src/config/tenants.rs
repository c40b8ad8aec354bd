//! Tenants that stand in files of their own, such as those of a Kubernetes Secret: they follow those of the configuration.

use super::files::SourceFiles;
use super::fill::{Filler, unreadable};
use super::layer::{FileLayer, Layers};
use super::path::Path;
use super::problem::Findings;
use std::io::{ErrorKind, Read};
use std::path::{Path as FilePath, PathBuf};
use toml::Value;

/// No file of tenants is larger.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// Most files of a folder that are read.
const MOST_FILES: usize = 1000;

/// Reads the files that `server.tenants` names, and adds their tenants to the configuration. Gives those that say nothing
/// of any.
pub(super) fn add(
    merged: &mut Value,
    layers: &mut Layers,
    filler: &mut Filler<'_>,
    findings: &mut Findings,
) -> Vec<PathBuf> {
    let path = Path::of("server").key("tenants");
    let mut empty = Vec::new();
    let Some(named) = merged.get_mut("server").and_then(|server| server.get_mut("tenants")) else { return empty };
    filler.fill(named, &path, findings);
    if findings.any_within(&path) || filler.is_absent(&path) {
        return empty;
    }
    // Anything but a text is a problem that the schema finds.
    let Some(place) = named.as_str().map(PathBuf::from) else { return empty };
    let files = match files(&place, filler.noted()) {
        Ok(files) => files,
        Err(problem) => {
            filler.misses(&path, format!("the file {problem}"), findings);
            return empty;
        }
    };
    for file in files {
        let shown = file.display().to_string();
        let text = match read(&file) {
            Ok(text) => text,
            Err(problem) => {
                filler.misses(&path, format!("the file `{}` {problem}", shown.escape_debug()), findings);
                continue;
            }
        };
        match tenants(&text) {
            Ok(None) => empty.push(file),
            Ok(Some(tenants)) => {
                let Some(all) = all(merged) else { return empty };
                // Only where in the file something stands is of interest: what is wrong there is found with the rest.
                if let Ok(layer) = FileLayer::parse(&shown, &text, &mut Findings::default()) {
                    layers.tenants.push((all.len(), layer));
                }
                all.extend(tenants);
            }
            Err(problem) => {
                findings.value(&path, format!("the file `{}`: {problem}", shown.escape_debug()));
            }
        }
    }
    empty
}

/// The list of tenants; none when something else stands there.
fn all(merged: &mut Value) -> Option<&mut Vec<Value>> {
    let table = merged.as_table_mut()?;
    table.entry("tenants").or_insert_with(|| Value::Array(Vec::new())).as_array_mut()
}

/// The file itself, or what a folder has of files whose names end with `.toml`, in the order of their names. Hidden ones are not of
/// the folder's content: Kubernetes keeps the versions of a Secret in such.
fn files(place: &FilePath, noted: &mut SourceFiles) -> Result<Vec<PathBuf>, String> {
    // A folder too: its time changes with what is in it.
    noted.note(place);
    let metadata = std::fs::metadata(place).map_err(|error| unreadable(error.kind()))?;
    if !metadata.is_dir() {
        return Ok(vec![place.to_owned()]);
    }
    let entries = std::fs::read_dir(place).map_err(|error| unreadable(error.kind()))?;
    let fits = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.ends_with(".toml") && !name.starts_with('.')
    };
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(fits).collect();
    if files.len() > MOST_FILES {
        return Err(format!("has more than {MOST_FILES} files"));
    }
    files.sort();
    files.iter().for_each(|file| noted.note(file));
    Ok(files)
}

fn read(file: &FilePath) -> Result<String, String> {
    let mut text = String::new();
    let unreadable = |kind: ErrorKind| unreadable(kind);
    let file = std::fs::File::open(file).map_err(|error| unreadable(error.kind()))?;
    let length = file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(|error| unreadable(error.kind()))?;
    if length as u64 > MAX_FILE { Err(format!("is larger than {} MiB", MAX_FILE >> 20)) } else { Ok(text) }
}

/// The tenants of a file; none where it says nothing of any. A problem quotes nothing of it: it may be a key.
fn tenants(text: &str) -> Result<Option<Vec<Value>>, String> {
    let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line =
            error.span().and_then(|span| text.get(..span.start)).map_or(1, |before| before.lines().count().max(1));
        format!("line {line} is not valid TOML")
    })?;
    let tenants = table.remove("tenants");
    if let Some((key, _)) = table.iter().next() {
        return Err(format!("`{}` cannot stand here; expected `[[tenants]]` alone", key.escape_debug()));
    }
    match tenants {
        None => Ok(None),
        Some(Value::Array(tenants)) => Ok(Some(tenants.into_iter().map(as_text).collect())),
        Some(_) => Err("`tenants` is no list; expected `[[tenants]]`".to_owned()),
    }
}

/// Times are texts in the configuration.
fn as_text(value: Value) -> Value {
    match value {
        Value::Datetime(time) => Value::String(time.to_string()),
        Value::Array(array) => Value::Array(array.into_iter().map(as_text).collect()),
        Value::Table(table) => Value::Table(table.into_iter().map(|(key, value)| (key, as_text(value))).collect()),
        value => value,
    }
}
