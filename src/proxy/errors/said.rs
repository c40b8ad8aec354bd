//! What a provider said when it failed, as the phase of its call reads it: whatever it is coded in is undone.

use crate::canon::{Observed, Phase, grpc};
use crate::detect::Coded;
use crate::proxy::context::RoutedContext;
use crate::upstream::Capped;
use bytes::Bytes;
use http::HeaderMap;
use std::time::SystemTime;

/// A failing answer, decoded.
pub(crate) struct Said<'a> {
    coded: Coded<'a>,
    grpc: Option<grpc::Status>,
    /// Whether a key was taken out of the words of `grpc`.
    cleaned: bool,
}

impl<'a> Said<'a> {
    /// What this answer to a call says.
    pub(crate) fn of(call: &RoutedContext, headers: &HeaderMap, read: &'a Capped) -> Said<'a> {
        let (grpc, cleaned) = match call.phase {
            Phase::Grpc => status(call, headers).unzip(),
            _ => (None, None),
        };
        Said { coded: Coded::body_of(headers, &read.bytes), grpc, cleaned: cleaned.unwrap_or_default() }
    }

    /// The same as it was seen.
    pub(crate) fn observed<'s>(
        &'s self,
        call: &RoutedContext,
        code: u16,
        headers: &'s HeaderMap,
        read: &Capped,
    ) -> Observed<'s> {
        let now = SystemTime::now();
        if let Some(status) = &self.grpc {
            return Observed::grpc(status, headers, now);
        }
        let seen = match call.phase {
            Phase::Handshake => Observed::handshake(code, headers, self.coded.body(), now),
            _ => Observed::http(code, headers, self.coded.body(), now),
        };
        self.coded.observed(seen).cut(read.truncated || read.incomplete)
    }

    /// Whether it is a success that is no gRPC, although the call was.
    pub(super) fn is_not_grpc(&self, call: &RoutedContext, code: u16) -> bool {
        call.phase == Phase::Grpc && self.grpc.is_none() && code < 400
    }

    /// Takes out of the head what a key was in.
    pub(crate) fn clean(&self, headers: &mut HeaderMap) {
        if self.cleaned {
            forget_words(headers);
        }
    }
}

/// The status with which a call ended; the trailers lose the words in which there was a key, to be written anew.
pub(crate) fn read_status(call: &RoutedContext, trailers: &mut HeaderMap) -> Option<grpc::Status> {
    let (status, cleaned) = status(call, trailers)?;
    if cleaned {
        forget_words(trailers);
    }
    Some(status)
}

fn status(call: &RoutedContext, fields: &HeaderMap) -> Option<(grpc::Status, bool)> {
    let status = grpc::Status::read(fields)?;
    Some(status.cleaned(|said| call.redacted(Bytes::from(said)).to_vec()))
}

fn forget_words(fields: &mut HeaderMap) {
    for name in [grpc::MESSAGE, grpc::DETAILS] {
        let _ = fields.remove(name);
    }
}
