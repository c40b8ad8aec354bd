//! The credentials that a route puts into its requests: in which places, and what of the client's goes in exchange.
//!
//! A header is put into every request. A query parameter too, where no header stands beside it; with one, only into
//! WebSocket handshakes, whose clients often cannot send headers and whose servers therefore read it. A subprotocol and the
//! member of a first message exist on WebSockets alone.

use super::{Destination, Fields, RouteHeaders, list};
use crate::canon::Fault;
use crate::config::secret::Secret;
use crate::config::types::Credentials;
use crate::proxy::path;
use http::header::{InvalidHeaderValue, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, request};

/// One of a route's credentials, as it is put into requests.
#[derive(Clone, Debug)]
pub(super) struct Injected {
    /// Marked sensitive.
    header: Option<(HeaderName, HeaderValue)>,
    /// `name=value`, encoded.
    query: Option<Secret>,
    subprotocol: Option<Subprotocol>,
    first_message: Option<(String, Secret)>,
}

/// A subprotocol that carries a secret.
#[derive(Clone, Debug)]
pub(crate) struct Subprotocol {
    /// How those of its kind begin: the client's own are left out.
    pub(crate) prefix: String,
    /// The whole of it.
    pub(crate) token: Secret,
}

impl Injected {
    pub(super) fn new(credentials: &Credentials) -> Result<Injected, InvalidHeaderValue> {
        let value = credentials.value.reveal();
        let in_header = |name: &HeaderName| {
            let mut value = HeaderValue::from_str(value)?;
            value.set_sensitive(true);
            Ok((name.clone(), value))
        };
        let in_subprotocol = |prefix: &String| {
            let token = format!("{prefix}{value}");
            HeaderValue::from_str(&token)?;
            Ok(Subprotocol { prefix: prefix.clone(), token: Secret::new(token) })
        };
        Ok(Injected {
            header: credentials.header.as_ref().map(in_header).transpose()?,
            query: credentials.query.as_ref().map(|name| Secret::new(format!("{name}={}", path::encode(value)))),
            subprotocol: credentials.subprotocol.as_ref().map(in_subprotocol).transpose()?,
            first_message: credentials.first_message.clone().map(|member| (member, credentials.value.clone())),
        })
    }

    /// Whether anything is put into a request of this kind.
    pub(super) fn applies(&self, websocket: bool) -> bool {
        self.header.is_some() || self.query(websocket).is_some() || websocket
    }

    fn query(&self, websocket: bool) -> Option<&str> {
        self.query.as_ref().filter(|_| websocket || self.header.is_none()).map(Secret::reveal)
    }
}

impl RouteHeaders {
    fn injected(&self, destination: Destination) -> Option<&Injected> {
        self.credentials.get(destination.account)
    }

    /// Puts the route's credentials in the place of all that the client sent of that kind in headers. A subprotocol is put
    /// in when the client's own have been read. Gives the fields that this adds.
    pub(super) fn inject(&self, headers: &mut HeaderMap, destination: Destination, websocket: bool) -> Fields {
        let injected = self.injected(destination).filter(|injected| injected.applies(websocket));
        let Some(injected) = injected else { return Fields::default() };
        for secret in &self.secrets {
            headers.remove(secret);
        }
        let Some((name, value)) = &injected.header else { return Fields::default() };
        headers.insert(name, value.clone());
        Fields::named(name)
    }

    /// The target with the credentials that go into the query. The client's own have been left out of it.
    ///
    /// # Errors
    /// [`Fault::BadPath`] when that makes no valid target.
    pub fn target(
        &self,
        target: PathAndQuery,
        destination: Destination,
        websocket: bool,
    ) -> Result<PathAndQuery, Fault> {
        match self.injected(destination).and_then(|injected| injected.query(websocket)) {
            Some(pair) => path::with_parameter(&target, pair),
            None => Ok(target),
        }
    }

    /// The subprotocol to offer in the place of the client's own of its kind.
    pub(crate) fn subprotocol(&self, destination: Destination) -> Option<&Subprotocol> {
        self.injected(destination)?.subprotocol.as_ref()
    }

    /// The member of the client's first message that carries the credentials, and its value.
    pub(crate) fn first_message(&self, destination: Destination) -> Option<(&str, &Secret)> {
        self.injected(destination)?.first_message.as_ref().map(|(member, value)| (member.as_str(), value))
    }

    /// Turns a request that was prepared with some of the route's credentials into one with others.
    pub(super) fn exchange(&self, parts: &mut request::Parts, from: Destination, to: Destination) {
        // It stands in a handshake and nowhere else.
        let websocket = parts.headers.contains_key(UPGRADE);
        let _ = self.inject(&mut parts.headers, to, websocket);
        let [old, new] =
            [from, to].map(|destination| self.injected(destination).and_then(|injected| injected.query(websocket)));
        if let (true, Some(target)) = (old != new, parts.uri.path_and_query()) {
            let target = without(target, old.unwrap_or_default());
            if let Ok(target) = target.and_then(|target| self.target(target, to, websocket)) {
                parts.uri = target.into();
            }
        }
        let [old, new] = [from, to].map(|destination| self.subprotocol(destination).filter(|_| websocket));
        if old.is_some() || new.is_some() {
            let old = old.map(|old| old.token.reveal().as_bytes());
            let kept = list(&parts.headers, &SEC_WEBSOCKET_PROTOCOL).filter(|one| Some(*one) != old);
            let kept: Vec<Vec<u8>> = kept.map(<[u8]>::to_vec).collect();
            offer(&mut parts.headers, &kept, new);
        }
    }
}

/// The target as it was before this parameter was put behind it.
fn without(target: &PathAndQuery, pair: &str) -> Result<PathAndQuery, Fault> {
    let before = target.as_str().strip_suffix(pair).filter(|_| !pair.is_empty());
    let Some(before) = before.and_then(|before| before.strip_suffix(['?', '&'])) else { return Ok(target.clone()) };
    PathAndQuery::try_from(before).map_err(|_| Fault::BadPath)
}

/// Writes the offer of subprotocols: the client's, but for those that the route's own stands in for, and that behind them.
pub(crate) fn offer(headers: &mut HeaderMap, own: &[Vec<u8>], injected: Option<&Subprotocol>) {
    let is_kept = |one: &&Vec<u8>| injected.is_none_or(|injected| !one.starts_with(injected.prefix.as_bytes()));
    let token = injected.map(|injected| injected.token.reveal().as_bytes());
    let all: Vec<&[u8]> = own.iter().filter(is_kept).map(Vec::as_slice).chain(token).collect();
    headers.remove(SEC_WEBSOCKET_PROTOCOL);
    if let (false, Ok(mut value)) = (all.is_empty(), HeaderValue::from_bytes(&all.join(&b", "[..]))) {
        value.set_sensitive(true);
        headers.insert(SEC_WEBSOCKET_PROTOCOL, value);
    }
}
