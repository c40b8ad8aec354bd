//! URLs in responses, and which of a route's upstreams they point to.

use crate::config::types::Upstream;
use http::uri::Authority;

/// An absolute reference, or one that leaves out the scheme (RFC 3986 4.2).
#[derive(Clone, Debug)]
pub(crate) struct Reference<'l> {
    /// Without its colon, in lower case; empty in a scheme-relative reference.
    pub(crate) scheme: String,
    authority: Authority,
    /// Path, query and fragment.
    rest: &'l str,
}

impl<'l> Reference<'l> {
    /// Parses one; none when it is not such a reference, or contains a user.
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

    /// The path below the base path of the upstream that it points to. Of several matching upstreams the one that responded takes
    /// precedence, and supplies the scheme and port that a reference leaves out.
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

/// The part of a path after this base path; `/base` must not match the beginning of `/basement`.
pub(super) fn below<'l>(path: &'l str, base_path: &str) -> Option<&'l str> {
    let rest = path.strip_prefix(base_path)?;
    (rest.is_empty() || rest.starts_with(['/', '?', '#'])).then_some(rest)
}
