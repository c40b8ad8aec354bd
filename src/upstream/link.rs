//! One HTTP/1.1 connection, and who drives it: its own task, and whoever reads the body of an answer that comes over it.
//!
//! hyper hands a body over one frame at a time and reads no further before that one was taken. By its task alone each frame would
//! cost a turn of that task, a turn of the reader's, and the caller a write of its own. So a reader drives the connection itself
//! and takes whatever has come in one turn. Only what nobody reads is left to the connection's own task: an upload that goes
//! on behind an answer, the close of a connection that is idle, the end of a call that was given up. Requests and the heads of
//! answers are left to it as well, although a call could drive those: it was measured to cost more, because requests that are
//! written together wake the provider once, and those that each call writes in its turn do so each.
//!
//! Whoever drives it, the connection is told the same waker, the [`Bell`]'s. It wakes whoever attends to the connection, and
//! else its own task, so that passing the connection on costs no turn of anybody's.

use super::bell::Bell;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// What hyper gives to be driven. Its error is given to the call on it; without a call nobody needs it.
type Connection = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// One HTTP/1.1 connection.
///
/// Calls are numbered: a body that is dropped after its connection has gone on to another call must not end that one.
pub(super) struct Link {
    /// None once it has ended.
    connection: Mutex<Option<Connection>>,
    call: AtomicU64,
    abandoned: AtomicU64,
    bell: Arc<Bell>,
    /// The bell's.
    waker: Waker,
}

impl Link {
    pub(super) fn new(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) -> Arc<Link> {
        let bell = Bell::new();
        Arc::new(Link {
            connection: Mutex::new(Some(Box::pin(connection))),
            // Calls are numbered from one, abandoned ones begin at zero.
            call: AtomicU64::new(1),
            abandoned: AtomicU64::new(0),
            waker: Waker::from(Arc::clone(&bell)),
            bell,
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

    /// Nobody waits for this call any more: it ends, and with it the connection.
    pub(super) fn abandon(&self, call: u64) {
        self.abandoned.store(call, Relaxed);
        self.leave(call);
    }

    /// This call attends to the connection no more; its own task does, from now on.
    pub(super) fn leave(&self, call: u64) {
        if self.call() == call {
            self.bell.leave();
            self.bell.wake_owner();
        }
    }

    /// This is its own task.
    pub(super) fn belongs_to(&self, cx: &Context<'_>) {
        self.bell.belongs_to(cx.waker());
    }

    /// A turn of its own task; ready when the connection has ended, or has to because its call was abandoned.
    pub(super) fn poll(&self) -> Poll<()> {
        if self.abandoned.load(Relaxed) == self.call() {
            return Poll::Ready(());
        }
        if self.bell.is_attended() {
            return Poll::Pending;
        }
        // What has panicked in a turn of a call's is not driven any further.
        self.connection.lock().map_or(Poll::Ready(()), |mut connection| self.step(&mut connection))
    }

    /// A turn in the task of a call that waits for what the connection brings, and is woken when there may be more.
    pub(super) fn attend(&self, cx: &Context<'_>) {
        self.bell.attend(cx.waker());
        self.drive();
    }

    /// A turn in the task of a call.
    pub(super) fn drive(&self) {
        let over = self.connection.try_lock().is_ok_and(|mut connection| self.step(&mut connection).is_ready());
        // Its own task has to end as well.
        if over || self.connection.is_poisoned() {
            self.bell.wake_owner();
        }
    }

    /// Does something that would wake whoever attends to the connection, but is done by them in their turn.
    pub(super) fn quietly<T>(&self, act: impl FnOnce() -> T) -> T {
        self.bell.quietly(act)
    }

    /// Its own task ends.
    pub(super) fn end(&self) {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(connection);
        self.bell.ring();
    }

    /// Drives a connection, and closes one that has ended.
    fn step(&self, connection: &mut Option<Connection>) -> Poll<()> {
        let mut cx = Context::from_waker(&self.waker);
        let over = connection.as_mut().is_none_or(|connection| connection.as_mut().poll(&mut cx).is_ready());
        if !over {
            return Poll::Pending;
        }
        *connection = None;
        Poll::Ready(())
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("call", &self.call()).finish_non_exhaustive()
    }
}
