//! The provider's socket is dialled again, and that fails, or somebody leaves meanwhile: whoever waits is told at once and why.

use crate::played::{deaf, played};
use crate::redial::{
    OWN, REDIAL, chunk, closing_each, counted, done, many, mute, opened, refusing, speak, text, utterance,
};
use crate::support::{Gateway, Peer, closing, down, gateway, gateway_to, provider, up};
use crate::tls::tls_to;
use serde_json::{Value, json};
use speechgate::wire::frame::Opcode::{Close, Ping, Pong, Text};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A client that waits is told this code for its context, and then a close that is none of success.
async fn is_told(client: &mut Peer, code: &str, id: &str) -> Value {
    let frames = client.frames_until_close().await;
    let told = frames[0].json();
    assert_eq!((&told["error"]["code"], &told["context_id"]), (&json!(code), &json!(id)), "{frames:?}");
    assert_ne!(frames.last().expect("a close").close().0, 1000, "{frames:?}");
    told
}

async fn open_twice(gateway: &Gateway) -> (Peer, Peer) {
    (opened(gateway).await, opened(gateway).await)
}

#[tokio::test]
async fn a_refusal_is_told_in_the_provider_s_own_dialect() {
    let answer = "HTTP/1.1 402 Payment Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let route = format!("{REDIAL}\nenvelope = \"compatible\"");
    let gateway = gateway("cartesia", refusing(answer).await, &route, "");
    let mut client = opened(&gateway).await;
    client.send(&text(&speak("a"))).await;
    let frames = client.frames_until_close().await;
    let told = frames[0].json();
    assert_eq!((&told["type"], &told["context_id"]), (&json!("error"), &json!("a")), "{frames:?}");
    assert_ne!(frames.last().expect("a close").close().0, 1000, "{frames:?}");
    counted(&gateway, &[("refused", 1)]).await;
}

/// Each socket ends before it has read what was said: the next is told it once more, up to a bound, and then the client learns of it.
#[tokio::test]
async fn words_that_cross_one_end_after_the_other_are_told_in_the_end() {
    let (address, mut ends) = deaf().await;
    let gateway = gateway("cartesia", address, REDIAL, "");
    let mut client = opened(&gateway).await;
    let mut end = ends.recv().await.expect("a socket");
    client.send(&text(&speak("a"))).await;
    for _ in 0..5 {
        end.hears(&speak("a")).await;
        end.closes(1000, "idle");
        end = ends.recv().await.expect("another socket");
    }
    end.hears(&speak("a")).await;
    end.closes(1000, "idle");
    let _ = is_told(&mut client, "upstream_disconnected", "a").await;
    counted(&gateway, &[("success", 5), ("limited", 1)]).await;
}

/// A pong says that the words behind the ping were read: they are not said to another socket, which would charge them twice.
#[tokio::test]
async fn words_that_the_provider_has_read_are_not_sent_twice() {
    for idle in ["connection idle timeout", ""] {
        let (address, mut ends) = played().await;
        let gateway = gateway("cartesia", address, REDIAL, "");
        let mut client = opened(&gateway).await;
        let mut end = ends.recv().await.expect("a socket");
        utterance(&mut client, &mut end, "a").await;
        client.send(&text(&speak("b"))).await;
        end.hears(&speak("b")).await;
        end.closes(1000, idle);
        let _ = is_told(&mut client, "upstream_disconnected", "b").await;
        assert!(ends.try_recv().is_err());
        assert_eq!(gateway.metric("speechgate_socket_redials_total").await, [""; 0]);
    }
}

#[tokio::test]
async fn a_client_that_closes_while_a_socket_is_dialled_is_answered_at_once() {
    let (address, mut told) = mute().await;
    let gateway = gateway("cartesia", address, REDIAL, "");
    let mut client = opened(&gateway).await;
    told.recv().await.expect("the gateway leaves the first");
    client.send(&text(&speak("a"))).await;
    told.recv().await.expect("another handshake");
    client.send(&text(&speak("b"))).await;
    client.send(&up(Close, closing(1000, "bye"))).await;
    assert_eq!(client.next().await.close().0, 1000);
    // Not found unreachable after a while.
    counted(&gateway, &[("cancelled", 1)]).await;
    gateway.counts("speechgate_websockets_open", &[]).await;
}

#[tokio::test]
async fn a_gateway_that_ends_while_a_socket_is_dialled_says_so_at_once() {
    let (address, mut told) = mute().await;
    let mut gateway = gateway("cartesia", address, REDIAL, "drain_timeout = \"2s\"");
    let mut client = opened(&gateway).await;
    told.recv().await.expect("the gateway leaves the first");
    client.send(&text(&speak("a"))).await;
    told.recv().await.expect("another handshake");
    gateway.stop();
    let _ = is_told(&mut client, "shutting_down", "a").await;
    client.send(&up(Close, closing(1001, ""))).await;
    gateway.ended().await;
}

/// The next socket agrees on something else than the first: the client would not understand it.
#[tokio::test]
async fn a_socket_that_agrees_on_something_else_is_none() {
    let protocol = |name: &str| format!("Sec-WebSocket-Protocol: {name}\r\n");
    for (first, second) in [
        (protocol("v1"), protocol("v2")),
        (protocol("v1"), String::new()),
        (String::new(), protocol("v1")),
        (String::new(), "Sec-WebSocket-Extensions: permessage-deflate\r\n".to_owned()),
    ] {
        let number = AtomicUsize::new(0);
        let address = provider(move |mut peer, _| {
            let lines = if number.fetch_add(1, Ordering::Relaxed) == 0 { first.clone() } else { second.clone() };
            async move {
                peer.accept(&lines).await;
                peer.send(&down(Close, closing(1000, "idle"))).await;
                let _ = peer.rest().await;
            }
        })
        .await;
        let gateway = gateway("cartesia", address, REDIAL, "");
        let mut client = gateway.ask_at("/tts/websocket", "Sec-WebSocket-Protocol: v1, v2\r\n").await;
        assert!(client.head().await.starts_with("HTTP/1.1 101 "));
        client.send(&text(&speak("a"))).await;
        let _ = is_told(&mut client, "upstream_disconnected", "a").await;
        counted(&gateway, &[("refused", 1)]).await;
    }
}

/// A client whose ping dies with the socket would take the silence for the gateway's end.
#[tokio::test]
async fn a_ping_that_the_last_socket_has_not_answered_is_answered_here() {
    let (address, mut ends) = deaf().await;
    let gateway = gateway("cartesia", address, REDIAL, "");
    let mut client = opened(&gateway).await;
    let mut end = ends.recv().await.expect("a socket");
    client.send(&up(Ping, "older")).await;
    client.send(&up(Ping, "here?")).await;
    // Behind the pings, and no generation.
    let other = json!({ "context_id": "a", "cancel": true });
    client.send(&text(&other)).await;
    end.hears(&other).await;
    end.closes(1000, "idle");
    let pong = client.next().await;
    assert_eq!((pong.opcode, &*pong.payload), (Pong, &b"here?"[..]));
}

/// Said while there is no socket: it waits, and is not said again beside that.
#[tokio::test]
async fn an_opening_that_waits_for_a_socket_is_said_once() {
    let (address, mut ends) = played().await;
    let gateway = gateway("own", address, OWN, "");
    let mut client = opened(&gateway).await;
    let end = ends.recv().await.expect("a socket");
    end.closes(1000, "idle");
    end.leaves().await;
    let (setup, word) = (json!({ "type": "setup" }), json!({ "id": "a", "text": "Hello." }));
    client.send(&text(&setup)).await;
    let mut end = ends.recv().await.expect("another socket");
    client.send(&text(&word)).await;
    end.hears(&setup).await;
    end.hears(&word).await;
    end.says(&json!({ "type": "ready" }));
    assert_eq!(client.next().await.json(), json!({ "type": "ready" }));
}

/// A context that was configured on the last socket begins on the next.
#[tokio::test]
async fn a_generation_that_begins_on_the_next_socket_is_configured_there() {
    let (address, mut ends) = played().await;
    let own = OWN.replace("answer = { \"$.type\" = \"ready\" } }", "of_generation = true, all = true }");
    let gateway = gateway("own", address, &own, "");
    let mut client = opened(&gateway).await;
    let mut end = ends.recv().await.expect("a socket");
    let voice = |id: &str| json!({ "type": "setup", "id": id, "voice": "low" });
    for message in [voice("a"), voice("b")] {
        client.send(&text(&message)).await;
        end.hears(&message).await;
    }
    end.closes(1000, "idle");
    end.leaves().await;
    let word = json!({ "id": "a", "text": "Hello." });
    client.send(&text(&word)).await;
    let mut end = ends.recv().await.expect("another socket");
    for message in [voice("b"), voice("a"), word] {
        end.hears(&message).await;
    }
}

/// A plan of one: the second client's sentence waits for the first one's, whatever sockets end meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_redial_passes_the_plan() {
    let (running, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let seen = Arc::clone(&most);
    let address = provider(move |mut peer, _| {
        let (running, most) = (Arc::clone(&running), Arc::clone(&most));
        async move {
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
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                let _ = most.fetch_max(now, Ordering::SeqCst);
                let id = frame.json()["context_id"].as_str().expect("an id").to_owned();
                tokio::task::yield_now().await;
                let _ = running.fetch_sub(1, Ordering::SeqCst);
                let said = [down(Text, chunk(&id).to_string()), down(Text, done(&id).to_string())].concat();
                peer.send(&[said, down(Close, closing(1000, "idle"))].concat()).await;
            }
        }
    })
    .await;
    let route = format!("{REDIAL}\nconcurrency = {{ max = 1, queue = 10, max_wait = \"30s\" }}");
    let gateway = gateway("cartesia", address, &route, "");
    let (one, other) = open_twice(&gateway).await;
    let speaks = |mut client: Peer, name: &'static str| async move {
        for number in 0..many() / 10 {
            let id = format!("{name}{number}");
            client.send(&text(&speak(&id))).await;
            assert_eq!(client.next().await.json(), chunk(&id));
            assert_eq!(client.next().await.json(), done(&id));
        }
    };
    let _ = tokio::join!(speaks(one, "a"), speaks(other, "b"));
    assert_eq!(seen.load(Ordering::SeqCst), 1);
    assert_eq!(gateway.metric("speechgate_concurrency_in_use").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_are_dialled_again_over_tls() {
    let sockets = Arc::new(AtomicUsize::new(0));
    let (url, upstream_tls, _kept) = tls_to(closing_each("idle", Arc::clone(&sockets)).await).await;
    let gateway = gateway_to("cartesia", &url, &format!("{REDIAL}\n{upstream_tls}"), "");
    let mut client = opened(&gateway).await;
    let count = many() / 20;
    for number in 0..count {
        let id = number.to_string();
        client.send(&text(&speak(&id))).await;
        assert_eq!(client.next().await.json(), chunk(&id));
        assert_eq!(client.next().await.json(), done(&id));
    }
    counted(&gateway, &[("success", count as u64 - 1)]).await;
}

/// A socket that is too old is one that has said so.
#[tokio::test]
async fn an_end_by_age_is_made_up_for() {
    for reason in ["max connection age", "maximum session duration reached", "session timed out"] {
        let (address, mut ends) = played().await;
        let gateway = gateway("own", address, OWN, "");
        let mut client = opened(&gateway).await;
        ends.recv().await.expect("a socket").closes(1000, reason);
        let word = json!({ "id": "b", "text": "Hello." });
        client.send(&text(&word)).await;
        let mut end = ends.recv().await.expect("another socket");
        end.hears(&word).await;
        end.says(&json!({ "id": "b", "done": true }));
        assert_eq!(client.next().await.json()["done"], true, "{reason}");
    }
}
