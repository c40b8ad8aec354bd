//! Connections and sockets that are there before a call asks for them.

use std::time::Duration;

/// `warm`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warm {
    /// Connections to each upstream that are kept ahead of the calls; 0 keeps none.
    pub connections: usize,
    /// The most that are kept, whatever the calls of late were; at least `connections`.
    pub max_idle: usize,
    /// How long the provider keeps an idle connection, where its profile says that.
    pub idle_limit: Option<Duration>,
}
