//! SIGTERM and what follows: running streams finish, idle connections end, and then the program does.

use crate::support::http2::{GOAWAY, H2, get_fields, request};
use crate::support::world::get;
use crate::support::{Conn, Provider, World};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

/// A provider that sends half an answer, and the rest when the test says so.
fn halting() -> (Provider, Sender<()>) {
    let (say, heard) = channel::<()>();
    let heard = Mutex::new(heard);
    let provider = Provider::with(move |mut conn: Conn| {
        while let Some(seen) = conn.request() {
            if seen.target() == "/long" {
                let _ = conn.wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
                let _ = heard.lock().expect("one long answer at a time").recv();
                let _ = conn.wire.send(b"world");
            } else {
                let _ = conn.wire.send(crate::support::provider::OK);
            }
        }
    });
    (provider, say)
}

/// Waits until new connections are refused.
fn deaf(world: &World) {
    let deaf = (0..2000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        TcpStream::connect(world.gateway.address()).is_err()
    });
    assert!(deaf, "a draining gateway still accepts");
}

#[test]
fn an_idle_gateway_ends_at_once_and_well() {
    for signal in ["TERM", "INT"] {
        let mut world = World::start();
        assert_eq!(world.get("/p/a").status, 200);
        world.gateway.signal(signal);
        assert_eq!(world.gateway.ended().code(), Some(0), "{signal}");
    }
}

#[test]
fn running_answers_finish_and_idle_connections_end() {
    let (provider, say) = halting();
    let mut world = World::around(provider, |settings| settings.server("drain_timeout = \"20s\""));
    let mut idle = world.client();
    assert_eq!(idle.send(get("/p/a")).answer().status, 200);
    let mut running = world.client();
    let (status, _, _) = running.send(get("/p/long")).head().expect("a head");
    assert_eq!(status, 200);
    assert_eq!(world.gateway.admin("/readyz").status, 200);

    world.gateway.signal("TERM");
    deaf(&world);
    assert_eq!(world.gateway.admin("/readyz").status, 503, "not ready while draining");
    assert_eq!(world.gateway.admin("/livez").status, 200, "but alive");
    idle.closed().expect("idle connections end");
    say.send(()).expect("the provider listens");
    let mut body = Vec::new();
    running.wire().exact(10, &mut body).expect("the whole answer");
    assert_eq!(body, b"helloworld");
    assert_eq!(world.gateway.ended().code(), Some(0));
}

#[test]
fn what_outlasts_the_drain_is_cut() {
    let (provider, _say) = halting();
    let mut world = World::around(provider, |settings| settings.server("drain_timeout = \"300ms\""));
    let mut running = world.client();
    let (status, _, _) = running.send(get("/p/long")).head().expect("a head");
    assert_eq!(status, 200);
    world.gateway.signal("TERM");
    assert!(running.wire().exact(10, &mut Vec::new()).is_err(), "cut, not finished");
    assert_eq!(world.gateway.ended().code(), Some(0));
}

#[test]
fn callers_of_http_2_are_told_to_go_away() {
    let mut world = World::start();
    let mut h2 = H2::to(world.gateway.address());
    let _ = h2.send(request(1, &get_fields("/p/a", &[]))).fate(1);
    world.gateway.signal("TERM");
    let told = std::iter::from_fn(|| h2.frame().ok()).filter(|frame| frame.kind == GOAWAY).count();
    assert!(told > 0, "no GOAWAY before the end");
    assert_eq!(world.gateway.ended().code(), Some(0));
}
