//! What the connections of one worker share.

use super::balance::Balance;
use super::drain::Drain;
use super::tls::Tls;
use crate::config::types::Server;
use std::sync::Arc;

/// What every connection of one worker shares.
#[derive(Debug)]
pub struct Worker<H> {
    /// Who answers requests.
    pub handler: Arc<H>,
    /// Limits and deadlines.
    pub server: Server,
    /// TLS towards clients.
    pub tls: Option<Arc<Tls>>,
    /// Connections that are open, and whether the process is ending.
    pub drain: Arc<Drain>,
    /// Who serves what this worker accepts.
    pub balance: Balance,
}
