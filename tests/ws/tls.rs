//! The same over TLS on both sides: what is written there has to be flushed, and ends with a word of its own.

use crate::support::{SWITCHING, closing, down, gateway_to, provider, up};
use rcgen::CertifiedKey;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use speechgate::wire::frame::Opcode::{Binary, Close, Text};
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A listener whose connections go to `to`; `wrap` says on which side TLS is spoken.
async fn tunnel(to: SocketAddr, wrap: Wrap) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let wrap = wrap.clone();
            drop(tokio::spawn(async move {
                let mut other = TcpStream::connect(to).await.expect("a connection");
                // An end on either side ends the other, as over one connection.
                let _ = match wrap {
                    Wrap::Accept(config) => {
                        let mut stream = TlsAcceptor::from(config).accept(stream).await.expect("a handshake");
                        tokio::io::copy_bidirectional(&mut stream, &mut other).await
                    }
                    Wrap::Connect(config) => {
                        let name = ServerName::try_from("localhost").expect("a name");
                        let mut other = TlsConnector::from(config).connect(name, other).await.expect("a handshake");
                        tokio::io::copy_bidirectional(&mut stream, &mut other).await
                    }
                };
            }));
        }
    }));
    address
}

#[derive(Clone)]
enum Wrap {
    Accept(Arc<ServerConfig>),
    Connect(Arc<ClientConfig>),
}

fn configs(certificate: CertificateDer<'static>, key: &rcgen::KeyPair) -> (Wrap, Wrap) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a certificate");
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a certificate with its key");
    (Wrap::Accept(Arc::new(server)), Wrap::Connect(Arc::new(client)))
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("written");
    file
}

/// A URL that leads to this provider over TLS, what a route says to trust it, and the file that it names.
pub(crate) async fn tls_to(to: SocketAddr) -> (String, String, tempfile::NamedTempFile) {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let (accept, _) = configs(cert.der().clone(), &signing_key);
    let certificate = file(&cert.pem());
    let upstream = tunnel(to, accept).await;
    let route = format!("upstream_tls = {{ ca = {:?} }}", certificate.path());
    (format!("https://localhost:{}", upstream.port()), route, certificate)
}

#[tokio::test]
async fn sessions_work_over_tls() {
    let error = r#"{"message":"Invalid API key","error":"invalid_api_key","code":1008}"#;
    let plain = provider(move |mut peer, _| async move {
        // With the head, in one record.
        peer.send(&[format!("{SWITCHING}\r\n").as_bytes(), &down(Text, "first")].concat()).await;
        for _ in 0..3 {
            let frame = peer.next().await;
            peer.send(&down(frame.opcode, &frame.payload)).await;
        }
        peer.send(&[down(Text, error), down(Close, closing(1008, "Invalid API key"))].concat()).await;
        let answer = peer.next().await.close();
        assert_eq!(answer.0, 1008);
        assert_eq!(peer.frame().await, None);
    })
    .await;
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let (accept, connect) = configs(cert.der().clone(), &signing_key);
    let (certificate, key) = (file(&cert.pem()), file(&signing_key.serialize_pem()));
    let upstream = tunnel(plain, accept).await;
    let route = format!("upstream_tls = {{ ca = {:?} }}", certificate.path());
    let server = format!("tls = {{ certificate = {:?}, private_key = {:?} }}", certificate.path(), key.path());
    let url = format!("https://localhost:{}", upstream.port());
    let mut gateway = gateway_to("elevenlabs", &url, &route, &server);
    gateway.address = tunnel(gateway.address, connect).await;

    let mut client = gateway.open().await;
    assert_eq!(client.next().await.payload, b"first");
    for payload in [&b"small"[..], &[7; 200_000], b""] {
        client.send(&up(Binary, payload)).await;
        let frame = client.next().await;
        assert!(frame.opcode == Binary && frame.payload == payload);
    }
    assert_eq!(client.next().await.json()["error"]["code"], "invalid_credentials");
    assert_eq!(client.next().await.close(), (1008, "invalid_credentials: Invalid API key".to_owned()));
    client.send(&up(Close, closing(1008, ""))).await;
    assert_eq!(client.frame().await, None);
    drop(client);
    gateway.counts("speechgate_websockets_open", &[]).await;
}
