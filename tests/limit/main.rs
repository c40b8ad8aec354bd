//! The limits, each with a clock of the test's own.
//!
//! | module | what it holds |
//! |---|---|
//! | `gate` | slots, the queue, priorities, lanes, pauses, shares, waits |

mod gate;

use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// A clock that stands still until it is told otherwise.
struct Clock(Instant);

impl Clock {
    fn new() -> Clock {
        Clock(Instant::now())
    }

    fn now(&self) -> Instant {
        self.0
    }

    fn pass(&mut self, time: Duration) -> Instant {
        self.0 += time;
        self.0
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Polls once.
fn poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    match std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
