//! Warm connections: made before a call asks, taken by whoever calls, renewed, and never handed out dead.

use crate::network::{Authority, NOW, over_tls, refused};
use crate::support::{Plain, closed, fetch, get, head, named, patient, provider, request, upstream};
use http::Method;
use rustls::{HandshakeKind, ServerConfig};
use speechgate::config::types::Upstream;
use speechgate::telemetry::connections::OpenConnections as _;
use speechgate::upstream::{Client, Connections, Keepers, Resolved, Resolver, TlsShared, Want};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What the clients and the keepers of one gateway share.
struct Gateway {
    connections: Arc<Connections>,
    tls: Arc<TlsShared>,
    keepers: Keepers,
}

impl Gateway {
    fn new() -> Gateway {
        Gateway::resolving(|_, _| async { Err(std::io::Error::other("no names here")) })
    }

    fn resolving<R>(lookup: impl Fn(String, u16) -> R + Send + Sync + 'static) -> Gateway
    where
        R: Future<Output = std::io::Result<Resolved>> + Send + 'static,
    {
        let (connections, tls) = (Connections::new(), Arc::new(TlsShared::new()));
        connections.keep_within(100);
        let keepers = Keepers::with_resolver(Arc::clone(&connections), Arc::clone(&tls), Resolver::with_ttl(lookup));
        Gateway { connections, tls, keepers }
    }

    /// A worker's client.
    fn client(&self) -> Plain {
        Client::sharing(Arc::clone(&self.tls), Arc::clone(&self.connections))
    }

    fn warm(&self, upstream: &Upstream) -> u64 {
        self.connections.site(upstream).open().warm
    }

    /// Waits until so many are warm; fails when that takes too long, or when more are at any time.
    async fn becomes(&self, upstream: &Upstream, count: u64) {
        let mut seen = Vec::new();
        for _ in 0..5000 {
            let warm = self.warm(upstream);
            if warm == count {
                return;
            }
            seen.push(warm);
            sleep(Duration::from_millis(2)).await;
        }
        panic!("{count} are wanted; there are {:?}", seen.last());
    }
}

fn want(connections: usize) -> Want {
    Want { connections, max_idle: 8, idle_limit: None, connect: Duration::from_secs(5), usable: Arc::new(|| true) }
}

/// Answers each request on each connection; counts connections and those that have ended.
async fn answering() -> (SocketAddr, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (begun, ended) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let counts = (Arc::clone(&begun), Arc::clone(&ended));
    let address = provider(move |_, mut stream| {
        begun.fetch_add(1, SeqCst);
        let ended = Arc::clone(&ended);
        async move {
            while !head(&mut stream).await.is_empty() {
                let _ = stream.write_all(OK.as_bytes()).await;
            }
            ended.fetch_add(1, SeqCst);
        }
    })
    .await;
    (address, counts.0, counts.1)
}

/// Each handshake, and after how long its connection ended.
type Handshakes = Arc<Mutex<Vec<(HandshakeKind, Option<Duration>)>>>;

/// The same over TLS, HTTP/2 or 1.1; tells of each handshake.
async fn secure(config: Arc<ServerConfig>, told: Handshakes) -> SocketAddr {
    provider(move |_, stream| {
        let (acceptor, told) = (TlsAcceptor::from(Arc::clone(&config)), Arc::clone(&told));
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let begun = Instant::now();
            let kind = stream.get_ref().1.handshake_kind().expect("a handshake");
            let at = {
                let mut told = told.lock().expect("whole");
                told.push((kind, None));
                told.len() - 1
            };
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let _ = respond.send_response(http::Response::new(()), true);
                }
            } else {
                while !head(&mut stream).await.is_empty() {
                    let _ = stream.write_all(OK.as_bytes()).await;
                }
            }
            told.lock().expect("whole")[at].1 = Some(begun.elapsed());
        }
    })
    .await
}

#[tokio::test]
async fn a_call_finds_a_connection_and_another_takes_its_place() {
    let (address, begun, ended) = answering().await;
    let (mut gateway, upstream) = (Gateway::new(), upstream(address));
    gateway.keepers.keep(vec![(upstream.clone(), want(2))]);
    gateway.becomes(&upstream, 2).await;
    assert_eq!(begun.load(SeqCst), 2);
    let answer = fetch(&gateway.client(), &upstream, get()).await.expect("an answer");
    assert_eq!((answer.facts.connect, answer.facts.reused), (None, true));
    gateway.becomes(&upstream, 2).await;
    assert_eq!(begun.load(SeqCst), 3);
    // What is wanted no more is closed.
    gateway.keepers.keep(Vec::new());
    gateway.becomes(&upstream, 0).await;
    while ended.load(SeqCst) < 2 {
        sleep(Duration::from_millis(1)).await;
    }
    drop(gateway);
    sleep(Duration::from_millis(50)).await;
    assert_eq!(begun.load(SeqCst), 3, "and nothing is dialled any more");
}

#[tokio::test]
async fn a_reload_keeps_wanted_connections_and_a_dropped_keeper_closes_all() {
    let (address, begun, ended) = answering().await;
    let (mut gateway, upstream) = (Gateway::new(), upstream(address));
    for (connections, dialled) in [(2, 2), (2, 2), (3, 3), (1, 3)] {
        gateway.keepers.keep(vec![(upstream.clone(), want(connections))]);
        gateway.becomes(&upstream, connections as u64).await;
        assert_eq!(begun.load(SeqCst), dialled);
    }
    let Gateway { keepers, .. } = gateway;
    drop(keepers);
    while ended.load(SeqCst) < 3 {
        sleep(Duration::from_millis(1)).await;
    }
}

/// Keepers and workers are on threads of their own.
#[test]
fn one_that_was_made_on_another_thread_is_taken() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for protocol in ["h2", "http/1.1"] {
        let authority = Authority::new();
        let (ca, config) = (authority.file(), authority.server("p.test", NOW, &[protocol]));
        let told = Arc::<Mutex<Vec<_>>>::default();
        let (control, worker) = (runtime(), runtime());
        let address = control.block_on(secure(config, Arc::clone(&told)));
        let resolve = move |_, _| async move { Ok(Resolved { addresses: vec![address], ttl: None }) };
        let mut gateway = Gateway::resolving(resolve);
        let upstream = over_tls(address.port(), &ca);
        let client = gateway.client();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        control.block_on(async {
            gateway.keepers.keep(vec![(upstream.clone(), want(2))]);
            gateway.becomes(&upstream, 2).await;
        });
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| control.block_on(stopped));
            worker.block_on(async {
                // The worker knows no names: a cold dial would fail.
                for first in [true, false] {
                    let answer = fetch(&client, &upstream, request(Method::POST, "text")).await.expect("an answer");
                    assert_eq!(
                        (answer.facts.http2, answer.facts.connect),
                        (protocol == "h2", None),
                        "{protocol} {first}"
                    );
                }
                // Each has tickets of its own handshake, which were kept before anybody called.
                while told.lock().expect("whole").len() < 3 && protocol != "h2" {
                    sleep(Duration::from_millis(1)).await;
                }
            });
            let _ = stop.send(());
            let _ = thread.join();
        });
        let kinds: Vec<_> = told.lock().expect("whole").iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds.get(2), (protocol != "h2").then_some(&HandshakeKind::Resumed), "{protocol}");
    }
}

#[tokio::test]
async fn connections_are_renewed_before_the_providers_limit_with_sessions_resumed() {
    let authority = Authority::new();
    let (ca, config) = (authority.file(), authority.server("p.test", NOW, &["http/1.1"]));
    let told = Arc::<Mutex<Vec<_>>>::default();
    let address = secure(config, Arc::clone(&told)).await;
    let mut gateway =
        Gateway::resolving(move |_, _| async move { Ok(Resolved { addresses: vec![address], ttl: None }) });
    let upstream = over_tls(address.port(), &ca);
    gateway.keepers.keep(vec![(upstream.clone(), Want { idle_limit: Some(Duration::from_secs(1)), ..want(2) })]);
    gateway.becomes(&upstream, 2).await;
    let until = Instant::now() + Duration::from_millis(2200);
    while Instant::now() < until {
        assert!((1..=4).contains(&gateway.warm(&upstream)), "there is always one, and only renewals are more");
        sleep(Duration::from_millis(5)).await;
    }
    let told = told.lock().expect("whole").clone();
    assert!((6..=8).contains(&told.len()), "every 0.75 to 0.85 s: {told:?}");
    for (at, (kind, lasted)) in told.iter().enumerate() {
        assert!(lasted.is_none_or(|lasted| lasted < Duration::from_millis(950)), "{told:?}");
        assert_eq!(*kind, if at < 2 { HandshakeKind::Full } else { HandshakeKind::Resumed });
    }
}

#[tokio::test]
async fn a_connection_that_the_provider_closed_is_never_handed_out() {
    let (close, ended) = (Arc::new(tokio::sync::Notify::new()), Arc::<AtomicUsize>::default());
    let (closes, counted) = (Arc::clone(&close), Arc::clone(&ended));
    let address = provider(move |_, mut stream| {
        let (close, ended) = (Arc::clone(&closes), Arc::clone(&counted));
        async move {
            tokio::select! {
                () = close.notified() => {}
                _ = head(&mut stream) => drop(stream.write_all(OK.as_bytes()).await),
            }
            drop(stream);
            ended.fetch_add(1, SeqCst);
        }
    })
    .await;
    let (mut gateway, upstream) = (Gateway::new(), upstream(address));
    for round in 0..50 {
        gateway.keepers.keep(vec![(upstream.clone(), want(2))]);
        gateway.becomes(&upstream, 2).await;
        let before = ended.load(SeqCst);
        close.notify_waiters();
        while ended.load(SeqCst) == before {
            tokio::task::yield_now().await;
        }
        // Not one that would be sent again: a dead connection would fail it.
        let answer = fetch(&gateway.client(), &upstream, request(Method::POST, "x")).await;
        let answer = answer.unwrap_or_else(|failure| panic!("round {round}: {failure:?}"));
        assert!(!answer.facts.retried, "round {round}");
        gateway.keepers.keep(Vec::new());
    }
}

#[tokio::test]
async fn one_that_dies_is_replaced() {
    let (dies, died) = (Arc::new(AtomicBool::new(true)), Arc::<AtomicUsize>::default());
    let (first, begun) = (Arc::clone(&dies), Arc::clone(&died));
    let address = provider(move |_, mut stream: TcpStream| {
        begun.fetch_add(1, SeqCst);
        let dies = first.swap(false, SeqCst);
        async move {
            if dies {
                // Longer than a connection that the provider does not want at all.
                sleep(Duration::from_millis(1100)).await;
                let _ = stream.write_all(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n").await;
                sleep(Duration::from_secs(60)).await;
            }
            closed(&mut stream).await;
        }
    })
    .await;
    let (mut gateway, upstream) = (Gateway::new(), upstream(address));
    gateway.keepers.keep(vec![(upstream.clone(), want(1))]);
    gateway.becomes(&upstream, 1).await;
    timeout(Duration::from_secs(5), async {
        while died.load(SeqCst) < 2 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("another one is made");
    gateway.becomes(&upstream, 1).await;
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_refuses_is_not_hammered() {
    let lookups = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&lookups);
    let mut gateway = Gateway::resolving(move |_, _| {
        counted.fetch_add(1, SeqCst);
        async { Err(std::io::Error::other("no such name")) }
    });
    gateway.keepers.keep(vec![(named("p.test", 80), want(8))]);
    sleep(Duration::from_secs(60)).await;
    let dials = lookups.load(SeqCst);
    assert!((5..=16).contains(&dials), "four at first, then one at a time and less and less often: {dials}");
}

#[tokio::test]
async fn a_refusing_port_and_one_that_closes_at_once_are_not_hammered() {
    let begun = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&begun);
    let closes = provider(move |_, stream| {
        counted.fetch_add(1, SeqCst);
        async move { drop(stream) }
    })
    .await;
    let (mut gateway, refuses) = (Gateway::new(), refused().await);
    gateway.keepers.keep(vec![(upstream(closes), want(4)), (upstream(refuses), want(4))]);
    sleep(Duration::from_millis(1500)).await;
    let dials = begun.load(SeqCst);
    assert!((2..=10).contains(&dials), "{dials}");
    assert_eq!(gateway.warm(&upstream(refuses)), 0);
}

#[tokio::test]
async fn an_upstream_that_gets_no_requests_is_not_dialled() {
    let (address, begun, _) = answering().await;
    let (mut gateway, upstream) = (Gateway::new(), upstream(address));
    let usable = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&usable);
    let usable_now: Arc<dyn Fn() -> bool + Send + Sync> = Arc::new(move || asked.load(SeqCst));
    gateway.keepers.keep(vec![(upstream.clone(), Want { usable: usable_now, ..want(2) })]);
    sleep(Duration::from_millis(300)).await;
    assert_eq!(begun.load(SeqCst), 0);
    usable.store(true, SeqCst);
    gateway.becomes(&upstream, 2).await;
}

#[tokio::test]
async fn more_are_kept_after_many_calls_at_one_time_and_never_more_than_allowed() {
    let open = Arc::new(tokio::sync::Semaphore::new(0));
    let gate = Arc::clone(&open);
    let address = provider(move |_, mut stream| {
        let gate = Arc::clone(&gate);
        async move {
            if !head(&mut stream).await.is_empty() {
                let _ = gate.acquire().await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await;
            }
        }
    })
    .await;
    for (max_idle, kept) in [(8, 5), (3, 3)] {
        let (mut gateway, upstream) = (Gateway::new(), upstream(address));
        gateway.keepers.keep(vec![(upstream.clone(), Want { max_idle, ..want(1) })]);
        gateway.becomes(&upstream, 1).await;
        let client = gateway.client();
        let calls = (0..5).map(|_| {
            let (client, upstream) = (client.clone(), upstream.clone());
            tokio::spawn(async move { fetch(&client, &upstream, get()).await.map(drop) })
        });
        let calls: Vec<_> = calls.collect();
        while gateway.connections.site(&upstream).open().active < 5 {
            sleep(Duration::from_millis(1)).await;
        }
        open.add_permits(5);
        for call in calls {
            call.await.expect("no panic").expect("an answer");
        }
        open.forget_permits(5);
        gateway.becomes(&upstream, kept).await;
        for _ in 0..100 {
            assert!(gateway.warm(&upstream) <= max_idle as u64);
            sleep(Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test]
async fn all_together_are_no_more_than_the_process_may_have() {
    let (one, begun, _) = answering().await;
    let (other, begun_there, _) = answering().await;
    let mut gateway = Gateway::new();
    gateway.connections.keep_within(3);
    gateway.keepers.keep(vec![(upstream(one), want(2)), (upstream(other), want(2))]);
    sleep(Duration::from_millis(300)).await;
    assert_eq!(begun.load(SeqCst) + begun_there.load(SeqCst), 3);
}

#[tokio::test]
async fn connections_go_where_the_name_leads_now() {
    let (before, _, ended) = answering().await;
    let elsewhere = tokio::net::TcpListener::bind("127.0.0.2:0").await.expect("a free port");
    let after = elsewhere.local_addr().expect("bound");
    let moved = Arc::new(AtomicBool::new(false));
    let leads = Arc::clone(&moved);
    let mut gateway = Gateway::resolving(move |_, _| {
        let address = if leads.load(SeqCst) { after } else { before };
        async move { Ok(Resolved { addresses: vec![address], ttl: Some(Duration::from_millis(10)) }) }
    });
    let upstream = named("p.test", 80);
    gateway.keepers.keep(vec![(upstream.clone(), want(2))]);
    gateway.becomes(&upstream, 2).await;
    sleep(Duration::from_millis(1200)).await;
    assert_eq!(ended.load(SeqCst), 0, "as long as it leads there, they stay");
    moved.store(true, SeqCst);
    let accepted =
        async { [elsewhere.accept().await.expect("a connection"), elsewhere.accept().await.expect("another")] };
    let _kept = timeout(Duration::from_secs(6), accepted).await.expect("others are made where it leads now");
    while ended.load(SeqCst) < 2 {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(gateway.warm(&upstream), 2);
}

#[tokio::test]
async fn upgrades_find_http1_where_others_speak_http2() {
    let authority = Authority::new();
    let (ca, config) = (authority.file(), authority.server("p.test", NOW, &["h2", "http/1.1"]));
    let address = secure(config, Arc::default()).await;
    let resolve = move |_, _| async move { Ok(Resolved { addresses: vec![address], ttl: None }) };
    let mut gateway = Gateway::resolving(resolve);
    let upstream = over_tls(address.port(), &ca);
    gateway.keepers.keep(vec![(upstream.clone(), want(1))]);
    gateway.becomes(&upstream, 1).await;
    let client = gateway.client();
    // The client knows no names, so the first upgrade fails: there is none that speaks HTTP/1.1 yet.
    assert!(client.send_upgrade(&upstream, &patient(), get()).await.is_err());
    gateway.becomes(&upstream, 2).await;
    let exchange = client.send_upgrade(&upstream, &patient(), get()).await.expect("an answer");
    assert!(!exchange.facts.http2 && exchange.facts.connect.is_none());
}
