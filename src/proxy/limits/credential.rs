//! The credential that a request goes out with, as a key.

use crate::fleet::Hidden;

/// The key of a credential; nothing tells the credential itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credential {
    /// Its key in this process.
    pub key: u64,
    /// What its names are made of where limits are shared.
    pub(super) hidden: Option<Hidden>,
}

impl From<u64> for Credential {
    fn from(key: u64) -> Credential {
        Credential { key, hidden: None }
    }
}
