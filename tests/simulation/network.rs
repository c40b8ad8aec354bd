//! The backend and the network between it and the gateways: messages are late, lost or overtaken, connections break, the server
//! hangs, dies, forgets, refuses to write, and its clock is set.

use super::store::{Message, Reply, Store};
use fastrand::Rng;
use redis::{Cmd, PushInfo, PushKind, RedisError, RedisFuture, RedisResult, Value};
use speechgate::fleet::{Backend, Connection, Dial, Pushes};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

/// How the network behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// The most that anything takes on its way, usually.
    pub(crate) delay: Duration,
    /// One in so many takes ten times as long; zero for none.
    pub(crate) slow: u32,
    /// One message in so many is lost; zero for none.
    pub(crate) lost: u32,
    /// Messages overtake each other and answers.
    pub(crate) reorders: bool,
}

/// The backend.
pub(crate) struct Server {
    state: Mutex<State>,
    /// Something changed that somebody may wait for.
    changed: Notify,
    epoch: Instant,
}

struct State {
    store: Store,
    rng: Rng,
    weather: Weather,
    up: bool,
    /// It is stopped, and goes on later.
    hangs: bool,
    /// Its clock, less the time since the epoch; in microseconds.
    clock: i64,
    connections: BTreeMap<u64, Line>,
    /// Which gateways nothing comes through to.
    cut: Vec<usize>,
    /// How many connections there have been.
    count: u64,
}

/// One connection as the server has it.
struct Line {
    gateway: usize,
    channels: Vec<String>,
    pushes: Pushes,
    /// When the last request arrives that was sent, and the last answer.
    last_in: Instant,
    last_out: Instant,
    /// Reset by either side.
    broken: bool,
}

impl Server {
    pub(crate) fn new(rng: Rng, weather: Weather) -> Arc<Server> {
        // Some day in 2026; all that counts is that it is far from zero.
        const DAY: i64 = 1_790_000_000_000_000;
        let state = State {
            store: Store::default(),
            rng,
            weather,
            up: true,
            hangs: false,
            clock: DAY,
            connections: BTreeMap::new(),
            cut: Vec::new(),
            count: 0,
        };
        Arc::new(Server { state: Mutex::new(state), changed: Notify::new(), epoch: Instant::now() })
    }

    /// The process ends; what it knew is kept in a file or not.
    pub(crate) fn dies(&self, loses_data: bool) {
        let mut state = self.lock();
        state.up = false;
        state.hangs = false;
        if loses_data {
            state.store.lose_everything();
        }
        state.break_lines(|_| true);
        drop(state);
        self.changed.notify_waiters();
    }

    pub(crate) fn comes_back(&self) {
        self.lock().up = true;
    }

    /// Everything in it is gone, while it goes on: FLUSHALL, or a failover to an empty replica.
    pub(crate) fn forgets(&self) {
        self.lock().store.lose_everything();
    }

    pub(crate) fn hangs(&self, hangs: bool) {
        self.lock().hangs = hangs;
        self.changed.notify_waiters();
    }

    pub(crate) fn refuses_writes(&self, refuses: bool) {
        self.lock().store.refuses_writes = refuses;
    }

    /// The clock is set.
    pub(crate) fn steps(&self, micros: i64) {
        self.lock().clock += micros;
    }

    /// Nothing goes between the server and a gateway any more; connections do not notice.
    pub(crate) fn cuts(&self, gateway: usize, cut: bool) {
        let mut state = self.lock();
        state.cut.retain(|other| *other != gateway);
        if cut {
            state.cut.push(gateway);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Connections of a gateway are reset.
    pub(crate) fn resets(&self, gateway: usize) {
        self.lock().break_lines(|line| line.gateway == gateway);
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something can pass between the server and a gateway. False when the server is gone or the connection broken.
    async fn reachable(&self, gateway: usize, line: Option<u64>, server: bool) -> bool {
        loop {
            let changed = self.changed.notified();
            {
                let state = self.lock();
                let broken = line.is_some_and(|line| state.connections.get(&line).is_none_or(|line| line.broken));
                if !state.up || broken {
                    return false;
                }
                if !(state.cut.contains(&gateway) || server && state.hangs) {
                    return true;
                }
            }
            changed.await;
        }
    }

    /// Runs a command and sends what it publishes.
    fn run(self: &Arc<Self>, words: &[Vec<u8>]) -> Reply {
        let mut state = self.lock();
        let micros = state.clock + i64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(i64::MAX);
        let (reply, messages) = state.store.run(words, micros);
        for message in messages {
            state.publish(self, message);
        }
        reply
    }
}

impl State {
    fn break_lines(&mut self, which: impl Fn(&Line) -> bool) {
        for line in self.connections.values_mut().filter(|line| which(line)) {
            if !std::mem::replace(&mut line.broken, true) {
                let pushes = Arc::clone(&line.pushes);
                // Told in a step of its own: whoever hears it may ask for the state.
                drop(tokio::spawn(
                    async move { pushes(&PushInfo { kind: PushKind::Disconnection, data: Vec::new() }) },
                ));
            }
        }
        self.listens();
    }

    /// Tells the store what is listened to, whenever that has changed.
    fn listens(&mut self) {
        let heard = self.connections.values().filter(|line| !line.broken).flat_map(|line| line.channels.clone());
        self.store.channels = heard.collect();
    }

    fn delay(&mut self) -> Duration {
        let Weather { delay, slow, .. } = self.weather;
        let most = if slow > 0 && self.rng.u32(0..slow) == 0 { delay * 10 } else { delay };
        Duration::from_micros(self.rng.u64(0..=u64::try_from(most.as_micros()).unwrap_or(0)))
    }

    fn publish(&mut self, server: &Arc<Server>, message: Message) {
        let Weather { lost, reorders, .. } = self.weather;
        let listening =
            self.connections.iter().filter(|(_, line)| !line.broken && line.channels.contains(&message.channel));
        let listening: Vec<u64> = listening.map(|(number, _)| *number).collect();
        for number in listening {
            if lost > 0 && self.rng.u32(0..lost) == 0 {
                continue;
            }
            let mut at = Instant::now() + self.delay();
            let Some(line) = self.connections.get_mut(&number) else { continue };
            if !reorders {
                at = at.max(line.last_out);
                line.last_out = at;
            }
            let (server, gateway, pushes) = (Arc::clone(server), line.gateway, Arc::clone(&line.pushes));
            let data =
                vec![Value::BulkString(message.channel.clone().into_bytes()), Value::BulkString(message.text.clone())];
            drop(tokio::spawn(async move {
                sleep_until(at).await;
                if server.reachable(gateway, Some(number), false).await {
                    pushes(&PushInfo { kind: PushKind::Message, data });
                }
            }));
        }
    }
}

/// The way of one gateway to the server.
pub(crate) struct Way {
    pub(crate) server: Arc<Server>,
    pub(crate) gateway: usize,
}

impl Dial for Way {
    fn dial(&self, channels: Vec<String>, pushes: Pushes) -> RedisFuture<'_, Connection> {
        Box::pin(async move {
            let delay = self.server.lock().delay();
            tokio::time::sleep(delay).await;
            if !self.server.reachable(self.gateway, None, true).await {
                return Err(broken());
            }
            let mut state = self.server.lock();
            state.count += 1;
            let (line, now) = (state.count, Instant::now());
            let gateway = self.gateway;
            let _ = state
                .connections
                .insert(line, Line { gateway, channels, pushes, last_in: now, last_out: now, broken: false });
            state.listens();
            Ok(Connection::new(Wire { server: Arc::clone(&self.server), gateway, line }))
        })
    }
}

/// One connection as a gateway has it.
struct Wire {
    server: Arc<Server>,
    gateway: usize,
    line: u64,
}

impl Backend for Wire {
    fn request<'a>(&'a self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        let words = command.args_iter().map(|word| match word {
            redis::Arg::Simple(word) => word.to_vec(),
            // Nothing here reads with a cursor.
            _ => Vec::new(),
        });
        let (answer, answered) = oneshot::channel();
        let mut state = self.server.lock();
        let delay = state.delay();
        if let Some(line) = state.connections.get_mut(&self.line).filter(|line| !line.broken) {
            line.last_in = line.last_in.max(Instant::now() + delay);
            let at = line.last_in;
            drop(tokio::spawn(carry(Arc::clone(&self.server), self.gateway, self.line, words.collect(), at, answer)));
        }
        drop(state);
        Box::pin(async move { answered.await.unwrap_or_else(|_| Err(broken())) })
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let mut state = self.server.lock();
        if let Some(line) = state.connections.get_mut(&self.line) {
            // What was sent arrives all the same; what comes back meets nobody.
            line.channels.clear();
        }
        state.listens();
    }
}

/// Carries one request to the server and its answer back. Whether anybody still waits for it does not matter to the server.
async fn carry(
    server: Arc<Server>,
    gateway: usize,
    line: u64,
    words: Vec<Vec<u8>>,
    at: Instant,
    answer: oneshot::Sender<RedisResult<Value>>,
) {
    sleep_until(at).await;
    if !server.reachable(gateway, Some(line), true).await {
        return;
    }
    let reply = server.run(&words);
    let at = {
        let mut state = server.lock();
        let delay = state.delay();
        let Some(line) = state.connections.get_mut(&line) else { return };
        line.last_out = line.last_out.max(Instant::now() + delay);
        line.last_out
    };
    sleep_until(at).await;
    if server.reachable(gateway, Some(line), false).await {
        let _ = answer.send(value(reply));
    }
}

/// A reply as the client library has it.
fn value(reply: Reply) -> RedisResult<Value> {
    Ok(match reply {
        Reply::Nil => Value::Nil,
        Reply::Integer(number) => Value::Int(number),
        Reply::Text(text) => Value::BulkString(text),
        Reply::Status(status) => Value::SimpleString(status.to_owned()),
        Reply::List(replies) => Value::Array(replies.into_iter().map(value).collect::<RedisResult<_>>()?),
        Reply::Error(error) => {
            redis::parse_redis_value(format!("-{}\r\n", error.lines().next().unwrap_or("ERR")).as_bytes())?
        }
    })
}

fn broken() -> RedisError {
    RedisError::from(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
}
