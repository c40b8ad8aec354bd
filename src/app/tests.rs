//! A whole gateway in this process, driven through its two listeners.

use super::*;
use crate::config::load_str;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

const BASE: &str = "[server]\nlisten = \"127.0.0.1:0\"\nworkers = 2\ndrain_timeout = \"20s\"\n\
                    [admin]\nlisten = \"127.0.0.1:0\"\n";

/// The base configuration with a route of this name and prefix, to a port where nobody listens.
fn text(route: &str) -> String {
    text_to(route, 1)
}

fn text_to(route: &str, port: u16) -> String {
    format!(
        "{BASE}[[routes]]\nname = \"{route}\"\nmatch = {{ path = \"/{route}\" }}\nprovider = \"generic\"\n\
         upstream = \"http://127.0.0.1:{port}\"\ncredentials = {{ header = \"x-key\", value = \"hunter2\" }}\n"
    )
}

fn load(text: &str) -> Result<Loaded, String> {
    let mut loaded = load_str(&[("gateway.toml", text)], []).map_err(|problems| format!("{problems:?}"))?;
    // Access log lines would mix with the output of the tests.
    loaded.config.telemetry.access_log = false;
    Ok(loaded)
}

fn connect(address: &Listen) -> TcpStream {
    let Listen::Tcp(address) = address else { panic!("these tests have TCP listeners") };
    TcpStream::connect(address).expect("a connection")
}

/// One whole response.
fn ask(address: &Listen, line: &str) -> String {
    let mut stream = connect(address);
    let request = format!("{line} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the gateway reads");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).expect("a response in UTF-8");
    answer
}

struct Gateway {
    handle: Handle,
    /// The configuration that the next reload reads.
    file: Arc<Mutex<String>>,
}

fn gateway() -> Gateway {
    gateway_to(1)
}

fn gateway_to(port: u16) -> Gateway {
    let text = text_to("tts", port);
    let file = Arc::new(Mutex::new(text.clone()));
    let source = Arc::clone(&file);
    let reload: Load = Box::new(move |_| load(&source.lock().expect("no test panics inside")));
    let handle = start(load(&text).expect("a valid configuration"), Some(reload)).expect("free ports");
    Gateway { handle, file }
}

impl Gateway {
    fn admin(&self, line: &str) -> String {
        ask(self.handle.admin_address().expect("an admin listener"), line)
    }

    fn call(&self, path: &str) -> String {
        ask(self.handle.address(), &format!("GET {path}"))
    }

    fn write(&self, text: String) {
        *self.file.lock().expect("no test panics inside") = text;
    }
}

#[test]
fn the_admin_listener_shows_what_was_promised() {
    let gateway = gateway();
    assert!(gateway.call("/tts/x").starts_with("HTTP/1.1 502 "));
    for (line, status, part) in [
        ("GET /livez", 200, "ok\n"),
        ("HEAD /livez", 200, ""),
        ("GET /readyz", 200, "ok\n"),
        ("GET /", 200, "/metrics"),
        ("GET /config", 200, "\"value\": \"***\""),
        (
            "GET /metrics",
            200,
            "speechgate_requests_total{route=\"tts\",provider=\"generic\",method=\"GET\",status=\"502\"} 1\n",
        ),
        ("GET /metrics", 200, "content-type: text/plain; version=0.0.4"),
        ("POST /metrics", 405, "allow: GET, HEAD"),
        ("GET /-/reload", 405, "allow: POST"),
        ("GET /nothing", 404, ""),
    ] {
        let answer = gateway.admin(line);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(part), "{line}: {answer}");
        assert!(!answer.contains("hunter2"), "{line} shows a secret");
    }
    assert!(gateway.call("/metrics").starts_with("HTTP/1.1 404 "), "clients see nothing of it");
}

#[test]
fn an_admin_connection_continues_after_a_body() {
    let gateway = gateway();
    let mut stream = connect(gateway.handle.admin_address().expect("an admin listener"));
    let requests = "POST /-/reload HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n\
                    GET /livez HTTP/1.1\r\nhost: x\r\n\r\n\
                    POST /-/reload HTTP/1.1\r\nhost: x\r\ncontent-length: 10000000\r\n\r\n";
    stream.write_all(requests.as_bytes()).expect("the gateway reads");
    for end in ["reloaded\n", "ok\n", "length limit exceeded"] {
        let answer = String::from_utf8(until(&mut stream, end.as_bytes())).expect("text");
        assert!(answer.contains("content-security-policy: default-src 'none';"), "{answer}");
    }
    // Bytes that have not arrived yet are not waited for.
    assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
}

#[test]
fn a_valid_reload_is_in_force_and_an_invalid_one_changes_nothing() {
    let gateway = gateway();
    assert!(gateway.call("/stt/x").starts_with("HTTP/1.1 404 "));
    gateway.write(text("stt"));
    assert!(gateway.admin("POST /-/reload").ends_with("reloaded\n"));
    assert!(gateway.call("/stt/x").starts_with("HTTP/1.1 502 "));
    assert!(gateway.call("/tts/x").starts_with("HTTP/1.1 404 "));
    assert!(gateway.admin("GET /config").contains("\"stt\""));

    gateway.write(text("other").replace("provider = \"generic\"", "provider = \"unknown\""));
    let answer = gateway.admin("POST /-/reload");
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("unknown"), "{answer}");
    assert!(gateway.call("/stt/x").starts_with("HTTP/1.1 502 "));

    gateway.write(text("stt").replace("workers = 2", "workers = 1"));
    let answer = gateway.admin("POST /-/reload");
    assert!(answer.contains("restart: server.workers"), "{answer}");
    let metrics = gateway.admin("GET /metrics");
    for (result, count) in [("success", 2), ("failure", 1)] {
        let line = format!("speechgate_config_reloads_total{{result=\"{result}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}");
    }
}

/// A gateway with one request under way: the client's connection, and the provider's, which has not answered.
fn busy() -> (Gateway, TcpStream, TcpStream) {
    let provider = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let gateway = gateway_to(provider.local_addr().expect("a listener").port());
    let mut client = connect(gateway.handle.address());
    client.write_all(b"GET /tts/x HTTP/1.1\r\nhost: x\r\n\r\n").expect("the gateway reads");
    let (mut provider, _) = provider.accept().expect("the gateway connects");
    let _ = provider.read(&mut [0; 4096]).expect("the request");
    gateway.handle.stop();
    // The admin listener closes last: readiness must have failed before that.
    while gateway.admin("GET /readyz").starts_with("HTTP/1.1 200 ") {}
    (gateway, client, provider)
}

#[test]
fn stopping_fails_readiness_and_lets_requests_end() {
    let (gateway, mut client, mut provider) = busy();
    assert!(gateway.admin("GET /readyz").starts_with("HTTP/1.1 503 "));
    assert!(gateway.admin("GET /livez").starts_with("HTTP/1.1 200 "));
    provider.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").expect("the gateway reads");
    let mut answer = String::new();
    let _ = client.read_to_string(&mut answer).expect("a response, and then the end");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
    gateway.handle.join();
}

/// Reads until the received bytes end like this.
fn until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("more of what is waited for");
        bytes.extend(byte);
    }
    bytes
}

#[test]
fn stopping_closes_websockets_with_a_close_frame() {
    let provider = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let gateway = gateway_to(provider.local_addr().expect("a listener").port());
    let mut client = connect(gateway.handle.address());
    // The key and its response are the example of RFC 6455 1.3.
    let asked = "GET /tts/x HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.write_all(asked.as_bytes()).expect("the gateway reads");
    let (mut provider, _) = provider.accept().expect("the gateway connects");
    let _ = until(&mut provider, b"\r\n\r\n");
    let agreed = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                  sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    provider.write_all(agreed.as_bytes()).expect("the gateway reads");
    assert!(until(&mut client, b"\r\n\r\n").starts_with(b"HTTP/1.1 101 "));
    provider.write_all(b"\x81\x02hi").expect("the gateway reads");
    let _ = until(&mut client, b"\x81\x02hi");

    gateway.handle.stop();
    let told = until(&mut client, b"\x03\xe9shutting_down: This gateway is shutting down.");
    assert!(String::from_utf8_lossy(&told).contains("\"code\":\"shutting_down\""), "{told:?}");
    let going_away = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9];
    client.write_all(&going_away).expect("the gateway reads");
    // The frame is masked, so only the opcode and the length can be checked.
    let _ = until(&mut provider, &[0x88, 0x82]);
    provider.write_all(&[0x88, 0x02, 0x03, 0xe9]).expect("the gateway reads");
    drop((client, provider));
    gateway.handle.join();
}

#[test]
fn two_stops_end_at_once() {
    let (gateway, mut client, _provider) = busy();
    gateway.handle.stop();
    gateway.handle.join();
    let mut answer = String::new();
    let _ = client.read_to_string(&mut answer);
    assert_eq!(answer, "", "cut, not served");
}

#[test]
fn a_failed_start_names_its_cause() {
    let taken = gateway();
    let address = Address(taken.handle.address()).to_string();
    for (wrong, part) in [
        (text("tts").replacen("listen = \"127.0.0.1:0\"", &format!("listen = \"{address}\""), 1), address.as_str()),
        (
            text("tts").replacen(
                "workers = 2",
                "workers = 2\ntls = { certificate = \"/nonexistent.pem\", private_key = \"/k\" }",
                1,
            ),
            "/nonexistent.pem",
        ),
    ] {
        let error = match load(&wrong) {
            Ok(loaded) => start(loaded, None).map(drop).expect_err("it cannot start").to_string(),
            Err(problems) => problems,
        };
        assert!(error.contains(part), "{error}");
    }
}
