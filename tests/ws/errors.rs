//! The four places where an error hides: each is told once, in the form of the route, and counted once.

use crate::support::{Gateway, closing, down, gateway, provider, saying, up};
use serde_json::{Value, json};
use speechgate::detect::Coded;
use speechgate::wire::event_stream;
use speechgate::wire::frame::Opcode::{Binary, Close, Text};
use speechgate::wire::packed::Packing;
use std::time::{Duration, Instant};

const CARTESIA: &str = r#"{"type":"error","done":true,"status_code":429,"error_code":"concurrency_limited","title":"Too many concurrent requests","message":"You have exceeded your plan's concurrency limit.","context_id":"happy"}"#;
const ELEVENLABS: &str = r#"{"message":"Invalid API key","error":"invalid_api_key","code":1008}"#;

const CANONICAL: &str = "";
const COMPATIBLE: &str = "envelope = \"compatible\"";

async fn counted(gateway: &Gateway, provider: &str, kind: &str, code: &str) {
    let labels = format!(
        "{{route=\"r\",provider=\"{provider}\",type=\"{kind}\",code=\"{code}\",origin=\"provider\",transport=\"websocket\"}} 1"
    );
    gateway.counts("speechgate_errors_total", &[&labels]).await;
}

#[tokio::test]
async fn a_refused_upgrade_is_an_ordinary_answer() {
    for (route, status, member) in [(CANONICAL, "402 ", "error"), (COMPATIBLE, "401 ", "gateway_error")] {
        let body = r#"{"detail":{"status":"quota_exceeded","message":"This request exceeds your quota."}}"#;
        let address = provider(move |mut peer, _| async move {
            let head = "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer\r\ncontent-type: application/json\r\n";
            peer.send(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await;
            let _ = peer.rest().await;
        })
        .await;
        let gateway = gateway("elevenlabs", address, route, "");
        let mut client = gateway.ask("Connection: close\r\n").await;
        let head = client.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
        for line in ["x-error-code: quota_exceeded\r\n", "www-authenticate: Bearer\r\n"] {
            assert!(head.contains(line), "{line} in {head}");
        }
        let body: Value = serde_json::from_slice(&client.rest().await).expect("JSON");
        assert_eq!(body[member]["code"], "quota_exceeded", "{body}");
        counted(&gateway, "elevenlabs", "payment_required", "quota_exceeded").await;
    }
}

#[tokio::test]
async fn a_nonfatal_error_is_replaced_and_the_session_continues() {
    for route in [CANONICAL, COMPATIBLE] {
        let script = [down(Text, "before"), down(Text, CARTESIA), down(Text, r#"{"type":"chunk","context_id":"b"}"#)];
        let gateway = gateway(
            "cartesia",
            saying([script.concat(), down(Close, closing(1000, "done"))].concat()).await,
            route,
            "",
        );
        let mut client = gateway.open().await;
        assert_eq!(client.next().await.payload, b"before");
        let error = client.next().await.json();
        if route == CANONICAL {
            assert_eq!((&error["type"], &error["done"]), (&json!("error"), &json!(true)));
            assert_eq!(error["context_id"], "happy");
            assert_eq!(error["error"]["code"], "concurrency_limited");
            assert_eq!(error["error"]["upstream"]["body"]["title"], "Too many concurrent requests");
        } else {
            let mut error = error;
            let ours = error.as_object_mut().expect("an object").remove("gateway_error").expect("ours");
            assert_eq!(ours["code"], "concurrency_limited");
            assert_eq!(error, serde_json::from_str::<Value>(CARTESIA).expect("JSON"));
        }
        assert_eq!(client.next().await.json()["context_id"], "b");
        assert_eq!(client.next().await.close(), (1000, "done".to_owned()));
        counted(&gateway, "cartesia", "concurrency_limited", "concurrency_limited").await;
    }
}

#[tokio::test]
async fn an_error_message_beats_the_close_behind_it() {
    for (route, code) in [(CANONICAL, 1008), (CANONICAL, 1000), (COMPATIBLE, 1008)] {
        let script = [down(Text, ELEVENLABS), down(Close, closing(code, "Invalid API key"))].concat();
        let gateway = gateway("elevenlabs", saying(script).await, route, "");
        let mut client = gateway.open().await;
        let message = client.next().await.json();
        let (member, reason) = match route {
            CANONICAL => ("error", "invalid_credentials: Invalid API key"),
            _ => ("gateway_error", "Invalid API key"),
        };
        assert_eq!(message[member]["code"], "invalid_credentials", "{message}");
        assert_eq!(client.next().await.close(), (code, reason.to_owned()));
        counted(&gateway, "elevenlabs", "authentication", "invalid_credentials").await;
        let closes = format!("{{route=\"r\",code=\"{code}\",initiator=\"provider\"}} 1");
        gateway.counts("speechgate_websocket_closes_total", &[&closes]).await;
    }
}

#[tokio::test]
async fn an_error_message_precedes_a_close_that_is_an_error() {
    let reason = "voices can only be set in the first message.";
    for route in [CANONICAL, COMPATIBLE] {
        let gateway = gateway("elevenlabs", saying(down(Close, closing(1008, reason))).await, route, "");
        let mut client = gateway.open().await;
        let message = client.next().await.json();
        let (error, expected) = match route {
            CANONICAL => {
                (&message["error"], format!("{}: {reason}", message["error"]["code"].as_str().expect("a code")))
            }
            _ => (&message["gateway_error"], reason.to_owned()),
        };
        assert_eq!(error["message"], reason);
        assert_eq!(error["upstream"]["close_code"], 1008);
        if route == COMPATIBLE {
            assert_eq!(message["message"], reason, "{message}");
        }
        assert_eq!(client.next().await.close(), (1008, expected));
        let errors = gateway.metric("speechgate_errors_total").await;
        assert!(errors.len() == 1 && errors[0].ends_with(" 1"), "{errors:?}");
    }
}

#[tokio::test]
async fn a_session_that_has_not_begun_is_refused_as_sdks_expect() {
    const ERROR: &str = r#"{"type":"error","error":{"id":"e1","title":"t","status":500,"details":"d","doc":""}}"#;
    const DENIED: &str = r#"{"type":"CONFIG_DENIED","reason":"unknown mode"}"#;
    const ACCEPTED: &str = r#"{"type":"CONFIG_ACCEPTED"}"#;
    let end = || down(Close, closing(1011, "Internal error"));
    let both: &[&str] = &["error", "CONFIG_DENIED"];
    let cases: [(&str, Vec<u8>, &[&str]); 6] = [
        (COMPATIBLE, end(), &["CONFIG_DENIED"]),
        (COMPATIBLE, [down(Text, ERROR), end()].concat(), both),
        (COMPATIBLE, [down(Text, DENIED), end()].concat(), &["CONFIG_DENIED"]),
        (COMPATIBLE, [down(Text, ACCEPTED), down(Text, ERROR), end()].concat(), &["CONFIG_ACCEPTED", "error"]),
        (COMPATIBLE, [down(Text, ACCEPTED), end()].concat(), &["CONFIG_ACCEPTED", "error"]),
        (CANONICAL, [down(Text, ERROR), end()].concat(), &["error"]),
    ];
    for (route, script, expected) in cases {
        let gateway = gateway("corti", saying(script).await, route, "");
        let mut client = gateway.open().await;
        let (mut types, mut told) = (Vec::new(), 0);
        for _ in expected {
            let message = client.next().await.json();
            told += usize::from(message.get("gateway_error").is_some());
            types.push(message["type"].as_str().unwrap_or_default().to_owned());
        }
        assert_eq!(types, expected);
        assert_eq!(told, usize::from(route == COMPATIBLE));
        assert_eq!(client.next().await.close().0, 1011);
    }
}

#[tokio::test]
async fn silence_is_told() {
    for (route, drop_it) in [(CANONICAL, true), (COMPATIBLE, true), (CANONICAL, false), (COMPATIBLE, false)] {
        let address = provider(move |mut peer, _| async move {
            peer.accept("").await;
            if !drop_it {
                let _ = peer.rest().await;
            }
        })
        .await;
        let timeouts = format!("{route}\ntimeouts = {{ websocket_idle = \"400ms\" }}");
        let gateway = gateway("cartesia", address, &timeouts, "");
        let mut client = gateway.open().await;
        let mut message = client.next().await;
        if message.opcode == speechgate::wire::frame::Opcode::Ping {
            message = client.next().await;
        }
        let message = message.json();
        let member = if route == CANONICAL { "error" } else { "gateway_error" };
        let expected = if drop_it { "upstream_disconnected" } else { "upstream_timeout" };
        assert_eq!(message[member]["code"], expected, "{message}");
        assert_eq!(message["type"], "error");
        // What a client takes for the end of speech is nobody's to say but the provider's.
        assert!(message.get("done").is_none(), "{message}");
        let (code, reason) = client.next().await.close();
        assert_eq!((code, reason.split(':').next()), (1014, Some(expected)));
    }
}

#[tokio::test]
async fn a_close_after_a_fatal_error_is_not_a_second_error() {
    // The connection just ends behind the message, while the client goes on sending.
    let address = provider(|mut peer, _| async move {
        peer.accept("").await;
        let _ = peer.next().await;
        peer.send(&down(Text, ELEVENLABS)).await;
        let _ = peer.next().await;
    })
    .await;
    let gateway = gateway("elevenlabs", address, CANONICAL, "");
    let mut client = gateway.open().await;
    client.send(&up(Text, "hello")).await;
    assert_eq!(client.next().await.json()["error"]["code"], "invalid_credentials");
    client.send(&up(Text, "hello")).await;
    assert_eq!(client.next().await.close(), (3000, "invalid_credentials: Invalid API key".to_owned()));
    counted(&gateway, "elevenlabs", "authentication", "invalid_credentials").await;
}

#[tokio::test]
async fn a_failed_context_does_not_hide_later_errors() {
    let script =
        [down(Text, CARTESIA), down(Text, r#"{"type":"chunk"}"#), down(Close, closing(1011, "crashed"))].concat();
    let gateway = gateway("cartesia", saying(script).await, CANONICAL, "");
    let frames = gateway.open().await.frames_until_close().await;
    let [first, _, second, close] = frames.as_slice() else { panic!("{frames:?}") };
    assert_eq!(first.json()["error"]["code"], "concurrency_limited");
    let code = second.json()["error"]["code"].as_str().expect("a code").to_owned();
    assert_ne!(code, "concurrency_limited");
    assert_eq!(close.close(), (1011, format!("{code}: crashed")));
    assert_eq!(gateway.metric("speechgate_errors_total").await.len(), 2);
}

/// A plugin on a socket gets messages that it can read, on a route whose HTTP answers are canonical.
#[tokio::test]
async fn messages_are_compatible_where_the_route_says_so_for_sockets_or_the_client_is_known() {
    const TABLE: &str = "envelope = { http = \"canonical\", websocket = \"compatible\" }";
    const AUTO: &str = "envelope = \"auto\"";
    let plugin = "/v1/text-to-speech/v/multi-stream-input?enable_ssml_parsing=false&inactivity_timeout=180\
                  &sync_alignment=true&auto_mode=true";
    for (route, path, lines, compatible) in [
        (TABLE, "/socket", "", true),
        (AUTO, "/socket", "", false),
        (AUTO, "/socket", "X-Fern-SDK-Name: elevenlabs\r\n", true),
        (AUTO, plugin, "", true),
    ] {
        let script = [down(Text, ELEVENLABS), down(Close, closing(1008, "invalid_api_key"))].concat();
        let gateway = gateway("elevenlabs", saying(script).await, route, "");
        let mut client = gateway.ask_at(path, lines).await;
        assert!(client.head().await.starts_with("HTTP/1.1 101 "));
        let message = client.next().await.json();
        assert_eq!(message["error"].is_string(), compatible, "{route} {path} {message}");
        let ours = if compatible { &message["gateway_error"] } else { &message["error"] };
        assert_eq!(ours["code"], "invalid_credentials", "{message}");
        let (code, reason) = client.next().await.close();
        assert_eq!((code, reason == "invalid_api_key"), (1008, compatible), "{reason}");
    }
}

/// A profile's sockets may speak something else than JSON; what they say is an error all the same, and is told in the form of the
/// route: as text, or as the same message with a member more.
#[tokio::test]
async fn errors_in_codecs_other_than_json_are_reported() {
    let phrase = "X-RequestId:7F\r\nPath:speech.phrase\r\n\r\n{\"RecognitionStatus\":\"TooManyRequests\",\"Offset\":0}";
    let exception =
        event_stream::exception("ConflictException", b"{\"Message\":\"The current stream has been terminated.\"}");
    let finish =
        Packing::Msgpack.write(&json!({"event": "error", "error": "Concurrency limit exceeded", "max_concurrency": 8}));
    for (provider, opcode, raw, code) in [
        ("azure", Text, phrase.as_bytes(), "concurrency_limited"),
        ("aws", Binary, &exception, "conflict"),
        ("fish", Binary, &finish, "concurrency_limited"),
    ] {
        let profile = speechgate::config::built_in(provider).expect("built in").expect("valid");
        for route in [CANONICAL, COMPATIBLE] {
            let script = [down(opcode, "no such codec"), down(opcode, raw), down(Close, closing(1000, ""))].concat();
            let gateway = gateway(provider, saying(script).await, route, "");
            let mut client = gateway.open().await;
            assert_eq!(client.next().await.payload, b"no such codec");
            let told = client.next().await;
            if route == CANONICAL {
                assert_eq!((told.opcode, &told.json()["error"]["code"]), (Text, &json!(code)), "{provider}");
            } else {
                assert_eq!(told.opcode, opcode);
                let own = Coded::message(profile.codec(None), raw);
                let more = Coded::message(profile.codec(None), &told.payload);
                let mut value: Value = serde_json::from_slice(more.body()).expect("JSON");
                let ours = value.as_object_mut().expect("an object").remove("gateway_error").expect("ours");
                assert_eq!((&ours["code"], &value), (&json!(code), &serde_json::from_slice(own.body()).expect("JSON")));
            }
            assert_eq!(client.next().await.close().0, 1000);
        }
    }
}

/// It stayed open until the longest silence, and the client with it.
#[tokio::test]
async fn a_fatal_error_ends_the_session_although_the_provider_does_not_close() {
    let address = provider(|mut peer, _| async move {
        peer.accept("").await;
        peer.send(&down(Text, ELEVENLABS)).await;
        let _ = peer.rest().await;
    })
    .await;
    let gateway = gateway("elevenlabs", address, COMPATIBLE, "");
    let mut client = gateway.open().await;
    let began = std::time::Instant::now();
    assert_eq!(client.next().await.json()["gateway_error"]["code"], "invalid_credentials");
    assert_eq!(client.next().await.close().0, 3000);
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    counted(&gateway, "elevenlabs", "authentication", "invalid_credentials").await;
}

/// A plugin waits for each of its contexts, and does not take an error without its id for one of them. Cartesia's SDK ends such a
/// context without an exception, and raises for the close alone: its dialect says it once, of no context, for which its plugins raise too.
#[tokio::test]
async fn every_context_of_a_dead_socket_gets_an_error() {
    let begin = |id: &str| up(Text, format!(r#"{{"context_id":"{id}","transcript":"Hello.","text":"Hello."}}"#));
    for (name, path, member) in [
        ("cartesia", "/tts/websocket", "context_id"),
        ("elevenlabs", "/v1/text-to-speech/v/multi-stream-input", "contextId"),
    ] {
        for close in [None, Some((1011, "the model is gone"))] {
            for route in [CANONICAL, COMPATIBLE] {
                let address = provider(move |mut peer, _| async move {
                    peer.accept("").await;
                    // The third context is over before the end, and has nothing to be told.
                    for _ in 0..3 {
                        let _ = peer.frame().await;
                    }
                    let over = r#"{"type":"done","done":true,"isFinal":true,"context_id":"c","contextId":"c"}"#;
                    peer.send(&down(Text, over)).await;
                    if let Some((code, reason)) = close {
                        peer.send(&down(Close, closing(code, reason))).await;
                        let _ = peer.rest().await;
                    }
                })
                .await;
                let gateway = gateway(name, address, route, "");
                let mut client = gateway.ask_at(path, "").await;
                assert!(client.head().await.starts_with("HTTP/1.1 101 "));
                client.send(&[begin("a"), begin("b"), begin("c")].concat()).await;
                let frames = client.frames_until_close().await;
                let told: Vec<Value> = frames[1..frames.len() - 1].iter().map(|frame| frame.json()).collect();
                let member = if route == CANONICAL { "context_id" } else { member };
                let ids: Vec<_> = told.iter().map(|message| message[member].as_str()).collect();
                let once = route == COMPATIBLE && name == "cartesia";
                let wanted = if once { &[None][..] } else { &[Some("a"), Some("b")] };
                assert_eq!(ids, wanted, "{name} {close:?} {route} {told:?}");
                assert!(told.iter().all(|message| message.get("done").is_none()), "{told:?}");
                let counted = gateway.metric("speechgate_errors_total").await;
                assert_eq!(counted.len(), 1, "{counted:?}");
            }
        }
    }
}

/// LiveKit stops after some of these words, and tries four times after every other.
#[tokio::test]
async fn a_close_has_the_reason_that_plugins_match() {
    for (reason, word) in [
        ("invalid_api_key", "auth_error"),
        ("quota_exceeded", "quota_exceeded"),
        ("rate_limit_exceeded", "rate_limited"),
        ("internal error", "error"),
    ] {
        let code = if word == "error" { 1011 } else { 1008 };
        let gateway = gateway("elevenlabs", saying(down(Close, closing(code, reason))).await, COMPATIBLE, "");
        let mut client = gateway.ask_at("/v1/speech-to-text/realtime", "").await;
        assert!(client.head().await.starts_with("HTTP/1.1 101 "));
        assert_eq!(client.next().await.json()["message_type"], word, "{reason}");
        assert_eq!(client.next().await.close(), (code, reason.to_owned()));
    }
}

/// Told inside a session, most plugins try four times whatever it was; told at a handshake they stop.
#[tokio::test]
async fn a_credential_that_was_refused_on_a_socket_opens_no_other_for_some_seconds() {
    let quota = r#"{"message":"This exceeds your quota.","error":"quota_exceeded","code":1008}"#;
    for route in [CANONICAL, COMPATIBLE] {
        let script = [down(Text, quota), down(Close, closing(1008, "quota_exceeded"))].concat();
        let gateway = gateway("elevenlabs", saying(script).await, route, "");
        let member = if route == CANONICAL { "error" } else { "gateway_error" };
        let open = async |lines: &str| {
            let mut client = gateway.ask_at("/v1/text-to-speech/v/stream-input", lines).await;
            let head = client.head().await;
            (client, head)
        };
        // Without a key in the handshake it may be in the first message, everybody's own.
        for key in ["", "", "xi-api-key: spent\r\n"] {
            let (mut client, head) = open(key).await;
            assert!(head.starts_with("HTTP/1.1 101 "), "{key} {head}");
            let message = client.next().await.json();
            assert_eq!(message[member]["code"], "quota_exceeded", "{message}");
        }
        let (mut client, head) = open("xi-api-key: spent\r\nConnection: close\r\n").await;
        assert!(head.starts_with("HTTP/1.1 402 "), "{head}");
        assert!(head.contains("x-should-retry: false\r\n") && !head.contains("retry-after"), "{head}");
        let body: Value = serde_json::from_slice(&client.rest().await).expect("JSON");
        let told = ["code", "origin", "status"].map(|name| body[member][name].clone());
        assert_eq!(told, [json!("quota_exceeded"), json!("gateway"), json!(402)], "{body}");
        let (_, head) = open("xi-api-key: another\r\n").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        gateway.clear_waits().await;
        let (_, head) = open("xi-api-key: spent\r\n").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    }
}

/// A long text for which too little is left says nothing of a short one; with nothing left it does.
#[tokio::test]
async fn a_text_too_long_for_the_quota_sets_no_credential_aside() {
    for (left, opens) in [("11", true), ("0", false)] {
        let quota = format!(
            "{{\"message\":\"This request exceeds your quota of 10000. You have {left} credits remaining, while 70 credits are \
             required for this request.\",\"error\":\"quota_exceeded\",\"code\":1008}}"
        );
        let gateway = gateway("elevenlabs", saying(down(Text, &quota)).await, CANONICAL, "");
        let mut client = gateway.ask_at("/v1/text-to-speech/v/stream-input", "xi-api-key: poor\r\n").await;
        assert!(client.head().await.starts_with("HTTP/1.1 101 "));
        assert_eq!(client.next().await.json()["error"]["code"], "quota_exceeded");
        let mut client = gateway.ask_at("/v1/text-to-speech/v/stream-input", "xi-api-key: poor\r\n").await;
        let head = client.head().await;
        assert_eq!(head.starts_with("HTTP/1.1 101 "), opens, "{left} left: {head}");
    }
}

/// In the same segment as the answer to the handshake a message is lost on clients that attach their handlers after it.
#[tokio::test]
async fn the_first_message_does_not_come_with_the_answer_to_the_handshake() {
    let gateway = gateway("elevenlabs", saying(down(Text, r#"{"audio":"AAAA"}"#)).await, COMPATIBLE, "");
    let mut soonest = Duration::MAX;
    for _ in 0..20 {
        let asked = Instant::now();
        let mut client = gateway.open().await;
        assert_eq!(client.next().await.json()["audio"], "AAAA");
        soonest = soonest.min(asked.elapsed());
    }
    assert!(soonest >= Duration::from_millis(5), "{soonest:?} after the handshake was asked for");
}
