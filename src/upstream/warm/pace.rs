//! When to dial, and how many: pure, with a clock reading as an argument.

use std::time::Duration;
use tokio::time::Instant;

/// How long to wait before the next dial to an upstream that cannot be reached.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    /// A dial failed, or the provider closed a connection that it had just taken. `jitter` is from 0 to 1.
    pub(super) fn failed(&mut self, now: Instant, jitter: f64) {
        let doubled = FIRST_WAIT.saturating_mul(1 << self.failures.min(10)).min(LONGEST_WAIT);
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now + doubled.mul_f64(0.5 + jitter.clamp(0.0, 1.0)));
    }

    /// A dial begins. While the last ones failed it is a probe: the next waits until a connection has lasted, or has been closed as well.
    pub(super) fn dials_now(&mut self, now: Instant) {
        if self.failures > 0 {
            self.until = Some(now + SHORTEST + SHORTEST / 4);
        }
    }

    /// A connection has lasted, or a call has used one.
    pub(super) fn lasted(&mut self) {
        *self = Backoff::default();
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// How many dials may be under way: one where the last failed, none while it waits.
    pub(super) fn dials(&self, now: Instant) -> usize {
        match self.until {
            Some(until) if now < until => 0,
            _ if self.failures > 0 => 1,
            _ => MOST_DIALS,
        }
    }

    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }
}

/// How many connections were in use at one time lately.
#[derive(Debug)]
pub(super) struct Demand {
    highest: usize,
    before: usize,
    since: Instant,
}

impl Demand {
    pub(super) fn new(now: Instant) -> Demand {
        Demand { highest: 0, before: 0, since: now }
    }

    /// As many were in use since the last time, at most.
    pub(super) fn saw(&mut self, open: usize, now: Instant) {
        let past = now.saturating_duration_since(self.since);
        if past >= MEMORY {
            self.before = if past < 2 * MEMORY { self.highest } else { 0 };
            (self.highest, self.since) = (0, now);
        }
        self.highest = self.highest.max(open);
    }

    /// The most that were in use at one time within the last minute or so.
    pub(super) fn peak(&self) -> usize {
        self.highest.max(self.before)
    }
}

/// How long the provider keeps a connection on which no request comes: from its profile, or learned.
#[derive(Debug)]
pub(super) struct IdleLimit {
    /// What is believed at first, and grows back to.
    known: Duration,
    now: Duration,
    /// The provider closed one after so long, at that moment.
    suspected: Option<(Duration, Instant)>,
    /// When it was last found to be shorter, or tried to be longer.
    changed: Option<Instant>,
}

impl IdleLimit {
    pub(super) fn new(profile: Option<Duration>) -> IdleLimit {
        let known = profile.unwrap_or(UNKNOWN).clamp(SHORTEST, LONGEST);
        IdleLimit { known, now: known, suspected: None, changed: None }
    }

    /// The profile says this now: what was learned under what it said before is forgotten.
    pub(super) fn says(&mut self, profile: Option<Duration>) {
        let said = IdleLimit::new(profile);
        if said.known != self.known {
            *self = said;
        }
    }

    /// The provider has closed a connection that had been idle for so long. It is a limit if the same is seen again later: one that
    /// restarts closes all its connections at one time, whatever their age.
    pub(super) fn closed_after(&mut self, age: Duration, now: Instant) {
        let again = self.suspected.is_some_and(|(before, at)| {
            let (short, long) = (before.min(age), before.max(age));
            now.saturating_duration_since(at) >= short / 2 && long - short <= long / 4
        });
        if again && age < self.now {
            self.now = age.max(SHORTEST);
            self.changed = Some(now);
        }
        if again || self.suspected.is_none_or(|(before, at)| now.saturating_duration_since(at) >= before.min(age) / 2) {
            self.suspected = Some((age, now));
        }
    }

    /// How long a connection may be kept from now on. What was learned is doubted after some time.
    pub(super) fn get(&mut self, now: Instant) -> Duration {
        if self.now < self.known && self.changed.is_none_or(|at| now.saturating_duration_since(at) >= DOUBT) {
            self.now = (self.now * 3 / 2).min(self.known);
            self.changed = Some(now);
        }
        self.now
    }
}

/// How many connections are to be kept.
pub(super) fn wanted(connections: usize, max_idle: usize, peak: usize, open: usize) -> usize {
    if connections == 0 { 0 } else { peak.saturating_sub(open).clamp(connections, max_idle.max(connections)) }
}

/// The same over HTTP/2, where `roomy` connections that are in use have room, and `without` workers have none of those.
pub(super) fn wanted_http2(connections: usize, roomy: usize, without: usize) -> usize {
    connections.saturating_sub(roomy).max(usize::from(without > 0)).min(connections)
}

const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Dials to one upstream at one time.
const MOST_DIALS: usize = 4;
/// Calls of the last one or two of these spans are demand.
const MEMORY: Duration = Duration::from_secs(30);
/// What is believed where no profile says it: load balancers close after a minute, or later.
const UNKNOWN: Duration = Duration::from_secs(55);
/// Below that a connection counts as one that the provider does not want.
pub(super) const SHORTEST: Duration = Duration::from_secs(1);
/// What the pools allow.
const LONGEST: Duration = Duration::from_secs(5 * 60);
/// After how long a learned limit is tried to be longer.
const DOUBT: Duration = Duration::from_secs(10 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn dials_to_an_upstream_that_refuses_become_rare_and_come_one_at_a_time() {
        let (begun, mut backoff) = (Instant::now(), Backoff::default());
        assert_eq!(backoff.dials(begun), MOST_DIALS);
        let (mut now, mut dials) = (begun, 0);
        while now < begun + 60 * SECOND {
            if backoff.dials(now) > 0 {
                assert!(dials == 0 || backoff.dials(now) == 1);
                dials += 1;
                backoff.failed(now, 0.5);
            }
            now += SECOND / 100;
        }
        assert_eq!(dials, 8, "after 0, 0.25, 0.75, 1.75, 3.75, 7.75, 15.75 and 31.75 s");
        // One that takes connections and closes them at once is not a different case: success alone allows no other dial.
        now += LONGEST_WAIT;
        assert_eq!(backoff.dials(now), 1);
        backoff.dials_now(now);
        assert_eq!(backoff.dials(now), 0);
        backoff.failed(now, 0.0);
        assert_eq!(backoff.until(), Some(now + LONGEST_WAIT / 2));
        backoff.lasted();
        assert_eq!(backoff.dials(now), MOST_DIALS);
    }

    #[test]
    fn demand_is_what_was_in_use_at_one_time_lately() {
        let begun = Instant::now();
        let mut demand = Demand::new(begun);
        for (after, open, peak) in
            [(0, 3, 3), (1, 9, 9), (2, 0, 9), (29, 1, 9), (31, 0, 9), (59, 2, 9), (62, 1, 2), (300, 0, 0)]
        {
            demand.saw(open, begun + after * SECOND);
            assert_eq!(demand.peak(), peak, "after {after} s");
        }
    }

    #[test]
    fn a_limit_is_learned_when_it_is_met_twice() {
        let begun = Instant::now();
        let at = |seconds: u32| begun + seconds * SECOND;
        let mut limit = IdleLimit::new(None);
        // A restart closes connections of all ages at one moment.
        for age in [3, 20, 41] {
            limit.closed_after(age * SECOND, at(100));
        }
        assert_eq!(limit.get(at(100)), UNKNOWN);
        // Two that were made together end together: that is still one sight.
        limit.closed_after(5 * SECOND, at(205));
        limit.closed_after(5 * SECOND, at(205));
        assert_eq!(limit.get(at(205)), UNKNOWN);
        limit.closed_after(5 * SECOND, at(210));
        assert_eq!(limit.get(at(210)), 5 * SECOND);
        // Nobody knows what the provider does later on.
        assert_eq!(limit.get(at(809)), 5 * SECOND);
        assert_eq!(limit.get(at(810)), 7500 * SECOND / 1000);
        for round in 2..10 {
            let _ = limit.get(at(600 * round + 300));
        }
        assert_eq!(limit.get(at(9000)), UNKNOWN);
    }

    #[test]
    fn a_profile_is_believed_within_reason() {
        let now = Instant::now();
        for (said, limit) in [
            (None, UNKNOWN),
            (Some(9 * SECOND), 9 * SECOND),
            (Some(SECOND / 100), SHORTEST),
            (Some(9999 * SECOND), LONGEST),
        ] {
            assert_eq!(IdleLimit::new(said).get(now), limit);
        }
    }

    #[test]
    fn a_profile_that_is_reloaded_is_believed_anew() {
        let now = Instant::now();
        let mut limit = IdleLimit::new(Some(60 * SECOND));
        limit.closed_after(5 * SECOND, now);
        limit.closed_after(5 * SECOND, now + 5 * SECOND);
        limit.says(Some(60 * SECOND));
        assert_eq!(limit.get(now + 6 * SECOND), 5 * SECOND);
        limit.says(Some(30 * SECOND));
        assert_eq!(limit.get(now + 6 * SECOND), 30 * SECOND);
        limit.says(None);
        assert_eq!(limit.get(now + 6 * SECOND), UNKNOWN);
    }

    #[test]
    fn as_many_are_kept_as_the_next_calls_may_need() {
        for (connections, max_idle, peak, open, kept) in [
            (0, 16, 9, 0, 0),
            (2, 16, 0, 0, 2),
            (2, 16, 9, 9, 2),
            (2, 16, 9, 4, 5),
            (2, 16, 90, 0, 16),
            (2, 2, 90, 0, 2),
            (3, 1, 0, 0, 3),
        ] {
            assert_eq!(wanted(connections, max_idle, peak, open), kept, "{connections} {max_idle} {peak} {open}");
        }
        for (connections, roomy, without, kept) in [
            (2, 0, 1, 2),
            (2, 1, 0, 1),
            (2, 1, 1, 1),
            (2, 2, 0, 0),
            (2, 2, 1, 1),
            (2, 9, 3, 1),
            (0, 0, 4, 0),
            (1, 1, 0, 0),
        ] {
            assert_eq!(wanted_http2(connections, roomy, without), kept, "{connections} {roomy} {without}");
        }
    }
}
