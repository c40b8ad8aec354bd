//! What an error is and how one is recognised. Pure: bytes, status, headers and a clock reading in, a value out.

// The core never panics, and every match names all variants, so that a new one does not compile until it is handled.
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

mod agreement;
mod classify;
mod clients;
pub mod code;
mod codec;
mod codes;
mod condition;
mod cost;
mod decide;
pub mod detectors;
pub mod envelope;
pub mod error;
mod evidence;
pub mod explain;
mod extracted;
pub mod fault;
mod fields;
pub mod generations;
pub mod grpc;
mod heuristics;
pub mod json;
mod liveness;
mod mapping;
mod merge;
mod native;
pub mod observed;
pub mod openings;
mod outline;
mod path;
mod place;
mod problems;
pub mod profile;
mod projection;
pub mod reads;
mod redial;
pub mod reference;
pub mod retry;
mod rewrites;
mod rule;
mod select;
mod selectors;
pub mod spec;
mod streams;
pub mod template;
mod tolerant;
mod write;

pub use classify::{Classified, classify, resolve};
pub use code::{Code, Type};
pub use codec::Codec;
pub use decide::Matched;
pub use error::{CanonicalError, UpstreamBody, UpstreamError};
pub use evidence::{Evidence, read_json};
pub use fault::{Fault, Origin};
pub use generations::GenerationRule;
pub use json::Json;
pub use liveness::{KeepAlive, Sockets};
pub use native::NativeValues;
pub use observed::Observed;
pub use path::Path;
pub use problems::ProfileProblem;
pub use profile::{Fallback, Profile};
pub use redial::RedialRule;
pub use spec::{ConcurrencyUnit, GenerationKind, Phase, ProfileSpec};
pub use streams::Stream;
pub use template::PathTemplate;
