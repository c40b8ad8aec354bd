//! Limits that several gateways share, with the real server: the scripts by themselves, and whole fleets in this process.
//!
//! | module | what it holds |
//! |---|---|
//! | `accounts` | gateways in this process whose routes share an account: its slots and rates |
//! | `limiter` | one limiter, spoken to by the script, for `slots` |
//! | `slots` | the script that hands out slots: order, leases, turns, a clock that is set, lost data |
//! | `rates` | the script that counts requests |
//! | `budgets` | budgets: nothing lost or doubled, and at most one generation for each client beyond the end |
//! | `refusals` | a backend that answers and says no |
//! | `seed` | what names are made with: the oldest holds, and outlives a loss of data |
//! | `shares` | fleets of gates: never more than the plan, woken in order, a backend that dies, hangs or forgets |
//! | `tenants` | fleets whose slots tenants share: weights, and a maximum that is the fleet's |
//!
//! The server is Redis or Valkey, whichever is installed; `tests/all.sh` sees to it. A plain `cargo test` does without and says so.

mod accounts;
mod budgets;
mod defects;
mod limiter;
mod rates;
mod refusals;
mod seed;
mod server;
mod shares;
mod slots;
mod tenants;

/// A connection to a server.
async fn connect(server: &server::Server) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(server.url()).expect("a URL");
    client.get_multiplexed_async_connection().await.expect("a connection")
}
