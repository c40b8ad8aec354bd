//! The credential that a request is sent with, as a key for limits.

use crate::fleet::Hidden;

/// The key of a credential, which does not reveal the credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credential {
    /// Its key in this process.
    pub key: u64,
    /// The input for its names in a fleet.
    pub(super) hidden: Option<Hidden>,
}

impl From<u64> for Credential {
    fn from(key: u64) -> Credential {
        Credential { key, hidden: None }
    }
}
