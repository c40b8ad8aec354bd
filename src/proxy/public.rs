//! This gateway's address as clients see it. Heads and URLs of a provider are rewritten to it.

use super::context::RoutedContext;
use super::headers::{Incoming, PublicAddress, Reference};
use http::{HeaderValue, Version};

impl RoutedContext {
    /// How the client reached this gateway.
    pub(crate) fn public_address(&self) -> PublicAddress<'_> {
        PublicAddress {
            url: self.state.config.server.public_url.as_ref(),
            tls: self.told.as_ref().and_then(|told| told.tls).unwrap_or(self.peer.tls),
            authority: self.public_authority().and_then(|authority| authority.to_str().ok()),
        }
    }

    /// The host that the client asked for.
    pub(crate) fn public_authority(&self) -> Option<&HeaderValue> {
        self.told.as_ref().and_then(|told| told.authority.as_ref()).or(self.authority.as_ref())
    }

    /// Everything that rewriting a provider's head for the client depends on.
    pub(crate) fn incoming(&self, version: Version) -> Incoming<'_> {
        Incoming {
            version,
            route: &self.route.headers,
            upstream: self.destination.upstream,
            request_id: &self.id,
            public: self.public_address(),
        }
    }

    /// The URL at this gateway that leads to `url` at a provider; none when no route does. The kind of scheme is kept: `wss`
    /// becomes `ws` where this gateway is reached without TLS, and a URL without a scheme has none afterwards.
    pub(crate) fn public_url(&self, url: &str) -> Option<String> {
        let named = Reference::of(url)?;
        let sockets = match named.scheme.as_str() {
            "" | "http" | "https" => false,
            "ws" | "wss" => true,
            _ => return None,
        };
        let own = &self.route.config;
        let answered = own.upstreams.get(self.destination.upstream);
        let others = || {
            self.state.config.routes.iter().find_map(|route| Some((route, named.below(&route.upstreams, answered)?)))
        };
        let (route, rest) = named.below(&own.upstreams, answered).map(|rest| (own, rest)).or_else(others)?;
        let base = self.public_address().origin();
        let base = match base.split_once("://")? {
            (_, at) if named.scheme.is_empty() => format!("//{at}"),
            ("https", at) if sockets => format!("wss://{at}"),
            (_, at) if sockets => format!("ws://{at}"),
            _ => base,
        };
        let slash = if rest.is_empty() { "/" } else { "" };
        Some(format!("{base}{}{slash}{rest}", route.path))
    }
}
