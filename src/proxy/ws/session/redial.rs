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
//! Within a generation none is dialled. A ping goes ahead of the first words of one: an end for want of words that comes before its pong
//! was said before the provider had read them, and they are sent to the new socket. Otherwise nobody can tell, and the client is told.

mod end;
mod told;

pub(super) use end::{Ahead, End, Heard, How};

use super::super::close::SessionErrors;
use super::super::dial::{Dial, Dialling, NotDialled};
use super::super::openings::Openings;
use super::Session;
use super::slots::Message;
use crate::canon::{Code, Evidence, Fault, Observed, RedialRule, Type};
use crate::detect::Coded;
use crate::proxy::context::RoutedContext;
use crate::telemetry::redials::Redial as Redialled;
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
const CROSSING: Duration = Duration::from_secs(2);

/// Most bytes of them that are kept.
const MOST_UNHEARD: usize = 64 * 1024;

/// Nothing more is read of a client of which so much waits for a socket.
const MOST_WAITING: usize = 64 * 1024;

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
    /// What it has said in generations that the provider cannot have read yet, and since when.
    unheard: Option<(Instant, Vec<u8>)>,
    /// Whether a pong tells that the provider has read what came behind the ping.
    pongs: bool,
    /// The client's last ping that the provider has not answered.
    pinged: Option<Box<[u8]>>,
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
            pongs: profile.sockets().answer_pings(),
            pinged: None,
            row: 0,
            since: Instant::now(),
        }))
    }

    /// The client says something.
    pub(super) fn is_used(&mut self) {
        self.used = true;
    }

    /// The client says this, and that is sent in its place; `keyed` says whether a key is in it. Whether it is an opening.
    pub(super) fn said(&mut self, text: &[u8], sent: &[u8], keyed: bool) -> bool {
        let waits = !matches!(self.leg, Leg::There);
        self.openings.said(text, sent, keyed, waits)
    }

    /// A message is about to go to the provider in a generation; `first` says whether none ran before. What goes ahead of it.
    pub(super) fn asked(&mut self, first: bool, message: &Message<'_>) -> Ahead {
        let framed = |text: &[u8]| frame(Opcode::Text, text, Some(fastrand::u32(..).to_be_bytes()));
        // What configures it is said with it, and no longer among the openings.
        let begun = self.openings.take_begun();
        let there = matches!(self.leg, Leg::There);
        let mut ahead = Ahead { frames: Vec::new(), ping: false };
        for (_, text) in begun.iter().filter(|(waits, _)| !there && !waits) {
            ahead.frames.extend_from_slice(&framed(text));
        }
        let before = self.unheard.take().filter(|(since, _)| !there || since.elapsed() < CROSSING);
        let (since, mut all) = match before {
            _ if first && self.pongs => (Instant::now(), Vec::new()),
            Some(unheard) => unheard,
            None => return ahead,
        };
        // One that waits for its socket has its ping when it goes.
        ahead.ping = first && there;
        for (_, text) in begun {
            all.extend_from_slice(&framed(&text));
        }
        if all.len() + message.size() <= MOST_UNHEARD {
            all.extend_from_slice(&message.framed());
            self.unheard = Some((since, all));
        }
        ahead
    }

    /// A ping of the client's goes to the provider.
    pub(super) fn client_pings(&mut self, payload: &[u8]) {
        self.pinged = Some(payload.into());
    }

    /// A pong of the provider's goes to the client.
    pub(super) fn provider_pongs(&mut self, payload: &[u8]) {
        self.pinged.take_if(|pinged| **pinged == *payload);
    }

    /// The provider says something or answers a ping, or the client says what is no message of text.
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
        if let Some(pinged) = self.redial.as_mut().and_then(|redial| redial.pinged.take()) {
            // Nobody else answers it any more.
            self.client.send_own(cx, Opcode::Pong, &pinged);
        }
        let runs = self.slots.as_ref().is_some_and(super::slots::Slots::any_run);
        let well = self.slots.as_mut().is_some_and(super::slots::Slots::take_well);
        let Some(redial) = &mut self.redial else { return };
        if well {
            redial.row = 0;
        }
        let at_once = end.why != Why::Idle && std::mem::take(&mut redial.used);
        let due = at_once.then(|| Instant::now() + Duration::from_millis(fastrand::u64(..APART)));
        redial.leg = Leg::Gone(end, due);
        // They stay what the provider has not read: the next socket may end so as well.
        redial.unheard.take_if(|_| !runs);
        if let Some((_, unheard)) = &redial.unheard {
            self.provider.send(cx, unheard);
        }
    }

    /// When a socket is dialled, if the client says nothing before.
    pub(super) fn redial_due(&self) -> Option<Instant> {
        match self.redial.as_ref().map(|redial| &redial.leg) {
            Some(Leg::Gone(_, due)) => *due,
            Some(Leg::There | Leg::Dialling(..)) | None => None,
        }
    }

    /// Whether one is being dialled and what the client says has room to wait for it: that is read all the same, so that it is noticed
    /// when the client leaves or closes.
    pub(super) fn reads_ahead_of_a_socket(&self) -> bool {
        let dialling = self.redial.as_ref().is_some_and(|redial| matches!(redial.leg, Leg::Dialling(..)));
        dialling && self.provider.waiting() < MOST_WAITING
    }

    /// Dials where the client waits or the time has come, and goes on with what was dialled. Whether anything moved.
    pub(super) fn poll_redial(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(redial) = &mut self.redial else { return false };
        if self.closing.is_some() {
            if let Leg::Dialling(..) = std::mem::replace(&mut redial.leg, Leg::There) {
                self.route.metrics.redial(Redialled::Cancelled);
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
                    let failed = NotDialled::limited("too many without a generation that ended well");
                    self.not_dialled(end, failed, cx);
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
        self.route.metrics.redial(Redialled::Success);
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
                self.provider.send_own(cx, Opcode::Text, &text);
            }
            redial.used = !waits.is_empty();
            if let Some((since, _)) = &mut redial.unheard {
                *since = now;
                self.provider.ping(cx);
            }
        }
        self.provider.send(cx, &waits);
        if let Some(keeps) = &mut self.keeps_open {
            keeps.goes_on(now);
        }
    }
}
