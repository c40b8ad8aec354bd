//! Tenants: who calls, by the gateway key that came with the call.

pub mod key;
