//! The model of Redis gives the answers of a real server: random calls of the fleet's scripts to both, at the same times.

use super::server::Server;
use super::store::{Message, Reply, Store};
use fastrand::Rng;
use redis::{Connection, ConnectionLike as _, Value};

const SLOTS: &str = include_str!("../../src/fleet/slots.lua");
const SEED: &str = include_str!("../../src/fleet/seed.lua");
const BUDGETS: &str = include_str!("../../src/fleet/budgets.lua");
const RATES: &str = include_str!("../../src/fleet/rates.lua");
/// Gives a script the time of the test, which it does not see behind its arguments, and ten more minutes for whatever it stores: the
/// test's clock decides when that is over.
const PRELUDE: &str = "
local server = redis
local redis = {call = function(name, ...)
  local words = {...}
  if name == 'TIME' then return {ARGV[#ARGV - 1], ARGV[#ARGV]} end
  if name == 'PEXPIRE' then words[2] = words[2] + 600000 end
  if name == 'SET' and words[3] == 'PX' then words[4] = words[4] + 600000 end
  return server.call(name, unpack(words))
end}
";

/// Sequences of calls, and calls in each.
const SEQUENCES: u64 = 60;
const CALLS: usize = 60;

/// A connection to the server.
fn connect(server: &Server) -> Connection {
    redis::Client::open(server.url()).expect("a URL").get_connection().expect("a connection")
}

/// Both servers, at the same time of day.
struct Both<'a> {
    model: Store,
    real: Connection,
    listening: redis::PubSub<'a>,
    /// Microseconds.
    now: i64,
    /// When each key of the real server is to be gone.
    expires: Vec<(Vec<u8>, i64)>,
}

impl Both<'_> {
    /// Runs a script at both, in the time of the test.
    fn eval(&mut self, script: &str, keys: &[String], arguments: &[String]) -> Result<Reply, String> {
        self.expire()?;
        let text = format!("{PRELUDE}{script}");
        let time = [(self.now / 1_000_000).to_string(), (self.now % 1_000_000).to_string()];
        let count = keys.len().to_string();
        let head = ["EVAL", text.as_str(), count.as_str()].into_iter();
        let words = head.chain(keys.iter().chain(arguments).chain(&time).map(String::as_str));
        let words: Vec<Vec<u8>> = words.map(|word| word.as_bytes().to_vec()).collect();
        let (reply, mut messages) = self.model.run(&words, self.now);
        let real = self.ask(&words);
        same("answers", &reply, &real)?;
        let mut heard: Vec<Message> = messages.iter().map(|_| self.hear()).collect();
        messages.sort();
        heard.sort();
        same("messages", &messages, &heard)?;
        for key in keys {
            self.compare(key.as_bytes())?;
        }
        Ok(reply)
    }

    /// What is stored under a key, and for how long.
    fn compare(&mut self, key: &[u8]) -> Result<(), String> {
        for read in [&b"HGETALL"[..], b"GET"] {
            let words = [read.to_vec(), key.to_vec()];
            let (model, _) = self.model.run(&words, self.now);
            let real = self.ask(&words);
            match (model, real) {
                (Reply::Error(_), Reply::Error(_)) => {}
                (Reply::List(model), Reply::List(real)) => same("fields", &pairs(model), &pairs(real))?,
                (model, real) => same("values", &model, &real)?,
            }
        }
        let Reply::Integer(real) = self.ask(&[b"PTTL".to_vec(), key.to_vec()]) else {
            return Err("no PTTL".to_owned());
        };
        let model = self.model.left(key);
        let expires = model.map(|left| (key.to_vec(), self.now / 1000 + left));
        let known = self.expires.iter().find(|(other, _)| other == key).cloned();
        // The real server's clock has stood still since it was set: only what was set just now can be compared. Reading takes a while.
        let near = |left: i64| (left - 2000..=left).contains(&real) || left <= 2000 && real < 0;
        if known != expires && !model.map_or(real < 0, near) {
            return Err(format!("{} has {model:?} ms left in the model, {real} really", String::from_utf8_lossy(key)));
        }
        self.expires.retain(|(other, _)| other != key);
        self.expires.extend(expires);
        Ok(())
    }

    /// What the test's clock has overtaken is gone at the real server too.
    fn expire(&mut self) -> Result<(), String> {
        let now = self.now / 1000;
        let over: Vec<Vec<u8>> = self.expires.iter().filter(|(_, at)| *at <= now).map(|(key, _)| key.clone()).collect();
        for key in over {
            let _ = self.ask(&[b"DEL".to_vec(), key.clone()]);
            self.expires.retain(|(other, _)| *other != key);
        }
        Ok(())
    }

    fn ask(&mut self, words: &[Vec<u8>]) -> Reply {
        let mut command = redis::cmd(std::str::from_utf8(&words[0]).expect("a name"));
        for word in &words[1..] {
            let _ = command.arg(word);
        }
        match self.real.req_command(&command) {
            Ok(value) => reply(value),
            Err(error) => Reply::Error(error.to_string()),
        }
    }

    fn hear(&mut self) -> Message {
        let message = self.listening.get_message().expect("a message");
        Message { channel: message.get_channel_name().to_owned(), text: message.get_payload_bytes().to_vec() }
    }
}

fn reply(value: Value) -> Reply {
    match value {
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Integer(number),
        Value::BulkString(text) => Reply::Text(text),
        Value::Array(values) => Reply::List(values.into_iter().map(reply).collect()),
        Value::Okay => Reply::Status("OK"),
        Value::ServerError(error) => Reply::Error(format!("{error:?}")),
        other => panic!("{other:?}"),
    }
}

/// Fields of a hash have no order.
fn pairs(list: Vec<Reply>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let text = |reply: &Reply| match reply {
        Reply::Text(text) => text.clone(),
        other => panic!("{other:?}"),
    };
    let mut pairs: Vec<_> = list.chunks_exact(2).map(|pair| (text(&pair[0]), text(&pair[1]))).collect();
    pairs.sort();
    pairs
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, model: &T, real: &T) -> Result<(), String> {
    if model == real { Ok(()) } else { Err(format!("{what}: the model has {model:?}, the server {real:?}")) }
}

/// Turns of some gateways at one limiter, in any order and with any numbers.
fn turn(both: &mut Both<'_>, rng: &mut Rng, lease: i64) -> Result<(), String> {
    let number = |rng: &mut Rng, most: u64| rng.u64(0..=most).to_string();
    let leaving = rng.u32(0..12) == 0;
    let arguments = vec![
        format!("p{}.{}", rng.u32(0..4), rng.u32(0..2)),
        if leaving { (1_u64 << 53).to_string() } else { number(rng, 200) },
        number(rng, 6),
        number(rng, 6),
        number(rng, 4),
        number(rng, 3_000_000),
        if leaving { "0".to_owned() } else { (1 + rng.u32(0..8)).to_string() },
        lease.to_string(),
        number(rng, 4),
        "t:wake:".to_owned(),
        u32::from(leaving).to_string(),
        if rng.u32(0..3) == 0 { number(rng, 8) } else { "0".to_owned() },
        number(rng, 3),
        tenants(rng),
        number(rng, 500_000),
    ];
    // Gateways meet at one limiter and share another.
    let key = if rng.u32(0..4) == 0 { "t:fleet" } else { "t:slots" };
    both.eval(SLOTS, &[key.to_owned(), "t:fleet".to_owned()], &arguments).map(drop)
}

/// What tenants of a gateway hold and wait for: of each at most once.
fn tenants(rng: &mut Rng) -> String {
    let mut text = String::new();
    for name in ["00000000000000aa", "00000000000000b1", "-"] {
        if rng.u32(0..3) == 0 {
            let numbers: Vec<String> = [4, 4, 3_000_000, 4, 3, 4].map(|most| rng.u32(0..=most).to_string()).to_vec();
            text.push_str(&format!("{name}:{};", numbers.join(":")));
        }
    }
    text
}

/// Requests at one or two rates.
fn count(both: &mut Both<'_>, rng: &mut Rng) -> Result<(), String> {
    let keys: Vec<String> = (0..1 + rng.u32(0..2)).map(|_| format!("t:rate:{}", rng.u32(0..3))).collect();
    let mut arguments = Vec::new();
    for _ in &keys {
        let (per, amount) = ([1e6, 1e7, 6e7][rng.usize(0..3)], f64::from(rng.u32(1..60)));
        arguments.push((per / amount).to_string());
        arguments.push(rng.u32(1..20).to_string());
        arguments.push(if rng.u32(0..6) == 0 { "-1".to_owned() } else { rng.u32(1..4).to_string() });
    }
    both.eval(RATES, &keys, &arguments).map(drop)
}

/// What processes have used of one or two budgets.
fn spend(both: &mut Both<'_>, rng: &mut Rng) -> Result<(), String> {
    let keys: Vec<String> = (0..1 + rng.u32(0..2)).map(|_| format!("t:budget:{}", rng.u32(0..3))).collect();
    let mut arguments = vec![format!("p{}", rng.u32(0..3))];
    for _ in &keys {
        let used = rng.u32(0..2000);
        arguments.push(rng.u32(1..200).to_string());
        arguments.push((f64::from(used) / 7.0).to_string());
        arguments.push((f64::from(rng.u32(0..=used)) / 7.0).to_string());
        arguments.push(rng.u32(0..3000).to_string());
        arguments.push(if rng.bool() { rng.u32(0..3).to_string() } else { String::new() });
        arguments.push("90000000".to_owned());
    }
    both.eval(BUDGETS, &keys, &arguments).map(drop)
}

/// The seed of the names, from a gateway that remembers one or none.
fn names(both: &mut Both<'_>, rng: &mut Rng) -> Result<(), String> {
    let remembered = if rng.bool() { format!("{} {:x}", rng.u32(0..4), rng.u32(0..3)) } else { String::new() };
    let arguments = [remembered, "ab".to_owned(), "t:wake:.all".to_owned(), rng.u32(0..2).to_string()];
    both.eval(SEED, &["t:seed".to_owned(), "t:fleet".to_owned()], &arguments).map(drop)
}

#[test]
fn the_model_of_redis_answers_as_a_server_does() {
    let Some(server) = Server::start() else { return };
    for seed in 0..SEQUENCES {
        let (mut rng, mut real) = (Rng::with_seed(seed), connect(&server));
        let _: () = redis::cmd("FLUSHALL").query(&mut real).expect("flushed");
        let mut ear = connect(&server);
        let mut listening = ear.as_pubsub();
        listening.psubscribe("*").expect("it listens");
        let mut both =
            Both { model: Store::default(), real, listening, now: 1_790_000_000_000_000, expires: Vec::new() };
        // Two hear a roll call, and one of them everything.
        let mut other = connect(&server);
        let mut roll_call = other.as_pubsub();
        roll_call.subscribe("t:wake:.all").expect("it listens");
        both.model.channels = vec!["*".to_owned(), "t:wake:.all".to_owned()];
        for call in 0..CALLS {
            let step = [1_000, 50_000, 2_000_000, 9_000_000, 40_000_000][rng.usize(0..5)];
            both.now += if rng.u32(0..15) == 0 { -step } else { rng.i64(0..=step) };
            let done = match rng.u32(0..10) {
                0..5 => turn(&mut both, &mut rng, 5_000_000),
                5..8 => count(&mut both, &mut rng),
                8 => spend(&mut both, &mut rng),
                _ => names(&mut both, &mut rng),
            };
            done.unwrap_or_else(|why| panic!("sequence {seed}, call {call}: {why}"));
        }
    }
}
