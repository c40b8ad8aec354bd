//! The request body on its way to the provider, and how far it has come.
//!
//! Failures and deadlines depend on it: has the body begun, is it over, when did it last move, is it the client that keeps
//! the provider waiting, and with which error did the client's side fail. It is also how a call that nobody waits for any
//! more is made to stop sending.

use super::kept_body::KeptBody;
use crate::wire::hop::trim;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant;

/// Any error, as body types carry them.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Body types that can be sent: streams of bytes whose errors can be carried.
pub trait Sendable: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static {}
impl<B> Sendable for B where B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static {}

/// How far one request body has come. One thread at a time touches it, so relaxed atomics are enough.
#[derive(Debug)]
pub(super) struct SendProgress {
    begun: Instant,
    /// Microseconds from `begun` to the last frame.
    moved: AtomicU64,
    touched: AtomicBool,
    ended: AtomicBool,
    /// The client has not sent what comes next.
    waiting: AtomicBool,
    abandoned: AtomicBool,
    shared: Mutex<Shared>,
}

/// The parts that are not numbers.
#[derive(Debug, Default)]
struct Shared {
    error: Option<BoxError>,
    waker: Option<Waker>,
}

impl SendProgress {
    fn new(empty: bool, now: Instant) -> Arc<SendProgress> {
        Arc::new(SendProgress {
            begun: now,
            moved: AtomicU64::new(0),
            touched: AtomicBool::new(false),
            ended: AtomicBool::new(empty),
            waiting: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            shared: Mutex::default(),
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
    /// the body moves that moment, and so does a client that keeps the provider waiting.
    pub(super) fn overdue(&self, patience: Duration) -> Instant {
        self.last_moved() + patience
    }

    /// When the body last moved: now, while it is the client that keeps the provider waiting.
    pub(super) fn last_moved(&self) -> Instant {
        if self.waiting.load(Relaxed) && !self.is_ended() {
            return Instant::now();
        }
        self.begun + Duration::from_micros(self.moved.load(Relaxed))
    }

    /// Restarts the clock: the request is being handed to a connection now.
    pub(super) fn handed_over(&self) {
        self.moved.store(self.since_begun(), Relaxed);
    }

    /// The error of the client's side, once.
    pub(super) fn take_error(&self) -> Option<BoxError> {
        self.shared().error.take()
    }

    /// Nobody waits for the answer any more: the body ends with an error as soon as it is asked for more.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Relaxed);
        let waker = self.shared().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn since_begun(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records what the client's body has just given.
    fn observe<E: Into<BoxError>>(
        &self,
        polled: Poll<Option<Result<Frame<Bytes>, E>>>,
        ended: bool,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        // The first frame goes out with the head, for which the clock was just read.
        let first = !self.touched.swap(true, Relaxed);
        self.waiting.store(polled.is_pending(), Relaxed);
        match polled {
            Poll::Pending => {
                let waker = &mut self.shared().waker;
                if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                    *waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
            Poll::Ready(Some(Err(error))) => {
                self.shared().error = Some(error.into());
                Poll::Ready(Some(Err(Aborted::new())))
            }
            Poll::Ready(Some(Ok(mut frame))) => {
                if !first {
                    self.handed_over();
                }
                if let Some(trailers) = frame.trailers_mut() {
                    trailers.values_mut().for_each(trim);
                }
                // Trailers are the end of a body, whether it says so or not.
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

/// What hyper is told when a request body breaks off; the reason is kept in the [`SendProgress`].
#[derive(Debug)]
pub(super) struct Aborted(h2::Error);

impl Aborted {
    /// hyper looks for an HTTP/2 reason among the causes, and would call this an internal error without one.
    fn new() -> Aborted {
        Aborted(h2::Reason::CANCEL.into())
    }
}

impl fmt::Display for Aborted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request body broke off")
    }
}

impl std::error::Error for Aborted {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// A request body as the connection sees it.
#[derive(Debug)]
pub(super) struct TrackedBody<B> {
    source: Source<B>,
    progress: Arc<SendProgress>,
}

/// Where the frames come from.
#[derive(Debug)]
enum Source<B> {
    /// There are none.
    Empty,
    /// The client's body.
    Once(B),
    /// The same, but what it gave is kept, in case it has to be sent again.
    Kept(KeptBody<B>),
}

impl<B: http_body::Body> TrackedBody<B> {
    pub(super) fn new(inner: B, now: Instant) -> TrackedBody<B> {
        let progress = SendProgress::new(inner.is_end_stream(), now);
        TrackedBody { source: Source::Once(inner), progress }
    }

    /// The body of a request that is sent again, whose body was empty.
    pub(super) fn empty(now: Instant) -> TrackedBody<B> {
        TrackedBody { source: Source::Empty, progress: SendProgress::new(true, now) }
    }

    pub(super) fn progress(&self) -> &Arc<SendProgress> {
        &self.progress
    }
}

impl<B: Sendable> TrackedBody<B> {
    /// From now on keeps what is sent, and gives another body that sends all of it once more. None when it is too large.
    pub(super) fn again(&mut self, now: Instant) -> Option<TrackedBody<B>> {
        if http_body::Body::is_end_stream(self) {
            return Some(TrackedBody::empty(now));
        }
        self.source = match std::mem::replace(&mut self.source, Source::Empty) {
            Source::Once(inner) => Source::Kept(KeptBody::new(inner)),
            other => other,
        };
        let Source::Kept(body) = &self.source else { return None };
        let source = Source::Kept(body.again()?);
        Some(TrackedBody { source, progress: SendProgress::new(false, now) })
    }

    /// Whether it can be sent from its beginning.
    pub(super) fn is_complete(&self) -> bool {
        match &self.source {
            Source::Empty => true,
            Source::Once(_) => false,
            Source::Kept(body) => body.is_complete(),
        }
    }
}

impl<B: Sendable> http_body::Body for TrackedBody<B> {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let this = &mut *self;
        if this.progress.abandoned.load(Relaxed) && !matches!(this.source, Source::Empty) {
            return Poll::Ready(Some(Err(Aborted::new())));
        }
        match &mut this.source {
            Source::Empty => Poll::Ready(None),
            Source::Once(inner) => {
                let polled = Pin::new(&mut *inner).poll_frame(cx);
                this.progress.observe(polled, inner.is_end_stream(), cx)
            }
            Source::Kept(body) => {
                let polled = body.poll_frame(cx);
                this.progress.observe(polled, body.is_end_stream(), cx)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Empty => true,
            Source::Once(inner) => inner.is_end_stream(),
            Source::Kept(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Once(inner) => inner.size_hint(),
            Source::Kept(body) => body.size_hint(),
        }
    }
}
