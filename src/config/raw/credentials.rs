//! The keys of `credentials`.

use schemars::JsonSchema;
use serde::Deserialize;

/// `credentials`: one account, or several.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum CredentialsList {
    /// One.
    One(Box<Credentials>),
    /// Several.
    Many(Vec<Credentials>),
}

/// One entry of `credentials`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Credentials {
    /// What is put in, whole; `${NAME}` and `${file:/path}` are filled in. It may be left out when every place says its own.
    pub(in crate::config) value: Option<String>,
    /// The header that carries them, in every request. At least one of the four places must be given.
    pub(in crate::config) header: Option<PlaceText>,
    /// The query parameter that carries them: in WebSocket handshakes, and in every request when there is no `header`.
    pub(in crate::config) query: Option<PlaceText>,
    /// How the WebSocket subprotocol begins that ends with them; or a table with `after`, the subprotocol behind which they stand.
    pub(in crate::config) subprotocol: Option<SubprotocolText>,
    /// The member of a WebSocket's first text message, a JSON object, that carries them.
    pub(in crate::config) first_message: Option<PlaceText>,
}

/// A place of credentials: its name, or a table that also says how they are spelled there.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum PlaceText {
    /// Its name.
    Name(String),
    /// Its name and what stands there.
    Spelled(SpelledPlace),
}

/// A place of credentials with a spelling of its own
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct SpelledPlace {
    /// Its name.
    #[schemars(required)]
    pub(in crate::config) name: Option<String>,
    /// What stands there, such as `Bearer ${KEY}`. Default: the `value` of the credentials.
    pub(in crate::config) value: Option<String>,
}

/// Where in the offer of WebSocket subprotocols credentials stand.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum SubprotocolText {
    /// How the one begins that ends with them.
    Prefix(String),
    /// A table.
    Spelled(SpelledSubprotocol),
}

/// The subprotocol of credentials, in full
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct SpelledSubprotocol {
    /// How the one begins that ends with them. This or `after` must be there.
    pub(in crate::config) prefix: Option<String>,
    /// The one behind which they stand: `token` for `token, KEY`.
    pub(in crate::config) after: Option<String>,
    /// What stands there. Default: the `value` of the credentials.
    pub(in crate::config) value: Option<String>,
}
