//! The limits, each with a clock of the test's own.
//!
//! | module | what it holds |
//! |---|---|
//! | `gate` | slots, the queue, priorities, accounts, pauses, waits |
//! | `wakers` | who waits is woken |
//! | `lent` | slots that are a share of a fleet |
//! | `agreement` | the gate does what `naive` does: every order of a few clients, and random runs |
//! | `threads` | the same under threads |
//! | `learn` | the cap follows a provider; a simulated one whose plan shrinks and grows |
//! | `rate` | bursts, waits, costs, reloads, keys without end |
//! | `backoff` | a provider's Retry-After, and one probe at its end |
//! | `settle` | the slot of a cancelled call |
//! | `tenants` | slots that tenants share |
//! | `budget` | retries as a share of requests |
//! | `breaker` | a broken upstream is left alone |

mod agreement;
mod backoff;
mod breaker;
mod budget;
mod gate;
mod learn;
mod lent;
mod naive;
mod rate;
mod settle;
mod tenants;
mod threads;
mod wakers;

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

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Polls once.
fn poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    match std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
