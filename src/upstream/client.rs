//! One request to one provider.

use super::body::{Body, Hold};
use super::connect::{Connector, Resolver};
use super::failure::{self, Evidence, Failure};
use super::message::{checked, for_http1, for_http2, is_idempotent};
use super::pool::{Lease, Origin, Pool, Sendable};
use super::shared::Share;
use super::tls::{Alpn, TlsShared};
use super::upload::{Upload, Watched};
use crate::canon::Fault;
use crate::config::types::{Protocol, Timeouts, Upstream};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Sends requests and keeps connections. One per worker thread; clones share the connections.
#[derive(Debug)]
pub struct Client<B> {
    connector: Arc<Connector>,
    pool: Arc<Pool<B>>,
}

/// An answer's head, its body to come, and how it came about.
#[derive(Debug)]
pub struct Exchange {
    /// The answer. Informational ones have gone to the request's `hyper::ext::on_informational`.
    pub response: Response<Body>,
    /// For logs and metrics.
    pub facts: Facts,
}

/// How an answer came about. For logs and metrics, not for callers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The connection had carried other calls before.
    pub reused: bool,
    /// A first try died with a reused connection before a byte of an answer had come, and was repeated.
    pub retried: bool,
    /// What resolving, connecting and TLS took, if that was needed.
    pub connect: Option<Duration>,
    /// HTTP/2 was spoken.
    pub http2: bool,
    /// The provider's address.
    pub peer: Option<SocketAddr>,
}

/// The connection a call goes out on.
enum Line<B> {
    Http1(Lease<B>),
    Http2(Share<B>),
}

/// What all tries of a call have in common.
struct Trip<'c, B> {
    client: &'c Client<B>,
    origin: Arc<Origin<B>>,
    alpn: Alpn,
    timeouts: Timeouts,
    upgrade: bool,
}

/// A request that has been handed to a connection.
struct Sent<B> {
    /// Boxed: it has room for the whole request, should that come back.
    answer: Pin<Box<dyn Future<Output = Answered<B>> + Send>>,
    line: Line<B>,
    /// Bytes that an HTTP/1.1 connection had brought before.
    before: u64,
    upload: Arc<Upload>,
    /// A copy to send again, if it may be.
    spare: Option<Box<Request<Watched<B>>>>,
    facts: Facts,
}

/// What hyper says of a request.
type Answered<B> = Result<Response<Incoming>, TrySendError<Request<Watched<B>>>>;

/// A call that brought no answer.
struct Lost<B> {
    failure: Failure,
    /// The request, where it may be sent again.
    again: Option<Box<Request<Watched<B>>>>,
}

impl<B> Clone for Client<B> {
    fn clone(&self) -> Client<B> {
        Client { connector: Arc::clone(&self.connector), pool: Arc::clone(&self.pool) }
    }
}

impl<B: Sendable> Client<B> {
    /// A client without connections.
    #[must_use]
    pub fn new(tls: Arc<TlsShared>) -> Client<B> {
        Client::with_resolver(tls, Resolver::default())
    }

    /// The same with another way to resolve names.
    #[must_use]
    pub fn with_resolver(tls: Arc<TlsShared>, resolver: Resolver) -> Client<B> {
        Client { connector: Arc::new(Connector::new(tls, resolver)), pool: Pool::new() }
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// The request has an origin-form target, which already carries the base path, and every header that the provider
    /// is to get, Host included. Its extensions are kept, `hyper::ext::on_informational` among them. Dropping the
    /// future cancels the call at once. A call is repeated once, on a new connection, if a reused connection died
    /// before a byte of an answer came and nothing can have happened twice: the request was not written at all, or
    /// its method is idempotent and its body empty, or the provider says that it has not looked at it.
    ///
    /// `timeouts.connect` spans DNS, TCP and TLS. `timeouts.response` runs from the last progress of the request
    /// body, so that a long upload is not cut; while the caller is the one who keeps us waiting, it does not run.
    ///
    /// # Errors
    /// The [`Failure`] says what happened, and carries the error of the request body if that was it.
    pub fn send(
        &self,
        upstream: &Upstream,
        timeouts: &Timeouts,
        request: Request<B>,
    ) -> impl Future<Output = Result<Exchange, Failure>> + Send + use<'_, B> {
        self.call(upstream, timeouts, request, false)
    }

    /// The same for a request that asks to upgrade: on HTTP/1.1 whatever the provider's protocol. After a 101, the
    /// response goes to `hyper::upgrade::on`; any other answer is an ordinary one.
    ///
    /// # Errors
    /// As for [`Client::send`].
    pub fn send_upgrade(
        &self,
        upstream: &Upstream,
        timeouts: &Timeouts,
        request: Request<B>,
    ) -> impl Future<Output = Result<Exchange, Failure>> + Send + use<'_, B> {
        self.call(upstream, timeouts, request, true)
    }

    /// [`Client::send`] or [`Client::send_upgrade`], as a flag says.
    ///
    /// A call that finds a connection waiting, as most do, is sent here and now. What waits for its answer carries no request
    /// about and is small, as whatever is rare is boxed: each function on the way moves it.
    pub(crate) fn call<'c>(
        &'c self,
        upstream: &Upstream,
        timeouts: &Timeouts,
        request: Request<B>,
        upgrade: bool,
    ) -> impl Future<Output = Result<Exchange, Failure>> + Send + use<'c, B> {
        let alpn = match upstream.protocol {
            _ if upgrade => Alpn::Http1,
            Protocol::Auto => Alpn::Any,
            Protocol::Http1 => Alpn::Http1,
            Protocol::Http2 => Alpn::Http2,
        };
        let trip = Trip { client: self, origin: self.pool.origin(upstream), alpn, timeouts: *timeouts, upgrade };
        let now = Instant::now();
        let request = request.map(|body| Watched::new(body, now));
        let begun = match waiting(&trip.origin, alpn, now) {
            Some(line) => {
                let spare = repeatable(&request, now);
                Ok(trip.begin(line, request, spare, Facts { reused: true, ..Facts::default() }))
            }
            None => Err(Box::new(request)),
        };
        async move {
            let sent = match begun {
                Ok(sent) => sent,
                Err(request) => Box::pin(trip.connect(request, false)).await?,
            };
            match sent.answer(&trip).await {
                Ok(exchange) => Ok(exchange),
                Err(Lost { failure, again: None }) => Err(failure),
                Err(Lost { again: Some(request), .. }) => Box::pin(trip.again(request)).await,
            }
        }
    }
}

impl<B: Sendable> Trip<'_, B> {
    /// Sends a request over a new connection, or over one that another call has made meanwhile.
    async fn connect(&self, request: Box<Request<Watched<B>>>, retried: bool) -> Result<Sent<B>, Failure> {
        let (line, connect) = self.line(retried).await?;
        request.body().upload().handed_over();
        let reused = connect.is_none();
        let spare = if reused { repeatable(&request, Instant::now()) } else { None };
        let facts = Facts { reused, retried, connect, ..Facts::default() };
        Ok(self.begin(line, *request, spare, facts))
    }

    /// Sends a request once more.
    async fn again(&self, request: Box<Request<Watched<B>>>) -> Result<Exchange, Failure> {
        let sent = self.connect(request, true).await?;
        sent.answer(self).await.map_err(|lost| lost.failure)
    }

    /// A new connection and how long it took, or one that another call has made meanwhile.
    async fn line(&self, fresh: bool) -> Result<(Line<B>, Option<Duration>), Failure> {
        let Trip { origin, alpn, client: Client { connector, pool }, .. } = self;
        let deadline = Instant::now() + self.timeouts.connect;
        // Where one connection will do for all, one makes it and the others wait for it.
        let turn = if *alpn == Alpn::Http2 || (*alpn == Alpn::Any && origin.speaks_http2()) {
            let turn = timeout_at(deadline, origin.connecting.lock())
                .await
                .map_err(|_| Failure::new(Fault::ConnectTimeout, "another call was connecting for too long"))?;
            if !fresh && let Some(line) = waiting(origin, *alpn, Instant::now()) {
                return Ok((line, None));
            }
            Some(turn)
        } else {
            None
        };
        let made = connector.connect(&origin.upstream, *alpn, deadline).await?;
        let line = if made.http2 {
            let share = origin.add_shared(pool, made.transport, made.peer);
            let share = timeout_at(deadline, share)
                .await
                .map_err(|_| Failure::new(Fault::ConnectTimeout, "the HTTP/2 preface took too long"))?;
            share.map(Line::Http2)
        } else {
            origin.lend(pool, made.transport, made.peer).await.map(Line::Http1)
        };
        drop(turn);
        match line {
            Ok(line) => Ok((line, Some(made.took))),
            Err(error) => Err(failure::of_preface(&error)),
        }
    }

    /// Hands a request to a connection.
    fn begin(
        &self,
        mut line: Line<B>,
        mut request: Request<Watched<B>>,
        spare: Option<Box<Request<Watched<B>>>>,
        facts: Facts,
    ) -> Sent<B> {
        let upload = Arc::clone(request.body().upload());
        let (answer, before, facts): (Pin<Box<dyn Future<Output = _> + Send>>, _, _) = match &mut line {
            Line::Http1(lease) => {
                for_http1(&mut request);
                // A WebSocket relay wants to hear of failed writes; an upload may have an answer waiting behind them.
                lease.traffic().forgive_writes(!self.upgrade);
                let (before, peer) = (lease.traffic().read(), lease.peer());
                (Box::pin(lease.sender.try_send_request(request)), before, Facts { peer, ..facts })
            }
            Line::Http2(share) => {
                for_http2(&mut request, &self.origin.upstream);
                let peer = share.peer;
                (Box::pin(share.sender.try_send_request(request)), 0, Facts { peer, http2: true, ..facts })
            }
        };
        Sent { answer, line, before, upload, spare, facts }
    }
}

impl<B: Sendable> Sent<B> {
    /// Waits for the head of the answer for as long as the provider may take.
    async fn answer(mut self, trip: &Trip<'_, B>) -> Result<Exchange, Lost<B>> {
        let response = self.head(trip.timeouts.response).await;
        if response.is_err() && matches!(self.line, Line::Http2(_)) {
            self.upload.abandon();
        }
        let Sent { line, upload, facts, .. } = self;
        let response = checked(response?, trip.upgrade)?;
        let hold = match line {
            Line::Http1(lease) => {
                let hold = lease.hold();
                if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                    lease.give_back(&trip.client.pool, &trip.origin);
                }
                hold
            }
            Line::Http2(share) => Hold::Http2(share.stream),
        };
        Ok(Exchange { response: response.map(|incoming| Body::new(incoming, upload, hold)), facts })
    }

    async fn head(&mut self, patience: Duration) -> Result<Response<Incoming>, Lost<B>> {
        let mut overdue = pin!(sleep_until(self.upload.overdue(patience)));
        let answered = loop {
            tokio::select! {
                biased;
                answered = &mut self.answer => break answered,
                // Whatever a provider sends that is no answer may use up the turn of this task.
                () = unconstrained(overdue.as_mut()) => {
                    let later = self.upload.overdue(patience);
                    if later <= Instant::now() {
                        return Err(Failure::new(Fault::ResponseTimeout, "no answer in time").into());
                    }
                    overdue.as_mut().reset(later);
                }
            }
        };
        answered.map_err(|error| self.lost(error))
    }

    /// What to report of a request that brought no answer, or what to send in its place.
    fn lost(&mut self, mut error: TrySendError<Request<Watched<B>>>) -> Lost<B> {
        // There if the connection had not begun to write it.
        let unsent = error.take_message().map(Box::new);
        let error = error.into_error();
        let (traffic, answered) = match &self.line {
            Line::Http1(lease) => (lease.traffic(), lease.traffic().read() != self.before),
            // The bytes of a shared connection say nothing about one call on it.
            Line::Http2(share) => (&*share.traffic, false),
        };
        let evidence = Evidence { upload: &self.upload, answered, write_failed: traffic.write_failed() };
        let failure = failure::of_head(&error, &evidence);
        if !self.facts.reused || self.facts.retried || failure.request_body.is_some() {
            return failure.into();
        }
        let silent = matches!(failure.fault, Fault::ConnectionClosed | Fault::RequestWriteFailed);
        // The provider may have said that it has not looked at the request.
        let refused = failure::was_refused(&error);
        let spare = self.spare.take().filter(|spare| refused || (silent && is_idempotent(spare.method())));
        Lost { failure, again: unsent.or(spare) }
    }
}

impl<B> From<Failure> for Lost<B> {
    fn from(failure: Failure) -> Lost<B> {
        Lost { failure, again: None }
    }
}

/// A connection that waits for a call like this.
fn waiting<B: Sendable>(origin: &Origin<B>, alpn: Alpn, now: Instant) -> Option<Line<B>> {
    let shared = || origin.share().map(Line::Http2);
    let lent = || origin.check_out(now).map(Line::Http1);
    match alpn {
        Alpn::Http1 => lent(),
        Alpn::Http2 => shared(),
        Alpn::Any if origin.speaks_http2() => shared().or_else(lent),
        Alpn::Any => lent().or_else(shared),
    }
}

/// A copy to send again. None if there is a body: it is gone once it has been sent.
fn repeatable<B: Sendable>(request: &Request<Watched<B>>, now: Instant) -> Option<Box<Request<Watched<B>>>> {
    if !http_body::Body::is_end_stream(request.body()) {
        return None;
    }
    let mut copy = Request::new(Watched::empty(now));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(Box::new(copy))
}
