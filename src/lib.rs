//! speechgate: a normalizing reverse-proxy gateway for speech providers.

pub mod canon;
pub mod config;
#[cfg(feature = "serve")]
pub mod explain;
#[cfg(feature = "serve")]
pub mod proxy;
pub mod render;
#[cfg(feature = "serve")]
pub mod server;
#[cfg(feature = "serve")]
pub mod simulator;
#[cfg(feature = "serve")]
pub mod telemetry;
#[cfg(feature = "serve")]
pub mod upstream;
pub mod wire;
