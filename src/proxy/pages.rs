//! Which CORS rules apply to a request, and whether it is rejected because of the page that sent it.

use super::cors::{Lent, Own, Page};
use super::headers::{self, Fields};
use super::{RouteRuntime, State};
use crate::canon::Fault;
use crate::config::types::Cors;
use http::{Response, request};
use std::sync::Arc;

/// The addresses of this gateway as far as this request shows: the requested host, the host that a trusted proxy in front
/// reports, and the configured one.
pub(super) fn addresses(state: &State, parts: &request::Parts, fields: Fields) -> Vec<String> {
    let server = &state.config.server;
    let told = if server.trust_forwarded { headers::Told::of(&parts.headers, fields) } else { None };
    let asked = [headers::authority(parts), told.and_then(|told| told.authority)];
    let asked = asked.into_iter().flatten().filter_map(|authority| authority.to_str().map(str::to_owned).ok());
    let public = server.public_url.as_ref().and_then(http::Uri::authority);
    asked.chain(public.map(|authority| authority.as_str().to_owned())).collect()
}

/// The rules for a request without a route. The response to a preflight must not reveal that there is no route.
pub(super) fn rules_of_nowhere(state: &State, parts: &request::Parts, fields: Fields) -> Option<Arc<Cors>> {
    let rules = state.config.server.cors.as_ref()?;
    let authority = headers::authority(parts);
    let host = authority.as_ref().and_then(|authority| authority.to_str().ok());
    let sound = headers::check_request(parts, fields, state.config.server.max_target_bytes).is_ok();
    let is_nowhere = sound && matches!(state.table.resolve(host, parts.uri.path()), Err(Fault::RouteNotFound));
    is_nowhere.then(|| Arc::clone(rules))
}

/// The rules for a request of this route, and whether it is rejected because of its page.
pub(super) fn rules_for(
    state: &State,
    page: &Page,
    route: Option<&RouteRuntime>,
    parts: &request::Parts,
) -> (Option<Arc<Cors>>, bool) {
    let rules = route.map_or(&state.config.server.cors, |route| &route.config.cors).clone();
    let lent = Lent { rules: rules.as_deref(), keys: route.is_some_and(|route| lends_keys(state, route)) };
    let foreign = page.is_turned_away(lent, headers::is_websocket(parts));
    (rules, foreign)
}

/// Adds to a response what its page may read.
pub(super) fn add_cors<B>(page: &Page, rules: Option<&Cors>, route: Option<&RouteRuntime>, answer: &mut Response<B>) {
    let own = answer.extensions().get::<Own>().is_some();
    match (rules, route) {
        (Some(rules), _) => page.allow(rules, answer.headers_mut()),
        (None, Some(route)) => page.follow(&route.readers, own, answer.headers_mut()),
        (None, None) => {}
    }
}

/// Whether a route puts its keys into the requests of any client, so that only the origin of a page limits who uses them.
fn lends_keys(state: &State, route: &RouteRuntime) -> bool {
    let config = &route.config;
    let left_to_others = config.cors.is_none() && (config.cors_by_provider || state.config.server.authenticate);
    !(left_to_others || config.credentials.is_empty() && route.keys.is_empty())
}
