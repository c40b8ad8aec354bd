//! Sockets in great numbers, floods, and peers that do not read: memory and descriptors stay bounded, and others are served.

use crate::support::http2::{Fate, H2, SETTINGS, get_fields, request, request_head, with_method};
use crate::support::world::get;
use crate::support::{Client, DEADLINE, Gateway, Settings};
use speechgate::wire::frame::{Header, Opcode, frame};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const HANDSHAKE: &[u8] =
    b"GET /r/socket HTTP/1.1\r\nHost: gateway.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// What sockets that are not read may cost, in all: what waits in between is bounded for each.
const FLAT: usize = 24 << 20;
/// Descriptors that this process and the tests beside this one need.
const OTHERS: usize = 2500;

/// A provider that runs `work` on a thread for each connection.
fn provider(work: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let work = Arc::new(work);
    // It waits in accept until the test binary ends.
    drop(std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let work = Arc::clone(&work);
            stream.set_nodelay(true).expect("a TCP socket");
            drop(std::thread::spawn(move || work(stream)));
        }
    }));
    address
}

/// A provider that answers every handshake, or none, and says nothing more; one thread serves them all.
fn silent(answers: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(std::thread::spawn(move || {
        let mut held = Vec::new();
        for mut stream in listener.incoming().flatten() {
            if answers {
                head(&mut stream);
                let _ = stream.write_all(SWITCHING);
            }
            held.push(stream);
        }
    }));
    address
}

/// Reads up to the end of a head and not further.
fn head(stream: &mut TcpStream) {
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while !seen.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        seen.push(byte[0]);
    }
}

fn gateway(provider: SocketAddr, server: &str, route: &str) -> Gateway {
    let settings = Settings::new().server(server);
    // Its own word on each of thousands of sockets is not what is measured.
    let settings = settings.telemetry("log = { format = \"json\", level = \"info\", access = false }");
    Gateway::start_cramped(&settings.route("r", "/r", provider, route), descriptors())
}

/// How many descriptors a process may have here. That of this one is raised as far as it may be.
fn descriptors() -> usize {
    let own = std::process::id().to_string();
    let raise = Command::new("sh").args(["-c", "prlimit --pid \"$0\" --nofile=\"$(ulimit -Hn):\""]).arg(own).output();
    // Where that is impossible, what there is has to do.
    drop(raise);
    let limits = std::fs::read_to_string("/proc/self/limits").expect("a Linux kernel");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("a limit");
    line.split_whitespace().next().and_then(|limit| limit.parse().ok()).unwrap_or(1 << 20)
}

/// A socket that is open.
fn open(gateway: &Gateway) -> TcpStream {
    let mut stream = connect(gateway);
    stream.write_all(HANDSHAKE).expect("taken");
    head(&mut stream);
    stream
}

fn connect(gateway: &Gateway) -> TcpStream {
    let stream = TcpStream::connect_timeout(&gateway.address(), DEADLINE).expect("the gateway accepts");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    stream.set_nodelay(true).expect("a TCP socket");
    stream
}

/// A call is refused by the route table, which is answered by the gateway itself.
fn answers(gateway: &Gateway) {
    let started = Instant::now();
    let answer = Client::to(gateway.address()).send(get("/nowhere")).answer();
    assert_eq!(answer.status, 404);
    assert!(started.elapsed() < DEADLINE, "in {:?}", started.elapsed());
    assert_eq!(gateway.admin("/livez").status, 200);
}

/// Waits until something holds.
fn becomes(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn ten_thousand_half_open_sockets_exhaust_nothing() {
    let limit = descriptors();
    let gateway =
        gateway(silent(false), "max_connections = 15000\nheader_timeout = \"2m\"", "timeouts = { response = \"2m\" }");
    let (memory, files) = (gateway.memory(), gateway.descriptors());
    // Half a handshake: a descriptor here and one there.
    let halves = limit.saturating_sub(OTHERS).min(10_000);
    let mut held: Vec<TcpStream> = Vec::with_capacity(halves);
    for number in 0..halves {
        let mut stream = connect(&gateway);
        let said = &HANDSHAKE[..number % (HANDSHAKE.len() - 1)];
        stream.write_all(said).expect("taken");
        held.push(stream);
    }
    becomes("the connections to be taken", || gateway.descriptors() >= files + halves);
    answers(&gateway);
    // Whole handshakes that nobody answers: two descriptors here and two there, for as many as there is room.
    let whole = limit.saturating_sub(OTHERS + halves).min(4000) / 2;
    for _ in 0..whole {
        let mut stream = connect(&gateway);
        stream.write_all(HANDSHAKE).expect("taken");
        held.push(stream);
    }
    becomes("the handshakes to be passed on", || gateway.descriptors() >= files + halves + 2 * whole);
    answers(&gateway);
    // The yardstick is 100 times the size of what was sent; this is far less.
    let each = gateway.memory().saturating_sub(memory) / (halves + whole).max(1);
    assert!(each < 64 << 10, "{each} bytes for each of {halves} and {whole} sockets");
    drop(held);
    becomes("all to be given back", || gateway.descriptors() <= files + 16);
    answers(&gateway);
}

#[test]
fn sockets_with_vanished_peers_are_detected() {
    let sockets = (descriptors().saturating_sub(OTHERS) / 4).min(500);
    // A client that owes its close is given the time to play what came before: as long as a write may take.
    let gateway = gateway(silent(true), "write_timeout = \"1s\"", "timeouts = { websocket_idle = \"1s\" }");
    let files = gateway.descriptors();
    let held: Vec<TcpStream> = (0..sockets).map(|_| open(&gateway)).collect();
    // Nobody answers a ping, nobody closes: this end alone makes an end.
    gateway.metric_becomes("speechgate_websockets_open", &[], 0.0);
    gateway.metric_becomes("speechgate_errors_total", &[("code", "upstream_timeout")], held.len() as f64);
    becomes("all to be given back", || gateway.descriptors() <= files + 16);
    drop(held);
}

/// The beginning of a frame that announces so many bytes.
fn announced(opcode: Opcode, fin: bool, length: u64, masked: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    Header { fin, ..Header::new(opcode, masked.then_some([0; 4]), length) }.write(&mut bytes);
    bytes
}

#[test]
fn announced_lengths_allocate_nothing() {
    let announcements: Vec<(Opcode, bool, u64)> = [
        // The largest that may come; the largest that is held until it is whole; lengths that are refused.
        (Opcode::Binary, true, 16 << 20),
        (Opcode::Text, false, 16 << 20),
        (Opcode::Text, true, 64 << 10),
        (Opcode::Binary, true, (16 << 20) + 1),
        (Opcode::Binary, true, 1 << 40),
        (Opcode::Text, true, i64::MAX as u64),
    ]
    .to_vec();
    let said = announcements.clone();
    let turn = AtomicUsize::new(0);
    let address = provider(move |mut stream| {
        head(&mut stream);
        let (opcode, fin, length) = said[turn.fetch_add(1, Ordering::Relaxed) % said.len()];
        let _ = stream.write_all(&[SWITCHING, &announced(opcode, fin, length, false), b"{\"a"].concat());
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let gateway = gateway(address, "", "");
    drop(open(&gateway));
    let memory = gateway.memory();
    let mut held: Vec<TcpStream> = Vec::new();
    for number in 0..180 {
        let (opcode, fin, length) = announcements[number % announcements.len()];
        let mut stream = open(&gateway);
        stream.write_all(&[&announced(opcode, fin, length, true)[..], b"{\"a"].concat()).expect("taken");
        held.push(stream);
    }
    // A third of either side goes too far, so fewer than half are left; of those nothing is more than begun.
    becomes("the refused ones to end", || gateway.metric("speechgate_websockets_open", &[]) <= 90.0);
    let grown = gateway.memory().saturating_sub(memory);
    assert!(grown < FLAT, "{grown} bytes");
    answers(&gateway);
}

/// Sends as much as is taken, and says how much that was once nothing has been taken for a while.
fn pour(stream: &mut TcpStream, bytes: &[u8], most: usize) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(700))).expect("a deadline");
    let mut sent = 0;
    while sent < most {
        match stream.write(&bytes[sent % bytes.len()..]) {
            Ok(count) => sent += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(error) => panic!("{error} after {sent} bytes"),
        }
    }
    sent
}

/// Most that the kernel's buffers on a way of two connections take, with room to spare.
const KERNEL: usize = 40 << 20;
/// More than that is offered.
const FLOOD: usize = 256 << 20;

/// Frames of a kind that a flood is made of; their number divides evenly into what is offered.
fn flood(masked: bool) -> Vec<(&'static str, Vec<u8>)> {
    let mask = masked.then_some([1, 2, 3, 4]);
    let of = |opcode, size: usize| frame(opcode, &vec![b'*'; size], mask).to_vec();
    vec![
        ("pings", of(Opcode::Ping, 100).repeat(600)),
        ("empty pongs", of(Opcode::Pong, 0).repeat(10_000)),
        ("empty messages", of(Opcode::Text, 0).repeat(10_000)),
        ("messages", of(Opcode::Binary, 10_000).repeat(6)),
        (
            "texts that may be errors",
            frame(Opcode::Text, &[b"{\"detail\":\"", &[b'*'; 9000][..], b"\"}"].concat(), mask).repeat(6),
        ),
        ("large messages", of(Opcode::Binary, 1 << 20)),
    ]
}

#[test]
fn a_client_that_does_not_read_stops_the_provider() {
    side_by_side(flood(false), |name, bytes| {
        let (tell, told) = std::sync::mpsc::channel();
        let address = provider(move |mut stream| {
            head(&mut stream);
            stream.write_all(SWITCHING).expect("taken");
            tell.send(pour(&mut stream, &bytes, FLOOD)).expect("the test waits");
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let gateway = gateway(address, "", "");
        let memory = gateway.memory();
        let held = open(&gateway);
        let sent = told.recv_timeout(DEADLINE * 3).expect("the provider comes to a stop");
        stopped(&gateway, name, sent, memory);
        drop(held);
    });
}

#[test]
fn a_provider_that_does_not_read_stops_the_client() {
    side_by_side(flood(true), |name, bytes| {
        let gateway = gateway(silent(true), "", "");
        let memory = gateway.memory();
        let mut stream = open(&gateway);
        let sent = pour(&mut stream, &bytes, FLOOD);
        stopped(&gateway, name, sent, memory);
    });
}

/// Runs each row on a thread of its own: most of it is waiting.
fn side_by_side(rows: Vec<(&'static str, Vec<u8>)>, check: impl Fn(&str, Vec<u8>) + Sync) {
    std::thread::scope(|scope| {
        for (name, bytes) in rows {
            let check = &check;
            drop(scope.spawn(move || check(name, bytes)));
        }
    });
}

/// What is offered was taken only in part, and what was taken is not in memory.
fn stopped(gateway: &Gateway, name: &str, sent: usize, memory: usize) {
    let grown = gateway.memory().saturating_sub(memory);
    assert!((50_000..KERNEL).contains(&sent) && grown < FLAT, "{name}: {sent} bytes sent, {grown} more in memory");
    answers(gateway);
}

#[test]
fn a_flood_that_is_answered_passes_and_costs_no_memory() {
    // Pings without end: each is answered by the provider, and the answers are read.
    let address = provider(|mut stream| {
        head(&mut stream);
        stream.write_all(SWITCHING).expect("taken");
        let (ping, pong) = (frame(Opcode::Ping, b"abcd", Some([0; 4])), frame(Opcode::Pong, b"abcd", None));
        let mut seen = vec![0; ping.len()];
        while stream.read_exact(&mut seen).is_ok() && seen == ping {
            stream.write_all(&pong).expect("taken");
        }
    });
    let gateway = gateway(address, "", "");
    let mut stream = open(&gateway);
    let memory = gateway.memory();
    let pings = frame(Opcode::Ping, b"abcd", Some([0; 4])).repeat(100);
    let mut pongs = vec![0; frame(Opcode::Pong, b"abcd", None).len() * 100];
    for _ in 0..200 {
        stream.write_all(&pings).expect("taken");
        stream.read_exact(&mut pongs).expect("answers");
    }
    let grown = gateway.memory().saturating_sub(memory);
    assert!(grown < 2 << 20, "{grown} bytes");
}

#[test]
fn a_websocket_over_http2_is_rejected_and_the_connection_continues() {
    let gateway = gateway(silent(true), "", "");
    let mut h2 = H2::to(gateway.address());
    let settings = loop {
        let frame = h2.frame().expect("settings");
        if frame.kind == SETTINGS && frame.flags == 0 {
            break frame.payload;
        }
    };
    // SETTINGS_ENABLE_CONNECT_PROTOCOL, RFC 8441 3.
    assert!(settings.chunks(6).all(|setting| setting[..2] != [0, 8]), "{settings:?}");
    for (stream, more) in [
        (1, &[(":protocol", "websocket"), ("sec-websocket-version", "13")][..]),
        (3, &[("sec-websocket-version", "13"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]),
    ] {
        let fate = h2.send(request_head(stream, &with_method("CONNECT", "/r/socket", more))).fate(stream);
        assert!(matches!(fate, Fate::Answered(400..=501, _) | Fate::Reset(..)), "{more:?}: {fate:?}");
    }
    let fate = h2.send(request(5, &get_fields("/nowhere", &[]))).fate(5);
    assert!(matches!(fate, Fate::Answered(404, _)), "{fate:?}");
    assert_eq!(gateway.metric("speechgate_websockets_open", &[]), 0.0);
}
