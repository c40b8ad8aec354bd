//! Sockets before and beside their messages: refused upgrades, subprotocols, contexts, breaches of the protocol, the end.

use super::sockets::{Client, SCRIPTS, Say, Seen, connect, say, session, text, watch};
use super::*;
use crate::simulator::dialect::Dialect;
use futures_util::StreamExt;

/// An upgrade as any HTTP client sends it.
fn upgrade(simulator: &Simulator, path: &str) -> http::request::Builder {
    request(simulator, Method::GET, path)
        .header("host", "simulator")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

#[tokio::test]
async fn an_upgrade_is_refused_with_the_providers_own_answer() {
    for provider in Provider::ALL {
        let simulator = instant(provider).await;
        for script in SCRIPTS.iter().filter(|script| script.provider == provider) {
            for fault in faults(provider).iter().filter(|fault| fault.moment == Moment::Answer).step_by(3) {
                let path = format!("{}?x=fault-handshake-{}", script.path, fault.name.replace('+', "%2B"));
                check(provider, fault, &send(Version::HTTP_11, upgrade(&simulator, &path), "").await.unwrap());
            }
            let path = format!("{}?x=fault-no-such", script.path);
            assert_eq!(send(Version::HTTP_11, upgrade(&simulator, &path), "").await.unwrap().status, 501);
            let path = format!("{}?x=fault-net-html-502", script.path);
            assert_eq!(send(Version::HTTP_11, upgrade(&simulator, &path), "").await.unwrap().status, 502);
            let path = format!("{}?x=fault-net-reset", script.path);
            assert!(send(Version::HTTP_11, upgrade(&simulator, &path), "").await.is_err());
        }
    }
}

#[tokio::test]
async fn an_upgrade_wants_credentials_and_a_key() {
    let simulator = instant(Provider::Cartesia).await;
    let bare = |path: &str| {
        let uri = format!("{}{path}", simulator.url());
        Request::get(uri).header("host", "s").header("connection", "upgrade").header("upgrade", "WebSocket")
    };
    let got = send(Version::HTTP_11, bare("/tts/websocket"), "").await.unwrap();
    assert_eq!(got.status, 401);
    let got = send(Version::HTTP_11, bare("/tts/websocket?api_key=k"), "").await.unwrap();
    assert_eq!(got.status, 400);
    // The key and its answer are RFC 6455's own example.
    let response = begin(Version::HTTP_11, upgrade(&simulator, "/tts/websocket"), "").await.unwrap();
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[tokio::test]
async fn a_subprotocol_carries_the_secret_and_only_the_other_is_answered() {
    let simulator = instant(Provider::Breeze).await;
    let path = "/v1/text-to-speech/v1/stream-input";
    let bare = |protocols: &str| {
        Request::get(format!("{}{path}", simulator.url()))
            .header("host", "s")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-protocol", protocols)
    };
    let good = bare("breeze-realtime-v1, breeze-realtime-token.brs_1");
    let response = begin(Version::HTTP_11, good, "").await.unwrap();
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["sec-websocket-protocol"], "breeze-realtime-v1");
    assert_eq!(begin(Version::HTTP_11, bare("breeze-realtime-v1"), "").await.unwrap().status(), 401);
    let asked = bare("breeze-realtime-v1, breeze-realtime-token.x_fault-handshake-FORBIDDEN");
    assert_eq!(begin(Version::HTTP_11, asked, "").await.unwrap().status(), 403);
}

/// A browser's SDK offers it and takes no session without it.
#[tokio::test]
async fn agents_speak_the_subprotocol_that_their_sdk_offers() {
    let simulator = instant(Provider::ElevenLabs).await;
    for (offered, answered) in
        [(Some("convai"), Some("convai")), (Some("convai, bearer.k"), Some("convai")), (None, None)]
    {
        let mut asked = upgrade(&simulator, "/v1/convai/conversation?agent_id=a");
        if let Some(offered) = offered {
            asked = asked.header("sec-websocket-protocol", offered);
        }
        let response = begin(Version::HTTP_11, asked, "").await.unwrap();
        assert_eq!(response.status(), 101);
        let protocol = response.headers().get("sec-websocket-protocol").and_then(|value| value.to_str().ok());
        assert_eq!(protocol, answered, "{offered:?}");
    }
}

#[tokio::test]
async fn what_leads_to_a_socket_carries_the_failure_there() {
    let breeze = instant(Provider::Breeze).await;
    let path = "/v1/text-to-speech/fault-SESSION_EXPIRED/realtime-sessions";
    let got = send(Version::HTTP_11, request(&breeze, Method::POST, path), "{}").await.unwrap();
    assert_eq!(got.status, 201);
    assert!(got.json()["client_secret"].as_str().unwrap().contains("_fault-SESSION_EXPIRED."));
    // An ordinary failure is that of the request itself.
    let path = "/v1/text-to-speech/fault-FORBIDDEN/realtime-sessions";
    assert_eq!(send(Version::HTTP_11, request(&breeze, Method::POST, path), "{}").await.unwrap().status, 403);
    let elevenlabs = instant(Provider::ElevenLabs).await;
    let path = "/v1/convai/conversation/get-signed-url?agent_id=fault-mid-llm_timeout";
    let got = send(Version::HTTP_11, request(&elevenlabs, Method::GET, path), "").await.unwrap();
    assert!(got.json()["signed_url"].as_str().unwrap().ends_with("_fault-mid-llm_timeout"));
}

/// The end of a session in which the wire failed.
fn wire_ending(name: &str) -> fn(&Seen) -> bool {
    match name {
        "mute" | "dead" => |seen| *seen == Seen::Silence,
        "half-frame" | "drop" => |seen| matches!(seen, Seen::Broken(_)),
        "empty-close" => |seen| matches!(seen, Seen::Close(1005, _) | Seen::Broken(_)),
        // These are no breach; the session goes on.
        "ping-flood" | "not-json" | "json-cut" | "empty-text" => {
            |seen| matches!(seen, Seen::Text(_) | Seen::Close(1000, _))
        }
        _ => |seen| matches!(seen, Seen::Broken(_)),
    }
}

#[tokio::test]
async fn every_breach_of_the_protocol_is_seen() {
    // Side by side: silence has to be waited for, and so many silences one after the other would take minutes.
    let mut running = tokio::task::JoinSet::new();
    for provider in Provider::ALL {
        for fault in WIRE_FAULTS {
            let _ = running.spawn(breaches(provider, fault.name));
        }
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
}

async fn breaches(provider: Provider, fault: &'static str) {
    let simulator = instant(provider).await;
    for script in SCRIPTS.iter().filter(|script| script.provider == provider).take(1) {
        for moment in ["open", "answer", "mid"] {
            let silent = matches!(fault, "mute" | "dead");
            let name = format!("fault-{moment}-net-{fault}");
            let last = if script.close.is_none() && !silent { script.ends } else { "" };
            let seen = session(&simulator, script, &name, last).await;
            let ending = seen.last().unwrap();
            // An answer that was replaced leaves a session without an end of its own to wait in silence.
            let replaced =
                *ending == Seen::Silence && matches!(fault, "ping-flood" | "not-json" | "json-cut" | "empty-text");
            assert!(wire_ending(fault)(ending) || replaced, "{} {name}: {ending:?}", script.path);
        }
    }
    simulator.stop().await;
}

async fn texts(client: &mut Client, last: &str) -> Vec<String> {
    watch(client, last).await.iter().map(text).filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_failure_in_one_context_leaves_the_others_alone() {
    let simulator = instant(Provider::Cartesia).await;
    let mut client = connect(&simulator, "/tts/websocket", None).await.unwrap();
    say(
        &mut client,
        &[
            Say::Text(r#"{"transcript":"Oh.","context_id":"c1","voice":{"id":"fault-mid-quota_exceeded"}}"#),
            Say::Text(r#"{"transcript":"Oh.","context_id":"c2"}"#),
        ],
    )
    .await;
    let all = texts(&mut client, r#""done":true,"context_id":"c2""#).await;
    let errors: Vec<Value> =
        all.iter().filter(|text| text.contains("error")).map(|text| serde_json::from_str(text).unwrap()).collect();
    assert_eq!(errors.len(), 1);
    assert_eq!((&errors[0]["context_id"], &errors[0]["error_code"]), (&"c1".into(), &"quota_exceeded".into()));
    assert!(all.iter().any(|text| text.contains("chunk") && text.contains("c1")));
    assert!(!all.iter().any(|text| text.contains(r#"200,"done":true,"context_id":"c1""#)));

    let simulator = instant(Provider::ElevenLabs).await;
    let mut client = connect(&simulator, "/v1/text-to-speech/v/multi-stream-input", None).await.unwrap();
    say(
        &mut client,
        &[
            Say::Text(r#"{"text":"Oh. fault-input_timeout_exceeded","context_id":"c1"}"#),
            Say::Text(r#"{"text":"Oh.","context_id":"c2"}"#),
            Say::Text(r#"{"close_context":true,"context_id":"c2"}"#),
        ],
    )
    .await;
    let all = texts(&mut client, r#""isFinal":true,"contextId":"c2""#).await;
    assert!(all[0].contains("input_timeout_exceeded") && all[0].contains(r#""contextId":"c1""#), "{}", all[0]);
}

#[tokio::test]
async fn a_sixth_context_is_one_too_many() {
    let simulator = instant(Provider::ElevenLabs).await;
    let mut client = connect(&simulator, "/v1/text-to-speech/v/multi-stream-input", None).await.unwrap();
    for context in ["1", "2", "3", "4", "5", "6"] {
        let text: &'static str = Box::leak(format!(r#"{{"text":"Oh.","context_id":"{context}"}}"#).into_boxed_str());
        say(&mut client, &[Say::Text(text)]).await;
    }
    let seen = watch(&mut client, "").await;
    assert!(matches!(seen.last(), Some(Seen::Close(1008, reason)) if reason.starts_with("Maximum simultaneous")));
    assert!(text(&seen[seen.len() - 2]).contains("max_active_conversations"));
}

#[tokio::test]
async fn closes_have_the_code_that_was_asked_for_and_once_is_once() {
    let simulator = instant(Provider::Cartesia).await;
    let script = SCRIPTS.iter().find(|script| script.path == "/tts/websocket").unwrap();
    for (name, code) in [("fault-close-1013", 1013), ("fault-mid-close-4321", 4321), ("fault-open-close-3000", 3000)] {
        let seen = session(&simulator, script, name, "").await;
        assert_eq!(seen.last(), Some(&Seen::Close(code, String::new())), "{name}");
    }
    let first = session(&simulator, script, "fault-once-close-1011", "").await;
    assert_eq!(first.last(), Some(&Seen::Close(1011, String::new())));
    let second = session(&simulator, script, "fault-once-close-1011", script.ends).await;
    assert!(second.last().is_some_and(|seen| text(seen).contains(script.ends)));
}

#[tokio::test]
async fn the_plan_counts_contexts_that_speak_and_a_stop_ends_all() {
    let options = Options { plan: Some(1), pace: 1.0, ..Options::default() };
    let simulator = Simulator::start(Provider::Cartesia, options).await.unwrap();
    let mut client = connect(&simulator, "/tts/websocket", None).await.unwrap();
    say(
        &mut client,
        &[
            Say::Text(r#"{"transcript":"A long text, spoken slowly, again and again and again.","context_id":"c1"}"#),
            Say::Text(r#"{"transcript":"Oh.","context_id":"c2"}"#),
        ],
    )
    .await;
    let all = texts(&mut client, "concurrency_limited").await;
    assert!(all.last().is_some_and(|text| text.contains("concurrency_limited")), "{all:?}");
    assert_eq!(simulator.stats().in_use, 1);
    let idle = connect(&simulator, "/stt/websocket", None).await.unwrap();
    timeout(PATIENCE, simulator.stop()).await.expect("sockets end with the simulator");
    for mut client in [client, idle] {
        while matches!(timeout(PATIENCE, client.next()).await.expect("an end"), Some(Ok(_))) {}
    }
}

#[test]
fn names_of_sockets_are_written_as_they_are_read() {
    for provider in Provider::ALL {
        for socket in &Dialect::of(provider).socket {
            assert!(!socket.on.is_empty(), "{provider} {:?}", socket.path);
            for path in &socket.path {
                assert!(
                    Dialect::of(provider).socket(&path.replace(['{', '}'], "").parse().unwrap()).is_some(),
                    "{path}"
                );
            }
        }
    }
}
