//! What the unit tests of this module share.

use crate::canon::{Profile, ProfileSpec};
use crate::config::types::{Envelope, Envelopes, Protocol, Route, Timeouts, Upstream, WaitScope, Waits, Warm};
use std::sync::Arc;
use std::time::Duration;

/// A route with this prefix to `https://api.example.com`.
pub(super) fn route(path: &str) -> Route {
    route_with(path, ProfileSpec::default())
}

/// The same with a profile of the test's own.
pub(super) fn route_with(path: &str, spec: ProfileSpec) -> Route {
    let second = Duration::from_secs(1);
    Route {
        account: None,
        name: "test".to_owned(),
        index: 0,
        host: None,
        path: path.to_owned(),
        provider: "test".to_owned(),
        profile: Arc::new(Profile::compile("test", spec).expect("a profile")),
        upstreams: vec![Upstream {
            tls: true,
            host: "api.example.com".to_owned(),
            port: 443,
            authority: http::uri::Authority::from_static("api.example.com"),
            base_path: String::new(),
            ca_file: None,
            client_certificate: None,
            protocol: Protocol::Auto,
        }],
        weights: Vec::new(),
        health: None,
        envelope: Envelopes::all(Envelope::Canonical),
        cors: None,
        cors_by_provider: false,
        upstream_body: true,
        credentials: Vec::new(),
        headers: crate::config::types::Headers::default(),
        rate_limit_headers: false,
        timeouts: Timeouts { connect: second, response: second, idle: second, websocket_idle: second, total: None },
        max_request_body: 1 << 20,
        websocket: crate::config::types::Websocket {
            max_frame: 1 << 20,
            max_message: 1 << 20,
            keep_alive: None,
            redial: false,
        },
        ping: None,
        client_ping: None,
        warm: Warm { connections: 0, max_idle: 1, idle_limit: None },
        rate_limits: Vec::new(),
        concurrency: None,
        waits: Waits { enabled: true, max_hold: 60 * second, scope: WaitScope::Auto },
        retry: None,
        circuit_breaker: None,
        silence: crate::generation::Silence::default(),
        generations: false,
    }
}
