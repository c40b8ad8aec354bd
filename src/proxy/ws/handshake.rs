//! The opening handshake (RFC 6455 4): the client's offer, and validation of the provider's 101.
//!
//! The client's key is forwarded to the provider, so that the provider's response is valid for the client too. The response is
//! verified here as well, because bytes must not be tunnelled to a peer that does not speak WebSocket. Extensions are not offered
//! to the provider: messages that are compressed end to end could not be parsed, and errors in them would be missed.

use crate::proxy::gateway_key;
use crate::proxy::headers::{self, Offered, Subprotocol, SubprotocolKeys};
use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// The string that every server appends to the key (RFC 6455 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What the client offered.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    accept: String,
    /// The client's subprotocols. They may contain secrets.
    own: Vec<Vec<u8>>,
    /// The subprotocols that are forwarded to the provider.
    kept: Vec<Vec<u8>>,
    /// The subprotocol that tells the client that its key was accepted, if it offered one.
    stands_in: Option<Vec<u8>>,
}

impl Offer {
    /// Reads the offer from the request for the provider, and removes the extensions. On a route with credentials of its own, the
    /// client's keys are removed and the route's subprotocol is added; a gateway key is always removed. None without a
    /// `Sec-WebSocket-Key`.
    pub(super) fn of(
        headers: &mut HeaderMap,
        (keys, replaced): (&SubprotocolKeys, bool),
        guards: bool,
        injected: Option<&Subprotocol>,
    ) -> Option<Offer> {
        let _ = headers.remove(SEC_WEBSOCKET_EXTENSIONS);
        let accept = accept(headers.get(SEC_WEBSOCKET_KEY)?.as_bytes());
        let own: Vec<Vec<u8>> = headers::list(headers, &SEC_WEBSOCKET_PROTOCOL).map(<[u8]>::to_vec).collect();
        let read = keys.read(&own);
        let stands_in = read.iter().find(|(_, kind)| *kind != Offered::Protocol).map(|(one, _)| one.to_vec());
        let kept = read.iter().filter(|(_, kind)| !replaced || *kind == Offered::Protocol);
        let kept = kept.filter(|(one, _)| !guards || !gateway_key::has_key(one));
        let kept: Vec<Vec<u8>> = kept.map(|(one, _)| one.to_vec()).collect();
        if injected.is_some() || kept.len() < own.len() {
            headers::offer(headers, kept.iter().map(Vec::as_slice), injected);
        }
        Some(Offer { accept, own, kept, stands_in })
    }

    /// The client's keys in the offer.
    pub(super) fn secrets(&self, keys: &SubprotocolKeys) -> Vec<String> {
        keys.secrets(&self.own)
    }

    /// Checks that a 101 with these headers accepts the offer.
    ///
    /// # Errors
    /// What is wrong with it, for the log.
    pub(super) fn check(&self, headers: &HeaderMap, injected: Option<&Subprotocol>) -> Result<(), &'static str> {
        let names = |name: &HeaderName, token: &[u8]| {
            headers::list(headers, name).any(|element| element.eq_ignore_ascii_case(token))
        };
        if headers::list(headers, &UPGRADE).count() != 1 || !names(&UPGRADE, b"websocket") {
            return Err("101 without `upgrade: websocket`");
        }
        if !names(&CONNECTION, b"upgrade") {
            return Err("101 without `connection: upgrade`");
        }
        if one(headers, &SEC_WEBSOCKET_ACCEPT) != Some(self.accept.as_bytes()) {
            return Err("101 with a wrong or missing `sec-websocket-accept`");
        }
        if headers::list(headers, &SEC_WEBSOCKET_EXTENSIONS).next().is_some() {
            return Err("101 with an extension that was not offered");
        }
        if headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
            let chosen = one(headers, &SEC_WEBSOCKET_PROTOCOL).unwrap_or_default();
            let offered = self.kept.iter().any(|offered| offered == chosen)
                || injected.is_some_and(|injected| injected.offered().any(|offered| offered == chosen));
            if !offered {
                return Err("101 with a subprotocol that was not offered");
            }
        }
        Ok(())
    }

    /// Makes the provider's response fit the client's own offer, when the provider selected the route's subprotocol, or none
    /// because the client's only subprotocol was its key. The client must not see the route's, and its WebSocket library rejects
    /// one that it has not offered. It gets the subprotocol that the route's replaced, else the first that it offered, because
    /// some libraries reject a response without any.
    pub(super) fn answer(&self, headers: &mut HeaderMap, injected: Option<&Subprotocol>) {
        let chosen = one(headers, &SEC_WEBSOCKET_PROTOCOL);
        let is_theirs = chosen.is_some_and(|chosen| self.kept.iter().any(|kept| kept == chosen));
        let taken_out = self.kept.is_empty() && !self.own.is_empty();
        let is_ours = chosen
            .is_some_and(|chosen| injected.is_some_and(|injected| injected.offered().any(|offered| offered == chosen)));
        if is_theirs || !(is_ours || chosen.is_none() && taken_out) {
            return;
        }
        let chosen = self.stands_in.as_ref().or(self.own.first()).and_then(|own| HeaderValue::from_bytes(own).ok());
        match chosen {
            Some(chosen) => drop(headers.insert(SEC_WEBSOCKET_PROTOCOL, chosen)),
            None => drop(headers.remove(SEC_WEBSOCKET_PROTOCOL)),
        }
    }
}

/// The `Sec-WebSocket-Accept` for a key (RFC 6455 4.2.2).
pub(super) fn accept(key: &[u8]) -> String {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat());
    let mut text = String::with_capacity(28);
    for chunk in hash.as_ref().chunks(3) {
        let bytes = chunk.iter().fold(0, |bytes, byte| bytes << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = usize::try_from(bytes >> (18 - 6 * place) & 63).unwrap_or_default();
            text.push(if place > chunk.len() { '=' } else { char::from(BASE64[digit]) });
        }
    }
    text
}

/// The value of a field that may occur only once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none()).map(|line| line.as_bytes().trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let _ = headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn the_accept_value_is_that_of_the_rfc() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn only_a_response_that_matches_the_offer_is_accepted() {
        const UPGRADE: (&str, &str) = ("upgrade", "WebSocket");
        const CONNECTION: (&str, &str) = ("connection", "keep-alive, Upgrade");
        const ACCEPT: (&str, &str) = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let mut request = map(&[
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", "v1, token.abc"),
            ("sec-websocket-protocol", "v2"),
            ("sec-websocket-extensions", "permessage-deflate"),
        ]);
        let keys = keys(&["token."], &[]);
        let offer = Offer::of(&mut request, (&keys, false), false, None).expect("an offer");
        assert!(!request.contains_key("sec-websocket-extensions"));
        assert_eq!(offer.secrets(&keys), ["abc"]);
        for (fields, fits) in [
            (&[UPGRADE, CONNECTION, ACCEPT][..], true),
            (&[UPGRADE, CONNECTION, ACCEPT, ("sec-websocket-protocol", "v2")], true),
            (&[UPGRADE, CONNECTION, ACCEPT, ("sec-websocket-protocol", "V2")], false),
            (&[UPGRADE, CONNECTION, ACCEPT, ("sec-websocket-protocol", "v1, v2")], false),
            (&[UPGRADE, CONNECTION, ACCEPT, ("sec-websocket-protocol", "")], false),
            (&[UPGRADE, CONNECTION, ACCEPT, ("sec-websocket-extensions", "permessage-deflate")], false),
            (&[UPGRADE, CONNECTION, ACCEPT, ACCEPT], false),
            (&[UPGRADE, CONNECTION, ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOO=")], false),
            (&[UPGRADE, CONNECTION], false),
            (&[UPGRADE, ACCEPT], false),
            (&[CONNECTION, ACCEPT], false),
            (&[("upgrade", "h2c"), CONNECTION, ACCEPT], false),
            (&[("upgrade", "websocket, h2c"), CONNECTION, ACCEPT], false),
        ] {
            assert_eq!(offer.check(&map(fields), None).is_ok(), fits, "{fields:?}");
        }
        assert!(Offer::of(&mut HeaderMap::new(), (&keys, false), false, None).is_none());
    }

    #[test]
    fn an_injected_subprotocol_takes_the_place_of_the_client_s_and_is_not_shown() {
        let injected = Subprotocol { word: None, token: crate::config::secret::Secret::new("token.ours".to_owned()) };
        for (offered, sent, chosen, answered) in [
            (None, "token.ours", None, None),
            (None, "token.ours", Some("token.ours"), None),
            (Some("v1"), "v1, token.ours", Some("v1"), Some("v1")),
            (Some("v1"), "v1, token.ours", Some("token.ours"), Some("v1")),
            (Some("v1, token.own"), "v1, token.ours", Some("token.ours"), Some("token.own")),
            (Some("token.own"), "token.ours", Some("token.own"), None),
            (Some("v1"), "v1, token.ours", Some("v2"), None),
        ] {
            let mut request = map(&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]);
            if let Some(offered) = offered {
                let _ = request.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(offered));
            }
            let offer =
                Offer::of(&mut request, (&keys(&["token."], &[]), true), false, Some(&injected)).expect("an offer");
            assert_eq!(request.get(SEC_WEBSOCKET_PROTOCOL).map(HeaderValue::as_bytes), Some(sent.as_bytes()));
            let mut answer = map(&[
                ("upgrade", "websocket"),
                ("connection", "upgrade"),
                ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ]);
            if let Some(chosen) = chosen {
                let _ = answer.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(chosen));
            }
            let accepted = offer.check(&answer, Some(&injected)).is_ok();
            assert_eq!(accepted, !matches!(chosen, Some("token.own" | "v2")), "{offered:?} {chosen:?}");
            if accepted {
                offer.answer(&mut answer, Some(&injected));
                let shown = answer.get(SEC_WEBSOCKET_PROTOCOL).map(HeaderValue::as_bytes);
                assert_eq!(shown, answered.map(str::as_bytes), "{offered:?} {chosen:?}");
            }
        }
    }

    #[test]
    fn the_second_of_a_pair_is_a_secret_that_is_replaced_and_not_shown() {
        let known = keys(&[], &["token", "bearer"]);
        let ours = Subprotocol {
            word: Some("token".to_owned()),
            token: crate::config::secret::Secret::new("ours".to_owned()),
        };
        for (offered, hidden, sent, chosen, answered) in [
            ("token, theirs", &["theirs"][..], Some("token, ours"), Some("token"), Some("token")),
            // Some providers select the key itself.
            ("token, theirs", &["theirs"], Some("token, ours"), Some("ours"), Some("token")),
            ("Bearer, theirs", &["theirs"], Some("token, ours"), Some("token"), Some("Bearer")),
            ("v1, token, theirs, v2", &["theirs"], Some("v1, v2, token, ours"), Some("v2"), Some("v2")),
            ("token, token", &["token"], Some("token, ours"), Some("token"), Some("token")),
            ("token", &[], Some("token, token, ours"), Some("token"), Some("token")),
            ("v1", &[], Some("v1, token, ours"), Some("token"), Some("v1")),
        ] {
            let mut request = map(&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]);
            let _ = request.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(offered));
            let offer = Offer::of(&mut request, (&known, true), false, Some(&ours)).expect("an offer");
            assert_eq!(offer.secrets(&known), hidden, "{offered}");
            assert_eq!(request.get(SEC_WEBSOCKET_PROTOCOL).and_then(|sent| sent.to_str().ok()), sent, "{offered}");
            let mut answer = map(&[("upgrade", "websocket"), ("connection", "upgrade")]);
            let _ = answer.insert("sec-websocket-accept", HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
            if let Some(chosen) = chosen {
                let _ = answer.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(chosen));
            }
            assert_eq!(offer.check(&answer, Some(&ours)), Ok(()), "{offered}");
            offer.answer(&mut answer, Some(&ours));
            let shown = answer.get(SEC_WEBSOCKET_PROTOCOL).and_then(|shown| shown.to_str().ok());
            assert_eq!(shown, answered, "{offered}");
        }
    }

    #[test]
    fn a_key_among_subprotocols_goes_where_the_route_s_stands_in_a_header() {
        let known = keys(&["app-key."], &["token"]);
        for (offered, sent, answered) in [
            ("v1, app-key.theirs", Some("v1"), None),
            ("app-key.theirs", None, Some("app-key.theirs")),
            ("token, theirs", None, Some("token")),
        ] {
            let mut request = map(&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]);
            let _ = request.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(offered));
            let offer = Offer::of(&mut request, (&known, true), false, None).expect("an offer");
            assert_eq!(request.get(SEC_WEBSOCKET_PROTOCOL).and_then(|sent| sent.to_str().ok()), sent, "{offered}");
            // The provider selected no subprotocol.
            let mut answer = HeaderMap::new();
            offer.answer(&mut answer, None);
            let shown = answer.get(SEC_WEBSOCKET_PROTOCOL).and_then(|shown| shown.to_str().ok());
            assert_eq!(shown, answered, "{offered}");
        }
    }

    fn keys(prefixes: &[&str], words: &[&str]) -> SubprotocolKeys {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        SubprotocolKeys::of(&crate::canon::spec::SecretsSpec {
            subprotocols: texts(prefixes),
            subprotocol_pairs: texts(words),
            ..crate::canon::spec::SecretsSpec::default()
        })
    }
}
