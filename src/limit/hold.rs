//! A provider's Retry-After binds everybody.
//!
//! After a refusal with a wait, whoever would ask the same place is answered here until the wait is over. Then one request goes
//! through as a probe, while the others are still answered here: if it succeeds the place is open again, and if it is
//! refused with a wait, that wait begins anew. A probe that ends without either frees its place for the next one.
//!
//! How far a refusal reaches is for whoever knows what was refused: a rate is that of a credential ([`Reach::Credential`]),
//! polling too fast concerns one path ([`Reach::Path`]), and a quota or a want of slots holds nobody ([`Reach::Nobody`]).
//!
//! # Bounds
//!
//! No hold is longer than [`LONGEST`], after which a probe asks again, so that a broken date does not close a route for
//! good. At most [`MOST`] places are held at one time; beyond it, those whose wait was over for [`STALE`] are forgotten, and else a new hold
//! is not kept, and the provider goes on refusing that place itself. While nothing is held, [`Holds::check`] reads one atomic number.

use super::lock;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How many places are held at one time.
pub const MOST: usize = 4096;
/// How long a hold may last.
pub const LONGEST: Duration = Duration::from_secs(3600);
/// After this long without anybody who asked, a hold that is over is forgotten.
pub const STALE: Duration = Duration::from_secs(60);
/// What is left to wait while a probe is out, for want of anything better to say.
pub const PROBING: Duration = Duration::from_secs(1);

/// Where a request goes, by keys of [`Keys`](super::Keys).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Route and credential.
    pub credential: u64,
    /// Route, credential and path.
    pub path: u64,
}

/// Whom a refusal concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everybody with the route and the credential.
    Credential,
    /// Of those, whoever asks for the same path.
    Path,
    /// Nobody else.
    Nobody,
}

/// What to do with a request. `W` is what was refused, say a code.
pub enum Pass<W> {
    /// Nothing is held.
    Free,
    /// This one tries whether the provider is willing again.
    Probe(Probe<W>),
    /// It is answered here.
    Held {
        /// What was refused.
        what: W,
        /// How long that goes on.
        remaining: Duration,
    },
}

/// The holds of a route.
pub struct Holds<W> {
    /// How many places are held, for a look without the lock.
    count: AtomicUsize,
    places: Mutex<HashMap<u64, Hold<W>>>,
}

struct Hold<W> {
    what: W,
    until: Instant,
    /// The number of the probe that is out.
    probe: Option<u64>,
    /// Tells probes from each other.
    probes: u64,
}

impl<W: Copy> Holds<W> {
    /// Nothing is held.
    #[must_use]
    pub fn new() -> Arc<Holds<W>> {
        Arc::new(Holds { count: AtomicUsize::new(0), places: Mutex::new(HashMap::new()) })
    }

    /// Asks whether a request may go to a place.
    #[must_use]
    pub fn check(self: &Arc<Self>, place: Place, now: Instant) -> Pass<W> {
        // A hold that is set at this very moment is as good as one that is set after it.
        if self.count.load(Ordering::Relaxed) == 0 {
            return Pass::Free;
        }
        let mut places = lock(&self.places);
        let keys = [place.credential, place.path];
        // Both have to be over: the longer one is what is left.
        let held = keys.iter().filter_map(|key| places.get(key)?.held(now)).max_by_key(|(_, remaining)| *remaining);
        if let Some((what, remaining)) = held {
            return Pass::Held { what, remaining };
        }
        let mut probes = [None; 2];
        for (key, probe) in keys.iter().zip(&mut probes) {
            *probe = places.get_mut(key).map(|hold| (*key, hold.start_probe()));
        }
        if probes.iter().all(Option::is_none) {
            return Pass::Free;
        }
        Pass::Probe(Probe { holds: Arc::clone(self), probes })
    }

    /// The provider refused, and said how long. The longer of two waits counts.
    pub fn refused(&self, place: Place, reach: Reach, what: W, wait: Duration, now: Instant) {
        let key = match reach {
            Reach::Credential => place.credential,
            Reach::Path => place.path,
            Reach::Nobody => return,
        };
        let until = now + wait.min(LONGEST);
        let mut places = lock(&self.places);
        if let Some(hold) = places.get_mut(&key) {
            // Whatever is asked meanwhile was sent before: its answer is not the probe's.
            if until >= hold.until {
                (hold.what, hold.until) = (what, until);
            }
        } else {
            if places.len() >= MOST {
                places.retain(|_, hold| !hold.stale(now));
            }
            if places.len() < MOST {
                places.insert(key, Hold { what, until, probe: None, probes: 0 });
            }
        }
        self.count.store(places.len(), Ordering::Relaxed);
    }

    /// Forgets holds that are over and that nobody asked about since.
    pub fn sweep(&self, now: Instant) {
        if self.held() == 0 {
            return;
        }
        let mut places = lock(&self.places);
        places.retain(|_, hold| !hold.stale(now));
        self.count.store(places.len(), Ordering::Relaxed);
    }

    /// What is held now, the longest first; nothing is left to wait for while a probe is out.
    #[must_use]
    pub fn in_force(&self, now: Instant) -> Vec<(W, Duration)> {
        let mut holds: Vec<(W, Duration)> = lock(&self.places)
            .values()
            .map(|hold| (hold.what, hold.until.saturating_duration_since(now), hold.probe.is_some()))
            .filter(|(_, remaining, probed)| !remaining.is_zero() || *probed)
            .map(|(what, remaining, _)| (what, remaining))
            .collect();
        holds.sort_by_key(|(_, remaining)| std::cmp::Reverse(*remaining));
        holds
    }

    /// How many places are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl<W: Copy> Hold<W> {
    /// What to answer, unless the next one may be a probe.
    fn held(&self, now: Instant) -> Option<(W, Duration)> {
        let remaining = self.until.saturating_duration_since(now);
        match self.probe {
            _ if !remaining.is_zero() => Some((self.what, remaining)),
            Some(_) => Some((self.what, PROBING)),
            None => None,
        }
    }

    fn start_probe(&mut self) -> u64 {
        self.probes += 1;
        self.probe = Some(self.probes);
        self.probes
    }

    fn stale(&self, now: Instant) -> bool {
        self.probe.is_none() && now.saturating_duration_since(self.until) >= STALE
    }
}

/// The one request that tries whether the provider is willing again. Dropping it lets another one try.
#[must_use = "dropping it lets another one probe"]
pub struct Probe<W> {
    holds: Arc<Holds<W>>,
    /// The places that it tries, with its number there.
    probes: [Option<(u64, u64)>; 2],
}

impl<W> Probe<W> {
    /// The provider answered, and not with a refusal that holds: its places are open.
    pub fn open(mut self) {
        self.end(|places, key| {
            places.remove(&key);
        });
    }

    fn end(&mut self, act: impl Fn(&mut HashMap<u64, Hold<W>>, u64)) {
        let mut places = lock(&self.holds.places);
        for (key, number) in std::mem::take(&mut self.probes).into_iter().flatten() {
            if places.get(&key).is_some_and(|hold| hold.probe == Some(number)) {
                act(&mut places, key);
            }
        }
        self.holds.count.store(places.len(), Ordering::Relaxed);
    }
}

impl<W> Drop for Probe<W> {
    fn drop(&mut self) {
        self.end(|places, key| {
            if let Some(hold) = places.get_mut(&key) {
                hold.probe = None;
            }
        });
    }
}
