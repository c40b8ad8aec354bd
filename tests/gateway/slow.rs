//! Clients that are slow on purpose, and the question whether others are held up.

use crate::support::check::canonical_if_any;
use crate::support::world::{get, post};
use crate::support::{Act, Client, End, Gateway, Provider, Settings, Wire, World, envelope};
use std::time::Duration;

/// Deadlines that a test can wait for.
fn impatient() -> World {
    World::with(|settings| {
        settings
            .server("header_timeout = \"300ms\"")
            .server("body_timeout = \"300ms\"")
            .server("keep_alive_timeout = \"300ms\"")
            .server("write_timeout = \"500ms\"")
    })
}

#[test]
fn a_head_that_never_ends_is_cut() {
    let world = impatient();
    let whole = get("/p/a");
    for length in [0, 1, 5, 17, whole.len() - 1] {
        let mut client = world.client();
        let _ = client.send(&whole[..length]);
        if let Ok(answer) = client.try_answer("GET") {
            assert_eq!(answer.status, 408, "after {length} bytes");
            canonical_if_any(&answer, "request_timeout");
            client.closed().expect("nothing after a 408");
        }
    }
    world.sound().expect("others are served");
}

#[test]
fn a_head_that_dribbles_is_cut_all_the_same() {
    let world = impatient();
    let mut client = world.client();
    let _ = client.send("GET /p/a HTTP/1.1\r\nHost: a\r\n");
    // Each byte comes well within the deadline, the head does not.
    let cut = (0..400).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        client.wire().send(b"X").is_err()
    });
    assert!(cut, "8 s of header bytes were accepted");
    world.sound().expect("others are served");
}

#[test]
fn a_body_that_never_ends_is_cut_and_the_call_cancelled() {
    let world = impatient();
    for start in ["", "hel"] {
        let mut client = world.client();
        let _ = client.send(format!("POST /p/clip HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n{start}"));
        let _ = envelope(&client.answer(), "request_timeout");
        client.closed().expect("the rest of the body is not awaited");
    }
    let mut client = world.client();
    let _ = client.send("POST /p/clip HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe");
    let _ = envelope(&client.answer(), "request_timeout");
    let (line, _) = world.provider.one_partial();
    assert_eq!(line, "POST /clip HTTP/1.1");
    world.sound().expect("others are served");
}

#[test]
fn a_body_that_is_merely_slow_is_not() {
    let world = World::with(|settings| settings.server("body_timeout = \"5s\"").server("header_timeout = \"300ms\""));
    let mut client = world.client();
    let _ = client.send("POST /p/clip HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    for byte in "hello".bytes() {
        // Past the header deadline altogether: that deadline must not count for bodies.
        std::thread::sleep(Duration::from_millis(100));
        let _ = client.send([byte]);
    }
    assert_eq!(client.answer().status, 200);
    assert_eq!(world.provider.one().body, b"hello");
}

#[test]
fn an_idle_connection_is_closed_between_requests_only() {
    let world = impatient();
    let mut client = world.client();
    assert_eq!(client.send(get("/p/a")).answer().status, 200);
    client.closed().expect("idle connections are closed");
}

/// A provider that streams until the gateway stops taking it, then says so.
fn endless() -> Provider {
    Provider::with(|mut conn| {
        while let Some(seen) = conn.request() {
            if !seen.target().starts_with("/endless") {
                let _ = conn.wire.send(crate::support::provider::OK);
                continue;
            }
            let _ =
                conn.wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 1000000000\r\n\r\n");
            let block = vec![b'a'; 64 * 1024];
            while conn.wire.send(&block).is_ok() {}
            let _ = conn.hang();
            return;
        }
    })
}

#[test]
fn a_client_that_stops_reading_is_let_go() {
    let world = World::around(endless(), |settings| settings.server("write_timeout = \"500ms\""));
    let mut client = Client::over(Wire::connect_narrow(world.gateway.address()));
    let (status, _, _) = client.send(get("/p/endless")).head().expect("a head");
    assert_eq!(status, 200);
    // The client reads nothing more and does not leave. The provider is told by a closed connection.
    let _ = world.provider.abandoned();
    assert_eq!(world.get("/p/a").status, 200, "others are served");
}

#[test]
fn many_stalled_clients_delay_no_other_client() {
    let world = World::with(|settings| settings.server("header_timeout = \"10s\"").server("body_timeout = \"10s\""));
    let stalled: Vec<Client> = (0..200)
        .map(|index| {
            let mut client = world.client();
            let half = if index % 2 == 0 { get("/p/a") } else { post("/p/a", "0123456789") };
            let _ = client.send(&half[..half.len() - 3]);
            client
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(world.get("/p/a").status, 200);
    }
    drop(stalled);
}

#[test]
fn connections_past_the_limit_are_refused_and_the_others_served() {
    let world = World::with(|settings| settings.server("max_connections = 4"));
    let mut open: Vec<Client> = (0..4).map(|_| world.client()).collect();
    for client in &mut open {
        assert_eq!(client.send(get("/p/a")).answer().status, 200);
    }
    let mut fifth = world.client();
    match fifth.send(get("/p/a")).try_answer("GET") {
        Ok(answer) => {
            canonical_if_any(&answer, "overloaded");
            assert_eq!(answer.status, 503);
        }
        Err(end) => assert!(matches!(end, End::Fin | End::Reset), "held: {end:?}"),
    }
    for client in &mut open {
        assert_eq!(client.send(get("/p/a")).answer().status, 200);
    }
    drop(open);
    // The places are free again, as soon as the gateway has noticed.
    let free = (0..200).any(|_| {
        let again = world.client().send(get("/p/a")).try_answer("GET").is_ok_and(|answer| answer.status == 200);
        if !again {
            std::thread::sleep(Duration::from_millis(20));
        }
        again
    });
    assert!(free, "places are given back");
}

#[test]
fn aborted_requests_leave_nothing_behind() {
    let world = World::start();
    world.provider.always([Act::send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), Act::Hang]);
    let _ = world.client().send(get("/p/warm")).head().expect("a head");
    let _ = world.provider.abandoned();
    let before = world.gateway.descriptors();
    for round in 0..50 {
        let mut client = world.client();
        let _ = client.send(get("/p/a")).head().expect("a head");
        if round % 2 == 0 {
            client.reset()
        } else {
            drop(client)
        }
        let _ = world.provider.abandoned();
    }
    world.gateway.metric_becomes("speechgate_requests_in_flight", &[], 0.0);
    let after = world.gateway.descriptors();
    assert!(after <= before + 8, "{before} descriptors before, {after} after");
}

#[test]
fn a_gateway_without_descriptors_waits_for_some_and_does_not_spin() {
    let provider = Provider::start();
    let gateway = Gateway::start_cramped(&Settings::standard(provider.address()), 64);
    let world = World { gateway, provider };
    let crowd: Vec<Client> = (0..100).map(|_| world.client()).collect();
    let before = world.gateway.ticks();
    // A loop that retries at once would use a core for this second.
    std::thread::sleep(Duration::from_secs(1));
    let used = world.gateway.ticks() - before;
    assert!(used < 25, "{used} hundredths of a second of processor time for waiting");
    drop(crowd);
    assert_eq!(world.get("/p/a").status, 200, "and serves again");
}
