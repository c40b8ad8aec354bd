//! Calls of gRPC that one side breaks off, at every moment and in every way: whoever is left is told at once, and what comes next is served.

use crate::grpc::{check, echo, gateway};
use crate::support::grpc::{Call, Caller, Calls, Exchange, map, message, run};
use bytes::Bytes;
use h2::{Reason, SendStream};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// When the provider breaks off.
const MOMENTS: [&str; 5] = ["before-head", "behind-head", "in-message", "between-messages", "before-trailers"];

/// What it does to the whole connection.
#[derive(Clone, Copy, Debug)]
enum Break {
    GoAway(Reason),
    /// RST of TCP.
    Reset,
    /// FIN of TCP.
    Close,
}

/// Long enough for what was sent to have gone out: what breaks a stream or a connection takes along what waits.
const FLUSH: Duration = Duration::from_millis(20);

/// A provider whose calls break off as their path says: `/moment/how`, and echo for any other.
async fn breaking() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            drop(tokio::spawn(serve(socket)));
        }
    }));
    address
}

async fn serve(socket: TcpStream) {
    let socket = socket.into_std().expect("a socket");
    let below = socket.try_clone().expect("a socket can be cloned");
    let socket = TcpStream::from_std(socket).expect("a socket");
    let Ok(mut connection) = h2::server::Builder::new().handshake::<_, Bytes>(socket).await else { return };
    let (breaks, mut broken) = mpsc::channel(1);
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let Some(Ok((request, respond))) = accepted else { return };
                drop(tokio::spawn(play(Exchange { request, respond }, breaks.clone())));
            }
            Some(how) = broken.recv() => match how {
                Break::GoAway(reason) => connection.abrupt_shutdown(reason),
                Break::Reset => {
                    socket2::SockRef::from(&below).set_linger(Some(Duration::ZERO)).expect("an option");
                    return;
                }
                Break::Close => {
                    below.shutdown(std::net::Shutdown::Both).expect("a socket");
                    return;
                }
            }
        }
    }
}

async fn play(mut call: Exchange, breaks: mpsc::Sender<Break>) {
    let path = call.request.uri().path().to_owned();
    let mut parts = path.split('/').skip(1);
    let (moment, how) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if !MOMENTS.contains(&moment) {
        return echo(call).await;
    }
    let mut send = None;
    if moment != "before-head" {
        let begun = send.insert(call.begin());
        let say = |begun: &mut SendStream<Bytes>, bytes: Bytes| begun.send_data(bytes, false).expect("open");
        match moment {
            "in-message" => say(begun, message(b"half of it").slice(..9)),
            "between-messages" => say(begun, message(b"one")),
            "before-trailers" => {
                while let Some(Ok(_)) = call.next().await {}
                say(begun, message(b"one"));
                say(begun, message(b"two"));
            }
            _ => {}
        }
    }
    tokio::time::sleep(FLUSH).await;
    if let Some(code) = how.strip_prefix("rst-") {
        let reason = Reason::from(code.parse::<u32>().expect("a number"));
        return match &mut send {
            Some(send) => send.send_reset(reason),
            None => call.respond.send_reset(reason),
        };
    }
    let how = match how {
        "reset" => Break::Reset,
        "close" => Break::Close,
        other => {
            let code = other.strip_prefix("goaway-").expect("a way");
            Break::GoAway(Reason::from(code.parse::<u32>().expect("a number")))
        }
    };
    let _ = breaks.send(how).await;
    // Held until the connection has gone: dropped they would be reset first.
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop((send, call));
}

#[test]
fn a_provider_may_break_a_call_off_at_any_moment() {
    run(async {
        let gateway = gateway(breaking().await, "waits = { enabled = false }");
        let codes = (0..=13).map(|code| format!("rst-{code}"));
        let ways = codes.chain(["goaway-0", "goaway-2", "goaway-11", "reset", "close"].map(str::to_owned));
        let ways: Vec<String> = ways.collect();
        let mut told = 0.0;
        for moment in MOMENTS {
            for (number, how) in ways.iter().enumerate() {
                let route = ["google", "own"][number % 2];
                let what = format!("{route} {moment} {how}");
                let caller = Caller::to(gateway.address()).await;
                let begun = Instant::now();
                let ended = caller.call(&format!("/{route}/{moment}/{how}"), &[]).await;
                assert!(begun.elapsed() < Duration::from_secs(10), "{what}: {:?}", begun.elapsed());
                // As clients take it, where the provider's own form is wanted.
                let status = if route == "own" && !ended.trailers_only { "13" } else { "14" };
                check(&ended, status, "upstream_disconnected");
                let data = match moment {
                    "in-message" => message(b"half of it").slice(..9).to_vec(),
                    "between-messages" => message(b"one").to_vec(),
                    "before-trailers" => [message(b"one"), message(b"two")].concat(),
                    _ => Vec::new(),
                };
                // An RST of TCP may take along what the other side has not read.
                match how.as_str() {
                    "reset" => assert!(data.starts_with(&ended.data), "{what}: {:?}", ended.data),
                    _ => assert_eq!((&ended.data, ended.trailers_only), (&data, moment == "before-head"), "{what}"),
                }
                told += f64::from(route == "google");
                assert_eq!(caller.call("/google/echo", &[]).await.field("grpc-status"), "0", "after {what}");
            }
        }
        let labels = [("route", "canonical"), ("code", "upstream_disconnected"), ("transport", "grpc")];
        gateway.metric_becomes("speechgate_errors_total", &labels, told);
        gateway.metric_becomes("speechgate_requests_in_flight", &[], 0.0);
    });
}

/// How far a call is when its client breaks it off.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    BeforeHead,
    BehindHead,
    InMessage,
    HalfClosed,
    WithAnswer,
}

/// Brings a call so far, or its first part to a provider that answers nothing.
async fn brought_to(stage: Stage, caller: &Caller, told: &mut mpsc::UnboundedReceiver<Option<Reason>>) -> Call {
    let path = if stage == Stage::BeforeHead { "/google/hang" } else { "/google/begin" };
    let mut call = caller.begin(path, &[]).await;
    let first = match stage {
        Stage::InMessage => message(b"half of it").slice(..9),
        _ => message(b"hello"),
    };
    call.send.send_data(first, matches!(stage, Stage::HalfClosed | Stage::WithAnswer)).expect("open");
    // The provider says when it has the call.
    assert_eq!(told.recv().await, Some(None), "{stage:?}");
    if stage != Stage::BeforeHead {
        let _ = (&mut call.answer).await.expect("a head");
    }
    call
}

#[test]
fn a_client_may_break_a_call_off_at_any_moment() {
    run(async {
        let (tells, mut told) = mpsc::unbounded_channel();
        let provider = Calls::start(move |mut call: Exchange| {
            let tells = tells.clone();
            async move {
                let path = call.request.uri().path().to_owned();
                if path == "/echo" {
                    return echo(call).await;
                }
                let _ = tells.send(None);
                let mut send = (path == "/begin").then(|| call.begin());
                if let Some(send) = &mut send {
                    send.send_data(message(b"an answer"), false).expect("open");
                }
                let reason = loop {
                    match call.next().await {
                        Some(Ok(_)) => {}
                        Some(Err(error)) => break error.reason(),
                        None => {
                            break match &mut send {
                                Some(send) => std::future::poll_fn(|cx| send.poll_reset(cx)).await.ok(),
                                None => std::future::poll_fn(|cx| call.respond.poll_reset(cx)).await.ok(),
                            };
                        }
                    }
                };
                let _ = tells.send(Some(reason.unwrap_or(Reason::NO_ERROR)));
            }
        })
        .await;
        let gateway = gateway(provider.address, "concurrency = { max = 1, queue = 0, settle = '0s' }");
        let mut left = 0.0;
        for stage in [Stage::BeforeHead, Stage::BehindHead, Stage::InMessage, Stage::HalfClosed, Stage::WithAnswer] {
            for reason in [Some(Reason::CANCEL), Some(Reason::NO_ERROR), Some(Reason::INTERNAL_ERROR), None] {
                let caller = Caller::to(gateway.address()).await;
                let mut call = brought_to(stage, &caller, &mut told).await;
                let begun = Instant::now();
                match reason {
                    Some(reason) => call.send.send_reset(reason),
                    // The connection goes with the last of them.
                    None => caller.abort(),
                }
                let heard = tokio::time::timeout(Duration::from_secs(5), told.recv()).await.expect("told in time");
                assert_eq!(heard, Some(Some(Reason::CANCEL)), "{stage:?} {reason:?}");
                assert!(begun.elapsed() < Duration::from_secs(2), "{stage:?} {reason:?}: {:?}", begun.elapsed());
                left += 1.0;
                // The slot has come back.
                gateway.metric_becomes("speechgate_concurrency_in_use", &[("route", "canonical")], 0.0);
                let other = Caller::to(gateway.address()).await;
                assert_eq!(other.call("/google/echo", &[]).await.field("grpc-status"), "0", "{stage:?} {reason:?}");
                gateway.metric_becomes("speechgate_concurrency_in_use", &[("route", "canonical")], 0.0);
                drop(call);
            }
        }
        let labels = [("route", "canonical"), ("code", "client_cancelled"), ("origin", "client")];
        gateway.metric_becomes("speechgate_errors_total", &labels, left);
        gateway.metric_becomes("speechgate_errors_total", &[("route", "canonical")], left);
        let failures = gateway.metric("speechgate_upstream_requests_total", &[("outcome", "failure")]);
        assert_eq!(failures, 0.0, "a client that leaves is no failure of the provider's");
        gateway.metric_becomes("speechgate_requests_in_flight", &[], 0.0);
    });
}

/// A call that another one's end took along would end as that one did.
#[test]
fn calls_on_the_same_connection_go_on_when_one_is_broken_off() {
    run(async {
        let gateway = gateway(breaking().await, "waits = { enabled = false }");
        let caller = Arc::new(Caller::to(gateway.address()).await);
        let mut stays = caller.begin("/google/echo", &[]).await;
        stays.send.send_data(message(b"one"), false).expect("open");
        let (_, mut body) = (&mut stays.answer).await.expect("a head").into_parts();
        for moment in MOMENTS {
            for code in [0, 2, 7, 8, 11] {
                let _ = caller.call(&format!("/google/{moment}/rst-{code}"), &[]).await;
            }
        }
        stays.send.send_data(message(b"two"), true).expect("open");
        let mut data = Vec::new();
        while let Some(Ok(bytes)) = body.data().await {
            let _ = body.flow_control().release_capacity(bytes.len());
            data.extend_from_slice(&bytes);
        }
        assert_eq!(data, [message(b"one"), message(b"two")].concat());
        let trailers = body.trailers().await.expect("trailers").expect("some");
        assert_eq!(trailers, map(&[("grpc-status", "0"), ("x-own", "1")]));
    });
}
