//! A provider of the test's own, which knows whose each call is: how many run, for how long, and what it would charge for them.
//!
//! Calls differ in length, from half as long as usual to half as long again, as those of people do: else all would end at one moment.
//! A target has `t=TENANT.MANNER` in its query. Manners: `whole` speaks to the end; `held` speaks two pieces and waits for the client to
//! go; `cut` breaks off after two; `flaky` refuses the first attempt of each text with a 503.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt as _, StreamExt as _};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_websockets::{Message, ServerBuilder};

/// Bytes of audio in a piece: a tenth of a second at 8 kHz.
const PIECE: usize = 800;
/// Pieces that are spoken before a call is held or cut.
const FEW: u32 = 2;

/// What one tenant did, and what it would be charged for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Bill {
    /// Slots that its calls held, over time.
    pub(crate) slot_seconds: f64,
    /// Calls that were not refused.
    pub(crate) requests: u64,
    pub(crate) characters: u64,
    pub(crate) audio_bytes: u64,
    running: u32,
}

#[derive(Debug, Default)]
struct Books {
    tenants: BTreeMap<String, Bill>,
    running: u32,
    peak: u32,
    slot_seconds: f64,
    counted: Option<Instant>,
    refused: BTreeSet<String>,
}

impl Books {
    /// Time has passed.
    fn pass(&mut self) {
        let now = Instant::now();
        let since = self.counted.replace(now).map_or(0.0, |before| (now - before).as_secs_f64());
        self.slot_seconds += f64::from(self.running) * since;
        for bill in self.tenants.values_mut() {
            bill.slot_seconds += f64::from(bill.running) * since;
        }
    }
}

/// What was counted up to a moment.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) tenants: BTreeMap<String, Bill>,
    pub(crate) slot_seconds: f64,
    pub(crate) running: u32,
    /// Most calls at once so far.
    pub(crate) peak: u32,
    pub(crate) at: Instant,
}

/// The provider. It ends with the runtime of its test.
#[derive(Clone)]
pub(crate) struct Provider {
    pub(crate) address: SocketAddr,
    books: Arc<Mutex<Books>>,
    pieces: u32,
    pace: Duration,
}

/// A call at the provider, which holds a slot until this is dropped.
struct Call<'p> {
    provider: &'p Provider,
    tenant: String,
    text: u64,
    pace: Duration,
    audio: u64,
    ended: bool,
}

/// How a call ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Whole,
    Gone,
    Cut,
}

impl Provider {
    /// One that speaks so many pieces, one each `pace`.
    pub(crate) async fn start(pieces: u32, pace: Duration) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let provider = Provider { address, books: Arc::default(), pieces, pace };
        let serving = provider.clone();
        drop(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let provider = serving.clone();
                drop(tokio::spawn(async move { provider.serve(stream).await }));
            }
        }));
        provider
    }

    pub(crate) fn seen(&self) -> Seen {
        let mut books = self.books();
        books.pass();
        let (tenants, at) = (books.tenants.clone(), Instant::now());
        Seen { tenants, slot_seconds: books.slot_seconds, running: books.running, peak: books.peak, at }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("no panic")
    }

    /// A request of so many characters takes a slot.
    fn begins(&self, tenant: &str, text: u64) -> Call<'_> {
        let mut books = self.books();
        books.pass();
        books.running += 1;
        books.peak = books.peak.max(books.running);
        let bill = books.tenants.entry(tenant.to_owned()).or_default();
        bill.requests += 1;
        bill.running += 1;
        let pace = self.pace.mul_f64(0.5 + fastrand::f64());
        Call { provider: self, tenant: tenant.to_owned(), text, pace, audio: 0, ended: false }
    }

    async fn serve(&self, mut stream: TcpStream) {
        loop {
            let Some(head) = peek(&mut stream).await else { return };
            let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let told = target.split("&t=").nth(1).and_then(|rest| rest.split('&').next()).unwrap_or("nobody.whole");
            let (tenant, manner) = told.split_once('.').expect("a tenant and a manner");
            if head.to_lowercase().contains("\r\nupgrade: websocket") {
                return self.speak_on_socket(stream, tenant, manner).await;
            }
            let length = head
                .to_lowercase()
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.split("\r\n").next().and_then(|digits| digits.parse::<usize>().ok()));
            let mut request = vec![0; head.len() + length.unwrap_or(0)];
            if stream.read_exact(&mut request).await.is_err() {
                return;
            }
            let body: serde_json::Value = serde_json::from_slice(&request[head.len()..]).unwrap_or_default();
            let text = body["text"].as_str().unwrap_or_default();
            if manner == "flaky" && self.books().refused.insert(format!("{tenant} {text}")) {
                let refusal = b"HTTP/1.1 503 Busy\r\ncontent-length: 2\r\n\r\n{}";
                if stream.write_all(refusal).await.is_err() {
                    return;
                }
                continue;
            }
            let events = target.contains("/sse");
            if self.answer(&mut stream, (tenant, manner), text.chars().count() as u64, events).await != End::Whole {
                return;
            }
        }
    }

    async fn answer(&self, stream: &mut TcpStream, (tenant, manner): (&str, &str), text: u64, events: bool) -> End {
        let mut call = self.begins(tenant, text);
        let kind = if events { "text/event-stream" } else { "audio/basic" };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n");
        if stream.write_all(head.as_bytes()).await.is_err() {
            return call.ends(End::Gone);
        }
        let audio = vec![0x7f; PIECE];
        let piece = if events { event(&audio) } else { audio };
        let pieces = if manner == "whole" || manner == "flaky" { self.pieces } else { FEW };
        for number in 0..pieces {
            tokio::time::sleep(call.pace).await;
            let whole = number + 1 == self.pieces;
            call.speaks(whole);
            let mut bytes = format!("{:x}\r\n", piece.len()).into_bytes();
            bytes.extend_from_slice(&piece);
            bytes.extend_from_slice(if whole && !events { b"\r\n0\r\n\r\n" } else { b"\r\n" });
            if whole && events {
                let last = b"data: {\"isFinal\":true}\n\n";
                bytes.extend_from_slice(format!("{:x}\r\n", last.len()).as_bytes());
                bytes.extend_from_slice(last);
                bytes.extend_from_slice(b"\r\n0\r\n\r\n");
            }
            if stream.write_all(&bytes).await.is_err() {
                return call.ends(End::Gone);
            }
        }
        match manner {
            "cut" => call.ends(End::Cut),
            "held" => {
                let _ = stream.read(&mut [0; 64]).await;
                call.ends(End::Gone)
            }
            _ => End::Whole,
        }
    }

    async fn speak_on_socket(&self, stream: TcpStream, tenant: &str, manner: &str) {
        let Ok((_, mut socket)) = ServerBuilder::new().accept(stream).await else { return };
        let mut call = self.begins(tenant, 0);
        let said = |message: &Message| serde_json::from_str::<serde_json::Value>(message.as_text()?).ok();
        while let Some(Ok(message)) = socket.next().await {
            let Some(said) = said(&message) else { break };
            let text = said["text"].as_str().unwrap_or_default();
            call.text += text.chars().count() as u64;
            if !text.is_empty() {
                continue;
            }
            let pieces = if manner == "whole" { self.pieces } else { FEW };
            let audio = format!("{{\"audio\":\"{}\"}}", STANDARD.encode(vec![0x7f; PIECE]));
            for number in 0..pieces {
                tokio::time::sleep(call.pace).await;
                let whole = number + 1 == self.pieces;
                call.speaks(whole);
                if socket.send(Message::text(audio.clone())).await.is_err() {
                    let _ = call.ends(End::Gone);
                    return;
                }
            }
            match manner {
                "cut" => {
                    let _ = call.ends(End::Cut);
                    return;
                }
                "held" => while let Some(Ok(_)) = socket.next().await {},
                _ => {
                    let _ = socket.send(Message::text("{\"isFinal\":true}")).await;
                    let _ = socket.close().await;
                }
            }
            break;
        }
        let _ = call.ends(End::Gone);
    }
}

impl Call<'_> {
    /// A piece is about to be sent. The last one ends the call, so that whoever has heard all of it finds the slot free.
    fn speaks(&mut self, is_last: bool) {
        self.audio += PIECE as u64;
        if is_last {
            let _ = self.ends(End::Whole);
        }
    }

    /// It ends once. What was cut off is not charged; a client that goes has had what was spoken, and all of the text.
    fn ends(&mut self, end: End) -> End {
        if std::mem::replace(&mut self.ended, true) {
            return end;
        }
        let mut books = self.provider.books();
        books.pass();
        books.running -= 1;
        let bill = books.tenants.get_mut(&self.tenant).expect("it has begun");
        bill.running -= 1;
        if end != End::Cut {
            bill.characters += self.text;
            bill.audio_bytes += self.audio;
        }
        end
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let _ = self.ends(End::Gone);
    }
}

/// One server-sent event with a piece.
fn event(audio: &[u8]) -> Vec<u8> {
    format!("data: {{\"audio\":\"{}\"}}\n\n", STANDARD.encode(audio)).into_bytes()
}

/// The head of the next request, which stays unread.
async fn peek(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let count = stream.peek(&mut bytes).await.ok().filter(|count| *count > 0)?;
        let text = String::from_utf8_lossy(&bytes[..count]);
        if let Some(end) = text.find("\r\n\r\n") {
            return Some(text[..end + 4].to_owned());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
