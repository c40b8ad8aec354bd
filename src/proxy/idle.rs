//! Idle deadlines: how long a body may stand still.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep};

/// A lazily armed timer: made when a body first has to be waited for, and moved only when it fires.
#[derive(Debug)]
pub(crate) struct Idle {
    limit: Duration,
    last: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Idle {
    pub(crate) fn new(limit: Duration) -> Idle {
        Idle { limit, last: None, timer: None }
    }

    /// Something moved.
    pub(crate) fn moved(&mut self) {
        if self.timer.is_some() {
            self.last = Some(Instant::now());
        }
    }

    /// Something moved at this moment, which is looked up when the deadline seems to be over.
    pub(crate) fn moved_at(&mut self, at: Instant) {
        if self.timer.is_some() {
            self.last = self.last.max(Some(at));
        }
    }

    /// Ready when nothing has moved for the limit.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        loop {
            // What comes without being a frame may have used up the turn of this task.
            if pin!(unconstrained(timer.as_mut())).poll(cx).is_pending() {
                return Poll::Pending;
            }
            match self.last.take().map(|last| last + limit) {
                Some(deadline) if deadline > Instant::now() => timer.as_mut().reset(deadline),
                _ => return Poll::Ready(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(start_paused = true)]
    async fn an_upload_that_moves_keeps_the_idle_deadline_away() {
        let (begun, limit) = (Instant::now(), Duration::from_secs(10));
        let mut idle = Idle::new(limit);
        // The upload moves every four seconds for half a minute.
        let last_sent = || begun + Duration::from_secs(begun.elapsed().as_secs().min(30) / 4 * 4);
        poll_fn(|cx| {
            idle.moved_at(last_sent());
            idle.poll(cx)
        })
        .await;
        assert_eq!(begun.elapsed().as_secs(), 28 + 10);
    }
}
