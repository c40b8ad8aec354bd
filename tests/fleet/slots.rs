//! `slots.lua`, one turn after the other.

use super::limiter::{Answer, KEY, Limiter, MEMBERS, Says, uses, waits};
use crate::server::DEADLINE;
use redis::AsyncCommands as _;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(600);

#[tokio::test]
async fn free_slots_go_to_who_waits_and_no_further() {
    let Some(mut limiter) = Limiter::new(3, LONG).await else { return };
    let first = limiter.turn("a.0", waits(2, 5)).await;
    assert_eq!(first, Answer { accepted: true, share: 2, contested: false, size: 1, rank: 0, grace: false });
    let second = limiter.turn("b.0", waits(4, 5)).await;
    assert_eq!((second.share, second.contested, second.size, second.rank), (1, false, 2, 1));
    // Others wait now, and it is told so: every slot that comes free is to be given back.
    assert!(limiter.turn("a.0", uses(2)).await.contested);
    assert_eq!(limiter.turn("a.0", uses(1)).await.share, 1);
    assert_eq!(limiter.written("b.0").await, Some(2));
}

#[tokio::test]
async fn who_has_waited_longest_is_next() {
    let Some(mut limiter) = Limiter::new(1, LONG).await else { return };
    assert_eq!(limiter.turn("a.0", waits(1, 0)).await.share, 1);
    for (name, waited) in [("b.0", 100), ("c.0", 300), ("d.0", 200)] {
        assert_eq!(limiter.turn(name, waits(1, waited)).await.share, 0, "{name}");
    }
    let mut holder = "a.0";
    for next in ["c.0", "d.0", "b.0"] {
        let _ = limiter.turn(holder, Says::default()).await;
        assert_eq!(limiter.written(next).await, Some(1), "{next}");
        holder = next;
    }
}

#[tokio::test]
async fn those_behind_the_first_are_taken_to_have_come_one_after_the_other() {
    let Some(mut limiter) = Limiter::new(4, LONG).await else { return };
    let _ = limiter.turn("a.0", waits(4, 0)).await;
    // Those of b are taken to have waited 400, 300, 200 and 100.
    let _ = limiter.turn("b.0", waits(4, 400)).await;
    let _ = limiter.turn("c.0", waits(1, 250)).await;
    let _ = limiter.turn("a.0", uses(1)).await;
    assert_eq!((limiter.written("b.0").await, limiter.written("c.0").await), (Some(2), Some(1)));
}

#[tokio::test]
async fn a_late_turn_changes_nothing() {
    let Some(mut limiter) = Limiter::new(3, LONG).await else { return };
    let _ = limiter.turn_number("a.0", 2, waits(3, 0)).await;
    for late in [1, 2] {
        assert!(!limiter.turn_number("a.0", late, Says::default()).await.accepted);
    }
    assert_eq!(limiter.written("a.0").await, Some(3));
    assert!(limiter.turn_number("a.0", 3, uses(1)).await.accepted);
}

#[tokio::test]
async fn slots_of_who_is_silent_come_free_with_its_lease() {
    let lease = Duration::from_millis(100);
    let Some(mut limiter) = Limiter::new(3, lease).await else { return };
    let _ = limiter.turn("a.0", waits(3, 0)).await;
    let start = Instant::now();
    let mut share = 0;
    while share == 0 {
        share = limiter.turn("b.0", Says { known: 2, ..waits(1, 0) }).await.share;
        assert!(start.elapsed() < DEADLINE);
    }
    // When this process got no time meanwhile, it took the server's clock to have been set: then it is a lease more.
    let after = start.elapsed();
    assert!(after > lease * 9 / 10, "{after:?}");
    assert_eq!(limiter.written("a.0").await, None);
}

#[tokio::test]
async fn a_clock_that_is_set_ends_no_lease_and_prolongs_none() {
    let Some(mut limiter) = Limiter::new(1, LONG).await else { return };
    let _ = limiter.turn("a.0", waits(1, 0)).await;
    let hour = 3_600_000_000;
    for by in [-hour, hour] {
        // The last turn was an hour ago, and then an hour ahead.
        limiter.shift_clock(by).await;
        assert_eq!(limiter.turn("b.0", waits(1, 10)).await.share, 0);
        let now = limiter.clock().await;
        let text: String = limiter.connection.hget(KEY, "a.0").await.expect("a field");
        let expires: u64 = text.split(' ').nth(4).and_then(|text| text.parse().ok()).expect("a number");
        let left = i128::from(expires) - i128::from(now) + i128::from(by);
        assert!(left > 0 || by > 0, "{by}: {left}");
    }
    let text: String = limiter.connection.hget(KEY, "a.0").await.expect("a field");
    let expires: u64 = text.split(' ').nth(4).and_then(|text| text.parse().ok()).expect("a number");
    let left = Duration::from_micros(expires - limiter.clock().await);
    assert!(left <= LONG && left > LONG - DEADLINE, "there and back: {left:?}");
}

/// After more than a lease without a backend each gateway uses its part of the plan, of which nothing is written.
#[tokio::test]
async fn who_comes_back_first_after_a_long_outage_gets_nothing_of_the_others_parts() {
    let Some(mut limiter) = Limiter::new(6, LONG).await else { return };
    let _ = limiter.turn("a.0", waits(6, 5)).await;
    let _ = limiter.turn("b.0", Says::default()).await;
    limiter.shift_clock(-i64::try_from(LONG.as_micros()).expect("small")).await;
    let first = limiter.turn("a.0", Says { known: 2, waiting: 3, ..uses(3) }).await;
    assert_eq!((first.share, first.grace), (3, true));
    let second = limiter.turn("b.0", Says { known: 2, ..uses(3) }).await;
    assert_eq!((second.share, second.grace, limiter.written("a.0").await), (3, false, Some(3)));
    // A shorter one: what is written is what is used.
    limiter.shift_clock(-i64::try_from(LONG.as_micros() / 2).expect("small") - 1).await;
    let third = limiter.turn("a.0", Says { known: 2, waiting: 3, ..uses(1) }).await;
    assert_eq!((third.share, third.grace), (3, false));
}

#[tokio::test]
async fn a_smaller_plan_is_drained() {
    let Some(mut limiter) = Limiter::new(6, LONG).await else { return };
    let _ = limiter.turn("a.0", waits(3, 0)).await;
    let _ = limiter.turn("b.0", waits(3, 0)).await;
    limiter.max = 4;
    assert_eq!(limiter.turn("a.0", uses(3)).await.share, 1);
    assert_eq!(limiter.turn("b.0", Says { waiting: 2, ..uses(3) }).await.share, 3);
    // Its calls go on, and are counted: nothing is free until they have ended.
    assert_eq!(limiter.turn("a.0", Says { share: 1, used: 3, ..Says::default() }).await.share, 1);
    assert_eq!(limiter.written("b.0").await, Some(3));
    let _ = limiter.turn("a.0", Says::default()).await;
    assert_eq!(limiter.written("b.0").await, Some(4));
}

#[tokio::test]
async fn who_has_died_is_not_fed() {
    let Some(mut limiter) = Limiter::new(3, LONG).await else { return };
    let _ = limiter.turn("a.0", waits(3, 0)).await;
    let _ = limiter.turn("dead.0", waits(9, 900)).await;
    assert_eq!(limiter.turn("b.0", waits(2, 10)).await.share, 0);
    let _ = limiter.turn("a.0", uses(2)).await;
    let _ = limiter.turn("a.0", uses(1)).await;
    assert_eq!((limiter.written("dead.0").await, limiter.written("b.0").await), (Some(1), Some(1)));
    // It was only slow.
    let _ = limiter.turn("b.0", uses(0)).await;
    assert_eq!(limiter.turn("dead.0", Says { waiting: 8, waited: 900, ..uses(1) }).await.share, 2);
}

#[tokio::test]
async fn who_leaves_gives_everything_back() {
    let Some(mut limiter) = Limiter::new(2, LONG).await else { return };
    let _ = limiter.turn("a.0", waits(2, 0)).await;
    let _ = limiter.turn("b.0", waits(3, 0)).await;
    let gone = limiter.turn("a.0", Says { leaving: true, ..Says::default() }).await;
    assert_eq!((gone.accepted, gone.share, gone.size), (true, 0, 1));
    assert_eq!((limiter.written("a.0").await, limiter.written("b.0").await), (None, Some(2)));
}

#[tokio::test]
async fn after_a_loss_nothing_is_handed_out_before_all_are_back() {
    let Some(mut limiter) = Limiter::fresh(4, LONG).await else { return };
    // A new one cannot know, and others are connected; those that come back remember three, and say what they hold.
    let _listeners = limiter.listeners(3).await;
    assert_eq!(limiter.turn("new.0", waits(1, 0)).await, Answer { grace: true, ..ACCEPTED });
    let back = |share| Says { share, used: share, waiting: 1, known: 3, ..Says::default() };
    assert_eq!(limiter.turn("a.0", back(2)).await.share, 2);
    assert_eq!(
        limiter.turn("a.0", back(2)).await,
        Answer { share: 2, contested: true, rank: 1, grace: true, ..ACCEPTED }
    );
    assert_eq!(limiter.turn("b.0", back(1)).await.share, 1);
    let last = limiter.turn("c.0", back(0)).await;
    assert!(!last.grace, "{last:?}");
    assert_eq!(limiter.written("new.0").await, Some(1));
}

const ACCEPTED: Answer = Answer { accepted: true, share: 0, contested: false, size: 0, rank: 0, grace: false };

#[tokio::test]
async fn who_does_not_come_back_is_waited_for_half_a_lease() {
    let Some(mut limiter) = Limiter::fresh(4, Duration::from_millis(200)).await else { return };
    let start = Instant::now();
    let mut answer = limiter.turn("a.0", Says { known: 3, ..waits(1, 0) }).await;
    while answer.grace {
        assert!(start.elapsed() < DEADLINE);
        answer = limiter.turn("a.0", Says { known: 3, ..waits(1, 0) }).await;
    }
    assert!(start.elapsed() >= Duration::from_millis(100) && answer.share == 1, "{answer:?}");
}

#[tokio::test]
async fn a_limiter_that_nobody_uses_is_forgotten() {
    let Some(mut limiter) = Limiter::new(4, Duration::from_millis(500)).await else { return };
    let _ = limiter.turn("a.0", uses(1)).await;
    let left: i64 = limiter.connection.pttl(KEY).await.expect("a time to live");
    assert!(left > 0 && left <= 2000, "{left}");
}

/// Gateways that do anything in any order, whose answers and turns get lost or come late: what they may use never adds up to
/// more than the plan.
#[tokio::test]
async fn shares_never_exceed_the_plan() {
    const PLAN: u32 = 5;
    const GATEWAYS: usize = 4;
    let Some(mut limiter) = Limiter::new(PLAN, LONG).await else { return };
    let mut random = fastrand::Rng::with_seed(4);
    let mut may_use = [0_u32; GATEWAYS];
    let mut turns = [0_u64; GATEWAYS];
    let mut late: Vec<(usize, u64, Says)> = Vec::new();
    let mut most = 0;
    for step in 0..5000 {
        let who = random.usize(..GATEWAYS);
        if !late.is_empty() && random.u8(..) < 40 {
            let (who, turn, says) = late.swap_remove(random.usize(..late.len()));
            let _ = limiter.turn_number(&format!("g{who}.0"), turn, says).await;
            continue;
        }
        // Some is given back before the turn; what is kept may be used meanwhile.
        may_use[who] = random.u32(..=may_use[who]);
        turns[who] += 1;
        let used = random.u32(..=may_use[who]);
        let says =
            Says { share: may_use[who], used, waiting: random.u32(..4), waited: random.u32(..100), ..Says::default() };
        if random.u8(..) < 40 {
            late.push((who, turns[who], says));
            continue;
        }
        let answer = limiter.turn_number(&format!("g{who}.0"), turns[who], says).await;
        if random.u8(..) < 200 {
            may_use[who] = answer.share;
        }
        let all: u32 = may_use.iter().sum();
        most = most.max(all);
        assert!(all <= PLAN, "step {step}: {may_use:?}");
    }
    assert_eq!(most, PLAN, "and all of the plan is used");
}

/// First starts must not cost the first clients seconds: a limiter that nobody can know of gives slots at once.
#[tokio::test]
async fn a_new_limiter_gives_its_first_slot_at_once() {
    let Some(mut limiter) = Limiter::fresh(4, LONG).await else { return };
    let alone = limiter.turn("a.0", waits(1, 0)).await;
    assert_eq!((alone.share, alone.grace), (1, false), "nobody else is connected");
    // Others are, and nobody knows whether they hold slots: they are called, and as soon as all have come it is known.
    let _: () = redis::cmd("DEL").arg(KEY).query_async(&mut limiter.connection).await.expect("deleted");
    let mut listeners = limiter.listeners(2).await;
    assert!(limiter.turn("b.0", waits(1, 0)).await.grace);
    let mut called = listeners[0].on_message();
    let message = tokio_stream_next(&mut called).await;
    assert_eq!(message, KEY);
    let second = limiter.turn("c.0", waits(1, 0)).await;
    assert_eq!((second.grace, limiter.written("b.0").await), (false, Some(1)));
    // The same with a fleet that the backend has known for long: it has forgotten nothing.
    let now = limiter.clock().await;
    let born = now - LONG.as_micros() as u64 * 2;
    let _: () = limiter.connection.hset(MEMBERS, "plan", format!("0 0 0 {born} 0")).await.expect("written");
    let _: () = redis::cmd("DEL").arg(KEY).query_async(&mut limiter.connection).await.expect("deleted");
    let known = limiter.turn("d.0", waits(1, 0)).await;
    assert_eq!((known.share, known.grace), (1, false));
}

async fn tokio_stream_next(messages: &mut (impl futures_util::Stream<Item = redis::Msg> + Unpin)) -> String {
    let message = tokio::time::timeout(DEADLINE, futures_util::StreamExt::next(messages)).await.expect("in time");
    message.expect("a message").get_payload().expect("text")
}

/// A moment is waited for gateways that have nothing to say: half a lease only where something was lost.
#[tokio::test]
async fn who_has_nothing_to_share_is_not_waited_for_long() {
    let Some(mut limiter) = Limiter::fresh(4, LONG).await else { return };
    let _listeners = limiter.listeners(5).await;
    let start = Instant::now();
    while limiter.turn("a.0", waits(1, 0)).await.grace {
        assert!(start.elapsed() < DEADLINE);
    }
    assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
    // Somebody comes back that remembers others: then slots may be held that are not written here.
    let _: () = redis::cmd("DEL").arg(KEY).query_async(&mut limiter.connection).await.expect("deleted");
    assert!(limiter.turn("a.0", waits(1, 0)).await.grace);
    assert!(limiter.turn("b.0", Says { known: 3, ..waits(1, 0) }).await.grace);
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert!(limiter.turn("a.0", waits(1, 0)).await.grace);
}

/// A backend that takes no writes grants nothing, neither in an answer nor in a message.
#[tokio::test]
async fn a_grant_that_cannot_be_written_is_not_published() {
    let Some(mut limiter) = Limiter::new(1, LONG).await else { return };
    assert_eq!(limiter.turn("a.0", waits(1, 0)).await.share, 1);
    assert_eq!(limiter.turn("b.0", waits(1, 10)).await.share, 0);
    let client = redis::Client::open(limiter.server.url()).expect("a URL");
    let mut listener = client.get_async_pubsub().await.expect("a connection");
    listener.psubscribe("*").await.expect("subscribed");
    let set = async |limiter: &mut Limiter, memory: &str| {
        let mut set = redis::cmd("CONFIG");
        let _ = set.arg("SET").arg("maxmemory").arg(memory);
        let _: () = set.query_async(&mut limiter.connection).await.expect("set");
    };
    set(&mut limiter, "1").await;
    let mut call = limiter.script.key(KEY);
    let _ =
        call.key(MEMBERS).arg("a.0").arg(2).arg(&[0, 0, 0, 0, 1]).arg(LONG.as_micros() as u64).arg(0).arg("t:wake:");
    let refused = call.arg(0).invoke_async::<redis::Value>(&mut limiter.connection).await;
    assert!(refused.is_err(), "{refused:?}");
    set(&mut limiter, "0").await;
    assert_eq!((limiter.written("a.0").await, limiter.written("b.0").await), (Some(1), Some(0)));
    let _: i64 = limiter.connection.publish("t:wake:b", "the end").await.expect("published");
    assert_eq!(tokio_stream_next(&mut listener.on_message()).await, "the end");
}

/// What one gateway learns of the provider's plan holds for all.
#[tokio::test]
async fn the_fleet_learns_together() {
    let Some(mut limiter) = Limiter::new(12, LONG).await else { return };
    let _ = limiter.turn("a.0", waits(4, 5)).await;
    let _ = limiter.turn("b.0", waits(4, 5)).await;
    assert_eq!(limiter.learned, (0, 0, 4));
    // The provider grants five, says one.
    let a = limiter.turn("a.0", Says { learned: 5, ..uses(4) }).await;
    assert_eq!((limiter.learned, a.share), ((5, 1, 4), 1), "eight are out, three too many");
    let b = limiter.turn("b.0", Says { learned: 7, ..uses(4) }).await;
    assert_eq!((limiter.learned.0, limiter.learned.1, b.share), (5, 1, 4), "it did not know yet");
    let _ = limiter.turn("b.0", Says { learned: 3, ..uses(4) }).await;
    assert_eq!((limiter.learned.0, limiter.learned.1), (3, 2), "what is less counts in any case");
    let _ = limiter.turn("a.0", Says { learned: 4, version: 2, ..uses(0) }).await;
    assert_eq!((limiter.learned.0, limiter.learned.1), (4, 3), "and more when it follows upon that");
    let _ = limiter.turn("a.0", Says { learned: 12, version: 3, ..uses(0) }).await;
    assert_eq!((limiter.learned.0, limiter.learned.1), (0, 4), "nothing is known any more but the plan");
}
