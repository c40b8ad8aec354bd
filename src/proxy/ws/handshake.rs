//! The opening handshake (RFC 6455 4): what the client offered, and whether the provider's 101 is an answer to it.
//!
//! The client's key goes to the provider, so that the answer to it is good for the client too; it is checked here all the
//! same, because nothing may be forwarded on the word of something that does not speak WebSocket. Extensions are not offered
//! on: messages that were compressed end to end could not be read, and an error in them would be missed.

use crate::proxy::headers::{self, Subprotocol};
use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// What every server appends to the key (RFC 6455 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What the client offered.
#[derive(Debug)]
pub(super) struct Offer {
    accept: String,
    /// Its subprotocols. They may carry secrets.
    own: Vec<Vec<u8>>,
}

impl Offer {
    /// Reads the offer in the request for the provider, takes the extensions out of it, and puts the subprotocol of the
    /// route's credentials in. None without a key.
    pub(super) fn of(headers: &mut HeaderMap, injected: Option<&Subprotocol>) -> Option<Offer> {
        let _ = headers.remove(SEC_WEBSOCKET_EXTENSIONS);
        let accept = accept(headers.get(SEC_WEBSOCKET_KEY)?.as_bytes());
        let own: Vec<Vec<u8>> = headers::list(headers, &SEC_WEBSOCKET_PROTOCOL).map(<[u8]>::to_vec).collect();
        if injected.is_some() {
            headers::offer(headers, &own, injected);
        }
        Some(Offer { accept, own })
    }

    /// The secrets in subprotocols that begin with one of these.
    pub(super) fn secrets(&self, prefixes: &[String]) -> Vec<String> {
        let secret = |protocol: &Vec<u8>| {
            let protocol = str::from_utf8(protocol).ok()?;
            prefixes.iter().find_map(|prefix| protocol.strip_prefix(prefix.as_str())).map(str::to_owned)
        };
        self.own.iter().filter_map(secret).collect()
    }

    /// Whether a 101 with these headers is an answer to it.
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
            let own = |injected: &Subprotocol| chosen.starts_with(injected.prefix.as_bytes());
            let offered = match injected {
                Some(injected) if own(injected) => chosen == injected.token.reveal().as_bytes(),
                _ => self.own.iter().any(|offered| offered == chosen),
            };
            if !offered {
                return Err("101 with a subprotocol that was not offered");
            }
        }
        Ok(())
    }

    /// Makes an answer to the client's own offer of one that chose the route's subprotocol: the client must not see that, and
    /// its WebSocket library refuses what it has not offered. It gets the one that the route's stands in for, else the first
    /// of its own, because some libraries refuse an answer without any.
    pub(super) fn answer(&self, headers: &mut HeaderMap, injected: Option<&Subprotocol>) {
        let Some(injected) = injected else { return };
        if one(headers, &SEC_WEBSOCKET_PROTOCOL) != Some(injected.token.reveal().as_bytes()) {
            return;
        }
        let replaced = self.own.iter().find(|own| own.starts_with(injected.prefix.as_bytes()));
        let chosen = replaced.or(self.own.first()).and_then(|own| HeaderValue::from_bytes(own).ok());
        match chosen {
            Some(chosen) => drop(headers.insert(SEC_WEBSOCKET_PROTOCOL, chosen)),
            None => drop(headers.remove(SEC_WEBSOCKET_PROTOCOL)),
        }
    }
}

/// The answer to a key (RFC 6455 4.2.2).
fn accept(key: &[u8]) -> String {
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

/// The value of a field that may stand there once only.
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
    fn the_answer_to_the_key_is_that_of_the_rfc() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn only_an_answer_to_the_offer_is_accepted() {
        const UPGRADE: (&str, &str) = ("upgrade", "WebSocket");
        const CONNECTION: (&str, &str) = ("connection", "keep-alive, Upgrade");
        const ACCEPT: (&str, &str) = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let mut request = map(&[
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", "v1, token.abc"),
            ("sec-websocket-protocol", "v2"),
            ("sec-websocket-extensions", "permessage-deflate"),
        ]);
        let offer = Offer::of(&mut request, None).expect("an offer");
        assert!(!request.contains_key("sec-websocket-extensions"));
        assert_eq!(offer.secrets(&["token.".to_owned()]), ["abc"]);
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
        assert!(Offer::of(&mut HeaderMap::new(), None).is_none());
    }

    #[test]
    fn an_injected_subprotocol_takes_the_place_of_the_caller_s_and_is_not_shown() {
        let injected = Subprotocol {
            prefix: "token.".to_owned(),
            token: crate::config::secret::Secret::new("token.ours".to_owned()),
        };
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
            let offer = Offer::of(&mut request, Some(&injected)).expect("an offer");
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
}
