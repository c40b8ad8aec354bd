//! The layers that make up a configuration, and where in them a key stands.
//!
//! The `config` crate merges layers but forgets positions, so each file is read once more into an index of them.

use super::path::{Path, Step, is_bare};
use super::problem::{Excerpt, Finding, Findings, Part, Problem};
use config::{Map, Source, Value, ValueKind};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// One file.
#[derive(Clone)]
pub(super) struct FileLayer {
    name: String,
    text: String,
    values: Map<String, Value>,
    spans: BTreeMap<Path, Spans>,
}

#[derive(Clone, Debug)]
struct Spans {
    key: Range<usize>,
    value: Range<usize>,
}

/// One variable of the environment.
#[derive(Clone, Debug)]
pub(super) struct Variable {
    /// Its name.
    pub(super) name: String,
    /// What it sets.
    pub(super) path: Path,
}

/// Every layer, the weakest first; variables are stronger than files.
#[derive(Default)]
pub(super) struct Layers {
    pub(super) files: Vec<FileLayer>,
    pub(super) variables: Vec<Variable>,
    /// Files of tenants, each with the place of its first tenant among all.
    pub(super) tenants: Vec<(usize, FileLayer)>,
}

impl FileLayer {
    /// Reads one file's text; what cannot be a value or a key is noted and left out.
    ///
    /// # Errors
    /// Every syntax error in it.
    pub(super) fn parse(name: &str, text: &str, findings: &mut Findings) -> Result<FileLayer, Vec<Problem>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut file =
            FileLayer { name: name.to_owned(), text: text.to_owned(), values: Map::new(), spans: BTreeMap::new() };
        if !errors.is_empty() {
            return Err(errors.iter().map(|error| file.syntax_problem(error)).collect());
        }
        for (key, value) in table.get_ref() {
            let path = Path::of(key.get_ref());
            file.index(&path, key.span(), value.span(), value.get_ref());
            // The `config` crate would read a key such as `a.b` as a path of its own.
            if !is_bare(key.get_ref()) {
                findings.key(&path, "unknown key");
            } else if let Some(value) = file.convert(value.get_ref(), &path, findings) {
                file.values.insert(key.get_ref().to_string(), value);
            }
        }
        Ok(file)
    }

    fn index(&mut self, path: &Path, key: Range<usize>, value: Range<usize>, node: &DeValue<'_>) {
        self.spans.insert(path.clone(), Spans { key, value });
        match node {
            DeValue::Table(table) => {
                for (key, value) in table {
                    self.index(&path.key(key.get_ref()), key.span(), value.span(), value.get_ref());
                }
            }
            DeValue::Array(array) => {
                for (at, value) in array.iter().enumerate() {
                    self.index(&path.index(at), value.span(), value.span(), value.get_ref());
                }
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {}
        }
    }

    fn convert(&self, node: &DeValue<'_>, path: &Path, findings: &mut Findings) -> Option<Value> {
        let kind = match node {
            DeValue::String(text) => ValueKind::String(text.to_string()),
            DeValue::Boolean(value) => ValueKind::Boolean(*value),
            DeValue::Datetime(value) => ValueKind::String(value.to_string()),
            DeValue::Float(value) => ValueKind::Float(value.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Integer(value) => {
                let number = i64::from_str_radix(value.as_str(), value.radix());
                if number.is_err() {
                    findings.value(path, "this number is too large");
                }
                ValueKind::I64(number.ok()?)
            }
            DeValue::Array(array) => {
                let values = array.iter().enumerate();
                let values = values.map(|(at, value)| self.convert(value.get_ref(), &path.index(at), findings));
                ValueKind::Array(values.collect::<Option<Vec<Value>>>()?)
            }
            DeValue::Table(table) => {
                let entries = table.iter().filter_map(|(key, value)| {
                    Some((
                        key.get_ref().to_string(),
                        self.convert(value.get_ref(), &path.key(key.get_ref()), findings)?,
                    ))
                });
                ValueKind::Table(entries.collect())
            }
        };
        Some(Value::new(Some(&self.name), kind))
    }

    fn syntax_problem(&self, error: &toml::de::Error) -> Problem {
        let span = error.span().unwrap_or(0..0);
        self.problem_at(&span, error.message().lines().collect::<Vec<_>>().join(", "), true)
    }

    fn problem_at(&self, span: &Range<usize>, what: impl Into<String>, syntax: bool) -> Problem {
        let mut problem = Problem::of_file(&self.name, what);
        let (line, column, excerpt) = excerpt(&self.text, span, syntax);
        problem.line = line;
        problem.column = column;
        problem.excerpt = excerpt;
        problem
    }
}

/// The name alone: the text may hold secrets.
impl fmt::Debug for FileLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileLayer").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Source for FileLayer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.values.clone())
    }
}

impl Layers {
    /// A finding with its place.
    pub(super) fn place(&self, finding: Finding) -> Problem {
        let mut problem = self.place_path(&finding.path, finding.part);
        problem.path = finding.path.to_string();
        problem.what = finding.what;
        problem.expected = finding.expected;
        problem.nearest = finding.nearest;
        problem
    }

    /// Puts problems in the order of the files, the environment last.
    pub(super) fn sort(&self, problems: &mut Vec<Problem>) {
        let rank = |problem: &Problem| {
            let file = self.files.iter().position(|file| file.name == problem.file);
            (file.unwrap_or(self.files.len()), problem.line, problem.column)
        };
        problems.sort_by_key(rank);
        problems.dedup();
    }

    /// The strongest layer that says something about the path, or about what contains it.
    fn place_path(&self, path: &Path, part: Part) -> Problem {
        let mut here = Some(path.clone());
        while let Some(at) = here {
            if let Some(problem) = self.place_exactly(&at, if at == *path { part } else { Part::Value }) {
                return problem;
            }
            here = at.parent().filter(|parent| !parent.steps().is_empty());
        }
        let file = self.files.last().map_or("", |file| file.name.as_str());
        Problem::of_file(file, "")
    }

    fn place_exactly(&self, path: &Path, part: Part) -> Option<Problem> {
        if let Some(variable) = self.variables.iter().rev().find(|variable| path.is_within(&variable.path)) {
            return Some(Problem::of_file(&format!("environment variable {}", variable.name), ""));
        }
        if let Some((own, file)) = self.tenants_file(path) {
            let spans = file.spans.get(&own)?;
            let span = if part == Part::Key { &spans.key } else { &spans.value };
            return Some(file.problem_at(span, "", false));
        }
        for file in self.files.iter().rev() {
            if let Some(spans) = file.spans.get(path) {
                let span = if part == Part::Key { &spans.key } else { &spans.value };
                return Some(file.problem_at(span, "", false));
            }
            // A later file's array takes the place of an earlier one's as a whole.
            if path.arrays().any(|array| file.spans.contains_key(&array)) {
                break;
            }
        }
        let inside = |variable: &&Variable| variable.path.is_within(path);
        let variable = self.variables.iter().rev().find(inside)?;
        Some(Problem::of_file(&format!("environment variable {}", variable.name), ""))
    }
}

impl Layers {
    /// The file of tenants that this tenant stands in, and its path there.
    fn tenants_file(&self, path: &Path) -> Option<(Path, &FileLayer)> {
        let [Step::Key(key), Step::Index(index), rest @ ..] = path.steps() else { return None };
        let (first, file) = self.tenants.iter().rev().find(|(first, _)| key == "tenants" && first <= index)?;
        let own = Path::of("tenants").index(index - first);
        Some((rest.iter().fold(own, |path, step| path.then(step.clone())), file))
    }
}

/// Line and column of a span, and the line up to its end.
///
/// A problem must never echo a secret. So what follows the span is left out, and what follows the first `=` of a line
/// that may hold one. Where the syntax is wrong, nobody can tell what was meant as a value: of such a line only the key
/// before its `=` is shown, or the heading that it is.
fn excerpt(text: &str, span: &Range<usize>, syntax: bool) -> (usize, usize, Option<Excerpt>) {
    let start = floor_char_boundary(text, span.start);
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[start..].find(['\r', '\n']).map_or(text.len(), |at| start + at);
    let end = floor_char_boundary(text, span.end).clamp(start, line_end);
    let number = text[..start].matches('\n').count() + 1;
    let offset = text[line_start..start].chars().count();
    let line = &text[line_start..line_end];
    let visible = if inside_long_string(&text[..line_start]) {
        None
    } else if syntax {
        key_or_heading(line)
    } else {
        Some(harmless(line, end - line_start))
    };
    let excerpt = visible.map(|visible| Excerpt {
        text: format!("{}{}", visible.replace('\t', " "), if visible == line { "" } else { " …" }),
        offset,
        // The caret may stand right behind the line's end, but not below what is left out.
        length: if start - line_start < visible.len() || visible == line {
            text[start..end].chars().count().max(1)
        } else {
            0
        },
    });
    (number, offset + 1, excerpt)
}

/// `key =` or `[heading]` at the beginning of a line; what is neither could be anything.
fn key_or_heading(line: &str) -> Option<&str> {
    let plain = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b' ' | b'\t'))
    };
    let heading = line.trim_start().starts_with('[') && plain(line.trim().trim_matches(['[', ']']));
    let key = line.find('=').and_then(|at| line.get(..=at)).filter(|key| plain(key.trim_end_matches('=')));
    if heading { Some(line) } else { key }
}

/// A line up to the end of what is at fault, or less; a heading as a whole.
fn harmless(line: &str, end: usize) -> &str {
    if line.starts_with('[') && !line.contains(['=', '"', '\'']) {
        return line;
    }
    let visible = &line[..end];
    match visible.find('=').filter(|_| may_hold_secret(visible)) {
        Some(at) => &visible[..=at],
        None => visible,
    }
}

/// Words beside which secrets stand.
const TELLTALES: [&str; 11] =
    ["credential", "value", "secret", "token", "password", "apikey", "-key", "_key", "authorization", "backend", "@"];

fn may_hold_secret(line: &str) -> bool {
    let lower = line.to_lowercase();
    TELLTALES.iter().any(|word| lower.contains(word))
}

/// Whether the text ends inside a string of several lines.
fn inside_long_string(before: &str) -> bool {
    before.matches("\"\"\"").count() % 2 == 1 || before.matches("'''").count() % 2 == 1
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

impl Path {
    /// The path as an expression of the `config` crate.
    pub(super) fn expression(&self) -> String {
        let mut text = String::new();
        for step in self.steps() {
            match step {
                Step::Key(key) if text.is_empty() => text.push_str(key),
                Step::Key(key) => text.push_str(&format!(".{key}")),
                Step::Index(index) => text.push_str(&format!("[{index}]")),
            }
        }
        text
    }
}
