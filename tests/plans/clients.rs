//! Clients: each asks again as soon as it has been answered. Three of five send short requests, one reads streams, one speaks
//! on sockets.

use futures_util::{SinkExt as _, StreamExt as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_websockets::{ClientBuilder, Message};

/// What happened to one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// Which of the addresses it went to.
    pub(crate) gateway: usize,
    /// When it began, from the beginning of the load.
    pub(crate) at: Duration,
    /// Until something of the answer came.
    pub(crate) waited: Duration,
    pub(crate) end: End,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Served,
    /// By the status of the refusal.
    Refused(u16),
    Broken,
}

/// The clients of one test.
pub(crate) struct Clients {
    tasks: JoinSet<Vec<Outcome>>,
    stop: Arc<AtomicBool>,
}

impl Clients {
    /// So many clients, spread evenly. Whose address does not answer goes on to the next.
    pub(crate) fn start(count: usize, addresses: &[SocketAddr], pause_when_refused: Duration) -> Clients {
        let (mut tasks, stop) = (JoinSet::new(), Arc::new(AtomicBool::new(false)));
        let (addresses, begun): (Arc<[SocketAddr]>, _) = (addresses.into(), Instant::now());
        for number in 0..count {
            let (addresses, stop) = (Arc::clone(&addresses), Arc::clone(&stop));
            tasks.spawn(async move {
                let (mut outcomes, mut gateway) = (Vec::new(), number % addresses.len());
                // Not all at the same moment, so that a turn of one is not the turn of all.
                tokio::time::sleep(Duration::from_millis(3 * number as u64)).await;
                while !stop.load(Ordering::Relaxed) {
                    let (start, address) = (Instant::now(), addresses[gateway]);
                    let (first, end) = match (number / addresses.len()) % 5 {
                        0..3 => http(address, SHORT, "stream").await,
                        3 => http(address, LONG, "stream/with-timestamps").await,
                        _ => socket(address).await,
                    };
                    let waited = first.map_or(start.elapsed(), |first| first - start);
                    outcomes.push(Outcome { gateway, at: start - begun, waited, end });
                    match end {
                        End::Served => {}
                        End::Refused(_) => tokio::time::sleep(pause_when_refused).await,
                        End::Broken => {
                            gateway = (gateway + 1) % addresses.len();
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    }
                }
                outcomes
            });
        }
        Clients { tasks, stop }
    }

    /// Lets each finish its call.
    pub(crate) async fn finish(self) -> Vec<Outcome> {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await.concat()
    }
}

/// What a debug build of the provider speaks cheaply; how long it takes is a matter of its pace.
const SHORT: &str = "Hi.";
const LONG: &str = "Hello, are you there?";

/// `HTTP/1.1 200`, and the last chunk.
const HEAD: usize = 12;
const TAIL: usize = 5;

async fn http(address: SocketAddr, text: &str, kind: &str) -> (Option<Instant>, End) {
    let body = format!("{{\"text\":\"{text}\"}}");
    let request = format!(
        "POST /v1/text-to-speech/v/{kind}?output_format=ulaw_8000 HTTP/1.1\r\nhost: provider\r\nxi-api-key: k\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut answer = Vec::new();
    let mut first = None;
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let count = stream.read(&mut buffer).await?;
            let _ = first.get_or_insert_with(Instant::now);
            if count == 0 {
                return std::io::Result::Ok(());
            }
            answer.extend_from_slice(&buffer[..count]);
            // The status and the end are enough.
            if answer.len() > HEAD + TAIL {
                drop(answer.drain(HEAD..answer.len() - TAIL));
            }
        }
    };
    let ended = exchange.await.is_ok();
    let status =
        answer.get(9..HEAD).and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|text| text.parse().ok());
    let end = match status {
        Some(200) if ended && answer.ends_with(b"0\r\n\r\n") => End::Served,
        Some(200) | None => End::Broken,
        Some(status) => End::Refused(status),
    };
    (first, end)
}

async fn socket(address: SocketAddr) -> (Option<Instant>, End) {
    let uri =
        format!("ws://{address}/v1/text-to-speech/v/stream-input?output_format=ulaw_8000").parse().expect("a URL");
    let builder = ClientBuilder::from_uri(uri);
    let builder = builder.add_header("xi-api-key".parse().expect("a name"), "k".parse().expect("a value"));
    let mut socket = match builder.expect("a header").connect().await {
        Ok((socket, _)) => socket,
        Err(tokio_websockets::Error::Upgrade(tokio_websockets::upgrade::Error::DidNotSwitchProtocols(status))) => {
            return (Some(Instant::now()), End::Refused(status));
        }
        Err(_) => return (None, End::Broken),
    };
    let mut first = None;
    for text in [format!("{{\"text\":\"{SHORT} \"}}"), "{\"text\":\"\"}".to_owned()] {
        if socket.send(Message::text(text)).await.is_err() {
            return (first, End::Broken);
        }
    }
    let mut end = End::Broken;
    while let Some(message) = socket.next().await {
        let _ = first.get_or_insert_with(Instant::now);
        match message {
            Ok(message) if message.as_text().is_some_and(|text| text.contains("\"isFinal\":true")) => end = End::Served,
            Ok(message) if message.as_text().is_some_and(|text| text.contains("concurrent")) => end = End::Refused(429),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    (first, end)
}
