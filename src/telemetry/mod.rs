//! What can be seen from outside: metrics, their text, the access log.

pub mod access;
mod exposition;
pub mod metrics;
mod process;

pub use exposition::render;
