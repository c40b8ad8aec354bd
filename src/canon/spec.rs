//! A provider profile as it is written: the vocabulary of `config/providers/*.toml` and `[providers.*]`.
//!
//! [`super::profile`] compiles it. Unknown keys are refused; everything is optional.

mod detector;
mod generation;
mod mapping;
mod native;
mod selector;
mod units;
mod values;

pub use super::codec::{Codec, CodecSpec};
pub use super::liveness::WebsocketSpec;
pub use detector::{DetectorSpec, StreamSpec};
pub use generation::{AudioMemberSpec, AudioSpec, FormatSpec, GenerationKind, GenerationSpec};
pub use mapping::{FullMappingSpec, MappingSpec, ProjectionSpec, RuleSpec, StatusSpec};
pub use native::NativeSpec;
pub use selector::{ConditionSpec, ConditionTestSpec, FullSelectorSpec, Scalar, SelectorSpec, Unit};
pub use units::{CharacterUnit, ConcurrencySpec, ConcurrencyUnit, CostSpec};
pub use values::{OneOrMany, Table};

use schemars::JsonSchema;
use serde::Deserialize;
use values::one_or_many;

/// One provider's failures, as data.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileSpec {
    /// The profile this one builds on. Lists given here are asked first, then the base's; tables are merged, these rows win.
    pub extends: Option<String>,
    /// The profiles that it was merged from, this one first, with the spec of each as written. Empty when it extends none.
    #[serde(skip)]
    #[schemars(skip)]
    pub parts: Vec<(String, ProfileSpec)>,
    /// Which 2xx bodies, events, lines, frames and closes are failures. First match wins; an HTTP status of 400 or more always is one.
    pub errors: Vec<DetectorSpec>,
    /// Where the provider's own error code is.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<SelectorSpec>")]
    pub code: Vec<SelectorSpec>,
    /// Where the provider's own error type or class is.
    #[serde(rename = "type", deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<SelectorSpec>")]
    pub kind: Vec<SelectorSpec>,
    /// Where the short title is; joined with the message when both say something.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<SelectorSpec>")]
    pub title: Vec<SelectorSpec>,
    /// Where the message for people is.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<SelectorSpec>")]
    pub message: Vec<SelectorSpec>,
    /// Where a status is that stands in for a missing or 2xx one.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<SelectorSpec>")]
    pub status: Vec<SelectorSpec>,
    /// Where a close code is that stands in for the frame's own (`ws.code` when empty).
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<SelectorSpec>")]
    pub close: Vec<SelectorSpec>,
    /// Where the provider's request id is.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<SelectorSpec>")]
    pub request_id: Vec<SelectorSpec>,
    /// Where the name of the wrong parameter is.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<SelectorSpec>")]
    pub param: Vec<SelectorSpec>,
    /// Where a link to documentation is.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<SelectorSpec>")]
    pub doc_url: Vec<SelectorSpec>,
    /// Where the time to wait is, each with its unit.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<SelectorSpec>")]
    pub retry_after: Vec<SelectorSpec>,
    /// Where the provider says whether to retry (true, false, yes, no); beats the code's default.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<SelectorSpec>")]
    pub retryable: Vec<SelectorSpec>,
    /// Where the context, turn or utterance id of a stream is.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<SelectorSpec>")]
    pub context_id: Vec<SelectorSpec>,
    /// Where the provider says that a context is done.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<SelectorSpec>")]
    pub done: Vec<SelectorSpec>,
    /// Extras for `details`: name to where it is.
    pub details: Table<OneOrMany<SelectorSpec>>,
    /// Lists of validation errors, for `details.validation_errors`.
    pub validation: Vec<ProjectionSpec>,
    /// The provider's code (exact, case-sensitive) to what it means.
    pub codes: Table<MappingSpec>,
    /// Further code tables, for codes that are numbers of another space (JSON-RPC, gRPC): name of the space to its table.
    pub spaces: Table<Table<MappingSpec>>,
    /// Ordered rules; the first that matches wins. Rules that name a whole code, or `*`, are asked before the code table; those for
    /// a family of codes (`UPSTREAM_*`) and those without a code after it.
    pub rules: Vec<RuleSpec>,
    /// Pieces of work that the provider is asked for: where one begins and ends, where its text and its audio are. The first whose
    /// path fits a request is its own.
    pub generations: Vec<GenerationSpec>,
    /// Streams whose last event is known, so that an end without it is a failure.
    pub streams: Vec<StreamSpec>,
    /// Clients that read the provider's own errors: its SDKs, and plugins made for it. `envelope = "auto"` answers them in the
    /// compatible form.
    pub clients: Vec<ClientSpec>,
    /// Sockets whose messages are not bare JSON.
    pub codecs: Vec<CodecSpec>,
    /// Members of success bodies that hold URLs of the provider.
    pub rewrite: Vec<RewriteSpec>,
    /// Header fields of answers that hold a URL of the provider, beside those that do everywhere (`Location`, `Link`).
    pub url_headers: Vec<String>,
    /// Where secrets sit.
    pub secrets: SecretsSpec,
    /// How the provider counts concurrency and reports it.
    pub concurrency: ConcurrencySpec,
    /// What a request costs beside being one.
    pub cost: CostSpec,
    /// How the provider's idle WebSockets behave.
    pub websocket: WebsocketSpec,
    /// How the provider itself writes an error, for compatible routes.
    pub native: NativeSpec,
    /// Defaults for routes of this provider.
    pub defaults: DefaultsSpec,
}

/// Defaults for routes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DefaultsSpec {
    /// `timeouts.response`: what the provider's own SDKs wait for an answer, such as `4m`.
    pub response: Option<String>,
    /// `max_request_body`: what the provider takes, such as `2GiB`.
    pub max_request_body: Option<String>,
    /// How long the provider keeps a connection on which no request comes, such as `60s`: warm connections are renewed before.
    pub idle_limit: Option<String>,
}

/// Where an error is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The answer to a WebSocket upgrade that was refused.
    Handshake,
    /// An HTTP answer.
    Http,
    /// A Server-Sent Event.
    Sse,
    /// A line of newline-separated JSON.
    Ndjson,
    /// A WebSocket text message.
    Frame,
    /// A WebSocket close.
    Close,
    /// A connection that ended without a close.
    Abort,
    /// A failure inside a 2xx answer: a polled job, JSON-RPC.
    Job,
    /// The status with which a gRPC call ended.
    Grpc,
}

/// URLs of the provider inside success bodies.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RewriteSpec {
    /// Method and path template.
    pub path: OneOrMany<String>,
    /// The members that hold the URLs.
    pub members: Vec<String>,
}

/// Where secrets sit.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SecretsSpec {
    /// Request headers, first the one that carries the provider's key.
    pub headers: Vec<String>,
    /// Query parameters.
    pub query: Vec<String>,
    /// Prefixes of WebSocket subprotocols whose rest is the secret.
    pub subprotocols: Vec<String>,
    /// Words of which each stands before a WebSocket subprotocol that is the secret: `token` in `token, KEY`.
    pub subprotocol_pairs: Vec<String>,
    /// Members of the first WebSocket messages.
    pub messages: Vec<String>,
    /// Sockets whose clients may show their key in the first message and nowhere before.
    pub first_messages: Vec<FirstMessageSpec>,
}

/// Sockets whose clients may show their key in the first message
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FirstMessageSpec {
    /// Method and path template of the handshake.
    pub path: OneOrMany<String>,
    /// The members of the message that hold the key.
    pub members: Vec<String>,
}

/// One kind of client. Everything that is given must hold, and something must be given.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientSpec {
    /// Its name, for people.
    pub name: String,
    /// Words, one of which is in `User-Agent`.
    pub user_agent: Option<OneOrMany<String>>,
    /// Header fields, all of which it sends.
    #[serde(default)]
    pub headers: Vec<String>,
    /// Query parameters, all of which it sends.
    #[serde(default)]
    pub query: Vec<String>,
}
