//! Connections that wait for their next request.
//!
//! An HTTP/1.1 connection is lent to one call at a time and comes back when hyper says that the answer is read and
//! the request written; its own task, the [`Driver`], brings it back. An HTTP/2 connection stays and is shared.

use super::body::Hold;
use super::link::Link;
use super::shared::{Share, Shared};
use super::transport::{Traffic, Transport};
use super::upload::Watched;
use crate::config::types::Upstream;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// Body types that can be sent: streams of bytes whose errors can be carried.
pub trait Sendable:
    http_body::Body<Data = bytes::Bytes, Error: Into<super::BoxError>> + Send + Unpin + 'static
{
}
impl<B> Sendable for B where
    B: http_body::Body<Data = bytes::Bytes, Error: Into<super::BoxError>> + Send + Unpin + 'static
{
}

/// All connections of one client, by provider.
#[derive(Debug)]
pub(super) struct Pool<B> {
    /// As many as upstreams were ever configured; an origin without connections is small.
    origins: Mutex<HashMap<Arc<Upstream>, Arc<Origin<B>>>>,
    sweeping: AtomicBool,
}

/// The connections to one provider.
#[derive(Debug)]
pub(super) struct Origin<B> {
    pub(super) upstream: Arc<Upstream>,
    /// Oldest first.
    idle: Mutex<VecDeque<Idle<B>>>,
    shared: Mutex<Vec<Shared<B>>>,
    /// Held while an HTTP/2 connection is made, so that a burst of calls makes one and not as many as it has calls.
    pub(super) connecting: tokio::sync::Mutex<()>,
    /// The last connection agreed on HTTP/2.
    speaks_http2: AtomicBool,
}

#[derive(Debug)]
struct Idle<B> {
    lease: Lease<B>,
    since: Instant,
}

/// One HTTP/1.1 connection, lent to one call.
#[derive(Debug)]
pub(super) struct Lease<B> {
    pub(super) sender: http1::SendRequest<Watched<B>>,
    slot: Arc<Slot<B>>,
}

/// What a connection's task and the call on it share.
#[derive(Debug)]
struct Slot<B> {
    /// The sender of a call that has its answer's head, until the connection is ready for the next.
    parked: Mutex<Option<http1::SendRequest<Watched<B>>>>,
    link: Arc<Link>,
    traffic: Arc<Traffic>,
    peer: Option<SocketAddr>,
}

impl<B> Lease<B> {
    pub(super) fn traffic(&self) -> &Traffic {
        &self.slot.traffic
    }

    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.slot.peer
    }

    /// What the body of the answer keeps in order to end the call early.
    pub(super) fn hold(&self) -> Hold {
        Hold::Http1(Arc::clone(&self.slot.link), self.slot.link.call())
    }

    /// Brings the connection back once it is ready, which may be now.
    pub(super) fn give_back(self, pool: &Arc<Pool<B>>, origin: &Origin<B>)
    where
        B: Sendable,
    {
        // The driver looks at the slot after each step of the connection, under the same lock: readiness that comes
        // after this look is seen there.
        let mut parked = lock(&self.slot.parked);
        if self.sender.is_ready() {
            drop(parked);
            origin.check_in(self, pool);
        } else {
            *parked = Some(self.sender);
        }
    }
}

/// The task of one HTTP/1.1 connection.
struct Driver<B: Sendable> {
    slot: Arc<Slot<B>>,
    pool: Weak<Pool<B>>,
    origin: Weak<Origin<B>>,
    /// The link knows this task, whose waker stays the same.
    known: bool,
}

impl<B: Sendable> Future for Driver<B> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if !this.known {
            this.slot.link.belongs_to(cx);
            this.known = true;
        }
        if this.slot.link.poll().is_ready() {
            return Poll::Ready(());
        }
        let returned = {
            let mut parked = lock(&this.slot.parked);
            parked.take_if(|sender| sender.is_ready())
        };
        if let Some(sender) = returned
            && let (Some(pool), Some(origin)) = (this.pool.upgrade(), this.origin.upgrade())
        {
            origin.check_in(Lease { sender, slot: Arc::clone(&this.slot) }, &pool);
        }
        Poll::Pending
    }
}

impl<B: Sendable> Drop for Driver<B> {
    fn drop(&mut self) {
        self.slot.link.end();
    }
}

impl<B: Sendable> Pool<B> {
    pub(super) fn new() -> Arc<Pool<B>> {
        Arc::new(Pool { origins: Mutex::default(), sweeping: AtomicBool::new(false) })
    }

    pub(super) fn origin(&self, upstream: &Upstream) -> Arc<Origin<B>> {
        let mut origins = lock(&self.origins);
        if let Some(origin) = origins.get(upstream) {
            return Arc::clone(origin);
        }
        let upstream = Arc::new(upstream.clone());
        let origin = Arc::new(Origin::new(Arc::clone(&upstream)));
        origins.insert(upstream, Arc::clone(&origin));
        origin
    }

    /// Sees to it that connections which stay idle are closed although no call looks at them.
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
                origins.values().for_each(|origin| origin.sweep());
                if origins.values().all(|origin| origin.is_empty()) {
                    pool.sweeping.store(false, Relaxed);
                    return;
                }
            }
        });
    }
}

impl<B: Sendable> Origin<B> {
    fn new(upstream: Arc<Upstream>) -> Origin<B> {
        Origin {
            upstream,
            idle: Mutex::default(),
            shared: Mutex::default(),
            connecting: tokio::sync::Mutex::new(()),
            speaks_http2: AtomicBool::new(false),
        }
    }

    pub(super) fn speaks_http2(&self) -> bool {
        self.speaks_http2.load(Relaxed)
    }

    /// The connection that was used last, if one is still good now.
    pub(super) fn check_out(&self, now: Instant) -> Option<Lease<B>> {
        let mut idle = lock(&self.idle);
        while let Some(Idle { lease, since }) = idle.pop_back() {
            if now.saturating_duration_since(since) >= IDLE {
                // The others are older still.
                idle.clear();
                return None;
            }
            if lease.sender.is_ready() {
                lease.slot.link.next_call();
                return Some(lease);
            }
        }
        None
    }

    fn check_in(&self, lease: Lease<B>, pool: &Arc<Pool<B>>) {
        // From here on the body of the call that ended cannot end the connection.
        lease.slot.link.next_call();
        let mut idle = lock(&self.idle);
        if idle.len() >= MOST_IDLE {
            idle.pop_front();
        }
        idle.push_back(Idle { lease, since: Instant::now() });
        drop(idle);
        pool.sweep_later();
    }

    /// A place on a shared connection, if there is one with room.
    pub(super) fn share(&self) -> Option<Share<B>> {
        let mut shared = lock(&self.shared);
        shared.retain(|one| !one.is_closed());
        shared.iter().find_map(Shared::share)
    }

    /// Makes an HTTP/1.1 connection of a byte stream and lends it.
    pub(super) async fn lend(
        self: &Arc<Origin<B>>,
        pool: &Arc<Pool<B>>,
        transport: Transport,
        peer: Option<SocketAddr>,
    ) -> hyper::Result<Lease<B>> {
        self.speaks_http2.store(false, Relaxed);
        let traffic = transport.traffic();
        // At most 100 fields, hyper's default: more would need an allocation for every answer.
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(MOST_BUFFERED)
            .max_header_size(MOST_BUFFERED)
            .handshake(TokioIo::new(transport))
            .await?;
        let link = Link::new(connection.with_upgrades());
        let slot = Arc::new(Slot { parked: Mutex::new(None), link, traffic, peer });
        tokio::spawn(Driver {
            slot: Arc::clone(&slot),
            pool: Arc::downgrade(pool),
            origin: Arc::downgrade(self),
            known: false,
        });
        Ok(Lease { sender, slot })
    }

    /// Makes an HTTP/2 connection of a byte stream, keeps it, and gives a place on it.
    pub(super) async fn add_shared(
        &self,
        pool: &Arc<Pool<B>>,
        transport: Transport,
        peer: Option<SocketAddr>,
    ) -> hyper::Result<Share<B>> {
        let one = Shared::connect(transport, peer).await?;
        self.speaks_http2.store(true, Relaxed);
        let share = one.take_place();
        lock(&self.shared).push(one);
        pool.sweep_later();
        Ok(share)
    }

    /// Closes what was idle for too long.
    fn sweep(&self) {
        let mut idle = lock(&self.idle);
        while idle.front().is_some_and(|one| one.since.elapsed() >= IDLE || one.lease.sender.is_closed()) {
            idle.pop_front();
        }
        drop(idle);
        lock(&self.shared).retain(|one| !one.is_closed() && !one.is_stale());
    }

    fn is_empty(&self) -> bool {
        lock(&self.idle).is_empty() && lock(&self.shared).is_empty()
    }
}

/// None of these locks is held over anything that can panic, so what they guard is whole even if one is poisoned.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long an HTTP/1.1 connection waits for its next request. Node and uvicorn close after 5 s, others later; being
/// first is what avoids the race between our request and their close.
pub(super) const IDLE: Duration = Duration::from_secs(4);
/// How often idle connections are looked at.
const SWEEP: Duration = Duration::from_secs(1);
/// Idle connections kept for one provider by one worker.
const MOST_IDLE: usize = 256;
/// Largest header section of an answer, and most bytes read ahead.
const MOST_BUFFERED: usize = 64 * 1024;
