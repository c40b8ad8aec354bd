//! The limit on open files and sockets of the process.

use crate::config::types::{Config, Route, Upstream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::HashMap;
use std::sync::Arc;

/// Descriptors for other uses than connections: logs, listeners, runtimes, configuration files while they are read.
const OTHERS: u64 = 64;

/// Raises the soft limit to the hard limit, which does no harm in this program, and warns when it is too low for the
/// configuration.
pub(super) fn provide(config: &Config) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(_) => limit.current,
    };
    if let Some(problem) = shortage(limit, config.server.max_connections, kept(&config.routes)) {
        tracing::warn!("{problem}");
    }
}

/// How many warm connections there may be; routes with the same upstream share them.
fn kept(routes: &[Arc<Route>]) -> usize {
    let mut upstreams: HashMap<&Upstream, usize> = HashMap::new();
    for route in routes.iter().filter(|route| route.warm.connections > 0) {
        for upstream in &route.upstreams {
            let most = upstreams.entry(upstream).or_default();
            *most = route.warm.max_idle.max(*most);
        }
    }
    upstreams.into_values().sum()
}

/// The warning when the limit is too low; none without a limit. Each client connection may need a second one to a provider.
fn shortage(limit: Option<u64>, max_connections: usize, kept: usize) -> Option<String> {
    let [connections, kept_ahead] = [max_connections, kept].map(|number| u64::try_from(number).unwrap_or(u64::MAX));
    let needed = connections.saturating_mul(2).saturating_add(kept_ahead).saturating_add(OTHERS);
    let limit = limit.filter(|limit| *limit < needed)?;
    let (warm, lower) = match kept {
        0 => (String::new(), ""),
        _ => (format!(" and {kept} warm connections"), " or what `warm` keeps"),
    };
    Some(format!(
        "server.max_connections = {max_connections}{warm} can need {needed} descriptors, and this process may have {limit}: raise the \
         limit (LimitNOFILE of systemd, ulimit -Hn, --ulimit nofile of docker) or lower server.max_connections{lower}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_str;

    const SERVER: &str = "[server]\nlisten = '127.0.0.1:1'\n[admin]\nenabled = false\n";

    /// A configuration with one route for each pair of a port and a `warm` setting.
    fn config(routes: &[(u16, &str)]) -> Config {
        let route = |(name, (port, warm)): (usize, &(u16, &str))| {
            format!(
                "[[routes]]\nname = '{name}'\nmatch = {{ path = '/{name}' }}\nprovider = 'generic'\nupstream = 'http://127.0.0.1:{port}'\n{warm}\n"
            )
        };
        let routes: String = routes.iter().enumerate().map(route).collect();
        load_str(&[("t.toml", &format!("{SERVER}{routes}"))], []).expect("a configuration").config
    }

    #[test]
    fn a_limit_too_low_for_the_connections_is_reported() {
        for (limit, max_connections, kept, short) in [
            (Some(1024), 10_000, 0, true),
            (Some(20_063), 10_000, 0, true),
            (Some(20_064), 10_000, 0, false),
            (Some(20_064), 10_000, 1, true),
            (Some(20_080), 10_000, 16, false),
            (Some(1024), 100, 0, false),
            (None, 10_000, 100, false),
            (Some(u64::MAX), usize::MAX, usize::MAX, false),
        ] {
            let told = shortage(limit, max_connections, kept);
            assert_eq!(told.is_some(), short, "{limit:?} {max_connections} {kept}");
            assert_eq!(told.is_some_and(|told| told.contains("warm")), short && kept > 0, "{limit:?} {kept}");
        }
    }

    #[test]
    fn warm_connections_count_as_descriptors() {
        let (two, one) = ("warm = { connections = 2, max_idle = 4 }", "warm = { connections = 1, max_idle = 3 }");
        for (routes, expected) in [
            (&[(1, "")][..], 0),
            (&[(1, "warm = { max_idle = 9 }")], 0),
            (&[(1, "warm = { connections = 2 }")], 16),
            (&[(1, two), (1, one)], 4),
            (&[(1, two), (1, ""), (2, one)], 4 + 3),
        ] {
            assert_eq!(kept(&config(routes).routes), expected, "{routes:?}");
        }
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        provide(&config(&[(1, "")]));
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
