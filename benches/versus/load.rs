//! Clients: as little work as possible, and a time for each operation.

use super::provider::{AUDIO, BULK, CHUNK, EVENT, EVENTS, PACED};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// What clients do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Work {
    /// A small request for a small answer.
    Json,
    /// The same with an error for an answer.
    Error,
    /// A stream of audio at the pace of speech.
    Paced,
    Download,
    Upload,
    /// Events as fast as they go.
    Events,
    /// Frames of audio there and back as fast as they go.
    Socket,
    /// Frames every 20 ms.
    PacedSocket,
    /// Messages of gRPC there and back as fast as they go.
    Calls,
    /// Messages with audio in base64 there and back as fast as they go.
    TextSocket,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Requests, messages or bytes, as the work has it.
    pub(crate) operations: u64,
    /// Sorted: how long each took; of a paced stream until its first byte.
    pub(crate) times: Vec<Duration>,
    /// Sorted: how far each chunk of a paced stream came from its time.
    pub(crate) jitter: Vec<Duration>,
}

/// 10 MiB, as one recording.
pub(crate) const UPLOAD: usize = 10 << 20;

/// So many clients do this for so long.
pub(crate) fn run(
    runtime: &Runtime,
    to: SocketAddr,
    prefix: &str,
    work: Work,
    clients: usize,
    time: Duration,
) -> Outcome {
    if work == Work::Calls {
        return super::grpc::run(runtime, to, prefix, clients, time);
    }
    let mut all = runtime.block_on(async {
        let until = Instant::now() + time;
        let tasks: Vec<_> = (0..clients).map(|_| tokio::spawn(client(to, prefix.to_owned(), work, until))).collect();
        let mut all = Outcome::default();
        for task in tasks {
            let one = task.await.expect("no panic").unwrap_or_else(|error| panic!("{work:?} through {to}: {error}"));
            all.operations += one.operations;
            all.times.extend(one.times);
            all.jitter.extend(one.jitter);
        }
        all
    });
    all.times.sort_unstable();
    all.jitter.sort_unstable();
    all
}

async fn client(to: SocketAddr, prefix: String, work: Work, until: Instant) -> std::io::Result<Outcome> {
    let mut client =
        Client { socket: connect(to).await?, buffer: Vec::with_capacity(256 * 1024), outcome: Outcome::default() };
    match work {
        Work::Socket | Work::PacedSocket | Work::TextSocket => client.talk(&prefix, until, work).await?,
        _ => {
            while Instant::now() < until {
                client.ask(&prefix, work).await?;
            }
        }
    }
    Ok(client.outcome)
}

pub(crate) async fn connect(to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpStream::connect(to).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// A connection of one client.
pub(crate) struct Client {
    pub(crate) socket: TcpStream,
    pub(crate) buffer: Vec<u8>,
    pub(crate) outcome: Outcome,
}

const TEXT: &str = r#"{"text":"The quick brown fox jumps over the lazy dog.","model_id":"eleven_flash_v2_5","output_format":"mp3_44100_128"}"#;

impl Client {
    /// One request and the whole of its answer.
    pub(crate) async fn ask(&mut self, prefix: &str, work: Work) -> std::io::Result<()> {
        let path = match work {
            Work::Error => "error",
            Work::Paced => "paced",
            Work::Download => "bulk",
            Work::Events => "events",
            Work::Upload => "upload",
            _ => "json",
        };
        let length = if work == Work::Upload { UPLOAD } else { TEXT.len() };
        let mut request = format!(
            "POST {prefix}/v1/{path} HTTP/1.1\r\nhost: gateway.test\r\nuser-agent: bench/1\r\naccept: */*\r\n\
             xi-api-key: sk_0123456789abcdef\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        if work != Work::Upload {
            request.push_str(TEXT);
        }
        let sent = Instant::now();
        self.socket.write_all(request.as_bytes()).await?;
        if work == Work::Upload {
            for _ in 0..UPLOAD / (64 * 1024) {
                self.socket.write_all(&[0x5a; 64 * 1024]).await?;
            }
        }
        self.buffer.clear();
        let head = self.head().await?;
        let status = if work == Work::Error { "HTTP/1.1 429 " } else { "HTTP/1.1 200 " };
        let text = String::from_utf8_lossy(&self.buffer[..head]).to_ascii_lowercase();
        assert!(text.starts_with(&status.to_ascii_lowercase()), "{text}");
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        drop(self.buffer.drain(..head));
        let received = match length {
            Some(length) => self.exactly(length).await?,
            None => self.chunked(work, sent).await?,
        };
        match work {
            Work::Paced => self.outcome.operations += 1,
            Work::Download => {
                assert_eq!(received, BULK);
                self.outcome.operations += BULK as u64;
            }
            Work::Upload => self.outcome.operations += UPLOAD as u64,
            Work::Events => {
                assert_eq!(received, EVENTS * EVENT.len());
                self.outcome.operations += EVENTS as u64;
                self.outcome.times.push(sent.elapsed() / EVENTS as u32);
            }
            _ => {
                self.outcome.operations += 1;
                self.outcome.times.push(sent.elapsed());
            }
        }
        Ok(())
    }

    async fn head(&mut self) -> std::io::Result<usize> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                return Ok(end + 4);
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> std::io::Result<()> {
        match self.socket.read_buf(&mut self.buffer).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn exactly(&mut self, length: usize) -> std::io::Result<usize> {
        let mut left = length;
        loop {
            let taken = left.min(self.buffer.len());
            drop(self.buffer.drain(..taken));
            left -= taken;
            if left == 0 {
                return Ok(length);
            }
            self.more().await?;
        }
    }

    /// Reads chunks to the last one; of a paced stream notes when they came.
    async fn chunked(&mut self, work: Work, sent: Instant) -> std::io::Result<usize> {
        let (mut received, mut marks) = (0, 0);
        let mut first = None;
        loop {
            let size = loop {
                if let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n") {
                    let text = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                    drop(self.buffer.drain(..end + 2));
                    break usize::from_str_radix(text.split(';').next().unwrap_or_default().trim(), 16)
                        .expect("a size");
                }
                self.more().await?;
            };
            let _ = self.exactly(size + 2).await?;
            if size == 0 {
                return Ok(received);
            }
            received += size;
            // A proxy may cut chunks anew: what counts is when so many bytes were there.
            if work == Work::Paced && (received >= (marks + 1) * CHUNK || marks == 0) {
                let now = Instant::now();
                let begun = *first.get_or_insert(now);
                if marks == 0 {
                    self.outcome.times.push(now - sent);
                } else if marks < PACED {
                    let due = begun + super::provider::PACE * marks as u32;
                    self.outcome
                        .jitter
                        .push(now.saturating_duration_since(due).max(due.saturating_duration_since(now)));
                }
                marks += 1;
            }
        }
    }

    /// Opens a WebSocket.
    pub(crate) async fn open(&mut self, prefix: &str) -> std::io::Result<()> {
        let handshake = format!(
            "GET {prefix}/v1/socket HTTP/1.1\r\nHost: gateway.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        self.socket.write_all(handshake.as_bytes()).await?;
        self.buffer.clear();
        let head = self.head().await?;
        assert!(self.buffer.starts_with(b"HTTP/1.1 101 "), "{}", self.buffer[..head].escape_ascii());
        drop(self.buffer.drain(..head));
        Ok(())
    }

    async fn talk(&mut self, prefix: &str, until: Instant, work: Work) -> std::io::Result<()> {
        self.open(prefix).await?;
        let mut next = tokio::time::Instant::now();
        while Instant::now() < until {
            if work == Work::PacedSocket {
                tokio::time::sleep_until(next).await;
                next += super::provider::PACE;
            }
            let sent = Instant::now();
            match work {
                Work::TextSocket => self.exchange_text().await?,
                _ => self.exchange().await?,
            }
            self.outcome.times.push(sent.elapsed());
            self.outcome.operations += 2;
        }
        Ok(())
    }

    /// One frame of audio there and one back.
    pub(crate) async fn exchange(&mut self) -> std::io::Result<()> {
        let mut frame = [0x5a; 8 + AUDIO];
        frame[..8].copy_from_slice(&[0x82, 0x80 | 126, (AUDIO >> 8) as u8, (AUDIO & 255) as u8, 0, 0, 0, 0]);
        self.socket.write_all(&frame).await?;
        let _ = self.socket.read_exact(&mut frame[..4 + AUDIO]).await?;
        Ok(())
    }

    /// The same in base64: the provider answers with what it was sent.
    async fn exchange_text(&mut self) -> std::io::Result<()> {
        let mut frame = [b'A'; 8 + AUDIO];
        frame[..8].copy_from_slice(&[0x81, 0x80 | 126, (AUDIO >> 8) as u8, (AUDIO & 255) as u8, 0, 0, 0, 0]);
        frame[8..8 + TEXT_HEAD.len()].copy_from_slice(TEXT_HEAD);
        frame[8 + AUDIO - 2..].copy_from_slice(b"\"}");
        self.socket.write_all(&frame).await?;
        let _ = self.socket.read_exact(&mut frame[..4 + AUDIO]).await?;
        Ok(())
    }
}

/// The beginning of a message with audio.
pub(crate) const TEXT_HEAD: &[u8] = br#"{"type":"chunk","context_id":"happy-monkeys-fly","step_time":12.5,"data":""#;
