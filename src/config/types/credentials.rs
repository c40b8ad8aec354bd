//! Credentials of a route, and the places that they are put into.

use crate::config::secret::Secret;
use http::HeaderName;

/// `credentials`
#[derive(Clone, Debug)]
pub struct Credentials {
    /// What is put into requests, in at least one of the places below.
    pub value: Secret,
    /// The header whose whole value they are, in every request.
    pub header: Option<HeaderName>,
    /// The query parameter that carries them: in WebSocket handshakes, and in every request when there is no header.
    pub query: Option<String>,
    /// The WebSocket subprotocol that carries them.
    pub subprotocol: Option<SubprotocolPlace>,
    /// The member of a WebSocket's first text message, a JSON object, that carries them.
    pub first_message: Option<String>,
    /// Places where they are spelled otherwise than in `value`.
    pub spellings: Spellings,
}

/// Where in the offer of WebSocket subprotocols credentials stand.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SubprotocolPlace {
    /// At the end of the subprotocol that begins so.
    Prefix(String),
    /// They are the subprotocol behind this one.
    After(String),
}

/// What stands in a place instead of the value that all share.
#[derive(Clone, Debug, Default)]
pub struct Spellings {
    /// In the header.
    pub header: Option<Secret>,
    /// In the query.
    pub query: Option<Secret>,
    /// In the subprotocol.
    pub subprotocol: Option<Secret>,
    /// In the first message.
    pub first_message: Option<Secret>,
}

impl Credentials {
    /// Every spelling.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        let Spellings { header, query, subprotocol, first_message } = &self.spellings;
        let others = [header, query, subprotocol, first_message].into_iter().flatten();
        std::iter::once(&self.value).chain(others).map(Secret::reveal)
    }
}
