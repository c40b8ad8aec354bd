//! The warm connections to one upstream that were made with one offer of protocols.

use crate::upstream::connect::Connected;
use crate::upstream::open_count::Reserved;
use crate::upstream::tls::Alpn;
use crate::upstream::transport::Transport;
use rustls::ClientConfig;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Warm connections, oldest first.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    kept: Mutex<Vec<Warm>>,
    /// Told of each connection that is taken or was missed, and of a change of what is wanted.
    pub(super) changed: Notify,
    /// The last one agreed on HTTP/2.
    http2: AtomicBool,
    /// A call has used one since the keeper last asked.
    used: AtomicBool,
}

/// One warm connection.
#[derive(Debug)]
pub(super) struct Warm {
    transport: Transport,
    http2: bool,
    peer: Option<SocketAddr>,
    made: Instant,
    /// From then on another one is to take its place.
    pub(super) renew: Instant,
    /// From then on no call gets it.
    expires: Instant,
    /// What it was made with: another configuration has other certificates.
    config: Option<Arc<ClientConfig>>,
    /// How often in a row the upstream's name did not lead to it.
    strays: u8,
    _reserved: Reserved,
}

impl Warm {
    /// One that was made just now, of which the provider is known to keep idle connections for `limit`.
    pub(super) fn new(
        made: Connected,
        config: Option<Arc<ClientConfig>>,
        reserved: Reserved,
        limit: Duration,
        now: Instant,
    ) -> Warm {
        Warm {
            transport: made.transport,
            http2: made.http2,
            peer: made.peer,
            made: now,
            // Not all at one moment.
            renew: now + limit.mul_f64(0.75 + 0.1 * fastrand::f64()),
            expires: now + limit.mul_f64(0.95),
            config,
            strays: 0,
            _reserved: reserved,
        }
    }

    fn serves(&self, alpn: Alpn) -> bool {
        // Without TLS nothing was agreed on.
        !self.transport.is_tls() || alpn == Alpn::Any || (alpn == Alpn::Http2) == self.http2
    }

    /// Its bytes, on the runtime that calls this, unless the provider has closed it.
    fn claim(self, alpn: Alpn) -> Option<Connected> {
        let http2 = if self.transport.is_tls() { self.http2 } else { alpn == Alpn::Http2 };
        let transport = self.transport.move_here(http2)?;
        Some(Connected { transport, http2, peer: self.peer, took: Duration::ZERO })
    }
}

impl Shelf {
    /// The newest that suits, moved to the runtime that calls this.
    pub(super) fn take(&self, alpn: Alpn, now: Instant) -> Option<Connected> {
        loop {
            let found = {
                let mut kept = self.lock();
                let at = kept.iter().rposition(|one| one.serves(alpn) && now < one.expires)?;
                kept.remove(at)
            };
            let http2 = found.http2;
            let claimed = found.claim(alpn);
            // Over HTTP/2 it stays one with room, which is known when the worker has begun it.
            if !http2 || claimed.is_none() {
                self.changed.notify_one();
            }
            if claimed.is_some() {
                self.used.store(true, Relaxed);
                return claimed;
            }
        }
    }

    pub(super) fn put(&self, one: Warm) {
        self.http2.store(one.http2, Relaxed);
        self.lock().push(one);
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// How many are not due to be renewed.
    pub(super) fn fresh(&self, now: Instant) -> usize {
        self.lock().iter().filter(|one| now < one.renew).count()
    }

    /// When the next one is due to be renewed, or to be dropped.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        self.lock().iter().map(|one| if now < one.renew { one.renew } else { one.expires }).min()
    }

    /// Whether a connection has lasted for so long.
    pub(super) fn has_one_of(&self, age: Duration, now: Instant) -> bool {
        self.lock().iter().any(|one| now.saturating_duration_since(one.made) >= age)
    }

    pub(super) fn was_used(&self) -> bool {
        self.used.swap(false, Relaxed)
    }

    pub(super) fn speaks_http2(&self) -> bool {
        self.http2.load(Relaxed)
    }

    /// Drops those that have expired, those made with another configuration, those due to be renewed once there are `wanted` others, and
    /// the oldest of what is more than that.
    pub(super) fn tidy(&self, wanted: usize, config: Option<&Arc<ClientConfig>>, now: Instant) {
        let mut kept = self.lock();
        let same = |one: &Warm| one.config.as_ref().map(Arc::as_ptr) == config.map(Arc::as_ptr);
        kept.retain(|one| now < one.expires && same(one));
        let fresh = kept.iter().filter(|one| now < one.renew).count();
        let mut due = (kept.len() - fresh).min(kept.len().saturating_sub(wanted));
        kept.retain(|one| {
            let goes = due > 0 && now >= one.renew;
            due -= usize::from(goes);
            !goes
        });
        let more = kept.len().saturating_sub(wanted);
        drop(kept.drain(..more));
    }

    /// Drops the oldest that is due to be renewed: there is no room for another beside it.
    pub(super) fn drop_due(&self, now: Instant) {
        let mut kept = self.lock();
        if let Some(at) = kept.iter().position(|one| now >= one.renew) {
            drop(kept.remove(at));
        }
    }

    /// The upstream's name leads to these addresses now. Another one takes the place of a connection to which it twice did not lead.
    pub(super) fn resolved(&self, addresses: &[SocketAddr], now: Instant) {
        let leads_to = |ip: IpAddr| addresses.iter().any(|address| address.ip().to_canonical() == ip.to_canonical());
        for one in self.lock().iter_mut() {
            let strays = one.peer.is_some_and(|peer| !leads_to(peer.ip()));
            one.strays = if strays { one.strays.saturating_add(1) } else { 0 };
            if one.strays >= MOST_STRAYS {
                one.renew = one.renew.min(now);
            }
        }
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// Drops those that the provider has closed and gives the ages that they reached; pending while there are none, with the caller
    /// woken by the next.
    pub(super) fn poll_closed(&self, cx: &mut Context<'_>, now: Instant) -> Poll<Vec<Duration>> {
        let mut ages = Vec::new();
        self.lock().retain_mut(|one| {
            let closed = one.transport.poll_closed(cx, one.http2).is_ready();
            if closed {
                ages.push(now.saturating_duration_since(one.made));
            }
            !closed
        });
        if ages.is_empty() { Poll::Pending } else { Poll::Ready(ages) }
    }

    /// Nothing that can panic runs while this is held.
    fn lock(&self) -> MutexGuard<'_, Vec<Warm>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name with more addresses than one answer holds leads to others each time.
const MOST_STRAYS: u8 = 2;
