//! The seed of the names under which a fleet counts, and the names that are made with it.
//!
//! A name shows nothing of the key or address that it stands for, and cannot be guessed without the seed. The fleet keeps the seed
//! at the backend. A gateway that has not been connected yet has one of its own, which it tells nobody: what it counts until then is
//! kept by keys of its own process, and gets its names when the fleet's seed is known.

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

/// A value that is not to be told, as far as names are made of it: the same in every process, and for nobody else to see.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hidden([u8; 16]);

impl Hidden {
    /// One for this value.
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

/// Takes what a value is made of.
struct Digest(Context);

impl Hasher for Digest {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Nobody asks: a digest is longer.
    fn finish(&self) -> u64 {
        0
    }
}

/// What all gateways call the same account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// A word that tells nothing.
    Plain(String),
    /// What the seed makes of this.
    Hidden(Hidden),
}

/// The seed as it is known here.
pub(super) struct Seed {
    known: ArcSwap<Known>,
    /// How often another one came to be known.
    changes: AtomicU64,
    /// Somebody has none and asks for it.
    pub(super) wanted: Notify,
}

struct Known {
    /// As the backend has it; none before the first connection.
    text: Option<String>,
    keys: Keys,
}

impl Seed {
    /// One that nobody else knows.
    pub(super) fn new() -> Seed {
        let known = Known { text: None, keys: Keys::new() };
        Seed { known: ArcSwap::from_pointee(known), changes: AtomicU64::new(0), wanted: Notify::new() }
    }

    /// What names are made with.
    pub(super) fn keys(&self) -> Keys {
        self.known.load().keys.clone()
    }

    /// Grows when names are made with another seed.
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

    /// Learns the fleet's seed, or puts it back where it was lost. False when others have been asked for it and nothing is known yet; not
    /// if `alone`: then a new one is made.
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
