//! How a provider itself would write an error, for failures that the gateway makes on a compatible route.

use super::error::CanonicalError;
use super::mapping::Mapping;
use super::spec::{MappingSpec, NativeSpec, Phase, Table};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// The compiled templates.
#[derive(Debug, Default)]
pub(crate) struct Native {
    http: Option<Value>,
    sse: Option<Value>,
    ndjson: Option<Value>,
    frame: Option<Value>,
    closing: Option<Value>,
    refusal: Option<Value>,
    codes: HashMap<String, String>,
    types: HashMap<String, String>,
    statuses: HashMap<String, u16>,
    /// Words of the profile's own for its templates.
    words: HashMap<String, HashMap<String, String>>,
    /// Codes and types that have the canonical status whatever the provider's is.
    canonical: Vec<String>,
}

/// The values that stand beside the error's own.
#[derive(Clone, Copy, Debug)]
pub struct NativeValues<'a> {
    /// This gateway's request id.
    pub request_id: &'a str,
    /// RFC 3339.
    pub timestamp: &'a str,
}

impl Native {
    pub(crate) fn compile(
        spec: &NativeSpec,
        codes: &Table<MappingSpec>,
        problem: &mut dyn FnMut(String, String),
    ) -> Native {
        let mut template = |key: &str, text: &Option<String>| {
            let text = text.as_deref()?;
            match serde_json::from_str::<Value>(text) {
                Ok(value @ Value::Object(_)) => Some(value),
                Ok(_) => {
                    problem(format!("native.{key}"), "expected a JSON object".to_owned());
                    None
                }
                Err(error) => {
                    problem(format!("native.{key}"), format!("not JSON: {error}"));
                    None
                }
            }
        };
        let (http, sse) = (template("http", &spec.http), template("sse", &spec.sse));
        let (ndjson, frame) = (template("ndjson", &spec.ndjson), template("frame", &spec.frame));
        let (closing, refusal) = (template("closing", &spec.closing), template("refusal", &spec.refusal));
        let mut reverse: HashMap<String, String> = HashMap::new();
        for (code, mapping) in codes {
            if let Ok(mapping) = Mapping::compile(mapping, None) {
                let _ = reverse.entry(mapping.code.as_str().to_owned()).or_insert_with(|| code.clone());
            }
        }
        reverse.extend(spec.codes.clone());
        Native {
            http,
            sse,
            ndjson,
            frame,
            closing,
            refusal,
            codes: reverse,
            types: spec.types.clone().into_iter().collect(),
            statuses: spec.statuses.clone().into_iter().collect(),
            words: spec.words.iter().map(|(name, table)| (name.clone(), table.clone().into_iter().collect())).collect(),
            canonical: spec.canonical_status.clone(),
        }
    }

    fn template(&self, phase: Phase) -> Option<&Value> {
        match phase {
            Phase::Sse => self.sse.as_ref(),
            Phase::Ndjson => self.ndjson.as_ref(),
            Phase::Frame => self.frame.as_ref(),
            Phase::Close | Phase::Abort => self.closing.as_ref().or(self.frame.as_ref()),
            Phase::Http | Phase::Handshake | Phase::Job | Phase::Grpc => self.http.as_ref(),
        }
    }

    /// Whether an answer has the canonical status, because SDKs would try again for the provider's.
    pub(crate) fn has_canonical_status(&self, error: &CanonicalError) -> bool {
        let names = [error.code.as_str(), error.code.kind().as_str()];
        self.canonical.iter().any(|listed| names.contains(&listed.as_str()))
    }

    /// The HTTP status that the provider would use.
    pub(crate) fn status(&self, error: &CanonicalError) -> u16 {
        let named = |name: &str| self.statuses.get(name).copied();
        named(error.code.as_str()).or_else(|| named(error.code.kind().as_str())).unwrap_or(error.status())
    }

    /// The error in the provider's words; none when the profile has no template for this phase.
    pub(crate) fn render(
        &self,
        phase: Phase,
        error: &CanonicalError,
        values: NativeValues<'_>,
    ) -> Option<Map<String, Value>> {
        self.fill(self.template(phase)?, error, values)
    }

    /// The error as the refusal of a session that has not begun; none when the profile has no such message.
    pub(crate) fn refuse(&self, error: &CanonicalError, values: NativeValues<'_>) -> Option<Map<String, Value>> {
        self.fill(self.refusal.as_ref()?, error, values)
    }

    /// Whether the provider's own message already is a refusal: it has every fixed member of the template.
    pub(crate) fn is_refusal(&self, message: &Map<String, Value>) -> bool {
        let Some(Value::Object(template)) = &self.refusal else { return false };
        let fixed = |value: &Value| !value.as_str().is_some_and(|text| text.contains('{'));
        template.iter().filter(|(_, value)| fixed(value)).all(|(key, value)| message.get(key) == Some(value))
    }

    fn fill(&self, template: &Value, error: &CanonicalError, values: NativeValues<'_>) -> Option<Map<String, Value>> {
        let named = |table: &HashMap<String, String>| {
            let code = table.get(error.code.as_str());
            code.or_else(|| table.get(error.code.kind().as_str())).cloned()
        };
        let fill = |name: &str| -> Option<Value> {
            Some(match name {
                "code" => named(&self.codes).unwrap_or_else(|| error.code.as_str().to_owned()).into(),
                "type" => named(&self.types).unwrap_or_else(|| error.code.kind().as_str().to_owned()).into(),
                "message" => error.message.clone().into(),
                "title" => error.code.row().sentence.trim_end_matches('.').into(),
                "status" => self.status(error).into(),
                "retryable" => error.retryable.into(),
                // The provider's close code, where it sent one.
                "close" => {
                    let theirs = error.upstream.as_ref().and_then(|upstream| upstream.close);
                    theirs.filter(|code| *code != NO_STATUS).unwrap_or(error.code.row().close).into()
                }
                "request_id" => values.request_id.into(),
                "timestamp" => values.timestamp.into(),
                "retry_after" => (error.retry_after?.as_secs_f64().ceil() as u64).into(),
                "param" => error.param.clone()?.into(),
                "context_id" => error.context_id.clone()?.into(),
                own => {
                    let words = self.words.get(own)?;
                    named(words).or_else(|| words.get("*").cloned())?.into()
                }
            })
        };
        match filled(template, &fill) {
            Some(Value::Object(map)) => Some(map),
            _ => None,
        }
    }
}

/// Fills a template; a member whose value is missing is left out.
fn filled(template: &Value, fill: &dyn Fn(&str) -> Option<Value>) -> Option<Value> {
    Some(match template {
        Value::String(text) => match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) if !name.contains(['{', '}']) => fill(name)?,
            _ => Value::String(inside(text, fill)?),
        },
        Value::Array(list) => Value::Array(list.iter().filter_map(|entry| filled(entry, fill)).collect()),
        Value::Object(map) => {
            Value::Object(map.iter().filter_map(|(key, value)| Some((key.clone(), filled(value, fill)?))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => template.clone(),
    })
}

fn inside(text: &str, fill: &dyn Fn(&str) -> Option<Value>) -> Option<String> {
    let mut whole = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('{') {
        let (name, after) = behind.split_once('}')?;
        whole.push_str(before);
        match fill(name)? {
            Value::String(value) => whole.push_str(&value),
            value @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                whole.push_str(&value.to_string());
            }
        }
        rest = after;
    }
    whole.push_str(rest);
    Some(whole)
}

/// The code for a close frame that has none (RFC 6455 7.4.1).
const NO_STATUS: u16 = 1005;
