//! One HTTP/2 connection, shared by as many calls as the provider allows.

use super::send_progress::{Sendable, TrackedBody};
use super::transport::{Traffic, Transport};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

/// One HTTP/2 connection.
#[derive(Debug)]
pub(super) struct Http2Connection<B> {
    sender: http2::SendRequest<TrackedBody<B>>,
    load: Arc<Load>,
    traffic: Arc<Traffic>,
    peer: Option<SocketAddr>,
}

/// How full an HTTP/2 connection is.
#[derive(Debug)]
struct Load {
    begun: Instant,
    active: AtomicUsize,
    /// What the provider allows at one time.
    most: AtomicUsize,
    /// From then on no call begins on it.
    expires: Instant,
    /// Milliseconds from `begun` to the end of the last stream.
    last_end: AtomicU64,
    /// Whether any call on it has had an answer.
    answered: AtomicBool,
    /// A call waited in vain, for its answer or the rest of it, while nothing at all came: others go elsewhere.
    silent: AtomicBool,
}

/// One stream of an HTTP/2 connection, counted until it is dropped.
#[derive(Debug)]
pub(super) struct StreamPermit {
    load: Arc<Load>,
    traffic: Arc<Traffic>,
    /// When it began, and the bytes that had come by then.
    begun: Instant,
    before: u64,
    /// It ended as it should.
    complete: bool,
}

impl StreamPermit {
    fn on(load: &Arc<Load>, traffic: &Arc<Traffic>) -> StreamPermit {
        load.active.fetch_add(1, Relaxed);
        let (load, traffic, before) = (Arc::clone(load), Arc::clone(traffic), traffic.read());
        StreamPermit { load, traffic, begun: Instant::now(), before, complete: false }
    }

    /// Its call has all of its answer, or leaves for reasons of its own.
    pub(super) fn complete(&mut self) {
        self.complete = true;
    }

    /// Its call has an answer, or the head of one.
    pub(super) fn answered(&self) {
        self.load.answered.store(true, Relaxed);
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let load = &self.load;
        let now = u64::try_from(load.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        load.last_end.store(now, Relaxed);
        load.active.fetch_sub(1, Relaxed);
        // The greeting of a provider comes after the first call has begun, and is no answer.
        let nothing = self.traffic.read() == self.before || !load.answered.load(Relaxed);
        let hangs = if nothing { self.begun.elapsed() } else { self.traffic.silent_for() };
        if !self.complete && hangs >= SILENCE {
            load.silent.store(true, Relaxed);
        }
    }
}

/// The right to send one call on an HTTP/2 connection.
#[derive(Debug)]
pub(super) struct Http2Handle<B> {
    pub(super) sender: http2::SendRequest<TrackedBody<B>>,
    pub(super) stream: StreamPermit,
    pub(super) traffic: Arc<Traffic>,
    pub(super) peer: Option<SocketAddr>,
}

impl<B: Sendable> Http2Connection<B> {
    /// Begins HTTP/2 on a byte stream. Servers of gRPC end connections on which there are more pings than data, so that those have
    /// none; TCP finds out there whether the peer lives.
    pub(super) async fn connect(
        transport: Transport,
        peer: Option<SocketAddr>,
        expires: Instant,
        pings: bool,
    ) -> hyper::Result<Http2Connection<B>> {
        let traffic = transport.traffic();
        traffic.note_times();
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MOST_DECODED)
            .keep_alive_interval(pings.then_some(PING))
            .keep_alive_timeout(PONG)
            .handshake(TokioIo::new(transport))
            .await?;
        let load = Arc::new(Load {
            begun: Instant::now(),
            active: AtomicUsize::new(0),
            most: AtomicUsize::new(connection.current_max_send_streams()),
            expires,
            last_end: AtomicU64::new(0),
            answered: AtomicBool::new(false),
            silent: AtomicBool::new(false),
        });
        let seen = Arc::clone(&load);
        let mut connection = Box::pin(connection);
        tokio::spawn(std::future::poll_fn(move |cx| {
            let polled = connection.as_mut().poll(cx);
            seen.most.store(connection.current_max_send_streams(), Relaxed);
            // An error is given to the calls on the connection; without calls nobody needs it.
            polled.map(drop)
        }));
        Ok(Http2Connection { sender, load, traffic, peer })
    }

    /// Whether it can carry another call. One that cannot is dropped, and closes once the calls on it have ended.
    pub(super) fn is_usable(&self, now: Instant) -> bool {
        !self.sender.is_closed() && now < self.load.expires && !self.load.silent.load(Relaxed)
    }

    /// A stream, if there is room for one.
    pub(super) fn acquire(&self) -> Option<Http2Handle<B>> {
        self.has_room().then(|| self.acquire_anyway())
    }

    pub(super) fn has_room(&self) -> bool {
        self.load.active.load(Relaxed) < self.load.most.load(Relaxed).min(MOST_STREAMS)
    }

    /// Whether no call is on it.
    pub(super) fn is_idle(&self) -> bool {
        self.load.active.load(Relaxed) == 0
    }

    /// A stream, whether there is room or not.
    pub(super) fn acquire_anyway(&self) -> Http2Handle<B> {
        Http2Handle {
            sender: self.sender.clone(),
            stream: StreamPermit::on(&self.load, &self.traffic),
            traffic: Arc::clone(&self.traffic),
            peer: self.peer,
        }
    }

    /// Whether nobody has used it for too long.
    pub(super) fn is_stale(&self) -> bool {
        let last = Duration::from_millis(self.load.last_end.load(Relaxed));
        self.load.active.load(Relaxed) == 0 && self.load.begun.elapsed().saturating_sub(last) >= SHARED_IDLE
    }
}

/// An HTTP/2 provider announces that it closes (GOAWAY), so there is no race to avoid.
const SHARED_IDLE: Duration = Duration::from_secs(60);
/// A connection on which nothing came for as long before a call ended without its whole answer is not trusted with another one, nor one
/// that has never answered: what is behind it may hang, and a shared connection would take calls all the while.
const SILENCE: Duration = Duration::from_secs(1);
/// Beyond this the library drops fields: of a head with an error, of trailers without. What is larger than is taken is refused earlier
/// (`message::is_too_large`).
const MOST_DECODED: u32 = 1024 * 1024;
/// Enough for 16 Mbit/s at 125 ms, many times what speech needs; the rest waits at the provider.
const STREAM_WINDOW: u32 = 256 * 1024;
/// For all streams of a connection together.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// No more streams than the connection's window feeds, whatever the provider allows: clients that read slowly fill the windows
/// of their streams, and one more would find the connection's window empty. Further calls get a connection of their own.
const MOST_STREAMS: usize = (CONNECTION_WINDOW / STREAM_WINDOW) as usize;
/// With streams open, a connection that has gone silent is asked whether it lives.
const PING: Duration = Duration::from_secs(20);
/// How long the answer to that may take.
const PONG: Duration = Duration::from_secs(10);
