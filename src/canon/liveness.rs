//! Idle WebSockets of a provider: whether it answers pings, and what keeps an idle socket open.

use super::condition::AnyOf;
use super::evidence::Evidence;
use super::redial::{RedialRule, RedialSpec};
use super::spec::{ConditionSpec, OneOrMany, Table};
use super::template::PathTemplate;
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;

/// How the provider's idle WebSockets behave.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebsocketSpec {
    /// Whether the provider answers pings, as RFC 6455 asks of everybody. One that does not is not pinged.
    pub answers_pings: Option<bool>,
    /// Messages that keep an idle socket open, where the route says `websocket = { keep_alive = "8s" }`.
    pub keep_alive: Vec<KeepAliveSpec>,
    /// Sockets that may be dialled again between generations, where the route says `websocket = { redial = true }`.
    pub redial: Vec<RedialSpec>,
    /// Conditions over a close by which the provider ends a socket on which nothing was said for long, or that is old.
    pub idle: Option<OneOrMany<Table<ConditionSpec>>>,
    /// Conditions over a close by which the provider ends a socket because a server of its own ends.
    pub drain: Option<OneOrMany<Table<ConditionSpec>>>,
}

/// A message that keeps one kind of socket open.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeepAliveSpec {
    /// Method and path template of the handshake; every path without it.
    pub path: Option<OneOrMany<String>>,
    /// The text message. The provider does not answer it.
    pub message: String,
    /// Whether it may be sent before the client's first message.
    #[serde(default)]
    pub before_first: bool,
    /// Whether the provider charges for it, or for the time that it keeps the socket open: then it is never sent.
    #[serde(default)]
    pub charged: bool,
}

/// The compiled form.
#[derive(Debug)]
pub struct KeepAlive {
    paths: Vec<PathTemplate>,
    /// The text message.
    pub message: String,
    /// Whether it may be sent before the client's first message.
    pub before_first: bool,
    charged: bool,
}

/// What a profile says of sockets.
#[derive(Debug)]
pub struct Sockets {
    answers_pings: bool,
    keep_alives: Vec<Arc<KeepAlive>>,
    redials: Vec<Arc<RedialRule>>,
    idle: AnyOf,
    drain: AnyOf,
}

impl Sockets {
    pub(crate) fn compile(spec: &WebsocketSpec, problem: &mut dyn FnMut(String, String)) -> Sockets {
        let mut keep_alives = Vec::new();
        for (index, one) in spec.keep_alive.iter().enumerate() {
            let at = format!("websocket.keep_alive[{index}]");
            keep_alives.push(Arc::new(KeepAlive::compile(&at, one, problem)));
        }
        let mut redials = Vec::new();
        for (index, one) in spec.redial.iter().enumerate() {
            redials.push(Arc::new(RedialRule::compile(&format!("websocket.redial[{index}]"), one, problem)));
        }
        Sockets {
            answers_pings: spec.answers_pings.unwrap_or(true),
            keep_alives,
            redials,
            idle: AnyOf::compile("websocket.idle", spec.idle.as_ref(), problem),
            drain: AnyOf::compile("websocket.drain", spec.drain.as_ref(), problem),
        }
    }

    /// Whether the provider's WebSockets answer pings.
    #[must_use]
    pub fn answer_pings(&self) -> bool {
        self.answers_pings
    }

    /// Whether the profile has a message that keeps some socket open and costs nothing.
    #[must_use]
    pub fn have_keep_alive(&self) -> bool {
        self.keep_alives.iter().any(|one| one.is_free())
    }

    /// The message that keeps a socket open which this request opens; none when there is none, or when it would be charged.
    #[must_use]
    pub fn keep_alive(&self, method: &str, path: &str) -> Option<&Arc<KeepAlive>> {
        self.keep_alives.iter().find(|one| one.covers(method, path)).filter(|one| one.is_free())
    }

    /// Whether the profile says of some socket that it may be dialled again.
    #[must_use]
    pub fn have_redial(&self) -> bool {
        !self.redials.is_empty()
    }

    /// How the socket that this request opens is dialled again; none when it may not be.
    #[must_use]
    pub fn redial(&self, method: &str, path: &str) -> Option<&Arc<RedialRule>> {
        self.redials.iter().find(|one| one.covers(method, path))
    }

    /// Whether a close ends a socket on which nothing was said for long, or that is old.
    #[must_use]
    pub fn are_idle(&self, evidence: &Evidence<'_>) -> bool {
        self.idle.holds(evidence)
    }

    /// Whether a close says that a server of the provider's ends.
    #[must_use]
    pub fn drain(&self, evidence: &Evidence<'_>) -> bool {
        self.drain.holds(evidence)
    }
}

impl KeepAlive {
    pub(crate) fn compile(at: &str, spec: &KeepAliveSpec, problem: &mut dyn FnMut(String, String)) -> KeepAlive {
        let mut paths = Vec::new();
        for path in spec.path.as_ref().map(OneOrMany::as_slice).unwrap_or_default() {
            match PathTemplate::parse(path) {
                Ok(path) => paths.push(path),
                Err(error) => problem(format!("{at}.path"), error),
            }
        }
        if spec.message.is_empty() {
            problem(format!("{at}.message"), "an empty message keeps nothing open".to_owned());
        }
        let KeepAliveSpec { message, before_first, charged, .. } = spec.clone();
        KeepAlive { paths, message, before_first, charged }
    }

    /// Whether it costs nothing.
    #[must_use]
    pub fn is_free(&self) -> bool {
        !self.charged
    }

    /// Whether it is for the socket that this request opens.
    #[must_use]
    pub fn covers(&self, method: &str, path: &str) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|template| template.matches(method, path))
    }
}
