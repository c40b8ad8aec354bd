//! The client's request body on its way to the provider: counted, bounded, and with an idle timeout.
//!
//! There are two ideas: the client's body, which streams, and a [`ReplayBuffer`] of it, for a route that may retry.

mod exit;
mod fault;
mod progress;
mod replay;
mod tap;
mod text;

pub use fault::ClientFault;
pub(crate) use progress::BodyProgress;
pub(crate) use replay::ReplayBuffer;
pub(crate) use tap::Tap;
pub(crate) use text::{Content, Kind};

use super::headers::{RouteHeaders, clean_trailers};
use super::idle::Idle;
use super::tenants::Exit;
use crate::canon::Fault;
use crate::upstream::{TaskWaker, request_fault};
use crate::wire::grpc::Messages;
use bytes::Bytes;
use exit::BodyExit;
use http::{Method, Version};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use replay::ReplayBody;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

/// A client's request body. It streams with back-pressure: nothing is read that the provider has not taken.
#[derive(Debug)]
pub struct RequestBody(Source);

/// Where the frames come from.
#[derive(Debug)]
enum Source {
    /// The client. Boxed: it is moved with its request from each step to the next, and into the connection's queue.
    Client(Box<ClientBody>),
    /// The buffered frames, then the client.
    Replay(ReplayBody),
}

/// A body as it comes from the client.
pub(crate) struct ClientBody {
    source: Option<Incoming>,
    /// The route's headers, by which keys are removed from trailers.
    headers: Option<Arc<RouteHeaders>>,
    /// Whether only END_STREAM ends it: hyper takes RST_STREAM with NO_ERROR or CANCEL for the end of a body.
    http2: bool,
    /// Frames that were read before the body was sent.
    ahead: VecDeque<Frame<Bytes>>,
    /// Called with the length of everything that arrives.
    meters: Vec<Meter>,
    /// Copies the body for the request's generation.
    tap: Option<Arc<Tap>>,
    /// Removes gateway keys, if there are any.
    exit: Option<Box<BodyExit>>,
    /// Bytes that the route still allows; for a gRPC call, the limit of one message.
    left: u64,
    /// The messages of a gRPC call, which may go on for ever. None is held back until the next arrives: the client may wait for a
    /// response to the first.
    messages: Option<Box<Messages>>,
    idle: Idle,
    progress: Arc<BodyProgress>,
    /// The waker of the client's connection.
    waker: Arc<TaskWaker>,
}

/// The beginning of a body, read ahead.
#[derive(Debug)]
pub(crate) struct Ahead {
    pub(crate) bytes: Vec<u8>,
    /// Whether that is all of it.
    pub(crate) whole: bool,
}

/// Returns whether this many more bytes may pass.
pub(crate) type Meter = Box<dyn Fn(u64) -> bool + Send + Sync>;

impl RequestBody {
    /// Wraps a client's body; rejects it at once if its declared length exceeds the limit.
    pub(crate) fn new(
        source: Incoming,
        version: Version,
        limit: u64,
        pause: Duration,
        waker: &Arc<TaskWaker>,
        headers: &Arc<RouteHeaders>,
    ) -> Result<RequestBody, Fault> {
        if source.size_hint().lower() > limit {
            return Err(Fault::RequestTooLarge);
        }
        let source = (!source.is_end_stream()).then_some(source);
        let progress = BodyProgress { ended: AtomicBool::new(source.is_none()), ..BodyProgress::default() };
        let ahead = VecDeque::new();
        let (idle, progress, waker) = (Idle::new(pause), Arc::new(progress), Arc::clone(waker));
        let headers = source.is_some().then(|| Arc::clone(headers));
        let http2 = version == Version::HTTP_2;
        let client = ClientBody {
            source,
            headers,
            http2,
            ahead,
            meters: Vec::new(),
            tap: None,
            exit: None,
            left: limit,
            messages: None,
            idle,
            progress,
            waker,
        };
        Ok(RequestBody(Source::Client(Box::new(client))))
    }

    /// The empty body of a request that the gateway makes itself.
    pub(crate) fn none() -> RequestBody {
        RequestBody(Source::Client(Box::new(ClientBody {
            source: None,
            headers: None,
            http2: false,
            ahead: VecDeque::new(),
            meters: Vec::new(),
            tap: None,
            exit: None,
            left: 0,
            messages: None,
            idle: Idle::new(Duration::from_secs(1)),
            progress: Arc::new(BodyProgress { ended: AtomicBool::new(true), ..BodyProgress::default() }),
            waker: TaskWaker::new(),
        })))
    }

    /// Removes gateway keys from the body.
    pub(crate) fn guarded(self, exit: impl FnOnce() -> Exit) -> RequestBody {
        let RequestBody(mut source) = self;
        if let Source::Client(client) = &mut source
            && client.source.is_some()
        {
            client.exit = Some(Box::new(BodyExit::new(exit())));
        }
        RequestBody(source)
    }

    /// As the body of a gRPC call: no message may be longer than `limit`, and none may take longer than `pause` to arrive.
    pub(crate) fn of_call(self, limit: u64, pause: Duration) -> RequestBody {
        let RequestBody(mut source) = self;
        if let Source::Client(client) = &mut source {
            (client.left, client.messages, client.idle) = (limit, Some(Box::default()), Idle::new(pause));
        }
        RequestBody(source)
    }

    /// One of several sendings of a body.
    fn of_replay(replay: ReplayBody) -> RequestBody {
        RequestBody(Source::Replay(replay))
    }

    /// Converts the body into one that can be sent again.
    pub(crate) fn replayable(self, again: bool) -> ReplayBuffer {
        match self.0 {
            Source::Client(client) => ReplayBuffer::of(*client, again),
            Source::Replay(replay) => replay.replay(),
        }
    }

    /// Its length, when known.
    pub(crate) fn length(&self) -> Option<u64> {
        self.size_hint().exact()
    }

    /// Finds out whether there is a body, for a method that usually has none and without a declared length: an HTTP/2 client may
    /// say so only with its last frame, and many providers reject a GET that declares a body.
    pub(crate) async fn settle_whether_empty(&mut self, method: &Method) -> Result<(), Fault> {
        if matches!(*method, Method::GET | Method::HEAD) && !self.is_end_stream() && self.length().is_none() {
            let _ = Box::pin(self.read_ahead(0)).await?;
        }
        Ok(())
    }

    /// Reads the beginning of an unsent body, up to this bound, which the last frame may exceed. The body is still sent whole.
    pub(crate) async fn read_ahead(&mut self, bound: usize) -> Result<Ahead, Fault> {
        match &mut self.0 {
            Source::Client(client) if client.messages.is_some() => {
                Ok(Ahead { bytes: Vec::new(), whole: client.is_end_stream() })
            }
            Source::Client(client) => client.read_ahead(bound).await,
            Source::Replay(_) => Ok(Ahead { bytes: Vec::new(), whole: self.is_end_stream() }),
        }
    }

    /// Calls `meter` with the length of everything that arrives; the body fails when it returns false.
    pub(crate) fn meter(&mut self, meter: Meter) {
        if let Source::Client(client) = &mut self.0 {
            client.meters.push(meter);
        }
    }

    /// Copies what has arrived and what will, for code that needs to know the request.
    pub(crate) fn tap(&mut self, tap: &Arc<Tap>) {
        let Source::Client(client) = &mut self.0 else { return };
        client.ahead.iter().filter_map(Frame::data_ref).for_each(|data| tap.passed(data));
        if client.progress.ended() {
            tap.ends();
        }
        client.tap = Some(Arc::clone(tap));
    }

    /// Reading resumes after a pause of the gateway's own, which must not count for the client's idle timeout.
    pub(crate) fn resume(&mut self) {
        if let Source::Client(client) = &mut self.0 {
            client.resume();
        }
    }

    /// The progress of the body, also after it was passed to the provider's connection.
    pub(crate) fn progress(&self) -> Arc<BodyProgress> {
        match &self.0 {
            Source::Client(client) => Arc::clone(&client.progress),
            Source::Replay(replay) => replay.progress(),
        }
    }
}

impl ClientBody {
    /// Reading resumes after a pause of the gateway's own, which must not count for the client's idle timeout.
    pub(super) fn resume(&mut self) {
        self.idle.moved();
    }

    /// The progress of the body.
    pub(super) fn progress(&self) -> Arc<BodyProgress> {
        Arc::clone(&self.progress)
    }

    async fn read_ahead(&mut self, bound: usize) -> Result<Ahead, Fault> {
        let mut bytes: Vec<u8> = self.ahead.iter().filter_map(Frame::data_ref).flatten().copied().collect();
        while bytes.len() <= bound {
            match poll_fn(|cx| self.poll_source(cx)).await {
                Some(Ok(frame)) => {
                    bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                    // An empty frame, with which HTTP/2 may end, would make a body where there is none.
                    if frame.data_ref().is_none_or(|data| !data.is_empty()) {
                        self.ahead.push_back(frame);
                    }
                }
                Some(Err(ClientFault(fault))) => return Err(fault),
                None => return Ok(Ahead { bytes, whole: true }),
            }
        }
        Ok(Ahead { bytes, whole: false })
    }

    fn take(&mut self, mut frame: Frame<Bytes>) -> Result<Frame<Bytes>, ClientFault> {
        self.idle.moved();
        if let Some(data) = frame.data_ref() {
            let length = data.len() as u64;
            let _ = self.progress.received.fetch_add(length, Ordering::Relaxed);
            self.tap.iter().for_each(|tap| tap.passed(data));
            let fits = match &mut self.messages {
                Some(messages) => messages.feed(data, self.left),
                None => {
                    let left = self.left.checked_sub(length);
                    self.left = left.unwrap_or_default();
                    left.is_some()
                }
            };
            if !fits {
                return Err(ClientFault(Fault::RequestTooLarge));
            }
            if !self.meters.iter().all(|meter| meter(length)) {
                return Err(ClientFault(Fault::RateExceeded));
            }
        }
        if let Some(trailers) = frame.trailers_mut() {
            self.headers.iter().for_each(|route| clean_trailers(trailers, route));
        }
        Ok(frame)
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = ClientFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ClientFault>>> {
        match &mut self.0 {
            Source::Client(client) => Pin::new(&mut **client).poll_frame(cx),
            Source::Replay(replay) => replay.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Client(client) => client.is_end_stream(),
            Source::Replay(replay) => replay.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Client(client) => client.size_hint(),
            Source::Replay(replay) => replay.size_hint(),
        }
    }
}

impl fmt::Debug for ClientBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBody").field("left", &self.left).field("progress", &self.progress).finish_non_exhaustive()
    }
}

impl ClientBody {
    /// The whole body has arrived.
    fn ends(&self) {
        self.progress.ended.store(true, Ordering::Relaxed);
        self.tap.iter().for_each(|tap| tap.ends());
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ClientFault>>> {
        if let Some(trailers) = self.exit.as_mut().and_then(|exit| exit.trailers()) {
            return Poll::Ready(Some(Ok(trailers)));
        }
        let Some(source) = &mut self.source else { return Poll::Ready(None) };
        // Taking the last frame requires nothing of the client's connection, in whose task this may run.
        let polled = self.waker.defer_wakes(|| Pin::new(&mut *source).poll_frame(cx));
        if !(polled.is_ready() && source.is_end_stream()) {
            self.waker.flush_deferred();
        }
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                let last = source.is_end_stream();
                let taken = self.take(frame);
                let taken = match &mut self.exit {
                    Some(exit) => taken.map(|frame| exit.pass(frame, last)),
                    None => taken,
                };
                if last {
                    self.ends();
                }
                Poll::Ready(Some(taken))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(ClientFault(request_fault(&error))))),
            Poll::Ready(None) if self.http2 && !source.is_end_stream() => {
                Poll::Ready(Some(Err(ClientFault(Fault::ClientLeft))))
            }
            Poll::Ready(None) => {
                self.source = None;
                self.ends();
                Poll::Ready(self.exit.as_mut().and_then(|exit| exit.rest()).map(Ok))
            }
            Poll::Pending => self.idle.poll(cx).map(|()| Some(Err(ClientFault(Fault::RequestBodyTimeout)))),
        }
    }
}

impl http_body::Body for ClientBody {
    type Data = Bytes;
    type Error = ClientFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ClientFault>>> {
        match self.ahead.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => self.poll_source(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty()
            && self.exit.as_ref().is_none_or(|exit| exit.is_empty())
            && self.source.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.source.as_ref().map_or(SizeHint::with_exact(0), http_body::Body::size_hint);
        if self.ahead.is_empty() && self.exit.is_none() {
            return rest;
        }
        let ahead: u64 = self.ahead.iter().filter_map(Frame::data_ref).map(|data| data.len() as u64).sum();
        let ahead = ahead + self.exit.as_ref().map_or(0, |exit| exit.len());
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + ahead);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + ahead);
        }
        hint
    }
}
