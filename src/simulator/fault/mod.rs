//! Failures: those that a provider words itself, those of the network, those of a WebSocket's wire, and how a client asks for one.

mod network;
mod provider;
mod requested;
mod wire;

pub(crate) use network::Silence;
pub use network::{NET_FAULTS, NetFault};
pub use provider::{Fault, Moment, faults, find};
pub(crate) use requested::{Failure, RequestedFault, Timing};
pub use wire::{WIRE_FAULTS, WireFault};
