//! Pages of other origins in browsers (CORS, the Fetch standard).
//!
//! With `[server.cors]` or the `cors` of a route this gateway says which pages may call: it answers preflights, and what the
//! provider says of it is replaced. Without either the provider speaks for itself: preflights go on to it, past every limit, and
//! the gateway's own answers may be read by those pages that the provider has let read its own.

use super::headers::is_preflight;
use crate::config::types::Cors;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
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

/// Who calls from where.
#[derive(Debug)]
pub(super) struct Page {
    /// None when the request is of no page.
    origin: Option<HeaderValue>,
    /// What a preflight asks for.
    preflight: Option<Preflight>,
}

#[derive(Debug)]
struct Preflight {
    method: HeaderValue,
    headers: Option<HeaderValue>,
    private_network: bool,
}

impl Page {
    pub(super) fn of(parts: &request::Parts) -> Page {
        let field = |name: HeaderName| parts.headers.get(name).cloned();
        let preflight = is_preflight(&parts.method, &parts.headers).then(|| Preflight {
            method: field(ACCESS_CONTROL_REQUEST_METHOD).unwrap_or(HeaderValue::from_static("GET")),
            headers: field(ACCESS_CONTROL_REQUEST_HEADERS),
            private_network: field(REQUEST_PRIVATE_NETWORK).is_some_and(|asks| asks == "true"),
        });
        Page { origin: field(ORIGIN), preflight }
    }

    pub(super) fn is_preflight(&self) -> bool {
        self.preflight.is_some()
    }

    /// Whether these rules let it call. What is of no page is no matter of theirs.
    pub(super) fn is_allowed(&self, rules: &Cors) -> bool {
        self.origin.as_ref().is_none_or(|origin| allows(rules, origin))
    }

    /// Says in an answer that the page may read it, if the rules let it. Whatever the provider said of that is replaced.
    pub(super) fn allow(&self, rules: &Cors, headers: &mut HeaderMap) {
        let _ = headers.remove(ACCESS_CONTROL_ALLOW_ORIGIN);
        let _ = headers.remove(ACCESS_CONTROL_ALLOW_CREDENTIALS);
        let any = rules.origins.is_none();
        if !any {
            let _ = headers.append(VARY, HeaderValue::from_static("origin"));
        }
        let Some(origin) = self.origin.as_ref().filter(|origin| allows(rules, origin)) else { return };
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

fn allows(rules: &Cors, origin: &HeaderValue) -> bool {
    let named = |origins: &Vec<String>| origins.iter().any(|allowed| origin == allowed.as_str());
    rules.origins.as_ref().is_none_or(named)
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
