//! A provider's Retry-After binds whom it was said to.
//!
//! After a refusal with a wait, whoever would ask the same place is answered here until the wait is over. Then one request goes
//! through as a probe, while the others are still answered here: if it succeeds the place is open again, and if it is
//! refused with a wait, that wait begins anew. A probe that ends without either frees its place for the next one.
//!
//! How far a refusal reaches is for whoever knows what was refused: a rate is that of a credential ([`Reach::Credential`]),
//! polling too fast concerns one path ([`Reach::Path`]), an outage the paths of one kind and, once paths of two kinds are out,
//! the credential ([`Reach::Template`]); and a quota or a want of slots holds nobody ([`Reach::Nobody`]).
//!
//! A wait is a guess of the provider's: a probe goes through every [`PROBE_EVERY`] while it lasts. A probe that has not ended
//! after [`PROBE_DEADLINE`] is not waited for any longer.
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
/// How often a probe goes through during a wait.
pub const PROBE_EVERY: Duration = Duration::from_secs(30);
/// How long others wait for what becomes of a probe.
pub const PROBE_DEADLINE: Duration = Duration::from_secs(10);
/// What is left to wait while a probe is out, for want of anything better to say.
pub const PROBING: Duration = Duration::from_secs(1);

/// Where a request goes, by keys of [`Keys`](super::Keys).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Route and credential.
    pub credential: u64,
    /// Route, credential and path.
    pub path: u64,
    /// Route, credential and what paths of this kind have in common.
    pub template: u64,
}

/// Whom a refusal concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everybody with the route and the credential.
    Credential,
    /// Of those, whoever asks for the same path.
    Path,
    /// Of those, whoever asks for a path of the same kind; everybody as soon as paths of another kind are held as well.
    Template,
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
    /// The number of the probe that is out, and until when it is waited for.
    probe: Option<(u64, Instant)>,
    /// When one may go through although the wait is not over.
    next_probe: Instant,
    /// The credential, where paths of one kind are held.
    kind_of: Option<u64>,
    /// Tells probes from each other.
    probes: u64,
}

impl<W: Copy> Holds<W> {
    /// Nothing is held.
    #[must_use]
    pub fn new() -> Arc<Holds<W>> {
        Arc::new(Holds { count: AtomicUsize::new(0), places: Mutex::new(HashMap::new()) })
    }

    /// Looks whether a request may go to a place: none when it may, perhaps as a probe; or what it is answered with here.
    #[must_use]
    pub fn look(&self, place: Place, now: Instant) -> Option<(W, Duration)> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        held(&lock(&self.places), place, now)
    }

    /// Asks whether a request may go to a place, in the moment at which it goes: one that is a probe keeps the others waiting.
    #[must_use]
    pub fn check(self: &Arc<Self>, place: Place, now: Instant) -> Pass<W> {
        // A hold that is set at this very moment is as good as one that is set after it.
        if self.count.load(Ordering::Relaxed) == 0 {
            return Pass::Free;
        }
        let mut places = lock(&self.places);
        if let Some((what, remaining)) = held(&places, place, now) {
            return Pass::Held { what, remaining };
        }
        let mut probes = [None; 3];
        for (key, probe) in place.keys().into_iter().zip(&mut probes) {
            *probe = places.get_mut(&key).map(|hold| (key, hold.start_probe(now)));
        }
        drop(places);
        if probes.iter().all(Option::is_none) {
            return Pass::Free;
        }
        Pass::Probe(Probe { holds: Arc::clone(self), probes })
    }

    /// The provider refused, and said how long. The longer of two waits counts.
    pub fn refused(&self, place: Place, reach: Reach, what: W, wait: Duration, now: Instant) {
        let until = now + wait.min(LONGEST);
        let mut places = lock(&self.places);
        match reach {
            Reach::Credential => keep(&mut places, place.credential, None, what, until, now),
            Reach::Path => keep(&mut places, place.path, None, what, until, now),
            Reach::Template => {
                let other = |(key, hold): (&u64, &Hold<W>)| {
                    *key != place.template && hold.kind_of == Some(place.credential) && hold.until > now
                };
                if places.iter().any(other) {
                    keep(&mut places, place.credential, None, what, until, now);
                }
                keep(&mut places, place.template, Some(place.credential), what, until, now);
            }
            Reach::Nobody => {}
        }
        self.count.store(places.len(), Ordering::Relaxed);
    }

    /// Forgets all of them, and tells how many there were: somebody knows better than the provider.
    pub fn clear(&self) -> usize {
        let mut places = lock(&self.places);
        let cleared = places.len();
        places.clear();
        self.count.store(0, Ordering::Relaxed);
        cleared
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
            .map(|hold| (hold.what, hold.until.saturating_duration_since(now), hold.is_probed(now)))
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

impl Place {
    fn keys(self) -> [u64; 3] {
        [self.credential, self.path, self.template]
    }
}

/// What holds a place. All have to be over: the longest one is what is left.
fn held<W: Copy>(places: &HashMap<u64, Hold<W>>, place: Place, now: Instant) -> Option<(W, Duration)> {
    let held = place.keys().into_iter().filter_map(|key| places.get(&key)?.held(now));
    held.max_by_key(|(_, remaining)| *remaining)
}

/// Sets a hold, or makes it longer.
fn keep<W: Copy>(
    places: &mut HashMap<u64, Hold<W>>,
    key: u64,
    kind_of: Option<u64>,
    what: W,
    until: Instant,
    now: Instant,
) {
    if let Some(hold) = places.get_mut(&key) {
        // Whatever is asked meanwhile was sent before: its answer is not the probe's.
        if until >= hold.until {
            (hold.what, hold.until, hold.next_probe) = (what, until, now + PROBE_EVERY);
        }
        return;
    }
    if places.len() >= MOST {
        places.retain(|_, hold| !hold.stale(now));
    }
    if places.len() < MOST {
        let next_probe = now + PROBE_EVERY;
        places.insert(key, Hold { what, until, probe: None, probes: 0, next_probe, kind_of });
    }
}

impl<W: Copy> Hold<W> {
    /// What to answer, unless the next one may be a probe.
    fn held(&self, now: Instant) -> Option<(W, Duration)> {
        let remaining = self.until.saturating_duration_since(now);
        if self.is_probed(now) {
            Some((self.what, if remaining.is_zero() { PROBING } else { remaining }))
        } else if remaining.is_zero() || now >= self.next_probe {
            None
        } else {
            Some((self.what, remaining))
        }
    }

    /// Whether what becomes of a probe is waited for.
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

/// The one request that tries whether the provider is willing again. Dropping it lets another one try.
#[must_use = "dropping it lets another one probe"]
pub struct Probe<W> {
    holds: Arc<Holds<W>>,
    /// The places that it tries, with its number there.
    probes: [Option<(u64, u64)>; 3],
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
            if places.get(&key).is_some_and(|hold| hold.probe.is_some_and(|(probe, _)| probe == number)) {
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
