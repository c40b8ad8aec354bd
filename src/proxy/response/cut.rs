//! The error of a response body that ended early.

use crate::canon::Fault;
use std::fmt;

/// Why a body was cut: never a clean end, so that every HTTP client notices.
#[derive(Clone, Copy, Debug)]
pub struct Cut(pub(crate) Fault);

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.sentence())
    }
}

impl std::error::Error for Cut {}
