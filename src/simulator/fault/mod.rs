//! Failures: those that a provider words itself, those of the network, those of a WebSocket's wire, silence, and how a client asks for
//! one.

mod network;
mod provider;
mod requested;
mod silent;
mod wire;

pub(crate) use network::Silence;
pub use network::{NET_FAULTS, NetFault};
pub use provider::{Fault, Moment, faults, find};
pub(crate) use requested::{Failure, RequestedFault, Timing};
pub(crate) use silent::Silent;
pub use silent::{SILENT_FAULTS, SilentFault};
pub use wire::{WIRE_FAULTS, WireFault};
