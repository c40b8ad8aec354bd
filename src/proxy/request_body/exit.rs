//! Removes gateway keys from a body, piece by piece.

use crate::proxy::tenants::{Exit, Passage};
use bytes::Bytes;
use http_body::Frame;

/// The filter of one body.
#[derive(Debug)]
pub(super) struct BodyExit {
    passage: Passage,
    /// Trailers that arrived while bytes were held back.
    trailers: Option<Frame<Bytes>>,
}

impl BodyExit {
    pub(super) fn new(exit: Exit) -> BodyExit {
        BodyExit { passage: Passage::new(exit), trailers: None }
    }

    /// The frame to send for one that arrived.
    pub(super) fn pass(&mut self, frame: Frame<Bytes>, last: bool) -> Frame<Bytes> {
        match frame.into_data() {
            Ok(data) => Frame::data(self.passage.pass(&data, last).map_or(data, Bytes::from)),
            Err(trailers) => match self.rest() {
                None => trailers,
                Some(rest) => {
                    self.trailers = Some(trailers);
                    rest
                }
            },
        }
    }

    /// The bytes that were held back, at the end.
    pub(super) fn rest(&mut self) -> Option<Frame<Bytes>> {
        let rest = self.passage.rest();
        (!rest.is_empty()).then(|| Frame::data(rest.into()))
    }

    pub(super) fn trailers(&mut self) -> Option<Frame<Bytes>> {
        self.trailers.take()
    }

    /// How many bytes are held back.
    pub(super) fn len(&self) -> u64 {
        self.passage.held() as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.passage.held() == 0 && self.trailers.is_none()
    }
}
