//! A canonical error in the form the client's protocol expects.

// What cannot fail needs neither unwrap nor index, and a new variant must be asked about everywhere.
#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::unwrap_used,
        clippy::wildcard_enum_match_arm
    )
)]

pub mod grpc;
pub mod http;
