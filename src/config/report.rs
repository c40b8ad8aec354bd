//! What `speechgate check` and `speechgate schema` print.

use super::{Loaded, load, schema};
use std::path::PathBuf;

/// Loads the configuration. Gives everything there is to say about it, ready to be printed, and whether it can be run.
pub fn check_report(files: &[PathBuf], environment: impl IntoIterator<Item = (String, String)>) -> (String, bool) {
    let mut text = String::new();
    let valid = match load(files, environment) {
        Ok(Loaded { config, warnings, .. }) => {
            for warning in &warnings {
                text.push_str(&format!("{}\n", warning.warning()));
            }
            text.push_str(&format!("valid: {}, no problem\n", count(config.routes.len(), "route")));
            true
        }
        Err(problems) => {
            for problem in &problems {
                text.push_str(&format!("{problem}\n"));
            }
            text.push_str(&format!("{} found\n", count(problems.len(), "problem")));
            false
        }
    };
    (text, valid)
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// The JSON Schema of the configuration file.
#[must_use]
pub fn schema_text() -> String {
    let mut text = serde_json::to_string_pretty(schema::json()).unwrap_or_default();
    text.push('\n');
    text
}
