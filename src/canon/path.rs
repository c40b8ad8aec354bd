//! Paths into JSON.

use super::json::{Json, Name};
use super::outline::Outline;

/// A path into JSON: `$`, `$.a.b`, `$.list[0]`, `$.list[?key=value].x`, `$['odd key']`, `$.map[*].x`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(Name),
    Index(usize),
    Find(Name, Box<str>),
    /// The first entry of a list or member of an object in which the rest of the path leads somewhere.
    Any,
}

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// One sentence on what was expected.
    pub fn parse(text: &str) -> Result<Path, String> {
        let bad =
            || format!("`{text}` is not a path; expected `$.a.b`, `$.list[0]`, `$.list[?key=value]` or `$.map[*].x`");
        let mut rest = text.strip_prefix('$').ok_or_else(bad)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let step;
            (step, rest) = if let Some(after) = rest.strip_prefix('.') {
                let end = after.find(['.', '[']).unwrap_or(after.len());
                let (key, rest) = after.split_at(end);
                (Some(Step::Key(Name::new(key))).filter(|_| !key.is_empty()), rest)
            } else {
                let inside = rest.strip_prefix('[').ok_or_else(bad)?;
                let (inside, rest) = inside.split_once(']').ok_or_else(bad)?;
                (Step::bracketed(inside), rest)
            };
            steps.push(step.ok_or_else(bad)?);
        }
        Ok(Path { steps })
    }

    /// Reads a path that is relative to an entry: `loc`, `a.b`, or empty for the entry itself.
    pub(crate) fn parse_relative(text: &str) -> Result<Path, String> {
        let absolute = match text {
            "" | "$" => "$".to_owned(),
            _ if text.starts_with("$") => text.to_owned(),
            _ => format!("$.{text}"),
        };
        Path::parse(&absolute)
    }

    /// The value at this path.
    #[must_use]
    pub fn walk<'v, 'a>(&self, root: &'v Json<'a>) -> Option<&'v Json<'a>> {
        follow(&self.steps, root)
    }

    /// The value at this path; where the root is a list, a path that begins with a name leads into its first entry, for some
    /// providers send `[{"error":…}]`.
    pub(crate) fn walk_errors<'v, 'a>(&self, root: &'v Json<'a>) -> Option<&'v Json<'a>> {
        let root = match (root, self.steps.first()) {
            (Json::List(list), Some(Step::Key(_))) => list.first()?,
            _ => root,
        };
        self.walk(root)
    }

    /// The keys of this path, when it consists of keys only.
    #[must_use]
    pub fn keys(&self) -> Option<Vec<&str>> {
        self.steps
            .iter()
            .map(|step| match step {
                Step::Key(key) => Some(key.as_str()),
                Step::Index(_) | Step::Find(..) | Step::Any => None,
            })
            .collect()
    }

    /// The bits that it needs to find anything.
    pub(crate) fn needs(&self) -> Outline {
        match self.steps.first() {
            Some(Step::Key(key)) => Outline::member(key),
            Some(Step::Index(_) | Step::Find(..) | Step::Any) | None => Outline::always(),
        }
    }

    pub(crate) fn last_key(&self) -> Option<&str> {
        self.steps.iter().rev().find_map(|step| match step {
            Step::Key(key) | Step::Find(key, _) => Some(key.as_str()),
            Step::Index(_) | Step::Any => None,
        })
    }
}

fn follow<'v, 'a>(steps: &[Step], root: &'v Json<'a>) -> Option<&'v Json<'a>> {
    let (mut value, mut steps) = (root, steps);
    while let Some((step, after)) = steps.split_first() {
        value = match step {
            Step::Key(key) => value.member(key)?,
            Step::Index(index) => value.as_list()?.get(*index)?,
            Step::Find(key, wanted) => {
                value.as_list()?.iter().find(|entry| entry.member(key).is_some_and(|found| scalar_is(found, wanted)))?
            }
            Step::Any => return value.entries().find_map(|entry| follow(after, entry)),
        };
        steps = after;
    }
    Some(value)
}

impl Step {
    fn bracketed(inside: &str) -> Option<Step> {
        if let Some(test) = inside.strip_prefix('?') {
            let (key, value) = test.split_once('=')?;
            let value = value.trim().trim_matches(['"', '\'']);
            let key = key.trim().trim_start_matches("@.");
            return (!key.is_empty()).then(|| Step::Find(Name::new(key), value.into()));
        }
        if let Some(key) = inside.strip_prefix('\'').and_then(|key| key.strip_suffix('\'')) {
            return Some(Step::Key(Name::new(key)));
        }
        if inside == "*" {
            return Some(Step::Any);
        }
        inside.parse().ok().map(Step::Index)
    }
}

/// Whether a scalar, as it is written, equals the text.
fn scalar_is(value: &Json<'_>, text: &str) -> bool {
    match value {
        Json::Text(found) => found == text,
        Json::Number(number) => number.to_string() == text,
        Json::Bool(truth) => (if *truth { "true" } else { "false" }) == text,
        Json::Null | Json::List(_) | Json::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_values() {
        let tree: Json<'_> =
            serde_json::from_str(r#"{"a":{"b":[{"k":"x","v":1},{"k":"y","v":2}]},"odd key":true,"n":null}"#)
                .expect("JSON");
        for (path, expected) in [
            ("$.a.b[0].v", Some("1")),
            ("$.a.b[?k=y].v", Some("2")),
            ("$.a.b[?k=z].v", None),
            ("$['odd key']", Some("true")),
            ("$.a", None),
            ("$.n", None),
            ("$.a.b[7]", None),
            ("$.missing.x", None),
            ("$.a.b[*].v", Some("1")),
            ("$.a[*][*].k", Some("x")),
            ("$[*].b[1].v", Some("2")),
            ("$.a.b[*].z", None),
            ("$.n[*].x", None),
        ] {
            let path = Path::parse(path).expect("path");
            let found = path.walk(&tree).and_then(Json::scalar);
            assert_eq!(found.as_deref(), expected, "{path:?}");
        }
        for bad in ["a.b", "$..a", "$.a[", "$.a[x]", "$.a[?k]", "$a"] {
            assert!(Path::parse(bad).is_err(), "{bad}");
        }
    }
}
