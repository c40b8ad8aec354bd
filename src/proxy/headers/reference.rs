//! A URL in an answer, and what it leads to among the upstreams of a route.

use crate::config::types::Upstream;
use http::uri::Authority;

/// An absolute reference, or one that leaves out the scheme (RFC 3986 4.2).
#[derive(Clone, Debug)]
pub(crate) struct Reference<'l> {
    /// Without its colon, in lower case; empty where it is left out.
    pub(crate) scheme: String,
    authority: Authority,
    /// Path, query and fragment.
    rest: &'l str,
}

impl<'l> Reference<'l> {
    /// Takes one apart; none when it is no such reference, or names a user.
    pub(crate) fn of(url: &'l str) -> Option<Reference<'l>> {
        let (scheme, rest) = url.trim_matches(|char: char| char <= ' ').split_once("//")?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let scheme = match scheme.strip_suffix(':') {
            Some(scheme) => scheme.to_ascii_lowercase(),
            None if scheme.is_empty() => String::new(),
            None => return None,
        };
        let authority: Authority = authority.parse().ok()?;
        (!authority.as_str().contains('@')).then_some(Reference { scheme, authority, rest })
    }

    /// What follows the base path of the upstream among these that it leads to. Of several that fit the one that answered is first:
    /// its scheme and port are also those of a reference that leaves them out.
    pub(crate) fn below(&self, upstreams: &[Upstream], answered: Option<&Upstream>) -> Option<&'l str> {
        answered.into_iter().chain(upstreams).find_map(|upstream| {
            let is_own = self.is_at(upstream, answered);
            is_own.then(|| below(self.rest, &upstream.base_path)).flatten()
        })
    }

    fn is_at(&self, upstream: &Upstream, answered: Option<&Upstream>) -> bool {
        let default_port = match (self.scheme.as_str(), answered) {
            ("https" | "wss", _) => 443,
            ("http" | "ws", _) => 80,
            ("", Some(answered)) if std::ptr::eq(answered, upstream) => upstream.port,
            ("", Some(answered)) => {
                if answered.tls {
                    443
                } else {
                    80
                }
            }
            _ => return false,
        };
        let bare = |host: &str| host.trim_matches(['[', ']']).to_ascii_lowercase();
        let named = self.authority.port_u16().unwrap_or(default_port);
        // A provider that redirects between its own http and https means itself in both.
        let is_usual = self.authority.port_u16().is_none_or(|given| given == default_port);
        let same_port = named == upstream.port || is_usual && matches!(upstream.port, 80 | 443);
        same_port && bare(self.authority.host()) == bare(&upstream.host)
    }
}

/// What follows this base path in a path; `/base` must not swallow the beginning of `/basement`.
pub(super) fn below<'l>(path: &'l str, base_path: &str) -> Option<&'l str> {
    let rest = path.strip_prefix(base_path)?;
    (rest.is_empty() || rest.starts_with(['/', '?', '#'])).then_some(rest)
}
