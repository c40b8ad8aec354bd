//! A backend with TLS and a password, which nobody is shown.

use crate::gateways::Gateway;
use crate::server::{DEADLINE, Server};
use std::net::TcpListener;
use std::time::{Duration, Instant};

const PASSWORD: &str = "fleet-secret-4711";

/// A port that was free a moment ago.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

async fn connects(gateway: &Gateway) -> bool {
    let start = Instant::now();
    while gateway.metric("speechgate_fleet_connected").await != 1.0 {
        if start.elapsed() > DEADLINE {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}

#[tokio::test]
async fn a_backend_with_tls_and_a_password() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (folder.path().join("crt"), folder.path().join("key"));
    std::fs::write(&certificate, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let (port, certificate, key) = (port(), certificate.display().to_string(), key.display().to_string());
    let tls = ["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-ca-cert-file", &certificate];
    let more = ["--tls-port", &port.to_string(), "--tls-auth-clients", "no", "--requirepass", PASSWORD];
    let Some(_server) = Server::start_with(&[&tls[..], &more[..]].concat()) else { return };
    let limits = |password: &str| format!("[limits]\nbackend = 'rediss://:{password}@localhost:{port}'\n");
    let trust = [("SSL_CERT_FILE", certificate.as_str())];

    let gateway = Gateway::start_with("http://127.0.0.1:9", "{ max = 1 }", &limits(PASSWORD), &trust);
    assert!(connects(&gateway).await);
    let shown = gateway.admin("/config").await;
    assert!(shown.contains("backend") && !shown.contains(PASSWORD), "{shown}");

    // A wrong one is refused, and told without being shown.
    let gateway = Gateway::start_with("http://127.0.0.1:9", "{ max = 1 }", &limits("wrong-4711"), &trust);
    let line = gateway.line("cannot be reached").await;
    assert!(!line.contains("4711"), "{line}");
    assert_eq!(gateway.metric("speechgate_fleet_connected").await, 0.0);
}
