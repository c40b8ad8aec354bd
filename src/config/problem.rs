//! What is wrong with a configuration: where, what, what was expected, and the nearest right spelling.

use super::path::Path;
use std::collections::BTreeSet;
use std::fmt;

/// One problem, ready to be shown. None of its texts holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, or `environment variable NAME`; empty when it belongs to no place at all.
    pub file: String,
    /// Line from 1; 0 when it has none.
    pub line: usize,
    /// Column from 1, in characters; 0 when it has none.
    pub column: usize,
    /// The key path, `routes[0].timeouts.connect`; empty for a syntax error.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// What was expected.
    pub expected: Option<String>,
    /// The nearest right spelling.
    pub nearest: Option<String>,
    /// The line at fault.
    pub excerpt: Option<Excerpt>,
}

/// The line at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// Its text; what may be a secret is left out.
    pub text: String,
    /// How many characters stand before the caret.
    pub offset: usize,
    /// How many characters the caret underlines; none when they are left out.
    pub length: usize,
}

impl Problem {
    /// A problem of a whole file or of none.
    pub(crate) fn of_file(file: &str, what: impl Into<String>) -> Problem {
        Problem {
            file: file.to_owned(),
            line: 0,
            column: 0,
            path: String::new(),
            what: what.into(),
            expected: None,
            nearest: None,
            excerpt: None,
        }
    }

    /// The problem in one line.
    #[must_use]
    pub fn headline(&self) -> String {
        self.line_with("")
    }

    /// The problem as a warning, in one line.
    #[must_use]
    pub fn warning(&self) -> String {
        self.line_with("warning: ")
    }

    fn line_with(&self, label: &str) -> String {
        let mut line = String::new();
        if !self.file.is_empty() {
            line.push_str(&self.file);
            if self.line > 0 {
                line.push_str(&format!(":{}:{}", self.line, self.column));
            }
            line.push_str(": ");
        }
        line.push_str(label);
        if !self.path.is_empty() {
            line.push_str(&self.path);
            line.push_str(": ");
        }
        line.push_str(&self.what);
        if let Some(expected) = &self.expected {
            line.push_str(&format!("; expected {expected}"));
        }
        if let Some(nearest) = &self.nearest {
            line.push_str(&format!("; did you mean `{nearest}`?"));
        }
        line
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        let Some(excerpt) = &self.excerpt else { return Ok(()) };
        let number = self.line.to_string();
        write!(f, "\n {number} | {}", excerpt.text)?;
        if excerpt.length > 0 {
            let margin = " ".repeat(number.len());
            write!(f, "\n {margin} | {}{}", " ".repeat(excerpt.offset), "^".repeat(excerpt.length))?;
        }
        Ok(())
    }
}

/// Which part of an entry is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The key: it is unknown, or what it names is missing.
    Key,
    /// The value.
    Value,
}

/// A problem before its place in a file has been looked up.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) path: Path,
    pub(crate) part: Part,
    pub(crate) what: String,
    pub(crate) expected: Option<String>,
    pub(crate) nearest: Option<String>,
}

impl Finding {
    /// Says what was expected.
    pub(crate) fn expected(&mut self, expected: impl Into<String>) -> &mut Finding {
        self.expected = Some(expected.into());
        self
    }

    /// Looks for the nearest right spelling.
    pub(crate) fn nearest<'a>(&mut self, to: &str, among: impl IntoIterator<Item = &'a str>) -> &mut Finding {
        self.nearest = nearest(to, among);
        self
    }
}

/// Everything found so far, and which values must not be shown.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) list: Vec<Finding>,
    /// Paths whose values were filled in from outside or are credentials.
    pub(crate) secrets: BTreeSet<Path>,
}

impl Findings {
    /// Notes a problem of a value.
    pub(crate) fn value(&mut self, path: &Path, what: impl Into<String>) -> &mut Finding {
        self.add(path, Part::Value, what.into())
    }

    /// Notes a problem of a key.
    pub(crate) fn key(&mut self, path: &Path, what: impl Into<String>) -> &mut Finding {
        self.add(path, Part::Key, what.into())
    }

    /// Notes a value that is not what it has to be; quotes it unless it is a secret.
    pub(crate) fn not(&mut self, path: &Path, value: &str, expected: impl Into<String>) -> &mut Finding {
        let what = format!("{} cannot be used", self.quote(path, value));
        let finding = self.add(path, Part::Value, what);
        finding.expected(expected)
    }

    /// The value in backquotes; without its text when it is a secret, or a URL that may hold a password.
    pub(crate) fn quote(&self, path: &Path, value: &str) -> String {
        let secret = self.secrets.contains(path) || value.contains('@');
        if secret { "this value".to_owned() } else { format!("`{}`", value.escape_debug()) }
    }

    /// Says of each value only the first thing that is wrong: `first` findings were there before the value was read.
    pub(crate) fn keep_first(&mut self, first: usize) {
        let (before, after) = self.list.split_at(first.min(self.list.len()));
        let new = after.iter().filter(|finding| !before.iter().any(|other| finding.path.is_within(&other.path)));
        self.list = before.iter().chain(new).cloned().collect();
    }

    /// Whether something is wrong with this table or anything inside it.
    pub(crate) fn any_within(&self, path: &Path) -> bool {
        self.list.iter().any(|finding| finding.path.is_within(path))
    }

    fn add(&mut self, path: &Path, part: Part, what: String) -> &mut Finding {
        let at = self.list.len();
        self.list.push(Finding { path: path.clone(), part, what, expected: None, nearest: None });
        // Just pushed.
        &mut self.list[at]
    }
}

/// The candidate that is spelled most like `word`, when one is like it at all.
pub(crate) fn nearest<'a>(word: &str, among: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let word = word.to_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    among
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= allowed || is_stem(&word, candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.to_owned())
}

/// Whether one is the other with more behind it (`drain`, `drain_timeout`).
fn is_stem(word: &str, candidate: &str) -> bool {
    let shorter = word.len().min(candidate.len());
    shorter >= 4 && (candidate.starts_with(word) || word.starts_with(candidate))
}

/// `a`, `b` or `c`, in backquotes.
pub(crate) fn alternatives<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_spelling_is_near() {
        let keys = ["timeouts", "drain_timeout", "upstream", "upstream_tls", "name"];
        for (word, expected) in [
            ("timeout", Some("timeouts")),
            ("upstraem", Some("upstream")),
            ("Upstream", Some("upstream")),
            ("drain", Some("drain_timeout")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, keys).as_deref(), expected, "{word}");
        }
    }

    #[test]
    fn alternatives_read_like_a_sentence() {
        assert_eq!(alternatives(["a"]), "`a`");
        assert_eq!(alternatives(["a", "b", "c"]), "`a`, `b` or `c`");
    }
}
