//! Who calls: settled when the route is known, and before anything of the request is read or counted.

use super::context::RoutedContext;
use super::errors::Finding;
use super::headers;
use super::tenants::{self, Place, Sent};
use crate::canon::Fault;
use http::request;
use std::sync::Arc;
use std::time::SystemTime;

/// Finds out whose request it is, where clients have to show a key. What a browser asks before its page may is nobody's.
///
/// # Errors
/// Why it goes no further.
pub(super) fn authenticate(call: &mut RoutedContext, parts: &request::Parts) -> Result<(), Box<Finding<'static>>> {
    let state = Arc::clone(&call.state);
    if !state.tenants.ask() || headers::is_preflight(&parts.method, &parts.headers) {
        return Ok(());
    }
    let route = Arc::clone(&call.route);
    let admitted = match tenants::find(parts, call.fields, &route.headers) {
        Sent::Key(key, place) => {
            let admitted = state.tenants.admit(&key, &route.config.name, SystemTime::now());
            let misplaced = place == Place::Provider && route.config.credentials.is_empty();
            admitted.and_then(|identity| if misplaced { Err(Fault::ProviderKeyMissing) } else { Ok(identity) })
        }
        Sent::Other => Err(Fault::KeyUnknown),
        Sent::Nothing => Err(Fault::KeyMissing),
    };
    match admitted {
        Ok(identity) => {
            let limits = state.tenants.limits_of(&identity).map(Arc::clone);
            call.tenant = Some(identity);
            let begun = limits.map(|limits| limits.begin(tokio::time::Instant::now().into_std()));
            let begun = begun.transpose().map_err(|denied| Box::new(Finding::denied(call.phase, denied)))?;
            if let Some((left, begun)) = begun {
                call.begun = Some(begun);
                if !left.is_empty() {
                    call.has_left(left);
                }
            }
            Ok(())
        }
        Err(fault) => Err(Box::new(Finding::unauthenticated(call.phase, fault))),
    }
}
