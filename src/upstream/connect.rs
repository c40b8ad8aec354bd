//! From a provider's name to a connected byte stream: DNS, TCP, TLS under one deadline.

use super::failure::{self, Failure};
use super::tls::{Alpn, TlsShared, server_name};
use super::transport::Transport;
use crate::canon::Fault;
use crate::config::types::Upstream;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

type Lookup = Pin<Box<dyn Future<Output = io::Result<Resolved>> + Send>>;

/// Where a name leads.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// Its addresses, the best first.
    pub addresses: Vec<SocketAddr>,
    /// How long they hold, as far as the resolver tells. The system's does not.
    pub ttl: Option<Duration>,
}

/// How names become addresses. The default asks the system; tests bring their own.
#[derive(Clone)]
pub struct Resolver(Arc<dyn Fn(String, u16) -> Lookup + Send + Sync>);

impl Resolver {
    /// A resolver that calls `lookup` with host and port, and does not tell how long what it finds holds.
    pub fn new<F, R>(lookup: F) -> Resolver
    where
        F: Fn(String, u16) -> R + Send + Sync + 'static,
        R: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        Resolver(Arc::new(move |host, port| {
            let found = lookup(host, port);
            Box::pin(async move { Ok(Resolved { addresses: found.await?, ttl: None }) })
        }))
    }

    /// One that tells it.
    pub fn with_ttl<F, R>(lookup: F) -> Resolver
    where
        F: Fn(String, u16) -> R + Send + Sync + 'static,
        R: Future<Output = io::Result<Resolved>> + Send + 'static,
    {
        Resolver(Arc::new(move |host, port| Box::pin(lookup(host, port))))
    }
}

impl Default for Resolver {
    fn default() -> Resolver {
        Resolver::new(|host, port| async move { Ok(tokio::net::lookup_host((host.as_str(), port)).await?.collect()) })
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

/// Makes connections.
#[derive(Debug)]
pub(super) struct Connector {
    resolver: Resolver,
    tls: Arc<TlsShared>,
    /// Lookups under way. Calls for the same name share one: the system's resolver blocks a thread for each, and goes on
    /// when the call has been given up. No more entries than configured upstreams.
    lookups: Mutex<Lookups>,
}

/// By host and port.
type Lookups = HashMap<(String, u16), Arc<OnceCell<Found>>>;

/// What a lookup brought, in a form that several calls can have.
pub(super) type Found = Result<Resolved, String>;

/// A new connection.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) transport: Transport,
    /// Whether HTTP/2 is spoken on it.
    pub(super) http2: bool,
    pub(super) peer: Option<SocketAddr>,
    /// How long all of it took.
    pub(super) took: Duration,
}

impl Connector {
    pub(super) fn new(tls: Arc<TlsShared>, resolver: Resolver) -> Connector {
        Connector { resolver, tls, lookups: Mutex::default() }
    }

    /// Connects before `deadline`, which spans all steps.
    pub(super) async fn connect(
        &self,
        upstream: &Upstream,
        alpn: Alpn,
        deadline: Instant,
    ) -> Result<Connected, Failure> {
        let begun = Instant::now();
        let addresses = timeout_at(deadline, self.resolve(upstream))
            .await
            .map_err(|_| Failure::new(Fault::DnsTimeout, "resolving took too long"))??;
        let stream = timeout_at(deadline, race(addresses))
            .await
            .map_err(|_| Failure::new(Fault::ConnectTimeout, "connecting took too long"))?
            .map_err(|error| failure::of_connect(&error))?;
        prepare(&stream);
        let peer = stream.peer_addr().ok();
        let (transport, http2) = if upstream.tls {
            timeout_at(deadline, self.handshake(upstream, alpn, stream))
                .await
                .map_err(|_| Failure::new(Fault::ConnectTimeout, "the TLS handshake took too long"))??
        } else {
            // Without TLS nothing is negotiated: HTTP/2 is spoken only to a provider that is known to.
            (Transport::plain(stream), alpn == Alpn::Http2)
        };
        Ok(Connected { transport, http2, peer, took: begun.elapsed() })
    }

    /// What a connection that is made now would be made with; none without TLS, or where it cannot be had.
    pub(super) fn tls_config(&self, upstream: &Upstream, alpn: Alpn) -> Option<Arc<rustls::ClientConfig>> {
        upstream.tls.then(|| self.tls.config(upstream, alpn).ok()).flatten()
    }

    async fn resolve(&self, upstream: &Upstream) -> Result<Vec<SocketAddr>, Failure> {
        if let Ok(literal) = upstream.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(literal, upstream.port)]);
        }
        let found = self.look_up(upstream).await.map_err(failure::of_lookup)?.addresses;
        if found.is_empty() {
            return Err(Failure::new(Fault::DnsError, "the name has no address"));
        }
        Ok(interleave(found))
    }

    /// Asks the resolver, for all who ask now.
    pub(super) async fn look_up(&self, upstream: &Upstream) -> Found {
        let key = (upstream.host.clone(), upstream.port);
        let cell = Arc::clone(self.lookups().entry(key.clone()).or_default());
        let found = cell
            .get_or_init(|| async {
                let found = (self.resolver.0)(upstream.host.clone(), upstream.port).await;
                found.map_err(|error| error.to_string())
            })
            .await
            .clone();
        // Only calls that came while it was under way share it; there is no cache here.
        let mut lookups = self.lookups();
        if lookups.get(&key).is_some_and(|current| Arc::ptr_eq(current, &cell)) {
            lookups.remove(&key);
        }
        found
    }

    fn lookups(&self) -> MutexGuard<'_, Lookups> {
        self.lookups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn handshake(
        &self,
        upstream: &Upstream,
        alpn: Alpn,
        stream: TcpStream,
    ) -> Result<(Transport, bool), Failure> {
        let broken = |detail| Failure::new(Fault::TlsProtocol, detail);
        let config = self.tls.config(upstream, alpn).map_err(broken)?;
        let name = server_name(upstream).map_err(broken)?;
        let stream =
            TlsConnector::from(config).connect(name, stream).await.map_err(|error| failure::of_handshake(&error))?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        if alpn == Alpn::Http2 && !http2 {
            return Err(broken("the provider did not agree on h2".to_owned()));
        }
        Ok((Transport::tls(stream), http2))
    }
}

/// Families in turn, beginning with that of the first address (RFC 8305 4); the resolver's order within each.
fn interleave(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut second): (VecDeque<_>, VecDeque<_>) =
        found.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut order = Vec::with_capacity(first.len() + second.len());
    while !first.is_empty() || !second.is_empty() {
        order.extend(first.pop_front());
        order.extend(second.pop_front());
    }
    order.truncate(MAX_ADDRESSES);
    order
}

/// Tries the addresses in order, the next one as soon as one fails or [`STAGGER`] after the last was begun; the first
/// to connect wins and the others are dropped (RFC 8305 5).
async fn race(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    if let [only] = addresses[..] {
        return TcpStream::connect(only).await;
    }
    let mut waiting = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut worst: Option<io::Error> = None;
    loop {
        if let Some(next) = waiting.next() {
            attempts.spawn(TcpStream::connect(next));
        }
        let patience = if waiting.len() == 0 { FOREVER } else { STAGGER };
        let Ok(finished) = tokio::time::timeout(patience, attempts.join_next()).await else {
            continue;
        };
        match finished {
            Some(Ok(Ok(stream))) => return Ok(stream),
            // "Refused" says more than "unreachable", which a host without IPv6 says of every second address.
            Some(Ok(Err(error))) => {
                let refused = worst.as_ref().is_some_and(|known| known.kind() == io::ErrorKind::ConnectionRefused);
                worst = if refused { worst } else { Some(error) };
            }
            Some(Err(_)) => {}
            None if waiting.len() == 0 => {
                return Err(worst.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()));
            }
            None => {}
        }
    }
}

/// Small writes go out at once, and a peer that has vanished is noticed, on a silent socket and on one that is written to.
fn prepare(stream: &TcpStream) {
    // A socket without these options still works, so errors are ignored.
    let _ = stream.set_nodelay(true);
    let socket = socket2::SockRef::from(stream);
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_INTERVAL);
    let _ = socket.set_tcp_keepalive(&keepalive);
    #[cfg(any(target_os = "android", target_os = "linux"))]
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
}

/// RFC 8305's recommended delay between attempts.
const STAGGER: Duration = Duration::from_millis(250);
/// No stagger any more; the overall deadline ends the wait.
const FOREVER: Duration = Duration::from_secs(24 * 3600);
/// More addresses than that are not tried: the deadline would be over.
const MAX_ADDRESSES: usize = 16;
/// How long a socket is silent before it is probed. Below the idle timeout of the usual NAT and load balancer.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Between unanswered probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
/// How long what was sent, probes included, may stay unacknowledged before the socket is given up. Without it a peer that has
/// vanished would be retransmitted to for a quarter of an hour, and a shared connection would take calls all the while. The kernel
/// counts the time as well in which a peer that is there reads nothing, so it is longer than a provider pauses inside an upload.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(any(target_os = "android", target_os = "linux"))]
    #[tokio::test]
    async fn a_peer_that_vanishes_is_given_up_in_seconds() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("it listens");
        prepare(&stream);
        let socket = socket2::SockRef::from(&stream);
        assert_eq!(socket.tcp_user_timeout().ok(), Some(Some(UNACKNOWLEDGED)));
        assert!(socket.keepalive().expect("an option"));
        assert_eq!(socket.tcp_keepalive_time().ok(), Some(KEEPALIVE));
        assert_eq!(socket.tcp_keepalive_interval().ok(), Some(KEEPALIVE_INTERVAL));
    }
}
