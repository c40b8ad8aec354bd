//! Which changes of the configuration only take effect when the process starts.

use crate::config::types::{Config, Server};
use std::fmt::Debug;

/// The keys that differ and need a restart.
pub(super) fn needed(old: &Config, new: &Config) -> Vec<&'static str> {
    let differ = |a: &dyn Debug, b: &dyn Debug| format!("{a:?}") != format!("{b:?}");
    let mut keys: Vec<&'static str> = SERVER
        .iter()
        .filter(|(_, value)| value(&old.server) != value(&new.server))
        .map(|(key, _)| *key)
        .chain(differ(&old.admin, &new.admin).then_some("admin"))
        .chain((old.limits != new.limits).then_some("limits"))
        .chain(differ(&old.telemetry, &new.telemetry).then_some("telemetry"))
        .collect();
    keys.sort_unstable();
    keys
}

type Value = fn(&Server) -> String;

/// What the sockets and the workers have been given at the start. Everything else of `[server]` is looked up when it is needed:
/// drain_timeout, drain_delay, trust_forwarded, public_url, and the files of tls.
const SERVER: [(&str, Value); 11] = [
    ("server.listen", |server| format!("{:?}", server.listen)),
    ("server.tls (on or off)", |server| server.tls.is_some().to_string()),
    ("server.workers", |server| server.workers.to_string()),
    ("server.max_connections", |server| server.max_connections.to_string()),
    ("server.header_timeout", |server| format!("{:?}", server.header_timeout)),
    ("server.body_timeout", |server| format!("{:?}", server.body_timeout)),
    ("server.keep_alive_timeout", |server| format!("{:?}", server.keep_alive_timeout)),
    ("server.write_timeout", |server| format!("{:?}", server.write_timeout)),
    ("server.max_target_bytes", |server| server.max_target_bytes.to_string()),
    ("server.max_header_bytes and max_headers", |server| format!("{} {}", server.max_header_bytes, server.max_headers)),
    ("server.http2", |server| server.http2_max_streams.to_string()),
];
