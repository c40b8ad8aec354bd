//! gRPC with peers that mean harm or are broken: every call ends, in words that its client reads, and the next one is served.

use crate::support::Gateway;
use crate::support::Settings;
use crate::support::grpc::{Caller, Calls, Exchange, map, run};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

fn gateway(provider: SocketAddr) -> Gateway {
    let url = format!("http://{provider}");
    let settings = Settings::new().route_to("canonical", "/google", "google", &url, "waits = { enabled = false }");
    Gateway::start(&settings)
}

async fn succeed(mut call: Exchange) {
    let _ = call.begin().send_trailers(map(&[("grpc-status", "0")]));
}

/// Greets as HTTP/2 does, takes everything and says nothing more.
async fn greet_and_hang(mut socket: TcpStream) {
    let mut bytes = [0; 4096];
    let _ = socket.read(&mut bytes).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let _ = socket.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
    while socket.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
}

/// Its greeting counted as a sign of life, so the connection took the next call as well, which hung in its turn.
#[test]
fn a_connection_that_only_greets_takes_no_second_call() {
    run(async {
        let provider = Calls::start(succeed).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let front = listener.local_addr().expect("an address");
        let behind = provider.address;
        drop(tokio::spawn(async move {
            let (first, _) = listener.accept().await.expect("a connection");
            drop(tokio::spawn(greet_and_hang(first)));
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut onwards = TcpStream::connect(behind).await.expect("it listens");
                drop(tokio::spawn(async move { tokio::io::copy_bidirectional(&mut socket, &mut onwards).await }));
            }
        }));
        let gateway = gateway(front);
        let caller = Caller::to(gateway.address()).await;
        let first = caller.call("/google/a", &[("grpc-timeout", "1200m")]).await;
        assert_eq!(first.said(), ("4", "upstream_timeout"));
        let begun = Instant::now();
        let second = caller.call("/google/a", &[("grpc-timeout", "9S")]).await;
        assert_eq!(second.field("grpc-status"), "0", "{second:?} after {:?}", begun.elapsed());
    });
}
