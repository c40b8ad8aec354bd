//! speechgate: a normalizing reverse-proxy gateway for speech providers.

#[cfg(feature = "serve")]
pub mod app;
pub mod canon;
#[cfg(feature = "serve")]
pub mod cli;
pub mod config;
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
