//! The operator's words, then ours.
//!
//! [`load`] reads every file, lays them and the environment on top of each other, fills in `${…}`, checks the result
//! against the schema, and resolves it into a [`types::Config`]; or it gives every problem at once.
//!
//! ```
//! let text = r#"
//!     [[routes]]
//!     name = "tts"
//!     match = { path = "/elevenlabs" }
//!     provider = "elevenlab"
//!     upstream = "https://api.elevenlabs.io"
//! "#;
//! let problems = speechgate::config::load_str(&[("gateway.toml", text)], []).unwrap_err();
//! assert_eq!(problems[0].nearest.as_deref(), Some("elevenlabs"));
//! ```

mod defaults;
mod env;
pub mod files;
mod fill;
mod layer;
mod outbound;
mod path;
mod problem;
pub mod profiles;
mod raw;
mod report;
mod resolve;
mod schema;
pub mod secret;
mod shadowed;
mod tenants;
pub mod types;
mod values;
mod warnings;

#[cfg(test)]
mod tests;

pub use fill::Missing;
pub use problem::{Excerpt, Problem};
pub use profiles::{built_in, built_in_names, built_in_profiles};
pub use report::{check_report, schema_text};
pub use types::Config;
pub use values::{listen, name};

use crate::canon::Profile;
use config::builder::DefaultState;
use config::{ConfigBuilder, ValueKind};
use files::SourceFiles;
use fill::Filler;
use layer::{FileLayer, Layers};
use path::Path;
use problem::Findings;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use toml::Value;

/// A configuration that can be run.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration itself.
    pub config: Config,
    /// The operator's own profiles by name, those included that no route uses.
    pub profiles: BTreeMap<String, Arc<Profile>>,
    /// What does not prevent it from running.
    pub warnings: Vec<Problem>,
    /// The merged configuration as JSON, secrets as stars, for people to look at.
    pub redacted: String,
    /// What it was made of: the files of the command line, and those that `${file:…}` names.
    pub files: SourceFiles,
    /// The files of tenants that say nothing of any.
    pub without_tenants: Vec<PathBuf>,
}

impl Loaded {
    /// The profile of this name: the operator's own, else a built-in one.
    #[must_use]
    pub fn profile(&self, name: &str) -> Option<Arc<Profile>> {
        self.profiles.get(name).cloned().or_else(|| built_in(name)?.ok())
    }
}

/// Loads files, later ones on top of earlier ones, and the environment on top of them all.
///
/// # Errors
/// Every problem that can be found.
pub fn load(
    files: &[PathBuf],
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, Vec<Problem>> {
    load_noting(files, environment, Missing::IsAProblem, &mut SourceFiles::default())
}

/// Like [`load`], for looking at a configuration where its secrets are not: what a `${…}` does not find is only warned of.
///
/// # Errors
/// Every problem that can be found.
pub fn load_without_secrets(
    files: &[PathBuf],
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, Vec<Problem>> {
    load_noting(files, environment, Missing::IsWarnedOf, &mut SourceFiles::default())
}

/// Like [`load`], and notes each file that it reads or misses, whatever comes of it.
///
/// # Errors
/// Every problem that can be found.
pub fn load_noting(
    files: &[PathBuf],
    environment: impl IntoIterator<Item = (String, String)>,
    missing: Missing,
    noted: &mut SourceFiles,
) -> Result<Loaded, Vec<Problem>> {
    let mut texts = Vec::new();
    let mut problems = Vec::new();
    for file in files {
        noted.note(file);
        let name = file.display().to_string();
        match std::fs::read_to_string(file) {
            Ok(text) => texts.push((name, text)),
            Err(error) => {
                problems.push(Problem::of_file(&name, format!("the file {}", fill::unreadable(error.kind()))))
            }
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let texts: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    load_texts(&texts, environment, missing, noted)
}

/// Loads texts, each with the name that problems give it.
///
/// # Errors
/// Every problem that can be found.
pub fn load_str(
    texts: &[(&str, &str)],
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, Vec<Problem>> {
    load_texts(texts, environment, Missing::IsAProblem, &mut SourceFiles::default())
}

fn load_texts(
    texts: &[(&str, &str)],
    environment: impl IntoIterator<Item = (String, String)>,
    missing: Missing,
    noted: &mut SourceFiles,
) -> Result<Loaded, Vec<Problem>> {
    let environment: Vec<(String, String)> = environment.into_iter().collect();
    let mut findings = Findings::default();
    let (mut layers, overrides) = layers(texts, &environment, &mut findings)?;
    let mut merged = merge(&layers, overrides, &mut findings)?;
    let mut filler = Filler::new(&environment, noted, missing);
    let without_tenants = tenants::add(&mut merged, &mut layers, &mut filler, &mut findings);
    note_secrets(&merged, &mut findings);
    filler.fill(&mut merged, &Path::root(), &mut findings);
    filler.remember(&merged, &findings);
    let unfilled = findings.list.len();
    let redacted = redact(&merged, &Path::root(), &findings);
    schema::check(&mut merged, &mut findings);

    let place = |findings: Findings| {
        let mut problems: Vec<Problem> = findings.list.into_iter().map(|finding| layers.place(finding)).collect();
        problems.iter_mut().for_each(|problem| filler.hide(problem));
        layers.sort(&mut problems);
        problems
    };
    let raw = match raw::Raw::deserialize(merged) {
        Ok(raw) => raw,
        // What the schema let through fits; should the two ever differ, the first difference is told.
        Err(error) => {
            findings.value(&Path::root(), error.message().to_owned());
            return Err(place(findings));
        }
    };
    let profiles = profiles::Profiles::resolve(&raw.providers, &mut findings);
    let config = resolve::config(&raw, &profiles, &mut findings);
    findings.keep_first(unfilled);
    findings.list.retain(|finding| !filler.is_absent(&finding.path));
    if !findings.list.is_empty() {
        return Err(place(findings));
    }
    let mut warnings = Findings { list: Vec::new(), secrets: findings.secrets };
    filler.warn(&mut warnings);
    warnings::all(&raw, &config, &|path| filler.has_filled(path), &mut warnings);
    let mut warnings = place(warnings);
    warnings.extend(outbound::ignored_proxies(&config.routes, &environment));
    let redacted = serde_json::to_string_pretty(&redacted).unwrap_or_default();
    let files = filler.into_files();
    Ok(Loaded { config, profiles: profiles.into_own(), warnings, redacted, files, without_tenants })
}

/// The process's environment; variables that are not Unicode cannot be meant for us.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

type Overrides = Vec<(Path, Value)>;

/// Reads every layer. Fails only where the rest would make no sense: a syntax error, a name that is no key path.
fn layers(
    texts: &[(&str, &str)],
    environment: &[(String, String)],
    findings: &mut Findings,
) -> Result<(Layers, Overrides), Vec<Problem>> {
    let mut layers = Layers::default();
    let mut overrides = Overrides::new();
    let mut problems = Vec::new();
    for (name, text) in texts {
        match FileLayer::parse(name, text, findings) {
            Ok(file) => layers.files.push(file),
            Err(found) => problems.extend(found),
        }
    }
    match env::overrides(environment) {
        Ok(variables) => {
            for (variable, value) in variables {
                overrides.push((variable.path.clone(), value));
                layers.variables.push(variable);
            }
        }
        Err(found) => problems.extend(found),
    }
    if problems.is_empty() { Ok((layers, overrides)) } else { Err(problems) }
}

/// Lays the layers on top of each other: tables are merged, everything else is replaced.
fn merge(layers: &Layers, overrides: Overrides, findings: &mut Findings) -> Result<Value, Vec<Problem>> {
    let failed = |error: config::ConfigError| vec![Problem::of_file("", error.to_string())];
    let mut builder = ConfigBuilder::<DefaultState>::default();
    for file in &layers.files {
        builder = builder.add_source(file.clone());
    }
    for (path, value) in overrides {
        builder = builder.set_override(path.expression(), to_config(value)).map_err(failed)?;
    }
    let merged = builder.build().map_err(failed)?;
    Ok(from_config(merged.cache, &Path::root(), findings))
}

fn to_config(value: Value) -> ValueKind {
    match value {
        Value::String(text) => ValueKind::String(text),
        Value::Integer(number) => ValueKind::I64(number),
        Value::Float(number) => ValueKind::Float(number),
        Value::Boolean(value) => ValueKind::Boolean(value),
        Value::Datetime(value) => ValueKind::String(value.to_string()),
        Value::Array(array) => ValueKind::Array(array.into_iter().map(|value| to_config(value).into()).collect()),
        Value::Table(table) => {
            ValueKind::Table(table.into_iter().map(|(key, value)| (key, to_config(value).into())).collect())
        }
    }
}

fn from_config(value: config::Value, path: &Path, findings: &mut Findings) -> Value {
    match value.kind {
        // An index of the environment that leaves a gap.
        ValueKind::Nil => {
            findings.key(path, "is empty").expected("indexes that follow each other from 0");
            Value::Table(toml::Table::new())
        }
        ValueKind::Boolean(value) => Value::Boolean(value),
        ValueKind::I64(number) => Value::Integer(number),
        ValueKind::I128(number) => Value::Integer(i64::try_from(number).unwrap_or(i64::MAX)),
        ValueKind::U64(number) => Value::Integer(i64::try_from(number).unwrap_or(i64::MAX)),
        ValueKind::U128(number) => Value::Integer(i64::try_from(number).unwrap_or(i64::MAX)),
        ValueKind::Float(number) => Value::Float(number),
        ValueKind::String(text) => Value::String(text),
        ValueKind::Array(array) => {
            let values = array.into_iter().enumerate();
            Value::Array(values.map(|(at, value)| from_config(value, &path.index(at), findings)).collect())
        }
        ValueKind::Table(table) => {
            let entries = table.into_iter().map(|(key, value)| {
                let value = from_config(value, &path.key(&key), findings);
                (key, value)
            });
            Value::Table(entries.collect())
        }
    }
}

/// The values that are secrets wherever they come from.
fn note_secrets(merged: &Value, findings: &mut Findings) {
    for (index, route) in merged.get("routes").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let credentials = Path::of("routes").index(index).key("credentials");
        note_values(route.get("credentials"), &credentials, findings);
        let (headers, path) = (route.get("headers"), Path::of("routes").index(index).key("headers"));
        let one_way = |way: &str| (headers.and_then(|headers| headers.get(way)), path.key(way));
        for (table, path) in [(headers, path.clone()), one_way("request"), one_way("response")] {
            let set = table.and_then(|table| table.get("set")).and_then(Value::as_table);
            let secret = set.into_iter().flatten().map(|(name, _)| name).filter(|name| values::holds_secret(name));
            findings.secrets.extend(secret.map(|name| path.key("set").key(name)));
        }
    }
    for (index, account) in merged.get("accounts").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let credentials = Path::of("accounts").index(index).key("credentials");
        note_values(account.get("credentials"), &credentials, findings);
    }
    note_keys(merged, findings);
    findings.secrets.insert(Path::of("limits").key("backend"));
}

/// What stands in the place of the hash of a gateway key and is none: a key, most likely.
fn note_keys(merged: &Value, findings: &mut Findings) {
    for (index, tenant) in merged.get("tenants").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let path = Path::of("tenants").index(index).key("keys");
        for (at, key) in tenant.get("keys").and_then(Value::as_array).into_iter().flatten().enumerate() {
            let path = path.index(at);
            let (path, hash) = if key.is_table() { (path.key("hash"), key.get("hash")) } else { (path, Some(key)) };
            if hash.and_then(Value::as_str).is_some_and(|hash| !hash.starts_with("sha256:")) {
                findings.secrets.insert(path);
            }
        }
    }
}

/// Each `value` in credentials, wherever in them it stands.
fn note_values(found: Option<&Value>, path: &Path, findings: &mut Findings) {
    findings.secrets.insert(path.key("value"));
    match found {
        Some(Value::Array(entries)) => {
            for (index, entry) in entries.iter().enumerate() {
                note_values(Some(entry), &path.index(index), findings);
            }
        }
        Some(Value::Table(table)) => {
            for (key, inside) in table.iter().filter(|(_, inside)| inside.is_table() || inside.is_array()) {
                note_values(Some(inside), &path.key(key), findings);
            }
        }
        _ => {}
    }
}

/// The configuration with stars for secrets.
fn redact(value: &Value, path: &Path, findings: &Findings) -> serde_json::Value {
    use serde_json::Value as Json;
    if findings.secrets.contains(path) {
        return Json::String("***".to_owned());
    }
    match value {
        Value::String(text) => Json::String(text.clone()),
        Value::Integer(number) => Json::from(*number),
        Value::Float(number) => Json::from(*number),
        Value::Boolean(value) => Json::Bool(*value),
        Value::Datetime(value) => Json::String(value.to_string()),
        Value::Array(array) => {
            Json::Array(array.iter().enumerate().map(|(at, value)| redact(value, &path.index(at), findings)).collect())
        }
        Value::Table(table) => Json::Object(
            table.iter().map(|(key, value)| (key.clone(), redact(value, &path.key(key), findings))).collect(),
        ),
    }
}
