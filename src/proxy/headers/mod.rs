//! Header fields of proxied messages: which requests are rejected, which fields are removed, which are added.
//!
//! [`check_request`] reads, [`prepare_request`] and [`prepare_response`] change the map in place.

mod check;
mod credentials;
mod fields;
mod id;
mod reference;
mod request;
mod response;
mod rewrite;
#[cfg(test)]
mod tests;
mod told;

pub use check::{Checked, HeadTooLarge, authority, check_request};
pub(crate) use check::{is_host, is_preflight, is_websocket, shown_method};
pub(crate) use credentials::{Offered, Subprotocol, SubprotocolKeys, offer};
pub use fields::Fields;
pub(crate) use id::{ATTEMPTS, TRACEPARENT, new_request_id, trace_parent, trace_state};
pub use id::{REQUEST_ID, UPSTREAM_REQUEST_ID, request_id};
pub(crate) use reference::Reference;
pub(crate) use request::{FORWARDED_FOR, accepts_problem, clean_trailers};
pub use request::{Outgoing, PeerHeaders, prepare_request};
pub use response::prepare_response;
pub(crate) use response::{prepare_beside, prepare_handshake};
pub use rewrite::{Incoming, PublicAddress};
pub(crate) use told::Told;

use crate::canon::Fault;
use crate::config::types::{HeaderChanges, Headers, Route, Upstream};
use crate::wire::urls::{self, Holds};
use credentials::Injected;
use http::header::{AUTHORIZATION, CONNECTION, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue};
use http::{Version, header};

/// What preparing the headers of a route's messages needs, derived once per configuration.
#[derive(Clone, Debug)]
pub struct RouteHeaders {
    /// The `Host` of each upstream.
    hosts: Vec<HeaderValue>,
    /// The credentials that the route injects, one into each request.
    credentials: Vec<Injected>,
    /// Headers that carry a key of this provider, `Authorization` among them.
    secrets: Vec<HeaderName>,
    /// Query parameters that carry secrets.
    query: Vec<String>,
    /// Query parameters that carry a client's own key; dropped if the route injects one.
    drop_query: Vec<String>,
    /// Where clients put keys among their subprotocols.
    subprotocols: SubprotocolKeys,
    /// Whether clients send gateway keys, which must never be forwarded.
    guards: bool,
    /// The header in which trusted peers name the tenant. It is never forwarded.
    tenant: Option<HeaderName>,
    /// The operator's changes to requests and responses.
    changes: Headers,
    /// The route's prefix, which is added to rewritten locations.
    prefix: String,
    /// The upstreams, to recognise the provider's own addresses in locations.
    upstreams: Vec<Upstream>,
    /// Response fields of this provider that contain a URL, beside the general ones.
    urls: Vec<HeaderName>,
}

/// Which upstream a request is sent to, and with which of the route's credentials, by their index in the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    /// The upstream.
    pub upstream: usize,
    /// The account whose credentials are used; meaningless on a route without any.
    pub account: usize,
    /// Whether it is sent without the route's credentials: a preflight counts for no limit, so it must not use the route's key.
    /// Determined once, from the client's fields, which change later.
    pub keyless: bool,
}

/// Query parameters that identify a session and are not the client's key: dropping them would break the session.
const SESSION_PARAMETERS: [&str; 2] = ["client_secret", "single_use_token"];

impl RouteHeaders {
    /// Derives the headers of a route.
    ///
    /// # Errors
    /// When the credentials are not a valid header value.
    pub fn new(route: &Route) -> Result<RouteHeaders, InvalidHeaderValue> {
        let spec = &route.profile.spec().secrets;
        let mut secrets: Vec<HeaderName> = spec.headers.iter().filter_map(|name| name.parse().ok()).collect();
        secrets.push(AUTHORIZATION);
        let mut query = spec.query.clone();
        let own_key = |name: &&String| !SESSION_PARAMETERS.iter().any(|session| name.eq_ignore_ascii_case(session));
        let mut drop_query: Vec<String> = spec.query.iter().filter(own_key).cloned().collect();
        let mut subprotocols = SubprotocolKeys::of(spec);
        for one in &route.credentials {
            secrets.extend(one.header.iter().filter(|name| !secrets.contains(name)).cloned().collect::<Vec<_>>());
            query.extend(one.query.clone());
            drop_query.extend(one.query.clone());
            one.subprotocol.iter().for_each(|place| subprotocols.with(place));
        }
        let hosts = route.upstreams.iter().map(|upstream| HeaderValue::from_str(upstream.authority.as_str()));
        Ok(RouteHeaders {
            hosts: hosts.collect::<Result<_, _>>()?,
            credentials: route.credentials.iter().map(Injected::new).collect::<Result<_, _>>()?,
            secrets,
            query,
            drop_query,
            subprotocols,
            guards: false,
            tenant: None,
            changes: route.headers.clone(),
            prefix: route.path.clone(),
            upstreams: route.upstreams.clone(),
            urls: route.profile.spec().url_headers.iter().filter_map(|name| name.parse().ok()).collect(),
        })
    }

    /// Sets whether clients have gateway keys, and the header in which trusted peers name the tenant.
    #[must_use]
    pub fn guarded(self, guards: bool, tenant: Option<HeaderName>) -> RouteHeaders {
        RouteHeaders { guards, tenant, ..self }
    }

    /// Whether clients have gateway keys.
    pub(crate) fn guards(&self) -> bool {
        self.guards
    }

    /// How a response field contains URLs; none when it contains none.
    pub(crate) fn holds(&self, name: &HeaderName) -> Option<Holds> {
        urls::holds(name).or_else(|| self.urls.contains(name).then_some(Holds::Url))
    }

    /// Whether the provider has further fields with URLs.
    fn has_urls(&self) -> bool {
        !self.urls.is_empty()
    }

    /// Where clients put keys among their subprotocols.
    pub(crate) fn subprotocol_places(&self) -> &SubprotocolKeys {
        &self.subprotocols
    }

    /// Changes a request that was prepared for one destination to another.
    pub(crate) fn redirect(&self, parts: &mut http::request::Parts, from: Destination, to: Destination) {
        if let Some(host) = self.hosts.get(to.upstream) {
            let _ = parts.headers.insert(header::HOST, host.clone());
        }
        self.exchange(parts, from, to);
        let base_path =
            |destination: Destination| self.upstreams.get(destination.upstream).map_or("", |at| at.base_path.as_str());
        if base_path(from) != base_path(to) {
            parts.uri = super::path::rebased(&parts.uri, base_path(from), base_path(to));
        }
    }

    /// The provider's keys in a request's headers.
    pub(crate) fn keys<'h>(&self, headers: &'h HeaderMap, fields: Fields) -> impl Iterator<Item = &'h HeaderValue> {
        let may_be = move |name: &&HeaderName| **name != AUTHORIZATION || fields.may_have(Fields::AUTHORIZATION);
        self.secrets.iter().filter(may_be).flat_map(|name| headers.get_all(name))
    }

    /// Applies the operator's changes to a response.
    pub(crate) fn change_response(&self, headers: &mut HeaderMap) {
        change(headers, &self.changes.response);
    }

    /// Applies only the operator's removals, for fields outside the head of a response.
    fn take_from_response(&self, headers: &mut HeaderMap) {
        remove(headers, &self.changes.response);
    }

    /// Query parameters that carry secrets.
    pub(crate) fn secret_query(&self) -> &[String] {
        &self.query
    }

    /// Query parameters to leave out of the upstream target: the client's own key, if the route injects one.
    #[must_use]
    pub fn drop_query(&self, websocket: bool) -> &[String] {
        let injects = self.credentials.iter().any(|one| one.applies(websocket));
        if injects { &self.drop_query } else { &[] }
    }
}

/// Removes and sets fields as the operator wants it.
fn change(headers: &mut HeaderMap, changes: &HeaderChanges) {
    remove(headers, changes);
    for (name, value) in &changes.set {
        headers.insert(name, value.clone());
    }
}

fn remove(headers: &mut HeaderMap, changes: &HeaderChanges) {
    for name in &changes.remove {
        headers.remove(name);
    }
}

/// This gateway's identity in `Via`, by which it recognises its own requests.
#[derive(Clone, Debug)]
pub struct Identity {
    instance: String,
    /// The values for a request received over HTTP/1.0, HTTP/1.1 and HTTP/2.
    via: [HeaderValue; 3],
}

impl Identity {
    /// `instance` identifies one process: letters and digits, long enough not to occur by chance.
    ///
    /// # Errors
    /// When it is not a valid header value.
    pub fn new(instance: &str) -> Result<Identity, InvalidHeaderValue> {
        let value = |protocol: &str| HeaderValue::try_from(format!("{protocol} speechgate ({instance})"));
        Ok(Identity { instance: instance.to_owned(), via: [value("1.0")?, value("1.1")?, value("2")?] })
    }

    /// This process's own id.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    fn via(&self, received: Version) -> HeaderValue {
        let [http10, http11, http2] = &self.via;
        match received {
            Version::HTTP_10 => http10.clone(),
            Version::HTTP_2 => http2.clone(),
            _ => http11.clone(),
        }
    }

    /// Rejects a request that has already passed through this gateway: a loop (RFC 9110 7.6.3).
    pub(crate) fn check_loop(&self, headers: &HeaderMap, fields: Fields) -> Result<(), Fault> {
        let own = self.instance.as_bytes();
        let seen = |via: &HeaderValue| memchr::memmem::find(via.as_bytes(), own).is_some();
        let again = fields.may_have(Fields::VIA) && headers.get_all(header::VIA).iter().any(seen);
        if again { Err(Fault::Loop) } else { Ok(()) }
    }
}

/// The elements of a list field over all its lines, without empty ones (RFC 9110 5.6.1).
pub(crate) fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// The fields that `Connection` names (RFC 9110 7.6.1), except those that must not be removed.
fn connection_listed(headers: &HeaderMap, fields: Fields, keep: impl Fn(&HeaderName) -> bool) -> Vec<HeaderName> {
    let usual = |option: &[u8]| {
        ["keep-alive", "close", "upgrade"].iter().any(|usual| option.eq_ignore_ascii_case(usual.as_bytes()))
    };
    // Nearly always it is one line with a usual value.
    if !fields.repeat(headers, CONNECTION) && headers.get(CONNECTION).is_none_or(|line| usual(line.as_bytes())) {
        return Vec::new();
    }
    list(headers, &CONNECTION)
        .filter(|option| !usual(option))
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| !keep(name))
        .collect()
}
