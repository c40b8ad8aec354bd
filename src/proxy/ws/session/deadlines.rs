//! The deadlines of a session: silence, a side that does not read, a close without an answer. One timer for all of them.

use super::super::pings::Step;
use super::{CLOSING, Closing, LINGERING, Limits, Session, Side, Who};
use crate::canon::Fault;
use std::future::Future as _;
use std::task::Context;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// When something is due, if nothing comes before.
    fn due(&self) -> Instant {
        let Limits { idle, write, .. } = self.limits;
        if let Some(due) = self.closing_due() {
            // Nobody else wakes a session whose provider is not read yet.
            return self.opening.map_or(due, |opening| opening.min(due));
        }
        let quiet = |side: &Side<S>| side.heard + if side.pinged { idle } else { idle / 2 };
        let client_stalls = self.client.blocked.map(|since| since + write);
        let provider_stalls = self.provider.blocked.map(|since| since + idle);
        // Back-pressure pauses the idle timer.
        let asked = self.limits.provider_answers && self.provider.is_there();
        let provider_silent = (client_stalls.is_none() && asked).then(|| quiet(&self.provider));
        let client_silent = (provider_stalls.is_none() && !self.client.pinged).then(|| quiet(&self.client));
        let silence = (client_stalls.is_none() && provider_stalls.is_none()).then(|| self.active + idle);
        // A provider that has said that it is over closes soon; one that then says nothing more is not waited for.
        let over = (self.over && client_stalls.is_none()).then(|| self.provider.heard + LINGERING);
        let pings =
            [self.judged(Who::Client), self.judged(Who::Provider)].map(|side| side.and_then(|side| side.pings.due()));
        let all = [client_stalls, provider_stalls, provider_silent, client_silent, silence, over, self.opening];
        all.into_iter()
            .chain(pings)
            .chain([self.redial_due(), self.keep_alive_due(), self.slots.as_ref().and_then(super::slots::Slots::due)])
            .flatten()
            .min()
            .unwrap_or_else(|| self.active + idle)
    }

    /// When an ending session is dropped as it is. Whoever still takes what was said before the close is waited for, the client also
    /// while it is all in the buffers between: speech is played more slowly than it is sent.
    pub(super) fn closing_due(&self) -> Option<Instant> {
        let due = self.closing.map(|closing| self.closes_at(closing));
        [due, self.dropped_at].into_iter().flatten().min()
    }

    fn closes_at(&self, closing: Closing) -> Instant {
        if let Some(linger) = closing.linger {
            return linger;
        }
        // A gateway that is ending has not so much time.
        let patience =
            if self.stopping == Some(Fault::ShuttingDown) { CLOSING } else { self.limits.write.max(CLOSING) };
        let blocked = self.client.blocked.max(self.provider.blocked);
        match blocked {
            Some(since) => since + patience,
            None if self.client.owes_close() => closing.progress + patience,
            None => closing.progress + CLOSING,
        }
    }

    /// One side has taken something. What goes to a provider that has closed already is nothing that anybody waits for: a client
    /// that does not know of the close yet may go on for ever.
    pub(super) fn closing_moves(&mut self, to: Who) {
        let waited_for = to == Who::Client || self.provider.close_seen.is_none();
        if let Some(closing) = self.closing.as_mut().filter(|_| waited_for) {
            closing.progress = Instant::now();
        }
    }

    /// The time, when something is due; else the timer will wake the task.
    pub(super) fn poll_timer(&mut self, cx: &mut Context<'_>) -> Option<Instant> {
        let due = self.due();
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if due <= now {
                return Some(now);
            }
            timer.as_mut().reset(due);
        }
        None
    }

    /// A side whose silence means something: it takes what it is sent, pings among it, and is read.
    fn judged(&self, who: Who) -> Option<&Side<S>> {
        let (side, other) = match who {
            Who::Client => (&self.client, &self.provider),
            Who::Provider => (&self.provider, &self.client),
        };
        (side.is_there() && side.blocked.is_none() && other.blocked.is_none()).then_some(side)
    }

    /// Asks sides that have said nothing for a while whether they are there. Whether one of them is not.
    fn ask(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        for who in [Who::Client, Who::Provider] {
            if self.judged(who).is_none() {
                continue;
            }
            let between = self.side(who.other()).frames.is_between_frames();
            let side = self.side(who);
            match side.pings.step(now, between) {
                Step::Wait => {}
                Step::Ask => side.ping(cx),
                Step::Lost if who == Who::Client => {
                    self.abandoned(Fault::ClientLost, cx);
                    return true;
                }
                Step::Lost if self.parts_lost(Fault::PingsUnanswered, None, cx) => {}
                Step::Lost => {
                    self.fail(Fault::PingsUnanswered, None, None, cx);
                    return true;
                }
            }
        }
        false
    }

    /// Does what is due: asks who has long been silent, ends what has been silent for too long.
    pub(super) fn overdue(&mut self, now: Instant, cx: &mut Context<'_>) {
        let Limits { idle, write, .. } = self.limits;
        if self.opening.take_if(|opening| *opening <= now).is_some() {
            return;
        }
        let past = |since: Instant, limit: Duration| since + limit <= now;
        if self.client.blocked.is_some_and(|since| past(since, write)) {
            return self.abandoned(Fault::ClientStalled, cx);
        }
        if self.silences(now, cx) || self.ask(now, cx) {
            return;
        }
        self.keep_alive(now, cx);
        let stalls = self.provider.blocked.is_some_and(|since| past(since, idle));
        let asks = self.limits.provider_answers && self.provider.is_there();
        let silent = asks && self.client.blocked.is_none() && past(self.provider.heard, idle);
        let blocked = self.client.blocked.is_some() || self.provider.blocked.is_some();
        let over = self.over && self.client.blocked.is_none() && past(self.provider.heard, LINGERING);
        let unused = !blocked && past(self.active, idle);
        if unused && !over && !stalls && !silent && !self.has_work() && self.may_interrupt() {
            return self.retire(cx);
        }
        if silent && !unused && self.parts_lost(Fault::ResponseStalled, None, cx) {
            return;
        }
        if over || stalls || silent || unused {
            return self.fail(Fault::ResponseStalled, None, None, cx);
        }
        for who in [Who::Client, Who::Provider] {
            let between = self.side(who.other()).frames.is_between_frames();
            let side = self.side(who);
            if who == Who::Provider && !asks {
                continue;
            }
            if !side.pinged && past(side.heard, idle / 2) {
                side.pinged = true;
                // In the middle of a long frame nothing can be asked, and that frame shows that somebody is there.
                if between {
                    side.ping(cx);
                }
            }
        }
    }
}
