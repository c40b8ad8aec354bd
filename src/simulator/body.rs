//! The body of a simulated response: sent at once, or step by step with pauses between.

use super::plan::Slot;
use super::script::{Step, Steps, Takeover};
use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;
use tokio::time::Sleep;

/// How a request is answered.
pub(crate) enum Reply {
    Response(Box<Response<PacedBody>>),
    /// The connection is taken away from HTTP, plays these steps and ends; with a reset if so.
    Raw {
        steps: Steps,
        reset: bool,
    },
}

impl Reply {
    /// A connection on which nothing is answered any more.
    pub(crate) fn frozen() -> Reply {
        Reply::Raw { steps: Box::new(std::iter::once(Step::Freeze)), reset: false }
    }
}

impl From<Response<PacedBody>> for Reply {
    fn from(response: Response<PacedBody>) -> Reply {
        Reply::Response(Box::new(response))
    }
}

/// The body of a simulated response.
pub(crate) struct PacedBody {
    content: Content,
    pause: Option<Pin<Box<Sleep>>>,
    // Held to the last byte.
    slot: Option<Slot>,
    takeover: Option<mpsc::Sender<Takeover>>,
}

enum Content {
    Whole(Option<Bytes>),
    Steps(Steps),
    Fed(mpsc::Receiver<Step>),
    Hanging,
    Over,
}

/// A body that ends too early, on purpose.
#[derive(Debug)]
pub(crate) struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the simulated provider broke off")
    }
}

impl std::error::Error for Cut {}

impl PacedBody {
    /// A body that is sent at once.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> PacedBody {
        PacedBody::of(Content::Whole(Some(bytes.into())))
    }

    /// A body that is sent step by step.
    pub(crate) fn steps(steps: Steps) -> PacedBody {
        PacedBody::of(Content::Steps(steps))
    }

    /// A body whose steps somebody makes as they are needed.
    pub(crate) fn fed(steps: mpsc::Receiver<Step>) -> PacedBody {
        PacedBody::of(Content::Fed(steps))
    }

    fn of(content: Content) -> PacedBody {
        PacedBody { content, pause: None, slot: None, takeover: None }
    }

    /// How it takes its connection away from HTTP.
    pub(crate) fn may_freeze(&mut self, takeover: mpsc::Sender<Takeover>) {
        self.takeover = Some(takeover);
    }

    /// The same, holding a slot of the plan until it is over or dropped.
    pub(crate) fn holding(mut self, slot: Option<Slot>) -> PacedBody {
        self.slot = slot;
        self
    }

    /// Ends this body and gives its slot back.
    fn over(&mut self, complete: bool) {
        self.content = Content::Over;
        if let Some(slot) = self.slot.take() {
            slot.end(complete);
        }
    }
}

impl Body for PacedBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            let step = match &mut self.content {
                Content::Whole(bytes) => bytes.take().filter(|bytes| !bytes.is_empty()).map(Step::Send),
                Content::Steps(steps) => steps.next(),
                Content::Fed(steps) => ready!(steps.poll_recv(cx)),
                Content::Hanging => return Poll::Pending,
                Content::Over => return Poll::Ready(None),
            };
            match step {
                Some(Step::Send(bytes)) => {
                    if matches!(self.content, Content::Whole(_)) {
                        self.over(true);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Step::Trailers(trailers)) => {
                    self.over(true);
                    return Poll::Ready(Some(Ok(Frame::trailers(*trailers))));
                }
                Some(Step::Pause(time)) if time.is_zero() => {}
                Some(Step::Pause(time)) => self.pause = Some(Box::pin(tokio::time::sleep(time))),
                Some(Step::Hang) => self.content = Content::Hanging,
                Some(Step::Freeze) => {
                    self.content = Content::Hanging;
                    if let Some(takeover) = self.takeover.take() {
                        // Another request on this connection may have been quicker.
                        let _ = takeover.try_send((Box::new(std::iter::once(Step::Freeze)), false));
                    }
                }
                Some(Step::Cut) => {
                    self.over(false);
                    return Poll::Ready(Some(Err(Cut)));
                }
                None => {
                    self.over(true);
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Content::Over => true,
            Content::Steps(_) | Content::Fed(_) | Content::Hanging => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Content::Over => SizeHint::with_exact(0),
            Content::Steps(_) | Content::Fed(_) | Content::Hanging => SizeHint::default(),
        }
    }
}
