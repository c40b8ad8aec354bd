//! One HTTP/1.1 connection, and who drives it: its own task, and whoever reads the body of an answer that comes over it.
//!
//! hyper hands a body over one frame at a time and reads no further before that one was taken. By its task alone each frame would
//! cost a turn of that task, a turn of the reader's, and the caller a write of its own. So a reader that finds nothing drives the
//! connection itself: whatever has come is taken in one turn. The connection is told the waker of its own task all the same,
//! which goes on with it as soon as the reader does not.

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
    /// Of the connection's own task.
    waker: Mutex<Option<Waker>>,
}

impl Link {
    pub(super) fn new(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) -> Arc<Link> {
        Arc::new(Link {
            connection: Mutex::new(Some(Box::pin(connection))),
            // Calls are numbered from one, abandoned ones begin at zero.
            call: AtomicU64::new(1),
            abandoned: AtomicU64::new(0),
            waker: Mutex::default(),
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
        self.wake();
    }

    /// Gives its own task a turn.
    pub(super) fn wake(&self) {
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// A turn of its own task; ready when the connection has ended, or has to because its call was abandoned.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        drop(waker);
        if self.abandoned.load(Relaxed) == self.call() {
            return Poll::Ready(());
        }
        // What has panicked in a reader's turn is not driven any further.
        self.connection.lock().map_or(Poll::Ready(()), |mut connection| step(&mut connection, cx))
    }

    /// A turn in the task of a reader that has found nothing.
    pub(super) fn drive(&self) {
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Where it cannot be had, its own task has it or has ended.
        if let (Some(waker), Ok(mut connection)) = (waker, self.connection.try_lock())
            && step(&mut connection, &mut Context::from_waker(&waker)).is_ready()
        {
            waker.wake();
        }
    }

    /// Its own task ends.
    pub(super) fn end(&self) {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(connection);
    }
}

/// Drives a connection, and closes one that has ended.
fn step(connection: &mut Option<Connection>, cx: &mut Context<'_>) -> Poll<()> {
    let over = connection.as_mut().is_none_or(|connection| connection.as_mut().poll(cx).is_ready());
    if !over {
        return Poll::Pending;
    }
    *connection = None;
    Poll::Ready(())
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("call", &self.call()).finish_non_exhaustive()
    }
}
