//! One gateway and its providers: the real limits of a route, with clients that take the steps of `proxy::admit` and `proxy::retry` in
//! the same order; each step is the limits' own.
//!
//! Held are: what a provider says about one credential binds no other; a wait ends, and is tried in time; who waits after that
//! waits for a call that is at the provider; no retry before its time; a learned cap is never smaller than the plan; a reload
//! forgets no call. Where two routes share an account, all of that holds for both of them together.

mod configurations;
mod holding;
mod rules;
mod story;

use configurations::{CONFIGS, METRICS, accounts, runtimes};
use holding::{Going, Waits};
use story::{Event, story};

use super::world::{Knobs, Log, between};
use fastrand::Rng;
use http::{HeaderMap, HeaderValue, Request};
use speechgate::canon::{CanonicalError, Code, Fault, Origin};
use speechgate::limit::{AccountSet, Budget, Priority};
use speechgate::proxy::headers::Identity;
use speechgate::proxy::limits::{Admission, Credential, Denied, Slot};
use speechgate::proxy::upstreams::policy::{self, RetryPolicy};
use speechgate::proxy::{RouteRuntime, Shared};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Keys that there are: of clients, or of the route's accounts.
const KEYS: [&str; 3] = ["key-aaaaaaaa", "key-bbbbbbbb", "key-cccccccc"];
/// Paths of different kinds.
const PATHS: [&str; 3] = ["/v1/tts", "/v1/voices", "/v1/broken"];
/// Slots of every key, as the operator has it.
const MAX: u32 = 4;
/// The longest wait that is believed, as the routes below say.
const MAX_HOLD: Duration = Duration::from_secs(60);
/// How long others may wait for a probe, and how often one goes through during a wait: what `limit::hold` says.
const PROBE_DEADLINE: Duration = Duration::from_secs(10);
const PROBE_EVERY: Duration = Duration::from_secs(30);
/// The configuration that learns what plans have; those before it have accounts of one route, but for the first.
const LEARNING: usize = 6;
/// The first of those in which two routes share an account.
const SHARED: usize = 7;
/// How long a slot may be free while somebody waits.
const STARVING: Duration = Duration::from_secs(1);
/// The longest pause for want of a slot.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What was said to a key.
#[derive(Clone, Copy, Debug)]
struct Said {
    key: usize,
    path: usize,
    code: Code,
    wait: Duration,
    at: Instant,
}

struct World {
    log: Arc<Log>,
    knobs: Knobs,
    /// Whether clients bring the keys; they are the route's accounts otherwise.
    own_keys: bool,
    shared: Arc<Shared>,
    budget: Budget,
    state: Mutex<State>,
}

struct State {
    /// The routes, of which there are one or two.
    runtimes: Vec<Arc<RouteRuntime>>,
    /// Which keys the accounts are, by their place in the configuration.
    accounts: Vec<usize>,
    keys: [Key; 3],
    said: Vec<Said>,
}

/// How the provider stands to a key, and what it holds.
#[derive(Clone, Copy)]
struct Key {
    slots: u32,
    /// The smallest plan that it had.
    least: u32,
    says: Option<Duration>,
    /// All paths, and each.
    limited: Option<(Instant, Duration)>,
    broken: [Option<(Instant, Duration)>; 3],
    /// At the provider, and those of them with a slot here.
    running: u32,
    counted: u32,
    /// How many probes there were.
    probes: u32,
    waiting: u32,
    starving: Option<Instant>,
    /// Until when no slots may be given out for want of one at the provider.
    paused: Option<Instant>,
    /// When the last call of it came to the provider, and when the last one left.
    began: Instant,
    idle: Instant,
}

/// Runs one world.
pub(crate) async fn run(mut rng: Rng, log: Arc<Log>, knobs: Knobs) {
    let own_keys = rng.bool();
    let now = Instant::now();
    let identity = Identity::new("simulated").expect("an identity");
    let shared = Shared::new(Arc::clone(&METRICS), None, identity);
    let first = if own_keys { [0, LEARNING][rng.usize(0..2)] } else { [1, SHARED][rng.usize(0..2)] };
    let config = &CONFIGS[first];
    let key = Key {
        slots: u32::MAX,
        least: u32::MAX,
        says: None,
        limited: None,
        broken: [None; 3],
        running: 0,
        counted: 0,
        probes: 0,
        waiting: 0,
        starving: None,
        paused: None,
        began: now,
        idle: now,
    };
    let state =
        State { runtimes: runtimes(config, &shared), accounts: accounts(config), keys: [key; 3], said: Vec::new() };
    log.note(|| format!("keys of {}", if own_keys { "clients" } else { "the route" }));
    let budget = Budget::new(1.0, now.into_std());
    let world = Arc::new(World { log, knobs, own_keys, shared, budget, state: Mutex::new(state) });
    let mut tasks = Vec::new();
    for (at, event) in story(&mut rng, first) {
        sleep_until(now + at).await;
        world.happens(event, &mut tasks);
        if world.log.is_broken() {
            break;
        }
    }
    for task in tasks {
        if world.log.is_broken() {
            task.abort();
            continue;
        }
        match timeout(Duration::from_secs(600), task).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => world.log.violated(|| "a call panicked".to_owned()),
            Err(_) => world.log.violated(|| "a call has not ended".to_owned()),
        }
    }
}

impl World {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn happens(self: &Arc<Self>, event: Event, tasks: &mut Vec<tokio::task::JoinHandle<()>>) {
        let now = Instant::now();
        let mut state = self.lock();
        match event {
            Event::Call { call, leaves } => {
                let world = Arc::clone(self);
                tasks.push(tokio::spawn(async move {
                    match leaves {
                        Some(leaves) => drop(timeout(leaves, world.call(call)).await),
                        None => world.call(call).await,
                    }
                }));
                return;
            }
            Event::RateLimits { key, long, says } => state.keys[key].limited = Some((now + long, says)),
            Event::Breaks { key, path, long, says } => state.keys[key].broken[path] = Some((now + long, says)),
            Event::Plan { key, slots, says } => {
                let key = &mut state.keys[key];
                (key.slots, key.least, key.says) = (slots, key.least.min(slots), says);
            }
            Event::Reload(number) => {
                state.runtimes = runtimes(&CONFIGS[number], &self.shared);
                state.accounts = accounts(&CONFIGS[number]);
            }
        }
        drop(state);
        self.log.note(|| format!("{event:?}"));
    }

    /// One call, by the steps of `proxy::admit` and `proxy::retry`.
    async fn call(&self, call: Call) {
        let runtime = {
            let state = self.lock();
            Arc::clone(&state.runtimes[call.route % state.runtimes.len()])
        };
        let accounts = self.lock().accounts.clone();
        let limits = &runtime.limits;
        let path = PATHS[call.path];
        let key = HeaderValue::from_static(KEYS[call.key]);
        let (parts, ()) = Request::new(()).into_parts();
        let credential = limits.credential(self.own_keys.then_some(&key), &parts);
        let credential = if self.knobs.shares_credentials { Credential::default() } else { credential };
        // Where the route has accounts, a client of this key stands for one that can only use that one.
        let account = if self.own_keys { Some(0) } else { accounts.iter().position(|one| *one == call.key) };
        let Some(account) = account else { return };
        let only = AccountSet::only(account);
        if let Err(denied) = limits.free(only, credential.key, path) {
            return self.held(&call, &denied);
        }
        let permit = match self.slot(&call, &runtime, credential, only).await {
            Ok(permit) => permit,
            Err(Denied::Limit(_) | Denied::Fault(_)) => {
                return self.log.note(|| format!("{call}: no slot in time"));
            }
        };
        let mut going = Going::new(self, &call, permit.is_some());
        let mut admission = Admission::new(credential, Priority::Normal, account);
        let early = self.knobs.probes_before_its_body;
        let body = async {
            sleep(if early { Duration::ZERO } else { call.upload }).await;
            Ok(())
        };
        let waits = limits.waits();
        if let Err(denied) = limits.sets_out(&mut admission, path, body).await {
            return self.held(&call, &denied);
        }
        if early && waits {
            sleep(call.upload).await;
        }
        if admission.is_probe() {
            self.log.note(|| format!("{call}: is a probe"));
        }
        admission.has(permit);
        self.tries(&call, &runtime, &mut admission, &mut going).await;
        admission.end();
    }

    /// Waits for a slot, if the route counts calls.
    async fn slot(
        &self,
        call: &Call,
        runtime: &RouteRuntime,
        credential: Credential,
        only: AccountSet,
    ) -> Result<Option<Slot>, Denied> {
        let _waits = Waits::new(self, call.key);
        runtime.limits.slot(credential, Priority::Normal.into(), only).await
    }

    /// Sends as often as the route allows.
    async fn tries(&self, call: &Call, runtime: &RouteRuntime, admission: &mut Admission, going: &mut Going<'_>) {
        let (limits, path, policy) = (&runtime.limits, PATHS[call.path], RetryPolicy::of(&runtime.config));
        self.budget.request(Instant::now().into_std());
        let begun = Instant::now();
        let (mut attempts, mut not_before) = (0, begun);
        loop {
            attempts += 1;
            if Instant::now() < not_before {
                self.log.violated(|| format!("{call} is sent again {:?} too early", not_before - Instant::now()));
            }
            let probe = admission.is_probe();
            let number = self.is_probe(call, probe);
            let error = match self.provider(call, probe, going) {
                Ok(()) => {
                    // A body that is sent again is here.
                    if attempts == 1 {
                        sleep(call.rest).await;
                    }
                    // One that has missed its deadline shows it as long as no other has gone out.
                    let latest = self.lock().keys[call.key].probes == number;
                    if probe && (latest || call.rest < PROBE_DEADLINE) {
                        self.shown(call);
                    }
                    limits.answered(admission, 200, &HeaderMap::new());
                    self.learned(call, runtime, admission.credential());
                    sleep(call.hold).await;
                    return;
                }
                Err(error) => error,
            };
            if probe && error.code == Code::ConcurrencyLimited {
                self.shown(call);
            }
            limits.failed(admission, path, &error);
            self.learned(call, runtime, admission.credential());
            if !policy.wants(&error, 1) || attempts >= policy.attempts {
                return;
            }
            let now = Instant::now();
            not_before = now + error.retry_after.unwrap_or_default();
            let left = Duration::from_secs(30).saturating_sub(now - begun);
            let Some(wait) = policy::wait(error.retry_after, attempts, left, fastrand::f64()) else { return };
            if !self.budget.retry(now.into_std()) {
                return;
            }
            if !self.knobs.retries_at_once {
                sleep(wait).await;
            }
            if !self.knobs.retries_ignore_waits
                && let Err(denied) = limits.goes_again(admission, path)
            {
                return self.held(call, &denied);
            }
        }
    }

    /// The number of the last probe of its key, which this may be.
    fn is_probe(&self, call: &Call, probe: bool) -> u32 {
        let key = &mut self.lock().keys[call.key];
        key.probes += u32::from(probe);
        key.probes
    }

    /// The answer to a probe shows that the provider is willing again.
    fn shown(&self, call: &Call) {
        let shown = |said: &Said| said.code == Code::RateLimited || said.path == call.path;
        self.lock().said.retain(|said| said.key != call.key || !shown(said));
    }

    /// What the provider does with a request that has arrived.
    fn provider(&self, call: &Call, probe: bool, going: &mut Going<'_>) -> Result<(), Box<CanonicalError>> {
        let now = Instant::now();
        let mut state = self.lock();
        self.arrives(&state, call, probe, now);
        let key = &mut state.keys[call.key];
        let in_force =
            |limit: Option<(Instant, Duration)>| limit.filter(|(until, _)| *until > now).map(|(_, says)| says);
        let refusal = if let Some(wait) = in_force(key.limited) {
            Some((Code::RateLimited, Some(wait)))
        } else if let Some(wait) = in_force(key.broken[call.path]) {
            Some((Code::Unavailable, Some(wait)))
        } else if key.running >= key.slots {
            key.paused = key.says.map(|wait| now + wait.min(LONGEST_PAUSE)).max(key.paused);
            Some((Code::ConcurrencyLimited, key.says))
        } else {
            None
        };
        let Some((code, wait)) = refusal else {
            drop(state);
            going.arrives();
            return Ok(());
        };
        let mut error = CanonicalError::from_fault(Fault::Panic);
        (error.code, error.origin, error.fault) = (code, Origin::Provider, None);
        (error.retryable, error.retry_after) = (true, wait);
        let said = Said { key: call.key, path: call.path, code, wait: wait.unwrap_or_default().min(MAX_HOLD), at: now };
        state.said.push(said);
        drop(state);
        self.log.note(|| format!("{call}: {} {wait:?}", code.as_str()));
        Err(Box::new(error))
    }
}

#[derive(Clone, Copy, Debug)]
struct Call {
    /// Which route it takes, where there are two.
    route: usize,
    key: usize,
    path: usize,
    /// How long it takes until so much of its body is here as is read before it goes out, and the rest after that.
    upload: Duration,
    rest: Duration,
    /// How long the provider works for it.
    hold: Duration,
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ({})", KEYS[self.key], PATHS[self.path], ["r", "s"][self.route])
    }
}
