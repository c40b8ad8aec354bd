//! A body whose content coding is undone as it is read, for streams whose events have to be read.

use super::body::Body;
use super::coding::Decoder;
use super::failure::Failure;
use crate::canon::Fault;
use crate::wire::coding::StreamCoding;
use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A provider's body, decoded. It is pulled: no more of it is decoded than is asked for, at most `PIECE` at a time, so that a
/// few bytes which stand for gigabytes cost no more memory than any other stream, and no more time than their reader takes.
#[derive(Debug)]
pub struct DecodedBody {
    body: Body,
    /// None where there is no coding.
    decoding: Option<Box<Decoding>>,
}

#[derive(Debug)]
struct Decoding {
    decoder: Decoder,
    /// Coded bytes that have come and are not decoded yet.
    input: Bytes,
    /// The last piece was filled: more may come of what the decoder has read already.
    more: bool,
    piece: Vec<u8>,
    /// What follows what was decoded last.
    next: Next,
}

#[derive(Debug)]
enum Next {
    /// More of the body.
    Body,
    /// A failure, then the end.
    Failure(Failure),
    End,
}

impl DecodedBody {
    /// The content of a body of this coding.
    #[must_use]
    pub fn new(body: Body, coding: StreamCoding) -> DecodedBody {
        let decoding = coding.coding().map(|coding| {
            let decoder = Decoder::new(coding);
            Box::new(Decoding { decoder, input: Bytes::new(), more: false, piece: vec![0; PIECE], next: Next::Body })
        });
        DecodedBody { body, decoding }
    }

    /// The body as it comes.
    #[must_use]
    pub fn get_ref(&self) -> &Body {
        &self.body
    }
}

impl http_body::Body for DecodedBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let DecodedBody { body, decoding } = &mut *self;
        let Some(decoding) = decoding else { return Pin::new(body).poll_frame(cx) };
        loop {
            if let Some(piece) = decoding.piece() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            match std::mem::replace(&mut decoding.next, Next::End) {
                Next::Body => decoding.next = Next::Body,
                Next::Failure(failure) => return Poll::Ready(Some(Err(failure))),
                Next::End => return Poll::Ready(None),
            }
            match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => decoding.input = data,
                    Err(trailers) if decoding.decoder.is_complete() => return Poll::Ready(Some(Ok(trailers))),
                    Err(_) => decoding.next = Next::Failure(cut()),
                },
                Some(Err(failure)) => decoding.next = Next::Failure(failure),
                None if decoding.decoder.is_complete() => decoding.next = Next::End,
                None => decoding.next = Next::Failure(cut()),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.decoding.is_none() && http_body::Body::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        if self.decoding.is_some() { SizeHint::default() } else { self.body.size_hint() }
    }
}

impl Decoding {
    /// The next piece of what was read, if there is one.
    fn piece(&mut self) -> Option<Bytes> {
        if self.input.is_empty() && !self.more {
            return None;
        }
        let mut rest = &self.input[..];
        let (made, outcome) = self.decoder.decode(&mut rest, &mut self.piece);
        let used = self.input.len() - rest.len();
        self.input.advance(used);
        self.more = made == self.piece.len();
        if outcome.is_err() {
            (self.input, self.more) = (Bytes::new(), false);
            self.next = Next::Failure(Failure::of(Fault::ResponseBodyInvalid));
        }
        (made > 0).then(|| Bytes::copy_from_slice(&self.piece[..made]))
    }
}

/// The transport ended in order, but the coded data had not: what was cut lost its end before it came here.
fn cut() -> Failure {
    Failure::new(Fault::ResponseBodyIncomplete, "the coded data ends in the middle")
}

/// Most bytes that are decoded at a time.
const PIECE: usize = 16 * 1024;
