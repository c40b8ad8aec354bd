//! The connection state, shared by the socket, hyper's timer, the service, the response body and the driver.
//!
//! hyper knows when it waits for a request head, but counts idle time as part of it; the socket knows when bytes arrive, but not
//! what they are. Together they are enough to enforce every deadline with one timer per connection: setting a deadline is an
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
/// A lazily armed read deadline. Most heads arrive whole and are answered before the clock needs to be read.
const UNSET: u64 = u64::MAX - 1;
/// How long a connection waits for its next request before its buffers are freed, in milliseconds: longer than the pauses of a
/// busy client, but short, so that few of many connections that open together hold buffers at once. Freeing and restoring buffers
/// costs a tenth of a small request.
const REST: u64 = 50;
/// How many more streams a client may reset soon after opening them than it lets finish; each costs a connection to a provider. A
/// client that hedges or is interrupted resets fewer than every other stream.
const MAX_EARLY_RESETS: usize = 100;

/// What the next bytes are.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Bytes without a read deadline: a request body, or HTTP/2 frames.
    Other,
    /// The first head of a connection. Its deadline runs from the start, so that connections that send nothing are closed as
    /// well.
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
    /// How long after the driver's next poll the read deadline is, while it is not set.
    read_within: AtomicU64,
    write_deadline: AtomicU64,
    /// When an incomplete HTTP/2 frame or header block has to be complete.
    frame_deadline: AtomicU64,
    /// Streams that the client reset early, less those that it let finish.
    resets: AtomicUsize,
    /// Bytes of the HTTP/2 preface that are still missing.
    preface_left: AtomicUsize,
    /// Whether hyper's write buffer is empty.
    flushed: AtomicBool,
    /// Woken when it becomes empty.
    flush_waker: AtomicWaker,
    /// The status of a response of hyper's own that was withheld; 0 when there was none.
    withheld: AtomicU16,
    /// Exchanges that have not ended.
    live: AtomicUsize,
    /// Whether hyper was waiting to read from the socket at its last poll.
    reads: AtomicBool,
    /// Whether the connection speaks HTTP/2.
    http2: AtomicBool,
    /// Whether the end of the response in progress is signalled by closing the connection.
    open_ended: AtomicBool,
    /// How many requests have been handed to the service.
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

    /// hyper has read a whole head.
    pub(super) fn head_complete(&self) {
        self.reading.store(Reading::Other as u8, Relaxed);
        self.read_deadline.store(NEVER, Relaxed);
    }

    // Called by the socket.

    /// Bytes have arrived. Empty lines before a request line are not part of a head (RFC 9112 2.2).
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

    /// Ready when the socket has taken everything in hyper's write buffer.
    pub(super) fn poll_flushed(&self, cx: &Context<'_>) -> Poll<()> {
        self.flush_waker.register(cx.waker());
        if self.flushed.load(Relaxed) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether anything that hyper writes now can only be a response of its own: it waits for a head, and all our responses have
    /// been sent.
    pub(super) fn writes_by_itself(&self) -> bool {
        self.awaits_head() && self.flushed.load(Relaxed)
    }

    /// Whether the next bytes on HTTP/1 are a head, or more of it.
    pub(super) fn awaits_head(&self) -> bool {
        self.is(Reading::First) || self.is(Reading::Idle) || self.is(Reading::Head)
    }

    /// The request of this number has both Content-Length and Transfer-Encoding. Requests after the first such one are not
    /// served.
    pub(super) fn set_framed_twice(&self, number: u64) {
        let _ = self.framed_twice.fetch_min(number, Relaxed);
    }

    /// Whether the request that was handed on last has both.
    pub(super) fn is_framed_twice(&self) -> bool {
        self.begun.load(Relaxed).checked_sub(1) == Some(self.framed_twice.load(Relaxed))
    }

    /// The connection was upgraded: what arrives now is not HTTP.
    pub(super) fn set_upgraded(&self) {
        self.upgraded.store(true, Relaxed);
    }

    /// Whether the connection was upgraded.
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

    /// Whether closing now would look like the regular end of a response that is incomplete.
    pub(super) fn is_open_ended(&self) -> bool {
        self.open_ended.load(Relaxed)
    }

    /// hyper polled the socket for reading; `waits`: it found nothing and waits for bytes.
    pub(super) fn read(&self, waits: bool) {
        self.reads.store(waits, Relaxed);
    }

    /// Whether nothing would notice that the client closes: a response is in progress and hyper does not read the socket. On
    /// HTTP/1 it stops reading when it has bytes that it cannot use yet, and while the request's body is not being read.
    pub(super) fn overlooks_client(&self) -> bool {
        !self.reads.load(Relaxed) && self.live.load(Relaxed) > 0 && !self.http2.load(Relaxed)
    }

    // Called by the driver.

    /// The driver is about to poll hyper.
    pub(super) fn poll_begins(&self) {
        self.reads.store(false, Relaxed);
    }

    /// Whether bytes of the last request may still arrive.
    pub(super) fn has_body_unread(&self) -> bool {
        self.body_unread.load(Relaxed)
    }

    /// The connection continues as HTTP/2; its preface is read next, even if parts of it were read before.
    pub(super) fn begin_http2(&self) {
        self.withheld.store(0, Relaxed);
        self.preface_left.store(PREFACE_LENGTH, Relaxed);
        self.http2.store(true, Relaxed);
        self.set(Reading::Preface, self.header_timeout);
    }

    /// Whether the connection waits for its next request and has nothing else to do. hyper may have buffered a part of that
    /// request.
    pub(super) fn is_idle(&self) -> bool {
        self.is(Reading::Idle) && self.flushed.load(Relaxed) && self.live.load(Relaxed) == 0
    }

    /// The withheld response of hyper's own has been dealt with.
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

    /// A request is handed to the service.
    pub(super) fn exchange_begins(&self) {
        self.flushed.store(false, Relaxed);
        let _ = self.begun.fetch_add(1, Relaxed);
        if self.live.fetch_add(1, Relaxed) == 0 {
            self.read_deadline.store(NEVER, Relaxed);
        }
    }

    /// A part of a response went into hyper's buffer.
    pub(super) fn handed_out(&self) {
        self.flushed.store(false, Relaxed);
    }

    /// The request has a body, which nobody has read yet.
    pub(super) fn set_body_unread(&self, unread: bool) {
        self.body_unread.store(unread, Relaxed);
    }

    /// Sets whether closing the connection will signal the end of the response.
    pub(super) fn set_open_ended(&self, open: bool) {
        self.open_ended.store(open, Relaxed);
    }

    /// A response ended or was abandoned. An HTTP/2 connection without streams is idle; on HTTP/1, hyper reports when it waits
    /// again.
    pub(super) fn exchange_ends(&self, http2: bool) {
        let last = self.live.fetch_sub(1, Relaxed) == 1;
        if last && http2 {
            self.set(Reading::Other, self.keep_alive_timeout);
        }
    }

    /// An HTTP/2 stream ended; `reset_at_once`: its client reset it soon after opening it.
    pub(super) fn stream_ends(&self, reset_at_once: bool) {
        if reset_at_once {
            let _ = self.resets.fetch_add(1, Relaxed);
        } else {
            let _ = self.resets.try_update(Relaxed, Relaxed, |resets| resets.checked_sub(1));
        }
    }

    /// Whether the client reset more streams early than a well-behaved client does.
    pub(super) fn is_flooded(&self) -> bool {
        self.resets.load(Relaxed) >= MAX_EARLY_RESETS
    }

    /// An HTTP/2 client has taken a part of a response. Once all parts have been handed to hyper, this alone shows that the
    /// client is still reading.
    pub(super) fn stream_progresses(&self) {
        if self.live.load(Relaxed) == 0 && self.is(Reading::Other) {
            self.set(Reading::Other, self.keep_alive_timeout);
        }
    }

    fn is(&self, reading: Reading) -> bool {
        self.reading.load(Relaxed) == reading as u8
    }
}

/// Whether the bytes are line breaks only.
pub(super) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(NEVER)
}
