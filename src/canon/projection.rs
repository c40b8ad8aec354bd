//! Lists of validation errors, whatever their form, as `[{"param","message"}]`.

use super::json::Json;
use super::outline::Outline;
use super::path::Path;
use super::spec::{OneOrMany, ProjectionSpec};
use serde_json::{Map, Value};

/// Most entries that are read from one list.
const MOST: usize = 64;

/// A compiled projection.
#[derive(Debug)]
pub(crate) struct Projection {
    /// The bits that the list needs to exist.
    pub(crate) needs: Outline,
    each: Path,
    param: Vec<Part>,
    message: Vec<Part>,
    strip: Vec<String>,
}

/// Where in an entry a part is.
#[derive(Debug)]
enum Part {
    Key,
    Whole,
    At(Path),
}

impl Projection {
    pub(crate) fn compile(spec: &ProjectionSpec) -> Result<Projection, String> {
        let each = Path::parse(&spec.each)?;
        Ok(Projection {
            needs: each.needs(),
            each,
            param: Part::parse_all(spec.param.as_ref())?,
            message: Part::parse_all(spec.message.as_ref())?,
            strip: spec.strip.clone(),
        })
    }

    /// The entries; empty when there is no such list here.
    pub(crate) fn entries(&self, tree: &Json<'_>) -> Vec<Value> {
        let mut entries = Vec::new();
        match self.each.walk(tree) {
            Some(Json::List(list)) => {
                for entry in list {
                    if entries.len() == MOST {
                        break;
                    }
                    self.entry(entry, &mut entries);
                }
            }
            // An object is a map of errors only when the projection reads its keys; otherwise it is one error.
            Some(Json::Object(map)) if self.reads_keys() => {
                map.iter().for_each(|(key, value)| self.values(key, value, &mut entries))
            }
            _ => {}
        }
        entries.truncate(MOST);
        entries
    }

    fn reads_keys(&self) -> bool {
        self.param.iter().chain(&self.message).any(|part| matches!(part, Part::Key))
    }

    fn entry(&self, entry: &Json<'_>, entries: &mut Vec<Value>) {
        match (self.param.as_slice(), entry) {
            // A list of maps from string to string: every pair is an error.
            ([Part::Key], Json::Object(map)) => map.iter().for_each(|(key, value)| self.values(key, value, entries)),
            _ => self.push(None, entry, entries),
        }
    }

    /// A map's value is a message, an object with one, or a list of either.
    fn values(&self, key: &str, value: &Json<'_>, entries: &mut Vec<Value>) {
        match value.as_list() {
            Some(list) => list.iter().for_each(|one| self.push(Some(key), one, entries)),
            None => self.push(Some(key), value, entries),
        }
    }

    fn push(&self, key: Option<&str>, entry: &Json<'_>, entries: &mut Vec<Value>) {
        let param = self.param.iter().find_map(|part| part.read(key, entry, &self.strip));
        let message = self.message.iter().find_map(|part| part.read(key, entry, &[]));
        // An entry that is a text itself needs no path to its message.
        let message = message.or_else(|| joined(entry, &[]).filter(|_| param.is_none() && !self.message.is_empty()));
        let mut object = Map::new();
        if let Some(param) = param {
            let _ = object.insert("param".to_owned(), Value::String(param));
        }
        if let Some(message) = message {
            let _ = object.insert("message".to_owned(), Value::String(message));
        }
        if !object.is_empty() && entries.len() < MOST {
            entries.push(Value::Object(object));
        }
    }
}

impl Part {
    fn parse_all(paths: Option<&OneOrMany<String>>) -> Result<Vec<Part>, String> {
        paths.map(OneOrMany::as_slice).unwrap_or_default().iter().map(|path| Part::parse(path)).collect()
    }

    fn parse(text: &str) -> Result<Part, String> {
        Ok(match text {
            "@key" => Part::Key,
            "@value" => Part::Whole,
            path => Part::At(Path::parse_relative(path)?),
        })
    }

    fn read(&self, key: Option<&str>, entry: &Json<'_>, strip: &[String]) -> Option<String> {
        match self {
            Part::Key => key.map(str::to_owned),
            Part::Whole => joined(entry, strip),
            Part::At(path) => joined(path.walk(entry)?, strip),
        }
    }
}

/// A scalar as text; a path that is an array (`["body", "voice_settings", 0]`) joined by dots.
fn joined(value: &Json<'_>, strip: &[String]) -> Option<String> {
    let text = match value.as_list() {
        Some(parts) => {
            let mut parts: Vec<String> =
                parts.iter().filter_map(|part| part.scalar()).map(|part| part.into_owned()).collect();
            while parts.len() > 1 && parts.first().is_some_and(|first| strip.contains(first)) {
                let _ = parts.remove(0);
            }
            parts.join(".")
        }
        None => value.scalar()?.into_owned(),
    };
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_in_all_forms() {
        let paths = |paths: Option<&str>| {
            paths.map(|paths| OneOrMany::Many(paths.split(' ').map(str::to_owned).collect::<Vec<_>>()))
        };
        let projection = |each: &str, param: Option<&str>, message: Option<&str>| {
            Projection::compile(&ProjectionSpec {
                each: each.to_owned(),
                param: paths(param),
                message: paths(message),
                strip: vec!["body".to_owned()],
            })
            .expect("projection")
        };
        for (projection, body, expected) in [
            (
                projection("$.detail", Some("loc"), Some("msg")),
                r#"{"detail":[{"loc":["body","text"],"msg":"field required"},{"loc":["body",0],"msg":"x"}]}"#,
                r#"[{"param":"text","message":"field required"},{"param":"0","message":"x"}]"#,
            ),
            (
                projection("$.errors", None, Some("@value")),
                r#"{"errors":["a","b"]}"#,
                r#"[{"message":"a"},{"message":"b"}]"#,
            ),
            (
                projection("$.errors", Some("@key"), Some("@value")),
                r#"{"errors":{"name":["too long","odd"],"age":"missing"}}"#,
                r#"[{"param":"name","message":"too long"},{"param":"name","message":"odd"},{"param":"age","message":"missing"}]"#,
            ),
            (
                projection("$.validationErrors", Some("@key"), Some("@value")),
                r#"{"validationErrors":[{"a":"x"},{"b":"y"}]}"#,
                r#"[{"param":"a","message":"x"},{"param":"b","message":"y"}]"#,
            ),
            (
                projection("$.e", Some("field name"), Some("message reason")),
                r#"{"e":[{"name":"a","reason":"x"},{"field":"b","message":"y"},"z",{"other":1}]}"#,
                r#"[{"param":"a","message":"x"},{"param":"b","message":"y"},{"message":"z"}]"#,
            ),
            (projection("$.detail", Some("loc"), Some("msg")), r#"{"detail":"text"}"#, "[]"),
            (projection("$.detail", Some("loc"), Some("msg")), r#"{"detail":{"code":"x","msg":"y"}}"#, "[]"),
        ] {
            let tree: Json<'_> = serde_json::from_str(body).expect("JSON");
            let expected: Value = serde_json::from_str(expected).expect("JSON");
            assert_eq!(Value::Array(projection.entries(&tree)), expected, "{body}");
        }
    }
}
