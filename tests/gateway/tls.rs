//! TLS and mutual TLS from clients, with ALPN.

use crate::support::http2::{Fate, H2, get_fields, request};
use crate::support::world::get;
use crate::support::{Client, Gateway, Provider, Settings, Wire, World};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

/// A certificate authority of the test's own.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Authority { issuer: CertifiedIssuer::self_signed(params, key).expect("a certificate") }
    }

    /// A certificate for a name, and its key.
    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        self.issue_for(CertificateParams::new(vec![name.to_owned()]).expect("a name"))
    }

    /// A certificate that says this, and its key.
    pub(crate) fn issue_for(&self, params: CertificateParams) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        (params.signed_by(&key, &self.issuer).expect("a certificate"), key)
    }

    pub(crate) fn roots(&self) -> rustls::RootCertStore {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(self.issuer.der().to_vec())).expect("a certificate");
        roots
    }
}

/// Writes what the gateway needs, and gives its `tls = …` line.
pub(crate) fn tls_line(directory: &Path, authority: &Authority, mutual: bool) -> String {
    let (certificate, key) = authority.issue("gateway.test");
    let write = |name: &str, text: String| {
        let path = directory.join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let certificate = write("certificate.pem", certificate.pem());
    let key = write("key.pem", key.serialize_pem());
    let ca = write("ca.pem", authority.issuer.pem());
    let client = if mutual { format!(", client_ca = \"{ca}\"") } else { String::new() };
    format!("tls = {{ certificate = \"{certificate}\", private_key = \"{key}\"{client} }}")
}

/// A connection to the gateway with these protocols offered, and maybe a certificate shown.
pub(crate) fn dial(
    gateway: &Gateway,
    authority: &Authority,
    protocols: &[&str],
    shown: Option<(rcgen::Certificate, KeyPair)>,
) -> (Wire, Option<Vec<u8>>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let builder = builder.with_root_certificates(authority.roots());
    let mut config = match shown {
        Some((certificate, key)) => {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
            builder.with_client_auth_cert(vec![certificate.der().clone()], key).expect("a pair")
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("gateway.test").expect("a name");
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).expect("a configuration");
    let mut socket = TcpStream::connect(gateway.address()).expect("the listener accepts");
    while connection.is_handshaking() {
        if connection.complete_io(&mut socket).is_err() {
            break;
        }
    }
    let agreed = connection.alpn_protocol().map(<[u8]>::to_vec);
    let below = socket.try_clone().expect("a socket can be cloned");
    (Wire::over(Box::new(rustls::StreamOwned::new(connection, socket)), below), agreed)
}

/// A gateway that speaks TLS.
fn world(mutual: bool) -> (World, Authority, tempfile::TempDir) {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().expect("a directory"));
    let provider = Provider::start();
    let line = tls_line(directory.path(), &authority, mutual);
    let gateway = Gateway::start(&Settings::standard(provider.address()).server(&line));
    (World { gateway, provider }, authority, directory)
}

#[test]
fn both_versions_of_http_are_agreed_on() {
    let (world, authority, _directory) = world(false);
    let (wire, agreed) = dial(&world.gateway, &authority, &["http/1.1"], None);
    assert_eq!(agreed.as_deref(), Some(&b"http/1.1"[..]));
    assert_eq!(Client::over(wire).send(get("/p/a")).answer().text(), "ok");
    assert_eq!(world.provider.one().fields.get("x-forwarded-proto").as_deref(), Some("https"));

    let (wire, agreed) = dial(&world.gateway, &authority, &["h2", "http/1.1"], None);
    assert_eq!(agreed.as_deref(), Some(&b"h2"[..]));
    assert_eq!(H2::over(wire).send(request(1, &get_fields("/p/a", &[]))).fate(1), Fate::Answered(200, b"ok".to_vec()));

    let (wire, agreed) = dial(&world.gateway, &authority, &[], None);
    assert_eq!(agreed, None);
    assert_eq!(Client::over(wire).send(get("/p/a")).answer().text(), "ok");
}

#[test]
fn plain_text_on_a_tls_port_is_not_served() {
    let (world, authority, _directory) = world(false);
    let mut client = world.client();
    assert!(client.send(get("/p/a")).try_answer("GET").is_err());
    assert_eq!(world.provider.take().len(), 0);
    let (wire, _) = dial(&world.gateway, &authority, &["http/1.1"], None);
    assert_eq!(Client::over(wire).send(get("/p/a")).answer().text(), "ok");
}

#[test]
fn a_handshake_that_never_ends_is_cut() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().expect("a directory"));
    let provider = Provider::start();
    let line = tls_line(directory.path(), &authority, false);
    let settings = Settings::standard(provider.address()).server(&line).server("header_timeout = \"300ms\"");
    let world = World { gateway: Gateway::start(&settings), provider };
    for start in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut client = world.client();
        let _ = client.send(start);
        client.closed().expect("the gateway does not wait for ever");
    }
}

#[test]
fn clients_without_a_trusted_certificate_are_refused() {
    let (world, authority, _directory) = world(true);
    let (wire, _) = dial(&world.gateway, &authority, &["http/1.1"], Some(authority.issue("client.test")));
    assert_eq!(Client::over(wire).send(get("/p/a")).answer().text(), "ok");
    let stranger = Authority::new();
    for shown in [None, Some(stranger.issue("client.test"))] {
        let (wire, _) = dial(&world.gateway, &authority, &["http/1.1"], shown);
        assert!(Client::over(wire).send(get("/p/a")).try_answer("GET").is_err());
    }
    assert_eq!(world.provider.take().len(), 1);
}

#[test]
fn a_new_certificate_is_shown_to_new_connections() {
    let (world, old, directory) = world(false);
    let client = |authority: &Authority| Client::over(dial(&world.gateway, authority, &["http/1.1"], None).0);
    let mut open = client(&old);
    assert_eq!(open.send(get("/p/a")).answer().text(), "ok");
    let new = Authority::new();
    let _ = tls_line(directory.path(), &new, false);
    world.gateway.metric_becomes("speechgate_config_reloads_total", &[("result", "success")], 1.0);
    assert_eq!(open.send(get("/p/a")).answer().text(), "ok", "what is open goes on");
    assert_eq!(client(&new).send(get("/p/a")).answer().text(), "ok");
    assert!(client(&old).send(get("/p/a")).try_answer("GET").is_err(), "the old certificate was shown");
    // One that does not go with its key leaves things as they are.
    let (other, _) = old.issue("gateway.test");
    std::fs::write(directory.path().join("certificate.pem"), other.pem()).expect("written");
    world.gateway.metric_becomes("speechgate_config_reloads_total", &[("result", "failure")], 1.0);
    assert_eq!(client(&new).send(get("/p/a")).answer().text(), "ok");
}

#[test]
fn a_provider_that_asks_for_a_certificate_is_shown_the_route_s() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().expect("a directory"));
    let write = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let (certificate, key) = authority.issue("localhost");
    let ca = write("ca.pem", authority.issuer.pem());
    let (certificate, key) = (write("server.pem", certificate.pem()), write("server.key", key.serialize_pem()));
    let line = format!("tls = {{ certificate = \"{certificate}\", private_key = \"{key}\", client_ca = \"{ca}\" }}");
    let provider = Provider::start();
    let asks = Gateway::start(&Settings::standard(provider.address()).server(&line));
    let url = format!("https://localhost:{}/p", asks.address().port());
    let (own, key) = authority.issue("sidecar.test");
    let (own, key) = (write("own.pem", own.pem()), write("own.key", key.serialize_pem()));
    let shown = format!("upstream_tls = {{ ca = \"{ca}\", certificate = \"{own}\", private_key = \"{key}\" }}");
    for (line, status) in [(shown, 200), (format!("upstream_tls = {{ ca = \"{ca}\" }}"), 502)] {
        let gateway = Gateway::start(&Settings::new().route_to("tts", "/t", "elevenlabs", &url, &line));
        let answer = gateway.client().send(get("/t/a")).answer();
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    assert_eq!(provider.one().line, "GET /a HTTP/1.1");
}
