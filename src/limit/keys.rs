//! Keys: whatever a limit counts by, as 64 bits that tell nothing about it.

use std::hash::{BuildHasher as _, Hash, RandomState};

/// Turns what a limit counts by into a key. Keys of one `Keys` compare; those of two do not.
///
/// The hash is SipHash under a random key that never leaves the process: nobody can choose a value that meets another's
/// key, a key in memory does not tell the secret that it was made of, and keys are spread evenly, which the tables of
/// [`rate`](super::rate) and [`hold`](super::hold) rely on. Two of a million values share a key with a chance of 1 in
/// 40 million, and would then share a limit.
#[derive(Clone, Debug, Default)]
pub struct Keys(RandomState);

impl Keys {
    /// Keys that no other `Keys` makes.
    #[must_use]
    pub fn new() -> Keys {
        Keys::default()
    }

    /// The key of a value; a tuple where several parts make it up.
    #[must_use]
    pub fn of(&self, value: impl Hash) -> u64 {
        self.0.hash_one(value)
    }
}
