//! What limits cost: time of a call, memory of a key.
//!
//! ```text
//! cargo bench --no-default-features --bench limiter              a second, to see that it works
//! cargo bench --no-default-features --bench limiter -- --full    what RESULTS.md shows
//! ```
//!
//! Each figure is the best of some runs, because whatever else the machine does only adds to it.

use speechgate::limit::backoff::{BackoffKeys, Pass, Reach};
use speechgate::limit::rate::{MOST, Quota, SHARDS};
use speechgate::limit::{
    AccountSet, Backoffs, Breaker, Budget, Entry, Gate, Keys, Permit, Priority, Rate, Setup, breaker,
};
use std::fs;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Barrier;
use std::task::{Context, Poll, Waker};
use std::thread::scope;
use std::time::{Duration, Instant};

const ONE: NonZeroU32 = NonZeroU32::MIN;
const KEYS: u64 = 1_000_000;

fn main() {
    let full = std::env::args().any(|argument| argument == "--full");
    let runs = if full { 200 } else { 5 };
    println!("| what | value |\n|---|---|");
    gate(runs);
    rate(runs);
    others(runs);
    memory();
}

fn gate(runs: u32) {
    let now = Instant::now();
    let gate = Gate::new(&Setup { max: 10, queue: 64, accounts: 1 });
    let enter = |_| gate.enter(Priority::Normal, AccountSet::ALL, now);
    show("gate: enter and leave, nobody else", per_call(1, runs, enter));
    show("gate: enter and leave, two threads", per_call(2, runs, enter));
    let four = Gate::new(&Setup { max: 10, queue: 64, accounts: 4 });
    let enter = |_| four.enter(Priority::Normal, AccountSet::ALL, now);
    show("gate: enter and leave, four accounts", per_call(1, runs, enter));
    let one = Gate::new(&Setup { max: 1, queue: 64, accounts: 1 });
    let hand_over = |_| {
        let holder = one.enter(Priority::Normal, AccountSet::ALL, now);
        let waiter = one.enter(Priority::Normal, AccountSet::ALL, now);
        drop(holder);
        drop(slot(waiter));
    };
    show("gate: queue, hand over and leave, with 1 waiting", per_call(1, runs, hand_over));
}

/// The slot of a waiter that has got one.
fn slot(entry: Entry) -> Option<Permit> {
    let Entry::Queued(mut waiting) = entry else { return None };
    match std::pin::Pin::new(&mut waiting).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(permit) => Some(permit),
        Poll::Pending => None,
    }
}

fn rate(runs: u32) {
    let start = Instant::now();
    let quota = Quota { amount: ONE, per: Duration::from_nanos(1), burst: ONE };
    let keys = Keys::new();
    let name = "sk_0123456789abcdef0123456789abcdef";
    show("key of a 35 byte header", per_call(1, runs, |_| keys.of((7_u64, black_box(name)))));
    let rate = Rate::new(quota, start);
    let check = |call: u32| rate.check(7, ONE, start + Duration::from_micros(u64::from(call)));
    show("rate: check, one key", per_call(1, runs, check));
    show("rate: check, one key, two threads", per_call(2, runs, check));
    let rate = filled(KEYS);
    // Keys in an order that no cache foresees.
    let check = |call: u32| rate.check(spread(spread(u64::from(call)) % KEYS), ONE, start);
    show("rate: check, 1,000,000 keys", per_call(1, runs, check));
    show("rate: check, 1,000,000 keys, two threads", per_call(2, runs, check));
    show("rate: longest check while a million keys came", format!("{} µs", longest_check().as_micros()));
    let sweep = Instant::now();
    (0..SHARDS).for_each(|_| rate.sweep(start));
    show("rate: one step of sweeping a million keys", format!("{} µs", sweep.elapsed().as_micros() / SHARDS as u128));
}

fn others(runs: u32) {
    let now = Instant::now();
    let holds = Backoffs::new();
    let place = BackoffKeys { credential: 1, path: 2, template: 5 };
    let check = |_| assert!(!matches!(holds.check(place, now), Pass::BackOff { .. }));
    show("hold: check, nothing held", per_call(1, runs, check));
    holds.refused(
        BackoffKeys { credential: 3, path: 4, template: 6 },
        Reach::Credential,
        "rate",
        Duration::from_secs(60),
        now,
    );
    show("hold: check, another place held", per_call(1, runs, check));
    let budget = Budget::new(0.2, now);
    show("budget: request", per_call(1, runs, |_| budget.request(now)));
    show("budget: retry", per_call(1, runs, |_| budget.retry(now)));
    let setup = breaker::Setup { failures: 5, window: Duration::from_secs(30), open: Duration::from_secs(10) };
    let breaker = Breaker::new(setup);
    let pass = |_| breaker.admit(now).map_or((), breaker::Pass::succeeded);
    show("breaker: admit and success", per_call(1, runs, pass));
}

fn memory() {
    for keys in [KEYS, (SHARDS * MOST) as u64, 2 * (SHARDS * MOST) as u64] {
        let before = resident();
        let rate = filled(keys);
        let kept = rate.keys();
        let bytes = resident().saturating_sub(before) as f64;
        let each = bytes / kept as f64;
        show(
            &format!("rate: memory of {kept} keys, of {keys}"),
            format!("{:.1} MiB, {each:.1} bytes a key", bytes / 1048576.0),
        );
    }
    show("rate: a limit without keys", format!("{} bytes", size_of::<Rate>() + SHARDS * 128));
}

/// An hour for each request, so that no key is idle.
const SLOW: Quota = Quota { amount: ONE, per: Duration::from_secs(3600), burst: ONE };

/// A limit with so many keys.
fn filled(keys: u64) -> Rate {
    let now = Instant::now();
    let rate = Rate::new(SLOW, now);
    for key in (0..keys).map(spread) {
        let _ = black_box(rate.check(key, ONE, now));
    }
    rate
}

/// The longest check while a million keys come: one that lets a part grow. Each is the best of five, for the same grow each time.
fn longest_check() -> Duration {
    let now = Instant::now();
    let mut best = vec![Duration::MAX; KEYS as usize];
    for _ in 0..5 {
        let rate = Rate::new(SLOW, now);
        for (key, best) in (0..).map(spread).zip(&mut best) {
            let start = Instant::now();
            let _ = black_box(rate.check(key, ONE, now));
            *best = start.elapsed().min(*best);
        }
    }
    best.into_iter().max().unwrap_or_default()
}

/// Keys that are spread as hashes are: the finalizer of SplitMix64.
fn spread(number: u64) -> u64 {
    let mut key = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    key ^ (key >> 31)
}

/// The time of a call for each of so many threads that do nothing else.
fn per_call<T>(threads: u32, runs: u32, act: impl Fn(u32) -> T + Sync) -> String {
    // Threads need some time until all of them run, and one run alone is soon disturbed.
    let calls = if threads > 1 { 200_000 } else { 20_000 };
    let run = || {
        let barrier = Barrier::new(threads as usize);
        let one = || {
            barrier.wait();
            let start = Instant::now();
            (0..calls).for_each(|call| drop(black_box(act(call))));
            start.elapsed()
        };
        scope(|scope| {
            let all: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
            all.into_iter().map(|thread| thread.join().expect("a run")).max()
        })
    };
    let best = (0..runs / threads).filter_map(|_| run()).min().expect("a run");
    format!("{:.0} ns", best.as_nanos() as f64 / f64::from(calls))
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

fn show(what: &str, value: String) {
    println!("| {what} | {value} |");
}
