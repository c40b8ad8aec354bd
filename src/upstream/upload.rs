//! The request body on its way to the provider, watched.
//!
//! The watch answers what the rest of this module asks: has the body begun, is it over, when did it last move, is it
//! the caller who keeps us waiting, and with which error did the caller's side fail. It is also how a call that
//! nobody waits for any more is made to stop sending.

use super::failure::BoxError;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant;

/// What is known about one request body. Only ever touched by one thread at a time, hence relaxed atomics.
#[derive(Debug)]
pub(super) struct Upload {
    begun: Instant,
    /// Microseconds from `begun` to the last frame.
    moved: AtomicU64,
    touched: AtomicBool,
    ended: AtomicBool,
    /// The caller has not sent what comes next.
    waiting: AtomicBool,
    abandoned: AtomicBool,
    rest: Mutex<Rest>,
}

/// The parts that are not numbers.
#[derive(Debug, Default)]
struct Rest {
    error: Option<BoxError>,
    waker: Option<Waker>,
}

impl Upload {
    fn new(empty: bool, now: Instant) -> Arc<Upload> {
        Arc::new(Upload {
            begun: now,
            moved: AtomicU64::new(0),
            touched: AtomicBool::new(false),
            ended: AtomicBool::new(empty),
            waiting: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            rest: Mutex::default(),
        })
    }

    /// Whether the whole body has been handed to the connection.
    pub(super) fn is_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// Whether the body has begun and is not over.
    pub(super) fn is_running(&self) -> bool {
        self.touched.load(Relaxed) && !self.is_ended()
    }

    /// When an answer is overdue: `patience` after the last thing that kept the provider from answering. Progress of
    /// the body moves it, and so does a caller who keeps the provider waiting, which is not the provider's fault.
    pub(super) fn overdue(&self, patience: Duration) -> Instant {
        if self.waiting.load(Relaxed) && !self.is_ended() {
            return Instant::now() + patience;
        }
        self.begun + Duration::from_micros(self.moved.load(Relaxed)) + patience
    }

    /// Restarts the clock: the request is being handed to a connection now.
    pub(super) fn handed_over(&self) {
        self.moved.store(self.since_begun(), Relaxed);
    }

    /// The error of the caller's side, once.
    pub(super) fn take_error(&self) -> Option<BoxError> {
        self.rest().error.take()
    }

    /// Nobody waits for the answer any more: the body ends with an error as soon as it is asked for more.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Relaxed);
        let waker = self.rest().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn since_begun(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn rest(&self) -> std::sync::MutexGuard<'_, Rest> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what the caller's body just said.
    fn observe<E: Into<BoxError>>(
        &self,
        polled: Poll<Option<Result<Frame<Bytes>, E>>>,
        ended: bool,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        // What goes out with the head needs no look at the clock, which has been started for the head.
        let first = !self.touched.swap(true, Relaxed);
        self.waiting.store(polled.is_pending(), Relaxed);
        match polled {
            Poll::Pending => {
                let waker = &mut self.rest().waker;
                if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                    *waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
            Poll::Ready(Some(Err(error))) => {
                self.rest().error = Some(error.into());
                Poll::Ready(Some(Err(Broken::new())))
            }
            Poll::Ready(Some(Ok(frame))) => {
                if !first {
                    self.handed_over();
                }
                // Trailers end a body as surely as its own word does.
                self.ended.store(ended || frame.is_trailers(), Relaxed);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                if !self.ended.swap(true, Relaxed) {
                    self.handed_over();
                }
                Poll::Ready(None)
            }
        }
    }
}

/// What hyper is told when a request body breaks off; the reason is kept in the [`Upload`].
#[derive(Debug)]
pub(super) struct Broken(h2::Error);

impl Broken {
    /// hyper looks for an HTTP/2 reason among the causes, and would call this an internal error without one.
    fn new() -> Broken {
        Broken(h2::Reason::CANCEL.into())
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request body broke off")
    }
}

impl std::error::Error for Broken {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// A request body as the connection sees it.
#[derive(Debug)]
pub(super) struct Watched<B> {
    /// None for the empty body of a repeated request.
    inner: Option<B>,
    upload: Arc<Upload>,
}

impl<B: http_body::Body> Watched<B> {
    pub(super) fn new(inner: B, now: Instant) -> Watched<B> {
        let upload = Upload::new(inner.is_end_stream(), now);
        Watched { inner: Some(inner), upload }
    }

    /// The body of a repeated request whose first body was empty.
    pub(super) fn empty(now: Instant) -> Watched<B> {
        Watched { inner: None, upload: Upload::new(true, now) }
    }

    pub(super) fn upload(&self) -> &Arc<Upload> {
        &self.upload
    }
}

impl<B> http_body::Body for Watched<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(None);
        };
        if this.upload.abandoned.load(Relaxed) {
            return Poll::Ready(Some(Err(Broken::new())));
        }
        let polled = Pin::new(&mut *inner).poll_frame(cx);
        this.upload.observe(polled, inner.is_end_stream(), cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), B::size_hint)
    }
}
