//! How many files and sockets the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors besides those of connections: logs, listeners, runtimes, configuration files while they are read.
const OTHERS: u64 = 64;

/// Raises the soft limit to the hard one, since high descriptor numbers harm nothing here, and warns when it is too low for the
/// allowed connections. Each may need a second one to a provider.
pub(super) fn provide(max_connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(_) => limit.current,
    };
    if let Some(problem) = shortage(limit, max_connections) {
        tracing::warn!("{problem}");
    }
}

/// The warning when a limit is too low; none when there is no limit.
fn shortage(limit: Option<u64>, max_connections: usize) -> Option<String> {
    let needed = u64::try_from(max_connections).unwrap_or(u64::MAX).saturating_mul(2).saturating_add(OTHERS);
    let limit = limit.filter(|limit| *limit < needed)?;
    Some(format!(
        "server.max_connections = {max_connections} can need {needed} descriptors, and this process may have {limit}: raise the limit \
         (LimitNOFILE of systemd, ulimit -Hn, --ulimit nofile of docker) or lower server.max_connections"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_too_low_for_the_connections_is_told() {
        for (limit, max_connections, short) in [
            (Some(1024), 10_000, true),
            (Some(20_063), 10_000, true),
            (Some(20_064), 10_000, false),
            (Some(1024), 100, false),
            (None, 10_000, false),
            (Some(u64::MAX), usize::MAX, false),
        ] {
            assert_eq!(shortage(limit, max_connections).is_some(), short, "{limit:?} {max_connections}");
        }
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        provide(1);
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
