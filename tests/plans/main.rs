//! Load on plans: clients of every kind, more than a provider sells slots for, through gateways that are processes of their own.
//!
//! | module | what it holds |
//! |---|---|
//! | `sidecar` | one gateway that learns the plan, while the plan changes |
//! | `backend` | a backend with TLS and a password |
//! | `tenants` | one tenant with ten times its share and five within theirs, at one gateway and at eight, whose backend is killed |
//! | `bill` | what tenants are said to have used, and what the provider charges for it |
//! | `budgets` | budgets end to end: refusals, what is left, warnings, gateways that are killed |
//! | `fleet` | eight gateways that share ten slots, two of which are killed, and whose backend is stopped and started |
//!
//! The simulated provider enforces its plan, so that what is too much is refused there and counted. With `SPEECHGATE_FULL` each
//! test is half a minute of load by 200 clients; a plain `cargo test` has less of both. They run one after the other.

mod backend;
mod bill;
mod budgets;
mod caller;
mod clients;
mod fleet;
mod gateways;
mod provider;
#[path = "../fleet/server.rs"]
mod server;
mod sidecar;
mod tenants;

use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};

/// Each test wants the machine for itself.
static MACHINE: Mutex<()> = Mutex::const_new(());

async fn machine() -> MutexGuard<'static, ()> {
    MACHINE.lock().await
}

/// How slowly the provider speaks: calls take from a quarter of a second to one.
const PACE: f64 = 4.0;

/// How much load there is.
#[derive(Clone, Copy, Debug)]
struct Load {
    clients: usize,
    /// How long it lasts.
    time: Duration,
}

impl Load {
    fn asked_for() -> Load {
        match std::env::var_os("SPEECHGATE_FULL") {
            Some(_) => Load { clients: 200, time: Duration::from_secs(30) },
            None => Load { clients: 60, time: Duration::from_secs(12) },
        }
    }

    /// So many twelfths of the time.
    fn twelfths(self, count: u32) -> Duration {
        self.time * count / 12
    }
}
