//! This gateway's address as clients see it: heads and URLs of a provider are rewritten to it.

use super::context::RoutedContext;
use super::headers::{Incoming, PublicAddress};
use http::{Uri, Version};

impl RoutedContext {
    /// How the client reached this gateway.
    pub(crate) fn public_address(&self) -> PublicAddress<'_> {
        let told = self.told.as_ref();
        let authority = told.and_then(|told| told.authority.as_ref()).or(self.authority.as_ref());
        PublicAddress {
            url: self.state.config.server.public_url.as_ref(),
            tls: told.and_then(|told| told.tls).unwrap_or(self.peer.tls),
            authority: authority.and_then(|authority| authority.to_str().ok()),
        }
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
    /// `wss` becomes `ws` where this gateway is reached without TLS.
    pub(crate) fn public_url(&self, url: &str) -> Option<String> {
        let parsed: Uri = url.parse().ok()?;
        let (scheme, authority) = (parsed.scheme_str()?, parsed.authority()?);
        let secure = matches!(scheme, "https" | "wss");
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let own = Some(&self.route.config);
        let is_own = own.filter(|own| own.upstream_at(host, port).is_some());
        let route = is_own.or_else(|| self.state.route_to(host, port))?;
        let base_path = &route.upstream_at(host, port)?.base_path;
        let rest = parsed.path_and_query().map_or("/", |target| target.as_str());
        let rest = rest.strip_prefix(base_path.as_str())?;
        let base = self.base_url()?;
        let base = match (scheme.starts_with("ws"), base.split_once("://")?) {
            (true, ("https", rest)) => format!("wss://{rest}"),
            (true, (_, rest)) => format!("ws://{rest}"),
            (false, _) => base,
        };
        Some(format!("{base}{}{rest}", route.path))
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
