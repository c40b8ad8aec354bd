//! Sends a request, and retries it as often as its route allows.
//!
//! A failure is retried only if the route names its type and a retry may help, no part of a response has been sent to the client,
//! the body can be sent again, attempts are left, the wait is short enough and the route's retry budget allows it. Otherwise the
//! client gets the failure. The health of upstreams and accounts, and the retry policy, are in `upstreams`.

use super::context::RoutedContext;
use super::headers::Destination;
use super::idle::within;
use super::limits::BOUND;
use super::request_body::{ReplayBuffer, RequestBody};
use super::response::read;
use super::upstreams::{
    AccountGuard, Chosen, RouteHealth, UpstreamPass, bit, is_broken, may_help_elsewhere, policy, was_never_sent,
};
use super::{RouteRuntime, admit, errors, forward};
use crate::canon::{CanonicalError, Fault};
use crate::detect::Form;
use crate::telemetry::retries::Retry;
use crate::upstream::{Capped, Client, Exchange, Failure};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::Either;
use http::{Request, request};
use http_body::Frame;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::Instant as Moment;

/// A response that is not a failure.
pub(crate) struct Answer {
    /// The response, with its body still to be read.
    pub(crate) exchange: Exchange,
    /// The first frame of its body, if that was awaited, and its form, if that was determined for it.
    pub(crate) first: Option<Frame<Bytes>>,
    pub(crate) form: Option<Form>,
}

/// A failure to respond with.
pub(crate) enum Failed {
    /// The provider's failed response, which has been read, and its meaning if that was determined.
    Refused(http::response::Parts, Capped, Option<Box<CanonicalError>>),
    /// There was no response.
    Lost(Failure),
    /// Nothing was sent, because the circuits of all upstreams are open, for this long.
    Broken(Duration),
}

/// Sends a prepared request, as a WebSocket handshake if `upgrade`. Dropping the future cancels it at once, including waits.
///
/// # Errors
/// The failure to respond with.
pub(crate) fn send<'c>(
    client: &'c Client<RequestBody>,
    call: &'c mut RoutedContext,
    request: Request<RequestBody>,
    upgrade: bool,
) -> impl Future<Output = Result<Answer, Box<Failed>>> + Send + use<'c> {
    let sender = Sender { client, upgrade };
    // A preflight is tried once, and its response has no effect on the circuits.
    let health = call.route.health.clone().filter(|_| !call.is_preflight());
    let route = health.map(|health| (Arc::clone(&call.route), health));
    // Boxed, because most routes have neither retries nor a total timeout, and their requests should not reserve space for them.
    match (route, call.end) {
        (None, end) if call.followed.is_some() => {
            let sent = followed(sender, call, Box::new(request));
            match end {
                Some(end) => Either::Left(in_time(end, sent).boxed()),
                None => Either::Left(sent.boxed()),
            }
        }
        (None, None) => Either::Right(sender.once(call, request)),
        (None, Some(end)) => Either::Left(in_time(end, sender.once(call, request)).boxed()),
        (Some((route, health)), None) => Either::Left(try_often(sender, call, request, route, health).boxed()),
        (Some((route, health)), Some(end)) => {
            Either::Left(in_time(end, try_often(sender, call, request, route, health)).boxed())
        }
    }
}

/// The result of sending a request with a deadline.
async fn in_time(end: Moment, sent: impl Future<Output = Result<Answer, Box<Failed>>>) -> Result<Answer, Box<Failed>> {
    within(end, sent).await.unwrap_or_else(|fault| Err(Failed::lost(Failure::of(fault))))
}

/// Sends the request of a generation that is not retried, and waits for its first byte.
async fn followed(
    sender: Sender<'_>,
    call: &mut RoutedContext,
    request: Box<Request<RequestBody>>,
) -> Result<Answer, Box<Failed>> {
    sender.end(call, request, None).await.map_err(|(failed, error)| failed.meaning(error))
}

async fn try_often(
    sender: Sender<'_>,
    call: &mut RoutedContext,
    mut request: Request<RequestBody>,
    route: Arc<RouteRuntime>,
    health: Arc<RouteHealth>,
) -> Result<Answer, Box<Failed>> {
    health.budget.request(now());
    if health.probes_next(now()) {
        // A request that probes an open circuit makes others wait, so its body has to be complete first.
        let read = request.body_mut().read_ahead(BOUND).await;
        read.map_err(|fault| Failed::lost(Failure::of(fault)))?;
    }
    let Chosen { upstream, pass } =
        health.choose(health.first(now()), 0, now()).map_err(|wait| Box::new(Failed::Broken(wait)))?;
    let mut tries = Retries::new(health, &route, call.destination, request);
    call.destination.upstream = upstream;
    let mut ended = sender.end(call, tries.request(call.destination), pass).await;
    loop {
        let (failed, error) = match ended {
            Ok(answer) => {
                tries.body.settle();
                return Ok(answer);
            }
            Err(ended) => ended,
        };
        let Some(next) = tries.next(call, &error) else { return Err(failed.meaning(error)) };
        if let Some(guard) = &next.guard
            && admit::change_account(call, guard.index()).await.is_err()
        {
            return Err(failed.meaning(error));
        }
        let count = route.metrics.retry_begins();
        call.record_try(&error);
        tokio::time::sleep(next.wait).await;
        call.destination.upstream = next.chosen.upstream;
        if let Some(guard) = next.guard {
            call.uses(guard);
        }
        // A backoff that began in the meantime applies to this retry too, and one request probes at its end.
        if admit::go_again(call).is_err() {
            count.not_made(Retry::LongWait);
            return Err(failed.meaning(error));
        }
        drop(failed);
        ended = sender.end(call, tries.request(call.destination), next.chosen.pass).await;
        count.ends(ended.is_ok());
    }
}

impl Failed {
    fn lost(failure: Failure) -> Box<Failed> {
        Box::new(Failed::Lost(failure))
    }

    /// Adds its meaning, so that it is not determined twice.
    fn meaning(mut self: Box<Failed>, error: Box<CanonicalError>) -> Box<Failed> {
        if let Failed::Refused(_, _, known) = &mut *self {
            *known = Some(error);
        }
        self
    }
}

/// The outcome of one attempt: a response that is not a failure, or the failure and its meaning.
type Ended = Result<Answer, (Box<Failed>, Box<CanonicalError>)>;

/// Sends one attempt. Its request is boxed where it passes through several async functions, each of which has room for its arguments twice.
#[derive(Clone, Copy)]
struct Sender<'c> {
    client: &'c Client<RequestBody>,
    upgrade: bool,
}

impl<'c> Sender<'c> {
    fn send(
        self,
        call: &'c mut RoutedContext,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Exchange, Failure>> + Send + use<'c> {
        call.upstream.attempts += 1;
        call.counted = false;
        forward::send(self.client, call, request, self.upgrade)
    }

    /// Sends a request that is not retried.
    fn once(
        self,
        call: &'c mut RoutedContext,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Answer, Box<Failed>>> + Send + use<'c> {
        self.send(call, request).map(|sent| match sent {
            Ok(exchange) => Ok(Answer { exchange, first: None, form: None }),
            Err(failure) => Err(Failed::lost(failure)),
        })
    }

    /// Sends one attempt, and waits for the first bytes of a success, for a tracked generation no longer than its silence limit.
    async fn in_its_time(
        self,
        call: &mut RoutedContext,
        request: Box<Request<RequestBody>>,
    ) -> Result<Answer, Failure> {
        call.generation_begins();
        let Some(late) = call.followed.as_ref().and_then(|followed| followed.first_audio()) else {
            return self.begun(call, request).await;
        };
        tokio::select! {
            biased;
            begun = self.begun(call, request) => return begun,
            () = late.reached() => {}
        }
        let failure = Failure::of(Fault::AudioLate);
        match call.followed.as_ref().is_some_and(|followed| followed.has_answered()) {
            true => Err(failure),
            false => Err(forward::traced(call, Err(failure)).err().unwrap_or_else(|| Failure::of(Fault::AudioLate))),
        }
    }

    async fn begun(self, call: &mut RoutedContext, request: Box<Request<RequestBody>>) -> Result<Answer, Failure> {
        let mut exchange = self.send(call, *request).await?;
        if read::is_refusal(call, exchange.response.status(), exchange.response.headers()) {
            return Ok(Answer { exchange, first: None, form: None });
        }
        let (first, form) = read::first(call, &mut exchange.response).await?;
        Ok(Answer { exchange, first, form })
    }

    /// Sends one try and reads it if it failed. What it says about the upstream and the account is told to both.
    async fn end(
        self,
        call: &mut RoutedContext,
        request: Box<Request<RequestBody>>,
        pass: Option<UpstreamPass>,
    ) -> Ended {
        let (failed, error) = match self.in_its_time(call, request).await {
            Ok(Answer { exchange, first, form })
                if !read::is_refusal(call, exchange.response.status(), exchange.response.headers()) =>
            {
                report_outcome(call, pass, None);
                return Ok(Answer { exchange, first, form });
            }
            Ok(Answer { exchange, .. }) => {
                call.upstream.reconnected |= exchange.facts.retried;
                let (parts, body) = exchange.response.into_parts();
                let read = read::read_failure(call, &parts, body).await;
                let error = errors::classify(call, parts.status.as_u16(), &parts.headers, &read);
                (Failed::Refused(parts, read, None), error)
            }
            Err(failure) => lost(failure),
        };
        report_outcome(call, pass, Some(&error));
        call.generation_ends(Some(error.code));
        Err((Box::new(failed), Box::new(error)))
    }
}

fn lost(failure: Failure) -> (Failed, CanonicalError) {
    let error = CanonicalError::from_fault(errors::whose(&failure));
    (Failed::Lost(failure), error)
}

/// Shows an upstream whose circuit has opened as unavailable, whatever its last response was.
fn show_open(call: &RoutedContext) {
    let route = &call.route;
    let (health, upstream) = (route.health.as_ref(), call.destination.upstream);
    if health.is_some_and(|health| health.is_open(upstream, now()))
        && let Some(metrics) = route.upstreams.get(upstream)
    {
        metrics.is_up(false);
    }
}

/// Reports the outcome of an attempt to the circuit and the account. A response that is not a failure may still break off; the
/// circuit learns that at the end of the call.
fn report_outcome(call: &mut RoutedContext, pass: Option<UpstreamPass>, error: Option<&CanonicalError>) {
    match error {
        None => call.pass = pass.and_then(UpstreamPass::begun),
        Some(error) => {
            if let Some(pass) = pass {
                pass.ended(Some((error.code, error.origin, error.fault)), now());
                show_open(call);
            }
        }
    }
    if let Some(guard) = &mut call.guard {
        match error {
            Some(error) => guard.record_error(error),
            None => guard.accepted(),
        }
    }
}

/// The attempts of one call.
struct Retries<'a> {
    health: Arc<RouteHealth>,
    route: &'a RouteRuntime,
    /// The request as it was prepared, and the destination that it was prepared for.
    parts: request::Parts,
    prepared: Destination,
    body: ReplayBuffer,
    /// The upstreams that have been tried, as bits.
    tried: u64,
    began: Instant,
}

/// The next attempt.
struct Next {
    wait: Duration,
    chosen: Chosen,
    /// Another account than the last one.
    guard: Option<AccountGuard>,
}

impl<'a> Retries<'a> {
    fn new(
        health: Arc<RouteHealth>,
        route: &'a RouteRuntime,
        prepared: Destination,
        request: Request<RequestBody>,
    ) -> Retries<'a> {
        let (parts, upload) = request.into_parts();
        let body = upload.replayable(health.policy.attempts > 1);
        Retries { health, route, parts, prepared, body, tried: 0, began: now() }
    }

    /// The request for one attempt.
    fn request(&self, destination: Destination) -> Box<Request<RequestBody>> {
        let mut parts = self.parts.clone();
        if destination != self.prepared {
            self.route.headers.redirect(&mut parts, self.prepared, destination);
        }
        Box::new(Request::from_parts(parts, self.body.again()))
    }

    /// The next attempt after one that failed like this; none when there is to be none.
    fn next(&mut self, call: &RoutedContext, error: &CanonicalError) -> Option<Next> {
        let (health, now, last) = (&self.health, now(), call.destination.upstream);
        self.tried |= bit(last);
        if call.has_begun() {
            return None;
        }
        if error.fault.is_some_and(was_never_sent)
            && let Ok(chosen) = health.choose(last + 1, self.tried, now)
        {
            if !self.body.is_possible() {
                return self.not_made(Retry::LargeBody);
            }
            return Some(Next { wait: Duration::ZERO, chosen, guard: None });
        }
        let guard = may_help_elsewhere(error).then(|| self.other_account(now)).flatten();
        let wanted = guard.is_some() || health.policy.wants(error, health.upstreams());
        if !wanted || call.upstream.attempts >= health.policy.attempts {
            return None;
        }
        if !self.body.is_possible() {
            return self.not_made(Retry::LargeBody);
        }
        let broken = is_broken(error.code, error.origin);
        let chosen = health.choose(if broken { last + 1 } else { last }, 0, now).ok()?;
        let wait = if guard.is_some() || chosen.upstream != last {
            // An account that was refused is not used again, so there is no wait.
            Some(Duration::ZERO)
        } else {
            let left = self.route.config.timeouts.response.saturating_sub(now - self.began);
            policy::wait(error.retry_after, call.upstream.attempts, left, fastrand::f64())
        };
        let Some(wait) = wait else { return self.not_made(Retry::LongWait) };
        if !health.budget.retry(now) {
            return self.not_made(Retry::OverBudget);
        }
        Some(Next { wait, chosen, guard })
    }

    fn other_account(&self, now: Instant) -> Option<AccountGuard> {
        let accounts = &self.health.accounts;
        accounts.least_used(accounts.in_force(now), now)
    }

    fn not_made(&self, why: Retry) -> Option<Next> {
        self.route.metrics.retry(why);
        None
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
