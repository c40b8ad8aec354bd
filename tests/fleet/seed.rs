//! The seed of a fleet's names: `seed.lua`, one gateway after the other, and fleets that lose it.

use crate::connect;
use crate::server::{DEADLINE, Server};
use crate::shares::{Gateway, LEASE, check, fleet};
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands as _, Script};
use std::time::{Duration, Instant};

const KEY: &str = "t:seed";
const MEMBERS: &str = "t:fleet";
const ALL: &str = "t:wake:.all";

async fn learn(connection: &mut MultiplexedConnection, remembered: &str, digits: &str, alone: u8) -> Option<String> {
    let script = Script::new(include_str!("../../src/fleet/seed.lua"));
    let mut call = script.key(KEY);
    let call = call.key(MEMBERS).arg(remembered).arg(digits).arg(ALL).arg(alone);
    call.invoke_async(connection).await.expect("an answer")
}

#[tokio::test]
async fn the_oldest_seed_that_anybody_remembers_holds() {
    let Some(server) = Server::start() else { return };
    let mut connection = connect(&server).await;
    let made = learn(&mut connection, "", "a1", 0).await.expect("nobody else is there");
    assert!(made.ends_with(" a1"), "{made}");
    assert_eq!(learn(&mut connection, "", "b2", 0).await, Some(made.clone()));
    assert_eq!(learn(&mut connection, &made, "", 0).await, Some(made.clone()));
    for (remembered, holds) in [("9999999999999999 c3", made.as_str()), ("7 d4", "7 d4"), (&made, "7 d4")] {
        let _: () = connection.hset(MEMBERS, "plan", "0 0 0 1").await.expect("written");
        assert_eq!(learn(&mut connection, remembered, "", 0).await.as_deref(), Some(holds), "{remembered}");
        let known: bool = connection.exists(MEMBERS).await.expect("asked");
        assert_eq!(known, remembered != "7 d4", "who holds slots under other names is waited for");
    }
    assert_eq!(
        learn(&mut connection, "7 d3", "", 0).await.as_deref(),
        Some("7 d3"),
        "of two of one age always the same"
    );
    let _: () = connection.set(KEY, "nonsense").await.expect("written");
    assert_eq!(learn(&mut connection, &made, "", 0).await, Some(made));
}

#[tokio::test]
async fn whoever_comes_first_asks_those_who_may_remember() {
    let Some(server) = Server::start() else { return };
    let mut connection = connect(&server).await;
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut listening = client.get_async_pubsub().await.expect("a connection");
    listening.subscribe(ALL).await.expect("it listens");
    let mut another = client.get_async_pubsub().await.expect("a connection");
    another.subscribe(ALL).await.expect("it listens");
    assert_eq!(learn(&mut connection, "", "a1", 0).await, None);
    let asked = futures_util::StreamExt::next(&mut listening.on_message()).await.expect("a message");
    assert_eq!(asked.get_payload::<String>().expect("text"), KEY);
    assert!(learn(&mut connection, "", "a1", 1).await.is_some(), "nobody has answered");
}

/// Names were made with the prefix alone, so that everybody could tell what they stand for, and choose keys that meet.
#[tokio::test]
async fn names_cannot_be_guessed_and_outlive_a_loss_of_data() {
    let (Some(server), Some(other)) = (Server::start(), Server::start()) else { return };
    let (here, there) = (fleet(&server, 2, 4, LEASE).await, fleet(&other, 1, 4, LEASE).await);
    let name = here[0].fleet.keys().of("sk-secret");
    assert_eq!(name, here[1].fleet.keys().of("sk-secret"));
    assert_ne!(name, there[0].fleet.keys().of("sk-secret"), "another fleet makes other names");
    let _: () = redis::cmd("FLUSHALL").query_async(&mut connect(&server).await).await.expect("flushed");
    // Who comes first has never been in the fleet.
    let fresh = Gateway::new(&server, "fresh", 4, LEASE);
    drop(fresh.enter().await);
    assert_eq!((fresh.fleet.keys().of("sk-secret"), here[1].fleet.keys().of("sk-secret")), (name, name));
}

/// What passes before the first connection is counted under no name yet.
#[tokio::test]
async fn what_passes_before_the_seed_is_known_is_told() {
    let Some(mut server) = Server::start() else { return };
    server.stop();
    let gateway = Gateway::new(&server, "g", 4, LEASE);
    for _ in 0..3 {
        assert!(gateway.fleet.count("tts", &[check(7)]).await.is_err());
        gateway.fleet.owe("tts", &[check(7)]);
    }
    server.start_again();
    let start = Instant::now();
    let left = loop {
        match gateway.fleet.count("tts", &[check(7)]).await {
            Ok(counted) => break counted.left[0].remaining,
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
        assert!(start.elapsed() < DEADLINE);
    };
    assert!(left <= 6, "three and one of ten: {left}");
}
