//! Connections that are there before a call asks for one: resolved, connected and with TLS done.
//!
//! A call that finds no connection in the pool of its worker takes a warm one, wherever that was made, and pays for none of
//! DNS, TCP and TLS. What is kept is a byte stream on which nothing was said yet. It carries no HTTP until a worker takes it, so that it
//! belongs to no worker: taking one moves its socket to the worker's own runtime (four system calls), and from then on it is like
//! any other of that worker. Where HTTP was begun here instead, each byte of an answer would pass between two threads.
//!
//! ```text
//! Keeper (one task per shelf, on the control thread) ─ dials, renews, drops what the provider closed ─▶ Shelf
//!      ▲ pace: backoff, demand, idle limit (pure)                                                         │ take
//!      └──────────────── told of each take ◄── Site (one per upstream: what is open, what is idle) ◄── CallContext
//! ```

mod keeper;
mod pace;
mod shelf;
mod site;

pub use keeper::Keepers;
pub use site::{Connections, Site, Want};
pub(super) use site::{PoolStats, Pooled};
