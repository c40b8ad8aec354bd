//! The provider's socket ends between generations, and the client keeps its own: another one is dialled in its place.
//!
//! ```text
//! There ── ends, nothing runs ──▶ Gone ── the client says something ──▶ Dialling ──▶ There
//!                                  └───── a drain, a loss: at once ─────▶┘   └─ failed: the client is told of the end
//! ```
//!
//! After an idle end none is dialled until the client says something: a provider that closes idle sockets would be asked again and again
//! on behalf of a client that is silent. After a drain or a loss one is dialled at once, a moment apart from others, unless the client
//! has said nothing on the last one. What the client says meanwhile waits, and no more is read from it.
//!
//! Within a generation none is dialled. An end for want of words that comes right after the first words of one was said before the
//! provider had them: those are sent to the new socket.

mod end;

pub(super) use end::{End, Heard, How};

use super::super::close::{CloseMessage, SessionErrors};
use super::super::dial::{Dial, Dialling, NotDialled};
use super::super::openings::Openings;
use super::slots::Message;
use super::{Session, Who};
use crate::canon::{Code, Evidence, Fault, Observed, RedialRule, Type};
use crate::detect::Coded;
use crate::proxy::context::RoutedContext;
use crate::telemetry::metrics::Initiator;
use crate::telemetry::redials::Redial as Outcome;
use crate::wire::close;
use crate::wire::frame::{Opcode, frame};
use end::Why;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

/// How many are dialled one after the other within [`ROW`] without a generation that ended well.
const MOST: u32 = 5;
const ROW: Duration = Duration::from_secs(60);

/// How long the first words of a generation and the provider's end of an idle socket may pass each other on their ways.
const CROSSING: Duration = Duration::from_millis(500);

/// Most bytes of them that are kept.
const MOST_UNHEARD: usize = 64 * 1024;

/// One that is dialled at once is dialled within so long, so that those of a whole server do not come together.
const APART: u64 = 250;

/// What dials the provider's socket again.
pub(in crate::proxy::ws) struct Redial<S> {
    rule: Arc<RedialRule>,
    dial: Dial<S>,
    pub(super) openings: Openings,
    leg: Leg<S>,
    /// The client has said something on the socket that is or was there.
    used: bool,
    /// What it has said in generations of which the provider has said nothing yet, and since when.
    unheard: Option<(Instant, Vec<u8>)>,
    /// So many have been dialled since then.
    row: u32,
    since: Instant,
}

/// The provider's side.
enum Leg<S> {
    There,
    /// It has ended so, and another one is dialled then, if the client says nothing before.
    Gone(End, Option<Instant>),
    Dialling(End, Instant, Dialling<S>),
}

impl<S> fmt::Debug for Redial<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redial").field("openings", &self.openings).field("row", &self.row).finish_non_exhaustive()
    }
}

impl<S> Redial<S> {
    /// None where the profile does not say how, or nobody could tell whether a generation is open.
    pub(in crate::proxy::ws) fn of(call: &RoutedContext, dial: Dial<S>) -> Option<Box<Redial<S>>> {
        let (method, path) = call.request();
        let profile = &call.route.config.profile;
        let rule = profile.redial(method, path).filter(|_| call.route.config.websocket.redial)?;
        let generations = Arc::clone(profile.generations(method, path)?);
        Some(Box::new(Redial {
            openings: Openings::new(Arc::clone(rule), generations),
            rule: Arc::clone(rule),
            dial,
            leg: Leg::There,
            used: false,
            unheard: None,
            row: 0,
            since: Instant::now(),
        }))
    }

    /// The client says something.
    pub(super) fn is_used(&mut self) {
        self.used = true;
    }

    /// A message has gone to the provider in a generation; `first` says whether none ran before.
    pub(super) fn asked(&mut self, first: bool, message: &Message<'_>) {
        let before = self.unheard.take().filter(|(since, _)| since.elapsed() < CROSSING);
        let (since, mut all) = match before {
            _ if first => (Instant::now(), Vec::new()),
            Some(unheard) => unheard,
            None => return,
        };
        // What configures it is said with it, and no longer among the openings.
        for text in self.openings.take_begun() {
            all.extend_from_slice(&frame(Opcode::Text, &text, Some(fastrand::u32(..).to_be_bytes())));
        }
        if all.len() + message.size() <= MOST_UNHEARD {
            all.extend_from_slice(&message.framed());
            self.unheard = Some((since, all));
        }
    }

    /// The provider says something, or the client what is no message of text.
    pub(super) fn is_heard(&mut self) {
        self.unheard = None;
    }

    /// Whether what runs has only just begun, so that an end for want of words can only have crossed its first words.
    pub(super) fn has_crossed(&self) -> bool {
        self.unheard.as_ref().is_some_and(|(since, _)| since.elapsed() < CROSSING)
    }

    /// What becomes of a message of the provider's; `quiet` says whether the socket may end here unnoticed.
    pub(super) fn heard(&mut self, message: &Coded<'_>, errors: &SessionErrors, quiet: bool) -> Heard {
        let seen = message.observed(Observed::frame(message.body(), SystemTime::now()));
        let evidence = Evidence::new(&seen);
        match errors.meaning(&evidence) {
            Some(Code::SessionTimeout) if quiet => Heard::Ends,
            None if self.openings.heard(&evidence) => Heard::Again,
            Some(_) | None => Heard::Passes,
        }
    }

    /// Why a close came, if it is one after which another socket is dialled.
    fn reason(&self, code: Option<u16>, reason: &str, errors: &SessionErrors) -> Option<Why> {
        let seen = Observed::close(code.unwrap_or(close::NO_STATUS), reason, SystemTime::now());
        let evidence = Evidence::new(&seen);
        let meaning = errors.meaning(&evidence);
        if meaning == Some(Code::SessionTimeout) {
            return Some(Why::Idle);
        }
        let passes =
            |code: Code| matches!(code.kind(), Type::Timeout | Type::Unavailable | Type::Upstream | Type::Internal);
        if !meaning.is_none_or(passes) {
            return None;
        }
        let profile = &errors.call.route.config.profile;
        let generic = profile.fallback.as_ref().map(|fallback| fallback.generic.sockets());
        let mut sockets = std::iter::once(profile.sockets()).chain(generic);
        if self.rule.is_idle(&evidence) || sockets.clone().any(|sockets| sockets.are_idle(&evidence)) {
            return Some(Why::Idle);
        }
        sockets.any(|sockets| sockets.drain(&evidence)).then_some(Why::Drain)
    }

    /// Whether one more may be dialled; a generation that ended well begins the count anew.
    fn may_dial(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) > ROW {
            (self.row, self.since) = (0, now);
        }
        self.row += 1;
        self.row <= MOST
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Whether the provider's socket may end now without the client's: nothing runs, nothing is half said, and a new one can be told all
    /// that this one was. One that is `idle` may also end in the moment in which a generation begins.
    pub(super) fn may_part(&self, idle: bool) -> bool {
        let (Some(redial), Some(slots)) = (&self.redial, &self.slots) else { return false };
        let ends = self.closing.is_some() || self.over || self.stopping.is_some();
        !ends
            && matches!(redial.leg, Leg::There)
            && redial.openings.are_whole()
            && (!slots.any_run() || idle && redial.has_crossed())
            && !self.errors.is_blamed()
            && self.client.close_seen.is_none()
            && !self.client.ended
            && self.client.frames.is_between_messages()
            && self.provider.is_clear()
    }

    /// The provider has closed. Whether another socket takes the place of its own.
    pub(super) fn parts_with(&mut self, close: (&[u8], Option<u16>, &str), cx: &mut Context<'_>) -> bool {
        let (frame, code, reason) = close;
        if !self.may_part(true) || !self.provider.frames.is_between_messages() {
            return false;
        }
        let why = self.redial.as_ref().and_then(|redial| redial.reason(code, reason, &self.errors));
        let Some(why) = why.filter(|why| self.may_part(*why == Why::Idle)) else { return false };
        self.part(End { why, how: How::Close(frame.to_vec(), code, reason.to_owned()) }, cx);
        true
    }

    /// The provider is lost. Whether another socket takes the place of its own.
    pub(super) fn parts_lost(&mut self, fault: Fault, detail: Option<String>, cx: &mut Context<'_>) -> bool {
        let may = self.may_part(false) && self.provider.frames.is_between_messages();
        if may {
            self.part(End { why: Why::Loss, how: How::Fault(fault, detail) }, cx);
        }
        may
    }

    /// The provider has said that the socket ends because nothing was said.
    pub(super) fn parts_told(&mut self, frames: Vec<u8>, text: Vec<u8>, cx: &mut Context<'_>) {
        self.part(End { why: Why::Idle, how: How::Message(frames, text) }, cx);
    }

    fn part(&mut self, end: End, cx: &mut Context<'_>) {
        let code = match &end.how {
            How::Close(_, code, _) => *code,
            How::Message(..) => Some(1000),
            How::Fault(..) => Some(close::GOING_AWAY),
        };
        let frames = self.reads_provider();
        self.provider.part(cx, code, frames);
        let runs = self.slots.as_ref().is_some_and(super::slots::Slots::any_run);
        let well = self.slots.as_mut().is_some_and(super::slots::Slots::take_well);
        let Some(redial) = &mut self.redial else { return };
        if well {
            redial.row = 0;
        }
        let at_once = end.why != Why::Idle && std::mem::take(&mut redial.used);
        let due = at_once.then(|| Instant::now() + Duration::from_millis(fastrand::u64(..APART)));
        redial.leg = Leg::Gone(end, due);
        if let Some((_, unheard)) = redial.unheard.take().filter(|_| runs) {
            self.provider.send(cx, &unheard);
        }
    }

    /// When a socket is dialled, if the client says nothing before.
    pub(super) fn redial_due(&self) -> Option<Instant> {
        match self.redial.as_ref().map(|redial| &redial.leg) {
            Some(Leg::Gone(_, due)) => *due,
            Some(Leg::There | Leg::Dialling(..)) | None => None,
        }
    }

    /// Whether one is being dialled, so that what comes from the client waits.
    pub(super) fn is_dialling(&self) -> bool {
        self.redial.as_ref().is_some_and(|redial| matches!(redial.leg, Leg::Dialling(..)))
    }

    /// Dials where the client waits or the time has come, and goes on with what was dialled. Whether anything moved.
    pub(super) fn poll_redial(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(redial) = &mut self.redial else { return false };
        if self.closing.is_some() {
            if let Leg::Dialling(..) = std::mem::replace(&mut redial.leg, Leg::There) {
                self.route.metrics.redial(Outcome::Cancelled);
            }
            return false;
        }
        match std::mem::replace(&mut redial.leg, Leg::There) {
            Leg::There => false,
            Leg::Gone(end, due) => {
                let now = Instant::now();
                let waits = !self.provider.is_clear();
                if !waits && due.is_none_or(|due| due > now) {
                    redial.leg = Leg::Gone(end, due);
                    return false;
                }
                if redial.may_dial(now) {
                    redial.leg = Leg::Dialling(end, now, (redial.dial)());
                } else {
                    let detail = "too many without a generation that ended well".to_owned();
                    self.not_dialled(end, NotDialled { outcome: Outcome::Limited, detail, refusal: None }, cx);
                }
                true
            }
            Leg::Dialling(end, began, mut dialling) => match dialling.as_mut().poll(cx) {
                Poll::Pending => {
                    redial.leg = Leg::Dialling(end, began, dialling);
                    false
                }
                Poll::Ready(Ok(io)) => {
                    self.goes_on(io, &end, began, cx);
                    true
                }
                Poll::Ready(Err(failed)) => {
                    self.not_dialled(end, failed, cx);
                    true
                }
            },
        }
    }

    /// Goes on with a new socket: first what configures the session, then what the client has said meanwhile.
    fn goes_on(&mut self, io: S, end: &End, began: Instant, cx: &mut Context<'_>) {
        let now = Instant::now();
        self.route.metrics.redial(Outcome::Success);
        let (why, took) = (end.why.as_str(), now.saturating_duration_since(began).as_secs_f64());
        let id = self.errors.call.id_text();
        tracing::info!(
            route = self.errors.call.route_name(),
            request_id = id,
            why,
            seconds = took,
            "a provider's socket was dialled again"
        );
        let waits = self.provider.go_on(io, now);
        self.active = self.active.max(now);
        if let Some(redial) = &mut self.redial {
            for text in redial.openings.say_again() {
                self.provider.send_own(cx, Opcode::Text, text);
            }
            redial.used = !waits.is_empty();
        }
        self.provider.send(cx, &waits);
        if let Some(keeps) = &mut self.keeps_open {
            keeps.goes_on(now);
        }
    }

    /// There is no new socket. A client that waits is told of the end of the last one, and another is told when it says something, unless
    /// that finds one.
    fn not_dialled(&mut self, end: End, failed: NotDialled, cx: &mut Context<'_>) {
        let NotDialled { outcome, detail, refusal } = failed;
        self.route.metrics.redial(outcome);
        let (why, id) = (end.why.as_str(), self.errors.call.id_text());
        let (route, outcome) = (self.errors.call.route_name(), outcome.as_str());
        tracing::warn!(route, request_id = id, why, outcome, detail, "a provider's socket was not dialled again");
        if let Some(refusal) = refusal {
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

    /// A close of the provider's for the client, in the form of the route.
    pub(super) fn provider_closed(&mut self, frame: &[u8], code: Option<u16>, reason: &str, cx: &mut Context<'_>) {
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
