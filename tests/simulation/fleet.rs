//! Fleets: gates with the real agents, leases and scripts, and a network and a server that misbehave.
//!
//! The gates are those of an account, which may have two keys, each with a plan of its own; some calls come by a route that has a bound of
//! its own beside them.
//!
//! Held are: no more calls at once than the plan, nor by the route than its bound; no slot free for longer than a second while somebody waits; every wait ends.
//! What excuses them, and for how long, is in `Excuse`.

mod rules;
mod story;

use rules::Excuse;
use story::{Event, shares, story};

use super::network::{Server, Way, Weather};
use super::world::{Log, between};
use fastrand::Rng;
use speechgate::config::secret::Secret;
use speechgate::config::types::Limits;
use speechgate::fleet::{ACCOUNTS, Fleet, Label};
use speechgate::limit::{AccountSet, Claim, Entry, Gate, Permit, Priority, Setup, TenantShare};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

const TIMEOUT: Duration = Duration::from_millis(5);
/// How long a slot may be free while somebody waits for one.
const STARVING: Duration = Duration::from_secs(1);
/// The longest that a client waits who does not give up sooner: no wait is as long in a fleet that is well.
const FOR_EVER: Duration = Duration::from_secs(600);

/// How many calls may be refused until a fleet has learned what its provider allows, the tries of the first seconds included. Where
/// each gateway learns by itself it is most of them.
const LEARNED: u32 = 10;

/// How many keys an account may have.
const KEYS: usize = 2;

/// How many tenants there may be.
const TENANTS: usize = 3;

/// One gateway of the fleet.
struct Gateway {
    fleet: Arc<Fleet>,
    gate: Arc<Gate>,
    /// The bound of the route.
    own: Arc<Gate>,
    calls: Vec<AbortHandle>,
    /// At the provider with each key; waiting for a slot of the account; by the route, holding one of its own.
    at: [u32; KEYS],
    by_route: u32,
    running: u32,
    waiting: u32,
    /// The same of each tenant.
    tenants: [(u32, u32); TENANTS],
    /// Nothing of its account goes out before, so that nobody starves there.
    paused: Instant,
}

struct World {
    log: Arc<Log>,
    server: Arc<Server>,
    lease: Duration,
    /// How long a slot may be free while somebody waits for it. Where messages are lost it is found at a renewal.
    patience: Duration,
    /// How many keys the account has.
    keys: usize,
    /// How many calls may come by the route at once.
    bound: u32,
    /// What the provider allows each key; it may be less than the operator thinks.
    allowed: u32,
    /// What tenants may have, where there are any; calls are nobody's where there are none.
    shares: Vec<(u64, TenantShare)>,
    state: Mutex<State>,
}

struct State {
    gateways: Vec<Option<Gateway>>,
    /// How many gateways there have been.
    born: usize,
    max: u32,
    /// Calls that the provider refused, and whether nothing else went wrong.
    refused: u32,
    calm: bool,
    /// The largest plan that any gateway may still go by, and until when.
    before: (u32, Instant),
    /// Slots of gateways that died with them, and when their leases end.
    buried: Vec<(u32, Instant)>,
    /// Since when a slot is free and somebody waits.
    starving: Option<Instant>,
    excuse: Excuse,
}

/// A call that came by the route, with its slot of the route's own.
struct Counted(Arc<World>, usize, #[expect(dead_code, reason = "it is held")] Permit);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.came(self.1, -1);
    }
}

impl State {
    /// How many calls of a tenant run in the fleet, and how many wait.
    fn of_tenant(&self, tenant: usize) -> (u32, u32) {
        let all = self.gateways.iter().flatten().map(|gateway| gateway.tenants[tenant]);
        all.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }
}

/// Runs one world.
pub(crate) async fn run(mut rng: Rng, log: Arc<Log>) {
    let lease = Duration::from_secs([2, 5][rng.usize(0..2)]);
    let weather = Weather {
        delay: Duration::from_micros(rng.u64(0..3000)),
        slow: [0, 0, 20][rng.usize(0..3)],
        lost: [0, 0, 10][rng.usize(0..3)],
        reorders: rng.u32(0..3) == 0,
    };
    let (gateways, max, count) = (rng.usize(2..=4), rng.u32(1..=5), rng.usize(12..36));
    log.note(|| format!("{gateways} gateways, a plan of {max}, lease {lease:?}, {weather:?}"));
    let (keys, bound) = (if rng.u32(0..4) == 0 { KEYS } else { 1 }, rng.u32(1..=max));
    log.note(|| format!("{keys} keys, {bound} by the route"));
    let patience = if weather.lost > 0 { STARVING + lease * 2 / 3 } else { STARVING };
    let allowed = if rng.u32(0..4) == 0 { rng.u32(1..=max) } else { u32::MAX };
    let shares = if rng.bool() { shares(&mut rng, max) } else { Vec::new() };
    log.note(|| format!("tenants: {shares:?}"));
    let server = Server::new(Rng::with_seed(rng.u64(..)), weather);
    let now = Instant::now();
    let state = State {
        gateways: (0..gateways).map(|_| None).collect(),
        born: 0,
        max,
        refused: 0,
        calm: true,
        before: (max, now),
        buried: Vec::new(),
        starving: None,
        // A server that knows nothing waits for gateways that may hold slots.
        excuse: Excuse { free: now + lease / 2 + STARVING, over: now, alone: Vec::new(), outage: None },
    };
    let world =
        Arc::new(World { log, server, lease, patience, keys, bound, allowed, shares, state: Mutex::new(state) });
    for event in story(&mut rng, gateways, lease, max, count) {
        sleep_until(now + event.0).await;
        world.happens(event.1);
        if world.log.is_broken() {
            break;
        }
    }
    if !world.log.is_broken() {
        world.ends(&mut rng).await;
    }
    world.lock().gateways.clear();
}

impl World {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn happens(self: &Arc<Self>, event: Event) {
        if !matches!(event, Event::Call { .. } | Event::Starts(_)) {
            self.lock().calm = false;
        }
        if !matches!(event, Event::Call { .. }) {
            self.log.note(|| format!("{event:?}"));
        }
        let (lease, now) = (self.lease, Instant::now());
        // A gateway is back on its feet when it is connected and has had a turn.
        let recovers = lease + Duration::from_secs(4);
        match event {
            Event::Call { gateway, hold, patience, claim, by_route } => {
                self.calls(gateway, (hold, patience), (claim, by_route))
            }
            Event::Starts(gateway) => self.starts(gateway),
            Event::Leaves(gateway) => self.leaves(gateway),
            Event::IsKilled(gateway) => self.kills(gateway),
            Event::Resized(max) => self.resized(max),
            Event::Resets(gateway) => {
                self.excuse(recovers);
                self.server.resets(gateway);
            }
            Event::Cuts(gateway, cut) => {
                self.excuse(recovers);
                self.is_cut(gateway, cut, recovers);
                self.server.cuts(gateway, cut);
            }
            Event::Hangs(hangs) => {
                self.excuse(recovers);
                self.is_out(hangs, recovers);
                self.server.hangs(hangs);
            }
            Event::Dies { loses_data } => {
                self.excuse(recovers);
                self.is_out(true, recovers);
                self.server.dies(loses_data);
            }
            Event::ComesBack => {
                self.excuse(recovers);
                self.is_out(false, recovers);
                self.server.comes_back();
            }
            Event::Forgets => {
                self.excuse(recovers);
                self.server.forgets();
            }
            Event::ClockSteps(micros) => {
                self.excuse(recovers);
                self.server.steps(micros);
            }
            Event::RefusesWrites(refuses) => {
                self.excuse(recovers);
                self.is_out(refuses, recovers);
                self.server.refuses_writes(refuses);
            }
            Event::PausedUntil(gateway, long) => {
                if let Some(gateway) = &mut self.lock().gateways[gateway] {
                    let until = now + long;
                    gateway.paused = gateway.paused.max(until);
                    gateway.gate.pause(0, until.into_std());
                    let gate = Arc::downgrade(&gateway.gate);
                    // As the proxy does it.
                    drop(tokio::spawn(async move {
                        sleep_until(until).await;
                        if let Some(gate) = gate.upgrade() {
                            gate.wake(until.into_std());
                        }
                    }));
                }
            }
        }
        self.look();
    }

    /// For so long slots may be free.
    fn excuse(&self, free: Duration) {
        let (mut state, now) = (self.lock(), Instant::now());
        state.excuse.free = state.excuse.free.max(now + free);
    }

    /// A gateway that alone cannot reach the backend uses its part of the plan once its lease is over, beside the others, who
    /// share the whole; until it has come back.
    fn is_cut(&self, gateway: usize, cut: bool, recovers: Duration) {
        let (mut state, now) = (self.lock(), Instant::now());
        if cut {
            state.excuse.alone.push((gateway, now + self.lease * 9 / 10));
            return;
        }
        let alone = state.excuse.alone.iter().any(|(other, from)| *other == gateway && *from <= now);
        state.excuse.alone.retain(|(other, _)| *other != gateway);
        if alone {
            state.excuse.over = state.excuse.over.max(now + recovers);
        }
    }

    /// The backend is of no use to anybody, or is again. A gateway that has begun meanwhile uses a slot that nobody knows of until it
    /// comes back.
    fn is_out(&self, out: bool, recovers: Duration) {
        let (mut state, now) = (self.lock(), Instant::now());
        let before = state.excuse.outage.take();
        if out {
            let since = before.map_or(now, |(since, _)| since);
            state.excuse.outage = Some((since, before.is_some_and(|(_, begun)| begun)));
        } else if before.is_some_and(|(_, begun)| begun) {
            state.excuse.over = state.excuse.over.max(now + recovers);
        }
    }

    fn starts(self: &Arc<Self>, index: usize) {
        let mut state = self.lock();
        if state.gateways[index].is_some() {
            return;
        }
        state.born += 1;
        if let Some((_, begun)) = &mut state.excuse.outage {
            *begun = true;
        }
        let limits = Limits {
            state: None,
            backend: Some(Secret::new("redis://simulated".to_owned())),
            ca_file: None,
            lease: self.lease,
            timeout: TIMEOUT,
            prefix: "t".to_owned(),
        };
        let dial = Arc::new(Way { server: Arc::clone(&self.server), gateway: index });
        let fleet = Fleet::start_over(dial, &limits, &format!("g{}", state.born), Arc::default, &Handle::current());
        let gate = Gate::new(&Setup { max: state.max, queue: 1000, accounts: self.keys });
        gate.set_learning(true);
        let own = Gate::new(&Setup { max: self.bound, queue: 1000, accounts: 1 });
        for gate in [&gate, &own] {
            gate.share_among(&self.shares, Arc::new(|| Instant::now().into_std()));
        }
        let labels = (0..self.keys).map(|key| (key, Label::Plain(format!("key {key}"))));
        fleet.share_accounts(ACCOUNTS, labels, &gate);
        fleet.share("tts", 1, &own);
        let paused = Instant::now();
        state.gateways[index] = Some(Gateway {
            fleet,
            gate,
            own,
            calls: Vec::new(),
            at: [0; KEYS],
            by_route: 0,
            running: 0,
            waiting: 0,
            tenants: [(0, 0); TENANTS],
            paused,
        });
    }

    /// It is drained: its calls go on, nobody new comes, and at the end it gives back what it has.
    fn leaves(self: &Arc<Self>, index: usize) {
        let Some(gateway) = self.lock().gateways[index].take() else { return };
        gateway.calls.iter().for_each(AbortHandle::abort);
        let fleet = Arc::clone(&gateway.fleet);
        // What it does not say, time does.
        self.buries(&gateway);
        drop(tokio::spawn(async move {
            fleet.leave().await;
            drop(gateway);
        }));
    }

    fn kills(&self, index: usize) {
        let Some(Gateway { fleet, calls, gate, own, running, .. }) = self.lock().gateways[index].take() else { return };
        // The agents end first: nobody says goodbye.
        drop(fleet);
        calls.iter().for_each(AbortHandle::abort);
        drop((gate, own));
        let mut state = self.lock();
        // Idle slots are lost as well.
        let lost = (state.max * self.keys as u32).max(running);
        state.buried.push((lost, Instant::now() + self.lease + STARVING));
    }

    fn buries(&self, gateway: &Gateway) {
        self.lock().buried.push((gateway.running.max(1), Instant::now() + self.lease / 3));
    }

    fn resized(&self, max: u32) {
        let mut state = self.lock();
        let (before, now) = (state.before.0.max(state.max), Instant::now());
        state.before = (before, now + self.lease / 2);
        state.max = max;
        for gateway in state.gateways.iter().flatten() {
            gateway.gate.reconfigure(&Setup { max, queue: 1000, accounts: self.keys }, now.into_std());
        }
    }

    fn calls(self: &Arc<Self>, index: usize, (hold, patience): (Duration, Duration), (claim, by_route): (Claim, bool)) {
        let mut state = self.lock();
        let Some(gateway) = &mut state.gateways[index] else { return };
        let (world, gate, own) = (Arc::clone(self), Arc::clone(&gateway.gate), Arc::clone(&gateway.own));
        let task = tokio::spawn(async move {
            // As the proxy does it: whoever waits for the route keeps nobody from the account.
            let mut counted = None;
            if by_route {
                let Some(permit) = world.comes(index, &own, patience, claim).await else { return };
                counted = Some(Counted(Arc::clone(&world), index, permit));
            }
            let permit = match gate.enter(claim, AccountSet::ALL, Instant::now().into_std()) {
                Entry::Admitted(permit) => permit,
                Entry::Full => return,
                Entry::Queued(waiting) => {
                    world.count((index, claim), 0, 1);
                    let granted = timeout(patience, waiting).await;
                    world.count((index, claim), 0, -1);
                    let Ok(permit) = granted else { return world.log.note(|| format!("g{index}: gives up")) };
                    permit
                }
            };
            world.runs((index, claim), permit, hold).await;
            drop(counted);
        });
        gateway.calls.push(task.abort_handle());
    }

    async fn runs(&self, (index, claim): (usize, Claim), mut permit: Permit, hold: Duration) {
        self.count((index, claim), 1, 0);
        let (running, key) = (self.running_with(permit.account(), 1, index), permit.account());
        self.begins(index, running);
        self.tenant_begins(index, claim);
        if running > self.allowed {
            self.log.note(|| format!("g{index}: refused, {} run already", self.allowed));
            permit.refused(Instant::now().into_std());
            // What the provider allows is learned in steps.
            self.excuse(FOR_EVER);
            self.lock().refused += 1;
        } else {
            self.log.note(|| format!("g{index}: call begins, {running} run"));
            sleep(hold).await;
            permit.succeeded(Instant::now().into_std());
            self.log.note(|| format!("g{index}: call ends"));
        }
        self.count((index, claim), -1, 0);
        let _ = self.running_with(key, -1, index);
        drop(permit);
        self.look();
    }

    /// A call comes by the route: it waits for one of its own slots.
    async fn comes(&self, index: usize, own: &Arc<Gate>, patience: Duration, claim: Claim) -> Option<Permit> {
        let permit = match own.enter(claim, AccountSet::ALL, Instant::now().into_std()) {
            Entry::Admitted(permit) => permit,
            Entry::Full => return None,
            Entry::Queued(waiting) => timeout(patience, waiting).await.ok()?,
        };
        self.came(index, 1);
        Some(permit)
    }

    fn count(&self, (index, claim): (usize, Claim), running: i32, waiting: i32) {
        if let Some(gateway) = &mut self.lock().gateways[index] {
            if let Some((held, queued)) = claim.tenant.and_then(|tenant| gateway.tenants.get_mut(tenant as usize)) {
                (*held, *queued) = (held.saturating_add_signed(running), queued.saturating_add_signed(waiting));
            }
            gateway.running = gateway.running.saturating_add_signed(running);
            gateway.waiting = gateway.waiting.saturating_add_signed(waiting);
        }
        self.look();
    }

    /// All is well again; every call ends, and every gateway gets a slot.
    async fn ends(self: &Arc<Self>, rng: &mut Rng) {
        self.is_out(false, self.lease + Duration::from_secs(4));
        self.server.comes_back();
        self.server.hangs(false);
        self.server.refuses_writes(false);
        let gateways = self.lock().gateways.len();
        for gateway in 0..gateways {
            self.server.cuts(gateway, false);
        }
        let (refused, calm) = {
            let state = self.lock();
            (state.refused, state.calm)
        };
        if calm && refused > LEARNED {
            self.log.violated(|| format!("{refused} calls were refused of a fleet that learns together"));
        }
        // Where nothing went wrong there is nothing to recover from.
        let recovers = Instant::now() + if calm { Duration::ZERO } else { self.lease + Duration::from_secs(4) };
        let deadline = Instant::now() + self.lease + Duration::from_secs(44);
        loop {
            let left: u32 = self.lock().gateways.iter().flatten().map(|one| one.running + one.waiting).sum();
            if left == 0 || self.log.is_broken() {
                break;
            }
            if Instant::now() > deadline {
                self.log.violated(|| format!("{left} calls have not ended"));
                return;
            }
            sleep(Duration::from_millis(200)).await;
            self.look();
        }
        sleep_until(recovers).await;
        for index in 0..gateways {
            let Some(gate) = self.lock().gateways[index].as_ref().map(|gateway| Arc::clone(&gateway.gate)) else {
                continue;
            };
            sleep(between(rng, 0, 500)).await;
            let slot = async {
                match gate.enter(Priority::Normal, AccountSet::ALL, Instant::now().into_std()) {
                    Entry::Admitted(permit) => Some(permit),
                    Entry::Queued(waiting) => Some(waiting.await),
                    Entry::Full => None,
                }
            };
            if !matches!(timeout(self.patience, slot).await, Ok(Some(_))) {
                self.log
                    .violated(|| format!("g{index} gets no slot within {:?} although nobody uses any", self.patience));
            }
        }
    }
}
