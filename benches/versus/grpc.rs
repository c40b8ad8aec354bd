//! gRPC: streams whose messages go there and back, a provider that sends each back, and what is configured for a plain relay.

use super::load::Outcome;
use super::provider::AUDIO;
use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, HeaderValue, Request, Response};
use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

type Failure = Box<dyn Error + Send + Sync>;

/// Streams of one connection: a client of gRPC keeps one for all of its calls.
const STREAMS: usize = 8;

/// A message of 20 ms of audio with its prefix.
fn message() -> Bytes {
    let length = u32::try_from(AUDIO).expect("short").to_be_bytes();
    Bytes::from([&[0], &length[..], &[0x5a; AUDIO]].concat())
}

/// Starts a provider on a thread of its own.
pub(crate) fn provider() -> SocketAddr {
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

async fn serve(socket: TcpStream) -> Result<(), Failure> {
    socket.set_nodelay(true)?;
    let mut connection = h2::server::handshake(socket).await?;
    while let Some(accepted) = connection.accept().await {
        let (request, mut respond) = accepted?;
        drop(tokio::spawn(async move {
            let head = Response::builder().header("content-type", "application/grpc").body(())?;
            let mut send = respond.send_response(head, false)?;
            let mut body = request.into_body();
            while let Some(data) = body.data().await {
                let data = data?;
                body.flow_control().release_capacity(data.len())?;
                send.send_data(data, false)?;
            }
            let trailers = HeaderMap::from_iter([("grpc-status".parse()?, HeaderValue::from_static("0"))]);
            send.send_trailers(trailers)?;
            Ok::<_, Failure>(())
        }));
    }
    Ok(())
}

/// So many streams send messages there and back for so long, each as fast as it goes.
pub(crate) fn run(runtime: &Runtime, to: SocketAddr, prefix: &str, streams: usize, time: Duration) -> Outcome {
    let mut all = runtime.block_on(async {
        let until = Instant::now() + time;
        let mut tasks = Vec::new();
        let mut left = streams;
        while left > 0 {
            let connection = connect(to).await.expect("a connection");
            for _ in 0..left.min(STREAMS) {
                tasks.push(tokio::spawn(talk(
                    connection.clone(),
                    format!("http://gateway.test{prefix}/Speech/Say"),
                    until,
                )));
            }
            left = left.saturating_sub(STREAMS);
        }
        let mut all = Outcome::default();
        for task in tasks {
            let one = task.await.expect("no panic").unwrap_or_else(|error| panic!("gRPC through {to}: {error}"));
            all.operations += one.operations;
            all.times.extend(one.times);
        }
        all
    });
    all.times.sort_unstable();
    all
}

async fn connect(to: SocketAddr) -> Result<SendRequest<Bytes>, Failure> {
    let socket = TcpStream::connect(to).await?;
    socket.set_nodelay(true)?;
    let (send, connection) = h2::client::handshake(socket).await?;
    drop(tokio::spawn(connection));
    Ok(send)
}

async fn talk(connection: SendRequest<Bytes>, uri: String, until: Instant) -> Result<Outcome, Failure> {
    let mut ready = connection.ready().await?;
    let request = Request::post(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "bench/1")
        .header("x-goog-api-key", "AIza0123456789abcdef")
        .body(())?;
    let (answer, mut send) = ready.send_request(request, false)?;
    let message = message();
    let (parts, mut body) = {
        send.send_data(message.clone(), false)?;
        answer.await?.into_parts()
    };
    assert_eq!(parts.status, 200, "{parts:?}");
    let mut outcome = Outcome::default();
    loop {
        let sent = Instant::now();
        let mut left = message.len();
        while left > 0 {
            let data = body.data().await.ok_or("the stream has ended")??;
            body.flow_control().release_capacity(data.len())?;
            left -= data.len();
        }
        outcome.times.push(sent.elapsed());
        outcome.operations += 2;
        if Instant::now() >= until {
            break;
        }
        send.send_data(message.clone(), false)?;
    }
    send.send_data(Bytes::new(), true)?;
    while let Some(data) = body.data().await {
        assert!(data?.is_empty(), "one message for each");
    }
    let trailers = body.trailers().await?.ok_or("no trailers")?;
    assert_eq!(trailers["grpc-status"], "0", "{trailers:?}");
    Ok(outcome)
}

/// Envoy as its documentation says for HTTP/2 on both sides, without a filter that looks at anything.
pub(crate) fn envoy(listen: SocketAddr, provider: SocketAddr) -> String {
    let kind = "'@type': type.googleapis.com/envoy.extensions";
    let (port, at) = (listen.port(), provider.port());
    let many = "{ max_connections: 9000, max_pending_requests: 9000, max_requests: 9000 }";
    format!(
        "static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          {kind}.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: clients
          codec_type: HTTP2
          route_config:
            virtual_hosts:
            - name: all
              domains: ['*']
              routes:
              - match: {{ prefix: /r/ }}
                route: {{ cluster: provider, prefix_rewrite: /, timeout: 0s }}
          http_filters:
          - name: router
            typed_config: {{ {kind}.filters.http.router.v3.Router }}
  clusters:
  - name: provider
    circuit_breakers: {{ thresholds: [ {many} ] }}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        {kind}.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ http2_protocol_options: {{}} }}
    load_assignment:
      cluster_name: provider
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {at} }} }} }}
"
    )
}
