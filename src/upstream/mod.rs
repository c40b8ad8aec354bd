//! Talking to providers.
