//! The gate under threads: each is a client of its own that waits as a runtime's worker would.

use speechgate::limit::{AccountSet, Backoffs, Entry, Gate, Permit, Priority, Rate, Setup, Waiting};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{Thread, current, park, scope};
use std::time::Instant;

const SLOTS: u32 = 3;
const THREADS: usize = 8;
const ROUNDS: usize = 2_000;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for the slot; a wake-up that is lost parks this thread for ever.
fn wait(mut waiting: Waiting) -> Permit {
    let waker = Waker::from(Arc::new(Unpark(current())));
    loop {
        match Pin::new(&mut waiting).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(permit) => return permit,
            Poll::Pending => park(),
        }
    }
}

#[test]
fn nothing_is_lost_between_threads() {
    let gate = Gate::new(&Setup { max: SLOTS, queue: 6, accounts: 1 });
    let (inside, served) = (AtomicU32::new(0), AtomicUsize::new(0));
    let client = |number: usize| {
        let priorities = [Priority::High, Priority::Normal, Priority::Low];
        for round in 0..ROUNDS {
            let entry = gate.enter(priorities[(number + round) % 3], AccountSet::ALL, Instant::now());
            let permit = match entry {
                Entry::Admitted(permit) => permit,
                // Some give up, with a slot on its way or without.
                Entry::Queued(_) if round % 7 == number => continue,
                Entry::Queued(waiting) => wait(waiting),
                Entry::Full => continue,
            };
            assert!(inside.fetch_add(1, Ordering::SeqCst) < SLOTS);
            served.fetch_add(1, Ordering::Relaxed);
            inside.fetch_sub(1, Ordering::SeqCst);
            drop(permit);
        }
    };
    scope(|scope| {
        let client = &client;
        (0..THREADS).for_each(|number| drop(scope.spawn(move || client(number))));
    });
    let stats = gate.stats();
    assert_eq!((stats.in_use, stats.queued), (0, 0));
    assert!(served.into_inner() > ROUNDS);
}

#[test]
fn whatever_is_shared_may_be() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Gate>();
    shared::<Permit>();
    shared::<Waiting>();
    shared::<Rate>();
    shared::<Backoffs<u8>>();
    shared::<speechgate::limit::backoff::Probe<u8>>();
    shared::<speechgate::limit::Budget>();
    shared::<speechgate::limit::breaker::Pass>();
}
