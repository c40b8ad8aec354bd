//! The JSON Schema of the configuration, and a check of a merged configuration against it.
//!
//! `raw.rs` is the only list of keys: the schema is derived from it, and unknown keys, wrong types and misspelt
//! choices are found by walking the configuration along the schema. Serde would stop at the first of them.

use super::path::{Path, Step};
use super::problem::{Finding, Findings, alternatives};
use super::raw::Raw;
use schemars::transform::{RecursiveTransform, Transform};
use serde_json::{Map, Value as Json};
use std::sync::OnceLock;
use toml::Value;

type Node = Map<String, Json>;

/// The JSON Schema of the configuration file.
pub(super) fn json() -> &'static Json {
    static SCHEMA: OnceLock<Json> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let mut schema = schemars::schema_for!(Raw);
        RecursiveTransform(drop_null).transform(&mut schema);
        schema.to_value()
    })
}

/// TOML has no null: an optional key is left out.
fn drop_null(schema: &mut schemars::Schema) {
    let Some(node) = schema.as_object_mut() else { return };
    if node.get("default").is_some_and(Json::is_null) {
        node.remove("default");
    }
    if let Some(Json::Array(types)) = node.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            node.insert("type".to_owned(), only);
        }
    }
    let Some(Json::Array(any)) = node.get_mut("anyOf") else { return };
    any.retain(|kind| kind.get("type").is_none_or(|kind| kind != "null"));
    if let [Json::Object(only)] = any.as_slice() {
        let only = only.clone();
        node.remove("anyOf");
        for (key, value) in only {
            node.entry(key).or_insert(value);
        }
    }
}

/// Takes everything out of `value` that the schema does not allow, and notes it.
pub(super) fn check(value: &mut Value, findings: &mut Findings) {
    walk(&Place::root(), value, &Path::root(), findings);
}

/// A string from outside as the type that the schema asks for at this path: `"10"` is a number where one belongs.
pub(super) fn typed(path: &Path, text: String) -> Value {
    let Some(place) = Place::root().descend(path) else { return Value::String(text) };
    let structured = text.trim_start().starts_with(['[', '{']) && (place.accepts("array") || place.accepts("object"));
    if place.accepts("string") && !structured {
        return Value::String(text);
    }
    let parsed = toml::from_str::<toml::Table>(&format!("value = {text}")).ok();
    parsed
        .and_then(|mut table| if table.len() == 1 { table.remove("value") } else { None })
        .unwrap_or(Value::String(text))
}

/// Whether an array belongs at this path.
pub(super) fn is_array(path: &Path) -> bool {
    Place::root().descend(path).is_some_and(|place| place.accepts("array"))
}

/// What the schema allows at one place: one or several alternatives.
struct Place(Vec<&'static Node>);

impl Place {
    fn root() -> Place {
        Place::of(json())
    }

    fn of(schema: &'static Json) -> Place {
        let mut nodes = Vec::new();
        collect(schema, &mut nodes);
        Place(nodes)
    }

    fn accepts(&self, kind: &str) -> bool {
        self.0.iter().any(|node| node_accepts(node, kind))
    }

    fn descend(&self, path: &Path) -> Option<Place> {
        let mut place = Place(self.0.clone());
        for step in path.steps() {
            place = match step {
                Step::Key(key) => place.0.iter().find_map(|node| entry(node, key)).map(Place::of)?,
                Step::Index(_) => place.0.iter().find_map(|node| node.get("items")).map(Place::of)?,
            };
        }
        Some(place)
    }

    /// What belongs here, for people.
    fn expectation(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        for node in &self.0 {
            let part = describe(node);
            if !parts.contains(&part) {
                parts.push(part);
            }
        }
        parts.join(" or ")
    }
}

/// Follows references and flattens alternatives.
fn collect(schema: &'static Json, nodes: &mut Vec<&'static Node>) {
    let Json::Object(node) = schema else { return };
    if let Some(target) = node.get("$ref").and_then(Json::as_str) {
        let name = target.trim_start_matches("#/$defs/");
        if let Some(target) = json().get("$defs").and_then(|defs| defs.get(name)) {
            collect(target, nodes);
        }
        return;
    }
    let alternatives = node.get("anyOf").or_else(|| node.get("oneOf")).and_then(Json::as_array);
    match alternatives {
        // A title says better what is meant than its alternatives do.
        Some(alternatives) if node.get("title").is_none() || node.contains_key("properties") => {
            alternatives.iter().for_each(|alternative| collect(alternative, nodes));
        }
        Some(_) | None => nodes.push(node),
    }
}

fn node_accepts(node: &Node, kind: &str) -> bool {
    if let Some(alternatives) = node.get("anyOf").and_then(Json::as_array) {
        return alternatives.iter().filter_map(Json::as_object).any(|node| node_accepts(node, kind));
    }
    let same = |allowed: &Json| allowed == kind || (allowed == "number" && kind == "integer");
    match node.get("type") {
        Some(Json::Array(kinds)) => kinds.iter().any(same),
        Some(allowed) => same(allowed),
        None => false,
    }
}

/// The schema of a key in a table.
fn entry(node: &'static Node, key: &str) -> Option<&'static Json> {
    let known = node.get("properties").and_then(|properties| properties.get(key));
    known.or_else(|| node.get("additionalProperties").filter(|rest| rest.is_object()))
}

fn describe(node: &Node) -> String {
    let examples = node.get("examples").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
    let examples: Vec<&str> = examples.collect();
    let Some(title) =
        node.get("title").and_then(Json::as_str).filter(|title| title.starts_with("a ") || title.starts_with("an "))
    else {
        return choices(node).map_or_else(|| article(node.get("type")), |names| alternatives(names.iter().copied()));
    };
    match examples.is_empty() {
        true => title.to_owned(),
        false => format!("{title} such as {}", alternatives(examples)),
    }
}

fn article(kind: Option<&Json>) -> String {
    match kind.and_then(Json::as_str) {
        Some("object") => "a table",
        Some("array") => "an array",
        Some("string") => "a string",
        Some("boolean") => "true or false",
        Some("integer") => "a whole number",
        Some("number") => "a number",
        Some(_) | None => "something else",
    }
    .to_owned()
}

/// The fixed spellings that a string may have.
fn choices(node: &'_ Node) -> Option<Vec<&'_ str>> {
    if let Some(only) = node.get("const") {
        return only.as_str().map(|only| vec![only]);
    }
    node.get("enum").and_then(Json::as_array).map(|names| names.iter().filter_map(Json::as_str).collect())
}

fn kind_of(value: &Value) -> (&'static str, &'static str) {
    match value {
        Value::String(_) | Value::Datetime(_) => ("string", "a string"),
        Value::Integer(_) => ("integer", "a whole number"),
        Value::Float(_) => ("number", "a number with a fraction"),
        Value::Boolean(_) => ("boolean", "true or false"),
        Value::Array(_) => ("array", "an array"),
        Value::Table(_) => ("object", "a table"),
    }
}

/// Checks one value; false when it has to go.
fn walk(place: &Place, value: &mut Value, path: &Path, findings: &mut Findings) -> bool {
    let (kind, found) = kind_of(value);
    let fitting: Vec<&'static Node> = place.0.iter().copied().filter(|node| node_accepts(node, kind)).collect();
    if fitting.is_empty() {
        findings.value(path, format!("{found} cannot stand here")).expected(place.expectation());
        return false;
    }
    match value {
        Value::String(text) => walk_string(&fitting, text, path, findings),
        Value::Integer(number) => walk_integer(&fitting, *number, path, findings),
        Value::Array(_) | Value::Table(_) => walk_nested(&fitting, value, path, findings),
        Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => true,
    }
}

fn walk_string(fitting: &[&'static Node], text: &str, path: &Path, findings: &mut Findings) -> bool {
    let Some(names) = fitting.iter().map(|node| choices(node)).collect::<Option<Vec<_>>>() else { return true };
    let names = names.concat();
    if names.contains(&text) {
        return true;
    }
    let what = format!("{} is not one of the choices", findings.quote(path, text));
    let hidden = findings.secrets.contains(path);
    let finding = findings.value(path, what).expected(alternatives(names.iter().copied()));
    if !hidden {
        finding.nearest(text, names);
    }
    false
}

fn walk_integer(fitting: &[&'static Node], number: i64, path: &Path, findings: &mut Findings) -> bool {
    let bound = |node: &Node, name: &str| node.get(name).and_then(Json::as_i64);
    let fits = |node: &&&'static Node| {
        let least = bound(node, "minimum").unwrap_or(i64::MIN);
        let most = bound(node, "maximum").unwrap_or(match node.get("format").and_then(Json::as_str) {
            Some("uint16") => u16::MAX.into(),
            Some("uint32") => u32::MAX.into(),
            Some(_) | None => i64::MAX,
        });
        (least..=most).contains(&number)
    };
    if fitting.iter().any(|node| node.contains_key("anyOf")) || fitting.iter().any(|node| fits(&node)) {
        return true;
    }
    let node = fitting.first().copied();
    let least = node.and_then(|node| bound(node, "minimum")).unwrap_or(0);
    let expected = match node.and_then(|node| bound(node, "maximum")) {
        Some(most) => format!("a whole number from {least} to {most}"),
        None => format!("a whole number of at least {least}"),
    };
    let what = format!("{} is out of range", findings.quote(path, &number.to_string()));
    findings.value(path, what).expected(expected);
    false
}

/// A table or an array: of several alternatives, the one with the fewest problems is meant.
fn walk_nested(fitting: &[&'static Node], value: &mut Value, path: &Path, findings: &mut Findings) -> bool {
    // The usual case needs no copy: thousands of routes must not cost the square of their number.
    if let [only] = fitting {
        return walk_inside(only, value, path, findings);
    }
    let mut best: Option<(bool, Value, Vec<Finding>)> = None;
    for node in fitting {
        let mut copy = value.clone();
        let mut scratch = Findings { list: Vec::new(), secrets: std::mem::take(&mut findings.secrets) };
        let kept = walk_inside(node, &mut copy, path, &mut scratch);
        findings.secrets = scratch.secrets;
        if best.as_ref().is_none_or(|(_, _, other)| scratch.list.len() < other.len()) {
            best = Some((kept, copy, scratch.list));
        }
    }
    let Some((kept, copy, list)) = best else { return true };
    *value = copy;
    findings.list.extend(list);
    kept
}

fn walk_inside(node: &'static Node, value: &mut Value, path: &Path, findings: &mut Findings) -> bool {
    match value {
        Value::Table(table) => walk_table(node, table, path, findings),
        Value::Array(array) => walk_array(node, array, path, findings),
        Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => true,
    }
}

fn walk_table(node: &'static Node, table: &mut toml::Table, path: &Path, findings: &mut Findings) -> bool {
    let properties = node.get("properties").and_then(Json::as_object);
    let required = || node.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
    for name in required() {
        if let (false, Some(schema)) = (table.contains_key(name), entry(node, name)) {
            findings.key(&path.key(name), "missing").expected(Place::of(schema).expectation());
        }
    }
    table.retain(|key, value| {
        let here = path.key(key);
        if let Some(schema) = entry(node, key) {
            return walk(&Place::of(schema), value, &here, findings);
        }
        let names = properties.into_iter().flatten().map(|(name, _)| name.as_str());
        findings.key(&here, "unknown key").nearest(key, names);
        false
    });
    // Serde asks for nothing in the tables of `raw.rs`; in those of a profile it does. So that one mistake hides no other, something
    // valid stands in for what has been noted: a configuration with a problem is not used.
    let stood_in = |name: &str, table: &mut toml::Table| {
        stand_in(name).is_some_and(|text| table.insert(name.to_owned(), Value::String(text.to_owned())).is_none())
    };
    !path.is_within(&Path::of("providers")) || required().all(|name| table.contains_key(name) || stood_in(name, table))
}

/// A valid text for a key that the tables of a profile cannot be without.
fn stand_in(key: &str) -> Option<&'static str> {
    match key {
        "then" | "code" => Some("unknown_error"),
        "from" => Some("text"),
        "each" => Some("$.errors"),
        _ => None,
    }
}

/// An array with a bad element is taken out whole, lest the others change their places.
fn walk_array(node: &'static Node, array: &mut [Value], path: &Path, findings: &mut Findings) -> bool {
    let Some(schema) = node.get("items") else { return true };
    let mut kept = true;
    for (at, value) in array.iter_mut().enumerate() {
        kept &= walk(&Place::of(schema), value, &path.index(at), findings);
    }
    kept
}
