//! Sends a request as often as its route allows, until there is something to answer with.
//!
//! A failure is tried again only when the route names its type and another try may help, nothing of an answer has gone to the
//! caller, the body can be sent again, tries are left, the wait fits and the budget of the route allows. The failure itself
//! is answered otherwise. `rule` decides what, `standing` is what the route remembers, `accounts` its credentials.

mod accounts;
mod rule;
mod standing;

pub use accounts::AccountView;
pub(crate) use accounts::Stay;
pub(crate) use standing::Standing;
pub use standing::{StandingView, UpstreamView};

use super::context::RoutedContext;
use super::headers::Way;
use super::replay::Replay;
use super::upload::Upload;
use super::{Body, RouteRuntime, admit, errors, forward, response};
use crate::canon::CanonicalError;
use crate::limit::breaker::Pass;
use crate::telemetry::retries::Retry;
use crate::upstream::{Capped, Client, Exchange, Failure};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::Either;
use http::{Request, Response, request};
use http_body::Frame;
use rule::{is_broken, is_refused_account};
use standing::Chosen;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
    client: &'c Client<Upload>,
    call: &'c mut RoutedContext,
    request: Request<Upload>,
    upgrade: bool,
) -> impl Future<Output = Result<Answer, Box<Failed>>> + Send + use<'c> {
    let sender = Sender { client, upgrade };
    let route = call.route.standing.clone().map(|standing| (Arc::clone(&call.route), standing));
    match route {
        // Boxed, because most routes have nothing to try again, and their requests would carry it about.
        Some((route, standing)) => Either::Left(Box::pin(try_often(sender, call, request, route, standing))),
        None => Either::Right(sender.send(call, request).map(|sent| match sent {
            Ok(exchange) => Ok(Answer { exchange, first: None }),
            Err(failure) => Err(Failed::lost(failure)),
        })),
    }
}

async fn try_often(
    sender: Sender<'_>,
    call: &mut RoutedContext,
    request: Request<Upload>,
    route: Arc<RouteRuntime>,
    standing: Arc<Standing>,
) -> Result<Answer, Box<Failed>> {
    standing.budget.request(now());
    let Chosen { upstream, pass } = standing.choose(0, now()).map_err(|wait| Box::new(Failed::Broken(wait)))?;
    let tries = Tries::new(standing, &route, call.way, request);
    call.way.upstream = upstream;
    let mut ended = sender.end(call, tries.request(call.way), pass).await;
    loop {
        let (failed, error) = match ended {
            Ok(answer) => {
                tries.body.settle();
                return Ok(answer);
            }
            Err(ended) => ended,
        };
        let Some(next) = tries.next(call, &error) else { return Err(failed.meaning(error)) };
        if let Some(stay) = &next.stay
            && admit::change_account(call, stay.lane()).await.is_err()
        {
            return Err(failed.meaning(error));
        }
        drop(failed);
        let count = route.metrics.retry_begins();
        call.record_try(&error);
        tokio::time::sleep(next.wait).await;
        call.way.upstream = next.chosen.upstream;
        if let Some(stay) = next.stay {
            call.uses(stay);
        }
        ended = sender.end(call, tries.request(call.way), next.chosen.pass).await;
        count.ends(ended.is_ok());
    }
}

/// Answers a call with its failure.
pub(crate) fn answer(call: Box<RoutedContext>, failed: Failed) -> Response<Body> {
    match failed {
        Failed::Refused(parts, read, known) => response::refusal(call, parts, &read, known),
        Failed::Lost(failure) => response::failure(call, failure),
        Failed::Broken(wait) => {
            let finding = errors::Finding::circuit_open(call.phase, wait);
            response::reject(call, finding)
        }
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
    client: &'c Client<Upload>,
    upgrade: bool,
}

impl<'c> Sender<'c> {
    fn send(
        self,
        call: &'c mut RoutedContext,
        request: Request<Upload>,
    ) -> impl Future<Output = Result<Exchange, Failure>> + Send + use<'c> {
        call.upstream.attempts += 1;
        forward::send(self.client, call, request, self.upgrade)
    }

    /// Sends one try and reads it if it failed. What it says about the upstream and the account is told to both.
    async fn end(self, call: &mut RoutedContext, request: Request<Upload>, pass: Option<Pass>) -> Ended {
        let (failed, error) = match self.send(call, request).await {
            Ok(mut exchange) if exchange.response.status().as_u16() < 400 => {
                match response::first(call, &mut exchange.response).await {
                    Ok(first) => {
                        tell(call, pass, None);
                        return Ok(Answer { exchange, first });
                    }
                    Err(failure) => lost(failure),
                }
            }
            Ok(exchange) => {
                call.upstream.reconnected |= exchange.facts.retried;
                let (parts, body) = exchange.response.into_parts();
                let read = response::read_failure(call, &parts, body).await;
                let error = errors::classify(call, parts.status.as_u16(), &parts.headers, &read);
                (Failed::Refused(parts, read, None), error)
            }
            Err(failure) => lost(failure),
        };
        tell(call, pass, Some(&error));
        Err((Box::new(failed), Box::new(error)))
    }
}

fn lost(failure: Failure) -> (Failed, CanonicalError) {
    let error = CanonicalError::from_fault(errors::whose(&failure));
    (Failed::Lost(failure), error)
}

/// Tells the circuit and the account of a try how it ended.
fn tell(call: &mut RoutedContext, pass: Option<Pass>, error: Option<&CanonicalError>) {
    let broken = error.is_some_and(is_broken);
    // Of an upstream nothing is known when the caller left.
    let unanswered = error.is_some_and(|error| error.fault.is_some());
    match pass {
        Some(pass) if broken => pass.failed(now()),
        Some(pass) if !unanswered => pass.succeeded(),
        Some(_) | None => {}
    }
    if let Some(stay) = &mut call.stay {
        match error {
            Some(error) => stay.told(error),
            None => stay.accepted(),
        }
    }
}

/// The tries of one call.
struct Tries<'a> {
    standing: Arc<Standing>,
    route: &'a RouteRuntime,
    /// The request as it was prepared, and for which way.
    parts: request::Parts,
    prepared: Way,
    body: Replay,
    began: Instant,
}

/// The next try.
struct Next {
    wait: Duration,
    chosen: Chosen,
    /// Another account than the last one.
    stay: Option<Stay>,
}

impl<'a> Tries<'a> {
    fn new(standing: Arc<Standing>, route: &'a RouteRuntime, prepared: Way, request: Request<Upload>) -> Tries<'a> {
        let (parts, upload) = request.into_parts();
        let body = upload.kept(standing.rule.attempts > 1);
        Tries { standing, route, parts, prepared, body, began: now() }
    }

    /// The request of one try.
    fn request(&self, way: Way) -> Request<Upload> {
        let mut parts = self.parts.clone();
        if way != self.prepared {
            self.route.headers.redirect(&mut parts, self.prepared, way);
        }
        Request::from_parts(parts, self.body.again())
    }

    /// The next try after one that failed so; none when there is to be none.
    fn next(&self, call: &RoutedContext, error: &CanonicalError) -> Option<Next> {
        let (standing, now) = (&self.standing, now());
        let stay = is_refused_account(error).then(|| self.other_account(now)).flatten();
        let wanted = stay.is_some() || standing.rule.wants(error, standing.upstreams());
        if !wanted || call.upstream.attempts >= standing.rule.attempts || call.has_begun() {
            return None;
        }
        if !self.body.is_possible() {
            return self.not_made(Retry::LargeBody);
        }
        let last = call.way.upstream;
        let chosen = standing.choose(if is_broken(error) { last + 1 } else { last }, now).ok()?;
        let wait = if stay.is_some() || chosen.upstream != last {
            // Whoever refused is not asked again.
            Some(Duration::ZERO)
        } else {
            let left = self.route.route.timeouts.response.saturating_sub(now - self.began);
            rule::wait(error.retry_after, call.upstream.attempts, left, fastrand::f64())
        };
        let Some(wait) = wait else { return self.not_made(Retry::LongWait) };
        if !standing.budget.retry(now) {
            return self.not_made(Retry::OverBudget);
        }
        Some(Next { wait, chosen, stay })
    }

    fn other_account(&self, now: Instant) -> Option<Stay> {
        let accounts = &self.standing.accounts;
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
