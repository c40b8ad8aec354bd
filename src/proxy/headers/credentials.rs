//! The credentials that a route puts into its requests: in which places, and what of the client's goes in exchange.
//!
//! A header is put into every request. A query parameter too, where no header stands beside it; with one, only into
//! WebSocket handshakes, whose clients often cannot send headers and whose servers therefore read it. A subprotocol and the
//! member of a first message exist on WebSockets alone.

use super::{Destination, Fields, RouteHeaders, list};
use crate::canon::Fault;
use crate::canon::spec::SecretsSpec;
use crate::config::secret::Secret;
use crate::config::types::{Credentials, SubprotocolPlace};
use crate::proxy::path;
use crate::proxy::redact::token;
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
    /// The key without the word before it.
    bare: Secret,
}

/// A subprotocol that carries a secret.
#[derive(Clone, Debug)]
pub(crate) struct Subprotocol {
    /// The one that stands before it and belongs to it.
    pub(crate) word: Option<String>,
    /// The whole of it.
    pub(crate) token: Secret,
}

impl Injected {
    pub(super) fn new<'c>(credentials: &'c Credentials) -> Result<Injected, InvalidHeaderValue> {
        let spellings = &credentials.spellings;
        let spelled = |own: &'c Option<Secret>| own.as_ref().unwrap_or(&credentials.value).reveal();
        let in_header = |name: &HeaderName| {
            let mut value = HeaderValue::from_str(spelled(&spellings.header))?;
            value.set_sensitive(true);
            Ok((name.clone(), value))
        };
        let in_query = |name: &String| Secret::new(format!("{name}={}", path::encode(spelled(&spellings.query))));
        let in_subprotocol = |place: &SubprotocolPlace| {
            let value = spelled(&spellings.subprotocol);
            let (word, token) = match place {
                SubprotocolPlace::Prefix(prefix) => (None, format!("{prefix}{value}")),
                SubprotocolPlace::After(word) => (Some(word.clone()), value.to_owned()),
            };
            HeaderValue::from_str(&token)?;
            Ok(Subprotocol { word, token: Secret::new(token) })
        };
        let in_message = |member: &String| (member.clone(), Secret::new(spelled(&spellings.first_message).to_owned()));
        Ok(Injected {
            header: credentials.header.as_ref().map(in_header).transpose()?,
            query: credentials.query.as_ref().map(in_query),
            subprotocol: credentials.subprotocol.as_ref().map(in_subprotocol).transpose()?,
            first_message: credentials.first_message.as_ref().map(in_message),
            bare: Secret::new(bare(credentials.value.reveal()).to_owned()),
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

/// The token of `Bearer token`.
fn bare(value: &str) -> &str {
    token(value.as_bytes()).and_then(|token| std::str::from_utf8(token).ok()).unwrap_or(value)
}

impl RouteHeaders {
    fn injected(&self, destination: Destination) -> Option<&Injected> {
        self.credentials.get(destination.account).filter(|_| !destination.keyless)
    }

    /// Puts the route's credentials in the place of all that the client sent of that kind in headers. A subprotocol is put
    /// in when the client's own have been read. Gives the fields that this adds.
    pub(super) fn inject(&self, headers: &mut HeaderMap, destination: Destination, websocket: bool) -> Fields {
        let injected = self.injected(destination).filter(|injected| injected.applies(websocket));
        let Some(injected) = injected else { return Fields::default() };
        self.bare(headers);
        let Some((name, value)) = &injected.header else { return Fields::default() };
        headers.insert(name, value.clone());
        Fields::named(name)
    }

    /// Leaves out every key.
    pub(super) fn bare(&self, headers: &mut HeaderMap) {
        for secret in &self.secrets {
            headers.remove(secret);
        }
    }

    /// Puts the header of the route's credentials into a request of this gateway's own.
    pub(crate) fn lend(&self, headers: &mut HeaderMap, to: Destination) {
        let _ = self.inject(headers, to, false);
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

    /// Which of the subprotocols that a client offers are keys, and whether the route's credentials take their place.
    pub(crate) fn subprotocol_keys(&self, to: Destination) -> (&SubprotocolKeys, bool) {
        (&self.subprotocols, self.injected(to).is_some())
    }

    /// The subprotocol to offer in the place of the client's own of its kind.
    pub(crate) fn subprotocol(&self, destination: Destination) -> Option<&Subprotocol> {
        self.injected(destination)?.subprotocol.as_ref()
    }

    /// The member of the client's first message that carries the credentials, and its value.
    pub(crate) fn first_message(&self, destination: Destination) -> Option<(&str, &Secret)> {
        self.injected(destination)?.first_message.as_ref().map(|(member, value)| (member.as_str(), value))
    }

    /// The members of first messages into which the route's credentials are put.
    pub(crate) fn first_message_members(&self) -> impl Iterator<Item = String> {
        self.credentials.iter().filter_map(|one| one.first_message.as_ref()).map(|(member, _)| member.clone())
    }

    /// The key of the credentials by itself, for the place where a client has put its own.
    pub(crate) fn bare_key(&self, destination: Destination) -> Option<&Secret> {
        self.injected(destination).map(|injected| &injected.bare)
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
            // The route's own stand at the end.
            let mut kept: Vec<Vec<u8>> = list(&parts.headers, &SEC_WEBSOCKET_PROTOCOL).map(<[u8]>::to_vec).collect();
            kept.truncate(kept.len().saturating_sub(old.map_or(0, |old| old.offered().count())));
            offer(&mut parts.headers, kept.iter().map(Vec::as_slice), new);
        }
    }
}

/// The target as it was before this parameter was put behind it.
fn without(target: &PathAndQuery, pair: &str) -> Result<PathAndQuery, Fault> {
    let before = target.as_str().strip_suffix(pair).filter(|_| !pair.is_empty());
    let Some(before) = before.and_then(|before| before.strip_suffix(['?', '&'])) else { return Ok(target.clone()) };
    PathAndQuery::try_from(before).map_err(|_| Fault::BadPath)
}

/// Writes the offer of subprotocols: what is kept of the client's, and the route's own behind it.
pub(crate) fn offer<'o>(
    headers: &mut HeaderMap,
    kept: impl Iterator<Item = &'o [u8]>,
    injected: Option<&'o Subprotocol>,
) {
    let all: Vec<&[u8]> = kept.chain(injected.into_iter().flat_map(Subprotocol::offered)).collect();
    headers.remove(SEC_WEBSOCKET_PROTOCOL);
    if let (false, Ok(mut value)) = (all.is_empty(), HeaderValue::from_bytes(&all.join(&b", "[..]))) {
        value.set_sensitive(true);
        headers.insert(SEC_WEBSOCKET_PROTOCOL, value);
    }
}

impl Subprotocol {
    /// What is offered: the word before the secret, where there is one, and the secret.
    pub(crate) fn offered(&self) -> impl Iterator<Item = &[u8]> {
        self.word.iter().map(String::as_bytes).chain([self.token.reveal().as_bytes()])
    }
}

/// Where clients put keys among the subprotocols that they offer.
#[derive(Clone, Debug, Default)]
pub(crate) struct SubprotocolKeys {
    /// How one begins whose rest is a key.
    prefixes: Vec<String>,
    /// Words behind which one is a key.
    words: Vec<String>,
}

/// What a subprotocol in a client's offer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// The name of a protocol.
    Protocol,
    /// The word that announces a key.
    Word,
    /// A key, from this byte on.
    Key(usize),
}

impl SubprotocolKeys {
    /// Those that a profile knows.
    pub(crate) fn of(spec: &SecretsSpec) -> SubprotocolKeys {
        SubprotocolKeys { prefixes: spec.subprotocols.clone(), words: spec.subprotocol_pairs.clone() }
    }

    /// And the one where the route's own credentials stand.
    pub(super) fn with(&mut self, place: &SubprotocolPlace) {
        match place {
            SubprotocolPlace::Prefix(prefix) => self.prefixes.push(prefix.clone()),
            SubprotocolPlace::After(word) => self.words.push(word.clone()),
        }
    }

    /// What each subprotocol of an offer is.
    pub(crate) fn read<'o>(&self, offer: &'o [Vec<u8>]) -> Vec<(&'o [u8], Offered)> {
        let mut read: Vec<(&[u8], Offered)> = Vec::with_capacity(offer.len());
        for (at, one) in offer.iter().enumerate() {
            let is_word = |word: &String| one.eq_ignore_ascii_case(word.as_bytes());
            let prefix = self.prefixes.iter().find(|prefix| one.starts_with(prefix.as_bytes()));
            let kind = match prefix {
                _ if read.last().is_some_and(|(_, before)| *before == Offered::Word) => Offered::Key(0),
                Some(prefix) => Offered::Key(prefix.len()),
                None if at + 1 < offer.len() && self.words.iter().any(is_word) => Offered::Word,
                None => Offered::Protocol,
            };
            read.push((one, kind));
        }
        read
    }

    /// The keys in an offer.
    pub(crate) fn secrets(&self, offer: &[Vec<u8>]) -> Vec<String> {
        let key = |(one, kind): &(&[u8], Offered)| match kind {
            Offered::Key(from) => Some(String::from_utf8_lossy(one.get(*from..)?).into_owned()),
            Offered::Protocol | Offered::Word => None,
        };
        self.read(offer).iter().filter_map(key).collect()
    }
}
