//! TLS: protocols by ALPN, client certificates, slow handshakes.

use super::http2::{client as http2_client, get, text};
use super::*;
use crate::config::types::ServerTls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::fs;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// An authority, and a certificate of it for a server and one for a client.
struct Certificates {
    directory: tempfile::TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    fn new() -> Certificates {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
        let certificates = Certificates { directory: tempfile::tempdir().expect("a temporary directory"), authority };
        let (certificate, key) = certificates.issue("localhost");
        certificates.write("server.pem", &certificate.pem());
        certificates.write("server.key", &key.serialize_pem());
        certificates.write("ca.pem", &certificates.authority.pem());
        certificates
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        (params.signed_by(&key, &self.authority).expect("a certificate"), key)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.directory.path().join(name), text).expect("a file");
    }

    fn settings(&self, client_ca: bool) -> Server {
        let path = |name| self.directory.path().join(name);
        let tls = ServerTls {
            certificate: path("server.pem"),
            private_key: path("server.key"),
            client_ca: client_ca.then(|| path("ca.pem")),
        };
        Server { tls: Some(tls), ..settings() }
    }

    fn client(&self, alpn: &[&str], with_certificate: bool) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).expect("an authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = if with_certificate {
            let (certificate, key) = self.issue("client");
            let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
            builder.with_client_auth_cert(vec![certificate.der().clone()], key).expect("a client certificate")
        } else {
            builder.with_no_client_auth()
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }
}

async fn connect(bench: &Bench, connector: &TlsConnector) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").expect("a name");
    connector.connect(name, bench.connect().await).await
}

#[tokio::test]
async fn alpn_chooses_the_protocol() {
    let certificates = Certificates::new();
    let bench = start(certificates.settings(false));
    for alpn in [&["http/1.1"] as &[&str], &[]] {
        let mut stream = connect(&bench, &certificates.client(alpn, false)).await.expect("TLS");
        send(&mut stream, "GET /a HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(one_answer(&mut stream).await.ends_with("/a tls=true addr=true"));
    }
    let stream = connect(&bench, &certificates.client(&["h2", "http/1.1"], false)).await.expect("TLS");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (mut client, _) = http2_client(stream).await;
    assert_eq!(text(get(&mut client, "/a").await).await, "/a tls=true addr=true");
}

#[tokio::test]
async fn sessions_are_resumed() {
    let certificates = Certificates::new();
    let bench = start(certificates.settings(false));
    let connector = certificates.client(&["http/1.1"], false);
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(&bench, &connector).await.expect("TLS");
        send(&mut stream, "GET /a HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let _ = one_answer(&mut stream).await;
        kinds.push(stream.get_ref().1.handshake_kind());
    }
    assert_eq!(kinds, [Some(rustls::HandshakeKind::Full), Some(rustls::HandshakeKind::Resumed)]);
}

#[tokio::test]
async fn clients_without_a_certificate_are_refused_when_one_is_due() {
    let certificates = Certificates::new();
    let bench = start(certificates.settings(true));
    for (with_certificate, expected) in [(true, true), (false, false)] {
        // In TLS 1.3 the refusal comes after the client's side of the handshake is done.
        let answered = async {
            let mut stream = connect(&bench, &certificates.client(&["http/1.1"], with_certificate)).await?;
            stream.write_all(b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.map(|_| answer)
        };
        let answer = answered.await;
        assert_eq!(answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")), expected, "{with_certificate}");
    }
}

#[tokio::test]
async fn other_authorities_are_not_trusted() {
    let (ours, theirs) = (Certificates::new(), Certificates::new());
    let bench = start(ours.settings(false));
    assert!(connect(&bench, &theirs.client(&["http/1.1"], false)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_slow_handshake_is_cut() {
    let certificates = Certificates::new();
    let bench = start(certificates.settings(false));
    let mut stream = bench.connect().await;
    let begun = Instant::now();
    send(&mut stream, [0x16, 3, 1]).await;
    assert_eq!(rest(&mut stream).await, "");
    assert!(begun.elapsed() >= Duration::from_secs(9) && begun.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn past_the_most_connections_the_socket_is_closed() {
    let certificates = Certificates::new();
    let bench = start(Server { max_connections: 1, ..certificates.settings(false) });
    let connector = certificates.client(&["http/1.1"], false);
    let _first = connect(&bench, &connector).await.expect("TLS");
    assert!(connect(&bench, &connector).await.is_err());
}
