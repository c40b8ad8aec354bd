//! How a provider answers when all is well, and how it refuses: `dialects/<provider>.toml`.

mod socket;

use super::provider::Provider;
use super::template::Vars;
use super::uri::{percent_decode, query};
use http::{HeaderMap, Method, Uri};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;

pub(crate) use socket::{ClientMessage, Reaction, SocketEndpoint};

/// How one provider behaves.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dialect {
    /// Headers of every answer.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// Headers of every success.
    #[serde(default)]
    pub(crate) success_headers: BTreeMap<String, String>,
    pub(crate) auth: Auth,
    pub(crate) plan: PlanFull,
    pub(crate) unknown: Unknown,
    pub(crate) legacy: Option<Legacy>,
    pub(crate) answer: Vec<Endpoint>,
    #[serde(default)]
    pub(crate) socket: Vec<SocketEndpoint>,
}

/// Where credentials stand; any that are not empty will do.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Auth {
    headers: Vec<String>,
    #[serde(default)]
    query: Vec<String>,
    /// The failure that answers a request without any.
    pub(crate) missing: String,
}

/// What happens when the plan is full.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlanFull {
    /// The failure that answers.
    pub(crate) fault: String,
    /// header that says how many slots the plan has.
    pub(crate) limit_header: Option<String>,
    /// header that says how many are in use.
    pub(crate) current_header: Option<String>,
}

/// The failures that answer requests to a path or with a method that the provider does not have.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unknown {
    pub(crate) path: String,
    pub(crate) method: String,
}

/// Versions before a date get the older form of errors.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Legacy {
    header: String,
    query: String,
    before: String,
    pub(crate) content_type: String,
}

/// How requests of some paths are answered.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Endpoint {
    /// `METHOD /path/{segment}`, with `?key=value` or `?key` where the query decides. The first endpoint that matches answers.
    path: Vec<String>,
    #[serde(default)]
    pub(crate) say: Content,
    /// Whether it takes a slot of the plan.
    #[serde(default)]
    pub(crate) metered: bool,
    /// Whether it is answered without credentials.
    #[serde(default)]
    pub(crate) open: bool,
    /// Whether it leads to a socket: failures of the socket leave it alone, and what it answers carries them there.
    #[serde(default)]
    pub(crate) leads_to_socket: bool,
    #[serde(default = "ok")]
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// Headers until the last of several bodies.
    #[serde(default)]
    pub(crate) waiting_headers: BTreeMap<String, String>,
    /// Answers to the first, second, … request for the same path; the last one stays.
    #[serde(default)]
    pub(crate) body: Vec<String>,
    /// The audio format, unless the client asks for one.
    pub(crate) format: Option<String>,
    /// Sent for each tenth of a second.
    #[serde(default)]
    pub(crate) chunk: String,
    /// Sent after it for the words that begin in it, when the client wants them.
    pub(crate) timed: Option<String>,
    /// Sent at the end.
    #[serde(default)]
    pub(crate) end: String,
}

impl Endpoint {
    /// The requests that it answers, as they are written.
    #[cfg(test)]
    pub(crate) fn paths(&self) -> &[String] {
        &self.path
    }
}

fn ok() -> u16 {
    200
}

/// What the body of an answer is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Content {
    /// `body` as it is.
    #[default]
    Json,
    /// Audio, streamed.
    Audio,
    /// `body` with the audio and its timing in it.
    Spoken,
    /// Server-Sent Events.
    Events,
    /// Newline-separated JSON.
    Lines,
}

/// The endpoint that matches a request.
pub(crate) enum Found {
    Endpoint(&'static Endpoint, Vars),
    WrongMethod,
    Nothing,
}

impl Dialect {
    /// The provider's.
    pub(crate) fn of(provider: Provider) -> &'static Dialect {
        static ALL: LazyLock<Vec<Dialect>> = LazyLock::new(|| {
            // The files are embedded, and the tests start every simulator.
            let read = |provider: &Provider| {
                toml::from_str(source(*provider)).unwrap_or_else(|problem| panic!("{provider}: {problem}"))
            };
            Provider::ALL.iter().map(read).collect()
        });
        &ALL[provider as usize]
    }

    /// The first endpoint that matches, with the segments that its path names.
    pub(crate) fn find(&'static self, method: &Method, uri: &Uri) -> Found {
        let method = if method == Method::HEAD { "GET" } else { method.as_str() };
        let mut wrong_method = false;
        for endpoint in &self.answer {
            for path in &endpoint.path {
                let Some((wanted, template)) = path.split_once(' ') else { continue };
                match captures(template, uri) {
                    Some(vars) if wanted == method => return Found::Endpoint(endpoint, vars),
                    Some(_) => wrong_method = true,
                    None => {}
                }
            }
        }
        if wrong_method { Found::WrongMethod } else { Found::Nothing }
    }

    /// The socket of that path, with the segments that it names.
    pub(crate) fn socket(&'static self, uri: &Uri) -> Option<(&'static SocketEndpoint, Vars)> {
        let fits = |socket: &'static SocketEndpoint| {
            let vars = socket.path.iter().find_map(|path| captures(path, uri))?;
            Some((socket, vars))
        };
        self.socket.iter().find_map(fits)
    }

    /// Whether the request carries credentials.
    pub(crate) fn authorised(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        let filled = |value: &str| !matches!(value.trim().trim_start_matches("Bearer").trim(), "");
        self.auth.headers.iter().any(|name| headers.get(name).and_then(|value| value.to_str().ok()).is_some_and(filled))
            || self.auth.query.iter().any(|name| query(uri, name).is_some_and(filled))
    }

    /// The content type of errors in the older form, when the client asked for a version that has it.
    pub(crate) fn legacy(&self, headers: &HeaderMap, uri: &Uri) -> Option<&str> {
        let legacy = self.legacy.as_ref()?;
        let header = || headers.get(&legacy.header).and_then(|value| value.to_str().ok());
        // Dates of this form compare as text.
        let version = query(uri, &legacy.query).or_else(header)?;
        (version < legacy.before.as_str()).then_some(legacy.content_type.as_str())
    }
}

/// The named segments, when the path fits; a slash at the end does not matter.
fn captures(template: &str, uri: &Uri) -> Option<Vars> {
    let (template, condition) = template.split_once('?').unwrap_or((template, ""));
    let fits = match condition.split_once('=') {
        Some((key, value)) => query(uri, key) == Some(value),
        None => condition.is_empty() || query(uri, condition).is_some(),
    };
    if !fits {
        return None;
    }
    let mut vars = Vars::new();
    let mut segments = uri.path().trim_end_matches('/').split('/');
    for wanted in template.trim_end_matches('/').split('/') {
        let segment = segments.next()?;
        match wanted.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(_) if segment.is_empty() => return None,
            Some(name) => {
                vars.insert(name.to_owned(), String::from_utf8_lossy(&percent_decode(segment)).into());
            }
            None if wanted != segment => return None,
            None => {}
        }
    }
    segments.next().is_none().then_some(vars)
}

fn source(provider: Provider) -> &'static str {
    match provider {
        Provider::ElevenLabs => include_str!("dialects/elevenlabs.toml"),
        Provider::Cartesia => include_str!("dialects/cartesia.toml"),
        Provider::Breeze => include_str!("dialects/breeze.toml"),
        Provider::Corti => include_str!("dialects/corti.toml"),
        Provider::ZenHire => include_str!("dialects/zenhire.toml"),
        Provider::Deepgram => include_str!("dialects/deepgram.toml"),
        Provider::OpenAi => include_str!("dialects/openai.toml"),
        Provider::Google => include_str!("dialects/google.toml"),
        Provider::Azure => include_str!("dialects/azure.toml"),
        Provider::Aws => include_str!("dialects/aws.toml"),
        Provider::AssemblyAi => include_str!("dialects/assemblyai.toml"),
    }
}
