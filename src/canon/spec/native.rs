//! Templates: how the provider itself writes an error.

use super::Table;
use schemars::JsonSchema;
use serde::Deserialize;

/// How the provider itself writes an error. In templates `{type}` `{code}` `{message}` `{title}` `{status}` `{request_id}`
/// `{timestamp}` `{retry_after}` `{retryable}` `{close}` `{context_id}` `{param}` are filled in; a string that is one placeholder alone takes the
/// value's own JSON type, and a member whose value is missing is left out.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NativeSpec {
    /// JSON template of an HTTP error body.
    pub http: Option<String>,
    /// JSON template of the data of an SSE error event.
    pub sse: Option<String>,
    /// JSON template of an NDJSON error line.
    pub ndjson: Option<String>,
    /// JSON template of a WebSocket error message.
    pub frame: Option<String>,
    /// JSON template of the WebSocket message before a close, where clients raise for the close but not for a message about one of
    /// their contexts; else `frame`, once for each context that ends.
    pub closing: Option<String>,
    /// JSON template of the WebSocket message that refuses a session, where SDKs wait for one until the session has begun: it
    /// stands in for `frame` until then, and follows an error of the provider's own that they do not take for a refusal.
    pub refusal: Option<String>,
    /// Canonical code or type to the provider's `{code}`; else the first row of `codes` that means it, else the canonical name.
    pub codes: Table<String>,
    /// Canonical code or type to the provider's `{type}`; else the canonical type.
    pub types: Table<String>,
    /// Canonical code or type to the HTTP status that the provider uses, where it differs.
    pub statuses: Table<u16>,
    /// Further words for templates: the name of a placeholder to a table from canonical code or type, or `*` for all others, to what
    /// stands there.
    pub words: Table<Table<String>>,
    /// Canonical codes or types whose answers have the canonical status in the compatible form too: the provider's own makes SDKs try
    /// again what cannot succeed.
    pub canonical_status: Vec<String>,
}
