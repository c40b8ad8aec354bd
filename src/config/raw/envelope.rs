//! The keys of `envelope`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The form of errors on a route.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Envelope {
    #[default]
    Canonical,
    Compatible,
    Problem,
    Auto,
}

/// `envelope`: one form, or one by transport.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum EnvelopeChoice {
    /// One.
    One(Envelope),
    /// By transport.
    Each(EnvelopeTable),
}

/// `envelope`, by transport
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a table", extend("examples" = ["{ http = \"canonical\", websocket = \"compatible\" }"]))]
pub(in crate::config) struct EnvelopeTable {
    /// Of answers, refused WebSocket handshakes among them.
    #[schemars(extend("default" = Envelope::default()))]
    pub(in crate::config) http: Option<Envelope>,
    /// Of Server-Sent Events. Default: that of `http`.
    pub(in crate::config) sse: Option<Envelope>,
    /// Of newline-separated JSON. Default: that of `http`.
    pub(in crate::config) ndjson: Option<Envelope>,
    /// Of WebSocket messages and closes. Default: that of `http`.
    pub(in crate::config) websocket: Option<Envelope>,
    /// Of gRPC calls; `problem` is `canonical` there. Default: that of `http`.
    pub(in crate::config) grpc: Option<Envelope>,
    /// Which status compatible answers have. Default `provider`, but where the profile says that SDKs would try again in vain.
    pub(in crate::config) status: Option<EnvelopeStatus>,
}

/// Which status compatible answers have.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum EnvelopeStatus {
    Provider,
    Canonical,
}
