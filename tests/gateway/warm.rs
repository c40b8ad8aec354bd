//! Warm connections: there before the first call, gone after a drain, kept over a reload, and shown.

use crate::support::world::get;
use crate::support::{Conn, Gateway, Provider, Settings, World};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

const CONNECTIONS: &str = "speechgate_upstream_connections";

/// A provider that counts its connections: those that came, and those that ended.
fn counting() -> (Provider, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (begun, ended) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let counts = (Arc::clone(&begun), Arc::clone(&ended));
    let provider = Provider::with(move |mut conn: Conn| {
        let _ = begun.fetch_add(1, SeqCst);
        while conn.request().is_some() {
            let _ = conn.wire.send(crate::support::provider::OK);
        }
        let _ = ended.fetch_add(1, SeqCst);
    });
    (provider, counts.0, counts.1)
}

fn becomes(count: &AtomicUsize, expected: usize) {
    let until = Instant::now() + Duration::from_secs(10);
    while count.load(SeqCst) != expected {
        assert!(Instant::now() < until, "{expected} are expected, there are {}", count.load(SeqCst));
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until a route's connections are shown so.
fn shown(gateway: &Gateway, route: &str, [idle, active, warm, spare]: [f64; 4]) {
    for (state, count) in [("idle", idle), ("active", active), ("warm", warm), ("spare", spare)] {
        gateway.metric_becomes(CONNECTIONS, &[("route", route), ("state", state)], count);
    }
}

#[test]
fn connections_are_there_before_the_first_call_and_gone_after_a_drain() {
    let (provider, begun, ended) = counting();
    let settings = Settings::new().route("warm", "/w", provider.address(), "warm = { connections = 2 }");
    let mut gateway = Gateway::start(&settings);
    becomes(&begun, 2);
    shown(&gateway, "warm", [0.0, 0.0, 2.0, 0.0]);
    assert_eq!(gateway.client().send(get("/w/a")).answer().status, 200);
    // The one that was taken waits for its next call; another has taken its place.
    becomes(&begun, 3);
    shown(&gateway, "warm", [1.0, 0.0, 2.0, 0.0]);
    gateway.signal("TERM");
    assert_eq!(gateway.ended().code(), Some(0));
    becomes(&ended, 3);
    assert_eq!(begun.load(SeqCst), 3);
}

#[test]
fn a_drain_closes_them_while_calls_still_run() {
    let (say, heard) = std::sync::mpsc::channel::<()>();
    let heard = std::sync::Mutex::new(heard);
    let (begun, ended) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let counts = (Arc::clone(&begun), Arc::clone(&ended));
    let provider = Provider::with(move |mut conn: Conn| {
        let _ = counts.0.fetch_add(1, SeqCst);
        if conn.request().is_some() {
            let _ = conn.wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
            let _ = heard.lock().expect("one long answer").recv();
            let _ = conn.wire.send(b"world");
        }
        let _ = counts.1.fetch_add(1, SeqCst);
    });
    let settings = Settings::new().route("warm", "/w", provider.address(), "warm = { connections = 2 }");
    let mut gateway = Gateway::start(&settings.server("drain_timeout = \"20s\""));
    becomes(&begun, 2);
    let mut running = gateway.client();
    let (status, _, _) = running.send(get("/w/long")).head().expect("a head");
    assert_eq!(status, 200);
    becomes(&begun, 3);
    gateway.signal("TERM");
    becomes(&ended, 2);
    say.send(()).expect("the provider listens");
    let mut body = Vec::new();
    running.wire().exact(10, &mut body).expect("the whole answer");
    assert_eq!(body, b"helloworld");
    assert_eq!(gateway.ended().code(), Some(0));
    assert_eq!(begun.load(SeqCst), 3, "nothing was dialled while it drained");
}

#[test]
fn a_reload_keeps_wanted_connections_and_closes_the_rest() {
    let ((kept, kept_begun, kept_ended), (gone, gone_begun, gone_ended)) = (counting(), counting());
    let warm = "warm = { connections = 2 }";
    let before = Settings::new().route("kept", "/k", kept.address(), warm).route("gone", "/g", gone.address(), warm);
    let gateway = Gateway::start(&before);
    becomes(&kept_begun, 2);
    becomes(&gone_begun, 2);
    let after = Settings::new().route("kept", "/k", kept.address(), warm).route("gone", "/g", gone.address(), "");
    fs::write(gateway.file("gateway.toml"), after.text()).expect("written");
    assert_eq!(gateway.ask_admin("POST", "/-/reload").status, 200);
    becomes(&gone_ended, 2);
    shown(&gateway, "gone", [0.0, 0.0, 0.0, 0.0]);
    assert_eq!((kept_begun.load(SeqCst), kept_ended.load(SeqCst)), (2, 0));
    // And back again, beside one more for the other.
    let more = Settings::new().route("kept", "/k", kept.address(), "warm = { connections = 3 }").route(
        "gone",
        "/g",
        gone.address(),
        warm,
    );
    fs::write(gateway.file("gateway.toml"), more.text()).expect("written");
    assert_eq!(gateway.ask_admin("POST", "/-/reload").status, 200);
    becomes(&gone_begun, 4);
    becomes(&kept_begun, 3);
    assert_eq!(kept_ended.load(SeqCst), 0);
}

#[test]
fn a_gateway_is_ready_although_no_upstream_is_reachable() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let gateway = Gateway::start(&Settings::new().route("warm", "/w", closed, "warm = { connections = 4 }"));
    assert_eq!(gateway.admin("/readyz").status, 200);
    assert_eq!(gateway.client().send(get("/w/a")).answer().status, 502);
    shown(&gateway, "warm", [0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn routes_without_it_dial_when_they_are_called() {
    let (provider, begun, _ended) = counting();
    let world = World::around(provider, |settings| settings);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(begun.load(SeqCst), 0);
    assert_eq!(world.get("/p/a").status, 200);
    becomes(&begun, 1);
    shown(&world.gateway, "plain", [1.0, 0.0, 0.0, 0.0]);
}

/// Whoever looks at the network sees no more than the calls need.
#[test]
fn an_upstream_whose_circuit_is_open_is_not_dialled() {
    let (begun, requests) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let counts = (Arc::clone(&begun), Arc::clone(&requests));
    let provider = Provider::with(move |mut conn: Conn| {
        let _ = counts.0.fetch_add(1, SeqCst);
        if conn.request().is_some() {
            let _ = counts.1.fetch_add(1, SeqCst);
            let _ = conn.wire.send(b"HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let lines = "warm = { connections = 1 }\ncircuit_breaker = { failures = 1, window = \"30s\", open = \"60s\" }";
    let gateway = Gateway::start(&Settings::new().route("warm", "/w", provider.address(), lines));
    becomes(&begun, 1);
    assert_eq!(gateway.client().send(get("/w/a")).answer().status, 503);
    gateway.metric_becomes("speechgate_upstream_circuit", &[("route", "warm"), ("state", "open")], 1.0);
    let dialled = begun.load(SeqCst);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(begun.load(SeqCst) <= dialled + 1, "one may have been under way");
    assert_eq!(requests.load(SeqCst), 1);
}
