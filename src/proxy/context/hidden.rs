//! The keys of a call out of everything that its provider sends, before anybody reads it.

use super::RoutedContext;
use crate::proxy::redact::{self, Instead};
use crate::wire::hop::CONNECTION_SPECIFIC;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRAILER};
use http::{HeaderMap, StatusCode};
use std::sync::Arc;

impl RoutedContext {
    /// Further keys that the client sent, which no error shows.
    pub(crate) fn hide(&mut self, keys: Vec<String>) {
        self.keys.add(keys);
    }

    /// Words of the provider that are an error or part of one, without any key.
    pub(crate) fn redacted(&self, said: Bytes) -> Bytes {
        self.redacted_part(said, false)
    }

    /// The same where what it said may have been cut off in the middle of a key.
    pub(crate) fn redacted_part(&self, said: Bytes, cut_off: bool) -> Bytes {
        let query = self.query_keys();
        let client = self.keys.with(&query);
        let cleaned = redact::clean_part(&said, &self.route.keys, Some(&client), Instead::Stars, cut_off);
        cleaned.map_or(said, Bytes::from)
    }

    /// Words of the provider that are no error, and that were read all the same: none when no key of the route was in them.
    pub(crate) fn without_route_keys(&self, said: &[u8]) -> Option<Bytes> {
        redact::clean(said, &self.route.keys, None, Instead::Nothing).map(Bytes::from)
    }

    /// The head of an answer without keys.
    pub(crate) fn clean_head(&self, status: StatusCode, headers: &mut HeaderMap) {
        let query = if status.as_u16() >= 400 { self.query_keys() } else { Vec::new() };
        redact::clean_fields(headers, status, &self.route.keys, &self.keys, &query);
    }

    /// The same for interim answers, which come when this call is out of reach.
    pub(crate) fn informational_cleaner(&self) -> impl Fn(StatusCode, &mut HeaderMap) + Send + Sync + use<> {
        let (route, keys) = (Arc::clone(&self.route), self.keys.clone());
        move |status, headers| redact::clean_fields(headers, status, &route.keys, &keys, &[])
    }

    /// Trailers without keys, and without what concerns the connection or the framing (RFC 9110 6.5.1): over HTTP/2 one of those would
    /// make a whole answer malformed.
    pub(crate) fn clean_trailers(&self, trailers: &mut HeaderMap) {
        for name in CONNECTION_SPECIFIC.iter().chain(&[CONTENT_LENGTH, TRAILER]) {
            let _ = trailers.remove(name);
        }
        let status = self.upstream.status.and_then(|status| StatusCode::from_u16(status).ok());
        self.clean_head(status.unwrap_or(StatusCode::OK), trailers);
    }

    /// Keys in the client's query. Asked for an error only: reading names costs more than all that is done about a success.
    fn query_keys(&self) -> Vec<String> {
        let query = self.target.query().unwrap_or_default();
        if query.is_empty() { Vec::new() } else { redact::query_secrets(query, self.route.headers.secret_query()) }
    }
}
