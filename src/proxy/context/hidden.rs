//! The keys of a call out of everything that its provider sends, before anybody reads it.

use super::RoutedContext;
use crate::proxy::headers::{self, Incoming, PublicAddress};
use crate::proxy::redact::{self, Hidden, Instead};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version};
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
        self.part_without_route_keys(said, false)
    }

    /// The same where what it said may have been cut off in the middle of a key.
    pub(crate) fn part_without_route_keys(&self, said: &[u8], cut_off: bool) -> Option<Bytes> {
        redact::clean_part(said, &self.route.keys, None, Instead::Nothing, cut_off).map(Bytes::from)
    }

    /// The same for words that come in parts, of which those that may begin a key are `held`.
    pub(crate) fn next_without_route_keys(&self, held: &mut Vec<u8>, part: &[u8], last: bool, cut_off: bool) -> Bytes {
        redact::clean_next(held, part, &self.route.keys, last, cut_off).into()
    }

    /// Whether the route puts keys into its requests, which an answer may show.
    pub(crate) fn lends_keys(&self) -> bool {
        !self.route.keys.is_empty()
    }

    /// The head of an answer without keys.
    pub(crate) fn clean_head(&self, status: StatusCode, headers: &mut HeaderMap) {
        let query = if status.as_u16() >= 400 { self.query_keys() } else { Vec::new() };
        let hidden = Hidden { route: &self.route.keys, client: &self.keys, query: &query };
        redact::clean_fields(headers, status, hidden, |name| self.route.headers.holds(name).is_some());
    }

    /// Turns the fields of an informational response into those for the client, without keys. They come when this call is out of reach.
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

    /// Trailers as the client gets them: without keys, and like the fields of the head.
    pub(crate) fn prepare_trailers(&self, trailers: &mut HeaderMap) {
        let status = self.upstream.status.and_then(|status| StatusCode::from_u16(status).ok());
        self.clean_head(status.unwrap_or(StatusCode::OK), trailers);
        headers::prepare_beside(trailers, &self.incoming(Version::HTTP_11));
    }

    /// Keys in the client's query. Asked for an error only: reading names costs more than all that is done about a success.
    fn query_keys(&self) -> Vec<String> {
        let query = self.target.query().unwrap_or_default();
        if query.is_empty() { Vec::new() } else { redact::query_secrets(query, self.route.headers.secret_query()) }
    }
}
