//! DNS, TCP and TLS: which step failed, and how.

use crate::support::{Plain, answering, client, closed, fault, fetch, get, hasty, named, provider, request, upstream};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use speechgate::canon::Fault;
use speechgate::config::types::{Protocol, Upstream};
use speechgate::upstream::{Client, Resolver, TlsShared};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn resolving(to: Vec<SocketAddr>) -> Plain {
    Client::with_resolver(Arc::new(TlsShared::new()), Resolver::new(move |_, _| std::future::ready(Ok(to.clone()))))
}

/// An address where nothing listens.
pub(crate) async fn refused() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("bound")
}

#[tokio::test]
async fn names_that_lead_nowhere() {
    let tls = Arc::new(TlsShared::new());
    let fails = Resolver::new(|_, _| std::future::ready(Err(std::io::Error::other("no such name"))));
    let client: Plain = Client::with_resolver(Arc::clone(&tls), fails);
    assert_eq!(fault(&client, &named("gone.test", 80), get()).await, Fault::DnsError);
    assert_eq!(fault(&resolving(Vec::new()), &named("empty.test", 80), get()).await, Fault::DnsError);

    let hangs: Plain = Client::with_resolver(tls, Resolver::new(|_, _| std::future::pending()));
    let sent = hangs.send(&named("slow.test", 80), &hasty(), get()).await;
    assert_eq!(sent.expect_err("no address").fault, Fault::DnsTimeout);
}

#[tokio::test]
async fn calls_at_one_time_share_a_lookup() {
    let address = answering(OK).await;
    let (lookups, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Semaphore::new(0)));
    let (counted, waiting) = (Arc::clone(&lookups), Arc::clone(&gate));
    let resolver = Resolver::new(move |_, _| {
        counted.fetch_add(1, SeqCst);
        let waiting = Arc::clone(&waiting);
        async move {
            waiting.acquire().await.expect("never closed").forget();
            Ok(vec![address])
        }
    });
    let client: Plain = Client::with_resolver(Arc::new(TlsShared::new()), resolver);
    let upstream = named("a.test", 80);
    // One that gives up does not take the others with it.
    assert_eq!(client.send(&upstream, &hasty(), get()).await.expect_err("no address").fault, Fault::DnsTimeout);
    let (first, second, ()) = tokio::join!(fetch(&client, &upstream, get()), fetch(&client, &upstream, get()), async {
        tokio::task::yield_now().await;
        gate.add_permits(1);
    });
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(lookups.load(SeqCst), 2, "one that was given up, and one for both");
}

#[tokio::test]
async fn nobody_listens() {
    assert_eq!(fault(&client(), &upstream(refused().await), get()).await, Fault::ConnectRefused);
    let several = vec![refused().await, refused().await, refused().await];
    assert_eq!(fault(&resolving(several), &named("a.test", 80), get()).await, Fault::ConnectRefused);
}

#[tokio::test]
async fn a_literal_address_is_not_looked_up() {
    let address = answering(OK).await;
    let client: Plain = Client::with_resolver(
        Arc::new(TlsShared::new()),
        Resolver::new(|_, _| std::future::ready(Err(std::io::Error::other("asked")))),
    );
    fetch(&client, &upstream(address), get()).await.expect("an answer");
}

#[tokio::test]
async fn the_next_address_is_tried() {
    let good = answering(OK).await;
    let v6 = SocketAddr::new("::1".parse().expect("valid"), refused().await.port());
    for addresses in [vec![refused().await, good], vec![v6, refused().await, good], vec![good, v6]] {
        let answer = fetch(&resolving(addresses.clone()), &named("a.test", 80), get()).await;
        assert_eq!(answer.expect("an answer").facts.peer, Some(good), "{addresses:?}");
    }
}

/// A listener whose queue is full, so that further connections hang.
fn blackhole() -> (SocketAddr, impl Sized) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    socket.listen(0).expect("listening");
    let address = socket.local_addr().expect("bound").as_socket().expect("an address");
    let queued: Vec<_> = (0..4)
        .map(|_| {
            let one = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
            one.set_nonblocking(true).expect("settable");
            // In progress, or in the queue.
            let _ = one.connect(&address.into());
            one
        })
        .collect();
    (address, (socket, queued))
}

#[tokio::test]
async fn a_connection_that_is_never_taken_is_a_timeout() {
    let (address, _held) = blackhole();
    let sent = client().send(&upstream(address), &hasty(), get()).await;
    assert_eq!(sent.expect_err("nobody accepts").fault, Fault::ConnectTimeout);
}

#[tokio::test]
async fn a_silent_address_does_not_hold_up_the_next() {
    let (silent, _held) = blackhole();
    let good = answering(OK).await;
    let answer = fetch(&resolving(vec![silent, good]), &named("a.test", 80), get()).await.expect("an answer");
    assert_eq!(answer.facts.peer, Some(good));
}

/// A certificate authority of the test.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("signed").pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// A provider's side of TLS with a certificate for `name`, valid in the given years.
    pub(crate) fn server(&self, name: &str, years: (i32, i32), alpn: &[&str]) -> Arc<ServerConfig> {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a valid name");
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let leaf = params.signed_by(&key, &self.issuer).expect("signed");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS")
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .expect("a certificate with its key");
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    pub(crate) fn file(&self) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(self.pem.as_bytes()).expect("written");
        file
    }
}

pub(crate) const NOW: (i32, i32) = (2020, 2100);

/// Speaks HTTP/1.1 after the handshake.
async fn secure(config: Arc<ServerConfig>) -> SocketAddr {
    provider(move |_, stream| {
        let acceptor = TlsAcceptor::from(Arc::clone(&config));
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            crate::support::head(&mut stream).await;
            let _ = stream.write_all(OK.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    })
    .await
}

pub(crate) fn over_tls(port: u16, ca: &tempfile::NamedTempFile) -> Upstream {
    Upstream { tls: true, ca_file: Some(ca.path().to_owned()), ..named("p.test", port) }
}

#[tokio::test]
async fn a_good_certificate_is_taken() {
    let authority = Authority::new();
    let (ca, address) = (authority.file(), secure(authority.server("p.test", NOW, &["http/1.1"])).await);
    let client = resolving(vec![address]);
    let answer = fetch(&client, &over_tls(address.port(), &ca), get()).await.expect("an answer");
    assert_eq!(&answer.body[..], b"ok");
}

#[tokio::test]
async fn alpn_decides_and_an_upgrade_uses_http1() {
    let authority = Authority::new();
    let (ca, config) = (authority.file(), authority.server("p.test", NOW, &["h2", "http/1.1"]));
    let address = provider(move |_, stream| {
        let acceptor = TlsAcceptor::from(Arc::clone(&config));
        async move {
            let mut stream = acceptor.accept(stream).await.expect("a handshake");
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                let mut connection = h2::server::handshake(stream).await.expect("a preface");
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    respond.send_response(http::Response::new(()), true).expect("an open stream");
                }
            } else {
                crate::support::head(&mut stream).await;
                let _ = stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n").await;
                closed(&mut stream).await;
            }
        }
    })
    .await;
    let (client, upstream) = (resolving(vec![address]), over_tls(address.port(), &ca));
    for reused in [false, true] {
        let facts = fetch(&client, &upstream, get()).await.expect("an answer").facts;
        assert!(facts.http2 && facts.reused == reused);
    }
    let upgraded = client.send_upgrade(&upstream, &hasty(), get()).await.expect("a 101");
    assert!(!upgraded.facts.http2);
    assert_eq!(upgraded.response.status(), 101);
    let only_http1 = Upstream { protocol: Protocol::Http1, ..upstream };
    assert!(!client.send_upgrade(&only_http1, &hasty(), get()).await.expect("a 101").facts.http2);
}

#[tokio::test]
async fn sessions_are_resumed() {
    let authority = Authority::new();
    let (ca, config) = (authority.file(), authority.server("p.test", NOW, &["http/1.1"]));
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let address = provider(move |_, stream| {
        let (acceptor, told) = (TlsAcceptor::from(Arc::clone(&config)), told.clone());
        async move {
            let mut stream = acceptor.accept(stream).await.expect("a handshake");
            crate::support::head(&mut stream).await;
            let _ = stream.write_all(OK.as_bytes()).await;
            told.send(stream.get_ref().1.handshake_kind()).expect("the test listens");
            let _ = stream.shutdown().await;
        }
    })
    .await;
    let tls = Arc::new(TlsShared::new());
    for expected in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
        // Each worker has a client of its own; they share sessions.
        let resolver = Resolver::new(move |_, _| std::future::ready(Ok(vec![address])));
        let client: Plain = Client::with_resolver(Arc::clone(&tls), resolver);
        fetch(&client, &over_tls(address.port(), &ca), get()).await.expect("an answer");
        assert_eq!(heard.recv().await, Some(Some(expected)));
    }
}

#[tokio::test]
async fn what_came_before_a_request_over_tls_is_no_answer_to_it() {
    let authority = Authority::new();
    let (ca, config) = (authority.file(), authority.server("p.test", NOW, &["http/1.1"]));
    let (give, mut streams) = tokio::sync::mpsc::unbounded_channel();
    let address = provider(move |_, stream| {
        let (acceptor, give) = (TlsAcceptor::from(Arc::clone(&config)), give.clone());
        async move {
            let mut stream = acceptor.accept(stream).await.expect("a handshake");
            crate::support::head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            give.send(stream).expect("the test listens");
        }
    })
    .await;
    let (client, upstream) = (resolving(vec![address]), over_tls(address.port(), &ca));
    fetch(&client, &upstream, get()).await.expect("a first answer");
    let mut stream = streams.recv().await.expect("a connection");
    tokio::time::sleep(Duration::from_millis(20)).await;
    // Nothing from here to the request tells the runtime of these bytes.
    stream.write_all(b"HTTP/1.1 200 OK\r\nX-Early: 1\r\nContent-Length: 0\r\n\r\n").await.expect("an open connection");
    let answer = fetch(&client, &upstream, request(http::Method::POST, "body")).await.expect("an answer");
    assert!(!answer.head.headers.contains_key("x-early") && answer.facts.retried);
}

#[tokio::test]
async fn bad_certificates_have_one_name() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let ca = ours.file();
    let rows = [
        ("expired", ours.server("p.test", (2000, 2001), &[])),
        ("not yet valid", ours.server("p.test", (2090, 2100), &[])),
        ("another name", ours.server("q.test", NOW, &[])),
        ("unknown authority", theirs.server("p.test", NOW, &[])),
    ];
    for (what, server) in rows {
        let address = secure(server).await;
        let found = fault(&resolving(vec![address]), &over_tls(address.port(), &ca), get()).await;
        assert_eq!(found, Fault::TlsCertificate, "{what}");
    }
}

#[tokio::test]
async fn handshakes_that_fail_otherwise() {
    let authority = Authority::new();
    let ca = authority.file();
    let plain = provider(|_, mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        closed(&mut stream).await;
    })
    .await;
    let found = fault(&resolving(vec![plain]), &over_tls(plain.port(), &ca), get()).await;
    assert_eq!(found, Fault::TlsProtocol, "no TLS at all");

    let other = secure(authority.server("p.test", NOW, &["spdy/3"])).await;
    let found = fault(&resolving(vec![other]), &over_tls(other.port(), &ca), get()).await;
    assert_eq!(found, Fault::TlsAlert, "no protocol in common");

    let only_http1 = secure(authority.server("p.test", NOW, &[])).await;
    let upstream = Upstream { protocol: Protocol::Http2, ..over_tls(only_http1.port(), &ca) };
    let found = fault(&resolving(vec![only_http1]), &upstream, get()).await;
    assert_eq!(found, Fault::TlsProtocol, "h2 is asked for and not agreed on");

    let silent = provider(|_, mut stream| async move { closed(&mut stream).await }).await;
    let sent = resolving(vec![silent]).send(&over_tls(silent.port(), &ca), &hasty(), get()).await;
    assert_eq!(sent.expect_err("no handshake").fault, Fault::ConnectTimeout, "silence");
}

#[tokio::test]
async fn an_answer_cut_without_close_notify_is_incomplete() {
    let authority = Authority::new();
    let (ca, config) = (authority.file(), authority.server("p.test", NOW, &[]));
    let address = provider(move |_, stream| {
        let acceptor = TlsAcceptor::from(Arc::clone(&config));
        async move {
            let mut stream = acceptor.accept(stream).await.expect("a handshake");
            crate::support::head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nuntil close").await;
            let _ = stream.flush().await;
            let _ = stream.get_mut().0.shutdown().await;
        }
    })
    .await;
    let found = fault(&resolving(vec![address]), &over_tls(address.port(), &ca), get()).await;
    assert_eq!(found, Fault::ResponseBodyIncomplete);
}

#[test]
fn broken_ca_files_are_reported_when_loading() {
    let shared = TlsShared::new();
    let with = |content: &str| {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(content.as_bytes()).expect("written");
        let told = shared.for_upstream(&over_tls(443, &file)).expect_err("a broken file");
        assert!(told.contains(&file.path().display().to_string()), "{told}");
        told
    };
    assert!(with("").contains("no certificate"));
    assert!(with("hello").contains("no certificate"));
    assert!(with("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").contains("not a usable"));
    let missing = Upstream { tls: true, ca_file: Some("missing/ca.pem".into()), ..named("p.test", 443) };
    assert!(shared.for_upstream(&missing).expect_err("no file").contains("missing/ca.pem"));
    let nameless = Upstream { tls: true, host: "not a name".to_owned(), ..named("p.test", 443) };
    assert!(shared.for_upstream(&nameless).expect_err("no name").contains("not a name"));
    let good = Authority::new().file();
    shared.for_upstream(&over_tls(443, &good)).expect("a good file");
}
