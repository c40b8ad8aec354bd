//! A socket of the provider's has ended and none takes its place: what the client is told.

use super::super::super::close::CloseMessage;
use super::super::super::dial::{NotDialled, Refused};
use super::super::{Session, Who, slots};
use super::{End, How, Leg};
use crate::canon::{Evidence, Fault, Observed};
use crate::detect::Coded;
use crate::generation::Outcome;
use crate::telemetry::metrics::Initiator;
use crate::wire::close;
use std::task::Context;
use std::time::SystemTime;
use tokio::io::{AsyncRead, AsyncWrite};

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// There is no new socket. A client with a generation open is told why, one that waits with none of the end of the last socket, and
    /// another when it says something, unless that finds one.
    pub(super) fn not_dialled(&mut self, end: End, failed: NotDialled, cx: &mut Context<'_>) {
        let NotDialled { outcome, detail, refused } = failed;
        self.route.metrics.redial(outcome);
        let (why, id) = (end.why.as_str(), self.errors.call.id_text());
        let (route, outcome) = (self.errors.call.route_name(), outcome.as_str());
        tracing::warn!(route, request_id = id, why, outcome, detail, "a provider's socket was not dialled again");
        if self.slots.as_ref().is_some_and(slots::Slots::any_run) {
            return self.has_none(refused, detail, cx);
        }
        if let Refused::ByProvider(refusal) = refused {
            self.errors.redial_refused(&refusal.0, &refusal.1);
        }
        if self.provider.is_clear()
            && let Some(redial) = &mut self.redial
        {
            redial.leg = Leg::Gone(end, None);
            return;
        }
        match end.how {
            How::Close(frame, code, reason) => {
                self.closes_with(Who::Provider, code);
                self.provider_closed(&frame, code, &reason, cx);
            }
            How::Message(frames, text) => {
                let message = Coded::message(self.errors.codec(), &text);
                match self.errors.message(&message) {
                    Some(message) => self.client.tell(cx, &message),
                    None => self.client.send(cx, &frames),
                }
                self.fail(Fault::ResponseBodyIncomplete, None, None, cx);
            }
            How::Fault(fault, detail) => {
                if fault == Fault::ResponseBodyIncomplete {
                    self.closing(close::ABNORMAL, Initiator::Provider);
                }
                self.fail(fault, detail, None, cx);
            }
        }
    }

    /// A generation is open, and no socket for it: the client is told what was said to that, or that the last one has ended.
    fn has_none(&mut self, refused: Refused, detail: String, cx: &mut Context<'_>) {
        let error = match refused {
            Refused::ByProvider(refusal) => Some(self.errors.meaning_of(&refusal.0, &refusal.1)),
            Refused::Here(denied) => {
                self.closing_begins(Outcome::Failed, None);
                let closing = self.errors.not_redialled(denied, std::mem::take(&mut self.lost));
                return self.ends_with_error(&closing, cx);
            }
            Refused::ByNobody => None,
        };
        let Some(error) = error else { return self.fail(Fault::ResponseBodyIncomplete, Some(detail), None, cx) };
        self.closing_begins(Outcome::Failed, Some(error.code));
        let closing = self.errors.redial_failed(error, detail, std::mem::take(&mut self.lost));
        self.ends_with_error(&closing, cx);
    }

    fn ends_with_error(&mut self, closing: &CloseMessage, cx: &mut Context<'_>) {
        self.closing(closing.code, Initiator::Gateway);
        self.say(closing, closing.code, cx);
        self.leave_provider(close::GOING_AWAY, "", cx);
    }

    /// The provider ends its socket in order although a generation is open, of which it says nothing. Whether the client is told that by
    /// the gateway: with a close that is no error it would take what it has for the whole.
    pub(in crate::proxy::ws::session) fn breaks_off(
        &mut self,
        code: Option<u16>,
        reason: &str,
        cx: &mut Context<'_>,
    ) -> bool {
        let runs = self.slots.as_ref().is_some_and(slots::Slots::any_run);
        let free = self.closing.is_none() && self.client.close_seen.is_none() && !self.client.close_sent;
        // A session of which not all is known is told what it would be told without redials.
        let redial = self.redial.as_ref().filter(|redial| runs && free && redial.openings.are_whole());
        let Some(redial) = redial else { return false };
        let seen = Observed::close(code.unwrap_or(close::NO_STATUS), reason, SystemTime::now());
        let quiet = self.errors.meaning(&Evidence::new(&seen)).is_none() && !self.errors.is_blamed();
        if !quiet || redial.reason(code, reason, &self.errors).is_none() {
            return false;
        }
        self.cut(code, cx);
        true
    }

    /// A close of the provider's for the client, in the form of the route.
    pub(in crate::proxy::ws::session) fn provider_closed(
        &mut self,
        frame: &[u8],
        code: Option<u16>,
        reason: &str,
        cx: &mut Context<'_>,
    ) {
        let closing: CloseMessage = self.errors.close(code, reason, std::mem::take(&mut self.lost));
        match (code, &closing.reason) {
            (Some(code), Some(_)) => self.say(&closing, code, cx),
            _ => {
                self.say_message(&closing, cx);
                self.client.pass_close(cx, frame);
            }
        }
    }
}
