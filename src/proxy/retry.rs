//! Sends a request, and retries it as often as its route allows.
//!
//! A failure is retried only if the route names its type and another attempt may help, no part of a response has gone to the
//! client, the body can be sent again, attempts are left, the wait is short enough and the route's retry budget allows it.
//! Otherwise the client gets the failure. What the route remembers of its upstreams and accounts, and its policy, is in `upstreams`.

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

/// An answer that is no failure.
pub(crate) struct Answer {
    /// Its head, its body to come.
    pub(crate) exchange: Exchange,
    /// The first of its body, where that was waited for.
    pub(crate) first: Option<Frame<Bytes>>,
}

/// A failure that is answered.
pub(crate) enum Failed {
    /// The provider refused; its answer has been read, and may have been understood.
    Refused(http::response::Parts, Capped, Option<Box<CanonicalError>>),
    /// No answer came.
    Lost(Failure),
    /// Nothing was sent: every upstream of the route is left alone, for so long.
    Broken(Duration),
}

/// Sends a prepared request, as a WebSocket handshake if `upgrade`. Dropping this ends it at once, waits included.
///
/// # Errors
/// The failure to answer with.
pub(crate) fn send<'c>(
    client: &'c Client<RequestBody>,
    call: &'c mut RoutedContext,
    request: Request<RequestBody>,
    upgrade: bool,
) -> impl Future<Output = Result<Answer, Box<Failed>>> + Send + use<'c> {
    let sender = Sender { client, upgrade };
    // A preflight is nobody's: it is tried once, and its answer opens no circuit for those who have a key.
    let health = call.route.health.clone().filter(|_| !call.is_preflight());
    let route = health.map(|health| (Arc::clone(&call.route), health));
    // Boxed, because most routes have nothing to try again and no end, and their requests would carry it about.
    match (route, call.end) {
        (None, end) if call.followed.is_some() => {
            let sent = followed(sender, call, request);
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

/// What comes of sending a request that has to be over at the `end`.
async fn in_time(end: Moment, sent: impl Future<Output = Result<Answer, Box<Failed>>>) -> Result<Answer, Box<Failed>> {
    within(end, sent).await.unwrap_or_else(|fault| Err(Failed::lost(Failure::of(fault))))
}

/// Sends the request of a generation that is not tried again, and waits for its first byte.
async fn followed(
    sender: Sender<'_>,
    call: &mut RoutedContext,
    request: Request<RequestBody>,
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
        // Whoever tries an upstream again keeps the others waiting, so that its body has to be there.
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
        // A wait that began meanwhile binds this one as well, and one request tries at its end.
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

    /// The same with what it means, so that it is not asked again.
    fn meaning(mut self: Box<Failed>, error: Box<CanonicalError>) -> Box<Failed> {
        if let Failed::Refused(_, _, known) = &mut *self {
            *known = Some(error);
        }
        self
    }
}

/// How one try ended: with an answer that is no failure, or with what to answer and what it means.
type Ended = Result<Answer, (Box<Failed>, Box<CanonicalError>)>;

/// Sends one try.
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

    /// Sends a request that is not tried again.
    fn once(
        self,
        call: &'c mut RoutedContext,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Answer, Box<Failed>>> + Send + use<'c> {
        self.send(call, request).map(|sent| match sent {
            Ok(exchange) => Ok(Answer { exchange, first: None }),
            Err(failure) => Err(Failed::lost(failure)),
        })
    }

    /// Sends one try, and waits for the first bytes of a success; of a generation that is to be heard not for longer than it may be silent.
    async fn in_its_time(self, call: &mut RoutedContext, request: Request<RequestBody>) -> Result<Answer, Failure> {
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

    async fn begun(self, call: &mut RoutedContext, request: Request<RequestBody>) -> Result<Answer, Failure> {
        let mut exchange = self.send(call, request).await?;
        if read::is_refusal(call, exchange.response.status(), exchange.response.headers()) {
            return Ok(Answer { exchange, first: None });
        }
        let first = read::first(call, &mut exchange.response).await?;
        Ok(Answer { exchange, first })
    }

    /// Sends one try and reads it if it failed. What it says about the upstream and the account is told to both.
    async fn end(self, call: &mut RoutedContext, request: Request<RequestBody>, pass: Option<UpstreamPass>) -> Ended {
        let (failed, error) = match self.in_its_time(call, request).await {
            Ok(Answer { exchange, first })
                if !read::is_refusal(call, exchange.response.status(), exchange.response.headers()) =>
            {
                tell(call, pass, None);
                return Ok(Answer { exchange, first });
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
        tell(call, pass, Some(&error));
        call.generation_ends(Some(error.code));
        Err((Box::new(failed), Box::new(error)))
    }
}

fn lost(failure: Failure) -> (Failed, CanonicalError) {
    let error = CanonicalError::from_fault(errors::whose(&failure));
    (Failed::Lost(failure), error)
}

/// An upstream whose circuit has opened is shown as one that may not be used, whatever it answered last.
fn show_open(call: &RoutedContext) {
    let route = &call.route;
    let (health, upstream) = (route.health.as_ref(), call.destination.upstream);
    if health.is_some_and(|health| health.is_open(upstream, now()))
        && let Some(metrics) = route.upstreams.get(upstream)
    {
        metrics.is_up(false);
    }
}

/// Tells the circuit and the account of a try how it ended. An answer that is no failure may still break off: the circuit hears
/// of it with the call's end.
fn tell(call: &mut RoutedContext, pass: Option<UpstreamPass>, error: Option<&CanonicalError>) {
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

/// The tries of one call.
struct Retries<'a> {
    health: Arc<RouteHealth>,
    route: &'a RouteRuntime,
    /// The request as it was prepared, and for which way.
    parts: request::Parts,
    prepared: Destination,
    body: ReplayBuffer,
    /// The upstreams that have been tried, by their bits.
    tried: u64,
    began: Instant,
}

/// The next try.
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

    /// The request of one try.
    fn request(&self, destination: Destination) -> Request<RequestBody> {
        let mut parts = self.parts.clone();
        if destination != self.prepared {
            self.route.headers.redirect(&mut parts, self.prepared, destination);
        }
        Request::from_parts(parts, self.body.again())
    }

    /// The next try after one that failed so; none when there is to be none.
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
            // Whoever refused is not asked again.
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
