//! Idle timeouts of bodies.

use crate::canon::Fault;
use crate::upstream::Failure;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, timeout_at};

/// A lazily armed timer: created when a body is first waited for, and moved only when it fires.
#[derive(Debug)]
pub(crate) struct Idle {
    limit: Duration,
    /// The deadline of the whole body, whether it progresses or not.
    end: Option<Instant>,
    last: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Idle {
    pub(crate) fn new(limit: Duration) -> Idle {
        Idle { limit, end: None, last: None, timer: None }
    }

    /// An idle timeout with a deadline for the whole body.
    pub(crate) fn until(limit: Duration, end: Option<Instant>) -> Idle {
        Idle { end, ..Idle::new(limit) }
    }

    /// Whether the deadline of the whole body has passed.
    pub(crate) fn is_over(&self) -> bool {
        self.end.is_some_and(|end| end <= Instant::now())
    }

    /// Records progress.
    pub(crate) fn moved(&mut self) {
        if self.timer.is_some() {
            self.last = Some(Instant::now());
        }
    }

    /// Records progress at this time; compared when the timer fires.
    pub(crate) fn moved_at(&mut self, at: Instant) {
        if self.timer.is_some() {
            self.last = self.last.max(Some(at));
        }
    }

    /// The failure to report once it is ready.
    pub(crate) fn failure(&self) -> Failure {
        match self.is_over() {
            true => Failure::of(Fault::TotalTimeout),
            false => Failure::stalled(),
        }
    }

    /// Ready when there was no progress for the limit, and at the deadline of the whole body.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (limit, end) = (self.limit, self.end);
        let within = |deadline: Instant| end.map_or(deadline, |end| end.min(deadline));
        let begun = || Box::pin(tokio::time::sleep_until(within(Instant::now() + limit)));
        let timer = self.timer.get_or_insert_with(begun);
        loop {
            // Bytes that complete no frame may have used up the task's cooperative budget, so the timer is polled without it.
            if pin!(unconstrained(timer.as_mut())).poll(cx).is_pending() {
                return Poll::Pending;
            }
            match self.last.take().map(|last| within(last + limit)) {
                Some(deadline) if deadline > Instant::now() => timer.as_mut().reset(deadline),
                _ => return Poll::Ready(()),
            }
        }
    }
}

/// The result of `step`, or the timeout if the deadline passes first.
pub(crate) async fn within<T>(end: Instant, step: impl Future<Output = T>) -> Result<T, Fault> {
    timeout_at(end, step).await.map_err(|_| Fault::TotalTimeout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_progresses_still_ends_at_the_deadline() {
        let begun = Instant::now();
        let mut idle = Idle::until(Duration::from_secs(10), Some(begun + Duration::from_secs(25)));
        poll_fn(|cx| {
            idle.moved_at(Instant::now());
            idle.poll(cx)
        })
        .await;
        assert_eq!((begun.elapsed().as_secs(), idle.failure().fault), (25, Fault::TotalTimeout));
        // A stalled body fails earlier.
        let mut idle = Idle::until(Duration::from_secs(10), Some(Instant::now() + Duration::from_secs(25)));
        poll_fn(|cx| idle.poll(cx)).await;
        assert_eq!((begun.elapsed().as_secs(), idle.failure().fault), (35, Fault::ResponseStalled));
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_that_progresses_postpones_the_idle_timeout() {
        let (begun, limit) = (Instant::now(), Duration::from_secs(10));
        let mut idle = Idle::new(limit);
        // The upload progresses every four seconds for half a minute.
        let last_sent = || begun + Duration::from_secs(begun.elapsed().as_secs().min(30) / 4 * 4);
        poll_fn(|cx| {
            idle.moved_at(last_sent());
            idle.poll(cx)
        })
        .await;
        assert_eq!(begun.elapsed().as_secs(), 28 + 10);
    }
}
