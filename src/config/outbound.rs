//! Proxies that the environment names for outgoing connections, which this gateway does not use.

use super::problem::Problem;
use super::types::Route;
use std::sync::Arc;

/// A warning for each variable that other programs would take for the proxy towards a provider. Without it a gateway behind a
/// firewall would say no more than that its providers cannot be reached.
pub(super) fn ignored_proxies(routes: &[Arc<Route>], environment: &[(String, String)]) -> Vec<Problem> {
    let value = |wanted: &str| {
        let found =
            environment.iter().find(|(name, value)| name.eq_ignore_ascii_case(wanted) && !value.trim().is_empty());
        found.map(|(name, value)| (name.as_str(), value.as_str()))
    };
    let exempt: Vec<String> = value("NO_PROXY").map_or_else(Vec::new, |(_, list)| {
        list.split(',')
            .map(|entry| entry.trim().trim_start_matches("*.").trim_start_matches('.').to_lowercase())
            .collect()
    });
    let goes_direct = |host: &str| {
        let host = host.to_lowercase();
        exempt.iter().any(|entry| {
            let rest = host.strip_suffix(entry.as_str());
            entry == "*" || !entry.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    };
    let mut warnings = Vec::new();
    for (wanted, tls) in [("HTTPS_PROXY", true), ("HTTP_PROXY", false)] {
        let Some((name, _)) = value(wanted).or_else(|| value("ALL_PROXY")) else { continue };
        let mut upstreams = routes.iter().flat_map(|route| &route.upstreams);
        let Some(upstream) = upstreams.find(|upstream| upstream.tls == tls && !goes_direct(&upstream.host)) else {
            continue;
        };
        warnings.push(Problem::of_file(
            &format!("environment variable {name}"),
            format!(
                "names a proxy, but this gateway connects to {} and every other provider directly; allow it to, or name a \
                 forwarder that speaks HTTP as `upstream`, and list the providers in NO_PROXY to silence this warning",
                upstream.host
            ),
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use crate::config::load_str;

    const TEXT: &str = "[[routes]]\nname = \"a\"\nmatch = { path = \"/a\" }\nprovider = \"elevenlabs\"\nupstream = \"https://api.elevenlabs.io\"\n";

    #[test]
    fn a_proxy_that_is_not_used_is_told() {
        for (environment, told) in [
            (&[][..], ""),
            (&[("HTTPS_PROXY", "http://proxy:3128")], "HTTPS_PROXY"),
            (&[("https_proxy", "http://proxy:3128")], "https_proxy"),
            (&[("ALL_PROXY", "socks5://proxy:1080")], "ALL_PROXY"),
            (&[("HTTPS_PROXY", "")], ""),
            // No provider is reached without TLS.
            (&[("HTTP_PROXY", "http://proxy:3128")], ""),
            (&[("HTTPS_PROXY", "http://proxy:3128"), ("NO_PROXY", "localhost, .elevenlabs.io")], ""),
            (&[("HTTPS_PROXY", "http://proxy:3128"), ("no_proxy", "api.elevenlabs.io")], ""),
            (&[("HTTPS_PROXY", "http://proxy:3128"), ("NO_PROXY", "*")], ""),
            (&[("HTTPS_PROXY", "http://proxy:3128"), ("NO_PROXY", "labs.io")], "HTTPS_PROXY"),
        ] {
            let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let loaded = load_str(&[("gateway.toml", TEXT)], environment).expect("valid");
            let said: Vec<String> = loaded.warnings.iter().map(super::Problem::warning).collect();
            assert_eq!(said.len(), usize::from(!told.is_empty()), "{said:?}");
            assert!(
                said.iter().all(|said| said.starts_with(&format!("environment variable {told}: warning: "))),
                "{said:?}"
            );
        }
    }
}
