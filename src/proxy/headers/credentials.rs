//! The credentials that a route injects into its requests: where, and what they replace of the client's own.
//!
//! A header is injected into every request. So is a query parameter if there is no header; otherwise only into WebSocket
//! handshakes, because their clients often cannot send headers and servers therefore read the query. A subprotocol and a member
//! of the first message exist on WebSockets alone.

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

/// One of a route's credentials, ready to be injected.
#[derive(Clone, Debug)]
pub(super) struct Injected {
    /// Marked sensitive.
    header: Option<(HeaderName, HeaderValue)>,
    /// `name=value`, encoded.
    query: Option<Secret>,
    subprotocol: Option<Subprotocol>,
    first_message: Option<(String, Secret)>,
    /// The key without its scheme.
    bare: Secret,
}

/// A subprotocol that carries a secret.
#[derive(Clone, Debug)]
pub(crate) struct Subprotocol {
    /// The subprotocol that precedes it and announces it.
    pub(crate) word: Option<String>,
    /// The whole subprotocol.
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

    /// Whether anything is injected into a request of this kind.
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

    /// Injects the route's credentials into the headers, in place of all that the client sent of that kind. A subprotocol is
    /// injected later, when the client's own have been read. Returns the fields that this adds.
    pub(super) fn inject(&self, headers: &mut HeaderMap, destination: Destination, websocket: bool) -> Fields {
        let injected = self.injected(destination).filter(|injected| injected.applies(websocket));
        let Some(injected) = injected else { return Fields::default() };
        let Some((name, value)) = &injected.header else {
            self.bare(headers);
            return Fields::default();
        };
        // What is put in takes the place of what the client sent of that name.
        self.secrets.iter().filter(|secret| *secret != name).for_each(|secret| drop(headers.remove(secret)));
        headers.insert(name, value.clone());
        Fields::named(name)
    }

    /// Removes every key.
    pub(super) fn bare(&self, headers: &mut HeaderMap) {
        for secret in &self.secrets {
            headers.remove(secret);
        }
    }

    /// Injects the header of the route's credentials into a request of this gateway's own.
    pub(crate) fn lend(&self, headers: &mut HeaderMap, to: Destination) {
        let _ = self.inject(headers, to, false);
    }

    /// The target with the credentials for the query; the client's own have been removed from it.
    ///
    /// # Errors
    /// [`Fault::BadPath`] when the target would be invalid.
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

    /// The rules for keys among a client's subprotocols, and whether the route's credentials replace them.
    pub(crate) fn subprotocol_keys(&self, to: Destination) -> (&SubprotocolKeys, bool) {
        (&self.subprotocols, self.injected(to).is_some())
    }

    /// The subprotocol to offer in place of the client's own key.
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

    /// The key of the credentials alone, for the place where the client had its own.
    pub(crate) fn bare_key(&self, destination: Destination) -> Option<&Secret> {
        self.injected(destination).map(|injected| &injected.bare)
    }

    /// Replaces one of the route's credentials by another in a prepared request.
    pub(super) fn exchange(&self, parts: &mut request::Parts, from: Destination, to: Destination) {
        // `Upgrade` is present in handshakes only.
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
            // The route's own subprotocols are the last ones.
            let mut kept: Vec<Vec<u8>> = list(&parts.headers, &SEC_WEBSOCKET_PROTOCOL).map(<[u8]>::to_vec).collect();
            kept.truncate(kept.len().saturating_sub(old.map_or(0, |old| old.offered().count())));
            offer(&mut parts.headers, kept.iter().map(Vec::as_slice), new);
        }
    }
}

/// The target without this parameter at its end.
fn without(target: &PathAndQuery, pair: &str) -> Result<PathAndQuery, Fault> {
    let before = target.as_str().strip_suffix(pair).filter(|_| !pair.is_empty());
    let Some(before) = before.and_then(|before| before.strip_suffix(['?', '&'])) else { return Ok(target.clone()) };
    PathAndQuery::try_from(before).map_err(|_| Fault::BadPath)
}

/// Writes `Sec-WebSocket-Protocol`: the client's remaining subprotocols, then the route's own.
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
    /// The subprotocols to offer: the announcing one, if any, and the secret.
    pub(crate) fn offered(&self) -> impl Iterator<Item = &[u8]> {
        self.word.iter().map(String::as_bytes).chain([self.token.reveal().as_bytes()])
    }
}

/// Where clients put keys among their subprotocols.
#[derive(Clone, Debug, Default)]
pub(crate) struct SubprotocolKeys {
    /// Prefixes of subprotocols whose rest is a key.
    prefixes: Vec<String>,
    /// Subprotocols that are followed by a key.
    words: Vec<String>,
}

/// What a subprotocol in a client's offer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// The name of a protocol.
    Protocol,
    /// The subprotocol that announces a key.
    Word,
    /// A key, from this byte on.
    Key(usize),
}

impl SubprotocolKeys {
    /// The rules of a profile.
    pub(crate) fn of(spec: &SecretsSpec) -> SubprotocolKeys {
        SubprotocolKeys { prefixes: spec.subprotocols.clone(), words: spec.subprotocol_pairs.clone() }
    }

    /// Adds the place of the route's own credentials.
    pub(super) fn with(&mut self, place: &SubprotocolPlace) {
        match place {
            SubprotocolPlace::Prefix(prefix) => self.prefixes.push(prefix.clone()),
            SubprotocolPlace::After(word) => self.words.push(word.clone()),
        }
    }

    /// Classifies each subprotocol of an offer.
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
