//! A canonical error: what happened, whose fault it is, whether to retry, what we say, what the provider said.

use super::code::Code;
use super::fault::{Fault, Origin};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// One failure in the closed vocabulary. Every field is decided at construction.
#[derive(Clone, Debug)]
pub struct CanonicalError {
    /// What happened.
    pub code: Code,
    /// Who caused it.
    pub origin: Origin,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// How long to wait first.
    pub retry_after: Option<Duration>,
    /// For people: the provider's own words when there are any.
    pub message: String,
    /// Which parameter is wrong.
    pub param: Option<String>,
    /// The provider's link.
    pub doc_url: Option<String>,
    /// Structured extras.
    pub details: Map<String, Value>,
    /// What the provider really sent; `None` when it sent nothing.
    pub upstream: Option<Box<UpstreamError>>,
    /// The fault, when the error does not come from the provider.
    pub fault: Option<Fault>,
    /// Context, turn or utterance of a stream.
    pub context_id: Option<String>,
    /// Whether the context is done, in the provider's words.
    pub done: Option<bool>,
    /// Whether the session or stream ends with it; none when nobody said.
    pub fatal: Option<bool>,
    /// Whether it concerns only this request, which is too large for what the account has left.
    pub of_request: bool,
    /// The provider's code as a metric label: from the profile's table, else `other`, `none` without a code.
    pub upstream_label: Arc<str>,
    /// Whether the provider sent a code that its profile does not have.
    pub unmapped: bool,
}

/// What the provider really said.
#[derive(Clone, Debug, Default)]
pub struct UpstreamError {
    /// Its HTTP status.
    pub status: Option<u16>,
    /// Its WebSocket close code.
    pub close: Option<u16>,
    /// Its gRPC status.
    pub grpc: Option<u16>,
    /// Its code, in its words.
    pub code: Option<String>,
    /// Its type or class, in its words.
    pub kind: Option<String>,
    /// Its request id.
    pub request_id: Option<String>,
    /// Its body.
    pub body: Option<UpstreamBody>,
    /// Whether the body was cut by the bound.
    pub truncated: bool,
}

/// A provider's body: JSON as JSON, the rest as text.
#[derive(Clone, Debug)]
pub enum UpstreamBody {
    /// Valid JSON, byte for byte.
    Json(String),
    /// Anything else, as UTF-8.
    Text(String),
}

impl CanonicalError {
    /// The HTTP status of this error: its code's, whatever the provider sent.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.fault.filter(|fault| fault.code() == self.code).map_or(self.code.status(), Fault::status)
    }

    /// A failure that does not come from the provider.
    #[must_use]
    pub fn from_fault(fault: Fault) -> CanonicalError {
        CanonicalError {
            code: fault.code(),
            origin: fault.origin(),
            retryable: fault.code().row().retryable,
            retry_after: None,
            message: fault.sentence().to_owned(),
            param: None,
            doc_url: None,
            details: Map::new(),
            upstream: None,
            fault: Some(fault),
            context_id: None,
            done: None,
            fatal: Some(true),
            of_request: false,
            upstream_label: Arc::from("none"),
            unmapped: false,
        }
    }
}
