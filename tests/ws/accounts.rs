//! Sockets of several routes of one account: what takes a slot or counts there takes it from the account.

use crate::support::{Gateway, Peer, down, gateway, provider, up};
use serde_json::{Value, json};
use speechgate::wire::frame::Opcode::{Close, Text};
use std::net::SocketAddr;

/// A provider of contexts that answers each message with what it said, and ends a context when it is told to.
async fn echo() -> SocketAddr {
    provider(|mut peer, _| async move {
        peer.accept("").await;
        while let Some(frame) = peer.frame().await {
            if frame.opcode != Text {
                return;
            }
            let said = frame.json();
            let done = said["continue"] == false;
            let kind = if done { "done" } else { "chunk" };
            let answer = json!({ "type": kind, "done": done, "data": "AAAA", "context_id": said["context_id"] });
            peer.send(&down(Text, answer.to_string())).await;
        }
    })
    .await
}

/// The routes `/r` and `/r2` of one account with these lines.
async fn two_routes(lines: &str) -> Gateway {
    let address = echo().await;
    let more = format!(
        "account = 'one'\n[[routes]]\nname = 'r2'\nmatch = {{ path = '/r2' }}\nprovider = 'cartesia'\nupstream = 'http://{address}'\n\
         account = 'one'\n[[accounts]]\nname = 'one'\ncredentials = {{ header = 'x-api-key', value = 'sk' }}\n{lines}\n"
    );
    gateway("cartesia", address, &more, "")
}

async fn open(gateway: &Gateway, path: &str) -> Peer {
    let mut client = gateway.ask_at(path, "").await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    client
}

async fn say(client: &mut Peer, context: &str, text: &str, more: bool) {
    let message: Value = json!({ "context_id": context, "transcript": text, "continue": more });
    client.send(&up(Text, message.to_string())).await;
}

#[tokio::test]
async fn contexts_on_sockets_of_two_routes_share_the_slots_of_their_account() {
    let gateway = two_routes("concurrency = { max = 1, max_wait = '20s' }").await;
    let (mut one, mut other) = (open(&gateway, "/tts/websocket").await, open(&gateway, "2/tts/websocket").await);
    say(&mut one, "a", "hello", true).await;
    assert_eq!(one.next().await.json()["context_id"], "a");
    say(&mut other, "b", "hello", true).await;
    gateway.counts("speechgate_concurrency_queued", &["{route=\"r2\"} 1"]).await;
    gateway.counts("speechgate_concurrency_in_use", &["{route=\"r\"} 1"]).await;
    say(&mut one, "a", "", false).await;
    assert_eq!(one.next().await.json()["done"], true);
    assert_eq!(other.next().await.json()["context_id"], "b");
    gateway.counts("speechgate_concurrency_in_use", &["{route=\"r2\"} 1"]).await;
    // A client that leaves in the middle frees it.
    drop(other);
    say(&mut one, "c", "hello", true).await;
    assert_eq!(one.next().await.json()["context_id"], "c");
    one.send(&up(Close, [])).await;
    gateway.counts("speechgate_concurrency_in_use", &[]).await;
}

#[tokio::test]
async fn text_on_sockets_of_two_routes_counts_by_the_account() {
    let gateway =
        two_routes("rate_limits = [{ requests = 100, per = '1h', burst = 100, cost = 'text-characters' }]").await;
    let (mut one, mut other) = (open(&gateway, "/tts/websocket").await, open(&gateway, "2/tts/websocket").await);
    say(&mut one, "a", &"x".repeat(60), true).await;
    say(&mut one, "a", &"x".repeat(60), false).await;
    for _ in 0..2 {
        assert_eq!(one.next().await.json()["context_id"], "a");
    }
    say(&mut other, "b", "too much", false).await;
    let error = other.next().await.json();
    assert_eq!((&error["error"]["code"], &error["context_id"]), (&"rate_limited".into(), &"b".into()), "{error}");
    gateway.counts("speechgate_limit_rejections_total", &["{route=\"r2\",limit=\"rate\"} 1"]).await;
}
