//! WebSockets: the handshake, and one connection played to its end.

mod connection;
mod handshake;
mod session;

pub(crate) use connection::run;
pub(crate) use handshake::{Opening, endpoint, handshake};
