//! A provider and a client of gRPC that know frames and fields, and nothing of messages but their prefix.

use super::DEADLINE;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// What a provider does with one call.
pub(crate) type Script = Arc<dyn Fn(Exchange) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// One call as its provider has it.
pub(crate) struct Exchange {
    pub(crate) request: Request<RecvStream>,
    pub(crate) respond: SendResponse<Bytes>,
}

/// A provider that speaks HTTP/2 by prior knowledge.
pub(crate) struct Calls {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<http::request::Parts>>>,
}

impl Calls {
    /// A provider that does this with each call.
    pub(crate) async fn start<F, R>(script: F) -> Calls
    where
        F: Fn(Exchange) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let script: Script = Arc::new(move |exchange| Box::pin(script(exchange)));
        let seen: Arc<Mutex<Vec<http::request::Parts>>> = Arc::default();
        let calls = Calls { address, seen: Arc::clone(&seen) };
        drop(tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                drop(tokio::spawn(serve(socket, Arc::clone(&script), Arc::clone(&seen))));
            }
        }));
        calls
    }

    /// The heads of the calls that have come since this was last asked.
    pub(crate) fn take(&self) -> Vec<http::request::Parts> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn serve(socket: TcpStream, script: Script, seen: Arc<Mutex<Vec<http::request::Parts>>>) {
    let Ok(mut connection) = h2::server::Builder::new().max_header_list_size(1 << 20).handshake(socket).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let (parts, body) = request.into_parts();
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(parts.clone());
        drop(tokio::spawn(script(Exchange { request: Request::from_parts(parts, body), respond })));
    }
}

impl Exchange {
    /// Begins the answer of a call that goes on.
    pub(crate) fn begin(&mut self) -> SendStream<Bytes> {
        let head = Response::builder().header("content-type", "application/grpc").body(()).expect("a head");
        self.respond.send_response(head, false).expect("an open stream")
    }

    /// Answers with a head alone.
    pub(crate) fn end(&mut self, status: u16, fields: &[(&str, &str)]) {
        let mut head = Response::builder().status(status).body(()).expect("a head");
        *head.headers_mut() = map(fields);
        drop(self.respond.send_response(head, true).expect("an open stream"));
    }

    /// The next piece of what the client sends.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, h2::Error>> {
        let body = self.request.body_mut();
        let next = body.data().await;
        if let Some(Ok(data)) = &next {
            let _ = body.flow_control().release_capacity(data.len());
        }
        next
    }
}

/// How a call ended for its client.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    pub(crate) status: u16,
    pub(crate) head: HeaderMap,
    pub(crate) data: Vec<u8>,
    /// The trailers; those in the head where it was all of the answer.
    pub(crate) trailers: HeaderMap,
    /// Whether the head was all of the answer.
    pub(crate) trailers_only: bool,
    pub(crate) reset: Option<Reason>,
}

impl Ended {
    /// A trailer as text.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.trailers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// The status and the code.
    pub(crate) fn said(&self) -> (&str, &str) {
        (self.field("grpc-status"), self.field("x-error-code"))
    }
}

/// A connection of a client.
#[derive(Clone)]
pub(crate) struct Caller(h2::client::SendRequest<Bytes>, tokio::task::AbortHandle);

/// A call that its client has begun.
pub(crate) struct Call {
    pub(crate) answer: h2::client::ResponseFuture,
    pub(crate) send: SendStream<Bytes>,
}

impl Caller {
    /// By prior knowledge.
    pub(crate) async fn to(address: SocketAddr) -> Caller {
        Caller::over(TcpStream::connect(address).await.expect("it listens")).await
    }

    /// By ALPN, to a gateway that shows a certificate for `gateway.test`.
    pub(crate) async fn by_tls(address: SocketAddr, trusted: rustls::RootCertStore) -> Caller {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder.expect("versions").with_root_certificates(trusted).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let socket = TcpStream::connect(address).await.expect("it listens");
        let name = rustls::pki_types::ServerName::try_from("gateway.test").expect("a name");
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, socket);
        Caller::over(timeout(DEADLINE, handshake).await.expect("in time").expect("TLS")).await
    }

    async fn over(socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Caller {
        let mut builder = h2::client::Builder::new();
        let handshake = builder.max_header_list_size(1 << 20).handshake(socket);
        let (send, connection) = timeout(DEADLINE, handshake).await.expect("in time").expect("HTTP/2");
        let connection = tokio::spawn(connection);
        Caller(send, connection.abort_handle())
    }

    /// Ends the connection without a word.
    pub(crate) fn abort(&self) {
        self.1.abort();
    }

    /// Begins a call.
    pub(crate) async fn begin(&self, path: &str, fields: &[(&str, &str)]) -> Call {
        let mut ready = timeout(DEADLINE, self.0.clone().ready()).await.expect("in time").expect("an open connection");
        let mut request = Request::builder()
            .method("POST")
            .uri(format!("http://gateway.test{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .expect("a request");
        request.headers_mut().extend(map(fields));
        let (answer, send) = ready.send_request(request, false).expect("an open connection");
        Call { answer, send }
    }

    /// One call with one message.
    pub(crate) async fn call(&self, path: &str, fields: &[(&str, &str)]) -> Ended {
        let mut call = self.begin(path, fields).await;
        // What is refused at once is not read any more.
        let _ = call.send.send_data(message(b"hello"), true);
        call.end().await
    }
}

impl Call {
    /// All of the answer.
    pub(crate) async fn end(self) -> Ended {
        let answer = timeout(DEADLINE, self.answer).await.expect("an answer in time");
        let mut ended = Ended::default();
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                ended.reset = error.reason();
                return ended;
            }
        };
        let (parts, mut body) = answer.into_parts();
        (ended.status, ended.head) = (parts.status.as_u16(), parts.headers);
        ended.trailers_only = body.is_end_stream();
        while let Some(data) = timeout(DEADLINE, body.data()).await.expect("data in time") {
            match data {
                Ok(data) => {
                    let _ = body.flow_control().release_capacity(data.len());
                    ended.data.extend_from_slice(&data);
                }
                Err(error) => {
                    ended.reset = error.reason();
                    return ended;
                }
            }
        }
        match timeout(DEADLINE, body.trailers()).await.expect("trailers in time") {
            Ok(trailers) => ended.trailers = trailers.unwrap_or_default(),
            Err(error) => ended.reset = error.reason(),
        }
        if ended.trailers_only {
            ended.trailers = ended.head.clone();
        }
        ended
    }
}

/// Fields by name.
pub(crate) fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&str, &str)| {
        (name.parse::<HeaderName>().expect("a name"), HeaderValue::from_str(value).expect("a value"))
    };
    let mut map = HeaderMap::new();
    for (name, value) in fields.iter().map(field) {
        let _ = map.append(name, value);
    }
    map
}

/// A message with its prefix.
pub(crate) fn message(text: &[u8]) -> Bytes {
    let length = u32::try_from(text.len()).expect("short").to_be_bytes();
    Bytes::from([&[0], &length[..], text].concat())
}

/// Runs a test.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { timeout(DEADLINE * 2, test).await.expect("the test ends in time") });
}
