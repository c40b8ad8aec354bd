//! Talking to providers.
//!
//! [`Client::send`] takes one prepared request to one provider and brings back the head of its answer with a
//! streaming [`Body`], or one [`Failure`] that names what went wrong in the closed vocabulary of [`Fault`].
//! Everything a library may report is translated in `failure`; nobody above this module sees a library's error.
//!
//! ```text
//! Client::send ─ pool (idle HTTP/1.1, shared HTTP/2) ─ connect (DNS, TCP, TLS; one deadline) ─ transport (counts bytes)
//!      │                                                     failure ◄── any error of any of these
//!      └─ Exchange { response: Response<Body>, facts } ──► relays, decoded (DecodedBody) where events are read,
//!                                                 or read_capped + decode for a failure
//! ```
//!
//! One client belongs to one worker thread. It is `Clone + Send` and its locks are hardly ever contended: a scrape of the metrics
//! counts its connections. What the clients of all workers share stands in `warm`: connections that are there before a call asks.
//!
//! [`Fault`]: crate::canon::Fault

mod body;
mod capped;
mod client;
mod coding;
mod connect;
mod decode;
mod decoded_body;
mod exchange;
mod failure;
mod http1;
mod http2;
mod kept_body;
mod message;
mod open_count;
mod pool;
mod send_progress;
mod still_open;
mod tls;
mod transport;
mod waker;
mod warm;

pub use body::Body;
pub use capped::{Capped, Limits, read_capped};
pub use client::{Client, Kind};
pub use connect::{Resolved, Resolver};
pub use decode::{Decoded, decode};
pub use decoded_body::DecodedBody;
pub use exchange::{Exchange, Facts};
pub use failure::Failure;
pub(crate) use failure::request_fault;
pub use send_progress::BoxError;
pub use send_progress::Sendable;
pub use tls::TlsShared;
pub use waker::TaskWaker;
pub use warm::{Connections, Keepers, Site, Want};
