//! The provider's socket ends between generations, and the client keeps its own.

use crate::played::{End, deaf, played};
use crate::support::{Gateway, Peer, closing, down, gateway, provider, up};
use serde_json::{Value, json};
use speechgate::wire::frame::Opcode::{Close, Ping, Pong, Text};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

pub(crate) const REDIAL: &str = "websocket = { redial = true }";

/// A provider of a test's own: sockets have a session, greet, and are told to be set up.
pub(crate) const OWN: &str = r#"websocket = { redial = true }
[[providers.own.generations]]
id = "$.id"
begins = { "$.text" = { matches = '\S' } }
ends = { "$.done" = true }
[[providers.own.errors]]
phase = "frame"
when = { "$.type" = "error" }
[providers.own]
extends = "generic"
code = "$.code"
[providers.own.codes]
IDLE = "session_timeout"
[[providers.own.websocket.redial]]
greeting = { "$.type" = "hello" }
opening = [{ when = { "$.type" = "setup" }, answer = { "$.type" = "ready" } }]
"#;

/// How many idle ends are tried.
pub(crate) fn many() -> usize {
    if std::env::var_os("SPEECHGATE_FULL").is_some() { 10_000 } else { 500 }
}

pub(crate) async fn opened(gateway: &Gateway) -> Peer {
    let mut client = gateway.ask_at("/tts/websocket?token=secret", "X-Own: kept\r\n").await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    client
}

pub(crate) fn text(message: &Value) -> Vec<u8> {
    up(Text, message.to_string())
}

pub(crate) fn speak(id: &str) -> Value {
    json!({ "context_id": id, "transcript": "Hello.", "continue": false })
}

pub(crate) fn chunk(id: &str) -> Value {
    json!({ "type": "chunk", "context_id": id, "data": "AAAA", "done": false })
}

pub(crate) fn done(id: &str) -> Value {
    json!({ "type": "done", "context_id": id, "done": true })
}

/// One utterance from the client's first word to the provider's last.
pub(crate) async fn utterance(client: &mut Peer, end: &mut End, id: &str) {
    client.send(&text(&speak(id))).await;
    end.hears(&speak(id)).await;
    end.says(&chunk(id));
    end.says(&done(id));
    assert_eq!(client.next().await.json(), chunk(id));
    assert_eq!(client.next().await.json(), done(id));
}

pub(crate) async fn counted(gateway: &Gateway, outcomes: &[(&str, u64)]) {
    let samples: Vec<String> =
        outcomes.iter().map(|(outcome, count)| format!("{{route=\"r\",outcome=\"{outcome}\"}} {count}")).collect();
    let samples: Vec<&str> = samples.iter().map(String::as_str).collect();
    gateway.counts("speechgate_socket_redials_total", &samples).await;
}

/// A provider that says two messages for each text and then closes, for want of words as it says.
pub(crate) async fn closing_each(reason: &'static str, sockets: Arc<AtomicUsize>) -> SocketAddr {
    provider(move |mut peer, _| {
        let sockets = Arc::clone(&sockets);
        async move {
            let _ = sockets.fetch_add(1, Ordering::Relaxed);
            peer.accept("").await;
            while let Some(frame) = peer.frame().await {
                match frame.opcode {
                    Text => {}
                    Ping => {
                        peer.send(&down(Pong, frame.payload)).await;
                        continue;
                    }
                    _ => return,
                }
                let id = frame.json()["context_id"].as_str().expect("an id").to_owned();
                let said = [down(Text, chunk(&id).to_string()), down(Text, done(&id).to_string())].concat();
                peer.send(&[said, down(Close, closing(1000, reason))].concat()).await;
            }
        }
    })
    .await
}

/// The client says its next sentence as soon as it has heard the last, whatever the provider's close does meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_closes_between_utterances_are_seen_by_no_client() {
    let sockets = Arc::new(AtomicUsize::new(0));
    let address = closing_each("connection idle timeout", Arc::clone(&sockets)).await;
    let gateway = gateway("cartesia", address, REDIAL, "");
    let mut client = opened(&gateway).await;
    let count = many();
    for number in 0..count {
        let id = number.to_string();
        client.send(&text(&speak(&id))).await;
        assert_eq!(client.next().await.json(), chunk(&id));
        assert_eq!(client.next().await.json(), done(&id));
    }
    client.send(&up(Close, closing(1000, "bye"))).await;
    assert_eq!(client.next().await.close(), (1000, String::new()));
    assert!(sockets.load(Ordering::Relaxed) >= count);
    assert_eq!(gateway.metric("speechgate_errors_total").await, [""; 0]);
    counted(&gateway, &[("success", count as u64 - 1)]).await;
}

/// Of the same target, credential and fields, and none before the client says something.
#[tokio::test]
async fn the_next_socket_is_as_the_last_was_and_waits_for_the_client() {
    let (address, mut ends) = played().await;
    let gateway = gateway("cartesia", address, REDIAL, "");
    let mut client = opened(&gateway).await;
    let mut first = ends.recv().await.expect("a socket");
    utterance(&mut client, &mut first, "a").await;
    first.closes(1000, "");
    let head = first.head.clone();
    first.leaves().await;
    // A ping is no reason, and is answered.
    client.send(&up(Ping, "here?")).await;
    let pong = client.next().await;
    assert_eq!((pong.opcode, &*pong.payload), (Pong, &b"here?"[..]));
    assert!(ends.try_recv().is_err());
    client.send(&text(&speak("b"))).await;
    let mut second = ends.recv().await.expect("another socket");
    assert_eq!(second.head, head);
    assert!(head.contains("x-own: kept") && head.contains("/tts/websocket?token=secret"), "{head}");
    second.hears(&speak("b")).await;
    second.says(&chunk("b"));
    assert_eq!(client.next().await.json(), chunk("b"));
    counted(&gateway, &[("success", 1)]).await;
}

#[tokio::test]
async fn a_drain_and_a_loss_are_made_up_for_at_once_and_once() {
    for (code, lost) in [(1001, false), (1012, false), (1013, false), (0, true)] {
        let (address, mut ends) = played().await;
        let gateway = gateway("cartesia", address, REDIAL, "");
        let mut client = opened(&gateway).await;
        let mut end = ends.recv().await.expect("a socket");
        utterance(&mut client, &mut end, "a").await;
        let part = |end: End| if lost { drop(end) } else { end.closes(code, "bye") };
        part(end);
        // Without a word of the client's.
        part(ends.recv().await.expect("another socket"));
        counted(&gateway, &[("success", 1)]).await;
        client.send(&text(&speak("b"))).await;
        let mut end = ends.recv().await.expect("a third socket");
        end.hears(&speak("b")).await;
        end.says(&chunk("b"));
        assert_eq!(client.next().await.json(), chunk("b"));
        counted(&gateway, &[("success", 2)]).await;
    }
}

/// Within a generation the client is told as ever, whatever ends the socket.
#[tokio::test]
async fn in_the_middle_of_a_generation_the_client_is_always_told() {
    for (code, reason) in [(1000, "connection idle timeout"), (1001, ""), (1012, "restart"), (1011, "oops"), (0, "")] {
        for heard in 0..2 {
            let (address, mut ends) = played().await;
            let gateway = gateway("cartesia", address, REDIAL, "");
            let mut client = opened(&gateway).await;
            let mut end = ends.recv().await.expect("a socket");
            utterance(&mut client, &mut end, "a").await;
            client.send(&text(&speak("b"))).await;
            end.hears(&speak("b")).await;
            if heard == 1 {
                end.says(&chunk("b"));
                assert_eq!(client.next().await.json(), chunk("b"));
            } else {
                // Longer than two words need to pass each other.
                tokio::time::sleep(std::time::Duration::from_millis(700)).await;
            }
            if code == 0 {
                drop(end);
            } else {
                end.closes(code, reason);
            }
            let frames = client.frames_until_close().await;
            assert!(frames.len() > 1 && frames[0].json()["context_id"] == "b", "{code}: {frames:?}");
            assert!(ends.try_recv().is_err(), "{code}");
            assert_eq!(gateway.metric("speechgate_socket_redials_total").await, [""; 0]);
        }
    }
}

#[tokio::test]
async fn a_close_that_is_the_provider_s_word_on_the_session_is_passed_on() {
    for (code, reason) in [(1000, "done"), (1008, "invalid api key"), (1011, "internal error"), (4001, "")] {
        let (address, mut ends) = played().await;
        let gateway = gateway("own", address, OWN, "");
        let mut client = opened(&gateway).await;
        ends.recv().await.expect("a socket").closes(code, reason);
        let frames = client.frames_until_close().await;
        assert_eq!(frames.last().expect("a close").close().0, code, "{frames:?}");
        assert!(ends.try_recv().is_err());
    }
}

#[tokio::test]
async fn openings_are_said_again_in_order_and_answers_are_told_once() {
    let (address, mut ends) = played().await;
    let gateway = gateway("own", address, OWN, "");
    let mut client = opened(&gateway).await;
    let mut end = ends.recv().await.expect("a socket");
    let setup = |number: u32| json!({ "type": "setup", "number": number, "long": "x".repeat(40_000) });
    let (hello, ready) = (json!({ "type": "hello" }), json!({ "type": "ready" }));
    end.says(&hello);
    assert_eq!(client.next().await.json(), hello);
    for number in 0..3 {
        client.send(&text(&setup(number))).await;
        end.hears(&setup(number)).await;
        end.says(&ready);
        assert_eq!(client.next().await.json(), ready);
    }
    for round in 0..3 {
        // The provider says so in a message, then closes with a code of its own.
        end.says(&json!({ "type": "error", "code": "IDLE" }));
        end.closes(4008, "");
        let word = json!({ "id": "a", "text": format!("Hello {round}.") });
        client.send(&text(&word)).await;
        end = ends.recv().await.expect("another socket");
        end.says(&hello);
        end.hears(&setup(2)).await;
        end.hears(&word).await;
        end.says(&ready);
        end.says(&json!({ "id": "a", "audio": round }));
        end.says(&json!({ "id": "a", "done": true }));
        assert_eq!(client.next().await.json(), json!({ "id": "a", "audio": round }));
        assert_eq!(client.next().await.json(), json!({ "id": "a", "done": true }));
    }
    assert_eq!(gateway.metric("speechgate_errors_total").await, [""; 0]);
    counted(&gateway, &[("success", 3)]).await;
}

/// More than can be kept, or than is looked at: the client is told.
#[tokio::test]
async fn an_opening_that_is_too_long_to_be_kept_is_not_left_out() {
    for long in [70_000, 2_000_000] {
        let (address, mut ends) = played().await;
        let gateway = gateway("own", address, OWN, "");
        let mut client = opened(&gateway).await;
        let mut end = ends.recv().await.expect("a socket");
        let setup = json!({ "type": "setup", "long": "x".repeat(long) });
        client.send(&text(&setup)).await;
        end.hears(&setup).await;
        end.closes(1000, "idle");
        assert_eq!(client.frames_until_close().await.last().expect("a close").close().0, 1000);
        assert!(ends.try_recv().is_err());
    }
}

/// A provider that accepts once, is idle, and then answers so.
pub(crate) async fn refusing(answer: &'static str) -> SocketAddr {
    let first = AtomicUsize::new(0);
    provider(move |mut peer, _| {
        let number = first.fetch_add(1, Ordering::Relaxed);
        async move {
            if number == 0 {
                peer.accept("").await;
                peer.send(&down(Close, closing(1000, "idle timeout"))).await;
            } else {
                peer.send(answer.as_bytes()).await;
            }
            let _ = peer.rest().await;
        }
    })
    .await
}

#[tokio::test]
async fn a_client_is_told_of_the_end_when_no_socket_takes_its_place() {
    let unauthorized = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    for (answer, outcome) in
        [(unauthorized, "refused"), ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "refused")]
    {
        let gateway = gateway("cartesia", refusing(answer).await, REDIAL, "");
        let mut client = opened(&gateway).await;
        client.send(&text(&speak("a"))).await;
        let frames = client.frames_until_close().await;
        // Its sentence went nowhere: it is told so, and not that all went well.
        let code = if answer == unauthorized { "invalid_credentials" } else { "upstream_disconnected" };
        let told = frames[0].json();
        assert_eq!((&told["error"]["code"], &told["context_id"]), (&json!(code), &json!("a")), "{frames:?}");
        assert_ne!(frames.last().expect("a close").close().0, 1000, "{frames:?}");
        counted(&gateway, &[(outcome, 1)]).await;
    }
    // A wait that the provider asks for binds whoever comes next, and nobody is dialled meanwhile.
    let later = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 30\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let gateway = gateway("cartesia", refusing(later).await, REDIAL, "");
    let mut client = opened(&gateway).await;
    client.send(&text(&speak("a"))).await;
    let _ = client.frames_until_close().await;
    counted(&gateway, &[("refused", 1)]).await;
    let mut next = gateway.ask_at("/tts/websocket?token=secret", "").await;
    assert!(next.head().await.starts_with("HTTP/1.1 429 "));
}

#[tokio::test]
async fn a_rate_of_the_route_counts_every_socket() {
    let sockets = Arc::new(AtomicUsize::new(0));
    let address = closing_each("idle", Arc::clone(&sockets)).await;
    let route = format!("{REDIAL}\nrate_limits = [{{ requests = 3, per = \"1h\" }}]");
    let gateway = gateway("cartesia", address, &route, "");
    let mut client = opened(&gateway).await;
    for id in ["0", "1", "2"] {
        client.send(&text(&speak(id))).await;
        assert_eq!(client.next().await.json(), chunk(id));
        assert_eq!(client.next().await.json(), done(id));
    }
    client.send(&text(&speak("3"))).await;
    let told = client.next().await.json();
    assert_eq!(
        (&told["error"]["code"], &told["error"]["origin"]),
        (&json!("rate_limited"), &json!("gateway")),
        "{told}"
    );
    assert_eq!(told["context_id"], "3", "{told}");
    assert_eq!(sockets.load(Ordering::Relaxed), 3);
    counted(&gateway, &[("success", 2), ("limited", 1)]).await;
}

/// A provider that ends each socket before anything was done on it is asked five times and no more.
#[tokio::test]
async fn a_provider_that_always_ends_is_not_asked_for_ever() {
    let address = provider(|mut peer, _| async move {
        peer.accept("").await;
        peer.send(&down(Close, closing(1000, "idle"))).await;
        let _ = peer.rest().await;
    })
    .await;
    let gateway = gateway("cartesia", address, REDIAL, "");
    let mut client = opened(&gateway).await;
    for id in 0..20 {
        client.send(&text(&json!({ "context_id": id.to_string(), "cancel": true }))).await;
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
    assert_eq!(client.frames_until_close().await.last().expect("a close").close().0, 1000);
    counted(&gateway, &[("success", 5), ("limited", 1)]).await;
}

/// A provider that never answers a second handshake.
pub(crate) async fn mute() -> (SocketAddr, UnboundedReceiver<()>) {
    let (tell, told) = unbounded_channel();
    let first = AtomicUsize::new(0);
    let address = provider(move |mut peer, _| {
        let (number, tell) = (first.fetch_add(1, Ordering::Relaxed), tell.clone());
        async move {
            if number == 0 {
                peer.accept("").await;
                peer.send(&down(Close, closing(1000, "idle"))).await;
            } else {
                let _ = tell.send(());
            }
            let _ = peer.rest().await;
            let _ = tell.send(());
        }
    })
    .await;
    (address, told)
}

#[tokio::test]
async fn a_client_that_leaves_while_a_socket_is_dialled_is_noticed() {
    for polite in [true, false] {
        let (address, mut told) = mute().await;
        let gateway = gateway("cartesia", address, REDIAL, "");
        let mut client = opened(&gateway).await;
        told.recv().await.expect("the gateway leaves the first");
        client.send(&text(&speak("a"))).await;
        told.recv().await.expect("another handshake");
        if polite {
            client.send(&up(Close, closing(1000, ""))).await;
        }
        drop(client);
        told.recv().await.expect("the gateway leaves the second");
        counted(&gateway, &[("cancelled", 1)]).await;
        gateway.counts("speechgate_websockets_open", &[]).await;
    }
}

#[tokio::test]
async fn a_client_that_closes_while_there_is_no_socket_is_answered() {
    let (address, mut ends) = played().await;
    let gateway = gateway("cartesia", address, REDIAL, "");
    let mut client = opened(&gateway).await;
    let end = ends.recv().await.expect("a socket");
    end.closes(1000, "");
    end.leaves().await;
    client.send(&up(Close, closing(1000, "bye"))).await;
    assert_eq!(client.next().await.close(), (1000, String::new()));
    assert!(client.frame().await.is_none());
    gateway.counts("speechgate_websockets_open", &[]).await;
    assert!(ends.try_recv().is_err());
}

#[tokio::test]
async fn a_drain_of_the_gateway_closes_sessions_without_a_socket() {
    let (address, mut ends) = played().await;
    let mut gateway = gateway("cartesia", address, REDIAL, "");
    let mut client = opened(&gateway).await;
    let end = ends.recv().await.expect("a socket");
    end.closes(1000, "");
    end.leaves().await;
    gateway.stop();
    let frames = client.frames_until_close().await;
    assert_eq!(frames[0].json()["error"]["code"], "shutting_down", "{frames:?}");
    client.send(&up(Close, closing(1001, ""))).await;
    gateway.ended().await;
    assert!(ends.try_recv().is_err());
}

#[tokio::test]
async fn without_the_key_every_end_is_told() {
    let (address, mut ends) = played().await;
    let gateway = gateway("cartesia", address, "generations = true", "");
    let mut client = opened(&gateway).await;
    ends.recv().await.expect("a socket").closes(1000, "connection idle timeout");
    assert_eq!(client.next().await.close(), (1000, "connection idle timeout".to_owned()));
    assert!(ends.try_recv().is_err());
}

/// A context is set up by a message of its own, which is not said again once it has begun: unless its first words are.
#[tokio::test]
async fn first_words_that_crossed_an_end_take_along_what_configures_them() {
    let (address, mut ends) = deaf().await;
    let own = OWN.replace("answer = { \"$.type\" = \"ready\" } }", "of_generation = true, all = true }");
    let gateway = gateway("own", address, &own, "");
    let mut client = opened(&gateway).await;
    let mut end = ends.recv().await.expect("a socket");
    let voice = |id: &str| json!({ "type": "setup", "id": id, "voice": "low" });
    let word = |id: &str| json!({ "id": id, "text": "Hello." });
    for message in [voice("a"), voice("b"), voice("c"), word("a"), word("b")] {
        client.send(&text(&message)).await;
        end.hears(&message).await;
    }
    end.closes(1000, "idle");
    end = ends.recv().await.expect("another socket");
    for message in [voice("c"), voice("a"), word("a"), voice("b"), word("b")] {
        end.hears(&message).await;
    }
    for id in ["a", "b"] {
        end.says(&json!({ "id": id, "done": true }));
        assert_eq!(client.next().await.json(), json!({ "id": id, "done": true }));
    }
    counted(&gateway, &[("success", 1)]).await;
}

/// The next socket would be asked for a key that only the first message had.
#[tokio::test]
async fn a_key_that_came_with_the_first_words_leaves_no_new_socket() {
    let injected = "credentials = { value = \"k\", first_message = \"token\" }\n";
    let secrets = "[providers.own.secrets]\nmessages = [\"token\"]\n";
    for (credentials, first, again) in [
        (injected, json!({ "id": "a", "text": "Hello." }), false),
        ("", json!({ "id": "a", "text": "Hello.", "token": "k" }), false),
        // Said again with the key in it.
        (injected, json!({ "type": "setup" }), true),
        ("", json!({ "type": "setup", "token": "k" }), true),
    ] {
        let (address, mut ends) = played().await;
        let gateway = gateway("own", address, &format!("{credentials}{OWN}{secrets}"), "");
        let mut client = opened(&gateway).await;
        let mut end = ends.recv().await.expect("a socket");
        client.send(&text(&first)).await;
        let shown = end.heard.recv().await.expect("a message");
        assert_eq!(shown["token"], "k", "{shown}");
        end.says(&json!({ "id": "a", "done": true }));
        assert_eq!(client.next().await.json()["done"], true);
        end.closes(1000, "idle");
        if again {
            client.send(&text(&json!({ "id": "b", "text": "Hello." }))).await;
            ends.recv().await.expect("another socket").hears(&shown).await;
        } else {
            assert_eq!(client.next().await.close(), (1000, "idle".to_owned()));
            assert!(ends.try_recv().is_err());
        }
    }
}
