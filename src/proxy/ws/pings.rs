//! Whether a side that says nothing is there: when it is asked, and when its silence is an answer.
//!
//! Pure: the clock is an argument.

use std::time::Duration;
use tokio::time::Instant;

/// Pings to one side of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pings {
    /// How long it may be silent; no pings without it.
    every: Option<Duration>,
    unanswered: u8,
    next: Instant,
}

/// What is to be done about a side that is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing yet.
    Wait,
    /// It is asked.
    Ask,
    /// It has answered neither of two pings.
    Lost,
}

/// After so many unanswered pings a side is lost.
const MOST: u8 = 2;

impl Pings {
    pub(super) fn new(every: Option<Duration>, now: Instant) -> Pings {
        let mut pings = Pings { every, unanswered: 0, next: now };
        pings.heard(now);
        pings
    }

    /// The side has said something, or has had no chance to be heard.
    pub(super) fn heard(&mut self, now: Instant) {
        if let Some(every) = self.every {
            (self.unanswered, self.next) = (0, now + every);
        }
    }

    /// When the next step is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.every.map(|_| self.next)
    }

    /// What to do now. The first ping goes out after one time of silence and the second half as long after it, so that the side is lost
    /// after two times; one that cannot be asked now is asked half a time later.
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

    /// `?` asks, `!` is lost, `.` waits; `=` says that the side was heard, and `x` that it cannot be asked.
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
        // What cannot be asked is not lost, however long it takes.
        runs(Some(10), &[(10, 'x'), (15, 'x'), (20, 'x'), (25, '?'), (30, 'x'), (35, '?'), (40, '!')]);
        runs(None, &[(10, '.'), (1000, '.')]);
    }
}
