//! Sockets of a provider that end at any moment, by dice: a sentence is heard by the provider once and answered, or its client is told.

use crate::redial::{REDIAL, chunk, done, many, opened, speak, text};
use crate::support::{Gateway, Peer, closing, down, gateway, provider};
use speechgate::wire::frame::Opcode::{Close, Ping, Pong, Text};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often each sentence was read by the provider.
type Heard = Arc<Mutex<HashMap<String, u32>>>;

/// A provider that ends sockets when the dice say so: as idle before it reads or between sentences, and by a kill in the middle of one.
async fn dicing(seed: u64, kills: bool, heard: Heard) -> SocketAddr {
    let dice = Arc::new(Mutex::new(fastrand::Rng::with_seed(seed)));
    let row = Arc::new(AtomicU32::new(0));
    provider(move |mut peer, _| {
        let (heard, dice, row) = (Arc::clone(&heard), Arc::clone(&dice), Arc::clone(&row));
        async move {
            let roll = |sides: u64| dice.lock().expect("no panic").u64(..sides);
            peer.accept("").await;
            let mut ponged = false;
            loop {
                // Whoever has answered a ping reads on; and no client waits for a fourth socket.
                if !std::mem::take(&mut ponged) && roll(4) == 0 && row.fetch_add(1, Ordering::Relaxed) < 3 {
                    // Idle for long enough, whatever is on its way.
                    tokio::time::sleep(Duration::from_micros(roll(2000))).await;
                    peer.send(&down(Close, closing(1000, "connection idle timeout"))).await;
                    let _ = peer.rest().await;
                    return;
                }
                let Some(frame) = peer.frame().await else { return };
                match frame.opcode {
                    Text => {}
                    Ping => {
                        ponged = true;
                        peer.send(&down(Pong, frame.payload)).await;
                        continue;
                    }
                    _ => return,
                }
                row.store(0, Ordering::Relaxed);
                let id = frame.json()["context_id"].as_str().expect("an id").to_owned();
                *heard.lock().expect("no panic").entry(id.clone()).or_default() += 1;
                match if kills { roll(8) } else { 8 } {
                    0 => return,
                    1 => {
                        peer.send(&down(Text, chunk(&id).to_string())).await;
                        return;
                    }
                    2 => {
                        peer.send(&down(Text, chunk(&id).to_string())).await;
                        peer.send(&down(Close, closing(1000, "connection idle timeout"))).await;
                        let _ = peer.rest().await;
                        return;
                    }
                    3 => {
                        peer.send(&down(Close, closing(1000, "connection idle timeout"))).await;
                        let _ = peer.rest().await;
                        return;
                    }
                    _ => {}
                }
                let said = [down(Text, chunk(&id).to_string()), down(Text, done(&id).to_string())].concat();
                peer.send(&said).await;
            }
        }
    })
    .await
}

/// Speaks one sentence. Whether it was answered in whole; false when the client was told that it was not.
async fn speaks(client: &mut Peer, id: &str) -> bool {
    client.send(&text(&speak(id))).await;
    loop {
        let frame = client.next().await;
        assert_eq!(frame.opcode, Text, "{id} ends without a word: {frame:?}");
        let said = frame.json();
        if said == done(id) {
            return true;
        }
        if said != chunk(id) {
            assert_eq!(said["context_id"], id, "{said}");
            assert!(said["error"]["code"].is_string(), "{said}");
            return false;
        }
    }
}

async fn by_dice(seed: u64, kills: bool) {
    let heard = Heard::default();
    let gateway: Gateway = gateway("cartesia", dicing(seed, kills, Arc::clone(&heard)).await, REDIAL, "");
    let mut dice = fastrand::Rng::with_seed(!seed);
    let (mut client, mut told) = (opened(&gateway).await, 0);
    let sentences = many() / 25;
    for number in 0..sentences {
        let id = format!("{seed}-{number}");
        tokio::time::sleep(Duration::from_micros(dice.u64(..2000))).await;
        let answered = speaks(&mut client, &id).await;
        let times = heard.lock().expect("no panic").get(&id).copied().unwrap_or_default();
        assert!(times == 1 || times == 0 && !answered, "seed {seed}: {id} was heard {times} times");
        if !answered {
            told += 1;
            client = opened(&gateway).await;
        }
    }
    assert!(kills || told == 0, "seed {seed}: {told} of {sentences} were told of an end that was idle");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_ends_at_any_moment_are_seen_by_no_client() {
    for seed in 0..5 {
        by_dice(seed, false).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_in_the_middle_of_a_sentence_are_always_told() {
    for seed in 100..105 {
        by_dice(seed, true).await;
    }
}
