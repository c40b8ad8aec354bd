//! Providers that do exactly what a test says, and small builders for requests.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use speechgate::canon::Fault;
use speechgate::config::types::{Protocol, Timeouts, Upstream};
use speechgate::upstream::{Client, Facts, Failure, TlsShared};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A client for bodies of known bytes.
pub(crate) type Plain = Client<Full<Bytes>>;

pub(crate) fn client() -> Plain {
    Client::new(Arc::new(TlsShared::new()))
}

/// Long enough for a loaded machine; a test that runs into these has failed.
pub(crate) fn patient() -> Timeouts {
    timeouts(Duration::from_secs(20), Duration::from_secs(20))
}

/// For tests that wait for the deadline to pass.
pub(crate) fn hasty() -> Timeouts {
    timeouts(Duration::from_millis(150), Duration::from_millis(150))
}

pub(crate) fn timeouts(connect: Duration, response: Duration) -> Timeouts {
    Timeouts { connect, response, idle: Duration::from_secs(20), websocket_idle: Duration::from_secs(20), total: None }
}

pub(crate) fn upstream(address: SocketAddr) -> Upstream {
    named(&address.ip().to_string(), address.port())
}

pub(crate) fn named(host: &str, port: u16) -> Upstream {
    Upstream {
        tls: false,
        host: host.to_owned(),
        port,
        authority: format!("{host}:{port}").parse().expect("a valid authority"),
        base_path: String::new(),
        ca_file: None,
        client_certificate: None,
        protocol: Protocol::Auto,
    }
}

pub(crate) fn request(method: Method, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri("/v1/speech?x=1")
        .header("host", "provider.test")
        .body(Full::new(body.into()))
        .expect("a valid request")
}

pub(crate) fn get() -> Request<Full<Bytes>> {
    request(Method::GET, "")
}

/// Runs `script` for every connection, with its number from zero.
pub(crate) async fn provider<F, R>(script: F) -> SocketAddr
where
    F: Fn(usize, TcpStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        for number in 0.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            tokio::spawn(script(number, stream));
        }
    });
    address
}

/// A provider that reads one request head, writes `answer` and closes.
pub(crate) async fn answering(answer: impl Into<Bytes>) -> SocketAddr {
    let answer = answer.into();
    provider(move |_, mut stream| {
        let answer = answer.clone();
        async move {
            head(&mut stream).await;
            let _ = stream.write_all(&answer).await;
        }
    })
    .await
}

/// Reads up to the empty line; what was read until the end of the stream if there is none.
pub(crate) async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => read.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(read).expect("requests are ASCII")
}

/// Waits until the peer has closed.
pub(crate) async fn closed(stream: &mut (impl AsyncRead + Unpin)) {
    let mut sink = [0; 4096];
    while matches!(stream.read(&mut sink).await, Ok(read) if read > 0) {}
}

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: http::response::Parts,
    pub(crate) body: Bytes,
    pub(crate) facts: Facts,
}

/// Sends, and reads the whole body.
pub(crate) async fn fetch(
    client: &Plain,
    upstream: &Upstream,
    request: Request<Full<Bytes>>,
) -> Result<Answer, Failure> {
    let exchange = client.send(upstream, &patient(), request).await?;
    let (head, body) = exchange.response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Answer { head, body, facts: exchange.facts })
}

/// The fault of a call that has to fail.
pub(crate) async fn fault(client: &Plain, upstream: &Upstream, request: Request<Full<Bytes>>) -> Fault {
    match fetch(client, upstream, request).await {
        Ok(answer) => panic!("this was taken for an answer: {}", answer.head.status),
        Err(failure) => failure.fault,
    }
}
