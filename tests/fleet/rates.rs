//! `rates.lua`, one request after the other.

use crate::connect;
use crate::server::{DEADLINE, Server};
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands as _, Script};
use std::time::Instant;

/// A limit: its key, microseconds for a unit, burst, cost.
type Limit = (&'static str, u64, u32, u32);

async fn count(connection: &mut MultiplexedConnection, limits: &[Limit]) -> (u64, u64, Vec<u64>) {
    let script = Script::new(include_str!("../../src/fleet/rates.lua"));
    let mut call = script.prepare_invoke();
    for (key, unit, burst, cost) in limits {
        let _ = call.key(*key).arg(unit).arg(burst).arg(cost);
    }
    let mut numbers: Vec<u64> = call.invoke_async(connection).await.expect("an answer");
    let left = numbers.split_off(2);
    (numbers[0], numbers[1], left)
}

const HOUR: u64 = 3_600_000_000;

#[tokio::test]
async fn a_burst_and_then_the_exact_wait() {
    let Some(server) = Server::start() else { return };
    let mut connection = connect(&server).await;
    for left in [2, 1, 0] {
        let (refused, _, rest) = count(&mut connection, &[("a", HOUR, 3, 1)]).await;
        assert_eq!((refused, rest[0]), (0, left));
        assert!(rest[1] > (2 - left) * HOUR && rest[1] <= (3 - left) * HOUR, "{rest:?}");
    }
    let (refused, wait, rest) = count(&mut connection, &[("a", HOUR, 3, 1)]).await;
    assert_eq!((refused, rest[0]), (1, 0));
    assert!(wait > HOUR - HOUR / 100 && wait <= HOUR, "{wait}");
    let (refused, wait, _) = count(&mut connection, &[("a", HOUR, 3, 2)]).await;
    assert!(refused == 1 && wait > 2 * HOUR - HOUR / 100, "two units take twice as long: {wait}");
}

#[tokio::test]
async fn counted_by_all_limits_or_by_none() {
    let Some(server) = Server::start() else { return };
    let mut connection = connect(&server).await;
    assert_eq!(count(&mut connection, &[("small", HOUR, 1, 1), ("large", HOUR, 10, 4)]).await.2[0], 0);
    let (refused, _, left) = count(&mut connection, &[("large", HOUR, 10, 4), ("small", HOUR, 1, 1)]).await;
    assert_eq!((refused, left[0], left[2]), (2, 6, 0), "what one refuses the other does not count");
    let (refused, _, left) = count(&mut connection, &[("large", HOUR, 10, 7)]).await;
    assert_eq!((refused, left[0]), (1, 6));
}

#[tokio::test]
async fn what_was_used_comes_back_and_the_key_goes() {
    let Some(server) = Server::start() else { return };
    let mut connection = connect(&server).await;
    let limit = [("a", 20_000, 1, 1)];
    assert_eq!(count(&mut connection, &limit).await.0, 0);
    let start = Instant::now();
    while count(&mut connection, &limit).await.0 != 0 {
        assert!(start.elapsed() < DEADLINE);
    }
    while connection.exists::<_, bool>("a").await.expect("an answer") {
        assert!(start.elapsed() < DEADLINE);
    }
}

#[tokio::test]
async fn a_clock_that_was_set_refuses_nobody_for_longer_than_a_burst() {
    let Some(server) = Server::start() else { return };
    let mut connection = connect(&server).await;
    let _: () = connection.set("a", "99999999999999999").await.expect("set");
    let (refused, wait, _) = count(&mut connection, &[("a", 1_000_000, 5, 1)]).await;
    assert_eq!((refused, wait), (1, 1_000_000));
}
