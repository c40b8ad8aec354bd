//! Backoff: a provider's Retry-After binds the requests that it concerns.
//!
//! After a refusal with a Retry-After, requests that it concerns are answered here until that time is over. Then one request goes
//! through as a probe, while the others are still answered here. If the probe succeeds, the backoff is over; if it is refused
//! with another Retry-After, a new backoff begins; if it ends with neither, the next request becomes the probe.
//!
//! The caller of this module says how far a refusal reaches: a rate is that of a credential ([`Reach::Credential`]), polling too
//! fast concerns one path ([`Reach::Path`]), an outage concerns the paths of one kind and, once paths of two kinds are out, the
//! credential ([`Reach::Template`]). A used-up quota and a lack of slots cause no backoff: the caller does not report them.
//!
//! A Retry-After is only the provider's guess, so a probe goes through every [`PROBE_EVERY`] while it lasts. A probe that has
//! not ended after [`PROBE_DEADLINE`] is no longer waited for.
//!
//! # Bounds
//!
//! No backoff is longer than [`LONGEST`], after which a probe asks again, so that a broken date does not close a route for
//! good. At most [`MOST`] keys are remembered at one time. Beyond that, those whose backoff ended more than [`STALE`] ago are
//! forgotten; if there are none, a new backoff is not kept and the provider goes on refusing those requests itself. While there
//! is no backoff, [`Backoffs::check`] reads one atomic number.

use super::lock;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How many keys are remembered at one time.
pub const MOST: usize = 4096;
/// How long a backoff may last.
pub const LONGEST: Duration = Duration::from_secs(3600);
/// A backoff that has been over for this long is forgotten.
pub const STALE: Duration = Duration::from_secs(60);
/// How often a probe goes through during a backoff.
pub const PROBE_EVERY: Duration = Duration::from_secs(30);
/// How long other requests are answered here while a probe is out.
pub const PROBE_DEADLINE: Duration = Duration::from_secs(10);
/// The Retry-After while a probe is out, since nothing better is known.
pub const PROBING: Duration = Duration::from_secs(1);

/// What a request can share a backoff by, as keys of [`Keys`](super::Keys).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffKeys {
    /// Route and credential.
    pub credential: u64,
    /// Route, credential and path.
    pub path: u64,
    /// Route, credential and what paths of this kind have in common.
    pub template: u64,
}

/// Which requests a refusal concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All requests of the route and the credential.
    Credential,
    /// Of those, requests for the same path.
    Path,
    /// Of those, requests for a path of the same kind; all of them as soon as paths of another kind are refused as well.
    Template,
}

/// What to do with a request. `W` is what was refused, say a code.
pub enum Pass<W> {
    /// There is no backoff.
    Free,
    /// This request tries whether the provider accepts requests again.
    Probe(Probe<W>),
    /// The request is answered here.
    BackOff {
        /// What was refused.
        what: W,
        /// How long the backoff lasts.
        remaining: Duration,
    },
}

/// The backoffs of a route.
pub struct Backoffs<W> {
    /// How many keys are remembered, for a check without the lock.
    count: AtomicUsize,
    entries: Mutex<HashMap<u64, Backoff<W>>>,
}

struct Backoff<W> {
    what: W,
    until: Instant,
    /// The number of the probe that is out, and its deadline.
    probe: Option<(u64, Instant)>,
    /// When a probe may go through although the backoff is not over.
    next_probe: Instant,
    /// The credential, where the key is that of paths of one kind.
    kind_of: Option<u64>,
    /// Tells probes from each other.
    probes: u64,
}

impl<W: Copy> Backoffs<W> {
    /// No backoff yet.
    #[must_use]
    pub fn new() -> Arc<Backoffs<W>> {
        Arc::new(Backoffs { count: AtomicUsize::new(0), entries: Mutex::new(HashMap::new()) })
    }

    /// What a request would be answered with here; none when it may go out, perhaps as a probe. Changes nothing.
    #[must_use]
    pub fn peek(&self, keys: BackoffKeys, now: Instant) -> Option<(W, Duration)> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        longest(&lock(&self.entries), keys, now)
    }

    /// Whether a request may go out, asked at the moment when it does: if it is a probe, others are answered here meanwhile.
    #[must_use]
    pub fn check(self: &Arc<Self>, keys: BackoffKeys, now: Instant) -> Pass<W> {
        // A backoff that begins at this very moment may as well begin after it.
        if self.count.load(Ordering::Relaxed) == 0 {
            return Pass::Free;
        }
        let mut entries = lock(&self.entries);
        if let Some((what, remaining)) = longest(&entries, keys, now) {
            return Pass::BackOff { what, remaining };
        }
        let mut probes = [None; 3];
        for (key, probe) in keys.each().into_iter().zip(&mut probes) {
            *probe = entries.get_mut(&key).map(|backoff| (key, backoff.start_probe(now)));
        }
        drop(entries);
        if probes.iter().all(Option::is_none) {
            return Pass::Free;
        }
        Pass::Probe(Probe { backoffs: Arc::clone(self), probes })
    }

    /// The provider refused, with a Retry-After. The longer of two counts.
    pub fn refused(&self, keys: BackoffKeys, reach: Reach, what: W, wait: Duration, now: Instant) {
        let until = now + wait.min(LONGEST);
        let mut entries = lock(&self.entries);
        match reach {
            Reach::Credential => keep(&mut entries, keys.credential, None, what, until, now),
            Reach::Path => keep(&mut entries, keys.path, None, what, until, now),
            Reach::Template => {
                let other = |(key, backoff): (&u64, &Backoff<W>)| {
                    *key != keys.template && backoff.kind_of == Some(keys.credential) && backoff.until > now
                };
                if entries.iter().any(other) {
                    keep(&mut entries, keys.credential, None, what, until, now);
                }
                keep(&mut entries, keys.template, Some(keys.credential), what, until, now);
            }
        }
        self.count.store(entries.len(), Ordering::Relaxed);
    }

    /// Ends all of them and returns how many there were: an operator knows better than the provider.
    pub fn clear(&self) -> usize {
        let mut entries = lock(&self.entries);
        let cleared = entries.len();
        entries.clear();
        self.count.store(0, Ordering::Relaxed);
        cleared
    }

    /// Forgets what has been over for long.
    pub fn sweep(&self, now: Instant) {
        if self.count() == 0 {
            return;
        }
        let mut entries = lock(&self.entries);
        entries.retain(|_, backoff| !backoff.stale(now));
        self.count.store(entries.len(), Ordering::Relaxed);
    }

    /// The backoffs in force, the longest first; the remaining time is zero while a probe is out.
    #[must_use]
    pub fn in_force(&self, now: Instant) -> Vec<(W, Duration)> {
        let mut in_force: Vec<(W, Duration)> = lock(&self.entries)
            .values()
            .map(|backoff| (backoff.what, backoff.until.saturating_duration_since(now), backoff.is_probed(now)))
            .filter(|(_, remaining, probed)| !remaining.is_zero() || *probed)
            .map(|(what, remaining, _)| (what, remaining))
            .collect();
        in_force.sort_by_key(|(_, remaining)| std::cmp::Reverse(*remaining));
        in_force
    }

    /// How many keys are remembered.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl BackoffKeys {
    fn each(self) -> [u64; 3] {
        [self.credential, self.path, self.template]
    }
}

/// The backoff of a request: of all that concern it, the one that lasts longest.
fn longest<W: Copy>(entries: &HashMap<u64, Backoff<W>>, keys: BackoffKeys, now: Instant) -> Option<(W, Duration)> {
    let refusals = keys.each().into_iter().filter_map(|key| entries.get(&key)?.refusal(now));
    refusals.max_by_key(|(_, remaining)| *remaining)
}

/// Sets a backoff, or makes it longer.
fn keep<W: Copy>(
    entries: &mut HashMap<u64, Backoff<W>>,
    key: u64,
    kind_of: Option<u64>,
    what: W,
    until: Instant,
    now: Instant,
) {
    if let Some(backoff) = entries.get_mut(&key) {
        // This answer belongs to a request that was sent earlier, not to the probe.
        if until >= backoff.until {
            (backoff.what, backoff.until, backoff.next_probe) = (what, until, now + PROBE_EVERY);
        }
        return;
    }
    if entries.len() >= MOST {
        entries.retain(|_, backoff| !backoff.stale(now));
    }
    if entries.len() < MOST {
        let next_probe = now + PROBE_EVERY;
        entries.insert(key, Backoff { what, until, probe: None, probes: 0, next_probe, kind_of });
    }
}

impl<W: Copy> Backoff<W> {
    /// What to answer with, unless the next request may be a probe.
    fn refusal(&self, now: Instant) -> Option<(W, Duration)> {
        let remaining = self.until.saturating_duration_since(now);
        if self.is_probed(now) {
            Some((self.what, if remaining.is_zero() { PROBING } else { remaining }))
        } else if remaining.is_zero() || now >= self.next_probe {
            None
        } else {
            Some((self.what, remaining))
        }
    }

    /// Whether a probe is out and has not missed its deadline.
    fn is_probed(&self, now: Instant) -> bool {
        self.probe.is_some_and(|(_, deadline)| deadline > now)
    }

    fn start_probe(&mut self, now: Instant) -> u64 {
        self.probes += 1;
        self.probe = Some((self.probes, now + PROBE_DEADLINE));
        self.next_probe = now + PROBE_EVERY;
        self.probes
    }

    fn stale(&self, now: Instant) -> bool {
        self.probe.is_none() && now.saturating_duration_since(self.until) >= STALE
    }
}

/// The one request that tries whether the provider accepts requests again. Dropping it lets another one try.
#[must_use = "dropping it lets another one probe"]
pub struct Probe<W> {
    backoffs: Arc<Backoffs<W>>,
    /// The keys that it tries, with its number among their probes.
    probes: [Option<(u64, u64)>; 3],
}

impl<W> Probe<W> {
    /// The provider answered, and not with another Retry-After: the backoff is over.
    pub fn open(mut self) {
        self.end(|entries, key| {
            entries.remove(&key);
        });
    }

    fn end(&mut self, act: impl Fn(&mut HashMap<u64, Backoff<W>>, u64)) {
        let mut entries = lock(&self.backoffs.entries);
        for (key, number) in std::mem::take(&mut self.probes).into_iter().flatten() {
            if entries.get(&key).is_some_and(|backoff| backoff.probe.is_some_and(|(probe, _)| probe == number)) {
                act(&mut entries, key);
            }
        }
        self.backoffs.count.store(entries.len(), Ordering::Relaxed);
    }
}

impl<W> Drop for Probe<W> {
    fn drop(&mut self) {
        self.end(|entries, key| {
            if let Some(backoff) = entries.get_mut(&key) {
                backoff.probe = None;
            }
        });
    }
}
