//! Builds every part from a configuration, starts them in order, and stops them in order.
//!
//! Start: metrics and logs, TLS files and sockets (so that a wrong path or a taken port is reported before anything runs),
//! workers, the admin listener, and only then ready. Stop: not ready, listeners closed, running requests finished or cut, logs
//! flushed.
//!
//! Each worker is a thread with its own runtime and its own socket on the same port; the control thread runs the admin listener
//! and handles signals. Workers share nothing that is written per request.

mod control;
mod descriptors;
mod error;
mod gateway;
mod restart;
mod running;
mod spending;
#[cfg(test)]
mod tests;

use crate::config::Loaded;
use crate::config::types::Listen;
pub use crate::server::listen::Address;
use crate::telemetry::logging;
pub use error::StartError;
use gateway::Gateway;
pub use running::Load;
use std::thread::JoinHandle;
use tokio::sync::mpsc;

/// How many stop requests may be queued: one to drain, one to stop at once.
const STOPS: usize = 2;

/// Runs until a signal ends it.
///
/// # Errors
/// When it cannot start.
pub fn run(loaded: Loaded, load: Load) -> Result<(), StartError> {
    let mut gateway = Gateway::start(loaded, Some(load))?;
    logging::log_panics();
    let (stop, stops) = mpsc::channel(STOPS);
    let signals = gateway.signals(stop)?;
    gateway.run(stops);
    drop(signals);
    Ok(())
}

/// A gateway in this process, for tests and demonstrations.
#[derive(Debug)]
pub struct Handle {
    /// At least one.
    addresses: Vec<Listen>,
    admin_address: Option<Listen>,
    stop: mpsc::Sender<()>,
    thread: Option<JoinHandle<()>>,
}

/// Starts a gateway on threads of its own; it takes requests when this returns.
///
/// # Errors
/// When it cannot start.
pub fn start(loaded: Loaded, load: Option<Load>) -> Result<Handle, StartError> {
    let mut gateway = Gateway::start(loaded, load)?;
    let (addresses, admin_address) = (gateway.addresses.clone(), gateway.admin_address.clone());
    let (stop, stops) = mpsc::channel(STOPS);
    let thread = std::thread::Builder::new().name("control".to_owned()).spawn(move || gateway.run(stops))?;
    Ok(Handle { addresses, admin_address, stop, thread: Some(thread) })
}

impl Handle {
    /// Where clients connect, the first of several.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "a configuration has at least one address")]
    pub fn address(&self) -> &Listen {
        &self.addresses[0]
    }

    /// Everywhere that clients connect.
    #[must_use]
    pub fn addresses(&self) -> &[Listen] {
        &self.addresses
    }

    /// Where the admin listener is.
    #[must_use]
    pub fn admin_address(&self) -> Option<&Listen> {
        self.admin_address.as_ref()
    }

    /// Begins to drain; a second call ends at once.
    pub fn stop(&self) {
        // Full when both are queued, closed when the gateway has ended: nothing more is needed in either case.
        let _ = self.stop.try_send(());
    }

    /// Waits until it has ended.
    pub fn join(mut self) {
        self.wait();
    }

    fn wait(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic of the control thread has been logged; there is nothing left to wait for.
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
        self.stop();
        self.wait();
    }
}
