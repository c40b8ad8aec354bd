//! How a session ends: a broken protocol, a side that is gone, a failure of ours; closes go both ways, and then the connections end.

use super::super::close::CloseMessage;
use super::super::frames::Violation;
use super::{Closing, LINGERING, Session, Who};
use crate::canon::{Code, Fault};
use crate::generation::Outcome;
use crate::telemetry::metrics::Initiator;
use crate::wire::close;
use std::io;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// One side broke the protocol: its frame goes nowhere, and both learn why there is no more.
    pub(super) fn violated(&mut self, who: Who, violation: Violation, cx: &mut Context<'_>) {
        let closing = self.closing.is_some();
        // What it sends from here on is read, so that it can read what is said to it, and not understood.
        let _ = self.side(who).close_seen.get_or_insert(None);
        if closing {
            return self.answer_closes(cx);
        }
        let large = violation == Violation::TooLarge;
        let fault = match (who, large) {
            (Who::Client, true) => Fault::ClientSocketTooLarge,
            (Who::Client, false) => Fault::ClientSocketInvalid,
            (Who::Provider, true) => Fault::SocketTooLarge,
            (Who::Provider, false) => Fault::SocketInvalid,
        };
        self.fail(fault, None, Some((who, violation)), cx);
    }

    /// One side sends nothing any more.
    pub(super) fn ended(&mut self, who: Who, error: Option<&io::Error>, cx: &mut Context<'_>) {
        self.side(who).ended = true;
        let side = self.side(who);
        match who {
            _ if side.close_seen.is_some() || side.close_sent => {
                self.answer_closes(cx);
                if who == Who::Client {
                    // Nobody is left to hear what it may still say.
                    self.provider.give_up();
                }
            }
            Who::Client => self.abandoned(Fault::ClientLeft, cx),
            Who::Provider => {
                let detail = error.map(ToString::to_string);
                if self.parts_lost(Fault::ResponseBodyIncomplete, detail.clone(), cx) {
                    return;
                }
                self.closing(close::ABNORMAL, Initiator::Provider);
                self.fail(Fault::ResponseBodyIncomplete, detail, None, cx);
            }
        }
    }

    /// The provider closed in order before it had said its last word: what the client has is incomplete.
    pub(super) fn cut(&mut self, code: Option<u16>, cx: &mut Context<'_>) {
        self.provider.close_seen = Some(code);
        self.closing_begins(Outcome::Failed, Some(Fault::ResponseBodyIncomplete.code()));
        self.closing(code.unwrap_or(close::NO_STATUS), Initiator::Provider);
        self.fail(Fault::ResponseBodyIncomplete, None, None, cx);
    }

    /// The client has gone, or does not read: the provider is told at once, so that it stops what nobody hears.
    pub(super) fn abandoned(&mut self, fault: Fault, cx: &mut Context<'_>) {
        self.errors.unheard(fault);
        self.closing(close::ABNORMAL, Initiator::Client);
        self.client.abandon();
        self.leave_provider(1001, "the client left", cx);
    }

    /// One side will not answer the other's close any more: it is answered here.
    pub(super) fn answer_closes(&mut self, cx: &mut Context<'_>) {
        for who in [Who::Client, Who::Provider] {
            let other = self.side(who.other());
            let (theirs, between) = (other.close_seen, other.frames.is_between_frames());
            let side = self.side(who);
            if between {
                side.close(cx, side.close_seen.or(theirs).flatten(), "");
            } else {
                side.give_up();
            }
        }
    }

    /// Ends the session for a reason that nobody said.
    pub(super) fn fail(
        &mut self,
        fault: Fault,
        detail: Option<String>,
        by: Option<(Who, Violation)>,
        cx: &mut Context<'_>,
    ) {
        let violation = by.map(|(_, violation)| violation);
        self.closing_begins(Outcome::Failed, Some(fault.code()));
        let closing = self.errors.failed(fault, detail, violation, std::mem::take(&mut self.lost));
        let code = match by {
            // What is too large for the one is too large for the other: both hear the same.
            Some((who, violation)) if who == Who::Client || violation == Violation::TooLarge => violation.close_code(),
            _ => closing.code,
        };
        self.closing(code, Initiator::Gateway);
        self.say(&closing, code, cx);
        match by {
            Some((who, violation)) if who == Who::Provider || violation == Violation::TooLarge => {
                self.leave_provider(violation.close_code(), violation.reason(), cx);
            }
            _ => self.leave_provider(1001, "", cx),
        }
    }

    /// Whether somebody waits for the provider: for a unit that runs, or, where none are known, for an answer to what the client said
    /// last.
    pub(super) fn has_work(&self) -> bool {
        match &self.slots {
            Some(slots) => slots.has_work(),
            None => self.last_word == Some(Who::Client),
        }
    }

    /// Ends a session on which both sides are well and nothing is said: that is nobody's error.
    pub(super) fn retire(&mut self, cx: &mut Context<'_>) {
        self.closing(close::GOING_AWAY, Initiator::Gateway);
        self.client.close(cx, Some(close::GOING_AWAY), "idle");
        self.leave_provider(close::GOING_AWAY, "", cx);
    }

    /// Tells the client an error and closes; where half a frame is out, all that can be done is to cut.
    pub(super) fn say(&mut self, closing: &CloseMessage, code: u16, cx: &mut Context<'_>) {
        if !self.provider.frames.is_between_frames() {
            return self.client.give_up();
        }
        self.say_message(closing, cx);
        self.client.close(cx, Some(code), closing.reason.as_deref().unwrap_or_default());
    }

    /// Inside a message of several frames no other may stand: the close alone has to tell.
    pub(super) fn say_message(&mut self, closing: &CloseMessage, cx: &mut Context<'_>) {
        if self.client.close_sent || !self.provider.frames.is_between_messages() {
            return;
        }
        for message in &closing.messages {
            self.client.tell(cx, message);
        }
    }

    /// Closes the provider's side, whatever it may answer.
    pub(super) fn leave_provider(&mut self, code: u16, reason: &str, cx: &mut Context<'_>) {
        if self.client.frames.is_between_frames() {
            self.provider.close(cx, Some(code), reason);
        }
        self.provider.give_up();
    }

    /// From the first close on, time is limited; it is counted with who began and how.
    pub(super) fn closing(&mut self, code: u16, initiator: Initiator) {
        self.closing_begins(Session::<S>::ends_with(code, initiator), None);
        if !std::mem::replace(&mut self.close_counted, true) {
            self.route.metrics.websocket_closed(code, initiator);
            self.errors.call.close_code = Some(code);
            self.errors.call.trace.closed(code, initiator);
        }
    }

    /// One side has closed with this code.
    pub(super) fn closes_with(&mut self, who: Who, code: Option<u16>) {
        self.side(who).close_seen = Some(code);
        self.closing(code.unwrap_or(close::NO_STATUS), who.initiator());
    }

    /// Time is limited, and the units are over that ran until now.
    pub(super) fn closing_begins(&mut self, outcome: Outcome, code: Option<Code>) {
        let _ = self.closing.get_or_insert_with(|| Closing { progress: Instant::now(), linger: None });
        if let Some(slots) = &mut self.slots {
            self.lost.extend(slots.running());
            slots.end(&self.errors.call, outcome, code);
        }
        if !self.provider.is_there() {
            self.provider.abandon();
        }
    }

    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(closing) = &mut self.closing else { return Poll::Pending };
        let ended = [self.client.poll_end(cx), self.provider.poll_end(cx)];
        if ended.iter().all(Poll::is_ready) {
            return Poll::Ready(());
        }
        if self.client.is_closed() && self.provider.is_closed() {
            let _ = closing.linger.get_or_insert_with(|| Instant::now() + LINGERING);
        }
        Poll::Pending
    }
}
