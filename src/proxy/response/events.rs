//! A stream of events or lines on its way to the caller: everything passes byte for byte and at once, but for the events
//! that are failures, and a stream that breaks says so before it ends.

use super::body::Cut;
use crate::canon::envelope::{self, Compatible};
use crate::canon::{CanonicalError, Evidence, Fault, Observed, Phase, resolve};
use crate::config::types::Envelope;
use crate::proxy::context::Call;
use crate::proxy::errors;
use crate::proxy::idle::Idle;
use crate::telemetry::metrics::Transport;
use crate::upstream::{self, Failure, Inflate};
use crate::wire::{Joined, Verdict, ndjson, sse};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use http_body::{Body as _, Frame};
use serde::de::IgnoredAny;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

/// How much is put together, so that small pieces do not cost a chunk and a write each.
const TOGETHER: usize = 16 * 1024;
/// Largest event or line that is looked at; larger ones pass untouched.
const UNIT_LIMIT: usize = 64 * 1024;

/// How a stream is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// `text/event-stream`
    Sse,
    /// Newline-separated JSON.
    Ndjson,
}

impl Framing {
    /// The framing that an answer announces; none when it is no stream of events, or one whose coding cannot be undone piece
    /// by piece. `lines`: whether what calls itself JSON is newline-separated here, as the profile says.
    pub(crate) fn of(headers: &HeaderMap, lines: impl FnOnce() -> bool) -> Option<Framing> {
        let media_type = headers.get(header::CONTENT_TYPE)?;
        let essence = media_type.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let is = |name: &&str| essence.eq_ignore_ascii_case(name.as_bytes());
        let framing = if is(&"text/event-stream") {
            Framing::Sse
        } else if NDJSON.iter().any(is) || is(&"application/json") && lines() {
            Framing::Ndjson
        } else {
            return None;
        };
        let readable =
            media_type.to_str().is_ok() && coding(headers).is_none_or(|coding| Inflate::new(coding).is_some());
        readable.then_some(framing)
    }

    fn phase(self) -> Phase {
        match self {
            Framing::Sse => Phase::Sse,
            Framing::Ndjson => Phase::Ndjson,
        }
    }
}

/// The coding of a body that has one.
fn coding(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(header::CONTENT_ENCODING).filter(|coding| *coding != "identity")
}

/// The names under which newline-separated JSON goes.
const NDJSON: [&str; 6] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/x-json-stream",
    "application/stream+json",
];

/// The stream.
#[derive(Debug)]
pub struct Events {
    source: upstream::Body,
    /// Undoes the coding of a stream that is compressed; the caller gets it plain.
    inflate: Option<Inflate>,
    splitter: Splitter,
    out: VecDeque<Bytes>,
    /// Trailers that came behind what waits in `out`.
    trailers: Option<Frame<Bytes>>,
    idle: Idle,
    call: Box<Call>,
    judge: Judge,
    ended: bool,
}

#[derive(Debug)]
enum Splitter {
    Sse(sse::Splitter),
    Ndjson(ndjson::Splitter),
}

/// What is needed to word a failure, whatever the framing.
#[derive(Debug)]
struct Judge {
    framing: Framing,
    /// A failure that ends the stream has been told; that the stream then ends is no further one.
    failed: bool,
}

impl Events {
    /// Takes over a body. What described it and no longer holds goes from `headers`: an event that is worded anew has another
    /// length.
    pub(crate) fn new(
        framing: Framing,
        source: upstream::Body,
        headers: &mut HeaderMap,
        mut call: Box<Call>,
    ) -> Events {
        let inflate = coding(headers).and_then(Inflate::new);
        let _ = headers.remove(header::CONTENT_LENGTH);
        let _ = headers.remove(header::CONTENT_ENCODING);
        let limit = call.route.as_ref().map_or(std::time::Duration::MAX, |route| route.route.timeouts.idle);
        let (splitter, transport) = match framing {
            Framing::Sse => (Splitter::Sse(sse::Splitter::new(UNIT_LIMIT)), Transport::Sse),
            Framing::Ndjson => (Splitter::Ndjson(ndjson::Splitter::new(UNIT_LIMIT)), Transport::Ndjson),
        };
        call.transport = transport;
        let judge = Judge { framing, failed: false };
        Events {
            source,
            inflate,
            splitter,
            out: VecDeque::new(),
            trailers: None,
            idle: Idle::new(limit),
            call,
            judge,
            ended: false,
        }
    }

    /// The next frame. Units that are there already leave together: nothing waits for what has not come, and what comes in
    /// small pieces does not cost a chunk and a write for each.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let mut taken = 0;
        while self.out.is_empty() && self.trailers.is_none() && !self.ended {
            if taken >= TOGETHER {
                // All that came is held: half an event. Others may have their turn before more is read.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            taken += ready!(self.gather(cx));
        }
        if let Some(bytes) = self.together() {
            self.call.sent(bytes.len());
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(trailers)));
        }
        self.call.complete();
        Poll::Ready(None)
    }

    /// Takes what has come, and says how much that was. Small pieces are looked at together.
    fn gather(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        let (mut taken, mut came) = (0, Joined::of_about(TOGETHER));
        let end = loop {
            match Pin::new(&mut self.source).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        taken += data.len();
                        if came.len() + data.len() > TOGETHER {
                            self.take(&std::mem::replace(&mut came, Joined::of_about(TOGETHER)).into_bytes());
                        }
                        came.push(data);
                    }
                    Err(trailers) => self.trailers = Some(trailers),
                },
                Poll::Ready(Some(Err(failure))) => break Some(Err(failure)),
                Poll::Ready(None) => break Some(Ok(())),
                Poll::Pending if taken > 0 => break None,
                Poll::Pending => {
                    ready!(self.idle.poll(cx));
                    break Some(Err(Failure::stalled()));
                }
            }
            if taken >= TOGETHER || self.trailers.is_some() {
                break None;
            }
        };
        if taken > 0 {
            self.idle.moved();
            self.take(&came.into_bytes());
        }
        match end {
            Some(Ok(())) if !self.ended => self.over(),
            Some(Err(failure)) if !self.ended => self.broke(&failure),
            _ => {}
        }
        Poll::Ready(taken)
    }

    /// What waits to go out, in one piece as long as it is small.
    fn together(&mut self) -> Option<Bytes> {
        let mut joined = Joined::of_about(TOGETHER);
        joined.push(self.out.pop_front()?);
        while let Some(next) = self.out.pop_front_if(|next| joined.len() + next.len() <= TOGETHER) {
            joined.push(next);
        }
        Some(joined.into_bytes())
    }

    fn take(&mut self, data: &Bytes) {
        if data.is_empty() {
            return;
        }
        let Some(mut inflate) = self.inflate.take() else { return self.feed(data) };
        let decoded = inflate.feed(data, |part| self.feed(&part));
        self.inflate = Some(inflate);
        if decoded.is_err() {
            self.broke(&Failure::of(Fault::ResponseBodyInvalid));
        }
    }

    fn feed(&mut self, data: &Bytes) {
        let Events { splitter, out, call, judge, .. } = self;
        let clean = |bytes: &[u8]| !judge.suspects(call, bytes);
        let passed = match splitter {
            Splitter::Sse(splitter) => splitter.skim(data, out, clean),
            Splitter::Ndjson(splitter) => splitter.skim(data, out, clean),
        };
        if passed == data.len() {
            return;
        }
        let rest = data.slice(passed..);
        match splitter {
            Splitter::Sse(splitter) => splitter.feed(&rest, out, |event| judge.event(call, event)),
            Splitter::Ndjson(splitter) => splitter.feed(&rest, out, |line| judge.line(call, line)),
        }
    }

    /// The provider ended the stream in order; half an event at its end is a stream that broke all the same.
    fn over(&mut self) {
        self.ended = true;
        let rest = match &mut self.splitter {
            Splitter::Sse(splitter) => splitter.finish(),
            Splitter::Ndjson(splitter) => splitter.finish(),
        };
        let Some(rest) = rest.filter(|rest| !rest.trim_ascii().is_empty()) else { return };
        let whole = match self.judge.framing {
            Framing::Sse => sse::Event::new(&rest).data().is_none_or(|data| is_whole(&data)),
            Framing::Ndjson => is_whole(&rest),
        };
        if !whole {
            return self.broke(&Failure::of(Fault::ResponseBodyIncomplete));
        }
        let verdict = match self.judge.framing {
            Framing::Sse => self.judge.event(&mut self.call, sse::Event::new(&rest)),
            Framing::Ndjson => self.judge.line(&mut self.call, &rest),
        };
        self.out.push_back(match verdict {
            Verdict::Pass => rest,
            Verdict::Replace(bytes) | Verdict::End(bytes) => bytes,
        });
    }

    /// The stream broke: an event says so, and the stream ends.
    fn broke(&mut self, failure: &Failure) {
        self.ended = true;
        if self.judge.failed {
            return;
        }
        let fault = errors::broken_off(&mut self.call, failure);
        let mut error = CanonicalError::from_fault(fault);
        error.done = Some(true);
        let bytes = self.judge.word(&self.call, &error, None);
        self.out.push_back(bytes);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.ended && self.out.is_empty()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if self.is_over() {
            self.call.complete();
        }
    }
}

/// Whether the bytes are whole JSON, or something that is none at all.
fn is_whole(bytes: &[u8]) -> bool {
    let looks_like_json = matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['));
    !looks_like_json || serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

impl Judge {
    /// Whether something in these bytes may be a failure: all that most of a stream is ever asked.
    fn suspects(&self, call: &Call, bytes: &[u8]) -> bool {
        call.route.as_ref().is_some_and(|route| route.route.profile.may_be_error(self.framing.phase(), bytes))
    }

    fn event(&mut self, call: &mut Call, event: sse::Event<'_>) -> Verdict {
        if !self.suspects(call, event.raw()) {
            return Verdict::Pass;
        }
        let Some(data) = event.data() else { return Verdict::Pass };
        let kind = event.kind();
        match self.failure(call, &data, kind.as_deref()) {
            Some((error, data)) => Verdict::Replace(self.word(call, &error, Some((&data, Some(event))))),
            None => Verdict::Pass,
        }
    }

    fn line(&mut self, call: &mut Call, line: &[u8]) -> Verdict {
        if !self.suspects(call, line) {
            return Verdict::Pass;
        }
        match self.failure(call, line, None) {
            Some((error, body)) => Verdict::Replace(self.word(call, &error, Some((&body, None)))),
            None => Verdict::Pass,
        }
    }

    /// Classifies a unit, when a detector says that it is a failure.
    fn failure(&mut self, call: &mut Call, data: &[u8], event: Option<&str>) -> Option<(CanonicalError, Bytes)> {
        let route = call.route.clone()?;
        let profile = &route.route.profile;
        let data = call.redacted(Bytes::copy_from_slice(data));
        let headers = HeaderMap::new();
        let mut seen = Observed::http(0, &headers, &data, SystemTime::now());
        (seen.phase, seen.status, seen.sse_event) = (self.framing.phase(), None, event);
        let evidence = Evidence::new(&seen);
        let request = (call.method.as_str(), call.provider_path());
        let detector = profile.detect(Some(request), &evidence)?;
        let mut error = resolve(profile, &evidence).error;
        error.fatal = error.fatal.or(detector.fatal);
        call.sighted(&error, &evidence);
        self.failed = error.fatal != Some(false);
        call.note(&error, None);
        Some((error, data.clone()))
    }

    /// The failure in the form of the stream and of the route; `was` is the provider's own unit, if there was one.
    fn word(&self, call: &Call, error: &CanonicalError, was: Option<(&Bytes, Option<sse::Event<'_>>)>) -> Bytes {
        let timestamp = errors::timestamp();
        let stamp = call.stamp(&timestamp);
        let compatible = call.route.as_ref().filter(|route| route.route.envelope == Envelope::Compatible);
        let (json, kind) = match (compatible, was) {
            (Some(route), Some((data, event))) => {
                let headers = HeaderMap::new();
                let mut seen = Observed::http(0, &headers, data, SystemTime::now());
                (seen.phase, seen.status) = (self.framing.phase(), None);
                let json = match envelope::compatible(&route.route.profile, error, &stamp, &Evidence::new(&seen)) {
                    Compatible::Json(json) => json,
                    Compatible::AsItIs => data.to_vec(),
                };
                (json, event.map(|event| event.kind()))
            }
            (Some(route), None) => {
                let json = envelope::native(&route.route.profile, self.framing.phase(), error, &stamp);
                (json, Some(Some(Cow::Borrowed("error"))))
            }
            (None, _) => {
                let done = (self.framing == Framing::Sse).then_some(error.done.unwrap_or(true));
                (envelope::event(error, &stamp, done), Some(Some(Cow::Borrowed("error"))))
            }
        };
        let json = String::from_utf8_lossy(&json);
        match self.framing {
            Framing::Sse => sse::write_event(kind.flatten().as_deref(), &json),
            Framing::Ndjson => {
                let mut line = BytesMut::from(json.as_bytes());
                line.extend_from_slice(b"\n");
                line.freeze()
            }
        }
    }
}
