//! One limiter of a fleet, spoken to by the script that gateways use.

use crate::connect;
use crate::server::Server;
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands as _, Script};
use std::collections::HashMap;
use std::time::Duration;

pub(super) const KEY: &str = "t:slots:route:0";

pub(super) const MEMBERS: &str = "t:fleet";

/// A limiter at a server.
pub(super) struct Limiter {
    pub(super) server: Server,
    pub(super) connection: MultiplexedConnection,
    pub(super) script: Script,
    pub(super) max: u32,
    pub(super) lease: Duration,
    pub(super) turns: HashMap<String, u64>,
    /// What the last answer said of the provider's plan: slots, version, slots that others use.
    pub(super) learned: (u64, u64, u64),
}

/// What a turn gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) accepted: bool,
    pub(super) share: u32,
    pub(super) contested: bool,
    pub(super) size: u32,
    pub(super) rank: u32,
    pub(super) grace: bool,
}

/// What a gateway says in its turn.
#[derive(Clone, Copy, Default)]
pub(super) struct Says {
    pub(super) share: u32,
    pub(super) used: u32,
    pub(super) waiting: u32,
    /// Milliseconds that the first has waited.
    pub(super) waited: u32,
    pub(super) known: u32,
    pub(super) leaving: bool,
    /// What it has learned of the provider's plan, and which version of the fleet's own that follows upon.
    pub(super) learned: u32,
    pub(super) version: u32,
}

impl Limiter {
    /// One whose first grace is over.
    pub(super) async fn new(max: u32, lease: Duration) -> Option<Limiter> {
        let mut limiter = Limiter::fresh(max, lease).await?;
        let now = limiter.clock().await;
        let _: () = limiter.connection.hset(KEY, "clock", now).await.expect("written");
        Some(limiter)
    }

    pub(super) async fn fresh(max: u32, lease: Duration) -> Option<Limiter> {
        let server = Server::start()?;
        let connection = connect(&server).await;
        let script = Script::new(include_str!("../../src/fleet/slots.lua"));
        Some(Limiter { server, connection, script, max, lease, turns: HashMap::new(), learned: (0, 0, 0) })
    }

    /// The server's clock in microseconds.
    pub(super) async fn clock(&mut self) -> u64 {
        let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(&mut self.connection).await.expect("a time");
        seconds * 1_000_000 + micros
    }

    pub(super) async fn turn(&mut self, name: &str, says: Says) -> Answer {
        let turn = self.turns.entry(name.to_owned()).or_default();
        *turn += 1;
        let turn = *turn;
        self.turn_number(name, turn, says).await
    }

    pub(super) async fn turn_number(&mut self, name: &str, turn: u64, says: Says) -> Answer {
        let mut call = self.script.key(KEY);
        let _ = call.key(MEMBERS);
        let _ = call.arg(name).arg(turn).arg(says.share).arg(says.used).arg(says.waiting).arg(says.waited * 1000);
        let _ = call
            .arg(if says.leaving { 0 } else { self.max })
            .arg(self.lease.as_micros() as u64)
            .arg(says.known)
            .arg("t:wake:");
        let _ = call.arg(u32::from(says.leaving)).arg(says.learned).arg(says.version);
        let answer: (u64, u64, u64, u64, u64, u64, u64, u64, u64, String) =
            call.invoke_async(&mut self.connection).await.expect("an answer");
        let (accepted, share, contested, size, rank, grace, learned, version, others, _) = answer;
        self.learned = (learned, version, others);
        Answer {
            accepted: accepted == 1,
            share: share as u32,
            contested: contested == 1,
            size: size as u32,
            rank: rank as u32,
            grace: grace > 0,
        }
    }

    /// The share that a gateway has now, by what is written.
    pub(super) async fn written(&mut self, name: &str) -> Option<u32> {
        let text: Option<String> = self.connection.hget(KEY, name).await.expect("a field");
        text.map(|text| text.split(' ').next().and_then(|share| share.parse().ok()).expect("a number"))
    }

    /// As many gateways that are connected, without anything to share yet.
    pub(super) async fn listeners(&self, count: usize) -> Vec<redis::aio::PubSub> {
        let client = redis::Client::open(self.server.url()).expect("a URL");
        let mut listeners = Vec::new();
        for _ in 0..count {
            let mut listener = client.get_async_pubsub().await.expect("a connection");
            listener.subscribe("t:wake:.all").await.expect("subscribed");
            listeners.push(listener);
        }
        listeners
    }

    pub(super) async fn shift_clock(&mut self, by: i64) {
        let _: () =
            redis::cmd("HINCRBY").arg(KEY).arg("clock").arg(by).query_async(&mut self.connection).await.expect("set");
    }
}

pub(super) fn waits(waiting: u32, waited: u32) -> Says {
    Says { waiting, waited, ..Says::default() }
}

pub(super) fn uses(used: u32) -> Says {
    Says { share: used, used, ..Says::default() }
}
