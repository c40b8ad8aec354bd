//! The operator's words, then ours.

pub mod secret;
pub mod types;
