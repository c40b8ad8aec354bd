//! Rates: how much in a time, for each key. They refuse and never wait.
//!
//! The decision is governor's GCRA: of a key nothing is kept but the moment at which its burst is whole again. A key whose
//! moment has passed is as good as unknown, so forgetting it changes nothing. The moments are in a table of our own, for
//! governor's has no bound.
//!
//! # Memory
//!
//! A table has [`SHARDS`] parts of at most [`MOST`] keys each, 1,835,008 in all, and takes 34 MiB then and for a million
//! keys alike, a tenth more with what an allocator keeps for itself; with fewer keys it is as much smaller, and 8 KiB
//! without any. Before a part grows, idle keys are forgotten, and it grows only if that did not help; besides, each call
//! of [`Rate::sweep`] forgets those of one part. Either way one part is locked and the others go on.
//!
//! When a part is full of keys that are not idle, all new keys in it share one rate. So a client that invents keys takes no
//! memory and gains the rates of [`SHARDS`] more keys at most; known keys neither lose nor gain anything. Another new client
//! then shares a rate with it until keys fall idle, which is checked once a second.

mod quota;

pub use quota::{Left, Quota, Refused};

use super::lock;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Parts of a table, each with a lock of its own.
pub const SHARDS: usize = 64;
/// Keys in a part: what fits into 32,768 places of a hash table.
pub const MOST: usize = 28_672;

/// A rate for each key.
pub struct Rate {
    epoch: Instant,
    shards: Box<[Mutex<Shard>; SHARDS]>,
    /// The part that is swept next.
    next: AtomicUsize,
}

impl Rate {
    /// Nothing has been taken yet.
    #[must_use]
    pub fn new(quota: Quota, now: Instant) -> Rate {
        let shards = Box::new(std::array::from_fn(|_| Mutex::new(Shard::new(quota))));
        Rate { epoch: now, shards, next: AtomicUsize::new(0) }
    }

    /// Takes so much for a key, or nothing. Keys come from [`Keys`](super::Keys), whose bits are spread evenly.
    ///
    /// # Errors
    /// When there is not so much left.
    pub fn check(&self, key: u64, cost: NonZeroU32, now: Instant) -> Result<Left, Refused> {
        let now = self.nanos(now);
        lock(self.shard(key)).check(key, cost, now)
    }

    /// What is left for a key, which takes nothing.
    #[must_use]
    pub fn left(&self, key: u64, now: Instant) -> Left {
        let now = self.nanos(now);
        let shard = lock(self.shard(key));
        shard.quota.left(shard.keys.get(&key).copied().or(shard.crowd), now)
    }

    /// Takes so much for a key, whether it is there or not: what is missing is owed by whoever comes next.
    pub fn take(&self, key: u64, cost: NonZeroU32, now: Instant) {
        let now = self.nanos(now);
        lock(self.shard(key)).take(key, cost, now);
    }

    /// Somebody else counts the same key by the same limit, in full or in part, and this is what is left there: here at least as large
    /// a share of the burst is used up.
    pub fn mirror(&self, key: u64, left: &Left, now: Instant) {
        let now = self.nanos(now);
        lock(self.shard(key)).mirror(key, left, now);
    }

    /// Gives back what [`Rate::check`] took, for a request that was refused for another reason then.
    pub fn give_back(&self, key: u64, cost: NonZeroU32) {
        lock(self.shard(key)).give_back(key, cost);
    }

    /// The limit is another now. Who had used a share of the old burst has used as much of the new one.
    pub fn reconfigure(&self, quota: Quota, now: Instant) {
        let now = self.nanos(now);
        for shard in self.shards.iter() {
            lock(shard).reconfigure(quota, now);
        }
    }

    /// Forgets the idle keys of one part. Called once a second, it comes round in about a minute.
    pub fn sweep(&self, now: Instant) {
        let index = self.next.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let now = self.nanos(now);
        if let Some(shard) = self.shards.get(index) {
            lock(shard).sweep(now);
        }
    }

    /// How many keys are kept.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).keys.len()).sum()
    }

    #[expect(clippy::indexing_slicing, reason = "the remainder is below the length")]
    fn shard(&self, key: u64) -> &Mutex<Shard> {
        // The table within takes its place from the lowest bits and its tag from the highest.
        &self.shards[(key >> 32) as usize % SHARDS]
    }

    fn nanos(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Most nanoseconds that a key owes beyond its burst: a day.
const OWED: u64 = 24 * 3600 * 1_000_000_000;

/// One part of the keys.
struct Shard {
    quota: Quota,
    /// For each key the moment at which its burst is whole again, in nanoseconds since the epoch.
    keys: HashMap<u64, u64, BuildHasherDefault<AsIs>>,
    /// The same for all together who found no room.
    crowd: Option<u64>,
    /// When it was last full.
    full: Option<u64>,
}

impl Shard {
    fn new(quota: Quota) -> Shard {
        Shard { quota, keys: HashMap::default(), crowd: None, full: None }
    }

    fn check(&mut self, key: u64, cost: NonZeroU32, now: u64) -> Result<Left, Refused> {
        if let Some(whole) = self.keys.get_mut(&key) {
            let (answer, after) = self.quota.check(Some(*whole), cost, now);
            *whole = after.unwrap_or(*whole);
            return answer;
        }
        if self.has_room(now) {
            let (answer, after) = self.quota.check(None, cost, now);
            self.keys.extend(after.map(|after| (key, after)));
            return answer;
        }
        let (answer, after) = self.quota.check(self.crowd, cost, now);
        self.crowd = after;
        answer
    }

    fn take(&mut self, key: u64, cost: NonZeroU32, now: u64) {
        let more = self.quota.step().saturating_mul(u64::from(cost.get()));
        let most = now.saturating_add(self.quota.whole()).saturating_add(OWED);
        let later = |whole: Option<u64>| whole.unwrap_or_default().max(now).saturating_add(more).min(most);
        if let Some(whole) = self.keys.get_mut(&key) {
            *whole = later(Some(*whole));
        } else if self.has_room(now) {
            let _ = self.keys.insert(key, later(None));
        } else {
            self.crowd = Some(later(self.crowd));
        }
    }

    fn mirror(&mut self, key: u64, left: &Left, now: u64) {
        let used = left.reset.as_nanos() * u128::from(self.quota.whole()) / u128::from(left.quota.whole().max(1));
        let used = u64::try_from(used).unwrap_or(u64::MAX).min(self.quota.whole());
        let moment = now.saturating_add(used);
        if let Some(whole) = self.keys.get_mut(&key) {
            *whole = moment.max(*whole);
        } else if used > 0 && self.has_room(now) {
            let _ = self.keys.insert(key, moment);
        }
    }

    fn give_back(&mut self, key: u64, cost: NonZeroU32) {
        let back = self.quota.step().saturating_mul(u64::from(cost.get()));
        if let Some(whole) = self.keys.get_mut(&key).or(self.crowd.as_mut()) {
            *whole = whole.saturating_sub(back);
        }
    }

    fn reconfigure(&mut self, quota: Quota, now: u64) {
        let old = std::mem::replace(&mut self.quota, quota);
        if old == quota {
            return;
        }
        let (old, new) = (old.whole(), quota.whole());
        for whole in self.keys.values_mut().chain(&mut self.crowd) {
            let used = u128::from(whole.saturating_sub(now)) * u128::from(new) / u128::from(old);
            *whole = now.saturating_add(u64::try_from(used).unwrap_or(new).min(new));
        }
    }

    /// Whether a new key can be added without the table growing past its bound.
    fn has_room(&mut self, now: u64) -> bool {
        if self.keys.len() < self.keys.capacity() {
            return true;
        }
        // To look through a full part for every key that somebody invents would be what they want.
        if self.full.is_some_and(|full| now.saturating_sub(full) < LOOK) {
            return false;
        }
        self.forget_idle(now);
        let room = self.keys.len() < self.keys.capacity();
        self.full = (self.keys.capacity() >= MOST).then_some(now);
        room
    }

    fn sweep(&mut self, now: u64) {
        if self.live(now) * 2 <= self.keys.len() {
            self.forget_idle(now);
        }
    }

    fn live(&self, now: u64) -> usize {
        self.keys.values().filter(|whole| **whole > now).count()
    }

    /// Moves the keys that are not idle to a new table, half full unless that is past the bound. Nothing is ever removed
    /// from a table, so it has no gaps that would make it grow on its own.
    fn forget_idle(&mut self, now: u64) {
        let live = self.live(now);
        let capacity = if live == 0 { 0 } else { (live * 2).min(MOST) };
        let mut keys = HashMap::with_capacity_and_hasher(capacity.max(1), BuildHasherDefault::default());
        keys.extend(self.keys.iter().filter(|(_, whole)| **whole > now));
        self.keys = keys;
    }
}

/// Keys are hashes already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// How often a full part is looked through, in nanoseconds.
const LOOK: u64 = 1_000_000_000;
