//! Codecs: how the messages of a socket hold what they say, where it is not bare JSON.

use super::spec::OneOrMany;
use super::template::PathTemplate;
use schemars::JsonSchema;
use serde::Deserialize;

/// How a body or a message holds what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// Text with a block of header fields before it, which `h:name` reads.
    Headed,
    /// Binary messages of AWS; `h:exception-type` reads the field `:exception-type`.
    EventStream,
    /// MessagePack.
    Msgpack,
    /// CBOR.
    Cbor,
}

/// Sockets whose messages are coded.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CodecSpec {
    /// headed, event_stream, msgpack or cbor.
    pub codec: Codec,
    /// Method and path template of the handshake; every path without it.
    pub path: Option<OneOrMany<String>>,
}

/// The compiled form.
#[derive(Debug)]
pub(crate) struct CodedSockets {
    pub(crate) codec: Codec,
    paths: Vec<PathTemplate>,
}

impl Codec {
    /// Whether its messages are binary.
    #[must_use]
    pub fn is_binary(self) -> bool {
        match self {
            Codec::Headed => false,
            Codec::EventStream | Codec::Msgpack | Codec::Cbor => true,
        }
    }

    /// Whether a message has header fields of its own.
    #[must_use]
    pub fn has_fields(self) -> bool {
        match self {
            Codec::Headed | Codec::EventStream => true,
            Codec::Msgpack | Codec::Cbor => false,
        }
    }
}

impl CodedSockets {
    pub(crate) fn compile(at: &str, spec: &CodecSpec, problem: &mut dyn FnMut(String, String)) -> CodedSockets {
        let mut paths = Vec::new();
        for path in spec.path.as_ref().map(OneOrMany::as_slice).unwrap_or_default() {
            match PathTemplate::parse(path) {
                Ok(path) => paths.push(path),
                Err(error) => problem(format!("{at}.path"), error),
            }
        }
        CodedSockets { codec: spec.codec, paths }
    }

    /// Whether this request opens such a socket; true when the request is unknown.
    pub(crate) fn cover(&self, request: Option<(&str, &str)>) -> bool {
        let here = |(method, path)| self.paths.iter().any(|template| template.matches(method, path));
        self.paths.is_empty() || request.is_none_or(here)
    }
}
