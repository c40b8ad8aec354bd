//! Listeners, connections, drain, admin: everything between a socket and [`crate::proxy`].
//!
//! `listen` binds, `accept` accepts connections, `conn` serves HTTP on one of them, and `drain` shuts down gracefully. `refuse`
//! responds to bytes that never became a request. `admin` serves the admin listener, with the status page in `status`.

mod accept;
pub mod admin;
pub mod balance;
mod certificate;
mod conn;
pub mod drain;
mod handler;
pub mod listen;
mod origin;
mod refuse;
pub mod reload;
mod socket;
pub mod status;
pub mod tls;
mod worker;

pub use handler::Handler;
pub use worker::Worker;
