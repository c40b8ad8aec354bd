//! Admission: the tenant's budgets in the fleet, the rates of the route, backoff, and then a slot.
//!
//! The order matters: a rate decides at once, and no request should wait for a slot only to be rejected by a rate. A rate's
//! charge is refunded when a later limit rejects the request.

use super::context::RoutedContext;
use super::limits::{self, Admission, Asked, Denied, Queued, Slot, Subject};
use super::request_body::RequestBody;
use super::stopping::{Notice, Stopping};
use super::tenants::{Begun, Watch};
use crate::canon::Fault;
use crate::limit::gate::AccountSet;
use http::request;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use tokio::time::Instant;

/// Asks every limit of the route. The call keeps what it was granted until it ends.
pub(crate) async fn admit(
    call: &mut RoutedContext,
    parts: &request::Parts,
    upload: &mut RequestBody,
    websocket: bool,
) -> Result<(), Denied> {
    if let Some(shared) = call.begun.as_ref().and_then(Begun::shared) {
        Box::pin(shared.catch_up()).await?;
    }
    let route = Arc::clone(&call.route);
    let limits = &route.limits;
    let credential = limits.credential(call.key(), parts);
    let address = call.client_address(&parts.headers);
    let path = call.upstream.limited_path();
    // The templates of its path are asked once, and only where somebody wants to know.
    let rule = (!websocket && (route.config.generations || limits.counts_audio()))
        .then(|| route.config.profile.generations(parts.method.as_str(), call.provider_path()))
        .flatten();
    let generation = rule.is_some();
    let method = parts.method.as_str();
    let provider_path = call.provider_path();
    let subject = Subject { method, path, provider_path, headers: &parts.headers, address, generation, credential };
    let ledger = limits.ledger(&subject, websocket);
    let begun = Instant::now();
    let charges = limits.charge(&subject, upload, begun).await?;
    call.ledger = ledger;
    if limits.reads_bodies() {
        call.waited(begun.elapsed());
    }
    let accounts =
        limits.free(limits.all_accounts().and(call.usable_accounts()), credential.key, call.upstream.limited_path())?;
    let accounts = match websocket {
        true => limits.may_open(accounts, credential.key, call.upstream.limited_path())?,
        false => accounts,
    };
    let tenant = call.tenant.as_ref().map(|identity| &*identity.tenant);
    let claim = limits.claim(limits::priority(&parts.headers, call.fields, tenant), tenant);
    let mut permit = None;
    let counted_inside = || route.config.profile.slots_inside(parts.method.as_str(), call.provider_path()).is_some();
    if limits.counts()
        && limits.takes_slot(websocket, counted_inside)
        && let Some(gate) = limits.gate(credential)
    {
        let asked = limits.asks_at(begun);
        permit = Some(match limits.ask(gate, claim, accounts, asked)? {
            Asked::Granted(granted) => {
                call.did_not_queue(asked);
                granted
            }
            Asked::Queued(queued) => {
                call.queues();
                let stopping = Arc::clone(&call.state.shared.stopping);
                // Boxed, because most calls need not wait.
                let granted = Box::pin(while_allowed(&mut call.watch, &stopping, waited(queued, upload))).await?;
                call.queued();
                upload.resume();
                granted
            }
        });
    }
    call.use_account(permit.as_ref().map_or(accounts, |permit| AccountSet::only(limits.account_of(permit))));
    let account = call.destination.account;
    call.admission = Admission::new(credential, claim, account);
    if limits.waits() {
        let (path, stopping) = (call.upstream.limited_path().to_owned(), Arc::clone(&call.state.shared.stopping));
        let body = async { upload.read_ahead(limits::BOUND).await.map(drop) };
        Box::pin(while_allowed(&mut call.watch, &stopping, limits.sets_out(&mut call.admission, &path, body))).await?;
    }
    call.admission.has(permit);
    let left = charges.keep();
    call.begun.take().into_iter().for_each(Begun::keep);
    if let Some(left) = left {
        call.set_remaining(*left);
    }
    if let Some(rule) = rule.filter(|_| route.config.generations) {
        call.follows(Arc::clone(rule), parts, upload);
    }
    Ok(())
}

/// Waits, unless the client's key becomes invalid or the gateway stops first: only clients that may call can wait in a queue.
async fn while_allowed<T>(
    watch: &mut Option<Watch>,
    stopping: &Arc<Stopping>,
    wait: impl Future<Output = Result<T, Denied>>,
) -> Result<T, Denied> {
    tokio::select! {
        biased;
        outcome = wait => outcome,
        fault = no_longer(watch, stopping) => Err(fault.into()),
    }
}

/// Completes when the client's key becomes invalid or the gateway stops.
pub(super) async fn no_longer(watch: &mut Option<Watch>, stopping: &Arc<Stopping>) -> Fault {
    let mut notice = Notice::default();
    poll_fn(|cx| match watch.as_mut().and_then(|watch| watch.poll(cx)) {
        Some(fault) => Poll::Ready(fault),
        None if notice.poll(stopping, cx) => Poll::Ready(Fault::ShuttingDown),
        None => Poll::Pending,
    })
    .await
}

/// Waits for a slot, unless the client disconnects first.
async fn waited(queued: Queued<'_>, upload: &mut RequestBody) -> Result<Slot, Denied> {
    tokio::select! {
        biased;
        granted = queued.granted() => granted,
        fault = left(upload) => Err(fault.into()),
    }
}

/// Completes when the client disconnects before its body is complete. Over HTTP/1 that goes unnoticed unless the body is read, so
/// a bounded part of it is read; after that, a disconnect is noticed only when the slot is granted.
async fn left(upload: &mut RequestBody) -> Fault {
    match upload.read_ahead(limits::BOUND).await {
        Ok(_) => std::future::pending().await,
        Err(fault) => fault,
    }
}

/// A retry with another account needs a slot of that account.
pub(crate) async fn change_account(call: &mut RoutedContext, account: usize) -> Result<(), Denied> {
    let Some(claim) = call.admission.moves(account) else { return Ok(()) };
    let route = Arc::clone(&call.route);
    let permit = route.limits.slot(call.admission.credential(), claim, AccountSet::only(account)).await?;
    call.admission.has(permit);
    Ok(())
}

/// A retry checks the backoff again.
pub(crate) fn go_again(call: &mut RoutedContext) -> Result<(), Denied> {
    let (route, path) = (Arc::clone(&call.route), call.upstream.limited_path().to_owned());
    route.limits.goes_again(&mut call.admission, &path)
}
