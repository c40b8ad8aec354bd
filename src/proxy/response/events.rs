//! A stream of events or lines on its way to the client: everything passes at once and byte for byte, except events that are
//! failures. If the stream breaks, an event says so before it is cut.

use super::cut::Cut;
use super::judge::Judge;
use crate::canon::Fault;
use crate::detect::{self, Framing, Splitter};
use crate::proxy::context::RoutedContext;
use crate::proxy::errors::{self, Finding};
use crate::proxy::idle::Idle;
use crate::upstream::{self, DecodedBody, Failure};
use crate::wire::coding::StreamCoding;
use crate::wire::{Joined, Piece, Seam, Verdict};
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Body as _, Frame};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// How many bytes are coalesced, so that small pieces do not cost a chunk and a write each.
const TOGETHER: usize = 16 * 1024;

/// How long a provider may take to end its stream after it sent a failure.
const LINGERING: Duration = Duration::from_secs(1);

/// The stream.
#[derive(Debug)]
pub struct Events {
    /// A compressed stream is sent decoded.
    source: DecodedBody,
    splitter: Splitter,
    out: VecDeque<Bytes>,
    /// Trailers that follow the bytes in `out`.
    trailers: Option<Frame<Bytes>>,
    idle: Idle,
    call: Box<RoutedContext>,
    judge: Judge,
    ended: bool,
    /// How the stream ends once `out` is empty, if not regularly: a client that does not parse events has to notice too.
    cut: Option<Cut>,
}

impl Events {
    /// Takes over a body. Removes header fields that no longer describe it: a replaced event has another length.
    pub(crate) fn new(
        framing: Framing,
        source: upstream::Body,
        headers: &mut HeaderMap,
        mut call: Box<RoutedContext>,
    ) -> Events {
        let coding = StreamCoding::of(headers).unwrap_or_default();
        coding.undo(headers);
        let source = DecodedBody::new(source, coding);
        let _ = headers.remove(header::CONTENT_LENGTH);
        let limit = call.route.config.timeouts.idle;
        let splitter = Splitter::new(framing);
        call.phase = framing.phase();
        let last = call.route.config.profile.stream(framing.phase(), call.method.as_str(), call.provider_path());
        let judge = Judge::new(framing, last.map(Arc::clone));
        Events {
            source,
            splitter,
            out: VecDeque::new(),
            trailers: None,
            idle: Idle::until(limit, call.end),
            call,
            judge,
            ended: false,
            cut: None,
        }
    }

    /// The next frame. Units that have arrived are sent together: nothing waits for units that have not, and small pieces do not
    /// cost a chunk and a write each.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let mut taken = 0;
        while self.out.is_empty() && self.trailers.is_none() && !self.ended {
            if taken >= TOGETHER {
                // Everything that arrived is half an event and held back. Yields to other tasks before it reads more.
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
        Poll::Ready(self.cut.take().map(Err))
    }

    /// Reads what has arrived, and returns the number of bytes. Small pieces are examined together.
    fn gather(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        let (mut taken, mut came) = (0, Joined::of_about(TOGETHER));
        let end = loop {
            if self.idle.is_over() {
                break Some(Err(self.idle.failure()));
            }
            match Pin::new(&mut self.source).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        taken += data.len();
                        if let Some(followed) = &mut self.call.followed {
                            followed.passes(&data);
                        }
                        if came.len() + data.len() > TOGETHER {
                            self.take(&std::mem::replace(&mut came, Joined::of_about(TOGETHER)).into_bytes());
                        }
                        came.push(data);
                    }
                    Err(mut trailers) => {
                        trailers.trailers_mut().into_iter().for_each(|trailers| self.call.prepare_trailers(trailers));
                        self.trailers = Some(trailers);
                    }
                },
                Poll::Ready(Some(Err(failure))) => break Some(Err(failure)),
                Poll::Ready(None) => break Some(Ok(())),
                // Nothing follows trailers.
                Poll::Pending if self.trailers.is_some() => break Some(Ok(())),
                Poll::Pending if taken > 0 => break None,
                Poll::Pending => {
                    if let Some(followed) = &mut self.call.followed
                        && let Poll::Ready(silent) = followed.poll_silent(cx)
                    {
                        break Some(Err(Failure::of(silent.fault())));
                    }
                    if let Some(ended) = self.call.watch_end(cx) {
                        break Some(Err(ended));
                    }
                    self.idle.moved_at(self.source.get_ref().last_sent());
                    ready!(self.idle.poll(cx));
                    break Some(Err(self.idle.failure()));
                }
            }
            if taken >= TOGETHER {
                break None;
            }
        };
        let stale = match &mut self.call.followed {
            Some(followed) if taken > 0 && end.is_none() => followed.poll_stale(cx),
            _ => Poll::Pending,
        };
        let end = match stale {
            Poll::Ready(silent) => Some(Err(Failure::of(silent.fault()))),
            Poll::Pending if end.is_none() => self.call.look_at_end().map(Err),
            Poll::Pending => end,
        };
        if taken > 0 {
            self.idle.moved();
            let failed = self.judge.failed;
            self.take(&came.into_bytes());
            if self.judge.failed && !failed {
                self.idle = Idle::new(LINGERING.min(self.call.route.config.timeouts.idle));
            }
            self.ended |= self.judge.over;
        }
        match end {
            Some(Ok(())) if !self.ended => self.over(),
            Some(Err(failure)) if !self.ended => self.broke(&failure),
            _ => {}
        }
        Poll::Ready(taken)
    }

    /// The bytes in `out`, in one piece if they are small.
    fn together(&mut self) -> Option<Bytes> {
        let mut joined = Joined::of_about(TOGETHER);
        joined.push(self.out.pop_front()?);
        while let Some(next) = self.out.pop_front_if(|next| joined.len() + next.len() <= TOGETHER) {
            joined.push(next);
        }
        Some(joined.into_bytes())
    }

    fn take(&mut self, data: &Bytes) {
        let Events { splitter, out, call, judge, .. } = self;
        let clean = |bytes: &[u8]| !judge.suspects(call, bytes) && !judge.shows_keys(call, bytes);
        let passed = splitter.skim(data, out, clean);
        if passed == data.len() {
            return;
        }
        let rest = data.slice(passed..);
        splitter.feed_pieces(&rest, out, |piece: Piece<'_>| judge.piece(call, piece));
    }

    /// The provider ended the stream regularly. An incomplete last unit passes unchanged: many streams end without their last
    /// line break, and what a parser makes of it is up to the client. Only half of a failure counts as a stream that broke off.
    fn over(&mut self) {
        self.ended = true;
        let rest = self.splitter.finish().unwrap_or_default();
        self.out.extend(self.judge.tail(&self.call));
        if rest.len() > detect::LIMIT {
            return match self.judge.piece(&mut self.call, Piece::Part { bytes: &rest, first: true, last: true }) {
                Verdict::Pass => self.out.push_back(rest),
                Verdict::Replace(bytes) | Verdict::End(bytes) => self.out.push_back(bytes),
            };
        }
        let Some(verdict) = self.judge.unended(&mut self.call, &rest) else {
            return self.broke(&Failure::of(Fault::ResponseBodyIncomplete));
        };
        // If the profile names the stream's last event and it has not arrived, the rest is part of another event.
        let early = self.ended_early();
        match verdict {
            Verdict::Pass if early || rest.is_empty() => {}
            Verdict::Pass => self.out.push_back(rest),
            Verdict::Replace(bytes) | Verdict::End(bytes) => self.out.push_back(bytes),
        }
        if early {
            self.broke(&Failure::of(Fault::ResponseBodyIncomplete));
        } else if !self.judge.failed && self.call.followed.as_mut().is_some_and(|followed| followed.is_empty()) {
            self.broke(&Failure::of(Fault::NoAudio));
        }
    }

    /// Whether the stream ended early: the profile names its last event, and that has not arrived, however clean the end looks.
    /// False when an event was too large to be examined, since it may have been that one, and after the provider has sent a
    /// failure.
    fn ended_early(&self) -> bool {
        self.judge.last.is_some() && self.splitter.oversized() == 0 && !self.judge.failed
    }

    /// The stream broke: an event says so, and the stream is cut. If part of a unit has been sent, only the cut can tell the
    /// client, because a parser would take the event for the rest of that unit.
    fn broke(&mut self, failure: &Failure) {
        (self.ended, self.trailers) = (true, None);
        let fault = errors::whose(failure);
        self.cut = Some(Cut(fault));
        self.out.extend(self.judge.tail(&self.call));
        if self.judge.failed {
            return;
        }
        let seam = self.splitter.seam();
        if seam == Seam::Inside {
            let _ = errors::broken_off(&mut self.call, failure);
            return;
        }
        if seam == Seam::Comment {
            self.out.push_back(Bytes::from_static(b"\n"));
        }
        let finding = Finding::fault(self.call.phase, fault).with_detail(Some(failure.detail.clone()));
        let finding = finding.coded(self.judge.framing.codec());
        let told = errors::report(&mut self.call, finding);
        self.out.extend(told.body);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.ended && self.out.is_empty() && self.trailers.is_none() && self.cut.is_none()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if self.is_over() {
            self.call.complete();
        }
    }
}
