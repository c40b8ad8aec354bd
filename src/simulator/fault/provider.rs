//! The failures that a provider is known for, read from `faults/<provider>.toml`.

use crate::simulator::provider::Provider;
use crate::simulator::template::{CloseTemplate, Vars, fill};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// One failure, word for word as the provider answers it.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The provider's own code, sometimes with a prefix where two failures share one.
    pub name: String,
    /// The code as it stands in the body; none where the provider sends none.
    pub code: Option<String>,
    /// Where it shows.
    pub moment: Moment,
    /// HTTP status.
    pub status: u16,
    /// Headers beside `content-type`.
    pub headers: BTreeMap<String, String>,
    /// `content-type`; none for an empty body.
    pub content_type: Option<String>,
    /// The body.
    pub body: String,
    /// The body in the provider's older API, plain text, where it depends on the version that the client asked for.
    pub legacy: Option<String>,
    /// The data of an SSE event that says the same.
    pub event: Option<String>,
    /// The data of that event in the older API.
    pub legacy_event: Option<String>,
    /// A line of newline-separated JSON that says the same.
    pub line: Option<String>,
    /// The answer of a polled job that failed so.
    pub job: Option<String>,
    /// A WebSocket message that says the same.
    pub frame: Option<String>,
    /// The code and the reason that close the socket with it, where they are this failure's own.
    pub close: Option<(u16, String)>,
    /// The shape that worded it, and what it was filled with: sockets without that shape word it anew.
    pub(crate) shape: String,
    pub(crate) vars: Vars,
}

/// Where a failure shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Moment {
    /// As the answer.
    #[default]
    Answer,
    /// In a stream that had begun well.
    Stream,
    /// In a 2xx answer to any request, as JSON-RPC does.
    Rpc,
    /// In the 2xx answer to a poll; what starts the job succeeds, and the id it gives leads to the failure.
    Job,
    /// On a WebSocket only, as a frame, a close or both; over plain HTTP it is refused like an unknown failure.
    Frame,
}

/// Every failure of `provider`.
#[must_use]
pub fn faults(provider: Provider) -> &'static [Fault] {
    static TABLES: LazyLock<Vec<Vec<Fault>>> = LazyLock::new(|| {
        // The files are embedded, and a unit test below reads each.
        let read =
            |provider: &Provider| parse(source(*provider)).unwrap_or_else(|problem| panic!("{provider}: {problem}"));
        Provider::ALL.iter().map(read).collect()
    });
    &TABLES[provider as usize]
}

/// The failure of that name; case and punctuation do not matter.
#[must_use]
pub fn find(provider: Provider, name: &str) -> Option<&'static Fault> {
    let wanted = normalized(name);
    faults(provider).iter().find(|fault| normalized(&fault.name) == wanted)
}

/// A name without what does not matter in it.
pub(super) fn normalized(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

fn source(provider: Provider) -> &'static str {
    match provider {
        Provider::ElevenLabs => include_str!("../faults/elevenlabs.toml"),
        Provider::Cartesia => include_str!("../faults/cartesia.toml"),
        Provider::Breeze => include_str!("../faults/breeze.toml"),
        Provider::Corti => include_str!("../faults/corti.toml"),
        Provider::ZenHire => include_str!("../faults/zenhire.toml"),
        Provider::Deepgram => include_str!("../faults/deepgram.toml"),
        Provider::OpenAi => include_str!("../faults/openai.toml"),
        Provider::Google => include_str!("../faults/google.toml"),
        Provider::Azure => include_str!("../faults/azure.toml"),
        Provider::Aws => include_str!("../faults/aws.toml"),
        Provider::AssemblyAi => include_str!("../faults/assemblyai.toml"),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    shapes: BTreeMap<String, Shape>,
    group: Vec<Group>,
}

/// Templates of one error shape.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    content_type: Option<String>,
    body: String,
    legacy: Option<String>,
    event: Option<String>,
    legacy_event: Option<String>,
    line: Option<String>,
    job: Option<String>,
    frame: Option<String>,
}

/// Failures with something in common.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    shape: String,
    #[serde(default)]
    moment: Moment,
    status: Option<u16>,
    #[serde(rename = "type")]
    kind: Option<String>,
    content_type: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    null_code: bool,
    close: Option<CloseTemplate>,
    faults: serde_json::Map<String, Value>,
}

/// One row: a message, or a table with more to say.
#[derive(Default, Deserialize)]
struct Row {
    message: String,
    status: Option<u16>,
    content_type: Option<String>,
    body: Option<String>,
    frame: Option<String>,
    close: Option<CloseTemplate>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    // Whatever else the shape asks for: `title`, `param`, `wait`, a `code` that differs from the name.
    #[serde(flatten)]
    more: Vars,
}

fn parse(text: &str) -> Result<Vec<Fault>, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    let mut all = Vec::new();
    for group in &file.group {
        let shape = file.shapes.get(&group.shape).ok_or_else(|| format!("no shape {}", group.shape))?;
        for (name, value) in &group.faults {
            let row = match value {
                Value::String(message) => Row { message: message.clone(), ..Row::default() },
                table => serde_json::from_value(table.clone()).map_err(|error| format!("{name}: {error}"))?,
            };
            all.push(build(name, row, group, shape)?);
        }
    }
    Ok(all)
}

fn build(name: &str, row: Row, group: &Group, shape: &Shape) -> Result<Fault, String> {
    let status = row.status.or(group.status).ok_or_else(|| format!("{name}: no status"))?;
    let mut vars = row.more;
    if group.null_code {
        vars.insert("code".into(), Value::Null);
    } else if !vars.contains_key("code") {
        vars.insert("code".into(), name.into());
    }
    vars.insert("message".into(), row.message.into());
    vars.insert("status".into(), status.into());
    if let Some(kind) = &group.kind {
        vars.insert("type".into(), kind.clone().into());
    }
    let fixed = row.body.is_some();
    let filled = |template: &Option<String>| template.as_deref().map(|template| fill(template, &vars));
    let legacy = filled(&shape.legacy).filter(|_| row.content_type.is_none() && group.content_type.is_none());
    let with_legacy = || {
        let mut vars = vars.clone();
        vars.insert("legacy".into(), legacy.clone().unwrap_or_default().into());
        shape.legacy_event.as_deref().map(|template| fill(template, &vars))
    };
    let content_type = [row.content_type, group.content_type.clone(), shape.content_type.clone()];
    let content_type = content_type.into_iter().flatten().next().unwrap_or_else(|| "application/json".into());
    let mut headers = group.headers.clone();
    headers.extend(row.headers);
    let close = row.close.or_else(|| group.close.clone());
    Ok(Fault {
        name: name.to_owned(),
        code: match vars.get("code") {
            Some(Value::String(code)) => Some(code.clone()),
            Some(Value::Null) | None => None,
            Some(other) => Some(other.to_string()),
        },
        moment: group.moment,
        status,
        headers,
        content_type: Some(content_type).filter(|value| !value.is_empty()),
        legacy_event: with_legacy(),
        legacy,
        event: filled(&shape.event),
        line: filled(&shape.line),
        job: filled(&shape.job).filter(|_| !fixed),
        frame: row.frame.clone().or_else(|| filled(&shape.frame)),
        body: row.body.unwrap_or_else(|| fill(&shape.body, &vars)),
        close: close.map(|end| (end.code, fill(&end.reason, &vars))),
        shape: group.shape.clone(),
        vars,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_reads_and_every_place_is_filled() {
        let place = regex::Regex::new(r"\{=?[a-z_]+\}").unwrap();
        for provider in Provider::ALL {
            let all = faults(provider);
            assert!(all.len() >= 15, "{provider} has {}", all.len());
            for fault in all {
                let texts = [&fault.legacy, &fault.event, &fault.legacy_event, &fault.line, &fault.job, &fault.frame];
                for text in texts.into_iter().flatten().chain([&fault.body]) {
                    assert!(!place.is_match(text), "{provider} {}: {text}", fault.name);
                }
                assert_eq!(
                    fault.moment == Moment::Frame,
                    fault.body.is_empty() && fault.status == 101,
                    "{}",
                    fault.name
                );
                if fault.content_type.as_deref() == Some("application/json") && fault.moment != Moment::Frame {
                    let _: Value =
                        serde_json::from_str(&fault.body).unwrap_or_else(|e| panic!("{provider} {}: {e}", fault.name));
                }
            }
        }
    }

    #[test]
    fn every_code_of_every_profile_can_be_provoked() {
        for provider in Provider::ALL {
            let profile = crate::config::built_in(provider.name()).unwrap().unwrap();
            let spaces = profile.spec().spaces.values().flat_map(|table| table.keys());
            for code in profile.spec().codes.keys().chain(spaces) {
                let tells =
                    |fault: &&Fault| fault.code.as_deref() == Some(code) || fault.body.contains(&format!("\"{code}\""));
                assert!(faults(provider).iter().any(|fault| tells(&fault)), "{provider} has no fault for {code}");
            }
        }
    }

    #[test]
    fn names_are_unique_and_found_however_they_are_spelled() {
        for provider in Provider::ALL {
            let mut seen = BTreeMap::new();
            for fault in faults(provider) {
                let before = seen.insert(normalized(&fault.name), &fault.name);
                assert_eq!(before, None, "{provider} {}", fault.name);
                for spelling in [fault.name.to_uppercase(), fault.name.replace('_', "-"), fault.name.replace('+', "")] {
                    assert_eq!(find(provider, &spelling).map(|f| &f.name), Some(&fault.name));
                }
            }
        }
        assert!(find(Provider::Breeze, "nonsense").is_none());
    }
}
