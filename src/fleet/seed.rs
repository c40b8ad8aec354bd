//! The seed of the names that a fleet uses at the backend, and the names that are made with it.
//!
//! A name reveals nothing about the key or address that it stands for, and cannot be guessed without the seed. The fleet keeps the seed
//! at the backend. A gateway that has never been connected has a private seed: what it counts until then is stored under keys of its
//! own process, and gets its names when the fleet's seed is known.

use super::dial::Connection;
use super::scripts::Scripts;
use super::setup::Setup;
use crate::limit::Keys;
use arc_swap::ArcSwap;
use redis::RedisResult;
use ring::digest::{Context, SHA256, digest};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// A digest of a secret value that names are made of: the same in every process, and useless to anybody else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hidden([u8; 16]);

impl Hidden {
    /// The digest of this value.
    #[must_use]
    pub fn of(value: impl Hash) -> Hidden {
        let mut digest = Digest(Context::new(&SHA256));
        value.hash(&mut digest);
        let (mut half, whole) = ([0; 16], digest.0.finish());
        half.iter_mut().zip(whole.as_ref()).for_each(|(to, from)| *to = *from);
        Hidden(half)
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hidden")
    }
}

/// Feeds a value into a digest.
struct Digest(Context);

impl Hasher for Digest {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Not used: a digest has more bits than this returns.
    fn finish(&self) -> u64 {
        0
    }
}

/// The name of an account that all gateways agree on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// A word that reveals nothing.
    Plain(String),
    /// A secret, which is hashed with the seed.
    Hidden(Hidden),
}

/// The seed as it is known here.
pub(super) struct Seed {
    known: ArcSwap<Known>,
    /// How often the seed has changed.
    changes: AtomicU64,
    /// Another gateway has no seed and asks for it.
    pub(super) wanted: Notify,
}

struct Known {
    /// The seed as the backend has it; `None` before the first connection.
    text: Option<String>,
    keys: Keys,
}

impl Seed {
    /// A random seed that no other process knows.
    pub(super) fn new() -> Seed {
        let known = Known { text: None, keys: Keys::new() };
        Seed { known: ArcSwap::from_pointee(known), changes: AtomicU64::new(0), wanted: Notify::new() }
    }

    /// The seed that names are made with now.
    pub(super) fn keys(&self) -> Keys {
        self.known.load().keys.clone()
    }

    /// Increases whenever the seed changes.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// The name of something.
    pub(super) fn name(&self, label: &Label) -> String {
        match label {
            Label::Plain(name) => name.clone(),
            Label::Hidden(hidden) => format!("{:016x}", self.known.load().keys.of(hidden)),
        }
    }

    /// Reads the fleet's seed, or restores it where it was lost. Returns false when other gateways have been asked for it and none has
    /// answered yet. With `alone` a new seed is made instead of asking.
    pub(super) async fn learn(
        &self,
        connection: &mut Connection,
        scripts: &Scripts,
        setup: &Setup,
        alone: bool,
    ) -> RedisResult<bool> {
        let known = self.known.load_full();
        let text = scripts.seed(connection, setup, known.text.as_deref().unwrap_or(""), alone).await?;
        let Some(text) = text else { return Ok(false) };
        if known.text.as_ref() == Some(&text) {
            return Ok(true);
        }
        if known.text.is_some() {
            tracing::warn!("the backend of shared limits goes by another seed: rates are counted anew there");
        }
        let keys = Keys::of_fleet(secret(&text));
        self.known.store(Arc::new(Known { text: Some(text), keys }));
        let _ = self.changes.fetch_add(1, Ordering::AcqRel);
        Ok(true)
    }
}

fn secret(seed: &str) -> (u64, u64) {
    let digest = digest(&SHA256, seed.as_bytes());
    let word = |at: usize| digest.as_ref().iter().skip(at).take(8).fold(0, |word, byte| word << 8 | u64::from(*byte));
    (word(0), word(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_hidden_in_the_same_way_everywhere() {
        let (one, other) = (Hidden::of(("header", "sk-1")), Hidden::of(("header", "sk-2")));
        assert!(one == Hidden::of(("header", "sk-1")) && one != other);
        let (seed, foreign) = (Seed::new(), Seed::new());
        assert_ne!(seed.name(&Label::Hidden(one)), foreign.name(&Label::Hidden(one)));
        assert_eq!(seed.name(&Label::Plain("0".to_owned())), "0");
        assert_eq!((secret("1 ab"), secret("1 ab") == secret("1 ac")), (secret("1 ab"), false));
    }
}
