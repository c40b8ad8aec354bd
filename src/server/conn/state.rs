//! The connection state: what the socket, hyper's timer, the service, the response's body and the driver tell each other.
//!
//! hyper knows when it waits for a request's head, but counts idle time as part of it; the socket knows when bytes come, but not
//! what they are. Together they know everything, and one timer per connection is enough for all deadlines: a deadline is an
//! atomic store, and the timer is only reset when it fires early. All parts run in the connection's own tasks, so that the
//! atomics are never contended; they are atomics because hyper requires `Send`.

mod deadlines;

use super::frames::PREFACE_LENGTH;
use crate::config::types::Server;
use crate::proxy::Outbox;
use futures_util::task::AtomicWaker;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, AtomicUsize};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// No deadline.
const NEVER: u64 = u64::MAX;
/// A lazily armed read deadline. Most heads arrive whole and are answered before a clock is needed.
const UNSET: u64 = u64::MAX - 1;
/// How long a connection waits for its next request before its buffers are freed, in milliseconds: longer than a busy client
/// pauses, and so short that of connections that are opened at once few hold buffers together. Freeing and restoring them costs
/// a tenth of a small request.
const REST: u64 = 50;
/// How many streams a client may reset soon after they began, beyond those that it lets finish: each costs a connection to a
/// provider. A client that hedges or is interrupted resets fewer than every other stream.
const MAX_EARLY_RESETS: usize = 100;

/// What the bytes that arrive next are.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Bytes without a deadline here: a request body, or HTTP/2 frames.
    Other,
    /// The first head of a connection; its deadline runs from the start, so that opening connections costs as much as using them.
    First,
    /// A later head, of which nothing has arrived yet.
    Idle,
    /// A later head, of which a part has arrived.
    Head,
    /// The preface of HTTP/2.
    Preface,
}

/// The state of one connection.
#[derive(Debug)]
pub(super) struct ConnectionState {
    opened: Instant,
    header_timeout: u64,
    body_timeout: u64,
    keep_alive_timeout: u64,
    write_timeout: u64,
    reading: AtomicU8,
    read_deadline: AtomicU64,
    /// How long after the driver's next poll the read deadline is, if it is not set.
    read_within: AtomicU64,
    write_deadline: AtomicU64,
    /// Until when an incomplete HTTP/2 frame or header block has to be complete.
    frame_deadline: AtomicU64,
    /// Streams that the client reset at once, less those that it did not.
    resets: AtomicUsize,
    /// Bytes of the HTTP/2 preface that are still missing.
    preface_left: AtomicUsize,
    /// Whether no byte of any response is left in hyper's buffer.
    flushed: AtomicBool,
    /// Who waits for that.
    flush_waker: AtomicWaker,
    /// The status of hyper's own response that was held back; 0 when there was none.
    withheld: AtomicU16,
    /// Exchanges that have not ended.
    live: AtomicUsize,
    /// Whether hyper waits to read from the socket, as of its last poll.
    reads: AtomicBool,
    /// Whether the connection speaks HTTP/2.
    http2: AtomicBool,
    /// Whether a response is in progress whose end is signalled by closing the connection.
    open_ended: AtomicBool,
    /// How many requests have been handed on.
    begun: AtomicU64,
    /// The number of the first request whose body is framed in two ways; [`NEVER`] while there is none.
    framed_twice: AtomicU64,
    /// Whether the connection is a WebSocket now.
    upgraded: AtomicBool,
    /// Whether a part of the last request's body may not have been read.
    body_unread: AtomicBool,
    /// Informational responses on HTTP/1.
    pub(super) outbox: Arc<Outbox>,
}

impl ConnectionState {
    /// A new connection that waits for its first head.
    pub(super) fn new(server: &Server) -> Arc<ConnectionState> {
        let header_timeout = millis(server.header_timeout);
        Arc::new(ConnectionState {
            opened: Instant::now(),
            header_timeout,
            body_timeout: millis(server.body_timeout),
            keep_alive_timeout: millis(server.keep_alive_timeout),
            write_timeout: millis(server.write_timeout),
            reading: AtomicU8::new(Reading::First as u8),
            read_deadline: AtomicU64::new(header_timeout),
            read_within: AtomicU64::new(0),
            write_deadline: AtomicU64::new(NEVER),
            frame_deadline: AtomicU64::new(NEVER),
            resets: AtomicUsize::new(0),
            preface_left: AtomicUsize::new(0),
            flushed: AtomicBool::new(true),
            flush_waker: AtomicWaker::new(),
            withheld: AtomicU16::new(0),
            live: AtomicUsize::new(0),
            reads: AtomicBool::new(false),
            http2: AtomicBool::new(false),
            open_ended: AtomicBool::new(false),
            begun: AtomicU64::new(0),
            framed_twice: AtomicU64::new(NEVER),
            upgraded: AtomicBool::new(false),
            body_unread: AtomicBool::new(false),
            outbox: Arc::default(),
        })
    }

    // Called by hyper's HTTP/1 timer.

    /// hyper begins to wait for a head.
    pub(super) fn await_head(&self) {
        self.body_unread.store(false, Relaxed);
        // Already idle: it keeps the deadline that it had.
        if !self.is(Reading::First) && !self.is(Reading::Idle) {
            self.set_soon(Reading::Idle, self.keep_alive_timeout);
        }
    }

    /// hyper has a whole head.
    pub(super) fn head_complete(&self) {
        self.reading.store(Reading::Other as u8, Relaxed);
        self.read_deadline.store(NEVER, Relaxed);
    }

    // Called by the socket.

    /// Bytes have arrived. Empty lines before a request line are no part of a head (RFC 9112 2.2).
    pub(super) fn received(&self, bytes: &[u8]) {
        if self.is(Reading::Idle) {
            if !is_blank(bytes) {
                self.set_soon(Reading::Head, self.header_timeout);
            }
        } else if self.is(Reading::Preface) {
            let left = self.preface_left.load(Relaxed).saturating_sub(bytes.len());
            self.preface_left.store(left, Relaxed);
            if left == 0 {
                self.set(Reading::Other, self.keep_alive_timeout);
            }
        }
    }

    /// hyper's buffer is empty.
    pub(super) fn flushed(&self) {
        self.flushed.store(true, Relaxed);
        self.flush_waker.wake();
    }

    /// Ready when the socket has taken all that went into hyper's buffer.
    pub(super) fn poll_flushed(&self, cx: &Context<'_>) -> Poll<()> {
        self.flush_waker.register(cx.waker());
        if self.flushed.load(Relaxed) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether what hyper writes now can only be a response of its own: it waits for a head, and all our responses are out.
    pub(super) fn writes_by_itself(&self) -> bool {
        self.awaits_head() && self.flushed.load(Relaxed)
    }

    /// Whether a head, or more of it, comes next on HTTP/1.
    pub(super) fn awaits_head(&self) -> bool {
        self.is(Reading::First) || self.is(Reading::Idle) || self.is(Reading::Head)
    }

    /// The head of the request of this number has both Content-Length and Transfer-Encoding. Nothing behind the first is served.
    pub(super) fn set_framed_twice(&self, number: u64) {
        let _ = self.framed_twice.fetch_min(number, Relaxed);
    }

    /// Whether the request that was handed on last is such a one.
    pub(super) fn is_framed_twice(&self) -> bool {
        self.begun.load(Relaxed).checked_sub(1) == Some(self.framed_twice.load(Relaxed))
    }

    /// The bytes that come are no requests any more.
    pub(super) fn set_upgraded(&self) {
        self.upgraded.store(true, Relaxed);
    }

    /// Whether they are none.
    pub(super) fn is_upgraded(&self) -> bool {
        self.upgraded.load(Relaxed)
    }

    /// A response of hyper's own was held back.
    pub(super) fn withhold(&self, status: u16) {
        let _ = self.withheld.compare_exchange(0, status, Relaxed, Relaxed);
    }

    /// The status of hyper's own response that was held back.
    pub(super) fn withheld(&self) -> Option<u16> {
        Some(self.withheld.load(Relaxed)).filter(|status| *status != 0)
    }

    /// Whether closing now would look like the regular end of a response that has not ended.
    pub(super) fn is_open_ended(&self) -> bool {
        self.open_ended.load(Relaxed)
    }

    /// hyper has polled the socket; whether it now waits for bytes.
    pub(super) fn read(&self, waits: bool) {
        self.reads.store(waits, Relaxed);
    }

    /// Whether a client that leaves would go unnoticed: a response is in progress and hyper does not read the socket. On HTTP/1
    /// it stops reading when it has bytes that it cannot use yet, and when nobody takes the request's body.
    pub(super) fn overlooks_client(&self) -> bool {
        !self.reads.load(Relaxed) && self.live.load(Relaxed) > 0 && !self.http2.load(Relaxed)
    }

    // Called by the driver.

    /// hyper is polled.
    pub(super) fn poll_begins(&self) {
        self.reads.store(false, Relaxed);
    }

    /// Whether bytes of the last request may still arrive.
    pub(super) fn has_body_unread(&self) -> bool {
        self.body_unread.load(Relaxed)
    }

    /// The connection goes on as HTTP/2; its preface is read next, also where parts of it were read before.
    pub(super) fn begin_http2(&self) {
        self.withheld.store(0, Relaxed);
        self.preface_left.store(PREFACE_LENGTH, Relaxed);
        self.http2.store(true, Relaxed);
        self.set(Reading::Preface, self.header_timeout);
    }

    /// Whether the connection waits for its next request and has nothing else to do. hyper may still have read a part of it.
    pub(super) fn is_idle(&self) -> bool {
        self.is(Reading::Idle) && self.flushed.load(Relaxed) && self.live.load(Relaxed) == 0
    }

    /// hyper's response that was held back is written after all.
    pub(super) fn settle(&self) {
        self.withheld.store(0, Relaxed);
        self.head_complete();
    }

    /// Whether no request has come yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.is(Reading::First) || self.is(Reading::Preface)
    }

    /// Whether a request is arriving, as far as can be known.
    pub(super) fn expects_request(&self) -> bool {
        self.is_fresh() || self.is(Reading::Head)
    }

    // Called by the service.

    /// A request is handed on.
    pub(super) fn exchange_begins(&self) {
        self.flushed.store(false, Relaxed);
        let _ = self.begun.fetch_add(1, Relaxed);
        if self.live.fetch_add(1, Relaxed) == 0 {
            self.read_deadline.store(NEVER, Relaxed);
        }
    }

    /// A part of a response goes into hyper's buffer.
    pub(super) fn handed_out(&self) {
        self.flushed.store(false, Relaxed);
    }

    /// The request has a body, which nobody has read yet.
    pub(super) fn set_body_unread(&self, unread: bool) {
        self.body_unread.store(unread, Relaxed);
    }

    /// The response's end will be told by closing the connection, or it has ended.
    pub(super) fn set_open_ended(&self, open: bool) {
        self.open_ended.store(open, Relaxed);
    }

    /// A response has ended or was abandoned. An HTTP/2 connection is idle without streams; on HTTP/1 hyper reports when it
    /// waits again.
    pub(super) fn exchange_ends(&self, http2: bool) {
        let last = self.live.fetch_sub(1, Relaxed) == 1;
        if last && http2 {
            self.set(Reading::Other, self.keep_alive_timeout);
        }
    }

    /// A stream of HTTP/2 has ended; whether its client reset it soon after it had begun.
    pub(super) fn stream_ends(&self, reset_at_once: bool) {
        if reset_at_once {
            let _ = self.resets.fetch_add(1, Relaxed);
        } else {
            let _ = self.resets.try_update(Relaxed, Relaxed, |resets| resets.checked_sub(1));
        }
    }

    /// Whether more streams were reset early than a well-behaved client resets.
    pub(super) fn is_flooded(&self) -> bool {
        self.resets.load(Relaxed) >= MAX_EARLY_RESETS
    }

    /// An HTTP/2 client has taken a part of a response. Once all of them have been handed to hyper, this shows that the client
    /// is still there.
    pub(super) fn stream_progresses(&self) {
        if self.live.load(Relaxed) == 0 && self.is(Reading::Other) {
            self.set(Reading::Other, self.keep_alive_timeout);
        }
    }

    fn is(&self, reading: Reading) -> bool {
        self.reading.load(Relaxed) == reading as u8
    }
}

/// Whether these are line breaks and nothing else.
pub(super) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(NEVER)
}
