//! What the tests stand on: a gateway, a provider that misbehaves on cue, and clients that send exactly the bytes given.

pub(crate) mod answer;
pub(crate) mod check;
pub(crate) mod collector;
pub(crate) mod config;
pub(crate) mod gateway;
pub(crate) mod grpc;
pub(crate) mod http2;
pub(crate) mod page;
pub(crate) mod provider;
pub(crate) mod stage;
pub(crate) mod traffic;
pub(crate) mod wire;
pub(crate) mod world;

pub(crate) use answer::{Answer, Client, Framing};
pub(crate) use check::envelope;
pub(crate) use config::Settings;
pub(crate) use gateway::Gateway;
pub(crate) use provider::{Act, Conn, Provider};
pub(crate) use wire::{End, Fields, Wire};
pub(crate) use world::World;

use std::time::Duration;

/// The longest that any single wait may take before the test is failed: generous, because it is never reached when all is well.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
