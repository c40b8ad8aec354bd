//! `warm`: connections and sockets that are there before a call asks for them.

use crate::config::defaults;
use schemars::JsonSchema;
use serde::Deserialize;

/// `warm`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Warm {
    /// Connections to each upstream that are kept ready ahead of the calls: connected, with TLS done.
    #[schemars(extend("default" = defaults::warm::CONNECTIONS))]
    #[schemars(range(min = 0, max = 64))]
    pub(in crate::config) connections: Option<u32>,
    /// As many connections are kept at most when many calls came at one time a moment ago.
    #[schemars(extend("default" = defaults::warm::MAX_IDLE))]
    #[schemars(range(min = 1, max = 256))]
    pub(in crate::config) max_idle: Option<u32>,
    /// WebSockets that wait for a client: none are kept yet, so that this has to be 0.
    #[schemars(extend("default" = defaults::warm::SOCKETS))]
    #[schemars(range(min = 0, max = 16))]
    pub(in crate::config) sockets: Option<u32>,
}
