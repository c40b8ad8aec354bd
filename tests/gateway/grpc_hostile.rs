//! gRPC with peers that mean harm or are broken: every call ends, in words that its client reads, and the next one is served.

use crate::support::grpc::{Caller, Calls, Ended, Exchange, map, message, run};
use crate::support::http2::{CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS, frame};
use crate::support::{Gateway, Settings};
use bytes::Bytes;
use speechgate::canon::grpc::encode_base64;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

fn gateway(provider: SocketAddr) -> Gateway {
    let url = format!("http://{provider}");
    let lines = "waits = { enabled = false }\ntimeouts = { idle = '2s', response = '2s' }";
    let own = format!("envelope = 'compatible'\n{lines}");
    let settings = Settings::new().route_to("canonical", "/google", "google", &url, lines);
    Gateway::start(&settings.route_to("own", "/own", "google", &url, &own))
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

/// What a failed call has to be, whatever came: an answer of gRPC that failed, within what clients take.
fn check(ended: &Ended, what: &str) {
    assert_eq!((ended.status, ended.reset), (200, None), "{what}: {ended:?}");
    assert_eq!(ended.trailers.get_all("grpc-status").iter().count(), 1, "{what}: {ended:?}");
    assert!(!["", "0"].contains(&ended.field("grpc-status")), "{what}: {ended:?}");
    assert!(!ended.field("x-error-code").is_empty(), "{what}: {ended:?}");
    let object: serde_json::Value = serde_json::from_str(ended.field("x-gateway-error")).expect("the object");
    assert_eq!(object["code"], ended.field("x-error-code"), "{what}");
    let size: usize = ended.trailers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    assert!(size <= 8192, "{what}: {size} bytes of trailers");
}

/// Trailers that no client should have to read, by name: whether in a head or behind a message, each ends the call.
fn trailers() -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let text = |text: &str| text.to_owned();
    let status = |number: &str| ("grpc-status", text(number));
    let words = |words: &str| vec![status("3"), ("grpc-message", text(words))];
    let details = |bytes: &[u8]| {
        vec![status("3"), ("grpc-message", text("no")), ("grpc-status-details-bin", encode_base64(bytes))]
    };
    let any = |bytes: &[u8]| [&[0x08, 3, 0x1a, u8::try_from(bytes.len()).expect("short")], bytes].concat();
    vec![
        ("no status", vec![("x-own", text("1"))]),
        ("a word", vec![status("OK")]),
        ("a negative status", vec![status("-1")]),
        ("an endless status", vec![status("99999999999999999999")]),
        ("an empty status", vec![status("")]),
        ("two that differ", vec![status("3"), status("5")]),
        ("two of which one is well", vec![status("0"), status("5")]),
        ("a lone percent", words("100%")),
        ("half an escape", words("%4")),
        ("no escape", words("%zz%-1%%%")),
        ("no UTF-8", words("%ff%fe%c3")),
        ("line breaks", words("a%0d%0agrpc-status: 0%00")),
        ("a message of 1 MiB", words(&"m".repeat(1 << 20))),
        ("a message of 900 KiB", words(&"%20".repeat(300 << 10))),
        ("a message of 60 KiB", words(&"ä".repeat(30 << 10).bytes().map(|byte| format!("%{byte:02x}")).collect::<String>()[..60 << 10])),
        ("details that are empty", details(b"")),
        ("details that are no protobuf", details(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")),
        ("details that end early", details(&[0x08, 3, 0x1a, 0x7f, 1, 2])),
        ("details within which is no protobuf", details(&any(b"\x0a\x28type.googleapis.com/google.rpc.ErrorInfo\x12\x03\xff\xff\xff"))),
        ("a pause for ever", details(&any(b"\x0a\x28type.googleapis.com/google.rpc.RetryInfo\x12\x0d\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x10\x7f"))),
        ("details of 48 KiB", details(&vec![0x0a; 48 << 10])),
        ("details that say another status", details(&[0x08, 0])),
        ("details that are no base64", vec![status("3"), ("grpc-status-details-bin", text("!!not base64!!"))]),
        ("an object of ours", vec![status("3"), ("x-gateway-error", text("{}")), ("x-error-code", text("forged"))]),
    ]
}

/// Each is answered in both forms, in the head alone and behind a message.
#[test]
fn whatever_trailers_say_the_call_ends_in_an_error_that_clients_read() {
    run(async {
        let provider = Calls::start(|mut call: Exchange| async move {
            let path = call.request.uri().path().to_owned();
            let (how, number) = path[1..].split_once('/').expect("two parts");
            let Ok(number) = number.parse::<usize>() else { return succeed(call).await };
            let all = trailers();
            let mut fields: Vec<(&str, &str)> =
                all[number].1.iter().map(|(name, value)| (*name, value.as_str())).collect();
            match how {
                "head" => {
                    fields.push(("content-type", "application/grpc"));
                    call.end(200, &fields);
                }
                _ => {
                    let mut send = call.begin();
                    let _ = send.send_data(message(b"one"), false);
                    let _ = send.send_trailers(map(&fields));
                }
            }
        })
        .await;
        let gateway = gateway(provider.address);
        for (number, (what, _)) in trailers().into_iter().enumerate() {
            for (route, how) in [("google", "head"), ("google", "trailers"), ("own", "head"), ("own", "trailers")] {
                let what = format!("{what} in {how} on {route}");
                let caller = Caller::to(gateway.address()).await;
                let ended = caller.call(&format!("/{route}/{how}/{number}"), &[]).await;
                check(&ended, &what);
                assert_ne!(ended.field("x-error-code"), "forged", "{what}");
                let wait = ended.field("x-gateway-error");
                let wait: serde_json::Value = serde_json::from_str(wait).expect("JSON");
                assert!(wait["retry_after_seconds"].as_f64().is_none_or(|wait| wait < 1e9), "{what}: {wait}");
                assert_eq!(caller.call("/google/ok/ok", &[]).await.field("grpc-status"), "0", "after {what}");
            }
        }
        assert!(gateway.memory() < 200 << 20, "{}", gateway.memory());
    });
}

/// A provider's messages are its own affair: lengths that lie and flags without a coding pass as they came.
#[test]
fn prefixes_of_a_provider_pass_as_they_came() {
    run(async {
        let provider = Calls::start(|mut call: Exchange| async move {
            let prefix: &'static [u8] = match call.request.uri().path() {
                "/long" => &[0, 0xff, 0xff, 0xff, 0xff, 1, 2],
                "/coded" => &[1, 0, 0, 0, 2, 1, 2],
                "/flag" => &[0xfe, 0, 0, 0, 2, 1, 2],
                _ => &[0, 0],
            };
            let mut send = call.begin();
            let _ = send.send_data(Bytes::from_static(prefix), false);
            let _ = send.send_trailers(map(&[("grpc-status", "0")]));
        })
        .await;
        let gateway = gateway(provider.address);
        let caller = Caller::to(gateway.address()).await;
        for (path, length) in [("long", 7), ("coded", 7), ("flag", 7), ("half", 2)] {
            let ended = caller.call(&format!("/google/{path}"), &[]).await;
            assert_eq!((ended.field("grpc-status"), ended.data.len()), ("0", length), "{path}: {ended:?}");
        }
    });
}

/// And so do a client's, as long as they are as long as they say and no longer than is allowed.
#[test]
fn prefixes_of_a_client_are_held_to_what_is_allowed() {
    run(async {
        let provider = Calls::start(|mut call: Exchange| async move {
            let mut seen = 0;
            while let Some(Ok(data)) = call.next().await {
                seen += data.len();
            }
            let _ = call.begin().send_trailers(map(&[("grpc-status", "0"), ("x-seen", &seen.to_string())]));
        })
        .await;
        let gateway = gateway(provider.address);
        let caller = Caller::to(gateway.address()).await;
        for (bytes, status) in [
            (&[0, 0xff, 0xff, 0xff, 0xff][..], "3"),
            (&[1, 0xff, 0xff, 0xff, 0xff], "3"),
            (&[1, 0, 0, 0, 2, 1, 2], "0"),
            (&[0xff, 0, 0, 0, 2, 1, 2], "0"),
            (&[0, 0, 0, 0, 9, 1], "0"),
            (&[0, 0], "0"),
            (&[], "0"),
        ] {
            let mut call = caller.begin("/google/a", &[]).await;
            let _ = call.send.send_data(Bytes::from_static(bytes), true);
            let ended = call.end().await;
            assert_eq!(ended.field("grpc-status"), status, "{bytes:?}: {ended:?}");
            if status == "0" {
                assert_eq!(ended.field("x-seen"), bytes.len().to_string());
            } else {
                check(&ended, "a length that lies");
                assert_eq!(ended.field("x-error-code"), "payload_too_large");
            }
        }
    });
}

/// A provider by hand: it greets, and answers each connection's first call with these frames, the last of which it says for ever.
async fn by_hand(first: Vec<u8>, again: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (first, again) = (first.clone(), again.clone());
            drop(tokio::spawn(async move {
                let mut bytes = [0; 65536];
                let mut seen = Vec::new();
                // A call has come when there is a frame of headers, whose kind stands behind a length.
                while !seen.windows(9).any(|head| head[3] == HEADERS && head[5..] == [0, 0, 0, 1]) {
                    let read = socket.read(&mut bytes).await?;
                    if read == 0 {
                        return Ok(());
                    }
                    seen.extend_from_slice(&bytes[..read]);
                }
                socket.write_all(&[frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, 1, 0, &[]), first].concat()).await?;
                let (mut reads, mut writes) = socket.into_split();
                let reader =
                    tokio::spawn(async move { while reads.read(&mut bytes).await.is_ok_and(|read| read > 0) {} });
                while !again.is_empty() {
                    writes.write_all(&again).await?;
                }
                let _ = reader.await;
                Ok::<_, std::io::Error>(())
            }));
        }
    }));
    address
}

/// `:status: 200` and `content-type: application/grpc`, as HPACK has them without Huffman's code.
fn head() -> Vec<u8> {
    [&[0x88, 0x0f, 0x10, 16][..], b"application/grpc"].concat()
}

/// A field without index, of a name and a value of this length.
fn filler(length: usize) -> Vec<u8> {
    let value = vec![b'v'; length];
    let mut bytes = vec![0, 3, b'x', b'-', b'a', 0x7f];
    let mut rest = length - 127;
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).expect("small") | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).expect("small"));
    [bytes, value].concat()
}

#[test]
fn heads_and_trailers_without_end_come_to_one() {
    run(async {
        let whole = frame(HEADERS, END_HEADERS, 1, &head());
        let data = frame(DATA, 0, 1, &message(b"one"));
        let field = filler(8000);
        let more = frame(CONTINUATION, 0, 1, &field);
        let empty = frame(CONTINUATION, 0, 1, &[]);
        for (what, first, again) in [
            ("a head", frame(HEADERS, 0, 1, &head()), more.clone()),
            ("a head of nothing", frame(HEADERS, 0, 1, &head()), empty.clone()),
            ("trailers", [whole.clone(), data.clone(), frame(HEADERS, END_STREAM, 1, &field)].concat(), more),
            ("trailers of nothing", [whole.clone(), frame(HEADERS, END_STREAM, 1, &[])].concat(), empty),
            ("a head that says it is over", frame(HEADERS, 0, 1, &head()), Vec::new()),
            ("messages of nothing", whole.clone(), frame(DATA, 0, 1, &[])),
            ("heads", Vec::new(), frame(HEADERS, END_HEADERS, 1, &[0x08, 3, b'1', b'0', b'3'])),
            ("a head that is none", frame(HEADERS, END_HEADERS, 1, &[0xff; 40]), Vec::new()),
            (
                "a head behind the end",
                [whole.clone(), data, frame(HEADERS, END_HEADERS, 1, &head())].concat(),
                Vec::new(),
            ),
        ] {
            let provider = by_hand(first, again).await;
            let gateway = gateway(provider);
            let caller = Caller::to(gateway.address()).await;
            let begun = Instant::now();
            let ended = caller.call("/google/a", &[("grpc-timeout", "5S")]).await;
            check(&ended, what);
            assert!(begun.elapsed() < Duration::from_secs(10), "{what}: {:?}", begun.elapsed());
            assert!(gateway.memory() < 200 << 20, "{what}: {}", gateway.memory());
        }
    });
}
