//! Listeners, connections, drain, admin: everything between a socket and [`crate::proxy`].
//!
//! `listen` accepts, `conn` speaks HTTP on one connection, `streams` runs those of HTTP/2, `stack` stands between hyper and the
//! proxy, and `drain` ends it all in order. `pulse` is what the parts of one connection tell each other, `io` is the socket with
//! its deadlines, and `refuse` answers what never became a request. `admin` has `status`, the page for people.

pub mod admin;
mod conn;
pub mod drain;
mod io;
pub mod listen;
mod pulse;
mod refuse;
pub mod reload;
pub mod stack;
pub mod status;
mod streams;
pub mod tls;

#[cfg(test)]
mod tests;

use crate::config::types::Server;
use drain::Drain;
use stack::Handler;
use std::sync::Arc;

/// What every connection of one worker shares.
#[derive(Debug)]
pub struct Worker<H> {
    /// Who answers requests.
    pub handler: Arc<H>,
    /// Limits and deadlines.
    pub server: Server,
    /// TLS towards callers.
    pub tls: Option<Arc<tls::Tls>>,
    /// Connections that are open, and whether the process is ending.
    pub drain: Arc<Drain>,
}

impl<H: Handler> Worker<H> {
    /// Accepts and serves until the drain has ended or is cut short; connections still open are then dropped with the runtime.
    pub async fn run(self: Arc<Self>, listener: listen::Listener) {
        let drain = Arc::clone(&self.drain);
        tokio::select! {
            () = listen::accept(self, listener) => drain.cut().await,
            () = drain.cut() => {}
        }
    }
}
