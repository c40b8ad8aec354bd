//! A gateway, providers that do what a test says, clients that send any bytes.

use serde_json::Value;
use speechgate::app::{Handle, start};
use speechgate::config::load_str;
use speechgate::config::types::Listen;
use speechgate::wire::frame::{self, Header, Opcode, Sender, apply_mask};
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A key from RFC 6455 1.3; the answer to it stands in [`SWITCHING`].
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

/// Long enough for a loaded machine; a test that runs into it has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway with one route, `/r`.
pub(crate) struct Gateway {
    running: Option<Handle>,
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
}

/// A gateway to this provider; `route` adds lines to the route, `server` to `[server]`.
pub(crate) fn gateway(name: &str, provider: SocketAddr, route: &str, server: &str) -> Gateway {
    gateway_to(name, &format!("http://{provider}"), route, server)
}

/// The same to a URL.
pub(crate) fn gateway_to(name: &str, upstream: &str, route: &str, server: &str) -> Gateway {
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n{server}\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [telemetry]\nlog = {{ level = \"error\", access = false }}\n\
         [[routes]]\nname = \"r\"\nmatch = {{ path = \"/r\" }}\nprovider = \"{name}\"\nupstream = \"{upstream}\"\n{route}\n"
    );
    let loaded = load_str(&[("gateway.toml", &text)], []).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let running = start(loaded, None).expect("a gateway");
    // Its own hook tells where a panic was, never the words; tests want both.
    drop(std::panic::take_hook());
    let tcp = |listen: &Listen| match listen {
        Listen::Tcp(address) => *address,
        Listen::Unix(path) => panic!("a TCP listener, not {path:?}"),
    };
    let (address, admin) = (tcp(running.address()), tcp(running.admin_address().expect("an admin listener")));
    Gateway { running: Some(running), address, admin }
}

impl Gateway {
    /// Sends a handshake with further header lines.
    pub(crate) async fn ask(&self, lines: &str) -> Peer {
        self.ask_at("/socket?token=client-secret", lines).await
    }

    /// The same for a path below the route.
    pub(crate) async fn ask_at(&self, path: &str, lines: &str) -> Peer {
        let stream = TcpStream::connect(self.address).await.expect("a connection");
        let mut peer = Peer::new(stream, Sender::Server);
        let request = format!(
            "GET /r{path} HTTP/1.1\r\nHost: gateway.test\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{lines}\r\n"
        );
        peer.send(request.as_bytes()).await;
        peer
    }

    /// A session that is open.
    pub(crate) async fn open(&self) -> Peer {
        let mut peer = self.ask("").await;
        let head = peer.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        peer
    }

    /// Tells it to end.
    pub(crate) fn stop(&self) {
        self.running.as_ref().expect("not ended").stop();
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) {
        let running = self.running.take().expect("not ended");
        tokio::task::spawn_blocking(|| running.join()).await.expect("no panic");
    }

    /// The samples of a metric, but for those that are 0.
    pub(crate) async fn metric(&self, name: &str) -> Vec<String> {
        let mut stream = TcpStream::connect(self.admin).await.expect("a connection");
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("taken");
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await.expect("metrics");
        let wanted = |line: &&str| line.starts_with(name) && !line.ends_with(" 0");
        text.lines().filter(wanted).map(str::to_owned).collect()
    }

    /// Ends what providers asked to wait for.
    pub(crate) async fn clear_waits(&self) {
        let mut stream = TcpStream::connect(self.admin).await.expect("a connection");
        let request = "DELETE /-/waits HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("taken");
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await.expect("an answer");
        assert!(text.ends_with("1 wait ended\n"), "{text}");
    }

    /// Waits until a metric has exactly these samples, given without its name and without `route="r"`.
    pub(crate) async fn counts(&self, name: &str, expected: &[&str]) {
        let expected: Vec<String> = expected.iter().map(|sample| format!("{name}{sample}")).collect();
        let mut seen = Vec::new();
        for _ in 0..200 {
            seen = self.metric(name).await;
            if seen == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{seen:#?} instead of {expected:#?}");
    }
}

/// Runs `script` for every connection once its handshake has been read, head given.
pub(crate) async fn provider<F, R>(script: F) -> SocketAddr
where
    F: Fn(Peer, String) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut peer = Peer::new(stream, Sender::Client);
            let head = peer.head().await;
            drop(tokio::spawn(script(peer, head)));
        }
    }));
    address
}

/// A provider that accepts, sends these bytes, and then waits for the other side to end.
pub(crate) async fn saying(bytes: Vec<u8>) -> SocketAddr {
    provider(move |mut peer, _| {
        let bytes = bytes.clone();
        async move {
            peer.accept("").await;
            peer.send(&bytes).await;
            let _ = peer.rest().await;
        }
    })
    .await
}

/// The other end of a connection to the gateway.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    pub(crate) read: Vec<u8>,
    /// Who sends the frames that are read here.
    from: Sender,
}

/// A frame, unmasked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) fin: bool,
    pub(crate) opcode: Opcode,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// A close: its code and reason.
    pub(crate) fn close(&self) -> (u16, String) {
        assert_eq!(self.opcode, Opcode::Close, "{self:?}");
        let (code, reason) = self
            .payload
            .split_first_chunk()
            .map_or((1005, &[][..]), |(code, reason)| (u16::from_be_bytes(*code), reason));
        (code, String::from_utf8(reason.to_vec()).expect("UTF-8"))
    }

    /// A text message that is JSON.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.opcode, Opcode::Text, "{self:?}");
        serde_json::from_slice(&self.payload).unwrap_or_else(|_| panic!("JSON, not {self:?}"))
    }
}

impl Peer {
    pub(crate) fn new(stream: TcpStream, from: Sender) -> Peer {
        Peer { stream, read: Vec::new(), from }
    }

    pub(crate) async fn accept(&mut self, lines: &str) {
        self.send(format!("{SWITCHING}{lines}\r\n").as_bytes()).await;
    }

    /// Sends bytes; what has gone away does not hear them.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Reads until the end of a head.
    pub(crate) async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = self.read.drain(..end + 4).collect();
                return String::from_utf8(head).expect("ASCII");
            }
            if !self.more().await {
                return String::from_utf8(std::mem::take(&mut self.read)).expect("ASCII");
            }
        }
    }

    pub(crate) async fn more(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await;
        matches!(read.expect("in time"), Ok(1..))
    }

    /// The next frame; none at the end.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        loop {
            let parsed = frame::parse(&self.read, self.from);
            if let Some((header, start)) = parsed.unwrap_or_else(|broken| panic!("{broken:?} in {:?}", self.read)) {
                let end = start + usize::try_from(header.length).expect("a small frame");
                if self.read.len() >= end {
                    let mut payload: Vec<u8> = self.read.drain(..end).skip(start).collect();
                    if let Some(key) = header.mask {
                        apply_mask(&mut payload, key, 0);
                    }
                    return Some(Frame { fin: header.fin, opcode: header.opcode, payload });
                }
            }
            if !self.more().await {
                assert!(self.read.is_empty(), "an end inside a frame: {:?}", self.read);
                return None;
            }
        }
    }

    /// The next frame, which has to come.
    pub(crate) async fn next(&mut self) -> Frame {
        self.frame().await.expect("another frame")
    }

    /// Every frame up to and including the close.
    pub(crate) async fn frames_until_close(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while frames.last().is_none_or(|frame: &Frame| frame.opcode != Opcode::Close) {
            frames.push(self.next().await);
        }
        frames
    }

    /// Every frame up to the end of the connection.
    pub(crate) async fn frames(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.frame().await {
            frames.push(frame);
        }
        frames
    }

    /// Everything up to the end of the connection.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.read)
    }
}

/// A whole frame as the provider sends it.
pub(crate) fn down(opcode: Opcode, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame::frame(opcode, payload.as_ref(), None).to_vec()
}

/// A whole frame as the client sends it.
pub(crate) fn up(opcode: Opcode, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame::frame(opcode, payload.as_ref(), Some([1, 2, 3, 4])).to_vec()
}

/// A fragment as the provider sends it.
pub(crate) fn fragment(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Header { fin, ..Header::new(opcode, None, payload.len() as u64) }.write(&mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

/// The payload of a close.
pub(crate) fn closing(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}
