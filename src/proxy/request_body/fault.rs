//! Failures of the client's side of a request.

use crate::canon::Fault;
use std::fmt;

/// The client's side of a request failed.
#[derive(Clone, Copy, Debug)]
pub struct ClientFault(pub(crate) Fault);

impl fmt::Display for ClientFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.sentence())
    }
}

impl std::error::Error for ClientFault {}
