//! A model of Redis, as far as the fleet's scripts see it: the scripts themselves run in Lua 5.1, as they do there, over strings
//! and hashes with an expiry. `tests/simulation/agreement.rs` holds it against a real server.

use mlua::state::{GcIncParams, GcMode};
use mlua::{Function, Lua, MultiValue, Value as LuaValue};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What a command gives.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    Nil,
    Integer(i64),
    Text(Vec<u8>),
    Status(&'static str),
    List(Vec<Reply>),
    Error(String),
}

/// A message that a script sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Message {
    pub(crate) channel: String,
    pub(crate) text: Vec<u8>,
}

/// What is stored at a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    keys: BTreeMap<Vec<u8>, Item>,
    /// Scripts by their hash.
    scripts: BTreeMap<String, Arc<str>>,
    /// It refuses to write, as one that is out of memory or a replica does.
    pub(crate) refuses_writes: bool,
    /// The time of the command that runs, in microseconds.
    now: i64,
    messages: Vec<Message>,
    /// What is listened to, by how many; `*` is everything.
    pub(crate) channels: Vec<String>,
}

#[derive(Clone, Debug)]
struct Item {
    data: Data,
    /// In milliseconds.
    expires: Option<i64>,
}

#[derive(Clone, Debug)]
enum Data {
    Text(Vec<u8>),
    Hash(Vec<Field>),
}

/// A field of a hash and its value.
type Field = (Vec<u8>, Vec<u8>);

impl Store {
    /// Runs a command at this time of the server's clock, and gives what it published besides.
    pub(crate) fn run(&mut self, command: &[Vec<u8>], micros: i64) -> (Reply, Vec<Message>) {
        self.now = micros;
        // The clock stands still while a script runs.
        self.keys.retain(|_, item| item.expires.is_none_or(|expires| expires > micros / 1000));
        let words: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
        let reply = self.command(&words).unwrap_or_else(Reply::Error);
        (reply, std::mem::take(&mut self.messages))
    }

    /// The milliseconds that a key has left.
    pub(crate) fn left(&self, key: &[u8]) -> Option<i64> {
        Some(self.keys.get(key)?.expires? - self.now / 1000)
    }

    /// Everything is lost; scripts as well.
    pub(crate) fn lose_everything(&mut self) {
        *self = Store { channels: std::mem::take(&mut self.channels), ..Store::default() };
    }

    fn command(&mut self, words: &[&[u8]]) -> Result<Reply, String> {
        let (name, arguments) = words.split_first().ok_or("ERR empty command")?;
        let name = String::from_utf8_lossy(name).to_uppercase();
        match (name.as_str(), arguments) {
            ("SCRIPT", [load, text]) if load.eq_ignore_ascii_case(b"load") => {
                let text = String::from_utf8_lossy(text).into_owned();
                let hash = redis::Script::new(&text).get_hash().to_owned();
                let _ = self.scripts.insert(hash.clone(), text.into());
                Ok(Reply::Text(hash.into_bytes()))
            }
            ("EVALSHA", [hash, rest @ ..]) => {
                let hash = String::from_utf8_lossy(hash).into_owned();
                match self.scripts.get(&hash).cloned() {
                    Some(text) => self.script(hash, &text, rest),
                    None => Err("NOSCRIPT No matching script. Please use EVAL.".to_owned()),
                }
            }
            ("EVAL", [text, rest @ ..]) => {
                let text = String::from_utf8_lossy(text).into_owned();
                self.script(redis::Script::new(&text).get_hash().to_owned(), &text, rest)
            }
            _ => self.plain(&name, arguments),
        }
    }

    /// A command that needs no script.
    fn plain(&mut self, name: &str, arguments: &[&[u8]]) -> Result<Reply, String> {
        const WRITES: [&str; 7] = ["HSET", "HDEL", "SET", "DEL", "PEXPIRE", "EXPIRE", "HINCRBY"];
        // What only takes away is refused by a replica, and not by a server without memory: the harder one is meant here.
        if self.refuses_writes && WRITES.contains(&name) {
            return Err("OOM command not allowed when used memory > 'maxmemory'.".to_owned());
        }
        let now = self.now / 1000;
        match (name, arguments) {
            ("PING", []) => Ok(Reply::Status("PONG")),
            ("TIME", []) => Ok(Reply::List(vec![text(self.now / 1_000_000), text(self.now % 1_000_000)])),
            ("PUBLISH", [channel, message]) => {
                let channel = String::from_utf8_lossy(channel).into_owned();
                let hear = self.channels.iter().filter(|other| **other == channel || *other == "*").count();
                self.messages.push(Message { channel, text: message.to_vec() });
                Ok(Reply::Integer(hear as i64))
            }
            ("EXISTS", [key]) => Ok(Reply::Integer(i64::from(self.keys.contains_key(*key)))),
            ("DEL", keys) => {
                Ok(Reply::Integer(keys.iter().filter(|key| self.keys.remove(**key).is_some()).count() as i64))
            }
            ("GET", [key]) => match self.keys.get(*key).map(|item| &item.data) {
                None => Ok(Reply::Nil),
                Some(Data::Text(value)) => Ok(Reply::Text(value.clone())),
                Some(Data::Hash(_)) => Err(WRONG.to_owned()),
            },
            ("SET", [key, value]) => self.set(key, value, None),
            ("SET", [key, value, unit, time]) if unit.eq_ignore_ascii_case(b"px") => {
                self.set(key, value, Some(now + integer(time)?))
            }
            ("PEXPIRE", [key, time]) => self.expire(key, now + integer(time)?),
            ("EXPIRE", [key, time]) => self.expire(key, now + integer(time)? * 1000),
            ("HGETALL", [key]) => {
                let fields = self.hash(key)?;
                let mut list = Vec::with_capacity(fields.len() * 2);
                for (name, value) in fields {
                    list.push(Reply::Text(name.clone()));
                    list.push(Reply::Text(value.clone()));
                }
                Ok(Reply::List(list))
            }
            ("HGET", [key, field]) => Ok(self.field(key, field)?),
            ("HMGET", [key, fields @ ..]) => {
                Ok(Reply::List(fields.iter().map(|field| self.field(key, field)).collect::<Result<_, _>>()?))
            }
            ("HLEN", [key]) => Ok(Reply::Integer(self.hash(key)?.len() as i64)),
            ("HSET", [key, pairs @ ..]) if !pairs.is_empty() && pairs.len().is_multiple_of(2) => self.hset(key, pairs),
            ("HDEL", [key, fields @ ..]) if !fields.is_empty() => self.hdel(key, fields),
            _ => Err(format!("ERR the model has no {name} with {} arguments", arguments.len())),
        }
    }

    fn set(&mut self, key: &[u8], value: &[u8], expires: Option<i64>) -> Result<Reply, String> {
        let _ = self.keys.insert(key.to_vec(), Item { data: Data::Text(value.to_vec()), expires });
        Ok(Reply::Status("OK"))
    }

    fn expire(&mut self, key: &[u8], expires: i64) -> Result<Reply, String> {
        let Some(item) = self.keys.get_mut(key) else { return Ok(Reply::Integer(0)) };
        item.expires = Some(expires);
        Ok(Reply::Integer(1))
    }

    fn hash(&self, key: &[u8]) -> Result<&[Field], String> {
        match self.keys.get(key).map(|item| &item.data) {
            None => Ok(&[]),
            Some(Data::Hash(fields)) => Ok(fields),
            Some(Data::Text(_)) => Err(WRONG.to_owned()),
        }
    }

    fn field(&self, key: &[u8], field: &[u8]) -> Result<Reply, String> {
        let found = self.hash(key)?.iter().find(|(name, _)| name == field);
        Ok(found.map_or(Reply::Nil, |(_, value)| Reply::Text(value.clone())))
    }

    fn hset(&mut self, key: &[u8], pairs: &[&[u8]]) -> Result<Reply, String> {
        let empty = || Item { data: Data::Hash(Vec::new()), expires: None };
        let item = self.keys.entry(key.to_vec()).or_insert_with(empty);
        let Data::Hash(fields) = &mut item.data else { return Err(WRONG.to_owned()) };
        let mut new = 0;
        for pair in pairs.chunks_exact(2) {
            match fields.iter_mut().find(|(name, _)| name == pair[0]) {
                Some((_, value)) => *value = pair[1].to_vec(),
                None => {
                    fields.push((pair[0].to_vec(), pair[1].to_vec()));
                    new += 1;
                }
            }
        }
        Ok(Reply::Integer(new))
    }

    fn hdel(&mut self, key: &[u8], names: &[&[u8]]) -> Result<Reply, String> {
        let Some(item) = self.keys.get_mut(key) else { return Ok(Reply::Integer(0)) };
        let Data::Hash(fields) = &mut item.data else { return Err(WRONG.to_owned()) };
        let before = fields.len();
        fields.retain(|(name, _)| !names.contains(&name.as_slice()));
        let gone = before - fields.len();
        if fields.is_empty() {
            let _ = self.keys.remove(key);
        }
        Ok(Reply::Integer(gone as i64))
    }

    fn script(&mut self, hash: String, text: &str, rest: &[&[u8]]) -> Result<Reply, String> {
        let [count, rest @ ..] = rest else { return Err("ERR no number of keys".to_owned()) };
        let count = usize::try_from(integer(count)?).map_err(|_| "ERR number of keys")?;
        let (keys, arguments) = rest.split_at_checked(count).ok_or("ERR number of keys")?;
        let (store, reply) = ENGINE.with(|engine| engine.run(std::mem::take(self), hash, text, keys, arguments));
        *self = store;
        reply
    }
}

const WRONG: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

fn text(number: i64) -> Reply {
    Reply::Text(number.to_string().into_bytes())
}

/// Redis takes no fractions here either.
fn integer(word: &[u8]) -> Result<i64, String> {
    let number = std::str::from_utf8(word).ok().and_then(|word| word.parse().ok());
    number.ok_or_else(|| "ERR value is not an integer or out of range".to_owned())
}

thread_local! {
    static ENGINE: Engine = Engine::new();
}

/// Lua, for one thread. A script is read once.
struct Engine {
    lua: Lua,
    functions: RefCell<HashMap<String, Function>>,
}

thread_local! {
    /// The store that the running script reaches.
    static CURRENT: RefCell<Store> = RefCell::default();
}

impl Engine {
    fn new() -> Engine {
        let lua = Lua::new();
        // Less is kept between collections than they cost.
        let _ = lua.gc_set_mode(GcMode::Incremental(GcIncParams::default().pause(1000)));
        let call = lua.create_function(|lua, words: MultiValue| {
            // One buffer for all words: a command of a script has dozens, and there are millions of commands.
            let (mut text, mut ends) = (Vec::with_capacity(512), Vec::with_capacity(words.len()));
            for value in &words {
                word(value, &mut text)?;
                ends.push(text.len());
            }
            let (mut list, mut begin) = (Vec::with_capacity(ends.len()), 0);
            for end in ends {
                list.push(&text[begin..end]);
                begin = end;
            }
            let (name, arguments) = list.split_first().ok_or_else(|| mlua::Error::runtime("ERR empty command"))?;
            let name = String::from_utf8_lossy(name).to_uppercase();
            let reply = CURRENT.with_borrow_mut(|store| store.plain(&name, arguments));
            to_lua(lua, reply.map_err(mlua::Error::runtime)?)
        });
        let redis = lua.create_table().expect("a table");
        redis.set("call", call.expect("a function")).expect("set");
        lua.globals().set("redis", redis).expect("set");
        Engine { lua, functions: RefCell::default() }
    }

    fn run(
        &self,
        store: Store,
        hash: String,
        text: &str,
        keys: &[&[u8]],
        arguments: &[&[u8]],
    ) -> (Store, Result<Reply, String>) {
        CURRENT.set(store);
        let reply = self.call(hash, text, keys, arguments).map_err(|error| match error {
            mlua::Error::CallbackError { cause, .. } => cause.to_string(),
            other => format!("ERR {other}"),
        });
        (CURRENT.take(), reply)
    }

    fn call(&self, hash: String, text: &str, keys: &[&[u8]], arguments: &[&[u8]]) -> mlua::Result<Reply> {
        let function = self.functions.borrow().get(&hash).cloned();
        let function = match function {
            Some(function) => function,
            None => {
                let function = self.lua.load(text).into_function()?;
                let _ = self.functions.borrow_mut().insert(hash, function.clone());
                function
            }
        };
        let list = |words: &[&[u8]]| {
            let table = self.lua.create_table_with_capacity(words.len(), 0)?;
            for word in words {
                table.raw_push(self.lua.create_string(word)?)?;
            }
            Ok::<_, mlua::Error>(table)
        };
        self.lua.globals().set("KEYS", list(keys)?)?;
        self.lua.globals().set("ARGV", list(arguments)?)?;
        from_lua(function.call(())?)
    }
}

/// Appends what Redis makes of an argument of `redis.call`.
fn word(value: &LuaValue, to: &mut Vec<u8>) -> mlua::Result<()> {
    match value {
        LuaValue::String(text) => to.extend_from_slice(&text.as_bytes()),
        LuaValue::Integer(number) => to.extend_from_slice(number.to_string().as_bytes()),
        // As `%.17g` does for what the scripts hand over: whole numbers below 2^53.
        LuaValue::Number(number) if number.fract() == 0.0 && number.abs() < 9e15 => {
            to.extend_from_slice(format!("{number:.0}").as_bytes());
        }
        other => {
            return Err(mlua::Error::runtime(format!(
                "ERR Lua redis lib command arguments must be strings or integers: {other:?}"
            )));
        }
    }
    Ok(())
}

fn to_lua(lua: &Lua, reply: Reply) -> mlua::Result<LuaValue> {
    Ok(match reply {
        Reply::Nil => LuaValue::Boolean(false),
        Reply::Integer(number) => LuaValue::Number(number as f64),
        Reply::Text(text) => LuaValue::String(lua.create_string(text)?),
        Reply::Status(status) => {
            let table = lua.create_table()?;
            table.set("ok", status)?;
            LuaValue::Table(table)
        }
        Reply::List(replies) => {
            let table = lua.create_table_with_capacity(replies.len(), 0)?;
            for reply in replies {
                table.raw_push(to_lua(lua, reply)?)?;
            }
            LuaValue::Table(table)
        }
        Reply::Error(error) => return Err(mlua::Error::runtime(error)),
    })
}

/// What Redis makes of what a script returns: numbers lose their fraction, and a table ends at its first nil.
fn from_lua(value: LuaValue) -> mlua::Result<Reply> {
    Ok(match value {
        LuaValue::Integer(number) => Reply::Integer(number),
        LuaValue::Number(number) => Reply::Integer(number as i64),
        LuaValue::String(text) => Reply::Text(text.as_bytes().to_vec()),
        LuaValue::Boolean(true) => Reply::Integer(1),
        LuaValue::Table(table) => {
            Reply::List(table.sequence_values().map(|value| from_lua(value?)).collect::<mlua::Result<_>>()?)
        }
        _ => Reply::Nil,
    })
}
