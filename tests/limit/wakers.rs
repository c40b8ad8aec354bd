//! Who waits for a slot is woken: once, and whatever others do.

use super::gate::{admitted, enter, gate, queued, stands};
use super::{Clock, poll};
use speechgate::limit::Waiting;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

/// Polls once, with this waker.
fn is_ready(waiting: &mut Waiting, waker: &Waker) -> bool {
    std::pin::Pin::new(waiting).poll(&mut Context::from_waker(waker)).is_ready()
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn the_waker_of_the_last_poll_is_woken_once() {
    let (gate, clock) = (gate(1, 8), Clock::new());
    let holder = admitted(enter(&gate, &clock));
    let mut waiting = queued(enter(&gate, &clock));
    let counts = [0, 1].map(|_| Arc::new(Count(AtomicUsize::new(0))));
    for count in &counts {
        let waker = Waker::from(Arc::clone(count));
        assert!(!is_ready(&mut waiting, &waker));
    }
    drop(holder);
    assert_eq!(counts.each_ref().map(|count| count.0.load(Ordering::Relaxed)), [0, 1]);
    assert!(poll(&mut waiting).is_some());
    // Ready once: from then on pending, and its drop frees nothing.
    assert!(poll(&mut waiting).is_none());
}

#[test]
fn a_waker_that_panics_costs_nobody_else() {
    struct Bad;
    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            panic!("a waker of somebody else");
        }
    }
    let (gate, clock) = (gate(2, 8), Clock::new());
    let holders = [0, 1].map(|_| admitted(enter(&gate, &clock)));
    let (mut bad, mut good) = (queued(enter(&gate, &clock)), queued(enter(&gate, &clock)));
    let count = Arc::new(Count(AtomicUsize::new(0)));
    assert!(!is_ready(&mut bad, &Waker::from(Arc::new(Bad))));
    assert!(!is_ready(&mut good, &Waker::from(Arc::clone(&count))));
    // Both slots come free in one step.
    gate.set_share(0, Some(0));
    drop(holders);
    gate.set_share(0, None);
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    let permits = (poll(&mut bad).expect("a slot"), poll(&mut good).expect("a slot"));
    drop(permits);
    stands(&gate, 2, 0, 0);
}
