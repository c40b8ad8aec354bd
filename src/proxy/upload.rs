//! The body of a request on its way to the provider: counted, bounded, with a deadline for the next frame.

use super::idle::Idle;
use super::replay::{Replay, Turn};
use crate::canon::Fault;
use crate::upstream::{Bell, request_fault};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

/// A caller's request body. It streams with back-pressure: nothing is read that the provider has not taken.
#[derive(Debug)]
pub struct Upload(Source);

/// Where the frames come from.
#[derive(Debug)]
enum Source {
    /// The caller.
    Caller(Intake),
    /// What was kept of them, then the caller.
    Kept(Turn),
}

/// A body as it comes from the caller.
pub(crate) struct Intake {
    source: Option<Incoming>,
    /// What was read before anybody wanted it.
    ahead: VecDeque<Frame<Bytes>>,
    /// Asked about every byte that comes.
    meter: Option<Meter>,
    /// Bytes that the route still allows.
    left: u64,
    idle: Idle,
    progress: Arc<Progress>,
    /// That of the caller's connection.
    bell: Arc<Bell>,
}

/// What was read ahead of a body.
#[derive(Debug)]
pub(crate) struct Ahead {
    pub(crate) bytes: Vec<u8>,
    /// Whether that is all of it.
    pub(crate) whole: bool,
}

/// Whether so many more bytes may pass.
pub(crate) type Meter = Box<dyn Fn(u64) -> bool + Send + Sync>;

/// How far an upload is, for whoever does not hold it any more.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    received: AtomicU64,
    ended: AtomicBool,
}

impl Progress {
    /// Bytes that have come.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Whether all of it has come.
    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// The caller's side of a request failed.
#[derive(Clone, Copy, Debug)]
pub struct CallerFault(pub(crate) Fault);

impl fmt::Display for CallerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.sentence())
    }
}

impl std::error::Error for CallerFault {}

impl Upload {
    /// Wraps a caller's body; refuses at once what announces more than is allowed.
    pub(crate) fn new(source: Incoming, limit: u64, pause: Duration, bell: &Arc<Bell>) -> Result<Upload, Fault> {
        if source.size_hint().lower() > limit {
            return Err(Fault::RequestTooLarge);
        }
        let source = (!source.is_end_stream()).then_some(source);
        let progress = Progress { ended: AtomicBool::new(source.is_none()), ..Progress::default() };
        let ahead = VecDeque::new();
        let (idle, progress, bell) = (Idle::new(pause), Arc::new(progress), Arc::clone(bell));
        let intake = Intake { source, ahead, meter: None, left: limit, idle, progress, bell };
        Ok(Upload(Source::Caller(intake)))
    }

    /// One of several sendings of a body.
    pub(super) fn of_turn(turn: Turn) -> Upload {
        Upload(Source::Kept(turn))
    }

    /// The same body, from now on in a form of which the rest can be taken over.
    pub(crate) fn kept(self, again: bool) -> Replay {
        match self.0 {
            Source::Caller(intake) => Replay::of(intake, again),
            Source::Kept(turn) => turn.replay(),
        }
    }

    /// How long it is, when that is known.
    pub(crate) fn length(&self) -> Option<u64> {
        self.size_hint().exact()
    }

    /// Reads a body that has not been sent up to this bound, which the last frame may exceed. It goes out whole all the same.
    pub(crate) async fn read_ahead(&mut self, bound: usize) -> Result<Ahead, Fault> {
        match &mut self.0 {
            Source::Caller(intake) => intake.read_ahead(bound).await,
            Source::Kept(_) => Ok(Ahead { bytes: Vec::new(), whole: self.is_end_stream() }),
        }
    }

    /// Has this asked about every further byte; the body breaks off where the answer is no.
    pub(crate) fn meter(&mut self, meter: Meter) {
        if let Source::Caller(intake) = &mut self.0 {
            intake.meter = Some(meter);
        }
    }

    /// It is read again after a time in which nobody asked: that pause was not the caller's.
    pub(crate) fn resume(&mut self) {
        if let Source::Caller(intake) = &mut self.0 {
            intake.resume();
        }
    }

    /// How far it is, also after the body has gone to the provider's connection.
    pub(crate) fn progress(&self) -> Arc<Progress> {
        match &self.0 {
            Source::Caller(intake) => Arc::clone(&intake.progress),
            Source::Kept(turn) => turn.progress(),
        }
    }
}

impl Intake {
    /// It is read again after a time in which nobody asked: that pause was not the caller's.
    pub(super) fn resume(&mut self) {
        self.idle.moved();
    }

    /// How far it is.
    pub(super) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    async fn read_ahead(&mut self, bound: usize) -> Result<Ahead, Fault> {
        let mut bytes: Vec<u8> = self.ahead.iter().filter_map(Frame::data_ref).flatten().copied().collect();
        while bytes.len() <= bound {
            match poll_fn(|cx| self.poll_source(cx)).await {
                Some(Ok(frame)) => {
                    bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                    self.ahead.push_back(frame);
                }
                Some(Err(CallerFault(fault))) => return Err(fault),
                None => return Ok(Ahead { bytes, whole: true }),
            }
        }
        Ok(Ahead { bytes, whole: false })
    }

    fn take(&mut self, mut frame: Frame<Bytes>) -> Result<Frame<Bytes>, CallerFault> {
        self.idle.moved();
        if let Some(data) = frame.data_ref() {
            let length = data.len() as u64;
            let _ = self.progress.received.fetch_add(length, Ordering::Relaxed);
            self.left = self.left.checked_sub(length).ok_or(CallerFault(Fault::RequestTooLarge))?;
            if self.meter.as_ref().is_some_and(|meter| !meter(length)) {
                return Err(CallerFault(Fault::RateExceeded));
            }
        }
        if let Some(trailers) = frame.trailers_mut() {
            super::headers::clean_trailers(trailers);
        }
        Ok(frame)
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = CallerFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CallerFault>>> {
        match &mut self.0 {
            Source::Caller(intake) => Pin::new(intake).poll_frame(cx),
            Source::Kept(turn) => turn.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Caller(intake) => intake.is_end_stream(),
            Source::Kept(turn) => turn.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Caller(intake) => intake.size_hint(),
            Source::Kept(turn) => turn.size_hint(),
        }
    }
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").field("left", &self.left).field("progress", &self.progress).finish_non_exhaustive()
    }
}

impl Intake {
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CallerFault>>> {
        let Some(source) = &mut self.source else { return Poll::Ready(None) };
        // Taking the last frame leaves nothing to do for the caller's connection, which this may be the turn of.
        let polled = self.bell.quietly(|| Pin::new(&mut *source).poll_frame(cx));
        if !(polled.is_ready() && source.is_end_stream()) {
            self.bell.catch_up();
        }
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                if source.is_end_stream() {
                    self.progress.ended.store(true, Ordering::Relaxed);
                }
                Poll::Ready(Some(self.take(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(CallerFault(request_fault(&error))))),
            Poll::Ready(None) => {
                self.progress.ended.store(true, Ordering::Relaxed);
                Poll::Ready(None)
            }
            Poll::Pending => self.idle.poll(cx).map(|()| Some(Err(CallerFault(Fault::RequestBodyTimeout)))),
        }
    }
}

impl http_body::Body for Intake {
    type Data = Bytes;
    type Error = CallerFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CallerFault>>> {
        match self.ahead.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => self.poll_source(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.source.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let ahead: u64 = self.ahead.iter().filter_map(Frame::data_ref).map(|data| data.len() as u64).sum();
        let rest = self.source.as_ref().map_or(SizeHint::with_exact(0), http_body::Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + ahead);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + ahead);
        }
        hint
    }
}
