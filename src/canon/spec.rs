//! A provider profile as it is written: the vocabulary of `config/providers/*.toml` and `[providers.*]`.
//!
//! [`super::profile`] compiles it. Unknown keys are refused; everything is optional.

pub use super::codec::{Codec, CodecSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// A TOML table whose order matters to nobody: condition or code name to value.
pub type Table<T> = BTreeMap<String, T>;

/// One provider's failures, as data.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileSpec {
    /// The profile this one builds on. Lists given here are asked first, then the base's; tables are merged, these rows win.
    pub extends: Option<String>,
    /// What it was merged of, this one first: the name of each and what that says itself. Empty when it builds on none.
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
    /// Streams whose last event is known, so that an end without it is a failure.
    pub streams: Vec<StreamSpec>,
    /// Clients that read the provider's own errors: its SDKs, and plugins made for it. `envelope = "auto"` answers them in the
    /// compatible form.
    pub clients: Vec<ClientSpec>,
    /// Sockets whose messages are not bare JSON.
    pub codecs: Vec<CodecSpec>,
    /// Members of success bodies that hold URLs of the provider.
    pub rewrite: Vec<RewriteSpec>,
    /// Where secrets sit.
    pub secrets: SecretsSpec,
    /// How the provider counts concurrency and reports it.
    pub concurrency: ConcurrencySpec,
    /// What a request costs beside being one.
    pub cost: CostSpec,
    /// How the provider itself writes an error, for compatible routes.
    pub native: NativeSpec,
    /// What a route of this provider uses where its configuration says nothing.
    pub defaults: DefaultsSpec,
}

/// What a route uses where its configuration says nothing.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DefaultsSpec {
    /// `timeouts.response`: what the provider's own SDKs wait for an answer, such as `4m`.
    pub response: Option<String>,
    /// `max_request_body`: what the provider takes, such as `2GiB`.
    pub max_request_body: Option<String>,
}

/// One value or a list of them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// A single value.
    One(T),
    /// Several; the first that fits wins.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// The values as a slice.
    pub fn as_slice(&self) -> &[T] {
        match self {
            OneOrMany::One(value) => std::slice::from_ref(value),
            OneOrMany::Many(values) => values,
        }
    }
}

impl<T: Clone> OneOrMany<T> {
    /// The values as a list.
    #[must_use]
    pub fn to_vec(&self) -> Vec<T> {
        self.as_slice().to_vec()
    }
}

/// Reads a list; a single value stands for a list of one.
fn one_or_many<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(value) => vec![value],
        OneOrMany::Many(values) => values,
    })
}

/// Where a value is: `$.path`, `$.list[0]`, `$.list[?key=value]`, `$`, `h:name`, `www-authenticate:param`,
/// `xml:Element` (the text of the first such element), `http.status`, `ws.code`, `ws.reason`, `sse.event`, `text` (the whole
/// body), `text.title` (an HTML title). Where the body is a list, a path that begins with a name leads into its first entry.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SelectorSpec {
    /// Just the place.
    Place(String),
    /// The place and how to read it.
    Full(FullSelectorSpec),
}

/// A selector with a capture, a unit or a condition.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FullSelectorSpec {
    /// The place.
    pub from: String,
    /// A regular expression with one group; the group is the value, no match means no value.
    pub capture: Option<String>,
    /// For `retry_after`: seconds, milliseconds, date, epoch, duration; without it a number is seconds, else a date, else a duration.
    pub unit: Option<Unit>,
    /// Only asked when these conditions hold.
    #[serde(default)]
    pub when: Table<ConditionSpec>,
    /// For `code`: the code table (`spaces.NAME`) in which the value is looked up, instead of `codes`. `grpc` is there without
    /// being written.
    pub space: Option<String>,
}

/// The unit of a retry hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// A number of seconds, fractions allowed.
    Seconds,
    /// A number of milliseconds.
    Milliseconds,
    /// An HTTP date or RFC 3339.
    Date,
    /// Seconds since 1970; milliseconds when it is too large for seconds.
    Epoch,
    /// `1m39.7s`, `500ms`, `PT30S`.
    Duration,
}

/// What the value of a condition must be.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ConditionSpec {
    /// Equal to this (numbers and booleans compare as they are written).
    Is(Scalar),
    /// Equal to one of these.
    In(Vec<Scalar>),
    /// A test.
    Test(ConditionTestSpec),
}

/// A TOML scalar.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Scalar {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

impl Scalar {
    /// The scalar as it is compared.
    pub(crate) fn text(&self) -> Box<str> {
        match self {
            Scalar::Bool(truth) => truth.to_string().into(),
            Scalar::Int(number) => number.to_string().into(),
            Scalar::Float(number) => number.to_string().into(),
            Scalar::Text(text) => text.as_str().into(),
        }
    }
}

/// Tests beside equality; all that are given must hold.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConditionTestSpec {
    /// Whether there is a value (an empty string and `null` are none).
    pub exists: Option<bool>,
    /// Equal to none of these; holds when there is no value.
    pub not: Option<OneOrMany<Scalar>>,
    /// A regular expression found in the value.
    pub matches: Option<String>,
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
}

/// One way to recognise a failure that no HTTP status tells.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DetectorSpec {
    /// job, sse, ndjson, frame or close.
    pub phase: Phase,
    /// Method and path template, `GET /v1/jobs/{id}`; a method alone or `*` for every path. Without it every path. `{rest...}` takes several segments.
    pub path: Option<OneOrMany<String>>,
    /// Conditions, all of which must hold.
    #[serde(default)]
    pub when: Table<ConditionSpec>,
    /// This is not an error, though a later line might say so.
    #[serde(default)]
    pub ignore: bool,
    /// The member that holds the error and is replaced by the canonical object; `$.error` when it is there, else `error` is added. `$.error.data.gateway_error` adds beside.
    pub member: Option<String>,
    /// Whether the session or stream ends with it; the code's row may say otherwise.
    pub fatal: Option<bool>,
}

/// What a provider's code means: a canonical code, or that with more to say.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum MappingSpec {
    /// The canonical code.
    Code(String),
    /// The canonical code and what differs from its row.
    Full(FullMappingSpec),
}

impl MappingSpec {
    /// The canonical code's name.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            MappingSpec::Code(code) => code,
            MappingSpec::Full(full) => &full.code,
        }
    }
}

/// A canonical code and what differs from its row.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FullMappingSpec {
    /// The canonical code.
    pub code: String,
    /// The provider's documented answer to whether to retry.
    pub retryable: Option<bool>,
    /// A wait that the provider documents but does not send, in seconds.
    pub retry_after_seconds: Option<f64>,
    /// A type for all sorts of failures, such as `invalid_request_error`: it decides only where neither another code nor the
    /// status says something else.
    #[serde(default)]
    pub catch_all: bool,
    /// Whether it ends the session or stream.
    pub fatal: Option<bool>,
    /// The message when the provider sends none.
    pub message: Option<String>,
    /// Fixed extras for `details`.
    #[serde(default)]
    pub details: Table<String>,
    /// Where the provider documents it.
    pub doc_url: Option<String>,
}

/// One rule: every condition that is given must hold.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    /// The provider's code; `*` at either end stands for anything, `*` alone for any code or none. A whole code and `*` are asked
    /// before the code table, a family of codes after it.
    pub code: Option<OneOrMany<Scalar>>,
    /// The effective status: a number or a class such as `"5xx"`.
    pub status: Option<OneOrMany<StatusSpec>>,
    /// Where it was found.
    pub phase: Option<OneOrMany<Phase>>,
    /// The effective WebSocket close code.
    pub close: Option<OneOrMany<u16>>,
    /// Conditions over any selector.
    #[serde(default)]
    pub when: Table<ConditionSpec>,
    /// A regular expression found in title, message or text; asked last.
    pub message: Option<String>,
    /// What it means.
    pub then: MappingSpec,
}

/// A status or a class of them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum StatusSpec {
    /// `429`
    Exact(u16),
    /// `"4xx"`
    Class(String),
}

/// A list of validation errors in any of its forms.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectionSpec {
    /// The list or the map.
    pub each: String,
    /// Within an entry, the parameter: a path (`loc`, `a.b`), `@key` for the key of a map, or an array that is joined by dots.
    /// Of several the first that is there.
    pub param: Option<OneOrMany<String>>,
    /// Within an entry, the message: a path, `@value` for the entry or the map's value itself. Of several the first that is there.
    pub message: Option<OneOrMany<String>>,
    /// Leading elements of a path that are not part of the name (`body`, `query`).
    #[serde(default)]
    pub strip: Vec<String>,
}

/// A stream whose last event is known: one that ends without it, and without an error, was cut off.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamSpec {
    /// sse or ndjson.
    pub phase: Phase,
    /// Method and path template; every path without it.
    pub path: Option<OneOrMany<String>>,
    /// Conditions over the last event or line. Of several tables one has to hold.
    pub last: OneOrMany<Table<ConditionSpec>>,
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
}

/// How the provider counts concurrency and reports it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConcurrencySpec {
    /// What takes a slot; a request when nothing is said.
    pub unit: Option<ConcurrencyUnit>,
    /// Response header that tells the plan's cap.
    pub limit_header: Option<String>,
    /// Response header that tells how many are running.
    pub current_header: Option<String>,
    /// Sockets on which units begin and end. With the units `context` and `generation` a slot is taken for each; any other
    /// socket takes one for as long as it is open.
    pub sockets: Vec<SocketUnitsSpec>,
}

/// Where units begin and end on one kind of socket.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SocketUnitsSpec {
    /// Method and path template of its handshake; every path without it.
    pub path: Option<OneOrMany<String>>,
    /// Where the unit's id is, in messages of either side. Without it there is one at a time.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<SelectorSpec>")]
    pub id: Vec<SelectorSpec>,
    /// How many units one such socket takes at one time; a message that begins one more waits.
    #[schemars(range(min = 1))]
    pub max: Option<u32>,
    /// Conditions over a message of the client's that begins a unit, unless it is running.
    pub begins: OneOrMany<Table<ConditionSpec>>,
    /// Conditions over a message with which the client has said all that it has to say in a unit.
    pub last: Option<OneOrMany<Table<ConditionSpec>>>,
    /// Conditions over a message of the client's that ends a unit.
    pub cancels: Option<OneOrMany<Table<ConditionSpec>>>,
    /// Conditions over a message of the provider's that ends a unit. Its errors do so anyway.
    pub ends: OneOrMany<Table<ConditionSpec>>,
}

/// What takes one slot of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConcurrencyUnit {
    /// Each HTTP request and each socket.
    Request,
    /// Each socket; plain requests take none.
    Socket,
    /// Each context on a socket.
    Context,
    /// Only while audio is being generated.
    Generation,
}

/// What a request costs beside being one.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CostSpec {
    /// Where the text is in a JSON request body: `$.text`, or `$.inputs[*].text` for every entry of a list. All of them count.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub text: Vec<String>,
}

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
