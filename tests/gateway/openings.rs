//! Sockets whose clients show their gateway key in the first message.

use crate::support::world::get_with;
use crate::support::{Act, DEADLINE, Gateway, Provider, Settings};
use crate::tenant_sockets::{rest, socket, socket_provider};
use crate::tenants::{EXPIRED, HANDSHAKE, KEY, OTHER, ask, seen, tenants};
use speechgate::wire::frame::{Opcode, frame};
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const TARGET: &str = "/p/v1/text-to-speech/v/stream-input?model_id=m";
const MASK: Option<[u8; 4]> = Some([7, 1, 2, 3]);

/// `/p` and `/c` with a credential in a header, `/soniox` with one in the first message, `/own` without any.
fn settings(provider: SocketAddr) -> Settings {
    let header = "credentials = { header = \"xi-api-key\", value = \"sk-of-the-route\" }";
    let first = "credentials = { first_message = \"api_key\", value = \"sk-of-the-route\" }";
    let bearer = "credentials = { header = \"authorization\", value = \"Bearer sk-of-the-route\" }";
    let url = format!("http://{provider}");
    Settings::new()
        .route("plain", "/p", provider, header)
        .route("compatible", "/c", provider, &format!("envelope = \"compatible\"\n{header}"))
        .route_to("soniox", "/soniox", "soniox", &url, first)
        .route_to("soniox-header", "/bearer", "soniox", &url, bearer)
        .route("own", "/own", provider, &tenants())
}

fn text(json: &str) -> Vec<u8> {
    frame(Opcode::Text, json.as_bytes(), MASK).to_vec()
}

fn said(seen: &Mutex<Vec<u8>>) -> Vec<u8> {
    seen.lock().expect("no panic").clone()
}

/// Waits until the provider was told this much, and gives all of it unmasked as far as it is text.
fn told(seen: &Mutex<Vec<u8>>, enough: impl Fn(&str) -> bool) -> String {
    let began = Instant::now();
    loop {
        let text = readable(&said(seen));
        if enough(&text) {
            return text;
        }
        assert!(began.elapsed() < DEADLINE, "{text}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The head as it is, then the payloads of frames.
fn readable(bytes: &[u8]) -> String {
    use speechgate::wire::frame::{Sender, apply_mask, parse};
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    let mut all = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut left = &bytes[end..];
    while let Ok(Some((header, length))) = parse(left, Sender::Client) {
        let whole = length + usize::try_from(header.length).expect("small");
        let Some(payload) = left.get(length..whole) else { break };
        let mut payload = payload.to_vec();
        apply_mask(&mut payload, header.mask.expect("a client's"), 0);
        all.push_str(&format!("[{}]", String::from_utf8_lossy(&payload)));
        left = &left[whole..];
    }
    all
}

fn send(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).expect("taken");
}

#[test]
fn the_key_in_a_first_message_opens_the_socket_and_is_exchanged_in_its_place() {
    for (target, first, wanted) in [
        (
            TARGET,
            "{\"text\":\" \",\"xi_api_key\":\"KEY\",\"n\":1.10}",
            "[{\"text\":\" \",\"xi_api_key\":\"sk-of-the-route\",\"n\":1.10}]",
        ),
        (TARGET, "{\"authorization\":\"Bearer KEY\"}", "[{\"authorization\":\"Bearer sk-of-the-route\"}]"),
        (
            "/c/v1/text-to-dialogue/multi-stream-input",
            "{\"bearer_token\":\"KEY\"}",
            "[{\"bearer_token\":\"sk-of-the-route\"}]",
        ),
        (
            "/soniox/transcribe-websocket",
            "{\"api_key\":\"KEY\",\"model\":\"m\"}",
            "[{\"model\":\"m\",\"api_key\":\"sk-of-the-route\"}]",
        ),
        ("/bearer/transcribe-websocket", "{\"api_key\":\"KEY\"}", "[{\"api_key\":\"sk-of-the-route\"}]"),
    ] {
        let (provider, seen) = socket_provider();
        let gateway = Gateway::start(&settings(provider));
        let mut stream = socket(&gateway, target, "");
        send(&mut stream, &frame(Opcode::Binary, b"early", MASK));
        let first = text(&first.replace("KEY", &KEY));
        let (begin, end) = first.split_at(first.len() / 2);
        send(&mut stream, begin);
        std::thread::sleep(Duration::from_millis(50));
        assert!(said(&seen).is_empty(), "nobody is dialled before the key is there");
        send(&mut stream, end);
        send(&mut stream, &text("{\"text\":\"later\"}"));
        let told = told(&seen, |text| text.contains("later"));
        assert!(told.contains(&format!("[early]{wanted}[{{\"text\":\"later\"}}]")), "{target}: {told}");
        assert!(!told.contains(&KEY[3..]), "{target}: {told}");
        drop(stream);
        let line = gateway.line(|line| line["protocol"] == "HTTP/1.1");
        assert_eq!((&line["tenant"], &line["status"]), (&"a".into(), &101.into()), "{line}");
        assert!(!gateway.log().join("\n").contains(&KEY[3..]));
    }
}

#[test]
fn a_first_message_without_a_valid_key_opens_nothing() {
    let (provider, seen) = socket_provider();
    let gateway = Gateway::start(&settings(provider));
    let with = |key: &str| format!("{{\"text\":\" \",\"xi_api_key\":\"{key}\"}}");
    let unknown = speechgate::proxy::gateway_key::make().expect("random bytes");
    let mut refused = 0.0;
    for (message, code) in [
        (with(&unknown), "invalid_credentials"),
        (with(&KEY[..48]), "invalid_credentials"),
        (with("sk-of-a-provider"), "invalid_credentials"),
        (with(&EXPIRED), "expired_credentials"),
        (with(&OTHER), "permission_denied"),
        (with(""), "missing_credentials"),
        ("{}".to_owned(), "missing_credentials"),
        (format!("{{\"a\":{}}}", with(&KEY)), "missing_credentials"),
        ("hello".to_owned(), "missing_credentials"),
        ("{\"xi_api_key\":7}".to_owned(), "missing_credentials"),
    ] {
        for target in [TARGET, &TARGET.replace("/p/", "/c/")] {
            if code == "permission_denied" && target.starts_with("/p/") {
                continue;
            }
            let mut stream = socket(&gateway, target, "");
            send(&mut stream, &text(&message));
            send(&mut stream, &text("{}"));
            let told = rest(stream);
            assert!(
                told.contains(&format!("\"code\":\"{code}\"")) && told.contains("\"origin\":\"gateway\""),
                "{message}: {told}"
            );
            assert!(!told.contains(&KEY[3..]) && !told.contains(&unknown[3..]), "{told}");
            refused += 1.0;
        }
    }
    // A binary message has no place for a key: nobody waits long for another one, whether it comes whole or in parts.
    let binary = |payload: &[u8]| frame(Opcode::Binary, payload, MASK).to_vec();
    let mut part = binary(b"RIFF");
    part[0] &= 0x7f;
    for first in [binary(b"RIFF"), binary(with(&KEY).as_bytes()), binary(&[7; 70_000]), part] {
        let (mut stream, began) = (socket(&gateway, TARGET, ""), Instant::now());
        let _ = stream.write_all(&first);
        let told = rest(stream);
        assert!(told.contains("\"code\":\"missing_credentials\""), "{told}");
        assert!(began.elapsed() < Duration::from_secs(8), "it was waited for: {:?}", began.elapsed());
        refused += 1.0;
    }
    for message in [format!("{{\"xi_api_key\":\"{}\"}}", "x".repeat(70_000)), "x".repeat(90_000)] {
        let mut stream = socket(&gateway, TARGET, "");
        // It need not take all of it.
        let _ = stream.write_all(&text(&message));
        let told = rest(stream);
        assert!(told.contains("\"code\":\"payload_too_large\""), "{told}");
    }
    let mut stream = socket(&gateway, TARGET, "");
    send(&mut stream, &[0xff, 0x80, 0, 0, 0, 0]);
    assert!(rest(stream).contains("\"code\":\"invalid_request\""));
    assert!(said(&seen).is_empty(), "nothing went to the provider");
    let counted: f64 = ["plain", "compatible"]
        .map(|route| {
            gateway.metric("speechgate_limit_rejections_total", &[("route", route), ("limit", "authentication")])
        })
        .iter()
        .sum();
    assert_eq!(counted, refused);
    gateway.metric_becomes("speechgate_requests_in_flight", &[("route", "plain")], 0.0);
}

/// A close of the dialect's kind, as its SDKs read it: 3000 by the code's row.
#[test]
fn the_close_says_so_too() {
    let (provider, _) = socket_provider();
    let gateway = Gateway::start(&settings(provider));
    let mut stream = socket(&gateway, TARGET, "");
    send(&mut stream, &text("{\"xi_api_key\":\"sg_no\"}"));
    let told = rest(stream);
    let close = told.rfind("invalid_credentials:").expect("a reason");
    assert!(told[..close].len() > 2, "{told}");
    let line = gateway.line(|line| line["code"] == "invalid_credentials");
    assert_eq!((&line["status"], &line["close_code"]), (&101.into(), &serde_json::Value::Null), "{line}");
    gateway.metric_becomes(
        "speechgate_errors_total",
        &[("code", "invalid_credentials"), ("transport", "websocket")],
        1.0,
    );
}

#[test]
fn a_client_that_shows_nothing_is_not_waited_for_long() {
    let (provider, seen) = socket_provider();
    let gateway = Gateway::start(&settings(provider));
    let began = Instant::now();
    let mut silent = socket(&gateway, TARGET, "");
    // Pings do not make it one that has spoken.
    send(&mut silent, &frame(Opcode::Ping, b"p", MASK));
    let mut leaves = socket(&gateway, TARGET, "");
    send(&mut leaves, &frame(Opcode::Text, b"{", MASK)[..3]);
    drop(leaves);
    gateway.metric_becomes("speechgate_requests_in_flight", &[("route", "plain")], 1.0);
    assert!(began.elapsed() < Duration::from_secs(5));
    let told = rest(silent);
    assert!(told.contains("\"code\":\"missing_credentials\""), "{told}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert!(said(&seen).is_empty());
}

/// Where no key belongs into the first message, the handshake is refused as ever.
#[test]
fn other_handshakes_without_a_key_are_refused_at_once() {
    let (provider, _) = socket_provider();
    let gateway = Gateway::start(&settings(provider));
    for target in ["/p/v1/other", "/own/v1/text-to-speech/v/stream-input", "/soniox/v1/x"] {
        let expected = if target.starts_with("/soniox") { 101 } else { 401 };
        let answer = ask(&gateway, get_with(target, &format!("{HANDSHAKE}Content-Length: 0\r\n")));
        assert_eq!(answer.status, expected, "{target}");
    }
    let answer = ask(&gateway, get_with(TARGET, &format!("xi-api-key: sg_no\r\n{HANDSHAKE}")));
    assert_eq!(answer.status, 401, "whoever shows a wrong key has shown one");
    let offered = socket_head(&gateway, "Sec-WebSocket-Protocol: v1, v2\r\n");
    assert!(offered.to_ascii_lowercase().contains("sec-websocket-protocol: v1\r\n"), "{offered}");
}

fn socket_head(gateway: &Gateway, lines: &str) -> String {
    let mut client = gateway.client();
    let _ = client.send(get_with(TARGET, &format!("{lines}{HANDSHAKE}")));
    let (status, line, fields) = client.head().expect("a head");
    assert_eq!(status, 101, "{line}");
    let protocol = fields.get("sec-websocket-protocol").unwrap_or_default();
    format!("sec-websocket-protocol: {protocol}\r\n")
}

/// The provider's refusal comes too late for a status: it is told on the socket.
#[test]
fn a_refused_provider_handshake_is_reported_on_the_socket() {
    let provider = Provider::start();
    let gateway = Gateway::start(&settings(provider.address()));
    let first = text(&format!("{{\"text\":\" \",\"xi_api_key\":\"{}\"}}", *KEY));
    for (answer, code) in [
        (
            "HTTP/1.1 429 No\r\nContent-Type: application/json\r\nContent-Length: 78\r\n\r\n{\"detail\":{\"status\":\"too_many_concurrent_requests\",\"message\":\"Too many now.\"}}   ",
            "concurrency_limited",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "invalid_upstream_response"),
        ("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "invalid_upstream_response"),
    ] {
        provider.next([Act::send(answer)]);
        let mut stream = socket(&gateway, TARGET, "");
        send(&mut stream, &first);
        let told = rest(stream);
        assert!(told.contains(&format!("\"code\":\"{code}\"")), "{answer}: {told}");
        let seen = seen(&provider);
        assert!(seen.contains("sk-of-the-route") && !seen.contains(&KEY[3..]), "{seen}");
    }
    gateway.metric_becomes("speechgate_requests_in_flight", &[("route", "plain")], 0.0);
}

/// The key of a first message is watched like any other.
#[test]
fn a_socket_that_a_first_message_opened_ends_with_its_key() {
    let (provider, seen) = socket_provider();
    let gateway = Gateway::start(&settings(provider));
    let mut stream = socket(&gateway, TARGET, "");
    send(&mut stream, &text(&format!("{{\"text\":\" \",\"xi_api_key\":\"{}\"}}", *KEY)));
    let _ = told(&seen, |text| text.contains("[{\"text\":\" \""));
    let without = settings(provider).text().replacen("name = \"a\"\nkeys = [", "name = \"a\"\nkeys = [] # [", 1);
    std::fs::write(gateway.file("gateway.toml"), without).expect("written");
    assert_eq!(gateway.ask_admin("POST", "/-/reload").status, 200);
    let began = Instant::now();
    let told = rest(stream);
    assert!(told.contains("\"code\":\"invalid_credentials\"") && began.elapsed() < Duration::from_secs(1), "{told}");
}
