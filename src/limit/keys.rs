//! Keys: what a limit counts by, hashed to 64 bits that reveal nothing about it.

use std::hash::{BuildHasher as _, Hash, Hasher as _, RandomState};

/// Turns what a limit counts by into a key. Only keys of the same `Keys` can be compared.
///
/// The hash is SipHash under a random key. That of [`Keys::new`] never leaves the process: nobody can choose a value that meets another's
/// key, a key in memory does not tell the secret that it was made of, and keys are spread evenly, which the tables of
/// [`rate`](super::rate) and [`backoff`](super::backoff) rely on. Two of a million values share a key with a chance of 1 in 40
/// million, and would then share a limit.
///
/// Those of [`Keys::of_fleet`] are for names that other processes make as well, whose secret is as safe as where they keep it. They are
/// for no table here.
#[derive(Clone, Debug)]
pub struct Keys(Hashing);

#[derive(Clone, Debug)]
enum Hashing {
    /// With the key of `()`, which is asked for with every request that is counted together with all others.
    Own(RandomState, u64),
    Fleet(u64, u64),
}

impl Default for Keys {
    fn default() -> Keys {
        let random = RandomState::new();
        let together = random.hash_one(());
        Keys(Hashing::Own(random, together))
    }
}

impl Keys {
    /// Keys that no other `Keys` makes.
    #[must_use]
    pub fn new() -> Keys {
        Keys::default()
    }

    /// Keys that others make as well who know this secret: those of a fleet.
    #[must_use]
    pub fn of_fleet(secret: (u64, u64)) -> Keys {
        Keys(Hashing::Fleet(secret.0, secret.1))
    }

    /// The key of `()`: of what is counted together, whatever it is.
    #[must_use]
    pub fn together(&self) -> u64 {
        match self.0 {
            Hashing::Own(_, together) => together,
            Hashing::Fleet(..) => self.of(()),
        }
    }

    /// The key of a value; a tuple where several parts make it up.
    #[must_use]
    pub fn of(&self, value: impl Hash) -> u64 {
        match &self.0 {
            Hashing::Own(random, _) => random.hash_one(value),
            Hashing::Fleet(one, other) => {
                #[expect(
                    deprecated,
                    reason = "the only hasher of the standard library that stays the same in every version"
                )]
                let mut hasher = std::hash::SipHasher::new_with_keys(*one, *other);
                value.hash(&mut hasher);
                hasher.finish()
            }
        }
    }
}
