//! Closes, disappearances, silence, back-pressure.

use crate::support::{Frame, closing, down, gateway, provider, saying, up};
use speechgate::wire::frame::Opcode::{Binary, Close, Ping, Pong, Text};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

type Heard = Arc<Mutex<Vec<Frame>>>;

/// A provider that accepts, sends these bytes, and tells the frames that it gets until the end.
async fn listening(bytes: Vec<u8>) -> (std::net::SocketAddr, Heard) {
    let heard = Heard::default();
    let sink = Arc::clone(&heard);
    let address = provider(move |mut peer, _| {
        let (sink, bytes) = (Arc::clone(&sink), bytes.clone());
        async move {
            peer.accept("").await;
            peer.send(&bytes).await;
            let frames = peer.frames().await;
            sink.lock().expect("not poisoned").extend(frames);
        }
    })
    .await;
    (address, heard)
}

#[tokio::test]
async fn clean_closes_pass_in_both_directions() {
    for payload in [closing(1000, "done"), closing(1001, ""), Vec::new()] {
        // The provider closes, the client answers.
        let (address, heard) = listening(down(Close, &payload)).await;
        let gateway = gateway("cartesia", address, "", "");
        let mut client = gateway.open().await;
        assert_eq!(client.next().await.payload, payload);
        client.send(&up(Close, &payload)).await;
        assert_eq!(client.frame().await, None);
        drop(client);
        gateway.counts("speechgate_websockets_open", &[]).await;
        assert_eq!(
            heard.lock().expect("not poisoned").iter().map(|close| &close.payload).collect::<Vec<_>>(),
            [&payload]
        );
        gateway.counts("speechgate_errors_total", &[]).await;
    }
    for code in [1000, 1011, 3003, 4999] {
        // The client closes; whatever the provider answers to that is no error.
        let address = provider(|mut peer, _| async move {
            peer.accept("").await;
            let close = peer.next().await;
            peer.send(&down(Close, close.payload)).await;
        })
        .await;
        let gateway = gateway("cartesia", address, "", "");
        let mut client = gateway.open().await;
        client.send(&up(Close, closing(code, "enough"))).await;
        assert_eq!(client.next().await.close(), (code, "enough".to_owned()));
        assert_eq!(client.frame().await, None);
        gateway.counts("speechgate_errors_total", &[]).await;
    }
}

#[tokio::test]
async fn a_close_without_an_answer_is_answered_here() {
    // The provider drops its connection instead of answering.
    let address = provider(|mut peer, _| async move {
        peer.accept("").await;
        let _ = peer.next().await;
    })
    .await;
    let gateway = gateway("cartesia", address, "", "");
    let mut client = gateway.open().await;
    client.send(&up(Close, closing(1000, ""))).await;
    assert_eq!(client.next().await.close().0, 1000);
    assert_eq!(client.frame().await, None);
    gateway.counts("speechgate_errors_total", &[]).await;
}

#[tokio::test]
async fn reasons_are_cut_between_characters() {
    let reason = "語".repeat(41);
    let gateway = gateway("generic", saying(down(Close, closing(4000, &reason))).await, "", "");
    let frames = gateway.open().await.frames_until_close().await;
    let (code, cut) = frames[1].close();
    let error = frames[0].json();
    assert_eq!(error["error"]["message"], reason);
    let whole = format!("{}: {reason}", error["error"]["code"].as_str().expect("a code"));
    assert!(code == 4000 && cut.len() <= 123 && cut.len() > 120 && whole.starts_with(&cut), "{cut}");
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_providers_side_at_once() {
    for polite in [true, false] {
        let (address, heard) = listening(down(Text, "hello")).await;
        let gateway = gateway("cartesia", address, "", "");
        let mut client = gateway.open().await;
        let _ = client.next().await;
        if !polite {
            let _ = client.stream.set_zero_linger();
        }
        drop(client);
        gateway.counts("speechgate_websockets_open", &[]).await;
        gateway.counts(
            "speechgate_errors_total",
            &["{route=\"r\",provider=\"cartesia\",type=\"cancelled\",code=\"client_cancelled\",origin=\"client\",transport=\"websocket\"} 1"],
        ).await;
        let closes: Vec<u16> = heard.lock().expect("not poisoned").iter().map(|frame| frame.close().0).collect();
        assert_eq!(closes, [1001]);
        gateway
            .counts("speechgate_websocket_closes_total", &["{route=\"r\",code=\"1006\",initiator=\"caller\"} 1"])
            .await;
    }
}

#[tokio::test]
async fn a_provider_disconnect_inside_a_frame_is_reported() {
    for (bytes, told) in [
        (down(Binary, [1; 1000])[..500].to_vec(), true),
        (down(Text, "cut")[..1].to_vec(), true),
        // Too long to be held: half of it is out, and only a cut can say so.
        (down(Binary, vec![1; 100_000])[..90_000].to_vec(), false),
    ] {
        let address = provider(move |mut peer, _| {
            let bytes = bytes.clone();
            async move {
                peer.accept("").await;
                peer.send(&bytes).await;
            }
        })
        .await;
        let gateway = gateway("cartesia", address, "", "");
        let mut client = gateway.open().await;
        if told {
            assert_eq!(client.next().await.json()["error"]["code"], "upstream_disconnected");
            assert_eq!(client.next().await.close().0, 1014);
        } else {
            assert_eq!(client.rest().await.len(), 90_000);
        }
        drop(client);
        gateway.counts(
            "speechgate_errors_total",
            &["{route=\"r\",provider=\"cartesia\",type=\"upstream\",code=\"upstream_disconnected\",origin=\"network\",transport=\"websocket\"} 1"],
        ).await;
        gateway.counts("speechgate_websockets_open", &[]).await;
    }
}

#[tokio::test]
async fn a_quiet_session_with_live_peers_continues() {
    // Pongs are no traffic of the session's: the provider answers pings, and says something in time.
    let address = provider(|mut peer, _| async move {
        peer.accept("").await;
        let mut pings = 0;
        while let Some(frame) = peer.frame().await {
            match frame.opcode {
                Ping => {
                    pings += 1;
                    peer.send(&down(Pong, &frame.payload)).await;
                    peer.send(&down(Text, format!("{pings}"))).await;
                }
                _ => return,
            }
        }
    })
    .await;
    let gateway = gateway("cartesia", address, "timeouts = { websocket_idle = \"400ms\" }", "");
    let mut client = gateway.open().await;
    let mut texts = Vec::new();
    while texts.len() < 4 {
        let frame = client.next().await;
        match frame.opcode {
            Ping => client.send(&up(Pong, &frame.payload)).await,
            // No pong that the client did not ask for.
            opcode => {
                assert_eq!(opcode, Text);
                texts.push(String::from_utf8(frame.payload).expect("UTF-8"));
            }
        }
    }
    assert_eq!(texts, ["1", "2", "3", "4"]);
    gateway.counts("speechgate_errors_total", &[]).await;
}

#[tokio::test]
async fn a_provider_that_only_answers_pings_is_mute() {
    let address = provider(|mut peer, _| async move {
        peer.accept("").await;
        while let Some(frame) = peer.frame().await {
            if frame.opcode == Ping {
                peer.send(&down(Pong, &frame.payload)).await;
            }
        }
    })
    .await;
    let gateway = gateway("cartesia", address, "timeouts = { websocket_idle = \"400ms\" }", "");
    let mut client = gateway.open().await;
    client.send(&up(Text, "something to do")).await;
    let frames = client.frames_until_close().await;
    let told: Vec<&Frame> = frames.iter().filter(|frame| frame.opcode != Ping).collect();
    assert_eq!(told[0].json()["error"]["code"], "upstream_timeout");
    assert_eq!(told[1].close().0, 1014);
}

/// A socket that is kept for the next sentence was told an error, and counted as the provider's failure.
#[tokio::test]
async fn a_healthy_socket_without_work_ends_as_nobodys_error() {
    const CONTEXT: &str = r#"{"context_id":"c","transcript":"Hello."}"#;
    const CHUNK: &str = r#"{"type":"chunk","context_id":"c","done":false,"data":"AAAA"}"#;
    const DONE: &str = r#"{"type":"done","context_id":"c","done":true}"#;
    let mut cases = tokio::task::JoinSet::new();
    // What the client asks, what it is answered, and whether somebody waits for more.
    for (path, asked, answered, works) in [
        ("/socket", None, None, false),
        ("/socket", Some("say this"), Some("said"), false),
        ("/socket", Some("say this"), None, true),
        ("/tts/websocket", None, None, false),
        ("/tts/websocket", Some(CONTEXT), Some(DONE), false),
        ("/tts/websocket", Some(CONTEXT), Some(CHUNK), true),
    ] {
        let _ = cases.spawn(async move {
            let address = provider(move |mut peer, _| async move {
                peer.accept("").await;
                while let Some(frame) = peer.frame().await {
                    match (frame.opcode, answered) {
                        (Ping, _) => peer.send(&down(Pong, &frame.payload)).await,
                        (Text, Some(answer)) => peer.send(&down(Text, answer)).await,
                        _ => {}
                    }
                }
            })
            .await;
            let breaker = "circuit_breaker = { failures = 1 }\ntimeouts = { websocket_idle = \"2s\" }";
            let gateway = gateway("cartesia", address, breaker, "");
            let mut client = gateway.ask_at(path, "").await;
            assert!(client.head().await.starts_with("HTTP/1.1 101 "));
            if let Some(asked) = asked {
                client.send(&up(Text, asked)).await;
            }
            let frames = client.frames_until_close().await;
            let code = frames.last().expect("a close").close().0;
            assert_eq!(code, if works { 1014 } else { 1001 }, "{path} {asked:?} {frames:?}");
            let errors = gateway.metric("speechgate_errors_total").await;
            assert_eq!(errors.len(), usize::from(works), "{path} {asked:?} {errors:?}");
            let again = gateway.ask_at(path, "").await.head().await;
            let refused = again.contains("x-error-code: circuit_open");
            assert_eq!(
                refused, works,
                "{path} {asked:?}: a session that died opens the circuit, and only that: {again}"
            );
        });
    }
    while let Some(case) = cases.join_next().await {
        case.expect("a case that holds");
    }
}

#[tokio::test]
async fn nothing_is_read_that_the_other_side_does_not_take() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let address = provider(move |mut peer, _| {
        let counter = Arc::clone(&counter);
        async move {
            peer.accept("").await;
            let frame = down(Binary, vec![0; 10_000]);
            loop {
                let write = tokio::io::AsyncWriteExt::write_all(&mut peer.stream, &frame);
                if write.await.is_err() {
                    return;
                }
                let _ = counter.fetch_add(frame.len(), Ordering::Relaxed);
            }
        }
    })
    .await;
    let gateway = gateway("cartesia", address, "", "write_timeout = \"1s\"");
    let client = gateway.open().await;
    // The client does not read. What the kernel holds is some megabytes; the flood would be hundreds in this time.
    gateway.counts(
        "speechgate_errors_total",
        &["{route=\"r\",provider=\"cartesia\",type=\"cancelled\",code=\"client_cancelled\",origin=\"client\",transport=\"websocket\"} 1"],
    ).await;
    gateway.counts("speechgate_websockets_open", &[]).await;
    let sent = sent.load(Ordering::Relaxed);
    assert!((100_000..64 << 20).contains(&sent), "{sent} bytes");
    drop(client);
}

#[tokio::test]
async fn a_gateway_that_ends_closes_its_sessions() {
    let (address, heard) = listening(Vec::new()).await;
    let mut gateway = gateway("cartesia", address, "", "drain_timeout = \"1s\"");
    let mut client = gateway.open().await;
    gateway.stop();
    let message = client.next().await.json();
    assert_eq!(message["error"]["code"], "shutting_down");
    let (code, reason) = client.next().await.close();
    assert!(code == 1001 && reason.starts_with("shutting_down: "), "{code} {reason}");
    client.send(&up(Close, closing(1001, ""))).await;
    assert_eq!(client.frame().await, None);
    gateway.ended().await;
    let heard = heard.lock().expect("not poisoned");
    assert_eq!(heard.iter().map(|frame| frame.close().0).collect::<Vec<_>>(), [1001]);
}

#[tokio::test]
async fn a_client_that_leaves_because_of_an_error_has_not_cancelled() {
    let error = r#"{"message_type":"auth_error","error":"Invalid API key"}"#;
    let (address, _) = listening(down(Text, error)).await;
    let gateway = gateway("elevenlabs", address, "", "");
    let mut client = gateway.open().await;
    let _ = client.next().await.json();
    drop(client);
    gateway.counts("speechgate_websockets_open", &[]).await;
    let errors = gateway.metric("speechgate_errors_total").await;
    assert!(errors.len() == 1 && errors[0].contains("invalid_credentials"), "{errors:?}");
}

#[tokio::test]
async fn no_close_is_sent_inside_a_frame() {
    // Half of a frame that is too long to be held is out when the client closes and the provider dies.
    let address = provider(|mut peer, _| async move {
        peer.accept("").await;
        peer.send(&down(Binary, vec![1; 100_000])[..90_000]).await;
        let _ = peer.next().await;
    })
    .await;
    let gateway = gateway("cartesia", address, "", "");
    let mut client = gateway.open().await;
    client.send(&up(Close, closing(1000, ""))).await;
    assert_eq!(client.rest().await.len(), 90_000);
    gateway.counts("speechgate_errors_total", &[]).await;
}

/// A session in which the client speaks, the provider answers with these messages and then closes like this.
async fn answered(
    said: &'static [&'static str],
    payload: Vec<u8>,
    route: &str,
) -> (crate::support::Gateway, Vec<Frame>) {
    let address = provider(move |mut peer, _| {
        let payload = payload.clone();
        async move {
            peer.accept("").await;
            let _ = peer.next().await;
            for message in said {
                peer.send(&down(Text, message)).await;
            }
            peer.send(&down(Close, &payload)).await;
            let _ = peer.rest().await;
        }
    })
    .await;
    let gateway = gateway("assemblyai", address, route, "");
    let mut client = gateway.ask_at("/v3/ws", "").await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    client.send(&up(Binary, [0; 320])).await;
    let mut frames = Vec::new();
    while let Some(frame) = client.frame().await {
        let over = frame.opcode == Close;
        frames.push(frame);
        if over {
            client.send(&up(Close, closing(1000, ""))).await;
        }
    }
    (gateway, frames)
}

const TURN: &str = r#"{"type":"Turn","transcript":"he said \"Termination\"","end_of_turn":false}"#;
const LAST: &str = r#"{"type":"Termination","audio_duration_seconds":1,"session_duration_seconds":2}"#;

#[tokio::test]
async fn a_close_in_order_before_the_last_message_is_the_end_of_a_socket_that_broke() {
    for payload in [closing(1000, ""), Vec::new()] {
        for route in ["", "envelope = \"compatible\""] {
            let (gateway, frames) = answered(&[TURN], payload.clone(), route).await;
            let texts: Vec<_> = frames.iter().filter(|frame| frame.opcode == Text).collect();
            assert_eq!(texts.len(), 2, "{route}: the turn and the error");
            assert_eq!(texts[0].payload, TURN.as_bytes());
            assert_eq!(frames.last().expect("a close").close().0, 1014, "{route}");
            let labels = r#"{route="r",provider="assemblyai",type="upstream",code="upstream_disconnected",origin="network",transport="websocket"} 1"#;
            gateway.counts("speechgate_errors_total", &[labels]).await;
        }
    }
}

#[tokio::test]
async fn a_close_in_order_behind_the_last_message_or_before_any_passes() {
    for said in [&[TURN, LAST][..], &[]] {
        let (gateway, frames) = answered(said, closing(1000, "bye"), "").await;
        assert_eq!(frames.len(), said.len() + 1);
        assert_eq!(frames.last().expect("a close").close(), (1000, "bye".to_owned()));
        gateway.counts("speechgate_errors_total", &[]).await;
    }
    // An error of the provider's tells why the session ends, and is told once.
    let (gateway, frames) =
        answered(&[TURN, r#"{"type":"Error","error_code":3008,"error":"Session expired"}"#], closing(1000, ""), "")
            .await;
    assert_eq!(frames.iter().filter(|frame| frame.opcode == Text).count(), 2);
    assert_eq!(gateway.metric("speechgate_errors_total").await.len(), 1);
}
