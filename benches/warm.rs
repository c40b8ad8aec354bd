//! The first byte over TLS from a provider that is 20 ms away, with and without connections that are there before a call asks.
//!
//! ```text
//! cargo bench --bench warm              a few seconds, to see that it works
//! cargo bench --bench warm -- --full    what RESULTS.md shows
//! ```
//!
//! The provider stands behind a relay that holds back everything for 10 ms each way, and what a client says first for 20 ms more: on
//! loopback a connection is there at once, elsewhere after one time there and back. The gateway is the real program in a process of its
//! own. The kinds of calls take turns, so that whatever else the machine does happens to all of them.

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// One way.
const FAR: Duration = Duration::from_millis(10);
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn main() {
    let rounds = if std::env::args().any(|argument| argument == "--full") { 200 } else { 10 };
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
    let certificate = params.self_signed(&key).expect("a certificate");
    let far = provider(server(&certificate, &key));
    let gateway = Gateway::start(far, &certificate.pem());
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let connector = TlsConnector::from(client(&certificate));
    let times = runtime.block_on(async {
        // The gateway dials before anybody calls.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut own = secure(&connector, far).await;
        let mut kept = plain(gateway.address).await;
        let mut times: [Vec<Duration>; 7] = Default::default();
        for _ in 0..rounds {
            let turn = [
                cold(&connector, far, &request("/keep", "")).await,
                through(gateway.address, &request("/r/close", "")).await,
                cold(&connector, far, &request("/keep", UPGRADE)).await,
                through(gateway.address, &request("/r/keep", UPGRADE)).await,
                first_byte(&mut own, &request("/keep", ""), Instant::now()).await,
                first_byte(&mut kept, &request("/r/close", ""), Instant::now()).await,
                first_byte(&mut kept, &request("/r/keep", ""), Instant::now()).await,
            ];
            times.iter_mut().zip(turn).for_each(|(all, one)| all.push(one));
            // What was taken is made again before the next turn.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        times
    });
    report(times);
}

fn report(mut times: [Vec<Duration>; 7]) {
    times.iter_mut().for_each(|all| all.sort());
    let [cold, through, cold_socket, socket, own, taken, pooled] = &times;
    println!(
        "| first byte, {} calls of each | direct, p50 / p99 | through the gateway, p50 / p99 | p50 × direct |",
        cold.len()
    );
    println!("|---|---|---|---|");
    for (what, direct, gateway) in [
        ("HTTP, client without a connection; warm connection taken", cold, through),
        ("handshake of a socket, client without a connection; warm connection taken", cold_socket, socket),
        ("HTTP, client with a connection of its own; warm connection taken", own, taken),
        ("HTTP, client with a connection of its own; the gateway's used before", own, pooled),
    ] {
        let show = |all: &[Duration]| format!("{:.2} / {:.2} ms", millis(all, 50), millis(all, 99));
        let times = millis(gateway, 50) / millis(direct, 50);
        println!("| {what} | {} | {} | {times:.3} |", show(direct), show(gateway));
    }
}

fn millis(sorted: &[Duration], percent: usize) -> f64 {
    sorted[(sorted.len() - 1) * percent / 100].as_secs_f64() * 1e3
}

fn request(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n")
}

/// On a new connection straight to the provider.
async fn cold(connector: &TlsConnector, to: SocketAddr, request: &str) -> Duration {
    let begun = Instant::now();
    let mut connection = secure(connector, to).await;
    first_byte(&mut connection, request, begun).await
}

/// On a new connection to the gateway.
async fn through(to: SocketAddr, request: &str) -> Duration {
    let begun = Instant::now();
    let mut connection = plain(to).await;
    first_byte(&mut connection, request, begun).await
}

async fn plain(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).await.expect("it listens");
    stream.set_nodelay(true).expect("an option");
    stream
}

async fn secure(connector: &TlsConnector, to: SocketAddr) -> tokio_rustls::client::TlsStream<TcpStream> {
    let name = ServerName::try_from("127.0.0.1").expect("an address");
    connector.connect(name, plain(to).await).await.expect("a handshake")
}

/// How long after `begun` the first byte of the answer came; the rest of it is read.
async fn first_byte(connection: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str, begun: Instant) -> Duration {
    connection.write_all(request.as_bytes()).await.expect("written");
    connection.flush().await.expect("written");
    let first = connection.read_u8().await.expect("an answer");
    let took = begun.elapsed();
    let head = [&[first][..], head(connection).await.as_slice()].concat();
    let status = String::from_utf8_lossy(&head);
    assert!(status.starts_with("HTTP/1.1 200") || status.starts_with("HTTP/1.1 101"), "{status}");
    if status.starts_with("HTTP/1.1 200") {
        let mut body = [0; 2];
        let _ = connection.read_exact(&mut body).await.expect("a body");
    }
    took
}

async fn head(connection: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        let Ok(byte) = connection.read_u8().await else { break };
        read.push(byte);
    }
    read
}

fn server(certificate: &rcgen::Certificate, key: &KeyPair) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key).expect("a pair"))
}

/// A client that resumes no session: one without a connection has mostly been away for long.
fn client(certificate: &rcgen::Certificate) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certificate.der().to_vec())).expect("a certificate");
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions").with_root_certificates(roots);
    let mut config = builder.with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

/// A provider, and the relay before it: where that listens.
fn provider(config: Arc<ServerConfig>) -> SocketAddr {
    let (told, heard) = channel();
    drop(std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let near = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let far = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = near.local_addr().expect("bound");
            told.send(far.local_addr().expect("bound")).expect("somebody asked");
            let acceptor = TlsAcceptor::from(config);
            drop(tokio::spawn(async move {
                while let Ok((stream, _)) = near.accept().await {
                    let _ = stream.set_nodelay(true);
                    drop(tokio::spawn(answer(acceptor.clone(), stream)));
                }
            }));
            while let Ok((client, _)) = far.accept().await {
                drop(tokio::spawn(relay(client, address)));
            }
        });
    }));
    heard.recv().expect("it listens")
}

async fn answer(acceptor: TlsAcceptor, stream: TcpStream) {
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    loop {
        let asked = head(&mut stream).await;
        let asked = String::from_utf8_lossy(&asked).to_lowercase();
        if asked.is_empty() {
            return;
        }
        let closes = asked.starts_with("get /close");
        let answer = match asked.contains("upgrade: websocket") {
            true => SWITCHING.to_owned(),
            false if closes => "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok".to_owned(),
            false => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
        };
        if stream.write_all(answer.as_bytes()).await.is_err() || stream.flush().await.is_err() || closes {
            let _ = stream.shutdown().await;
            return;
        }
    }
}

async fn relay(client: TcpStream, provider: SocketAddr) {
    let Ok(provider) = TcpStream::connect(provider).await else { return };
    let _ = (client.set_nodelay(true), provider.set_nodelay(true));
    let ((from_client, to_client), (from_provider, to_provider)) = (client.into_split(), provider.into_split());
    let shaken = Instant::now() + 2 * FAR;
    let _ = tokio::join!(delayed(from_client, to_provider, shaken), delayed(from_provider, to_client, shaken));
}

/// Passes bytes on after their time. What comes before the connection would have been made comes then.
async fn delayed(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, shaken: Instant) {
    let (pass, mut passed) = tokio::sync::mpsc::channel::<(Instant, Vec<u8>)>(64);
    let read = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let due = Instant::now().max(shaken) + FAR;
            if pass.send((due, buffer[..count].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, bytes)) = passed.recv().await {
            tokio::time::sleep_until(due.into()).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    let _ = tokio::join!(read, write);
}

/// The real program.
struct Gateway {
    child: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Gateway {
    fn start(provider: SocketAddr, ca: &str) -> Gateway {
        let directory = tempfile::tempdir().expect("a directory");
        let (file, trusted) = (directory.path().join("gateway.toml"), directory.path().join("ca.pem"));
        fs::write(&trusted, ca).expect("written");
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [telemetry]\nlog = {{ format = \"json\", level = \"info\", access = false }}\n\
             [[routes]]\nname = \"r\"\nmatch = {{ path = \"/r\" }}\nprovider = \"elevenlabs\"\n\
             upstream = \"https://{provider}\"\nupstream_tls = {{ ca = \"{}\" }}\nwarm = {{ connections = 2 }}\n",
            trusted.display()
        );
        fs::write(&file, text).expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_speechgate"));
        let _ = command.args(["serve", "--config"]).arg(&file).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let (say, hear) = channel();
        let log = child.stderr.take().expect("piped");
        drop(std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                let Ok(line) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
                if let Some(address) = line["address"].as_str().and_then(|address| address.parse().ok()) {
                    let _ = say.send(address);
                }
            }
        }));
        let address = hear.recv_timeout(Duration::from_secs(30)).expect("the program listens");
        Gateway { child, address, _directory: directory }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
