//! The session: both directions in one task, nothing read from one side before the other has taken what came before.
//!
//! ```text
//! provider ─ read ─ FrameReader ─┬─ passes ───────────────────────────┐
//!                            ├─ may be an error ─ SessionErrors ───────────┼─ client.send
//!                            └─ close ─ SessionErrors ─────────────────────┘
//! client ─── read ─ FrameReader ─── passes, close ───────────────────── provider.send
//! ```
//!
//! Reading goes into one buffer per thread and writing straight out of it; only what a side does not take at once, and frames
//! that are not whole yet, are copied. A session that waits holds no buffer at all.

mod deadlines;
mod ending;
mod slots;

use super::close::SessionErrors;
use super::first_message::FirstMessages;
use super::frames::{HELD_FOR_SLOTS, Look, Sizes, Unit, Violation};
use super::side::Side;
use crate::canon::{Codec, Fault, Phase};
use crate::detect::Coded;
use crate::proxy::RouteRuntime;
use crate::telemetry::metrics::{Direction, Initiator, OpenSocket};
use crate::wire::close;
use crate::wire::frame::{Opcode, Sender};
use slots::{Message, Pass, Slots};
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};

/// How much is read at once, and so the most that waits for a side that does not take it.
const READ: usize = 16 * 1024;
/// How long a side may take to answer a close, once it has taken all that was said before.
const CLOSING: Duration = Duration::from_secs(10);
/// How long a side may take to end its connection once closes have gone both ways.
const LINGERING: Duration = Duration::from_secs(1);
/// How long the provider's first message comes after the answer to the handshake at the least. Clients in JavaScript attach their
/// handlers when they hear of that answer, and a message that came with it is gone by then.
const OPENING: Duration = Duration::from_millis(5);
/// Longer deadlines are treated as disabled.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// Deadlines and sizes of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The longest silence.
    pub(super) idle: Duration,
    /// How long the client may leave unread what was sent.
    pub(super) write: Duration,
    /// How much either side may send at once.
    pub(super) sizes: Sizes,
}

/// One session.
#[derive(Debug)]
pub(super) struct Session<S> {
    client: Side<S>,
    provider: Side<S>,
    errors: SessionErrors,
    first_messages: FirstMessages,
    /// What is counted on the socket, where the route limits that.
    slots: Option<Slots>,
    route: Arc<RouteRuntime>,
    limits: Limits,
    /// When either side last sent something to the other.
    active: Instant,
    /// Who sent the last message or part of one.
    last_word: Option<Who>,
    /// Until when nothing of the provider's goes to the client.
    opening: Option<Instant>,
    /// Made when the session first waits; moved when it fires, or when something is due before it.
    timer: Option<Pin<Box<Sleep>>>,
    /// How far closing has come, from the first close on.
    closing: Option<Closing>,
    /// The provider said that the session is over.
    over: bool,
    /// The ids of units that the end has taken with it, until they are told.
    lost: Vec<String>,
    /// The gateway is ending.
    stopping: bool,
    close_counted: bool,
    _open: OpenSocket,
}

/// A session that is ending.
#[derive(Clone, Copy, Debug)]
struct Closing {
    /// When either side last took, or sent, something that has to arrive before the end.
    progress: Instant,
    /// Closes have gone both ways: when the connections are dropped.
    linger: Option<Instant>,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Client,
    Provider,
}

/// What one piece from a side came to.
struct Fed {
    at: Instant,
    length: usize,
    /// A close: as it came, its code, its reason.
    close: Option<(Vec<u8>, Option<u16>, String)>,
    outcome: Result<(), Violation>,
    /// The client's first message has no place for the route's credentials.
    unfit: bool,
    /// All there was is an answer to our own ping.
    pong_only: bool,
    /// There was a message or a part of one.
    spoke: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn new(
        client: S,
        provider: S,
        errors: SessionErrors,
        route: Arc<RouteRuntime>,
        limits: Limits,
    ) -> Session<S> {
        let injects = route.headers.first_message(errors.call.destination).is_some();
        let replaces = !route.config.credentials.is_empty();
        let codec = errors.codec();
        let first_messages = FirstMessages::new(&route.config.profile.spec().secrets.messages, replaces, injects);
        let mut session = Session {
            client: Side::new(client, Sender::Client, limits.sizes),
            provider: Side::new(provider, Sender::Server, limits.sizes),
            slots: Slots::of(&errors.call, &route),
            errors,
            first_messages,
            limits: Limits { idle: limits.idle.min(NEVER), write: limits.write.min(NEVER), ..limits },
            active: Instant::now(),
            last_word: None,
            opening: Some(Instant::now() + OPENING),
            timer: None,
            closing: None,
            over: false,
            lost: Vec::new(),
            stopping: false,
            close_counted: false,
            _open: route.metrics.websocket_opened(),
            route,
        };
        let opcode = |codec: Codec| if codec.is_binary() { Opcode::Binary } else { Opcode::Text };
        session.provider.frames.coded(codec.map(opcode));
        if session.slots.is_some() {
            session.client.frames.hold(HELD_FOR_SLOTS);
        }
        session.look_at_the_client();
        session
    }

    /// Says which of the client's messages are looked at.
    fn look_at_the_client(&mut self) {
        self.client.frames.look(match () {
            () if self.first_messages.injects() => Look::Next,
            () if self.first_messages.is_over() && self.slots.is_none() => Look::Nothing,
            () => Look::Objects,
        });
    }

    /// The gateway is ending: the session is closed where that can be said.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
    }

    /// Drives the session until it is over; the call ends with it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        (self.client.waits, self.provider.waits) = (false, false);
        loop {
            while self.step(cx) {}
            if self.poll_end(cx).is_ready() {
                self.errors.call.complete();
                return Poll::Ready(());
            }
            let Some(now) = self.poll_timer(cx) else { return Poll::Pending };
            if self.closing_due().is_some_and(|due| due <= now) {
                // Whoever has not answered by now is dropped as it is.
                self.errors.call.complete();
                return Poll::Ready(());
            }
            self.overdue(now, cx);
        }
    }

    /// Writes what waits and reads what may be read. Whether anything moved.
    fn step(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = self.poll_slot(cx);
        for who in [Who::Client, Who::Provider] {
            let was_blocked = self.side(who).blocked.is_some();
            if self.side(who).write(cx) {
                moved = true;
                self.closing_moves(who);
            }
            if was_blocked && self.side(who).is_clear() {
                // The other side was not read in the meantime: that was no silence of its own.
                let now = Instant::now();
                (self.active, self.side(who.other()).heard) = (now, now);
            }
        }
        for who in [Who::Client, Who::Provider] {
            moved |= self.read(who, cx);
        }
        if self.stopping && self.closing.is_none() && self.may_interrupt() {
            self.fail(Fault::ShuttingDown, None, None, cx);
            moved = true;
        }
        moved
    }

    fn side(&mut self, who: Who) -> &mut Side<S> {
        match who {
            Who::Client => &mut self.client,
            Who::Provider => &mut self.provider,
        }
    }

    /// Whether the answer to the handshake has only just gone out. Once it has not, that is never asked again.
    fn is_opening(&mut self) -> bool {
        self.opening = self.opening.filter(|opening| Instant::now() < *opening);
        self.opening.is_some()
    }

    /// Whether something of our own may be said to both.
    fn may_interrupt(&self) -> bool {
        self.client.frames.is_between_frames() && self.provider.frames.is_between_frames()
    }

    /// Reads from one side for the other. Whether anything came.
    fn read(&mut self, who: Who, cx: &mut Context<'_>) -> bool {
        if self.side(who).ended || !self.side(who.other()).is_clear() {
            return false;
        }
        if who == Who::Client
            && let Some(ahead) = self.read_ahead(cx)
        {
            return ahead;
        }
        if self.side(who).waits || (who == Who::Provider && self.is_opening()) {
            return false;
        }
        let read = BUFFER.with_borrow_mut(|buffer| match self.side(who).poll_read(cx, buffer) {
            Poll::Pending => None,
            Poll::Ready(Ok(0)) => Some(Err(None)),
            Poll::Ready(Err(error)) => Some(Err(Some(error))),
            Poll::Ready(Ok(length)) => {
                let input = buffer.get(..length).unwrap_or_default();
                let fed = self.feed(who, input, cx);
                self.keep(input.get(fed.length..).unwrap_or_default());
                Some(Ok(fed))
            }
        });
        match read {
            None => return false,
            Some(Ok(fed)) => {
                self.side(who).drain(fed.length);
                self.settle(who, fed, cx);
            }
            Some(Err(error)) => self.ended(who, error.as_ref(), cx),
        }
        true
    }

    /// Passes on what came from one side, as far as it may pass.
    fn feed(&mut self, who: Who, input: &[u8], cx: &mut Context<'_>) -> Fed {
        let Session { client, provider, errors, first_messages, slots, route, .. } = self;
        let (from, to, direction) = match who {
            Who::Client => (client, provider, Direction::Upstream),
            Who::Provider => (provider, client, Direction::Downstream),
        };
        let at = Instant::now();
        (from.heard, from.pinged) = (at, false);
        let mut fed =
            Fed { at, length: input.len(), close: None, outcome: Ok(()), unfit: false, pong_only: false, spoke: false };
        if from.close_seen.is_some() {
            return fed;
        }
        let (over, nonce) = (to.close_sent, from.nonce());
        let profile = &route.config.profile;
        let may_end = slots.as_ref().map(Slots::needles);
        let suspect = |text: &[u8]| {
            who == Who::Client
                || profile.may_be_error(Phase::Frame, text)
                || may_end.as_ref().is_some_and(|units| units.may_end(text))
        };
        let stop = Cell::new(false);
        let taken = from.frames.feed(input, &suspect, &stop, &mut |unit| match unit {
            Unit::Close(frame, code, reason) => fed.close = Some((frame.to_vec(), code, reason.to_owned())),
            Unit::Control(frame, payload) if payload == nonce => fed.pong_only = frame.len() == input.len(),
            _ if over || fed.unfit => {}
            Unit::Control(frame, _) => to.send(cx, frame),
            Unit::Pass(frames) => {
                fed.spoke = true;
                if who == Who::Provider {
                    errors.passed();
                }
                to.send(cx, frames);
            }
            Unit::Suspect(frames, text) if who == Who::Client => {
                fed.spoke = true;
                let Some(opened) = open(first_messages, errors, text) else { return fed.unfit = true };
                let message = Message { frames, text, replaced: opened.as_deref() };
                match slots.as_mut().map_or(Pass::Now, |slots| slots.client(&message, errors)) {
                    Pass::Now => message.send(to, cx),
                    Pass::Never => {}
                    Pass::Later => stop.set(true),
                }
            }
            Unit::Suspect(frames, text) => {
                fed.spoke = true;
                let message = Coded::message(errors.codec(), text);
                let replaced = errors.message(&message);
                if let Some(slots) = slots {
                    slots.provider(message.body(), errors.take_failed().as_ref());
                }
                match replaced {
                    Some(message) => to.tell(cx, &message),
                    None => to.send(cx, frames),
                }
                if let Some(refusal) = errors.refusal() {
                    to.tell(cx, &refusal);
                }
            }
        });
        match taken {
            Ok(taken) => fed.length = taken,
            Err(violation) => fed.outcome = Err(violation),
        }
        let input = input.get(..fed.length).unwrap_or(input);
        route.metrics.websocket_passed(direction, from.frames.count(), input.len() as u64);
        if who == Who::Client && first_messages.is_over() && slots.is_none() {
            from.frames.look(Look::Nothing);
        }
        self.over |= errors.is_fatal();
        match who {
            Who::Client => errors.call.received(input.len()),
            Who::Provider => errors.call.sent(input.len()),
        }
        fed
    }

    fn settle(&mut self, who: Who, fed: Fed, cx: &mut Context<'_>) {
        if !fed.pong_only {
            self.active = fed.at;
            self.closing_moves(who.other());
        }
        if fed.spoke {
            self.last_word = Some(who);
        }
        if let Err(violation) = fed.outcome {
            return self.violated(who, violation, cx);
        }
        if fed.unfit {
            return self.fail(Fault::FirstMessageUnfit, None, None, cx);
        }
        let Some((frame, code, reason)) = fed.close else { return };
        self.side(who).close_seen = Some(code);
        self.closing(code.unwrap_or(close::NO_STATUS), who.initiator());
        match who {
            Who::Client => self.provider.pass_close(cx, &frame),
            // The answer to the client's own close tells nothing.
            Who::Provider if self.client.close_seen.is_some() => self.client.pass_close(cx, &frame),
            Who::Provider if self.client.close_sent => {}
            Who::Provider => {
                let closing = self.errors.close(code, &reason, std::mem::take(&mut self.lost));
                match (code, &closing.reason) {
                    (Some(code), Some(_)) => self.say(&closing, code, cx),
                    _ => {
                        self.say_message(&closing, cx);
                        self.client.pass_close(cx, &frame);
                    }
                }
            }
        }
    }
}

/// Looks at one of the client's first messages. What goes on in its place, if it does not go on as it came; none when it has no
/// place for what the route puts into it.
fn open(first_messages: &mut FirstMessages, errors: &mut SessionErrors, text: &[u8]) -> Option<Option<Vec<u8>>> {
    if first_messages.is_over() {
        return Some(None);
    }
    let route = Arc::clone(&errors.call.route);
    let member = route.headers.first_message(errors.call.destination);
    let opened = first_messages.message(text, member.map(|(name, value)| (name, value.reveal()))).ok()?;
    errors.call.hide(opened.secrets);
    Some(opened.replaced)
}

impl Who {
    fn other(self) -> Who {
        match self {
            Who::Client => Who::Provider,
            Who::Provider => Who::Client,
        }
    }

    fn initiator(self) -> Initiator {
        match self {
            Who::Client => Initiator::Client,
            Who::Provider => Initiator::Provider,
        }
    }
}

#[cfg(test)]
mod tests;
