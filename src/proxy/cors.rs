//! Pages of other origins in browsers (CORS, the Fetch standard).
//!
//! With `[server.cors]` or the `cors` of a route this gateway says which pages may call: it answers preflights, and what the
//! provider says of it is replaced. Without either the provider speaks for itself: preflights go on to it, past every limit, and
//! the gateway's own answers may be read by those pages that the provider has let read its own.
//!
//! A page needs nobody's leave to send what a form could send, nor to open a WebSocket. Where that would spend a key of the route's, the
//! request is turned away before anything is sent (`Page::is_turned_away`).

use super::headers::is_preflight;
use crate::config::types::Cors;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN, REFERER, VARY,
};
use http::request;
use std::sync::{Mutex, PoisonError};

const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// What pages may read of every answer, beside what is named in the configuration or by the provider.
const EXPOSED: &str = "x-request-id, x-error-code, x-error-type, x-should-retry, x-gateway-error, x-upstream-request-id, \
     x-speechgate-attempts, retry-after, ratelimit, ratelimit-policy, proxy-status";

/// Most origins of which it is remembered that a provider lets their pages read.
const REMEMBERED: usize = 32;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Marks an answer of the gateway's own: what is in its fields a provider may have sent as well.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own;

/// Who calls from where.
#[derive(Debug)]
pub(super) struct Page {
    /// None when the request is of no page.
    origin: Option<HeaderValue>,
    /// What a browser says of a request that it sends for a page without naming its origin: for a picture, a link, a form with GET.
    sent_for: Option<Sender>,
    /// Whether the page came from this gateway.
    own: bool,
    /// What a preflight asks for.
    preflight: Option<Preflight>,
}

/// A page of another origin, in its browser's words.
#[derive(Debug)]
struct Sender {
    /// Not even its registrable domain is this gateway's.
    cross_site: bool,
    /// Its origin, where its browser told its address.
    origin: Option<String>,
}

#[derive(Debug)]
struct Preflight {
    method: HeaderValue,
    headers: Option<HeaderValue>,
    private_network: bool,
}

/// What pages may do with a route.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lent<'c> {
    /// The rules of the operator.
    pub(super) rules: Option<&'c Cors>,
    /// Whether it puts keys into the requests of whoever calls, and nobody has said that the provider's word on pages is enough.
    pub(super) keys: bool,
}

impl Page {
    /// The page of a request to a gateway with these addresses.
    pub(super) fn of<'a>(parts: &request::Parts, addresses: impl Iterator<Item = &'a str>) -> Page {
        let field = |name: HeaderName| parts.headers.get(name).cloned();
        let preflight = is_preflight(&parts.method, &parts.headers).then(|| Preflight {
            method: field(ACCESS_CONTROL_REQUEST_METHOD).unwrap_or(HeaderValue::from_static("GET")),
            headers: field(ACCESS_CONTROL_REQUEST_HEADERS),
            private_network: field(REQUEST_PRIVATE_NETWORK).is_some_and(|asks| asks == "true"),
        });
        let origin = field(ORIGIN);
        let own =
            origin.as_ref().and_then(|origin| origin.to_str().ok()).is_some_and(|origin| is_own(origin, addresses));
        let sites = || parts.headers.get_all(SEC_FETCH_SITE).iter();
        let cross_site = sites().any(|site| site == "cross-site");
        let sent_for = (cross_site || sites().any(|site| site == "same-site")).then(|| Sender {
            cross_site,
            origin: field(REFERER).and_then(|referer| origin_of(referer.to_str().ok()?)),
        });
        Page { origin, sent_for, own, preflight }
    }

    pub(super) fn is_preflight(&self) -> bool {
        self.preflight.is_some()
    }

    /// Whether a request is not sent on for this page: a handshake, which browsers hold to no rules, of a page that the rules do not let
    /// call; and on a route that lends its keys, which not even reading the answer takes, whatever such a page sends. Without rules that
    /// is what browsers call cross-site.
    pub(super) fn is_turned_away(&self, lent: Lent<'_>, websocket: bool) -> bool {
        let Some(rules) = lent.rules else {
            return lent.keys && !self.is_preflight() && self.sent_for.as_ref().is_some_and(|page| page.cross_site);
        };
        match (&self.origin, &self.sent_for) {
            (Some(origin), _) => {
                (websocket || lent.keys) && !self.is_preflight() && !self.own && !allows(rules, origin.as_bytes())
            }
            (None, Some(page)) => {
                lent.keys
                    && !page.origin.as_ref().map_or(rules.origins.is_none(), |origin| allows(rules, origin.as_bytes()))
            }
            (None, None) => false,
        }
    }

    /// Says in an answer that the page may read it, if the rules let it. Whatever the provider said of that is replaced.
    pub(super) fn allow(&self, rules: &Cors, headers: &mut HeaderMap) {
        let _ = headers.remove(ACCESS_CONTROL_ALLOW_ORIGIN);
        let _ = headers.remove(ACCESS_CONTROL_ALLOW_CREDENTIALS);
        let any = rules.origins.is_none();
        if !any {
            let _ = headers.append(VARY, HeaderValue::from_static("origin"));
        }
        let Some(origin) = self.origin.as_ref().filter(|origin| allows(rules, origin.as_bytes())) else { return };
        let shown = if any { HeaderValue::from_static("*") } else { origin.clone() };
        let _ = headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, shown);
        if rules.credentials {
            let _ = headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        match &self.preflight {
            Some(preflight) => preflight.answer(rules, headers),
            None => expose(headers, rules.expose.as_ref()),
        }
    }

    /// The same where the provider speaks for itself: what it has let this page read tells what the page may read of this
    /// gateway's own answers.
    pub(super) fn follow(&self, readers: &Readers, own: bool, headers: &mut HeaderMap) {
        let Some(origin) = &self.origin else { return };
        if headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
            readers.saw(origin, headers);
        } else if own && !self.is_preflight() {
            readers.say(origin, headers);
        }
        if headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) && !self.is_preflight() {
            expose(headers, None);
        }
    }
}

impl Preflight {
    fn answer(&self, rules: &Cors, headers: &mut HeaderMap) {
        let vary = "access-control-request-method, access-control-request-headers";
        let _ = headers.append(VARY, HeaderValue::from_static(vary));
        let methods = rules.methods.clone().unwrap_or_else(|| self.method.clone());
        let _ = headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        let asked = rules.headers.clone().or_else(|| self.headers.clone());
        headers.extend(asked.map(|asked| (ACCESS_CONTROL_ALLOW_HEADERS, asked)));
        let _ = headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(rules.max_age.as_secs()));
        if self.private_network {
            let _ = headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
        }
    }
}

fn allows(rules: &Cors, origin: &[u8]) -> bool {
    let named = |origins: &Vec<String>| origins.iter().any(|allowed| origin == allowed.as_bytes());
    rules.origins.as_ref().is_none_or(named)
}

/// Whether an origin is that of the pages at one of these addresses. The scheme is left open: something in front may speak TLS.
fn is_own<'a>(origin: &str, mut addresses: impl Iterator<Item = &'a str>) -> bool {
    let Some((scheme, host)) = origin.split_once("://") else { return false };
    let usual = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => return false,
    };
    // Origins leave out the port that their scheme has anyway.
    addresses.any(|address| address.strip_suffix(usual).unwrap_or(address).eq_ignore_ascii_case(host))
}

/// The origin of an address.
fn origin_of(address: &str) -> Option<String> {
    let (scheme, rest) = address.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next().filter(|host| !host.is_empty())?;
    Some(format!("{scheme}://{host}"))
}

fn expose(headers: &mut HeaderMap, further: Option<&HeaderValue>) {
    let _ = headers.append(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    headers.extend(further.map(|further| (ACCESS_CONTROL_EXPOSE_HEADERS, further.clone())));
}

/// Which pages a provider has let read its answers.
#[derive(Debug, Default)]
pub(super) struct Readers(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The pages of every origin.
    all: bool,
    /// Those of some, and whether they may send cookies.
    some: Vec<(HeaderValue, bool)>,
}

impl Readers {
    fn saw(&self, origin: &HeaderValue, headers: &HeaderMap) {
        let Some(allowed) = headers.get(ACCESS_CONTROL_ALLOW_ORIGIN) else { return };
        let credentials = headers.get(ACCESS_CONTROL_ALLOW_CREDENTIALS).is_some_and(|word| word == "true");
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if allowed == "*" {
            known.all = true;
        } else if allowed == origin && !known.some.iter().any(|(there, _)| there == origin) {
            // The oldest makes room.
            let over = known.some.len().saturating_sub(REMEMBERED - 1);
            drop(known.some.drain(..over));
            known.some.push((origin.clone(), credentials));
        }
    }

    fn say(&self, origin: &HeaderValue, headers: &mut HeaderMap) {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let one = known.some.iter().find(|(there, _)| there == origin);
        if let Some((_, credentials)) = one {
            let _ = headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            let _ = headers.append(VARY, HeaderValue::from_static("origin"));
            if *credentials {
                let _ = headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            }
        } else if known.all {
            let _ = headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_this_gateway_s_own_at_any_of_its_addresses() {
        for (origin, addresses, own) in [
            ("http://gate.example:8080", &["gate.example:8080"][..], true),
            ("https://GATE.example", &["gate.example"], true),
            ("https://gate.example", &["gate.example:443"], true),
            ("http://gate.example", &["gate.example:80"], true),
            ("https://gate.example", &["10.0.0.1:8080", "gate.example"], true),
            ("http://[::1]:8080", &["[::1]:8080"], true),
            ("http://gate.example", &["gate.example:443"], false),
            ("https://gate.example.evil.example", &["gate.example"], false),
            ("https://evil.example", &["gate.example"], false),
            ("http://gate.example:8081", &["gate.example:8080"], false),
            ("null", &["null"], false),
            ("file://", &[""], false),
            ("https://gate.example", &[], false),
        ] {
            assert_eq!(is_own(origin, addresses.iter().copied()), own, "{origin} {addresses:?}");
        }
    }
}
