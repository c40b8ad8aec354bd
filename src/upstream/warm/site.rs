//! One upstream, as all workers see it: what is kept for it, and what is open.

use super::shelf::Shelf;
use crate::config::types::{Protocol, Upstream};
use crate::telemetry::connections::{Open, OpenConnections};
use crate::upstream::connect::Connected;
use crate::upstream::open_count::{OpenCount, Opened, Reserved, Total};
use crate::upstream::tls::Alpn;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// The connections of all workers of the process, by upstream.
#[derive(Debug, Default)]
pub struct Connections {
    /// As many as upstreams were ever configured; one without connections is small.
    sites: Mutex<HashMap<Arc<Upstream>, Arc<Site>>>,
    total: Arc<Total>,
    workers: AtomicUsize,
}

/// The connections to one upstream.
#[derive(Debug)]
pub struct Site {
    pub(super) upstream: Arc<Upstream>,
    /// Those made for whatever a call is.
    pub(super) main: Shelf,
    /// Those made for upgrades alone, where others speak HTTP/2: a WebSocket begins with HTTP/1.1.
    pub(super) upgrades: Shelf,
    want: Mutex<Option<Want>>,
    open: Arc<OpenCount>,
    /// When an upgrade last found none that was kept.
    missed: Mutex<Option<Instant>>,
    pools: Mutex<Vec<Weak<dyn PoolStats>>>,
}

/// What is wanted of an upstream.
#[derive(Clone)]
pub struct Want {
    /// How many connections are kept, at least one.
    pub connections: usize,
    /// The most that are.
    pub max_idle: usize,
    /// How long the provider keeps an idle connection, where that is known.
    pub idle_limit: Option<Duration>,
    /// How long a dial may take.
    pub connect: Duration,
    /// Whether requests go there now: none is dialled where they do not.
    pub usable: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Want {
    /// What satisfies both: the larger numbers, the shorter limits, and wherever one of the two sends requests.
    pub fn merge(&mut self, other: Want) {
        self.connections = self.connections.max(other.connections);
        self.max_idle = self.max_idle.max(other.max_idle);
        self.idle_limit = [self.idle_limit, other.idle_limit].into_iter().flatten().min();
        self.connect = self.connect.min(other.connect);
        let (one, other) = (Arc::clone(&self.usable), other.usable);
        self.usable = Arc::new(move || one() || other());
    }
}

impl fmt::Debug for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Want")
            .field("connections", &self.connections)
            .field("max_idle", &self.max_idle)
            .finish_non_exhaustive()
    }
}

/// What the pool of a worker has to an upstream.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::upstream) struct Pooled {
    /// Connections that carry no call.
    pub(in crate::upstream) idle: usize,
    /// Connections of HTTP/2 with room for another call.
    pub(in crate::upstream) roomy: usize,
}

/// The pool of a worker, as the others see it.
pub(in crate::upstream) trait PoolStats: Send + Sync {
    fn pooled(&self) -> Pooled;
}

impl Connections {
    /// None are open.
    #[must_use]
    pub fn new() -> Arc<Connections> {
        Arc::default()
    }

    /// The one for this upstream.
    pub fn site(&self, upstream: &Upstream) -> Arc<Site> {
        let mut sites = lock(&self.sites);
        if let Some(site) = sites.get(upstream) {
            return Arc::clone(site);
        }
        let upstream = Arc::new(upstream.clone());
        let site = Arc::new(Site::new(Arc::clone(&upstream), &self.total));
        let _ = sites.insert(upstream, Arc::clone(&site));
        site
    }

    /// Those to all of these, to be asked for their numbers.
    #[must_use]
    pub fn of(&self, upstreams: &[Upstream]) -> Arc<dyn OpenConnections> {
        Arc::new(upstreams.iter().map(|upstream| self.site(upstream)).collect::<Vec<_>>())
    }

    /// No more are kept, together with those that workers have.
    pub fn keep_within(&self, most: usize) {
        self.total.keep_within(most);
    }

    /// Another worker takes connections.
    pub(in crate::upstream) fn add_worker(&self) {
        let _ = self.workers.fetch_add(1, Relaxed);
    }

    pub(super) fn workers(&self) -> usize {
        self.workers.load(Relaxed)
    }

    /// Whether another one may be dialled, which is then counted.
    pub(super) fn reserve(&self) -> Option<Reserved> {
        self.total.reserve()
    }
}

impl Site {
    fn new(upstream: Arc<Upstream>, total: &Arc<Total>) -> Site {
        Site {
            upstream,
            main: Shelf::default(),
            upgrades: Shelf::default(),
            want: Mutex::default(),
            open: OpenCount::new(total),
            missed: Mutex::default(),
            pools: Mutex::default(),
        }
    }

    /// What the main ones are made with.
    pub(super) fn offer(&self) -> Alpn {
        match self.upstream.protocol {
            Protocol::Auto => Alpn::Any,
            Protocol::Http1 => Alpn::Http1,
            Protocol::Http2 => Alpn::Http2,
        }
    }

    /// Wants so many from now on; none without.
    pub(super) fn want(&self, want: Option<Want>) {
        let gone = want.is_none();
        *lock(&self.want) = want;
        for shelf in [&self.main, &self.upgrades] {
            if gone {
                shelf.clear();
            }
            shelf.changed.notify_one();
        }
    }

    pub(super) fn wanted(&self) -> Option<Want> {
        lock(&self.want).clone()
    }

    /// A warm connection for a call that needs this protocol, moved to the runtime that calls this.
    pub(in crate::upstream) fn take(&self, alpn: Alpn) -> Option<Connected> {
        if lock(&self.want).is_none() {
            return None;
        }
        let now = Instant::now();
        if let Some(connected) = self.main.take(alpn, now) {
            return Some(connected);
        }
        if alpn != Alpn::Http1 || !self.main.speaks_http2() {
            return None;
        }
        *lock(&self.missed) = Some(now);
        let taken = self.upgrades.take(alpn, now);
        self.upgrades.changed.notify_one();
        taken
    }

    /// A worker has begun HTTP/2 on a connection: it can be seen what that leaves to be wanted.
    pub(in crate::upstream) fn begun_http2(&self) {
        self.main.changed.notify_one();
    }

    /// Whether upgrades have lately found no connection that speaks HTTP/1.1.
    pub(super) fn wants_upgrades(&self, now: Instant) -> bool {
        lock(&self.missed).is_some_and(|at| now.saturating_duration_since(at) < UPGRADES)
    }

    /// Whether a new connection is likely to speak HTTP/2.
    pub(in crate::upstream) fn speaks_http2(&self) -> bool {
        self.main.speaks_http2()
    }

    /// Counts a connection that a worker has.
    pub(in crate::upstream) fn opened(&self) -> Opened {
        self.open.count()
    }

    /// Connections that workers have now, and the most at one time since this was last asked.
    pub(super) fn in_use(&self) -> (usize, usize) {
        (self.open.now(), self.open.take_highest())
    }

    /// A pool that has connections to this upstream.
    pub(in crate::upstream) fn add_pool(&self, pool: Weak<dyn PoolStats>) {
        let mut pools = lock(&self.pools);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(pool);
    }

    /// What each pool has.
    pub(super) fn pooled(&self) -> Vec<Pooled> {
        let pools: Vec<_> = lock(&self.pools).iter().filter_map(Weak::upgrade).collect();
        pools.iter().map(|pool| pool.pooled()).collect()
    }
}

impl OpenConnections for Site {
    fn open(&self) -> Open {
        let idle = self.pooled().iter().map(|pooled| pooled.idle as u64).sum();
        let open = self.open.now() as u64;
        Open { idle, active: open.saturating_sub(idle), warm: (self.main.len() + self.upgrades.len()) as u64 }
    }
}

impl OpenConnections for Vec<Arc<Site>> {
    fn open(&self) -> Open {
        self.iter().map(|site| site.open()).fold(Open::default(), |all, one| Open {
            idle: all.idle + one.idle,
            active: all.active + one.active,
            warm: all.warm + one.warm,
        })
    }
}

/// None of these locks is held over anything that can panic.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For how long after an upgrade others are expected.
const UPGRADES: Duration = Duration::from_secs(10 * 60);
