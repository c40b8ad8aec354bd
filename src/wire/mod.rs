//! Framing: where an event, a line or a WebSocket frame begins and ends. Pure: bytes in, bytes and facts out.
//!
//! [`sse`] and [`ndjson`] let a relay look at whole units (an event, a line) of a stream that it otherwise passes on
//! untouched: what needs no look passes at once, a unit passes when its last byte is there, and neighbours that pass
//! leave as one slice of the chunk they came in. How the bytes were chunked makes no difference to what comes out.
//! [`frame`] and [`close`] are WebSocket's framing, [`coding`] names content codings, [`hop`] the fields of one connection, [`urls`] those that hold URLs, [`gathered`] and [`Joined`] make one piece of several.
//! [`grpc`] is what the head of a gRPC call says, and where its messages begin.
//! [`event_stream`], [`headed`] and [`packed`] are what units may be coded in beside JSON.
//! Incomplete is not invalid: readers say which of the two it is.

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

pub mod close;
pub mod coding;
mod cut;
pub mod event_stream;
pub mod frame;
mod gather;
pub mod grpc;
pub mod headed;
pub mod hop;
mod joined;
pub mod ndjson;
pub mod packed;
pub mod sse;
pub mod urls;

pub use cut::{Piece, Seam, Verdict};
pub use gather::gathered;
pub use joined::Joined;
