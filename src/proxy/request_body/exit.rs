//! A body without gateway keys, piece by piece.

use crate::proxy::tenants::{Exit, Passage};
use bytes::Bytes;
use http_body::Frame;

/// A body on its way out.
#[derive(Debug)]
pub(super) struct BodyExit {
    passage: Passage,
    /// Trailers that came behind something that waited.
    trailers: Option<Frame<Bytes>>,
}

impl BodyExit {
    pub(super) fn new(exit: Exit) -> BodyExit {
        BodyExit { passage: Passage::new(exit), trailers: None }
    }

    /// The frame that goes on for one that has come.
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

    /// What waited, when nothing more comes.
    pub(super) fn rest(&mut self) -> Option<Frame<Bytes>> {
        let rest = self.passage.rest();
        (!rest.is_empty()).then(|| Frame::data(rest.into()))
    }

    pub(super) fn trailers(&mut self) -> Option<Frame<Bytes>> {
        self.trailers.take()
    }

    /// How many bytes wait.
    pub(super) fn len(&self) -> u64 {
        self.passage.held() as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.passage.held() == 0 && self.trailers.is_none()
    }
}
