//! Filling in: `{name}` becomes a value as JSON, `{=name}` the same value as plain text. Other braces stay.

use serde::Deserialize;
use serde_json::{Map, Value};

/// Values by name.
pub(crate) type Vars = Map<String, Value>;

/// A close frame; its reason is a template.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CloseTemplate {
    pub(crate) code: u16,
    #[serde(default)]
    pub(crate) reason: String,
}

/// `template` with the values that `vars` has; a place without a value stays as it is written.
pub(crate) fn fill(template: &str, vars: &Vars) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        let (before, from) = rest.split_at(open);
        out.push_str(before);
        match place(from).and_then(|(name, plain, len)| Some((vars.get(name)?, plain, len))) {
            Some((value, plain, len)) => {
                match value {
                    Value::String(text) if plain => out.push_str(text),
                    Value::Null if plain => {}
                    value => out.push_str(&value.to_string()),
                }
                rest = &from[len..];
            }
            None => {
                out.push('{');
                rest = &from[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// The name in `{name}` or `{=name}` at the start of `text`, whether it is plain, and how long the place is.
fn place(text: &str) -> Option<(&str, bool, usize)> {
    let close = text.find('}')?;
    let inner = text.get(1..close)?;
    let (name, plain) = match inner.strip_prefix('=') {
        Some(name) => (name, true),
        None => (inner, false),
    };
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    is_name.then_some((name, plain, close + 1))
}

#[cfg(test)]
mod tests {
    use super::{Vars, fill};
    use serde_json::json;

    #[test]
    fn fills_places_and_leaves_braces() {
        let mut vars = Vars::new();
        vars.insert("a".into(), json!("x\"y"));
        vars.insert("n".into(), json!(null));
        vars.insert("i".into(), json!(7));
        for (template, expected) in [
            (r#"{"k":{a},"i":{i}}"#, r#"{"k":"x\"y","i":7}"#),
            ("{=a}:{=i}:{=n}:{n}", "x\"y:7::null"),
            ("{b} {} {=} { {{a}}", "{b} {} {=} { {\"x\\\"y\"}"),
            ("open {a", "open {a"),
        ] {
            assert_eq!(fill(template, &vars), expected, "{template}");
        }
    }
}
