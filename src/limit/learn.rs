//! The cap follows what the provider says.
//!
//! A plan is not known to the gateway, other processes use the same account, and plans change. What is known is the
//! operator's `max`, what the provider refuses, what it accepts, and for some what it says in headers.
//!
//! # Refusals
//!
//! A refusal for lack of a slot lowers the cap to the number of requests that the provider holds at that moment: those in use
//! here, except the refused ones. So a plan that shrinks from ten to four under ten running requests costs six refusals at most,
//! in whatever order responses and ends arrive.
//!
//! # Growing back
//!
//! When the request in the last slot succeeds, the provider holds as many as the cap, and one more may fit. One more is tried;
//! when the request in that slot succeeds it is proven, and the next may be tried at once. If there is a refusal instead, or
//! within half a minute of it, the next try comes a second later, then two, four, and so on up to half a minute ([`FIRST`],
//! [`LAST`]). A cap that was stable for that long resets this backoff.
//!
//! So while a plan stays small there is one refusal after a second, after three, seven, fifteen, thirty-one, and two a minute
//! from then on. Growth is noticed after as long as the plan was small, and after half a minute at most; then the cap grows by
//! one with each response in the last slot. A provider that frees a slot some time after the end of a body looks the same: the
//! last slots of a plan are then tried in vain.
//!
//! # Headers
//!
//! A provider's own limit sets the cap, less the slots that others use: `limit - max(0, current - ours)`. The provider counted
//! `current` at another moment than we counted `ours`, and a request that has just ended here may still count there. So the use
//! by others is taken as the least that the headers of the last one to two seconds ([`WINDOW`]) agree on. A header lowers the
//! cap at once. It raises it at once as well, unless there was a refusal just before: then it waits like any other try, so that
//! a provider whose headers and refusals disagree is not tried in vain more often than one without headers. The limit is also
//! the ceiling for tries, for [`BELIEVED`] after it was last seen.
//!
//! Never past `max`, never under one.

use std::time::{Duration, Instant};

/// After a first failed try, the next comes after this long.
pub const FIRST: Duration = Duration::from_secs(1);
/// And never later than this.
pub const LAST: Duration = Duration::from_secs(30);
/// The window over which the use by others is compared.
pub const WINDOW: Duration = Duration::from_secs(1);
/// How long a limit from a header is believed.
pub const BELIEVED: Duration = Duration::from_secs(60);

/// What is known about the slots of one account.
#[derive(Clone, Debug)]
pub struct Learn {
    max: u32,
    cap: u32,
    /// How often the cap has changed.
    changes: u32,
    /// The last slot is a try that has not been proven.
    trying: bool,
    /// When it was last raised, unless a refusal has come since.
    raised: Option<Instant>,
    /// The wait after the last failed try.
    interval: Duration,
    /// No try before this moment.
    not_before: Option<Instant>,
    /// The limit of the last header.
    reported: Option<Reported>,
}

/// The limit that headers reported lately.
#[derive(Clone, Copy, Debug)]
struct Reported {
    /// The limit less the slots that others use.
    ceiling: u32,
    at: Instant,
    others: Others,
}

/// The least number of slots that others use, over two windows.
#[derive(Clone, Copy, Debug)]
struct Others {
    since: Instant,
    now: u32,
    before: u32,
}

impl Learn {
    /// Nothing is known yet: the operator's maximum counts.
    #[must_use]
    pub fn new(max: u32) -> Learn {
        Learn {
            max,
            cap: max,
            changes: 0,
            trying: false,
            raised: None,
            interval: Duration::ZERO,
            not_before: None,
            reported: None,
        }
    }

    /// How many slots there are.
    #[must_use]
    pub fn cap(&self) -> u32 {
        self.cap
    }

    /// How often that has changed. Only a slot that was given out since the last change proves anything.
    #[must_use]
    pub fn changes(&self) -> u32 {
        self.changes
    }

    /// The operator changed the maximum. A cap at the old maximum follows it; a smaller one was learned and stays.
    pub fn set_max(&mut self, max: u32) {
        let cap = if self.cap == self.max { max } else { self.cap };
        self.max = max;
        self.change(cap);
    }

    /// Sets the cap to a known value.
    pub fn set(&mut self, cap: u32) {
        self.change(cap);
        self.trying = false;
    }

    /// The fleet knows: what one of its gateways learned counts as if it had been seen here, so that all wait equally long for the
    /// next try. `None`: nothing is known.
    pub fn agreed(&mut self, cap: Option<u32>, now: Instant) {
        let cap = self.bounded(cap.unwrap_or(self.max));
        if cap > self.cap {
            self.raise(cap, now);
        } else if cap < self.cap {
            self.refused(cap, now);
        }
    }

    /// The provider refused for want of a slot, while it held `held` others of ours.
    pub fn refused(&mut self, held: u32, now: Instant) {
        self.change(self.cap.min(held));
        self.trying = false;
        // One failed try counts once, however many requests were refused because of it.
        if let Some(raised) = self.raised.take() {
            let held = now.saturating_duration_since(raised) >= LAST;
            self.interval = if held { FIRST } else { self.interval * 2 };
        }
        self.interval = self.interval.clamp(FIRST, LAST);
        self.not_before = Some(now + self.interval);
    }

    /// The provider accepted a request; with it `level` slots were in use when it got its own.
    pub fn succeeded(&mut self, level: u32, now: Instant) {
        if level < self.cap {
            return;
        }
        if std::mem::take(&mut self.trying) {
            self.not_before = None;
        }
        if self.may_try(now) && self.cap < self.ceiling(now) {
            self.raise(self.cap + 1, now);
        }
    }

    /// The provider said how many it allows and how many it counts, while `ours` of ours were there.
    pub fn reported(&mut self, limit: u32, current: Option<u32>, ours: u32, now: Instant) {
        let others = current.map_or(0, |current| current.saturating_sub(ours));
        let others = Others::next(self.reported.map(|last| last.others), others, now);
        let ceiling = self.bounded(limit.saturating_sub(others.least()));
        self.reported = Some(Reported { ceiling, at: now, others });
        if ceiling < self.cap {
            self.change(ceiling);
            self.trying = false;
        } else if ceiling > self.cap && self.may_try(now) {
            self.raise(ceiling, now);
        }
    }

    fn raise(&mut self, cap: u32, now: Instant) {
        self.change(cap);
        self.trying = true;
        self.raised = Some(now);
    }

    fn change(&mut self, cap: u32) {
        let cap = self.bounded(cap);
        self.changes = self.changes.wrapping_add(u32::from(cap != self.cap));
        self.cap = cap;
    }

    fn may_try(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|not_before| not_before <= now)
    }

    /// How far tries may go.
    fn ceiling(&self, now: Instant) -> u32 {
        let reported = self.reported.filter(|last| now.saturating_duration_since(last.at) <= BELIEVED);
        reported.map_or(self.max, |last| last.ceiling.min(self.max))
    }

    fn bounded(&self, cap: u32) -> u32 {
        cap.max(1).min(self.max)
    }
}

impl Others {
    fn next(last: Option<Others>, others: u32, now: Instant) -> Others {
        match last {
            Some(last) if now.saturating_duration_since(last.since) < WINDOW => {
                Others { now: last.now.min(others), ..last }
            }
            Some(last) if now.saturating_duration_since(last.since) < 2 * WINDOW => {
                Others { since: now, now: others, before: last.now }
            }
            // What was said long ago tells nothing about now.
            Some(_) | None => Others { since: now, now: others, before: others },
        }
    }

    fn least(self) -> u32 {
        self.now.min(self.before)
    }
}
