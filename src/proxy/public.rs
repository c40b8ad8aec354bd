//! This gateway's address as clients see it: heads and URLs of a provider are rewritten to it.

use super::context::RoutedContext;
use super::headers::{Incoming, PublicAddress};
use http::uri::Authority;
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

    /// What determines how a provider's head is rewritten for the client.
    pub(crate) fn incoming(&self, version: Version) -> Incoming<'_> {
        Incoming {
            version,
            route: &self.route.headers,
            upstream: self.destination.upstream,
            request_id: &self.id,
            public: self.public_address(),
        }
    }

    /// The URL at this gateway that leads to `url` at a provider; none when no route leads there. The scheme keeps its kind:
    /// `wss` becomes `ws` where this gateway is reached without TLS, and a URL without one stays so.
    pub(crate) fn public_url(&self, url: &str) -> Option<String> {
        let (scheme, rest) = url.trim_matches(|char: char| char <= ' ').split_once("//")?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let authority: Authority = authority.parse().ok()?;
        let (sockets, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "https:" => (false, 443),
            "wss:" => (true, 443),
            "http:" => (false, 80),
            "ws:" => (true, 80),
            "" => (false, self.route.config.upstreams.get(self.destination.upstream).map_or(443, |at| at.port)),
            _ => return None,
        };
        let port = authority.port_u16().unwrap_or(default_port);
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let own = Some(&self.route.config);
        let is_own = own.filter(|own| own.upstream_at(&host, port).is_some());
        let route = is_own.or_else(|| self.state.route_to(&host, port))?;
        let base_path = &route.upstream_at(&host, port)?.base_path;
        let rest = rest.strip_prefix(base_path.as_str())?;
        // `/base` must not swallow the beginning of `/basement`.
        if !(rest.is_empty() || rest.starts_with(['/', '?', '#'])) {
            return None;
        }
        let base = self.base_url()?;
        let base = match base.split_once("://")? {
            (_, at) if scheme.is_empty() => format!("//{at}"),
            ("https", at) if sockets => format!("wss://{at}"),
            (_, at) if sockets => format!("ws://{at}"),
            _ => base,
        };
        let slash = if rest.is_empty() { "/" } else { "" };
        Some(format!("{base}{}{slash}{rest}", route.path))
    }

    fn base_url(&self) -> Option<String> {
        let public = self.public_address();
        match (public.url, public.authority) {
            (Some(url), _) => Some(url.to_string().trim_end_matches('/').to_owned()),
            (None, Some(authority)) => Some(format!("{}://{authority}", if public.tls { "https" } else { "http" })),
            (None, None) => None,
        }
    }
}
