//! Authenticates a request, after it was routed and before any of its body is read or counted.

use super::context::RoutedContext;
use super::errors::Finding;
use super::gateway_key;
use super::tenants::{self, Place, Sent, TenantIdentity, Watch};
use crate::canon::{Fault, Phase};
use http::request;
use serde_json::Value;
use std::sync::Arc;
use std::time::SystemTime;

/// Identifies the tenant of a request, if clients need a key. A CORS preflight belongs to no tenant.
///
/// # Errors
/// The reason to reject it.
pub(super) fn authenticate(call: &mut RoutedContext, parts: &request::Parts) -> Result<(), Unknown> {
    if !call.state.tenants.ask() || call.is_preflight() {
        return Ok(());
    }
    match identify(call, parts) {
        Ok(identity) => begin(call, identity).map_err(|finding| Unknown { finding, may_follow: false }),
        Err(fault) => {
            let finding = Box::new(Finding::unauthenticated(call.phase, fault));
            Err(Unknown { finding, may_follow: fault == Fault::KeyMissing })
        }
    }
}

/// A client that could not be identified.
pub(super) struct Unknown {
    pub(super) finding: Box<Finding<'static>>,
    /// It has shown no key yet; on some WebSockets the key is in the first message.
    pub(super) may_follow: bool,
}

/// Identifies the tenant of a WebSocket by its first message, which has the gateway key in one of these members.
///
/// # Errors
/// The reason to reject it.
pub(super) fn authenticate_first(
    call: &mut RoutedContext,
    message: &[u8],
    members: &[String],
) -> Result<(), Box<Finding<'static>>> {
    let tree: Option<Value> = serde_json::from_slice(message).ok();
    let texts = members.iter().filter_map(|name| tree.as_ref()?.get(name)?.as_str()).filter(|text| !text.is_empty());
    let texts: Vec<&str> = texts.collect();
    let key = texts.iter().find_map(|text| gateway_key::key_in(text.as_bytes()));
    call.shown = key.as_deref().map(Arc::from);
    let admitted = match key {
        Some(key) => call.state.tenants.admit(&key, &call.route.config.name, SystemTime::now()),
        None if texts.is_empty() => Err(Fault::KeyMissing),
        None => Err(Fault::KeyUnknown),
    };
    match admitted {
        Ok(identity) => begin(call, identity),
        Err(fault) => Err(Box::new(Finding::unauthenticated(Phase::Frame, fault))),
    }
}

/// Identifies the tenant. A key takes precedence; a tenant that is named in another way must be the same.
fn identify(call: &mut RoutedContext, parts: &request::Parts) -> Result<TenantIdentity, Fault> {
    let (tenants, route, now) = (&call.state.tenants, &call.route, SystemTime::now());
    let sent = tenants::find(parts, call.fields, &route.headers);
    let shown = match &sent {
        Sent::Key(key, _) => Some(tenants.admit(key, &route.config.name, now)?),
        Sent::Other | Sent::Nothing => None,
    };
    let key = match &sent {
        Sent::Key(key, _) => Some(Arc::from(key.as_slice())),
        Sent::Other | Sent::Nothing => None,
    };
    let named = tenants.named(&parts.headers, &call.peer.subjects)?;
    let known = match (shown, named) {
        (Some(shown), Some(named)) if !shown.is_same(&named) => Err(Fault::TenantConflict),
        (Some(shown), _) => match sent {
            Sent::Key(_, Place::Provider) if route.config.credentials.is_empty() => Err(Fault::ProviderKeyMissing),
            _ => Ok(shown),
        },
        (None, Some(named)) => tenants.still(&named, &route.config.name, now).map(|()| named),
        (None, None) if sent == Sent::Nothing => Err(Fault::KeyMissing),
        (None, None) => Err(Fault::KeyUnknown),
    };
    call.shown = key;
    known
}

/// Assigns the call to this tenant, and counts it in the tenant's limits.
fn begin(call: &mut RoutedContext, identity: TenantIdentity) -> Result<(), Box<Finding<'static>>> {
    let state = Arc::clone(&call.state);
    let limits = state.tenants.limits_of(&identity).map(Arc::clone);
    let route = Arc::clone(&call.route.names.0);
    call.watch = Some(Watch::new(&state.shared.tenants, &state.tenants, identity.clone(), route));
    call.tenant = Some(identity);
    let begun = limits.map(|limits| limits.begin(tokio::time::Instant::now().into_std()));
    let begun = begun.transpose().map_err(|denied| Box::new(Finding::denied(call.phase, denied)))?;
    if let Some((left, begun)) = begun {
        call.begun = Some(begun);
        if !left.is_empty() {
            call.set_remaining(left);
        }
    }
    Ok(())
}
