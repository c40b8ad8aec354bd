//! What an error is and how one is recognised. Pure: bytes, status, headers and a clock reading in, a value out.

pub mod code;
pub mod error;
pub mod fault;
pub mod observed;
pub mod profile;
pub mod spec;
pub mod template;

pub use code::{Code, Type};
pub use error::{CanonicalError, UpstreamBody, UpstreamError};
pub use fault::{Fault, Origin};
pub use observed::Observed;
pub use profile::{Profile, ProfileProblem};
pub use spec::{Phase, ProfileSpec};
pub use template::PathTemplate;
