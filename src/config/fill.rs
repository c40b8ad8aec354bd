//! `${NAME}` and `${file:/path}` in values.

use super::files::SourceFiles;
use super::path::{Path, Step};
use super::problem::{Findings, Problem};
use super::schema;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{ErrorKind, Read};
use toml::Value;

/// A file that is filled in is a secret or a short text, never more than this.
const MAX_FILE: u64 = 64 * 1024;

/// Shorter texts are no secrets, and stand in ordinary words by chance.
const SHORTEST_SECRET: usize = 4;

/// Fills in every value of the configuration. What was filled is noted as a secret, and its text in `revealed`.
pub(super) struct Filler<'a> {
    /// The environment.
    variables: HashMap<&'a str, &'a str>,
    /// Every text that came from outside, so that no message repeats one.
    revealed: Vec<String>,
    /// Where the files that are read are noted.
    noted: &'a mut SourceFiles,
    /// What becomes of a variable or a file that is not there.
    missing: Missing,
    /// What is missing although that is no problem: where, and what is said about it.
    absent: BTreeMap<Path, String>,
    /// Values that were filled in, wholly or in part.
    filled: BTreeSet<Path>,
}

/// What becomes of a variable or a file that the configuration names and that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It is a problem: the configuration cannot be run.
    IsAProblem,
    /// It is warned of, and a placeholder stands in for it: the configuration is only looked at.
    IsWarnedOf,
}

/// Stands in for a secret that is not there: fit for a header, a query and a subprotocol.
const PLACEHOLDER: &str = "placeholder";

impl<'a> Filler<'a> {
    /// Fills in from these variables.
    pub(super) fn new(environment: &'a [(String, String)], noted: &'a mut SourceFiles, missing: Missing) -> Filler<'a> {
        let variables = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Filler { variables, revealed: Vec::new(), noted, missing, absent: BTreeMap::new(), filled: BTreeSet::new() }
    }

    /// Whether a placeholder stands at this place, so that nothing can be said about the value.
    pub(super) fn is_absent(&self, path: &Path) -> bool {
        self.absent.contains_key(path)
    }

    /// Whether this value came from outside.
    pub(super) fn has_filled(&self, path: &Path) -> bool {
        self.filled.contains(path)
    }

    /// Where files that are read are noted.
    pub(super) fn noted(&mut self) -> &mut SourceFiles {
        self.noted
    }

    /// A file that a value names cannot be read.
    pub(super) fn misses(&mut self, path: &Path, what: String, findings: &mut Findings) {
        match self.missing {
            Missing::IsAProblem => drop(findings.value(path, what)),
            Missing::IsWarnedOf => drop(self.absent.insert(path.clone(), what)),
        }
    }

    /// Warns of each placeholder.
    pub(super) fn warn(&self, warnings: &mut Findings) {
        for (path, what) in &self.absent {
            warnings.value(path, format!("{what}; only what does not depend on it was checked"));
        }
    }

    /// Every file that has been noted so far.
    pub(super) fn into_files(self) -> SourceFiles {
        self.noted.clone()
    }

    /// Remembers the secrets that are written in the configuration itself, once it has been filled in.
    pub(super) fn remember(&mut self, merged: &Value, findings: &Findings) {
        for path in findings.secrets.iter().filter(|path| !findings.any_within(path)) {
            let found = path.steps().iter().try_fold(merged, |value, step| match step {
                Step::Key(key) => value.get(key),
                Step::Index(index) => value.get(index),
            });
            self.revealed.extend(found.and_then(Value::as_str).map(str::to_owned));
        }
    }

    /// Takes every secret out of a problem: the last of several nets.
    pub(super) fn hide(&self, problem: &mut Problem) {
        for secret in self.revealed.iter().filter(|secret| secret.len() >= SHORTEST_SECRET) {
            let excerpt = problem.excerpt.as_mut().map(|excerpt| &mut excerpt.text);
            for text in [Some(&mut problem.what), problem.nearest.as_mut(), excerpt].into_iter().flatten() {
                if text.contains(secret.as_str()) {
                    *text = text.replace(secret.as_str(), "***");
                }
            }
        }
    }

    /// Fills in `value` and everything inside it; a text that cannot be filled stays, and is noted.
    pub(super) fn fill(&mut self, value: &mut Value, path: &Path, findings: &mut Findings) {
        match value {
            Value::String(text) if text.contains("${") => match self.filled(text, path, findings) {
                Some((text, true)) => {
                    findings.secrets.insert(path.clone());
                    let _ = self.filled.insert(path.clone());
                    *value = schema::typed(path, text);
                }
                Some((plain, false)) => *text = plain,
                None => {}
            },
            Value::Array(array) => {
                for (at, value) in array.iter_mut().enumerate() {
                    self.fill(value, &path.index(at), findings);
                }
            }
            Value::Table(table) => {
                for (key, value) in table.iter_mut() {
                    self.fill(value, &path.key(key), findings);
                }
            }
            Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {}
        }
    }

    /// The text with its places filled, and whether there were any beside escapes.
    fn filled(&mut self, text: &str, path: &Path, findings: &mut Findings) -> Option<(String, bool)> {
        let mut result = String::new();
        let mut rest = text;
        let mut any = false;
        let mut complete = true;
        while let Some(at) = rest.find("${") {
            let (before, after) = rest.split_at(at);
            if let Some(escaped) = before.strip_suffix('$') {
                result.push_str(escaped);
                result.push_str("${");
                rest = &after[2..];
                continue;
            }
            result.push_str(before);
            let Some((name, left)) = after[2..].split_once('}') else {
                findings.value(path, "`${` without `}`").expected(EXPECTED);
                return None;
            };
            rest = left;
            match self.look_up(name) {
                Ok(found) => {
                    any = true;
                    result.push_str(&found);
                    self.revealed.push(found);
                }
                Err(Lookup::Malformed(what)) => {
                    complete = false;
                    findings.value(path, what);
                }
                Err(Lookup::Missing(what)) if self.missing == Missing::IsAProblem => {
                    complete = false;
                    let finding = findings.value(path, what);
                    if !name.starts_with("file:") {
                        let _ = finding.expected("a value in the environment, or `--no-secrets` to check without");
                    }
                }
                Err(Lookup::Missing(what)) => {
                    any = true;
                    result.push_str(PLACEHOLDER);
                    let _ = self.absent.insert(path.clone(), what);
                }
            }
        }
        result.push_str(rest);
        if any {
            self.revealed.push(result.clone());
        }
        complete.then_some((result, any))
    }

    fn look_up(&mut self, name: &str) -> Result<String, Lookup> {
        if let Some(file) = name.strip_prefix("file:") {
            let file = std::path::Path::new(file);
            self.noted.note(file);
            let missing = |problem| {
                Lookup::Missing(format!("the file `{}` {problem}", file.display().to_string().escape_debug()))
            };
            return read_file(file).map_err(|problem| match file.is_relative() {
                true => missing(format!(
                    "{problem}; a relative path begins at the working directory; expected an absolute path"
                )),
                false => missing(problem),
            });
        }
        let valid = !name.is_empty()
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !valid {
            return Err(Lookup::Malformed(format!(
                "`${{{}}}` names nothing; expected {EXPECTED}",
                name.escape_debug()
            )));
        }
        let value = self.variables.get(name).map(|value| (*value).to_owned());
        value.ok_or_else(|| Lookup::Missing(format!("the environment variable `{name}` is not set")))
    }
}

/// Why nothing can be filled in.
enum Lookup {
    /// It is not written as it must be.
    Malformed(String),
    /// It is not there, or cannot be read.
    Missing(String),
}

const EXPECTED: &str = "`${NAME}` or `${file:/path}`; `$${` stands for itself";

/// A file's text without its last newline.
fn read_file(path: &std::path::Path) -> Result<String, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| unreadable(error.kind()))?;
    let length = file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(|error| unreadable(error.kind()))?;
    if length as u64 > MAX_FILE {
        return Err(format!("is larger than {} KiB", MAX_FILE / 1024));
    }
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// Why a file cannot be read, for people.
pub(super) fn unreadable(kind: ErrorKind) -> String {
    match kind {
        ErrorKind::NotFound => "does not exist".to_owned(),
        ErrorKind::PermissionDenied => "may not be read".to_owned(),
        ErrorKind::IsADirectory => "is a directory".to_owned(),
        ErrorKind::InvalidData => "is not valid UTF-8".to_owned(),
        other => format!("cannot be read ({other})"),
    }
}
