//! Listeners, connections, drain, admin: everything between a socket and [`crate::proxy`].
//!
//! `listen` binds, `accept` takes connections in, `conn` speaks HTTP on one of them, and `drain` ends it all in order. `refuse`
//! responds to what never became a request. `admin` has `status`, the page for people.

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
