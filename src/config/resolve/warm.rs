//! `warm`: connections and sockets that are there before a call asks for them

use crate::canon::Profile;
use crate::config::defaults::warm as defaults;
use crate::config::path::Path;
use crate::config::problem::Findings;
use crate::config::raw;
use crate::config::types::{Route, Warm};
use crate::config::values;
use std::sync::Arc;

/// `warm`, of a route with this profile.
pub(super) fn warm(raw: &raw::Warm, profile: Option<&Profile>, path: &Path, findings: &mut Findings) -> Warm {
    let connections = raw.connections.unwrap_or(defaults::CONNECTIONS);
    let max_idle = raw.max_idle.unwrap_or(defaults::MAX_IDLE.max(connections));
    if max_idle < connections {
        let what = format!("{max_idle} is less than `connections`");
        findings.value(&path.key("max_idle"), what).expected(format!("at least {connections}"));
    }
    if let Some(sockets @ 1..) = raw.sockets {
        let what = format!("{sockets} sockets: none are kept ready yet, only connections");
        findings.value(&path.key("sockets"), what).expected("0; `connections` spares a socket DNS, TCP and TLS");
    }
    let said = profile.and_then(|profile| profile.spec().defaults.idle_limit.as_deref());
    Warm {
        connections: connections as usize,
        max_idle: max_idle as usize,
        idle_limit: said.and_then(|text| values::positive_duration(text).ok()),
    }
}

/// Together no more connections are kept than the process may have.
pub(super) fn fit(routes: &[Arc<Route>], max_connections: usize, findings: &mut Findings) {
    let mut kept = 0;
    for route in routes.iter().filter(|route| route.warm.connections > 0) {
        kept += route.warm.connections * route.upstreams.len();
        if kept > max_connections {
            let path = Path::of("routes").index(route.index).key("warm").key("connections");
            let what = format!("{kept} connections to all upstreams together are more than `server.max_connections`");
            findings.value(&path, what).expected(format!("at most {max_connections}"));
            return;
        }
    }
}
