//! Idle WebSockets of a provider: whether it answers pings, and what keeps an idle socket open.

use super::spec::OneOrMany;
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

/// Those of a profile.
#[derive(Debug)]
pub(crate) struct KeepAlives(Vec<Arc<KeepAlive>>);

impl KeepAlives {
    pub(crate) fn compile(specs: &[KeepAliveSpec], problem: &mut dyn FnMut(String, String)) -> KeepAlives {
        let compile = |(index, spec)| KeepAlive::compile(&format!("websocket.keep_alive[{index}]"), spec, problem);
        KeepAlives(specs.iter().enumerate().map(compile).map(Arc::new).collect())
    }

    /// Whether one of them costs nothing.
    pub(crate) fn any_free(&self) -> bool {
        self.0.iter().any(|one| one.is_free())
    }

    /// The one for the socket that this request opens, if it costs nothing.
    pub(crate) fn of(&self, method: &str, path: &str) -> Option<&Arc<KeepAlive>> {
        self.0.iter().find(|one| one.covers(method, path)).filter(|one| one.is_free())
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
