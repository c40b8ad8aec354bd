//! The tenants of the configuration in force, for calls that outlive the one that they began with.

use super::limits::{Spendings, since_1970};
use super::{Kept, TenantIdentity, TenantLimits, Tenants};
use crate::canon::Fault;
use crate::config::types::Tenant;
use crate::fleet::Fleet;
use arc_swap::ArcSwap;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// When the fleet is told again what it may not have heard of: so much is lost in a crash at most.
const TELL_AGAIN: Duration = Duration::from_secs(1);

/// How old what is known of budgets may be that are not used here, for metrics and for open sockets.
const HEAR: Duration = Duration::from_secs(5);

/// How many budgets one script counts: few enough for the backend to run it in no time.
const AT_ONCE: usize = 64;

/// The longest that a watch sleeps: a wall clock may be set in the meantime.
const LOOK: Duration = Duration::from_secs(3600);

/// How exact timers are.
const TIMER: Duration = Duration::from_millis(5);

/// The tenants in force, and who waits for others.
#[derive(Debug, Default)]
pub struct Current {
    tenants: ArcSwap<Tenants>,
    /// How often there were others.
    version: AtomicU64,
    changed: Notify,
    /// Sockets whose clients have shown no key yet.
    unknown: Mutex<UnknownSockets>,
    /// What tenants may use and have used, by their names.
    limits: Mutex<BTreeMap<String, Arc<TenantLimits>>>,
    /// What they have used of their budgets, for as long as the process lives.
    spendings: Mutex<Spendings>,
}

/// Most sockets at one time whose clients have shown no key yet.
const MOST_UNKNOWN: usize = 1000;

/// How many there are, by the network of their clients.
#[derive(Debug, Default)]
struct UnknownSockets {
    all: usize,
    of: HashMap<Option<IpAddr>, usize>,
}

impl UnknownSockets {
    /// One more of this network, where there is room: each has at most as many as it leaves free, so that one alone keeps nobody out.
    fn opens(&mut self, network: Option<IpAddr>) -> bool {
        let own = self.of.get(&network).copied().unwrap_or_default();
        let fits = own < MOST_UNKNOWN.saturating_sub(self.all);
        if fits {
            let _ = self.of.insert(network, own + 1);
            self.all += 1;
        }
        fits
    }

    fn closes(&mut self, network: Option<IpAddr>) {
        if let Entry::Occupied(mut own) = self.of.entry(network) {
            self.all -= 1;
            match *own.get() {
                0 | 1 => drop(own.remove()),
                count => *own.get_mut() = count - 1,
            }
        }
    }
}

/// Where a client is: whoever has one address of IPv6 has the 64 bits behind its network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}

/// A socket whose client has shown no key yet.
#[derive(Debug)]
pub(crate) struct UnknownSocket(Arc<Current>, Option<IpAddr>);

impl Drop for UnknownSocket {
    fn drop(&mut self) {
        self.0.unknown().closes(self.1);
    }
}

impl Current {
    /// A place for a socket whose client has shown no key yet; none when there are too many of them.
    pub(crate) fn opens_unknown(self: &Arc<Self>, address: Option<IpAddr>) -> Option<UnknownSocket> {
        let network = address.map(network);
        let opens = self.unknown().opens(network);
        opens.then(|| UnknownSocket(Arc::clone(self), network))
    }

    fn unknown(&self) -> MutexGuard<'_, UnknownSockets> {
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What tenants had used when the process before this one ended.
    pub fn resume(&self, kept: Vec<Kept>) {
        self.spendings().resume(kept);
    }

    /// Counts budgets together with other gateways from now on. Called before there are any.
    pub fn join(&self, fleet: Arc<Fleet>) {
        self.spendings().fleet = Some(fleet);
    }

    /// Tells the fleet what is used of budgets, at once and again where no answer came, and hears what others use, for as long as it is
    /// polled.
    pub async fn keep_shared(&self) {
        let (fleet, spent) = {
            let spendings = self.spendings();
            (spendings.fleet.clone(), Arc::clone(&spendings.spent))
        };
        let Some(fleet) = fleet else { return std::future::pending().await };
        let (mut again, mut everything) = (interval(TELL_AGAIN), Instant::now());
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let all = Instant::now() >= everything;
            if all {
                everything = Instant::now() + HEAR;
            }
            if self.tell(&fleet, all).await {
                tokio::select! {
                    () = spent.notified() => {}
                    _ = again.tick() => {}
                }
            } else {
                tokio::time::sleep(TELL_AGAIN).await;
            }
        }
    }

    /// Tells the fleet at the end of the process what it has not heard of.
    pub async fn tell_all(&self) {
        let fleet = self.spendings().fleet.clone();
        if let Some(fleet) = fleet {
            let _ = self.tell(&fleet, false).await;
        }
    }

    async fn tell(&self, fleet: &Fleet, all: bool) -> bool {
        let shared = self.spendings().shared(all);
        for some in shared.chunks(AT_ONCE) {
            if !fleet.tell(some, since_1970()).await {
                return false;
            }
        }
        true
    }

    /// What tenants may use under a configuration, with what they have used under those before it.
    pub(super) fn limits(&self, tenants: &[Arc<Tenant>]) -> Vec<Arc<TenantLimits>> {
        let mut all = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let mut spendings = self.spendings();
        let limits = tenants.iter().map(|tenant| {
            let old = all.get(&tenant.name).map(|old| &**old);
            let new = Arc::new(TenantLimits::new(tenant, old, &mut spendings, Instant::now().into_std()));
            let _ = all.insert(tenant.name.clone(), Arc::clone(&new));
            new
        });
        limits.collect()
    }

    /// What the tenant of a client may use under the configuration in force: calls may outlive the one that they began with.
    pub(crate) fn limits_of(&self, identity: &TenantIdentity) -> Option<Arc<TenantLimits>> {
        let all = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&identity.tenant.name).map(Arc::clone)
    }

    /// What has been used of every budget that there is or was.
    #[must_use]
    pub fn kept(&self) -> Vec<Kept> {
        self.spendings().kept()
    }

    fn spendings(&self) -> MutexGuard<'_, Spendings> {
        self.spendings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those in force.
    pub(super) fn in_force(&self) -> Arc<Tenants> {
        self.tenants.load_full()
    }

    /// These are in force from now on.
    pub fn replace(&self, tenants: Arc<Tenants>) {
        self.tenants.store(tenants);
        let _ = self.version.fetch_add(1, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Until the client may not go on, and why.
    async fn ended(self: Arc<Self>, identity: TenantIdentity, route: Arc<str>) -> Fault {
        loop {
            // Created before the look, so that a change in between is not missed.
            let changed = self.changed.notified();
            let now = SystemTime::now();
            let tenants = self.tenants.load_full();
            if let Err(fault) = tenants.still(&identity, &route, now) {
                return fault;
            }
            let left = left(&tenants, &identity, now);
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(left) => {}
            }
        }
    }
}

/// How long until the key has to be looked at again.
fn left(tenants: &Tenants, identity: &TenantIdentity, now: SystemTime) -> Duration {
    tenants.end_of(identity).map_or(LOOK, |end| end.duration_since(now).unwrap_or_default().min(LOOK))
}

/// Watches over what a call came with. As long as nothing has changed, a look costs two readings, and a call that ends before it
/// has to wait for anything pays for no more.
pub(crate) struct Watch {
    current: Arc<Current>,
    identity: TenantIdentity,
    route: Arc<str>,
    /// Made when the call first waits.
    ended: Option<Pin<Box<dyn Future<Output = Fault> + Send + Sync>>>,
    /// Which task is woken.
    waker: Option<Waker>,
    /// The version that was in force at the last look.
    seen: Option<u64>,
    /// When the next look is due.
    due: Instant,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl Watch {
    /// Over a call that these tenants have let in.
    pub(crate) fn new(
        current: &Arc<Current>,
        admitted: &Arc<Tenants>,
        identity: TenantIdentity,
        route: Arc<str>,
    ) -> Watch {
        // In this order: what is replaced in between is then taken for another.
        let version = current.version.load(Ordering::Acquire);
        let seen = Arc::ptr_eq(&current.tenants.load(), admitted).then_some(version);
        let due = Instant::now() + left(admitted, &identity, SystemTime::now());
        Watch { current: Arc::clone(current), identity, route, ended: None, waker: None, seen, due }
    }

    /// Why the call ends, if it does.
    pub(crate) fn look(&mut self) -> Option<Fault> {
        let version = self.current.version.load(Ordering::Acquire);
        if self.seen == Some(version) && Instant::now() < self.due {
            return None;
        }
        self.seen = Some(version);
        let (tenants, now) = (self.current.tenants.load(), SystemTime::now());
        // Not later than the timer of the future: what wakes the task then has to be looked at.
        self.due = Instant::now() + left(&tenants, &self.identity, now).saturating_sub(TIMER);
        tenants.still(&self.identity, &self.route, now).err()
    }

    /// The same, and the task is woken when it does.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Option<Fault> {
        let seen = (self.seen, self.due);
        if let Some(fault) = self.look() {
            return Some(fault);
        }
        let known = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if known && seen == (self.seen, self.due) {
            return None;
        }
        self.waker = Some(cx.waker().clone());
        let Watch { current, identity, route, ended, .. } = self;
        let new = || Box::pin(Arc::clone(current).ended(identity.clone(), Arc::clone(route))) as Pin<Box<_>>;
        match ended.get_or_insert_with(new).as_mut().poll(cx) {
            Poll::Ready(fault) => Some(fault),
            Poll::Pending => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_without_a_key_from_one_place_leave_room_for_others() {
        let current = Arc::new(Current::default());
        let address = |text: &str| Some(text.parse::<IpAddr>().expect("an address"));
        let open = |text: &str| current.opens_unknown(address(text));
        let flood: Vec<_> = (0..2000).filter_map(|host| open(&format!("2001:db8::{host:x}"))).collect();
        assert_eq!(flood.len(), MOST_UNKNOWN / 2);
        let others: Vec<_> = (1..=9).filter_map(|host| open(&format!("192.0.2.{host}"))).collect();
        assert_eq!(others.len(), 9);
        assert!(open("::ffff:192.0.2.1").is_some() && current.opens_unknown(None).is_some());
        drop(flood);
        assert!(open("2001:db8::1").is_some());
        drop(others);
        let left = current.unknown();
        assert_eq!((left.all, left.of.len()), (0, 0));
    }
}
