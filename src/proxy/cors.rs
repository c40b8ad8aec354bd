//! CORS: requests of web pages from other origins (the Fetch standard).
//!
//! With `[server.cors]` or a route's `cors` this gateway decides which pages may call: it answers preflights, and replaces the
//! provider's CORS headers. Without either the provider decides: preflights are forwarded without counting for any limit, and the
//! gateway's own responses can be read by the pages that the provider allowed to read its responses.
//!
//! Browsers let any page send simple requests, as from a form, and open WebSockets. Where that would use one of the route's own
//! keys, the request is rejected before anything is sent (`Page::is_turned_away`).

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

/// The header fields that pages may always read, beside the ones that the configuration or the provider names.
const EXPOSED: &str = "x-request-id, x-error-code, x-error-type, x-should-retry, x-gateway-error, x-upstream-request-id, \
     x-speechgate-attempts, retry-after, ratelimit, ratelimit-policy, proxy-status";

/// How many origins are remembered that a provider allowed to read its responses.
const REMEMBERED: usize = 32;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Marks a response of the gateway's own, which its fields alone would not show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own;

/// The page that sent a request.
#[derive(Debug)]
pub(super) struct Page {
    /// None when the request was not sent by a page.
    origin: Option<HeaderValue>,
    /// What the browser says about a request that it sends without an `Origin`: for an image, a link, a form with GET.
    sent_for: Option<Sender>,
    /// Whether the page was served by this gateway.
    own: bool,
    /// The request that a preflight announces.
    preflight: Option<Preflight>,
}

/// A page of another origin, as described by the browser.
#[derive(Debug)]
struct Sender {
    /// Whether not even its registrable domain is this gateway's.
    cross_site: bool,
    /// Its origin, if the browser sent its address.
    origin: Option<String>,
}

#[derive(Debug)]
struct Preflight {
    method: HeaderValue,
    headers: Option<HeaderValue>,
    private_network: bool,
}

/// What pages may do on a route.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lent<'c> {
    /// The configured rules.
    pub(super) rules: Option<&'c Cors>,
    /// Whether the route puts keys into the requests of any client, and the operator has not left the decision to the provider.
    pub(super) keys: bool,
}

impl Page {
    /// The page behind a request to a gateway with these addresses.
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

    /// Whether a request is rejected because of this page. That applies to a WebSocket handshake of a page that the rules do not
    /// allow, because browsers do not check those; and on a route with its own keys to any request of such a page, because
    /// sending it is enough to use the key. Without rules it applies to pages that browsers call cross-site.
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

    /// Allows the page to read the response, if the rules do. Replaces the provider's CORS headers.
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

    /// Like `allow`, where the provider decides: a page may read the gateway's own responses if the provider allowed it to read
    /// the provider's.
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

/// Whether an origin belongs to one of these addresses. The scheme is not compared, because a proxy in front may terminate TLS.
fn is_own<'a>(origin: &str, mut addresses: impl Iterator<Item = &'a str>) -> bool {
    let Some((scheme, host)) = origin.split_once("://") else { return false };
    let usual = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => return false,
    };
    // Origins leave out the default port of their scheme.
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

/// The pages that a provider has allowed to read its responses.
#[derive(Debug, Default)]
pub(super) struct Readers(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Whether pages of all origins may.
    all: bool,
    /// The origins that may, and whether they may send cookies.
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
            // Drops the oldest.
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
