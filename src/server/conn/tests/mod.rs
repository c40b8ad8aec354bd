//! One connection, from outside: raw sockets against a scripted handler. Where a deadline is tested the clock is paused, and
//! jumps to the next deadline when nothing else is left to do.

mod deadlines;
mod drain;
mod http1;
mod http2;
mod informational;
mod sizes;
mod tls;

use super::super::balance::Balance;
use super::super::drain::Drain;
use super::super::handler::Handler;
use super::super::listen::{Listener, Listeners};
use super::super::tls as server_tls;
use super::super::worker::Worker;
use crate::canon::Fault;
use crate::config::types::{Listen, Server};
use crate::proxy::{InformationalSender, Peer};
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

const GET: &str = "GET /a HTTP/1.1\r\nhost: x\r\n\r\n";

/// What the bodies of `/endless` are made of.
const CHUNK: &[u8] = &[b'x'; 16 * 1024];

/// More than sockets take while nobody reads.
const MUCH: usize = 12 << 20;

/// Answers by path.
#[derive(Debug, Default)]
struct Script {
    /// Ends the bodies of `/until`.
    finish: Arc<Notify>,
    /// The peers whose answers were dropped before their end, by whether they had stalled.
    dropped: Arc<Mutex<Vec<bool>>>,
    /// How many requests have come to it.
    handled: Arc<AtomicUsize>,
}

impl Handler for Script {
    type Body = ScriptBody;

    async fn handle(
        &self,
        peer: &Arc<Peer>,
        informational: Option<InformationalSender>,
        request: Request<Incoming>,
    ) -> Response<ScriptBody> {
        let _ = self.handled.fetch_add(1, Ordering::Relaxed);
        let body = |kind| ScriptBody { kind, peer: Arc::clone(peer), dropped: Arc::clone(&self.dropped), ended: false };
        if request.uri().path().starts_with("/hints") {
            informational::send_some(informational).await;
        }
        match request.uri().path() {
            "/hints-then-wait" => {
                self.finish.notified().await;
                Response::new(body(Kind::Whole(Full::default())))
            }
            "/panic" => panic!("as the test wants it"),
            "/endless" => Response::new(body(Kind::Endless)),
            "/until" => {
                let finish = Arc::clone(&self.finish);
                Response::new(body(Kind::Until(Box::pin(async move { finish.notified().await }), true)))
            }
            "/cut" => Response::new(body(Kind::Cut(Some(Bytes::from_static(b"first"))))),
            "/cut-after-much" => Response::new(body(Kind::Cut(Some(Bytes::from(vec![b'x'; MUCH]))))),
            "/echo" | "/hints-echo" => {
                let bytes = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
                Response::new(body(Kind::Whole(Full::new(bytes.unwrap_or_else(|_| Bytes::from_static(b"broken"))))))
            }
            path => {
                let text = format!("{path} tls={} addr={}", peer.tls, peer.address.is_some());
                Response::new(body(Kind::Whole(Full::new(Bytes::from(text)))))
            }
        }
    }

    fn panicked(&self, _grpc: bool) -> Response<ScriptBody> {
        let kind = Kind::Whole(Full::new(Bytes::from_static(b"internal_error")));
        let peer = Peer::new(None, false);
        let mut response = Response::new(ScriptBody { kind, peer, dropped: Arc::default(), ended: false });
        *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        response
    }

    fn refusal(&self, _: Option<std::net::SocketAddr>, fault: Fault) -> Bytes {
        let body = format!("{fault:?}");
        let status = fault.status();
        let length = body.len();
        Bytes::from(format!("HTTP/1.1 {status} Refused\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"))
    }
}

enum Kind {
    Whole(Full<Bytes>),
    Endless,
    Until(Pin<Box<dyn Future<Output = ()> + Send>>, bool),
    Cut(Option<Bytes>),
}

struct ScriptBody {
    kind: Kind,
    peer: Arc<Peer>,
    dropped: Arc<Mutex<Vec<bool>>>,
    ended: bool,
}

impl Body for ScriptBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let poll = match &mut self.kind {
            Kind::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Kind::Endless => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(CHUNK))))),
            Kind::Until(_, fresh @ true) => {
                *fresh = false;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"first")))))
            }
            Kind::Until(finish, _) => finish.as_mut().poll(cx).map(|()| None),
            Kind::Cut(first) => Poll::Ready(Some(first.take().map(Frame::data).ok_or_else(|| io::Error::other("cut")))),
        };
        self.ended |= matches!(poll, Poll::Ready(None));
        poll
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.kind, Kind::Whole(body) if body.is_end_stream())
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match &self.kind {
            Kind::Whole(body) => body.size_hint(),
            _ => http_body::SizeHint::default(),
        }
    }
}

impl Drop for ScriptBody {
    fn drop(&mut self) {
        if !self.ended && !self.is_end_stream() {
            self.dropped.lock().expect("no test panics inside").push(self.peer.has_stalled());
        }
    }
}

fn settings() -> Server {
    Server {
        authenticate: false,
        cors: None,
        listen: vec![Listen::Tcp(([127, 0, 0, 1], 0).into())],
        tls: None,
        workers: 1,
        max_connections: 100,
        drain_timeout: Duration::from_secs(30),
        drain_delay: Duration::ZERO,
        header_timeout: Duration::from_secs(10),
        body_timeout: Duration::from_secs(30),
        keep_alive_timeout: Duration::from_secs(75),
        write_timeout: Duration::from_secs(60),
        max_target_bytes: 1024,
        max_header_bytes: 4096,
        max_headers: 100,
        http2_max_streams: 100,
        tenant_header: None,
        trust_forwarded: false,
        public_url: None,
        error_docs_url: None,
    }
}

/// A worker in this runtime.
struct Bench {
    address: Listen,
    drain: Arc<Drain>,
    finish: Arc<Notify>,
    dropped: Arc<Mutex<Vec<bool>>>,
    handled: Arc<AtomicUsize>,
    worker: tokio::task::JoinHandle<()>,
    _listeners: Listeners,
}

fn start(server: Server) -> Bench {
    let mut listeners = Listeners::bind(&server.listen[0], 1).expect("a listener");
    let address = listeners.address().clone();
    let socket = listeners.sockets().pop().expect("one socket was asked for");
    let listener = Listener::register(socket).expect("a runtime");
    let drain = Drain::new(server.max_connections);
    let script = Script::default();
    let (finish, dropped) = (Arc::clone(&script.finish), Arc::clone(&script.dropped));
    let handled = Arc::clone(&script.handled);
    let tls = server.tls.as_ref().map(|tls| server_tls::Tls::new(tls).expect("good files"));
    let (balance, inbox) = Balance::new(1).pop().expect("one worker was asked for");
    let worker = Worker { handler: Arc::new(script), server, tls, drain: Arc::clone(&drain), balance };
    let worker = tokio::spawn(Arc::new(worker).run(vec![listener], inbox));
    Bench { address, drain, finish, dropped, handled, worker, _listeners: listeners }
}

impl Bench {
    async fn connect(&self) -> TcpStream {
        let Listen::Tcp(address) = &self.address else { panic!("this test has a TCP listener") };
        TcpStream::connect(address).await.expect("a connection")
    }
}

/// Reads until the other side closes.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    // What came before a reset counts.
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads one response with a length.
async fn one_answer(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    loop {
        bytes.push(stream.read_u8().await.expect("a whole head"));
        if bytes.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let head = String::from_utf8_lossy(&bytes).to_lowercase();
    let length =
        head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    let _ = stream.read_exact(&mut body).await.expect("a whole body");
    bytes.extend(body);
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), text: impl AsRef<[u8]>) {
    stream.write_all(text.as_ref()).await.expect("the server reads");
    stream.flush().await.expect("the server reads");
}
