//! Informational responses of a provider (RFC 9110 15.2): passed on in order to clients that know them, and no more than a few.

use crate::support::http2::{Fate, H2, get_fields, request};
use crate::support::world::{get, json_answer, post};
use crate::support::{Act, Answer, Provider, World, envelope};
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
/// The most that one request's answers may have.
const MOST: usize = 16;

fn statuses(answer: &Answer) -> Vec<u16> {
    answer.informational.iter().map(|(status, _)| *status).collect()
}

#[test]
fn they_arrive_before_the_final_answer_is_there() {
    let (go, gone) = sync_channel::<()>(1);
    let gone = Mutex::new(gone);
    let world = World::around(
        Provider::with(move |mut conn| {
            while conn.request().is_some() {
                let _ = conn.wire.send(HINTS.as_bytes());
                let _ = gone.lock().expect("no holder panics").recv();
                let _ = conn.wire.send(OK.as_bytes());
            }
        }),
        |settings| settings,
    );
    let mut client = world.client();
    for _ in 0..3 {
        let (status, line, fields) = client.send(get("/p/a")).head().expect("a head");
        assert_eq!(
            (status, line.as_str(), fields.get("link").as_deref()),
            (103, "HTTP/1.1 103 Early Hints", Some("</p/a.css>"))
        );
        go.send(()).expect("the provider waits");
        let answer = client.answer();
        assert_eq!((answer.status, answer.text().as_str(), answer.informational.len()), (200, "ok", 0));
    }
}

#[test]
fn their_order_is_kept_and_100_is_not_forwarded() {
    let world = World::start();
    let fields =
        "Link: </b>\r\nConnection: X-Private\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 7\r\n";
    let heads = ["100 Continue", "102 Processing", "103 Early Hints", "142 Whatever"];
    let heads: String = heads.iter().map(|line| format!("HTTP/1.1 {line}\r\n{fields}\r\n")).collect();
    world.provider.next([Act::send(format!("{heads}{OK}"))]);
    let answer = world.get("/p/a");
    assert_eq!((statuses(&answer), answer.text().as_str()), (vec![102, 103, 142], "ok"));
    for (status, fields) in &answer.informational {
        assert_eq!(fields.get("link").as_deref(), Some("</p/b>"), "{status}");
        for name in ["connection", "x-private", "keep-alive", "content-length", "transfer-encoding"] {
            assert!(!fields.has(name), "{status} with {name}");
        }
    }
}

#[test]
fn a_failure_after_them_is_an_envelope_all_the_same() {
    let world = World::start();
    let failure = json_answer(404, "", "{\"detail\":{\"status\":\"voice_not_found\",\"message\":\"No.\"}}");
    world.provider.next([Act::send(HINTS), Act::Send(failure)]);
    let answer = world.get("/p/a");
    assert_eq!(statuses(&answer), [103]);
    let _ = envelope(&answer, "voice_not_found");
    world.provider.next([Act::send(HINTS), Act::Fin]);
    let answer = world.ask(post("/p/clip", "hello"));
    assert_eq!(statuses(&answer), [103]);
    let _ = envelope(&answer, "upstream_disconnected");
}

#[test]
fn each_of_several_pipelined_requests_gets_its_own() {
    let world = World::start();
    let expected = [1, 0, 2, 3, 0];
    for count in expected {
        world.provider.next([Act::send(HINTS.repeat(count)), Act::send(OK)]);
    }
    let mut client = world.client();
    let _ = client.send(expected.map(|_| get("/p/a")).concat());
    for count in expected {
        let answer = client.answer();
        assert_eq!((answer.informational.len(), answer.text().as_str()), (count, "ok"));
    }
}

#[test]
fn a_burst_is_bounded_and_delays_no_other_client() {
    let many = HINTS.repeat(1000);
    for head in [many.clone(), format!("HTTP/1.1 103 Early Hints\r\nLink: <{}>\r\n\r\n", "a".repeat(5000)).repeat(100)]
    {
        let world = World::start();
        world.provider.next([Act::send(&head), Act::send(OK)]);
        let answer = world.get("/p/a");
        assert_eq!(answer.text(), "ok");
        assert!((1..=MOST).contains(&answer.informational.len()), "{}", answer.informational.len());
        let bytes: usize =
            answer.informational.iter().filter_map(|(_, fields)| fields.get("link")).map(|link| link.len()).sum();
        assert!(bytes <= 16 * 1024, "{bytes}");
        world.sound().expect("others are served");
    }

    let block = many.into_bytes();
    let provider = Provider::with(move |mut conn| match conn.head() {
        Some((line, _)) if line.contains("/storm") => while conn.wire.send(&block).is_ok() {},
        Some(_) => drop(conn.wire.send(OK.as_bytes())),
        None => {}
    });
    let world = World::around(provider, |settings| settings.beside("short", "/s", "timeouts = { response = \"1s\" }"));
    let mut client = world.client();
    let _ = client.send(get("/s/storm")).head().expect("the first hint");
    let memory = world.gateway.memory();
    assert_eq!(world.get("/p/a").text(), "ok", "others are served in the meantime");
    let answer = client.answer();
    assert_eq!(answer.informational.len(), MOST - 1);
    let _ = envelope(&answer, "upstream_timeout");
    assert!(world.gateway.memory() < memory + (32 << 20), "informational responses are collected");
    assert_eq!(client.send(get("/p/a")).answer().text(), "ok", "the connection goes on");
}

#[test]
fn clients_of_http_2_get_the_final_answer_alone() {
    let world = World::start();
    world.provider.next([Act::send(HINTS), Act::send(OK)]);
    let fate = H2::to(world.gateway.address()).send(request(1, &get_fields("/p/a", &[]))).fate(1);
    assert_eq!(fate, Fate::Answered(200, b"ok".to_vec()));
}
