//! Decodes what a provider sent when it failed, according to the phase of the call.

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
    /// Whether a key was removed from the text of `grpc`.
    cleaned: bool,
}

impl<'a> Said<'a> {
    /// Decodes this response to a call.
    pub(crate) fn of(call: &RoutedContext, headers: &HeaderMap, read: &'a Capped) -> Said<'a> {
        let (grpc, cleaned) = match call.phase {
            Phase::Grpc => status(call, headers).unzip(),
            _ => (None, None),
        };
        Said { coded: Coded::body_of(headers, &read.bytes), grpc, cleaned: cleaned.unwrap_or_default() }
    }

    /// As an observation.
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

    /// Whether it is a success other than gRPC, although the call was gRPC.
    pub(super) fn is_not_grpc(&self, call: &RoutedContext, code: u16) -> bool {
        call.phase == Phase::Grpc && self.grpc.is_none() && code < 400
    }

    /// Removes fields of the head that contained a key.
    pub(crate) fn clean(&self, headers: &mut HeaderMap) {
        if self.cleaned {
            forget_words(headers);
        }
    }
}

/// The status in a gRPC call's trailers. Text that contained a key is removed from the trailers, to be written anew.
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
