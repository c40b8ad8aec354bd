//! The provider that all proxies stand before: as little work as possible, so that what is measured is the proxy.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

/// A small success.
pub(crate) const JSON: &str = r#"{"voice_id":"21m00Tcm4TlvDq8ikWAM","name":"Rachel","category":"premade","labels":{"accent":"american"},"preview_url":"https://storage.example/r.mp3"}"#;
/// An error of ElevenLabs, 363 bytes.
pub(crate) const ERROR: &str = r#"{"detail":{"type":"rate_limit_error","code":"rate_limit_exceeded","message":"Too many requests have been made with this key in the last seconds. Please slow down, wait for a moment and send the request again; if this goes on happening, ask the sales team for a higher limit on your plan.","status":"rate_limit_exceeded","request_id":"b736e114506d20210112110b377c6f9b"}}"#;
/// Audio of 20 ms or so, as it comes from a text-to-speech engine.
pub(crate) const CHUNK: usize = 4096;
/// How often a paced stream sends a chunk.
pub(crate) const PACE: Duration = Duration::from_millis(20);
/// Chunks of one paced stream.
pub(crate) const PACED: usize = 25;
/// Bytes of one bulk download.
pub(crate) const BULK: usize = 16 << 20;
/// Events of one SSE stream.
pub(crate) const EVENTS: usize = 1000;
/// One of them.
pub(crate) const EVENT: &str = "event: chunk\ndata: {\"type\":\"chunk\",\"done\":false,\"status_code\":206,\"step_time\":12.5,\"data\":\"UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQ==\"}\n\n";
/// What a WebSocket says back to each frame of audio.
pub(crate) const AUDIO: usize = 640;

/// Starts it on a thread of its own.
pub(crate) fn start() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("bound");
    // It ends with the process.
    drop(std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).expect("a listener");
            while let Ok((socket, _)) = listener.accept().await {
                drop(tokio::spawn(serve(socket)));
            }
        });
    }));
    address
}

/// Requests of one connection, until it is closed.
async fn serve(mut socket: TcpStream) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(64 * 1024);
    loop {
        let head = loop {
            if let Some(end) = memchr::memmem::find(&buffer, b"\r\n\r\n") {
                break end + 4;
            }
            if socket.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let text = String::from_utf8_lossy(&buffer[..head]).into_owned();
        let path = text.split(' ').nth(1).unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned();
        body(&mut socket, &mut buffer, &text, head).await?;
        if path == "socket" {
            return echo(socket, &text).await;
        }
        answer(&mut socket, &path).await?;
    }
}

/// Takes a request's head and body out of the buffer.
async fn body(socket: &mut TcpStream, buffer: &mut Vec<u8>, text: &str, head: usize) -> std::io::Result<()> {
    let field = |name: &str| {
        let line = text.lines().find(|line| line.get(..name.len()).is_some_and(|it| it.eq_ignore_ascii_case(name)))?;
        Some(line[name.len()..].trim().to_owned())
    };
    let chunked = field("transfer-encoding:").is_some();
    let mut left = field("content-length:").map_or(0, |length| length.parse().expect("a length"));
    drop(buffer.drain(..head));
    if chunked {
        while !buffer.ends_with(b"0\r\n\r\n") {
            let keep = buffer.len().saturating_sub(8);
            drop(buffer.drain(..keep));
            if socket.read_buf(buffer).await? == 0 {
                return Ok(());
            }
        }
        buffer.clear();
        return Ok(());
    }
    loop {
        let taken = left.min(buffer.len());
        drop(buffer.drain(..taken));
        left -= taken;
        if left == 0 || socket.read_buf(buffer).await? == 0 {
            return Ok(());
        }
    }
}

async fn answer(socket: &mut TcpStream, path: &str) -> std::io::Result<()> {
    const AUDIO_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\nrequest-id: 8f1c\r\n";
    match path {
        "error" => {
            let length = ERROR.len();
            let text = format!(
                "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{ERROR}"
            );
            socket.write_all(text.as_bytes()).await
        }
        "paced" => {
            socket.write_all(format!("{AUDIO_HEAD}transfer-encoding: chunked\r\n\r\n").as_bytes()).await?;
            let mut timer = tokio::time::interval(PACE);
            for _ in 0..PACED {
                let _ = timer.tick().await;
                chunk(socket, &[0x5a; CHUNK]).await?;
            }
            socket.write_all(b"0\r\n\r\n").await
        }
        "bulk" => {
            socket.write_all(format!("{AUDIO_HEAD}content-length: {BULK}\r\n\r\n").as_bytes()).await?;
            for _ in 0..BULK / (64 * 1024) {
                socket.write_all(&[0x5a; 64 * 1024]).await?;
            }
            Ok(())
        }
        "events" => {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            socket.write_all(head.as_bytes()).await?;
            for _ in 0..EVENTS {
                chunk(socket, EVENT.as_bytes()).await?;
            }
            socket.write_all(b"0\r\n\r\n").await
        }
        _ => {
            let length = JSON.len();
            let text = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nrequest-id: 8f1c\r\ncontent-length: {length}\r\n\r\n{JSON}"
            );
            socket.write_all(text.as_bytes()).await
        }
    }
}

/// One chunk in one write.
async fn chunk(socket: &mut TcpStream, data: &[u8]) -> std::io::Result<()> {
    let mut framed = format!("{:x}\r\n", data.len()).into_bytes();
    framed.extend_from_slice(data);
    framed.extend_from_slice(b"\r\n");
    socket.write_all(&framed).await
}

/// Accepts a handshake with the key that all clients here send, and answers each frame of audio with another.
async fn echo(mut socket: TcpStream, head: &str) -> std::io::Result<()> {
    assert!(head.contains("dGhlIHNhbXBsZSBub25jZQ=="), "the key that belongs to the answer");
    socket
        .write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        )
        .await?;
    let mut frame = [0; 8 + AUDIO];
    let mut answer = [0x5a; 4 + AUDIO];
    answer[..4].copy_from_slice(&[0x82, 126, (AUDIO >> 8) as u8, (AUDIO & 255) as u8]);
    loop {
        let _ = socket.read_exact(&mut frame).await?;
        if frame[0] & 0x0f == 1 {
            // A text comes back as it is, without its mask.
            answer[0] = 0x81;
            answer[4..].copy_from_slice(&frame[8..]);
        }
        socket.write_all(&answer).await?;
    }
}
