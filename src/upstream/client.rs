//! One request to one provider.

use super::body::{Body, Hold};
use super::connect::{Connector, Resolver};
use super::failure::{self, Evidence, Failure};
use super::message::{checked, for_http1, for_http2, is_idempotent};
use super::pool::{Lease, Origin, Pool, Sendable};
use super::shared::Share;
use super::tls::{Alpn, TlsShared};
use super::transport::Traffic;
use super::upload::{Upload, Watched};
use crate::canon::Fault;
use crate::config::types::{Protocol, Timeouts, Upstream};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
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

/// A call that brought no answer.
struct Lost<B> {
    failure: Failure,
    /// The request, if the connection had not begun to write it.
    unsent: Option<Box<Request<Watched<B>>>>,
    /// The provider said that it has not looked at the request.
    refused: bool,
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
    ) -> impl Future<Output = Result<Exchange, Failure>> + Send {
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
    ) -> impl Future<Output = Result<Exchange, Failure>> + Send {
        self.call(upstream, timeouts, request, true)
    }

    /// [`Client::send`] or [`Client::send_upgrade`], as a flag says.
    pub(crate) async fn call(
        &self,
        upstream: &Upstream,
        timeouts: &Timeouts,
        request: Request<B>,
        upgrade: bool,
    ) -> Result<Exchange, Failure> {
        let alpn = match upstream.protocol {
            _ if upgrade => Alpn::Http1,
            Protocol::Auto => Alpn::Any,
            Protocol::Http1 => Alpn::Http1,
            Protocol::Http2 => Alpn::Http2,
        };
        let origin = self.pool.origin(upstream);
        let now = Instant::now();
        let mut request = request.map(|body| Watched::new(body, now));
        let mut retried = false;
        loop {
            // What is rare is boxed: a call that finds its connection waiting, as most do, is small and cheap to move.
            let waiting = if retried { None } else { waiting(&origin, alpn, now) };
            let (line, connect) = match waiting {
                Some(line) => (line, None),
                None => {
                    let made = Box::pin(self.line(&origin, upstream, timeouts.connect, alpn, retried)).await?;
                    request.body().upload().handed_over();
                    made
                }
            };
            let mut facts = Facts { reused: connect.is_none(), retried, connect, http2: false, peer: None };
            let spare = if facts.reused { repeatable(&request, now) } else { None };
            let lost = match line {
                Line::Http1(lease) => {
                    facts.peer = lease.peer();
                    self.over_http1(&origin, lease, request, timeouts.response, upgrade).await
                }
                Line::Http2(share) => {
                    (facts.peer, facts.http2) = (share.peer, true);
                    Box::pin(over_http2(share, upstream, request, timeouts.response)).await
                }
            };
            let lost = match lost {
                Ok(response) => return Ok(Exchange { response, facts }),
                Err(lost) => lost,
            };
            request = match again(lost, spare, facts) {
                Ok(request) => request,
                Err(failure) => return Err(failure),
            };
            retried = true;
        }
    }

    /// A new connection and how long it took, or one that another call has made meanwhile.
    async fn line(
        &self,
        origin: &Arc<Origin<B>>,
        upstream: &Upstream,
        patience: Duration,
        alpn: Alpn,
        fresh: bool,
    ) -> Result<(Line<B>, Option<Duration>), Failure> {
        let deadline = Instant::now() + patience;
        // Where one connection will do for all, one makes it and the others wait for it.
        let turn = if alpn == Alpn::Http2 || (alpn == Alpn::Any && origin.speaks_http2()) {
            let turn = timeout_at(deadline, origin.connecting.lock())
                .await
                .map_err(|_| Failure::new(Fault::ConnectTimeout, "another call was connecting for too long"))?;
            if !fresh && let Some(line) = waiting(origin, alpn, Instant::now()) {
                return Ok((line, None));
            }
            Some(turn)
        } else {
            None
        };
        let made = self.connector.connect(upstream, alpn, deadline).await?;
        let line = if made.http2 {
            let share = origin.add_shared(&self.pool, made.transport, made.peer);
            let share = timeout_at(deadline, share)
                .await
                .map_err(|_| Failure::new(Fault::ConnectTimeout, "the HTTP/2 preface took too long"))?;
            share.map(Line::Http2)
        } else {
            origin.lend(&self.pool, made.transport, made.peer).await.map(Line::Http1)
        };
        drop(turn);
        match line {
            Ok(line) => Ok((line, Some(made.took))),
            Err(error) => Err(failure::of_preface(&error)),
        }
    }

    async fn over_http1(
        &self,
        origin: &Origin<B>,
        mut lease: Lease<B>,
        mut request: Request<Watched<B>>,
        patience: Duration,
        upgrade: bool,
    ) -> Result<Response<Body>, Lost<B>> {
        for_http1(&mut request);
        // A WebSocket relay wants to hear of failed writes; an upload may have an answer waiting behind them.
        lease.traffic().forgive_writes(!upgrade);
        let before = lease.traffic().read();
        let upload = Arc::clone(request.body().upload());
        let sent = lease.sender.try_send_request(request);
        let response = head(sent, &upload, patience, || (lease.traffic(), lease.traffic().read() != before)).await?;
        let response = checked(response, upgrade)?;
        let hold = lease.hold();
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            lease.give_back(&self.pool, origin);
        }
        Ok(response.map(|incoming| Body::new(incoming, upload, hold)))
    }
}

async fn over_http2<B: Sendable>(
    share: Share<B>,
    upstream: &Upstream,
    mut request: Request<Watched<B>>,
    patience: Duration,
) -> Result<Response<Body>, Lost<B>> {
    for_http2(&mut request, upstream);
    let Share { mut sender, stream, traffic, peer: _ } = share;
    let upload = Arc::clone(request.body().upload());
    // The bytes of a shared connection say nothing about one call on it.
    let response = head(sender.try_send_request(request), &upload, patience, || (&traffic, false)).await;
    if response.is_err() {
        upload.abandon();
    }
    let response = checked(response?, false)?;
    Ok(response.map(|incoming| Body::new(incoming, upload, Hold::Http2(stream))))
}

/// Waits for the head of an answer for as long as the provider may take.
async fn head<'a, B: Sendable>(
    sent: impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Watched<B>>>>>,
    upload: &Upload,
    patience: Duration,
    traffic: impl Fn() -> (&'a Traffic, bool),
) -> Result<Response<Incoming>, Lost<B>> {
    let mut sent = pin!(sent);
    let mut overdue = pin!(sleep_until(upload.overdue(patience)));
    let answer = loop {
        tokio::select! {
            biased;
            answer = &mut sent => break answer,
            // Whatever a provider sends that is no answer may use up the turn of this task.
            () = unconstrained(overdue.as_mut()) => {
                let later = upload.overdue(patience);
                if later <= Instant::now() {
                    return Err(Failure::new(Fault::ResponseTimeout, "no answer in time").into());
                }
                overdue.as_mut().reset(later);
            }
        }
    };
    answer.map_err(|mut error| {
        let unsent = error.take_message().map(Box::new);
        let error = error.into_error();
        let (traffic, answered) = traffic();
        let evidence = Evidence { upload, answered, write_failed: traffic.write_failed() };
        let refused = failure::was_refused(&error);
        Lost { failure: failure::of_head(&error, &evidence), unsent, refused }
    })
}

impl<B> From<Failure> for Lost<B> {
    fn from(failure: Failure) -> Lost<B> {
        Lost { failure, unsent: None, refused: false }
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

/// The request to send in place of one that was lost, or what to report.
fn again<B>(
    lost: Lost<B>,
    spare: Option<Box<Request<Watched<B>>>>,
    facts: Facts,
) -> Result<Request<Watched<B>>, Failure> {
    let Lost { failure, unsent, refused } = lost;
    if !facts.reused || facts.retried || failure.request_body.is_some() {
        return Err(failure);
    }
    if let Some(request) = unsent {
        return Ok(*request);
    }
    let silent = matches!(failure.fault, Fault::ConnectionClosed | Fault::RequestWriteFailed);
    match spare {
        Some(spare) if refused || (silent && is_idempotent(spare.method())) => Ok(*spare),
        _ => Err(failure),
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
