//! One request to one provider.

use super::body::{Body, Lifeline};
use super::connect::{Connector, Resolver};
use super::exchange::{Exchange, Facts};
use super::failure::{self, Evidence, Failure};
use super::http2::Http2Handle;
use super::message::{checked, for_http1, for_http2, is_idempotent};
use super::pool::{Http1Handle, Origin, Pool};
use super::send_progress::{SendProgress, Sendable, TrackedBody};
use super::tls::{Alpn, TlsShared};
use super::warm::Connections;
use crate::canon::Fault;
use crate::config::types::{Protocol, Timeouts, Upstream};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use std::future::Future;
use std::pin::Pin;
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

/// The connection a call goes out on.
enum Connection<B> {
    Http1(Http1Handle<B>),
    Http2(Http2Handle<B>),
}

/// What all attempts of a call have in common.
struct CallContext<'c, B> {
    client: &'c Client<B>,
    origin: Arc<Origin<B>>,
    alpn: Alpn,
    timeouts: Timeouts,
    kind: Kind,
}

/// What a request needs of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whatever the provider speaks.
    Plain,
    /// HTTP/1.1, to become something else.
    Upgrade,
    /// HTTP/2, on a connection that carries calls of gRPC alone.
    Grpc,
}

/// A request that has been handed to a connection.
struct InFlight<B> {
    /// Boxed, because hyper's future has room for the whole request in case it comes back.
    answer: Pin<Box<dyn Future<Output = Answered<B>> + Send>>,
    connection: Connection<B>,
    /// Bytes that an HTTP/1.1 connection had brought before.
    before: u64,
    progress: Arc<SendProgress>,
    /// A copy to send again, if it may be.
    spare: Option<Box<Request<TrackedBody<B>>>>,
    facts: Facts,
}

/// What hyper gives for a request.
type Answered<B> = Result<Response<Incoming>, TrySendError<Request<TrackedBody<B>>>>;

/// An attempt that brought no answer.
struct FailedAttempt<B> {
    failure: Failure,
    /// The request, where it may be sent again.
    again: Option<Box<Request<TrackedBody<B>>>>,
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
        Client { connector: Arc::new(Connector::new(tls, resolver)), pool: Pool::new(None) }
    }

    /// A client of a worker, which takes warm connections where there are some.
    #[must_use]
    pub fn sharing(tls: Arc<TlsShared>, connections: Arc<Connections>) -> Client<B> {
        connections.add_worker();
        Client { connector: Arc::new(Connector::new(tls, Resolver::default())), pool: Pool::new(Some(connections)) }
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// The request has an origin-form target, which already carries the base path, and every header that the provider
    /// is to get, Host included. Its extensions are kept, `hyper::ext::on_informational` among them. Dropping the
    /// future cancels the call at once.
    ///
    /// A request is sent again, on a new connection, where nothing can have happened twice. Once, if a reused connection
    /// died before a byte of an answer came, and the request was not written at all or its method is idempotent and its
    /// body empty. Up to twice, if the provider says over HTTP/2 that it has not processed the request, and what was sent
    /// of its body is still there.
    ///
    /// `timeouts.connect` spans DNS, TCP and TLS. `timeouts.response` runs from the last progress of the request
    /// body, so that a long upload is not cut; while the client is the one that keeps the provider waiting, it does not run.
    ///
    /// # Errors
    /// The [`Failure`] says what happened, and carries the error of the request body if that was it.
    pub fn send(
        &self,
        upstream: &Upstream,
        timeouts: &Timeouts,
        request: Request<B>,
    ) -> impl Future<Output = Result<Exchange, Failure>> + Send + use<'_, B> {
        self.call(upstream, timeouts, request, Kind::Plain)
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
        self.call(upstream, timeouts, request, Kind::Upgrade)
    }

    /// [`Client::send`] or [`Client::send_upgrade`], or a call of gRPC: on HTTP/2, by prior knowledge where there is no TLS.
    ///
    /// A call that finds a pooled connection, as most do, is sent at once, before the future is made. That future holds no
    /// request and boxes whatever is rare, because each function that returns it moves it.
    pub(crate) fn call<'c>(
        &'c self,
        upstream: &Upstream,
        timeouts: &Timeouts,
        request: Request<B>,
        kind: Kind,
    ) -> impl Future<Output = Result<Exchange, Failure>> + Send + use<'c, B> {
        let alpn = match upstream.protocol {
            _ if kind == Kind::Upgrade => Alpn::Http1,
            _ if kind == Kind::Grpc => Alpn::Http2,
            Protocol::Auto => Alpn::Any,
            Protocol::Http1 => Alpn::Http1,
            Protocol::Http2 => Alpn::Http2,
        };
        let context = CallContext { client: self, origin: self.pool.origin(upstream), alpn, timeouts: *timeouts, kind };
        let now = Instant::now();
        let request = request.map(|body| TrackedBody::new(body, now));
        let begun = match context.pooled(now) {
            Some(connection) => Ok(context.begin(connection, request, 1, None)),
            None => Err(Box::new(request)),
        };
        async move {
            let in_flight = match begun {
                Ok(in_flight) => in_flight,
                Err(request) => Box::pin(context.connect(request, 1)).await?,
            };
            match in_flight.answer(&context).await {
                Ok(exchange) => Ok(exchange),
                Err(FailedAttempt { failure, again: None }) => Err(failure),
                Err(FailedAttempt { again: Some(request), .. }) => Box::pin(context.again(request)).await,
            }
        }
    }
}

impl<B: Sendable> CallContext<'_, B> {
    /// A pooled connection that suits a call like this.
    fn pooled(&self, now: Instant) -> Option<Connection<B>> {
        let origin = &self.origin;
        let http2 = || origin.acquire_http2(now, self.kind == Kind::Grpc).map(Connection::Http2);
        let http1 = || origin.check_out(now).map(Connection::Http1);
        match self.alpn {
            Alpn::Http1 => http1(),
            Alpn::Http2 => http2(),
            Alpn::Any if origin.speaks_http2() => http2().or_else(http1),
            Alpn::Any => http1().or_else(http2),
        }
    }

    /// Sends a request over a new connection, or over one that another call has made meanwhile. Attempts count from one.
    async fn connect(&self, request: Box<Request<TrackedBody<B>>>, attempt: u8) -> Result<InFlight<B>, Failure> {
        let (connection, connect) = self.connection(attempt > 1).await?;
        request.body().progress().handed_over();
        Ok(self.begin(connection, *request, attempt, connect))
    }

    /// Sends a request again, and once more if the provider says again that it has not processed it.
    async fn again(&self, mut request: Box<Request<TrackedBody<B>>>) -> Result<Exchange, Failure> {
        let mut attempt = 2;
        loop {
            match self.connect(request, attempt).await?.answer(self).await {
                Ok(exchange) => return Ok(exchange),
                Err(FailedAttempt { failure, again: None }) => return Err(failure),
                Err(FailedAttempt { again: Some(again), .. }) => request = again,
            }
            attempt += 1;
        }
    }

    /// A new connection and how long it took, or one that was made before: a warm one, or by another call meanwhile.
    async fn connection(&self, fresh: bool) -> Result<(Connection<B>, Option<Duration>), Failure> {
        let CallContext { origin, alpn, client: Client { connector, pool }, .. } = self;
        let deadline = Instant::now() + self.timeouts.connect;
        // Where one connection serves many calls, one call makes it and the others wait for it.
        let guard = if *alpn == Alpn::Http2 || (*alpn == Alpn::Any && origin.expects_http2()) {
            let guard = timeout_at(deadline, origin.connecting.lock())
                .await
                .map_err(|_| Failure::new(Fault::ConnectTimeout, "another call was connecting for too long"))?;
            if !fresh && let Some(connection) = self.pooled(Instant::now()) {
                return Ok((connection, None));
            }
            Some(guard)
        } else {
            None
        };
        let (made, took) = match origin.take_warm(*alpn, fresh) {
            Some(warm) => (warm, None),
            None => {
                let made = connector.connect(&origin.upstream, *alpn, deadline).await?;
                let took = made.took;
                (made, Some(took))
            }
        };
        let transport = origin.counted(made.transport);
        let connection = if made.http2 {
            let handle = origin.add_http2(pool, transport, made.peer, self.kind == Kind::Grpc);
            let handle = timeout_at(deadline, handle)
                .await
                .map_err(|_| Failure::new(Fault::ConnectTimeout, "the HTTP/2 preface took too long"))?;
            handle.map(Connection::Http2)
        } else {
            origin.add_http1(pool, transport, made.peer).await.map(Connection::Http1)
        };
        drop(guard);
        match connection {
            Ok(connection) => Ok((connection, took)),
            Err(error) => Err(failure::of_preface(&error)),
        }
    }

    /// Hands a request to a connection, which took `connect` to make if it is new.
    fn begin(
        &self,
        mut connection: Connection<B>,
        mut request: Request<TrackedBody<B>>,
        attempt: u8,
        connect: Option<Duration>,
    ) -> InFlight<B> {
        let facts = Facts { reused: connect.is_none(), retried: attempt > 1, connect, ..Facts::default() };
        let may_be_repeated = match &connection {
            Connection::Http1(_) => facts.reused && may_be_repeated_in_silence(&request),
            Connection::Http2(_) => attempt < MOST_ATTEMPTS,
        };
        let spare = if may_be_repeated { copy(&mut request) } else { None };
        let progress = Arc::clone(request.body().progress());
        let (answer, before, facts): (Pin<Box<dyn Future<Output = _> + Send>>, _, _) = match &mut connection {
            Connection::Http1(handle) => {
                for_http1(&mut request);
                // A WebSocket relay has to learn of failed writes; behind those of an upload an answer may be waiting.
                handle.traffic().forgive_writes(self.kind != Kind::Upgrade);
                handle.traffic().request_begins();
                let (before, peer) = (handle.traffic().read(), handle.peer());
                (Box::pin(handle.sends.sender.try_send_request(request)), before, Facts { peer, ..facts })
            }
            Connection::Http2(handle) => {
                for_http2(&mut request, &self.origin.upstream);
                let peer = handle.peer;
                (Box::pin(handle.sender.try_send_request(request)), 0, Facts { peer, http2: true, ..facts })
            }
        };
        InFlight { answer, connection, before, progress, spare, facts }
    }
}

impl<B: Sendable> InFlight<B> {
    /// Waits for the head of the answer for as long as the provider may take.
    async fn answer(mut self, context: &CallContext<'_, B>) -> Result<Exchange, FailedAttempt<B>> {
        let response = self.head(context.timeouts.response).await;
        if response.is_err() && matches!(self.connection, Connection::Http2(_)) {
            self.progress.abandon();
        }
        let InFlight { connection, progress, facts, .. } = self;
        let response = checked(response?, context.kind == Kind::Upgrade)?;
        let lifeline = match connection {
            Connection::Http1(handle) => {
                let lifeline = Lifeline::Http1(Arc::clone(handle.connection()), handle.connection().call());
                if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                    handle.give_back(&context.client.pool, &context.origin);
                }
                lifeline
            }
            Connection::Http2(handle) => {
                handle.stream.answered();
                Lifeline::Http2(handle.stream)
            }
        };
        Ok(Exchange { response: response.map(|incoming| Body::new(incoming, progress, lifeline)), facts })
    }

    async fn head(&mut self, patience: Duration) -> Result<Response<Incoming>, FailedAttempt<B>> {
        let InFlight { answer, connection, progress, .. } = self;
        let begun = progress.overdue(patience);
        let mut own = None;
        let timer = match connection {
            Connection::Http1(handle) => {
                handle.sends.timer.as_mut().reset(begun);
                &mut handle.sends.timer
            }
            Connection::Http2(_) => own.insert(Box::pin(sleep_until(begun))),
        };
        let answered = loop {
            tokio::select! {
                biased;
                answered = &mut *answer => break answered,
                // What a provider sends that is no answer may use up the budget that tokio gives this task.
                () = unconstrained(timer.as_mut()) => {
                    let later = progress.overdue(patience);
                    if later <= Instant::now() {
                        return Err(Failure::new(Fault::ResponseTimeout, "no answer in time").into());
                    }
                    timer.as_mut().reset(later);
                }
            }
        };
        answered.map_err(|error| self.failed(error))
    }

    /// What to report of a request that brought no answer, or what to send again.
    fn failed(&mut self, mut error: TrySendError<Request<TrackedBody<B>>>) -> FailedAttempt<B> {
        // There if the connection had not begun to write it.
        let unsent = error.take_message().map(Box::new);
        let error = error.into_error();
        let (traffic, answered) = match &self.connection {
            Connection::Http1(handle) => (handle.traffic(), handle.traffic().read() != self.before),
            // The bytes of a shared connection say nothing about one call on it.
            Connection::Http2(handle) => (&*handle.traffic, false),
        };
        let evidence = Evidence { progress: &self.progress, answered, write_failed: traffic.write_failed() };
        let failure = failure::of_head(&error, &evidence);
        if failure.request_body.is_some() {
            return failure.into();
        }
        // A reused connection that dies without a word has most likely been closed before the request reached the provider.
        let died = self.facts.reused && !self.facts.retried;
        let silent = died && matches!(failure.fault, Fault::ConnectionClosed | Fault::RequestWriteFailed);
        let refused = failure::was_refused(&error);
        let unsent = unsent.filter(|_| died);
        let spare = self.spare.take().filter(|spare| {
            // The whole body may have been there when the copy was made, and more of it been sent since than is kept.
            spare.body().is_complete() && (refused || (silent && may_be_repeated_in_silence(spare)))
        });
        FailedAttempt { failure, again: unsent.or(spare) }
    }
}

impl<B> From<Failure> for FailedAttempt<B> {
    fn from(failure: Failure) -> FailedAttempt<B> {
        FailedAttempt { failure, again: None }
    }
}

/// Whether a request may be sent again although the provider may have processed it.
fn may_be_repeated_in_silence<B: Sendable>(request: &Request<TrackedBody<B>>) -> bool {
    is_idempotent(request.method()) && http_body::Body::is_end_stream(request.body())
}

/// A copy to send again. None if the body is too large to be kept.
fn copy<B: Sendable>(request: &mut Request<TrackedBody<B>>) -> Option<Box<Request<TrackedBody<B>>>> {
    let body = request.body_mut().again(Instant::now())?;
    let mut copy = Request::new(body);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(Box::new(copy))
}

/// How often a request is sent whose provider says each time that it has not processed it.
const MOST_ATTEMPTS: u8 = 3;
