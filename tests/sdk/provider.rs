//! A provider that speaks several dialects, each below a path of its own, and fails as the client's key asks for.
//!
//! Dialects are data (`frameworks.toml`); what is here is HTTP/1.1 and WebSocket, one thread a connection.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde::Deserialize;

/// How a dialect answers.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dialect {
    /// What stands in paths, to the JSON that they are answered with; every other path gets sound.
    #[serde(default)]
    answers: BTreeMap<String, String>,
    /// Refusals by their fault: a status and a body.
    #[serde(default)]
    refusals: BTreeMap<String, (u16, String)>,
    #[serde(default)]
    sockets: Vec<Socket>,
}

/// How a dialect behaves on sockets.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Socket {
    /// What stands in its path.
    path: String,
    #[serde(default)]
    hello: Option<String>,
    /// What comes before anything fails: a message, or sound as it is.
    part: Option<String>,
    done: String,
    /// Whether the provider closes when all is done.
    #[serde(default)]
    closes: bool,
    /// Failures by their fault: messages, and a close with its reason.
    #[serde(default)]
    told: BTreeMap<String, String>,
    #[serde(default)]
    closed: BTreeMap<String, (u16, String)>,
}

/// A running provider.
pub(crate) struct Provider {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<BTreeMap<String, u32>>>,
}

impl Provider {
    pub(crate) fn start(dialects: BTreeMap<String, Dialect>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it has one");
        let asked = Arc::<Mutex<BTreeMap<String, u32>>>::default();
        let (dialects, counts) = (Arc::new(dialects), Arc::clone(&asked));
        drop(thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (dialects, counts) = (Arc::clone(&dialects), Arc::clone(&counts));
                // A client that breaks off ends its thread.
                drop(thread::spawn(move || drop(connection(stream, &dialects, &counts))));
            }
        }));
        Self { address, asked }
    }

    /// How often it was asked with this key.
    pub(crate) fn asked(&self, key: &str) -> u32 {
        self.asked.lock().expect("no thread panics with it").get(key).copied().unwrap_or_default()
    }
}

/// The key in a head: `key-<number>-<fault>`.
fn key(head: &str) -> Option<&str> {
    let key = &head[head.find("key-")?..];
    Some(key.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).next().unwrap_or(key))
}

fn connection(
    stream: TcpStream,
    dialects: &BTreeMap<String, Dialect>,
    counts: &Mutex<BTreeMap<String, u32>>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let (mut reader, mut writer) = (BufReader::new(stream.try_clone()?), stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let key = key(&head).unwrap_or_default().to_owned();
        *counts.lock().expect("no thread panics with it").entry(key.clone()).or_default() += 1;
        let path = head.split(' ').nth(1).unwrap_or_default();
        let dialect = &dialects[path.split('/').nth(1).unwrap_or_default()];
        let fault = key.splitn(3, '-').nth(2).unwrap_or_default();
        let field = |name: &str| {
            let mut fields = head.lines().filter_map(|line| line.split_once(':'));
            fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        };
        drain(&mut reader, field("content-length"), field("transfer-encoding").is_some())?;
        let upgrade = field("sec-websocket-key");
        let refused = upgrade.map_or(fault, |_| fault.strip_prefix("handshake-").unwrap_or_default());
        let refusal = dialect.refusals.get(refused);
        if let (Some(nonce), None) = (upgrade, refusal) {
            let socket = dialect.sockets.iter().find(|socket| path.contains(&socket.path));
            let socket = socket.unwrap_or_else(|| panic!("frameworks.toml has no socket for {path}"));
            write!(
                writer,
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                 sec-websocket-accept: {}\r\n\r\n",
                accept(nonce)
            )?;
            return session(&mut reader, &mut writer, socket, fault);
        }
        let answer = dialect.answers.iter().find(|(part, _)| path.contains(part.as_str()));
        let (status, kind, body) = match (refusal, answer) {
            (Some((status, body)), _) => (*status, "application/json", body.clone().into_bytes()),
            (None, Some((_, body))) => (200, "application/json", body.clone().into_bytes()),
            (None, None) => (200, "audio/pcm", vec![0; 9600]),
        };
        write!(writer, "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len())?;
        writer.write_all(&body)?;
    }
}

fn drain(reader: &mut BufReader<TcpStream>, length: Option<&str>, mut chunked: bool) -> io::Result<()> {
    let mut skip = |count: u64| io::copy(&mut reader.by_ref().take(count), &mut io::sink()).map(drop);
    if let Some(length) = length {
        return skip(length.parse().unwrap_or_default());
    }
    while chunked {
        let mut line = String::new();
        let _ = reader.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim(), 16).unwrap_or_default();
        let _ = io::copy(&mut reader.by_ref().take(size + 2), &mut io::sink())?;
        chunked = size > 0;
    }
    Ok(())
}

/// One piece of work on a socket, which goes well or fails in the way of the fault.
fn session(reader: &mut BufReader<TcpStream>, writer: &mut TcpStream, socket: &Socket, fault: &str) -> io::Result<()> {
    if let Some(hello) = &socket.hello {
        writer.write_all(&frame(1, hello.as_bytes()))?;
    }
    let asked = loop {
        match read_frame(reader)? {
            (1 | 2, payload) => break String::from_utf8_lossy(&payload).into_owned(),
            (8, payload) => return writer.write_all(&frame(8, &payload)),
            _ => {}
        }
    };
    let named = |member: &str| asked.split_once(&format!("\"{member}\""))?.1.split('"').nth(1);
    let id = named("context_id").or_else(|| named("contextId")).unwrap_or_default().to_owned();
    let mut say = |text: &str| writer.write_all(&frame(1, text.replace("{id}", &id).as_bytes()));
    let (early, fault) = match fault.strip_prefix("early-") {
        Some(fault) => (true, fault),
        None => (false, fault.strip_prefix("socket-").unwrap_or_default()),
    };
    match &socket.part {
        _ if early => {}
        Some(part) => say(part)?,
        None => writer.write_all(&frame(2, &[0; 4800]))?,
    }
    // By then the client has said all that it has to say: what it does on a failure is not chance.
    if !fault.is_empty() {
        thread::sleep(Duration::from_millis(150));
    }
    let mut say = |text: &str| writer.write_all(&frame(1, text.replace("{id}", &id).as_bytes()));
    if fault == "drop" {
        return Ok(());
    }
    if let Some(told) = socket.told.get(fault) {
        say(told)?;
    }
    let close = socket.closed.get(fault).cloned().or_else(|| fault.is_empty().then(|| (1000, String::new())));
    if fault.is_empty() {
        say(&socket.done)?;
    }
    if let Some((code, reason)) = close.filter(|_| !fault.is_empty() || socket.closes) {
        writer.write_all(&frame(8, &[&code.to_be_bytes()[..], reason.as_bytes()].concat()))?;
    }
    loop {
        match read_frame(reader)? {
            (8, payload) => return writer.write_all(&frame(8, &payload)),
            (9, payload) => writer.write_all(&frame(10, &payload))?,
            _ => {}
        }
    }
}

fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80 | opcode];
    match u8::try_from(payload.len()) {
        Ok(length @ ..126) => bytes.push(length),
        _ => {
            bytes.push(126);
            bytes.extend(u16::try_from(payload.len()).expect("a small message").to_be_bytes());
        }
    }
    bytes.extend(payload);
    bytes
}

fn read_frame(reader: &mut BufReader<TcpStream>) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    reader.read_exact(&mut head)?;
    let length = match head[1] & 0x7f {
        126 => {
            let mut long = [0; 2];
            reader.read_exact(&mut long)?;
            u64::from(u16::from_be_bytes(long))
        }
        127 => {
            let mut long = [0; 8];
            reader.read_exact(&mut long)?;
            u64::from_be_bytes(long)
        }
        short => u64::from(short),
    };
    let mut mask = [0; 4];
    reader.read_exact(&mut mask)?;
    let mut payload = Vec::new();
    let _ = reader.by_ref().take(length).read_to_end(&mut payload)?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Ok((head[0] & 0x0f, payload))
}

/// The answer to the key of a handshake (RFC 6455 4.2.2).
fn accept(nonce: &str) -> String {
    const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{nonce}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes());
    let mut text = String::new();
    for chunk in hash.as_ref().chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        text.extend((0..=chunk.len()).map(|place| char::from(BASE64[(bits >> (18 - 6 * place) & 63) as usize])));
    }
    text + "="
}
