//! State that the connections of one worker share.

use super::balance::Balance;
use super::drain::Drain;
use super::tls::Tls;
use crate::config::types::Server;
use std::sync::Arc;

/// State that every connection of one worker shares.
#[derive(Debug)]
pub struct Worker<H> {
    /// Handles requests.
    pub handler: Arc<H>,
    /// Limits and deadlines.
    pub server: Server,
    /// TLS towards clients.
    pub tls: Option<Arc<Tls>>,
    /// Connections that are open, and whether the process is ending.
    pub drain: Arc<Drain>,
    /// Assigns accepted connections to workers.
    pub balance: Balance,
}
