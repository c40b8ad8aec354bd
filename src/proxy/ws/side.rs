//! One of the two connections of a session: what it sends, what waits to be sent to it, how far its closing has come.

use super::close::OwnMessage;
use super::exit::FrameExit;
use super::frames::{FrameReader, Sizes, Unit};
use super::pings::Pings;
use crate::proxy::tenants::Exit;
use crate::wire::close;
use crate::wire::frame::{Opcode, Sender, frame};
use bytes::{Buf as _, BytesMut};
use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// A connection.
#[derive(Debug)]
pub(super) struct Side<S> {
    /// None while the provider's has ended and none has been dialled in its place: then nothing comes, and what is sent waits.
    io: Option<S>,
    peer: Sender,
    /// What it sends.
    pub(super) frames: FrameReader,
    /// What it has not taken yet. Bounded, because nothing is read from the other side while there is any.
    out: BytesMut,
    unflushed: bool,
    /// Since when it has taken nothing although something waits.
    pub(super) blocked: Option<Instant>,
    /// Nothing was there to read in this turn of the session's task, which is woken when something comes.
    pub(super) waits: bool,
    /// When it last sent anything.
    pub(super) heard: Instant,
    /// A ping of ours is out because of the idle timeout, and nothing has come since.
    pub(super) pinged: bool,
    /// Whether it is there.
    pub(super) pings: Pings,
    nonce: [u8; PING.len() + 8],
    /// What keeps gateway keys back, on the way to a provider.
    exit: Option<Box<FrameExit>>,
    /// It takes nothing any more. What it has sent before may still be read.
    deaf: bool,
    /// Its close has come, with this code.
    pub(super) close_seen: Option<Option<u16>>,
    /// A close has gone to it, or it has been given up: nothing more follows.
    pub(super) close_sent: bool,
    /// There is no close of its own to wait for.
    given_up: bool,
    /// It sends nothing any more.
    pub(super) ended: bool,
    shut: bool,
    /// What it has sent after all was said.
    drained: usize,
}

/// Most that is read of a side after all was said. It is read at all because a connection that is dropped with something
/// unread is reset, and takes what was said last with it.
const DRAINED: usize = 16 << 20;

/// How the payload of our own pings begins: their pongs go to nobody.
const PING: &[u8; 11] = b"speechgate/";

impl<S: AsyncRead + AsyncWrite + Unpin> Side<S> {
    /// `peer` says which part the peer plays: the client is a client, the provider a server.
    pub(super) fn new(io: S, peer: Sender, sizes: Sizes, ping: Option<Duration>) -> Side<S> {
        let mut nonce = [0; PING.len() + 8];
        let (name, number) = nonce.split_at_mut(PING.len());
        name.copy_from_slice(PING);
        number.copy_from_slice(&fastrand::u64(..).to_be_bytes());
        let now = Instant::now();
        Side {
            io: Some(io),
            peer,
            frames: FrameReader::new(peer, sizes),
            out: BytesMut::new(),
            unflushed: false,
            blocked: None,
            waits: false,
            heard: now,
            pinged: false,
            pings: Pings::new(ping, now),
            nonce,
            exit: None,
            deaf: false,
            close_seen: None,
            close_sent: false,
            given_up: false,
            ended: false,
            shut: false,
            drained: 0,
        }
    }

    /// Reads what there is; nothing at the end, or when the connection has broken, with the words for the latter.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, io::Error>> {
        let mut buffer = ReadBuf::new(buffer);
        let polled = self.io.as_mut().map_or(Poll::Pending, |io| Pin::new(io).poll_read(cx, &mut buffer));
        self.waits = polled.is_pending();
        polled.map(|read| read.map(|()| buffer.filled().len()))
    }

    /// Keeps gateway keys back in all that is sent from here on.
    pub(super) fn guard(&mut self, exit: Exit) {
        self.exit = Some(Box::new(FrameExit::new(exit)));
    }

    /// Sends bytes: at once as far as the connection takes them, the rest when it takes them again.
    pub(super) fn send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) {
        // What waits for a connection passes the exit when it goes.
        match self.exit.take_if(|_| self.io.is_some()) {
            None => self.send_all(cx, bytes),
            Some(mut exit) => {
                self.send_all(cx, &exit.pass(bytes));
                self.exit = Some(exit);
            }
        }
    }

    fn send_all(&mut self, cx: &mut Context<'_>, mut bytes: &[u8]) {
        while self.out.is_empty() && !bytes.is_empty() && !self.deaf {
            match self.poll_write(cx, bytes) {
                Poll::Ready(Ok(written @ 1..)) => {
                    bytes = bytes.get(written..).unwrap_or_default();
                    self.unflushed = true;
                }
                Poll::Ready(_) => self.deafen(),
                Poll::Pending => break,
            }
        }
        if !self.deaf && !bytes.is_empty() {
            self.out.extend_from_slice(bytes);
            let _ = self.blocked.get_or_insert_with(Instant::now);
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.io.as_mut().map_or(Poll::Pending, |io| Pin::new(io).poll_write(cx, bytes))
    }

    /// Whether there is a connection.
    pub(super) fn is_there(&self) -> bool {
        self.io.is_some()
    }

    /// Ends the connection as far as that goes at once, and is nowhere from now on. All that it was sent it has taken.
    pub(super) fn part(&mut self, cx: &mut Context<'_>, code: Option<u16>, frames: FrameReader) {
        self.close(cx, code, "");
        if let Some(mut io) = self.io.take() {
            let flushed = Pin::new(&mut io).poll_flush(cx).is_ready();
            let _ = flushed && Pin::new(&mut io).poll_shutdown(cx).is_ready();
        }
        (self.frames, self.out, self.blocked) = (frames, BytesMut::new(), None);
        (self.unflushed, self.deaf, self.ended, self.pinged) = (false, false, false, false);
        (self.close_seen, self.close_sent) = (None, false);
    }

    /// Goes on with another connection. What waits for it is given back, because something else goes before.
    pub(super) fn go_on(&mut self, io: S, now: Instant) -> BytesMut {
        self.io = Some(io);
        self.exit.iter_mut().for_each(|exit| exit.begin());
        self.blocked = None;
        self.hear(now);
        std::mem::take(&mut self.out)
    }

    /// Sends what waits. Whether anything moved.
    pub(super) fn write(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        while !self.out.is_empty() {
            let written = self.io.as_mut().map_or(Poll::Pending, |io| Pin::new(io).poll_write(cx, &self.out));
            match written {
                Poll::Ready(Ok(written @ 1..)) => {
                    self.out.advance(written);
                    (self.unflushed, self.blocked, moved) = (true, Some(Instant::now()), true);
                }
                Poll::Ready(_) => self.deafen(),
                Poll::Pending => return moved,
            }
        }
        if self.blocked.take().is_some() {
            // An idle session keeps no buffer.
            self.out = BytesMut::new();
        }
        if let Some(io) = self.io.as_mut().filter(|_| self.unflushed && !self.deaf) {
            match Pin::new(io).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => self.deafen(),
                Poll::Pending => {}
            }
        }
        moved
    }

    /// How much waits for it.
    pub(super) fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Whether it has taken everything so far, so that more may be read for it.
    pub(super) fn is_clear(&self) -> bool {
        self.out.is_empty()
    }

    fn deafen(&mut self) {
        self.deaf = true;
        self.out = BytesMut::new();
    }

    /// Sends a message of our own.
    pub(super) fn tell(&mut self, cx: &mut Context<'_>, message: &OwnMessage) {
        self.send_own(cx, message.opcode, &message.payload);
    }

    /// Sends a frame of our own.
    pub(super) fn send_own(&mut self, cx: &mut Context<'_>, opcode: Opcode, payload: &[u8]) {
        let mask = (self.peer == Sender::Server).then(|| fastrand::u32(..).to_be_bytes());
        self.send(cx, &frame(opcode, payload, mask));
    }

    /// It has just sent something, or could not be heard until now.
    pub(super) fn hear(&mut self, now: Instant) {
        (self.heard, self.pinged) = (now, false);
        self.pings.heard(now);
    }

    /// Asks whether it is there.
    pub(super) fn ping(&mut self, cx: &mut Context<'_>) {
        let nonce = self.nonce;
        self.send_own(cx, Opcode::Ping, &nonce);
    }

    /// The payload of our own pings: a pong with it is the answer to one.
    pub(super) fn nonce(&self) -> [u8; PING.len() + 8] {
        self.nonce
    }

    /// Sends the other side's close as it came.
    pub(super) fn pass_close(&mut self, cx: &mut Context<'_>, frame: &[u8]) {
        if !std::mem::replace(&mut self.close_sent, true) {
            self.send(cx, frame);
        }
    }

    /// Sends a close of our own; an empty one without a code.
    pub(super) fn close(&mut self, cx: &mut Context<'_>, code: Option<u16>, reason: &str) {
        if !std::mem::replace(&mut self.close_sent, true) {
            self.send_own(cx, Opcode::Close, &close::payload(code.unwrap_or(close::NO_STATUS), reason));
        }
    }

    /// Nothing more is said to it, and no close of its own is waited for.
    pub(super) fn give_up(&mut self) {
        (self.close_sent, self.given_up) = (true, true);
    }

    /// The same, and what waits for it is thrown away because it does not read.
    pub(super) fn abandon(&mut self) {
        self.give_up();
        self.deafen();
    }

    /// Whether closes have gone both ways, as far as they can.
    pub(super) fn is_closed(&self) -> bool {
        self.close_sent && self.out.is_empty() && (self.close_seen.is_some() || self.ended || self.given_up)
    }

    /// Whether its answer to a close is still to come.
    pub(super) fn owes_close(&self) -> bool {
        self.close_sent && self.close_seen.is_none() && !self.ended && !self.given_up
    }

    /// Takes note of bytes that it sent, which end to matter when all was said.
    pub(super) fn drain(&mut self, bytes: usize) {
        if self.is_closed() {
            self.drained += bytes;
            self.ended |= self.drained > DRAINED;
        }
    }

    /// Reads what still comes for its close alone.
    pub(super) fn drain_to_close(&mut self, cx: &mut Context<'_>) {
        let mut buffer = [0; 1024];
        while !self.ended {
            let read = match self.poll_read(cx, &mut buffer) {
                Poll::Pending => return,
                Poll::Ready(read) => read.unwrap_or(0),
            };
            self.drained += read;
            self.ended = read == 0 || self.drained > DRAINED;
            if self.close_seen.is_some() {
                continue;
            }
            let mut close = None;
            let piece = buffer.get(..read).unwrap_or_default();
            let fed = self.frames.feed(piece, &mut |_, _| false, &Cell::new(false), &mut |unit| {
                if let Unit::Close(_, code, _) = unit {
                    close = Some(code);
                }
            });
            // Whoever breaks the protocol will not close by it.
            self.close_seen = close.or(fed.is_err().then_some(None));
        }
    }

    /// Ends the connection after the closes; ready when the peer has ended it too.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_closed() && !self.shut {
            let io = self.io.as_mut();
            self.shut = self.deaf || io.is_none_or(|io| Pin::new(io).poll_shutdown(cx).is_ready());
        }
        if self.shut && (self.ended || self.deaf) { Poll::Ready(()) } else { Poll::Pending }
    }
}
