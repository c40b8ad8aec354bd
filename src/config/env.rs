//! `SPEECHGATE__SECTION__KEY=value`: the environment as the strongest layer.

use super::layer::Variable;
use super::path::{Path, Step};
use super::problem::Problem;
use super::schema;
use toml::Value;

/// What every variable of the configuration begins with, and what separates keys in it.
const PREFIX: &str = "SPEECHGATE__";
const SEPARATOR: &str = "__";

/// More elements than any array has use for; an index beyond it is a mistake.
const MAX_INDEX: usize = 999;

/// The variables that set something, in the order of what they set, with their values.
///
/// # Errors
/// Every variable whose name cannot be read as a key path.
pub(super) fn overrides(environment: &[(String, String)]) -> Result<Vec<(Variable, Value)>, Vec<Problem>> {
    let mut variables = Vec::new();
    let mut problems = Vec::new();
    for (name, text) in environment {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        match read_path(rest) {
            Ok(path) => {
                let value = schema::typed(&path, text.clone());
                variables.push((Variable { name: name.clone(), path }, value));
            }
            Err(what) => problems.push(Problem::of_file(&format!("environment variable {name}"), what)),
        }
    }
    variables.sort_by(|(one, _), (other, _)| one.path.cmp(&other.path));
    if problems.is_empty() { Ok(variables) } else { Err(problems) }
}

fn read_path(name: &str) -> Result<Path, String> {
    let mut path = Path::root();
    for part in name.split(SEPARATOR) {
        let key = part.to_lowercase();
        if !super::path::is_bare(&key) {
            return Err(format!("not a key path; expected names between `{SEPARATOR}`"));
        }
        path = match key.parse::<usize>() {
            Ok(index) if schema::is_array(&path) => {
                if index > MAX_INDEX {
                    return Err(format!("the index is too large; expected at most {MAX_INDEX}"));
                }
                path.index(index)
            }
            Ok(_) | Err(_) => path.key(&key),
        };
    }
    match path.steps() {
        [Step::Key(_), ..] => Ok(path),
        [] | [Step::Index(_), ..] => Err("names no key".to_owned()),
    }
}
