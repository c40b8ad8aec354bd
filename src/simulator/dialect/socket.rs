//! How a provider's sockets behave: the `[[socket]]` sections of `dialects/<provider>.toml`.

use crate::simulator::template::{CloseTemplate, Vars};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// One kind of socket.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SocketEndpoint {
    /// `/path/{segment}`.
    pub(crate) path: Vec<String>,
    /// Whether it is opened without credentials.
    #[serde(default)]
    pub(crate) open: bool,
    /// Keys under which the first message may bring the credentials; then the handshake goes without.
    #[serde(default)]
    pub(crate) first_message_auth: Vec<String>,
    pub(crate) subprotocol: Option<Subprotocol>,
    /// Sent at once.
    #[serde(default)]
    pub(crate) greeting: Vec<String>,
    /// The key of a message that names its context.
    pub(crate) context: Option<String>,
    /// The key that names the context in a failure; for providers that spell it otherwise than their clients do.
    pub(crate) context_in_error: Option<String>,
    /// Keys whose latest value later answers may name.
    #[serde(default)]
    pub(crate) remember: Vec<String>,
    /// How many contexts may be open, and the failure of one more.
    pub(crate) contexts: Option<Contexts>,
    /// Whether speaking takes a slot of the plan.
    #[serde(default)]
    pub(crate) metered: bool,
    /// The audio format, unless the client asks for one.
    pub(crate) format: Option<String>,
    /// Sent for each tenth of a second; `binary` sends the audio itself.
    #[serde(default)]
    pub(crate) chunk: String,
    #[serde(default)]
    pub(crate) binary: bool,
    /// Sent after it when the client asked for timestamps.
    pub(crate) timed: Option<String>,
    /// The frame of a failure that has none of its own here.
    pub(crate) error: String,
    /// The same for clients of an older version.
    pub(crate) legacy_error: Option<String>,
    /// Shapes of failures whose frames are this socket's own.
    #[serde(default)]
    pub(crate) native: Vec<String>,
    /// Codes after which the session goes on; `*` is all of them.
    #[serde(default)]
    pub(crate) stays: Vec<String>,
    /// How it is closed after all others.
    pub(crate) close: CloseTemplate,
    /// What a message leads to: the first one that matches.
    #[serde(default)]
    pub(crate) on: Vec<Reaction>,
}

/// The subprotocol that is answered, and the beginning of another one that carries the credentials.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Subprotocol {
    pub(crate) answer: String,
    pub(crate) token: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    pub(crate) max: usize,
    pub(crate) fault: String,
}

/// What one kind of message leads to.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reaction {
    /// Values that the JSON message has; `*` is any that is neither null nor empty. Dots lead deeper.
    #[serde(default)]
    when: BTreeMap<String, Value>,
    /// A message that is this very text.
    text: Option<String>,
    /// A binary message.
    #[serde(default)]
    binary: bool,
    /// Only the first time.
    #[serde(default)]
    pub(crate) first: bool,
    /// Drops what the context still has to send.
    #[serde(default)]
    pub(crate) cancel: bool,
    /// Sent before anything is spoken.
    #[serde(default)]
    pub(crate) before: Vec<String>,
    /// The field whose text is spoken.
    pub(crate) say: Option<String>,
    /// A text that is spoken.
    pub(crate) speak: Option<String>,
    /// Sent when all is spoken.
    #[serde(default)]
    pub(crate) after: Vec<String>,
    /// Whether the context ends with it.
    #[serde(default)]
    pub(crate) ends: bool,
    /// How the socket is closed in the end.
    pub(crate) close: Option<CloseTemplate>,
}

/// A message from the client.
pub(crate) enum ClientMessage {
    Json(Value),
    Text(String),
    Binary,
}

impl SocketEndpoint {
    /// Whether it has audio to send.
    pub(crate) fn speaks(&self) -> bool {
        self.binary || !self.chunk.is_empty()
    }
}

impl Reaction {
    /// What is to be spoken.
    pub(crate) fn words<'a>(&'a self, message: &'a ClientMessage) -> Option<&'a str> {
        self.say.as_ref().and_then(|path| message.text(path)).or(self.speak.as_deref())
    }

    /// Whether it answers `message`.
    pub(crate) fn matches(&self, message: &ClientMessage) -> bool {
        match message {
            ClientMessage::Binary => self.binary,
            ClientMessage::Text(text) => self.text.as_deref() == Some(text.trim()),
            ClientMessage::Json(json) => {
                let has = |(path, wanted): (&String, &Value)| match field(json, path) {
                    Some(value) if wanted == "*" => !matches!(value, Value::Null) && value != "",
                    value => value == Some(wanted),
                };
                !self.binary && self.text.is_none() && self.when.iter().all(has)
            }
        }
    }
}

impl ClientMessage {
    /// The text of a field, blanks at its ends removed.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        let ClientMessage::Json(json) = self else { return None };
        field(json, path)?.as_str().map(str::trim).filter(|text| !text.is_empty())
    }

    /// The fields of the message, as values for templates.
    pub(crate) fn fields(&self) -> Vars {
        match self {
            ClientMessage::Json(Value::Object(fields)) => fields.clone(),
            _ => Vars::new(),
        }
    }
}

/// The value at `a.b.0.c`.
pub(crate) fn field<'a>(json: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(json, |value, key| match key.parse::<usize>() {
        Ok(index) => value.get(index),
        Err(_) => value.get(key),
    })
}
