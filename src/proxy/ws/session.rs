//! The session: both directions in one task, with back-pressure: nothing is read from one side before the other has accepted what came before.
//!
//! ```text
//! provider ─ read ─ FrameReader ─┬─ passes ───────────────────────────┐
//!                            ├─ may be an error ─ SessionErrors ───────────┼─ client.send
//!                            └─ close ─ SessionErrors ─────────────────────┘
//! client ─── read ─ FrameReader ─── passes, close ───────────────────── provider.send
//! ```
//!
//! Each thread has one buffer that all its sessions read into and write from directly. Only incomplete frames, and bytes that a side
//! does not accept at once, are copied. An idle session holds no buffer at all.

mod deadlines;
mod ending;
mod feed;
mod keep_alive;
mod redial;
mod silence;
mod slots;

use super::close::SessionErrors;
use super::first_message::FirstMessages;
use super::frames::{FrameReader, HELD_FOR_SLOTS, Look, Sizes};
use super::side::Side;
use crate::canon::{Codec, Fault};
use crate::config::secret::Secret;
use crate::proxy::RouteRuntime;
use crate::telemetry::metrics::{Initiator, OpenSocket};
use crate::wire::frame::{Opcode, Sender};
use keep_alive::KeepsOpen;
pub(super) use redial::Redial;
use slots::Slots;
use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};

/// How much is read at once, and so the most that is buffered for a side that does not accept it.
const READ: usize = 16 * 1024;
/// How long a side may take to answer a close, once it has accepted everything that was sent before.
const CLOSING: Duration = Duration::from_secs(10);
/// How long a side may take to end its connection once closes have gone both ways.
const LINGERING: Duration = Duration::from_secs(1);
/// How long a client whose key is not known any more may take to read why.
const LAST_WORDS: Duration = Duration::from_millis(800);
/// The least time between the answer to the handshake and the provider's first message. JavaScript clients attach their handlers
/// when they learn of the answer, and a message that arrives together with it would be lost.
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
    /// How long either side may be silent until it is asked whether it is there.
    pub(super) ping_client: Option<Duration>,
    pub(super) ping_provider: Option<Duration>,
    /// Whether the provider answers pings, so that its silence means something.
    pub(super) provider_answers: bool,
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
    /// The units that are counted on the socket, where the route limits them.
    slots: Option<Slots>,
    /// What keeps the provider's side open while there is nothing to say.
    keeps_open: Option<KeepsOpen>,
    /// What dials the provider's socket again when it ends between units, where the route says so.
    redial: Option<Box<Redial<S>>>,
    route: Arc<RouteRuntime>,
    limits: Limits,
    /// When either side last sent something to the other.
    active: Instant,
    /// Who sent the last message or part of one.
    last_word: Option<Who>,
    /// Until when the provider's messages are held back from the client.
    opening: Option<Instant>,
    /// Created when the session first waits; reset when it fires, or when an earlier deadline is set.
    timer: Option<Pin<Box<Sleep>>>,
    /// How far closing has come, from the first close on.
    closing: Option<Closing>,
    /// The provider said that the session is over.
    over: bool,
    /// The ids of units that ended with the socket, until the client has been told.
    lost: Vec<String>,
    /// Why this gateway ends it: because it ends itself, or does not know the client's key any more.
    stopping: Option<Fault>,
    /// When a session whose client's key is not known any more is dropped as it is, whatever its client reads.
    dropped_at: Option<Instant>,
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
        let first_messages = FirstMessages::new(&route.config.profile.spec().secrets.messages, replaces, injects);
        let first_messages = first_messages.guarding(route.headers.guards());
        let first_messages = match errors.call.key_followed {
            true => {
                let ours = route.headers.bare_key(errors.call.destination).map(Secret::reveal);
                first_messages.exchanging(errors.call.opening(), ours)
            }
            false => first_messages,
        };
        let mut session = Session {
            client: Side::new(client, Sender::Client, limits.sizes, limits.ping_client),
            provider: Side::new(provider, Sender::Server, limits.sizes, limits.ping_provider),
            slots: Slots::of(&errors.call, &route),
            keeps_open: KeepsOpen::of(&route, errors.call.request()),
            redial: None,
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
            stopping: None,
            dropped_at: None,
            close_counted: false,
            _open: route.metrics.websocket_opened(),
            route,
        };
        session.provider.frames = session.reads_provider();
        if session.route.headers.guards() {
            session.provider.guard(session.errors.call.exit());
        }
        if let Some(slots) = &session.slots {
            session.client.frames.hold(HELD_FOR_SLOTS, slots.strict);
            if session.route.config.generations {
                session.client.frames.show_binary(slots.hears_binary().0);
            }
        }
        session.look_at_the_client();
        session
    }

    /// The same whose provider's socket may be dialled again.
    pub(super) fn redialling(self, redial: Option<Box<Redial<S>>>) -> Session<S> {
        Session { redial, ..self }
    }

    /// What reads a socket of the provider's.
    fn reads_provider(&self) -> FrameReader {
        let mut frames = FrameReader::new(Sender::Server, self.limits.sizes);
        let opcode = |codec: Codec| if codec.is_binary() { Opcode::Binary } else { Opcode::Text };
        frames.coded(self.errors.codec().map(opcode));
        if let Some(slots) = self.slots.as_ref().filter(|_| self.route.config.generations) {
            // Messages with audio may be long, and are counted whole.
            frames.hold(HELD_FOR_SLOTS, false);
            frames.show_binary(slots.hears_binary().1);
        }
        frames
    }

    /// Says which of the client's messages are looked at.
    fn look_at_the_client(&mut self) {
        self.client.frames.look(match () {
            () if self.first_messages.injects() => Look::Next,
            () if self.first_messages.sees_nothing() && self.slots.is_none() => Look::Nothing,
            () => Look::Objects,
        });
    }

    /// The session is closed where that can be said. The first reason counts.
    pub(super) fn stop(&mut self, why: Fault) {
        let why = *self.stopping.get_or_insert(why);
        if why != Fault::ShuttingDown && self.dropped_at.is_none() {
            self.dropped_at = Some(Instant::now() + LAST_WORDS);
        }
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
            let waits = self.client.blocked.is_some() || !self.provider.is_there();
            if let Some(slots) = &mut self.slots {
                slots.blocked(waits);
            }
            let Some(now) = self.poll_timer(cx) else { return Poll::Pending };
            if self.closing_due().is_some_and(|due| due <= now) {
                if let Some(why) = self.stopping.filter(|_| self.closing.is_none()) {
                    // In the middle of a frame nothing could be said.
                    self.fail(why, None, None, cx);
                }
                // Whoever has not answered by now is dropped as it is.
                self.errors.call.complete();
                return Poll::Ready(());
            }
            self.overdue(now, cx);
        }
    }

    /// Writes what waits and reads what may be read. Whether anything moved.
    fn step(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = self.poll_redial(cx) | self.poll_slot(cx);
        for who in [Who::Client, Who::Provider] {
            let was_blocked = self.side(who).blocked.is_some();
            if self.side(who).write(cx) {
                moved = true;
                self.closing_moves(who);
            }
            if was_blocked && self.side(who).is_clear() {
                // The other side was not read in the meantime: that was no silence of its own.
                let now = Instant::now();
                self.active = now;
                self.side(who.other()).hear(now);
            }
        }
        for who in [Who::Client, Who::Provider] {
            moved |= self.read(who, cx);
        }
        if let Some(why) = self.stopping.filter(|_| self.closing.is_none() && self.may_interrupt()) {
            self.fail(why, None, None, cx);
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
        let clear = self.side(who.other()).is_clear() || (who == Who::Client && self.reads_ahead_of_a_socket());
        if self.side(who).ended || !clear {
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
                if who == Who::Client {
                    self.keep(input.get(fed.length..).unwrap_or_default());
                }
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
