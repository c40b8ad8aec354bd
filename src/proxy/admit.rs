//! Whether a request may go out now: first its rates, then a pause that the provider asked for, then a slot.
//!
//! In this order, because a rate is asked at once, and nobody should wait for a slot only to be refused with it. What a rate
//! was charged is given back when one of the others refuses.

use super::context::RoutedContext;
use super::limits::{self, Admission, Asked, Caller, Denied, Turn};
use super::upload::Upload;
use crate::canon::Fault;
use crate::limit::gate::{Lanes, Permit};
use http::request;
use std::sync::Arc;
use tokio::time::Instant;

/// Asks every limit of the route; what the call is given, it has to its end.
pub(crate) async fn admit(
    call: &mut RoutedContext,
    parts: &request::Parts,
    upload: &mut Upload,
    websocket: bool,
) -> Result<(), Denied> {
    let route = Arc::clone(&call.route);
    let limits = &route.limits;
    let credential = limits.credential(&route, call.key(), parts);
    let address = call.client_address(&parts.headers);
    let path = limits::below_prefix(&route.route, call.provider_path());
    let caller = Caller { method: parts.method.as_str(), path, headers: &parts.headers, address, credential };
    let begun = Instant::now();
    let charges = limits.charge(&caller, &route, upload, begun).await?;
    if limits.reads_bodies() {
        call.waited(begun.elapsed());
    }
    let path = limits::below_prefix(&route.route, call.provider_path());
    let mut held = limits.free(limits.lanes().and(call.usable_accounts()), credential, path)?;
    let priority = limits::priority(&parts.headers, call.fields);
    let mut permit = None;
    let counted_inside = || route.route.profile.socket_units(parts.method.as_str(), call.provider_path()).is_some();
    if let Some(gate) = limits.gate()
        && limits.takes_slot(websocket, counted_inside)
    {
        let granted = match limits::ask(&route, gate, priority, held.lanes, begun)? {
            Asked::Granted(granted) => {
                call.did_not_queue(begun);
                granted
            }
            Asked::Waits(turn) => {
                call.queues();
                // Boxed: most calls wait for nothing.
                let granted = Box::pin(waited(turn, upload)).await?;
                call.queued();
                upload.resume();
                granted
            }
        };
        // The provider may have asked for a pause in the meantime.
        if !held.is_probe() {
            let path = limits::below_prefix(&route.route, call.provider_path());
            held = limits.free(Lanes::only(granted.lane()), credential, path)?;
        }
        permit = Some(granted);
    }
    call.use_account(permit.as_ref().map_or(held.lanes, |permit| Lanes::only(permit.lane())));
    let lane = call.way.credential;
    call.admission = Admission::new(credential, priority, lane);
    call.admission.has(permit, held.probe_of(lane));
    charges.keep();
    Ok(())
}

/// Waits for a slot, unless the caller leaves before.
async fn waited(turn: Turn<'_>, upload: &mut Upload) -> Result<Permit, Denied> {
    tokio::select! {
        biased;
        granted = turn.comes() => granted,
        fault = left(upload) => Err(fault.into()),
    }
}

/// Until the caller leaves in the middle of its body. Over HTTP/1 nobody else notices while the body is not read, so that some
/// of it is: one that has sent as much as that and leaves before the rest is found out when its turn comes.
async fn left(upload: &mut Upload) -> Fault {
    match upload.read_ahead(limits::BOUND).await {
        Ok(_) => std::future::pending().await,
        Err(fault) => fault,
    }
}

/// A call that tries again with another account needs a slot of that one.
pub(crate) async fn change_account(call: &mut RoutedContext, lane: usize) -> Result<(), Denied> {
    let Some(priority) = call.admission.moves(lane) else { return Ok(()) };
    let route = Arc::clone(&call.route);
    let permit = limits::slot(&route, priority, Lanes::only(lane)).await?;
    call.admission.has(permit, None);
    Ok(())
}
