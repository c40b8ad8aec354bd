//! Keepalive pings: when to ping a silent side, and when it counts as lost.
//!
//! Pure: the clock is an argument.

use std::time::Duration;
use tokio::time::Instant;

/// Pings to one side of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pings {
    /// The silence after which it is pinged; none for no pings.
    every: Option<Duration>,
    unanswered: u8,
    next: Instant,
}

/// What to do about a silent side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing yet.
    Wait,
    /// Ping it.
    Ask,
    /// It has answered neither of two pings.
    Lost,
}

/// After this many unanswered pings a side is lost.
const MOST: u8 = 2;

impl Pings {
    pub(super) fn new(every: Option<Duration>, now: Instant) -> Pings {
        let mut pings = Pings { every, unanswered: 0, next: now };
        pings.heard(now);
        pings
    }

    /// The side sent something, or nothing could be read from it.
    pub(super) fn heard(&mut self, now: Instant) {
        if let Some(every) = self.every {
            (self.unanswered, self.next) = (0, now + every);
        }
    }

    /// When the next step is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.every.map(|_| self.next)
    }

    /// What to do now. The first ping is sent after one interval of silence and the second half an interval later; after two
    /// intervals the side is lost. If a ping cannot be sent now, it is tried half an interval later.
    pub(super) fn step(&mut self, now: Instant, may_ask: bool) -> Step {
        let Some(every) = self.every.filter(|_| self.next <= now) else { return Step::Wait };
        if self.unanswered == MOST {
            return Step::Lost;
        }
        self.next = now + every / 2;
        if !may_ask {
            return Step::Wait;
        }
        self.unanswered += 1;
        Step::Ask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// `?` pings, `!` is lost, `.` waits; `=` is traffic from the side, and `x` means that no ping can be sent.
    fn runs(every: Option<u64>, script: &[(u64, char)]) {
        let start = Instant::now();
        let mut pings = Pings::new(every.map(Duration::from_secs), start);
        for (at, expected) in script {
            let now = start + SECOND * u32::try_from(*at).expect("a short script");
            match expected {
                '=' => pings.heard(now),
                'x' => assert_eq!(pings.step(now, false), Step::Wait, "{at}"),
                '?' => assert_eq!(pings.step(now, true), Step::Ask, "{at}"),
                '!' => assert_eq!(pings.step(now, true), Step::Lost, "{at}"),
                _ => assert_eq!(pings.step(now, true), Step::Wait, "{at}"),
            }
        }
    }

    #[test]
    fn a_side_is_asked_twice_and_then_lost() {
        runs(Some(10), &[(9, '.'), (10, '?'), (14, '.'), (15, '?'), (19, '.'), (20, '!')]);
        runs(Some(10), &[(10, '?'), (15, '?'), (19, '='), (28, '.'), (29, '?'), (34, '?'), (39, '!')]);
        // A side that cannot be pinged is never lost.
        runs(Some(10), &[(10, 'x'), (15, 'x'), (20, 'x'), (25, '?'), (30, 'x'), (35, '?'), (40, '!')]);
        runs(None, &[(10, '.'), (1000, '.')]);
    }
}
