//! Removes a call's keys from everything that its provider sends, before any other code sees it.

use super::RoutedContext;
use crate::proxy::headers::{self, Incoming, PublicAddress};
use crate::proxy::redact::{self, Hidden, Instead};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version};
use std::sync::Arc;

impl RoutedContext {
    /// Adds further keys that the client sent, which no error may show.
    pub(crate) fn hide(&mut self, keys: Vec<String>) {
        self.keys.add(keys);
    }

    /// A text of the provider that belongs to an error, without any key.
    pub(crate) fn redacted(&self, said: Bytes) -> Bytes {
        self.redacted_part(said, false)
    }

    /// Like `redacted`, for a text that may be cut in the middle of a key.
    pub(crate) fn redacted_part(&self, said: Bytes, cut_off: bool) -> Bytes {
        let query = self.query_keys();
        let client = self.keys.with(&query);
        let cleaned = redact::clean_part(&said, &self.route.keys, Some(&client), Instead::Stars, cut_off);
        cleaned.map_or(said, Bytes::from)
    }

    /// The same; none when no key was in them.
    pub(crate) fn cleaned(&self, said: &[u8]) -> Option<Vec<u8>> {
        let cleaned = self.redacted(Bytes::copy_from_slice(said));
        (cleaned != said).then(|| cleaned.to_vec())
    }

    /// A success of the provider without the keys of the route; none when it contains none.
    pub(crate) fn without_route_keys(&self, said: &[u8]) -> Option<Bytes> {
        self.part_without_route_keys(said, false)
    }

    /// Like `without_route_keys`, for a text that may be cut in the middle of a key.
    pub(crate) fn part_without_route_keys(&self, said: &[u8], cut_off: bool) -> Option<Bytes> {
        redact::clean_part(said, &self.route.keys, None, Instead::Nothing, cut_off).map(Bytes::from)
    }

    /// Like `without_route_keys`, for a text in parts; `held` has bytes that may be the beginning of a key.
    pub(crate) fn next_without_route_keys(&self, held: &mut Vec<u8>, part: &[u8], last: bool, cut_off: bool) -> Bytes {
        redact::clean_next(held, part, &self.route.keys, last, cut_off).into()
    }

    /// Whether the route puts keys into its requests, which a response may echo.
    pub(crate) fn lends_keys(&self) -> bool {
        !self.route.keys.is_empty()
    }

    /// Removes keys from the head of a response.
    pub(crate) fn clean_head(&self, status: StatusCode, headers: &mut HeaderMap) {
        let query = if status.as_u16() >= 400 { self.query_keys() } else { Vec::new() };
        let hidden = Hidden { route: &self.route.keys, client: &self.keys, query: &query };
        redact::clean_fields(headers, status, hidden, |name| self.route.headers.holds(name).is_some());
    }

    /// Makes a function that prepares the fields of an informational response, without keys. It runs where the call cannot be
    /// accessed.
    pub(crate) fn informational_fields(&self) -> impl Fn(StatusCode, &mut HeaderMap) + Send + Sync + use<> {
        let (state, route, keys) = (Arc::clone(&self.state), Arc::clone(&self.route), self.keys.clone());
        let (request_id, upstream) = (self.id.clone(), self.destination.upstream);
        let PublicAddress { tls, .. } = self.public_address();
        let authority = self.public_authority().cloned();
        move |status, fields| {
            let hidden = Hidden { route: &route.keys, client: &keys, query: &[] };
            redact::clean_fields(fields, status, hidden, |name| route.headers.holds(name).is_some());
            let authority = authority.as_ref().and_then(|authority| authority.to_str().ok());
            let url = state.config.server.public_url.as_ref();
            let (route, public) = (&route.headers, PublicAddress { url, tls, authority });
            let version = Version::HTTP_11;
            headers::prepare_beside(fields, &Incoming { version, route, upstream, request_id: &request_id, public });
        }
    }

    /// Prepares trailers for the client: without keys, and changed like the fields of the head.
    pub(crate) fn prepare_trailers(&self, trailers: &mut HeaderMap) {
        let status = self.upstream.status.and_then(|status| StatusCode::from_u16(status).ok());
        self.clean_head(status.unwrap_or(StatusCode::OK), trailers);
        headers::prepare_beside(trailers, &self.incoming(Version::HTTP_11));
    }

    /// Keys in the client's query. Computed for errors only, because parsing the query costs more than all else that a success
    /// needs.
    fn query_keys(&self) -> Vec<String> {
        let query = self.target.query().unwrap_or_default();
        if query.is_empty() { Vec::new() } else { redact::query_secrets(query, self.route.headers.secret_query()) }
    }
}
