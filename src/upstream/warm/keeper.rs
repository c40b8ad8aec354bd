//! The tasks that keep warm connections: one for each shelf of each upstream that wants some, all on one thread.

use super::pace::{Backoff, Demand, IdleLimit, SHORTEST, wanted, wanted_http2};
use super::shelf::{Shelf, Warm};
use super::site::{Connections, Site, Want};
use crate::config::types::Upstream;
use crate::upstream::connect::{Connected, Connector, Found, Resolver};
use crate::upstream::failure::Failure;
use crate::upstream::open_count::Reserved;
use crate::upstream::tls::{Alpn, TlsShared};
use rustls::ClientConfig;
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// All keepers. Dropped, they end, and what they keep is closed.
#[derive(Debug)]
pub struct Keepers {
    connections: Arc<Connections>,
    connector: Arc<Connector>,
    running: HashMap<Arc<Upstream>, (Arc<Site>, JoinSet<()>)>,
}

impl Keepers {
    /// Keeps nothing yet.
    #[must_use]
    pub fn new(connections: Arc<Connections>, tls: Arc<TlsShared>) -> Keepers {
        Keepers::with_resolver(connections, tls, Resolver::default())
    }

    /// The same with another way to resolve names.
    #[must_use]
    pub fn with_resolver(connections: Arc<Connections>, tls: Arc<TlsShared>, resolver: Resolver) -> Keepers {
        Keepers { connections, connector: Arc::new(Connector::new(tls, resolver)), running: HashMap::new() }
    }

    /// Keeps what is wanted from now on, and nothing else: what is there and still wanted stays. Upstreams are given once each.
    pub fn keep(&mut self, wants: Vec<(Upstream, Want)>) {
        let (connections, connector) = (&self.connections, &self.connector);
        self.running.retain(|upstream, (site, tasks)| {
            let stays = wants.iter().any(|(wanted, _)| *wanted == **upstream);
            if !stays {
                end(site, tasks);
            }
            stays
        });
        for (upstream, want) in wants {
            let site = connections.site(&upstream);
            site.want(Some(want));
            let _ = self.running.entry(Arc::clone(&site.upstream)).or_insert_with(|| {
                let mut tasks = JoinSet::new();
                for upgrades in [false, true] {
                    let keeper = Keeper::new(&site, connections, connector, upgrades);
                    tasks.spawn(keeper.run());
                }
                (site, tasks)
            });
        }
    }
}

impl Drop for Keepers {
    fn drop(&mut self) {
        for (site, tasks) in self.running.values_mut() {
            end(site, tasks);
        }
    }
}

fn end(site: &Site, tasks: &mut JoinSet<()>) {
    tasks.abort_all();
    site.want(None);
}

/// Keeps one shelf.
struct Keeper {
    site: Arc<Site>,
    connections: Arc<Connections>,
    connector: Arc<Connector>,
    /// Those for upgrades alone.
    upgrades: bool,
    backoff: Backoff,
    demand: Demand,
    limit: IdleLimit,
    /// Dials, and at most one lookup.
    work: JoinSet<Done>,
    dials: usize,
    /// When the upstream's name is looked up next; never while it is being looked up, or where it is an address.
    look_up: Option<Instant>,
}

/// What came of a piece of work.
enum Done {
    Dialled(Result<Connected, Failure>, Option<Arc<ClientConfig>>, Reserved),
    LookedUp(Found),
}

impl Keeper {
    fn new(site: &Arc<Site>, connections: &Arc<Connections>, connector: &Arc<Connector>, upgrades: bool) -> Keeper {
        let now = Instant::now();
        let has_name = site.upstream.host.parse::<IpAddr>().is_err();
        Keeper {
            site: Arc::clone(site),
            connections: Arc::clone(connections),
            connector: Arc::clone(connector),
            upgrades,
            backoff: Backoff::default(),
            demand: Demand::new(now),
            limit: IdleLimit::new(site.wanted().and_then(|want| want.idle_limit)),
            work: JoinSet::new(),
            dials: 0,
            // The first dials look it up themselves, but do not tell for how long it holds.
            look_up: has_name.then(|| now + SOONEST),
        }
    }

    fn shelf(&self) -> &Shelf {
        if self.upgrades { &self.site.upgrades } else { &self.site.main }
    }

    fn offer(&self) -> Alpn {
        if self.upgrades { Alpn::Http1 } else { self.site.offer() }
    }

    async fn run(mut self) {
        while let Some(want) = self.site.wanted() {
            let now = Instant::now();
            self.turn(&want, now);
            let next = self.next(now);
            let site = Arc::clone(&self.site);
            let shelf = if self.upgrades { &site.upgrades } else { &site.main };
            tokio::select! {
                ages = poll_fn(|cx| shelf.poll_closed(cx, Instant::now())) => self.closed(&ages, Instant::now()),
                Some(done) = self.work.join_next() => self.done(done.ok(), Instant::now()),
                () = shelf.changed.notified() => {}
                () = sleep_until(next) => {}
            }
        }
    }

    /// Brings the shelf closer to what is wanted.
    fn turn(&mut self, want: &Want, now: Instant) {
        self.limit.says(want.idle_limit);
        let wanted = self.wanted(want, now);
        let config = self.connector.tls_config(&self.site.upstream, self.offer());
        self.shelf().tidy(wanted, config.as_ref(), now);
        if self.shelf().was_used() || self.shelf().has_one_of(SHORTEST, now) {
            self.backoff.lasted();
        }
        if self.look_up.is_some_and(|at| at <= now) && self.shelf().len() > 0 {
            self.look_up = None;
            let (connector, upstream) = (Arc::clone(&self.connector), Arc::clone(&self.site.upstream));
            self.work.spawn(async move { Done::LookedUp(connector.look_up(&upstream).await) });
        }
        if !(want.usable)() {
            return;
        }
        while self.shelf().fresh(now) + self.dials < wanted && self.dials < self.backoff.dials(now) {
            if self.shelf().len() + self.dials >= want.max_idle {
                self.shelf().drop_due(now);
            }
            let Some(reserved) = self.connections.reserve() else { return };
            self.dial(want.connect, config.clone(), reserved, now);
        }
    }

    fn wanted(&mut self, want: &Want, now: Instant) -> usize {
        if self.upgrades {
            return if self.site.wants_upgrades(now) { want.connections } else { 0 };
        }
        let (open, highest) = self.site.in_use();
        self.demand.saw(highest, now);
        if !self.shelf().speaks_http2() {
            return wanted(want.connections, want.max_idle, self.demand.peak(), open);
        }
        let pooled = self.site.pooled();
        let with = pooled.iter().filter(|pooled| pooled.roomy > 0).count();
        let roomy = pooled.iter().map(|pooled| pooled.roomy).sum();
        wanted_http2(want.connections, roomy, self.connections.workers().saturating_sub(with))
    }

    fn dial(&mut self, patience: Duration, config: Option<Arc<ClientConfig>>, reserved: Reserved, now: Instant) {
        let (connector, upstream, offer) = (Arc::clone(&self.connector), Arc::clone(&self.site.upstream), self.offer());
        self.dials += 1;
        self.backoff.dials_now(now);
        self.work.spawn(async move {
            Done::Dialled(connector.connect(&upstream, offer, now + patience).await, config, reserved)
        });
    }

    /// A piece of work has ended; none when it panicked, which has been logged.
    fn done(&mut self, done: Option<Done>, now: Instant) {
        match done {
            Some(Done::Dialled(Ok(made), config, reserved)) => {
                self.dials = self.dials.saturating_sub(1);
                let limit = self.limit.get(now);
                self.shelf().put(Warm::new(made, config, reserved, limit, now));
            }
            Some(Done::Dialled(Err(failure), ..)) => {
                self.dials = self.dials.saturating_sub(1);
                self.failed(&failure.detail, now);
            }
            Some(Done::LookedUp(found)) => {
                let ttl = found.as_ref().ok().and_then(|found| found.ttl);
                // A lookup that fails says nothing of where the name leads.
                if let Ok(found) = found {
                    self.shelf().resolved(&found.addresses, now);
                }
                self.look_up = Some(now + ttl.unwrap_or(UNTOLD).max(SOONEST));
            }
            None => {
                self.dials = self.dials.saturating_sub(1);
                self.failed("a dial panicked", now);
            }
        }
    }

    fn failed(&mut self, why: &str, now: Instant) {
        if !self.backoff.has_failed() {
            let upstream = self.site.upstream.url();
            tracing::warn!(upstream, why, "no warm connection can be made; it is tried again, less and less often");
        }
        self.backoff.failed(now, fastrand::f64());
    }

    /// The provider has closed connections of these ages.
    fn closed(&mut self, ages: &[Duration], now: Instant) {
        for age in ages {
            if *age < SHORTEST {
                self.failed("the provider closes new connections at once", now);
            } else {
                self.limit.closed_after(*age, now);
            }
        }
    }

    /// When to look again although nothing has happened.
    fn next(&self, now: Instant) -> Instant {
        let backoff = self.backoff.until().filter(|until| *until > now);
        let times = [Some(now + TICK), self.shelf().next(now), backoff, self.look_up.filter(|at| *at > now)];
        times.into_iter().flatten().min().unwrap_or(now + TICK)
    }
}

/// How often a name is looked up of which the resolver does not say how long its addresses hold. The system's does not.
const UNTOLD: Duration = Duration::from_secs(30);
/// No name is looked up more often.
const SOONEST: Duration = Duration::from_secs(1);
/// How often demand and health are asked.
const TICK: Duration = Duration::from_secs(1);
