//! One HTTP/1.1 connection, and the tasks that poll it: its own, and that of the call which reads the body of an answer.
//!
//! hyper hands over one frame of a body at a time and reads no further until that frame was taken. If only the connection's
//! own task polled it, each frame would cost a poll of that task, a poll of the reader's, and a write of its own to the
//! client. So the reader polls the connection itself and takes all that has arrived at once. What nobody reads is left to the
//! connection's own task: an upload that goes on behind an answer, the close of an idle connection, the end of a call that was
//! given up. Sending requests and reading heads are left to it as well: having the call do so was measured to cost more,
//! because requests that one task writes together wake the provider once.
//!
//! Whichever task polls the connection passes it the same waker, a [`TaskWaker`]. That one wakes the reader while there is
//! one, and else the connection's own task, so that handing the connection over costs no extra poll.

use super::waker::TaskWaker;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// hyper's side of it. An error reaches the call on the connection; without a call nobody needs it.
type Driven = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// One HTTP/1.1 connection.
///
/// Calls are numbered, so that a body which is dropped late, after the connection has gone on to the next call, cannot end
/// that one.
pub(super) struct Http1Connection {
    /// None once it has ended.
    driven: Mutex<Option<Driven>>,
    call: AtomicU64,
    abandoned: AtomicU64,
    task_waker: Arc<TaskWaker>,
    /// The same as a [`Waker`].
    waker: Waker,
}

impl Http1Connection {
    pub(super) fn new(driven: impl Future<Output = hyper::Result<()>> + Send + 'static) -> Arc<Http1Connection> {
        let task_waker = TaskWaker::new();
        Arc::new(Http1Connection {
            driven: Mutex::new(Some(Box::pin(driven))),
            // Calls are numbered from one; zero in `abandoned` is none of them.
            call: AtomicU64::new(1),
            abandoned: AtomicU64::new(0),
            waker: Waker::from(Arc::clone(&task_waker)),
            task_waker,
        })
    }

    /// The number of the call that it carries.
    pub(super) fn call(&self) -> u64 {
        self.call.load(Relaxed)
    }

    /// The next call begins, or the last is over.
    pub(super) fn next_call(&self) {
        self.call.fetch_add(1, Relaxed);
    }

    /// Nobody waits for this call any more: it ends, and the connection with it.
    pub(super) fn abandon(&self, call: u64) {
        self.abandoned.store(call, Relaxed);
        self.release(call);
    }

    /// The reader of this call polls the connection no more; its own task does again.
    pub(super) fn release(&self, call: u64) {
        if self.call() == call {
            self.task_waker.end_redirect();
            self.task_waker.wake_owner();
        }
    }

    /// Makes this its own task.
    pub(super) fn set_owner(&self, cx: &Context<'_>) {
        self.task_waker.set_owner(cx.waker());
    }

    /// A poll by its own task. Ready when the connection has ended, or has to end because its call was abandoned.
    pub(super) fn poll(&self) -> Poll<()> {
        if self.abandoned.load(Relaxed) == self.call() {
            return Poll::Ready(());
        }
        if self.task_waker.is_redirected() {
            return Poll::Pending;
        }
        // A connection that panicked while a reader polled it is not polled again.
        self.driven.lock().map_or(Poll::Ready(()), |mut driven| self.step(&mut driven))
    }

    /// A poll by the task of a reader, which is woken when there may be more.
    pub(super) fn poll_for(&self, cx: &Context<'_>) {
        self.task_waker.redirect_to(cx.waker());
        self.poll_by_reader();
    }

    /// A poll by the task of a reader. Further wakes go where they went before.
    pub(super) fn poll_by_reader(&self) {
        let over = self.driven.try_lock().is_ok_and(|mut driven| self.step(&mut driven).is_ready());
        // Its own task has to end as well.
        if over || self.driven.is_poisoned() {
            self.task_waker.wake_owner();
        }
    }

    /// Runs `act`, which takes a frame, without waking the task that polls the connection: that is the task which runs this.
    pub(super) fn defer_wakes<T>(&self, act: impl FnOnce() -> T) -> T {
        self.task_waker.defer_wakes(act)
    }

    /// Its own task ends.
    pub(super) fn end(&self) {
        let driven = self.driven.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(driven);
        self.task_waker.wake_current();
    }

    /// Polls the connection, and closes it when it has ended.
    fn step(&self, driven: &mut Option<Driven>) -> Poll<()> {
        let mut cx = Context::from_waker(&self.waker);
        let over = driven.as_mut().is_none_or(|driven| driven.as_mut().poll(&mut cx).is_ready());
        if !over {
            return Poll::Pending;
        }
        *driven = None;
        Poll::Ready(())
    }
}

impl fmt::Debug for Http1Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http1Connection").field("call", &self.call()).finish_non_exhaustive()
    }
}
