//! Connections that wait for their next request.
//!
//! An HTTP/1.1 connection carries one call at a time. It returns to the pool when hyper says that the answer was read and
//! the request written; its own task ([`drive`]) returns it. An HTTP/2 connection stays and is shared.

use super::connect::Connected;
use super::http1::Http1Connection;
use super::http2::{Http2Connection, Http2Handle};
use super::send_progress::{Sendable, TrackedBody};
use super::tls::Alpn;
use super::transport::{Traffic, Transport};
use super::warm::{Connections, PoolStats, Pooled, Site};
use crate::config::types::Upstream;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// All connections of one client, by provider.
#[derive(Debug)]
pub(super) struct Pool<B> {
    origins: Mutex<Origins<B>>,
    sweeping: AtomicBool,
    /// What the pools of all workers share, where this one takes part.
    shared: Option<Arc<Connections>>,
}

#[derive(Debug)]
struct Origins<B> {
    /// As many as upstreams were ever configured; an origin without connections is small.
    all: HashMap<Arc<Upstream>, Arc<Origin<B>>>,
    /// The one that was asked for last, as most are again: to compare an upstream costs less than to hash it.
    last: Option<Arc<Origin<B>>>,
}

/// The connections to one provider.
#[derive(Debug)]
pub(super) struct Origin<B> {
    pub(super) upstream: Arc<Upstream>,
    /// Oldest first.
    idle: Mutex<VecDeque<Idle<B>>>,
    http2: Mutex<Vec<Http2Connection<B>>>,
    /// The same for calls of gRPC.
    grpc: Mutex<Vec<Http2Connection<B>>>,
    /// Held while an HTTP/2 connection is made, so that a burst of calls makes one and not as many as it has calls.
    pub(super) connecting: tokio::sync::Mutex<()>,
    /// The last connection agreed on HTTP/2.
    speaks_http2: AtomicBool,
    /// The same upstream as all workers see it.
    site: Option<Arc<Site>>,
}

#[derive(Debug)]
struct Idle<B> {
    handle: Http1Handle<B>,
    since: Instant,
}

/// The right to send one call on an HTTP/1.1 connection.
#[derive(Debug)]
pub(super) struct Http1Handle<B> {
    pub(super) sends: Sends<B>,
    slot: Arc<Slot<B>>,
}

/// What a call needs of an HTTP/1.1 connection.
#[derive(Debug)]
pub(super) struct Sends<B> {
    pub(super) sender: http1::SendRequest<TrackedBody<B>>,
    /// For the deadline of the answer's head. It stays with the connection: a timer that is moved to a later time keeps its place among
    /// those of the worker, and one of each call's own would be put there and taken out again.
    pub(super) timer: Pin<Box<Sleep>>,
}

/// What a connection's task and the call on it share.
#[derive(Debug)]
struct Slot<B> {
    /// What a call has left that has its answer's head, until the connection is ready for the next.
    parked: Mutex<Option<Sends<B>>>,
    connection: Arc<Http1Connection>,
    traffic: Arc<Traffic>,
    peer: Option<SocketAddr>,
    /// From then on no call begins on it.
    expires: Instant,
}

impl<B> Http1Handle<B> {
    pub(super) fn traffic(&self) -> &Traffic {
        &self.slot.traffic
    }

    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.slot.peer
    }

    pub(super) fn connection(&self) -> &Arc<Http1Connection> {
        &self.slot.connection
    }

    /// Returns the connection to the pool once it is ready, which may be now.
    pub(super) fn give_back(self, pool: &Arc<Pool<B>>, origin: &Origin<B>)
    where
        B: Sendable,
    {
        // The driver checks the slot after each poll of the connection, under the same lock, so it sees a connection that
        // becomes ready after this check.
        let mut parked = lock(&self.slot.parked);
        if self.sends.sender.is_ready() {
            drop(parked);
            origin.check_in(self, pool);
        } else {
            *parked = Some(self.sends);
        }
    }
}

/// The task of one HTTP/1.1 connection: drives it to its end, and gives it back to the pool as soon as it is ready for another call.
async fn drive<B: Sendable>(slot: Arc<Slot<B>>, pool: Weak<Pool<B>>, origin: Weak<Origin<B>>) {
    let _end = EndOnDrop(Arc::clone(&slot.connection));
    // Once: the waker of a task stays the same.
    poll_fn(|cx| {
        slot.connection.set_owner(cx);
        Poll::Ready(())
    })
    .await;
    poll_fn(|_| {
        if slot.connection.poll().is_ready() {
            return Poll::Ready(());
        }
        let returned = lock(&slot.parked).take_if(|sends| sends.sender.is_ready());
        if let Some(sends) = returned
            && let (Some(pool), Some(origin)) = (pool.upgrade(), origin.upgrade())
        {
            origin.check_in(Http1Handle { sends, slot: Arc::clone(&slot) }, &pool);
        }
        Poll::Pending
    })
    .await;
}

/// Ends a connection whose task is over, or is dropped with its runtime.
struct EndOnDrop(Arc<Http1Connection>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl<B: Sendable> Pool<B> {
    pub(super) fn new(shared: Option<Arc<Connections>>) -> Arc<Pool<B>> {
        let origins = Mutex::new(Origins { all: HashMap::new(), last: None });
        Arc::new(Pool { origins, sweeping: AtomicBool::new(false), shared })
    }

    pub(super) fn origin(&self, upstream: &Upstream) -> Arc<Origin<B>> {
        let mut origins = lock(&self.origins);
        if let Some(last) = origins.last.as_ref().filter(|last| *last.upstream == *upstream) {
            return Arc::clone(last);
        }
        let origin = origins.all.get(upstream).map(Arc::clone).unwrap_or_else(|| self.add(&mut origins.all, upstream));
        origins.last = Some(Arc::clone(&origin));
        origin
    }

    fn add(&self, origins: &mut HashMap<Arc<Upstream>, Arc<Origin<B>>>, upstream: &Upstream) -> Arc<Origin<B>> {
        let upstream = Arc::new(upstream.clone());
        let site = self.shared.as_ref().map(|shared| shared.site(&upstream));
        let origin = Arc::new(Origin::new(Arc::clone(&upstream), site));
        if let Some(site) = &origin.site {
            let stats: Arc<dyn PoolStats> = Arc::<Origin<B>>::clone(&origin);
            site.add_pool(Arc::downgrade(&stats));
        }
        origins.insert(upstream, Arc::clone(&origin));
        origin
    }

    /// Starts the task that closes idle connections although no call looks at them, unless it runs.
    fn sweep_later(self: &Arc<Pool<B>>) {
        if self.sweeping.swap(true, Relaxed) {
            return;
        }
        let pool = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                let Some(pool) = pool.upgrade() else { return };
                let origins = lock(&pool.origins);
                origins.all.values().for_each(|origin| origin.sweep());
                if origins.all.values().all(|origin| origin.is_empty()) {
                    pool.sweeping.store(false, Relaxed);
                    return;
                }
            }
        });
    }
}

impl<B: Sendable> Origin<B> {
    fn new(upstream: Arc<Upstream>, site: Option<Arc<Site>>) -> Origin<B> {
        Origin {
            upstream,
            idle: Mutex::default(),
            http2: Mutex::default(),
            grpc: Mutex::default(),
            connecting: tokio::sync::Mutex::new(()),
            speaks_http2: AtomicBool::new(false),
            site,
        }
    }

    pub(super) fn speaks_http2(&self) -> bool {
        self.speaks_http2.load(Relaxed)
    }

    /// Whether a new connection is likely to speak HTTP/2.
    pub(super) fn expects_http2(&self) -> bool {
        self.speaks_http2() || self.site.as_ref().is_some_and(|site| site.speaks_http2())
    }

    /// A warm connection that suits; none for a call that has to have a new one.
    pub(super) fn take_warm(&self, alpn: Alpn, fresh: bool) -> Option<Connected> {
        self.site.as_ref().filter(|_| !fresh)?.take(alpn)
    }

    /// Counts a connection that this worker has from now on.
    pub(super) fn counted(&self, transport: Transport) -> Transport {
        match &self.site {
            Some(site) => transport.counted(site.opened()),
            None => transport,
        }
    }

    /// The connection that was used last, if one is still good now.
    pub(super) fn check_out(&self, now: Instant) -> Option<Http1Handle<B>> {
        let mut idle = lock(&self.idle);
        while let Some(Idle { handle, since }) = idle.pop_back() {
            if now.saturating_duration_since(since) >= IDLE {
                // The others are older still.
                idle.clear();
                return None;
            }
            if handle.sends.sender.is_ready() && now < handle.slot.expires {
                handle.slot.connection.next_call();
                return Some(handle);
            }
        }
        None
    }

    fn check_in(&self, handle: Http1Handle<B>, pool: &Arc<Pool<B>>) {
        // From here on the body of the call that has ended cannot close the connection.
        handle.slot.connection.next_call();
        let now = Instant::now();
        if now >= handle.slot.expires {
            return;
        }
        let mut idle = lock(&self.idle);
        if idle.len() >= MOST_IDLE {
            idle.pop_front();
        }
        idle.push_back(Idle { handle, since: now });
        drop(idle);
        pool.sweep_later();
    }

    /// A stream of an HTTP/2 connection, if there is one with room.
    pub(super) fn acquire_http2(&self, now: Instant, grpc: bool) -> Option<Http2Handle<B>> {
        let mut http2 = lock(if grpc { &self.grpc } else { &self.http2 });
        http2.retain(|one| one.is_usable(now));
        http2.iter().find_map(Http2Connection::acquire)
    }

    /// Begins HTTP/1.1 on a byte stream, for one call to begin with.
    pub(super) async fn add_http1(
        self: &Arc<Origin<B>>,
        pool: &Arc<Pool<B>>,
        transport: Transport,
        peer: Option<SocketAddr>,
    ) -> hyper::Result<Http1Handle<B>> {
        self.speaks_http2.store(false, Relaxed);
        let traffic = transport.traffic();
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(MOST_BUFFERED)
            .max_header_size(MOST_BUFFERED)
            .max_headers(MOST_FIELDS)
            .handshake(TokioIo::new(transport))
            .await?;
        let connection = Http1Connection::new(connection.with_upgrades());
        let now = Instant::now();
        let expires = expiry(now);
        let slot = Arc::new(Slot { parked: Mutex::new(None), connection, traffic, peer, expires });
        tokio::spawn(drive(Arc::clone(&slot), Arc::downgrade(pool), Arc::downgrade(self)));
        Ok(Http1Handle { sends: Sends { sender, timer: Box::pin(sleep_until(now)) }, slot })
    }

    /// Begins HTTP/2 on a byte stream, keeps the connection, and gives a stream of it.
    pub(super) async fn add_http2(
        &self,
        pool: &Arc<Pool<B>>,
        transport: Transport,
        peer: Option<SocketAddr>,
        grpc: bool,
    ) -> hyper::Result<Http2Handle<B>> {
        let one = Http2Connection::connect(transport, peer, expiry(Instant::now()), !grpc).await?;
        let kept = if grpc {
            &self.grpc
        } else {
            self.speaks_http2.store(true, Relaxed);
            &self.http2
        };
        let handle = one.acquire_anyway();
        lock(kept).push(one);
        if let Some(site) = &self.site {
            site.begun_http2();
        }
        pool.sweep_later();
        Ok(handle)
    }

    /// Closes what was idle for too long.
    fn sweep(&self) {
        let mut idle = lock(&self.idle);
        while idle.front().is_some_and(|one| one.since.elapsed() >= IDLE || one.handle.sends.sender.is_closed()) {
            idle.pop_front();
        }
        drop(idle);
        for kept in [&self.http2, &self.grpc] {
            lock(kept).retain(|one| one.is_usable(Instant::now()) && !one.is_stale());
        }
    }

    fn is_empty(&self) -> bool {
        lock(&self.idle).is_empty() && lock(&self.http2).is_empty() && lock(&self.grpc).is_empty()
    }
}

impl<B: Sendable> PoolStats for Origin<B> {
    fn pooled(&self) -> Pooled {
        let now = Instant::now();
        let mut pooled = Pooled { idle: lock(&self.idle).len(), roomy: 0 };
        for kept in [&self.http2, &self.grpc] {
            for one in lock(kept).iter().filter(|one| one.is_usable(now)) {
                pooled.idle += usize::from(one.is_idle());
                pooled.roomy += usize::from(one.has_room());
            }
        }
        pooled
    }
}

/// When a connection that is made now stops taking calls. Not the same moment for all, so that they are not all made anew at
/// once.
fn expiry(now: Instant) -> Instant {
    now + OLDEST + Duration::from_millis(fastrand::u64(0..=30_000))
}

/// None of these locks is held over anything that can panic, so what they guard is whole even if one is poisoned.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long an HTTP/1.1 connection waits for its next request. Node and uvicorn close after 5 s, others later; closing
/// first avoids the race between our request and their close.
pub(super) const IDLE: Duration = Duration::from_secs(4);
/// How old a connection gets before calls go to a new one. A connection in steady use would otherwise live for ever, and the
/// provider's name never be resolved again: traffic would stay where DNS no longer sends it.
const OLDEST: Duration = Duration::from_secs(5 * 60);
/// How often idle connections are looked at.
const SWEEP: Duration = Duration::from_secs(1);
/// Most fields of an answer's head. hyper's own bound is 100, which answers from behind several layers exceed. Another one costs
/// hyper two allocations for each answer.
const MOST_FIELDS: usize = 256;
/// Idle connections kept for one provider by one worker.
const MOST_IDLE: usize = 256;
/// Largest header section of an answer, and most bytes read ahead.
const MOST_BUFFERED: usize = 64 * 1024;
