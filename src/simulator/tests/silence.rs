//! Each silence on each transport is what its name says.

use super::sockets::{SCRIPTS, Script, Seen, connect, say, text, watch};
use super::*;
use futures_util::SinkExt;
use tokio::time::Instant;
use tokio_websockets::Message;

/// Nothing that comes takes so long, however busy the machine is.
const QUIET: Duration = Duration::from_secs(2);

/// What comes of an HTTP request until nothing has for a while: the status, the body, whether it ended, and when its first byte came.
async fn heard(
    version: Version,
    simulator: &Simulator,
    path: &str,
    fault: &str,
) -> Option<(u16, Bytes, bool, Duration)> {
    let asked = request(simulator, Method::POST, path).header(FAULT_HEADER, fault);
    let began = Instant::now();
    let body = r#"{"text":"A sentence that is long enough.","transcript":"A sentence that is long enough."}"#;
    let response = timeout(QUIET, begin(version, asked, body)).await.ok()?.unwrap();
    let (parts, mut body) = response.into_parts();
    let (mut all, mut first) = (Vec::new(), Duration::ZERO);
    let ended = loop {
        match timeout(QUIET, body.frame()).await {
            Err(_) => break false,
            Ok(None) => break true,
            Ok(Some(frame)) => {
                if all.is_empty() {
                    first = began.elapsed();
                }
                all.extend_from_slice(frame.unwrap().data_ref().map_or(&[][..], |data| data));
            }
        }
    };
    Some((parts.status.as_u16(), all.into(), ended, first))
}

const ANSWERS: [(Provider, &str); 9] = [
    (Provider::ElevenLabs, "/v1/text-to-speech/v/stream?output_format=pcm_16000"),
    (Provider::ElevenLabs, "/v1/text-to-speech/v/with-timestamps"),
    (Provider::ElevenLabs, "/v1/text-to-speech/v/stream/with-timestamps"),
    (Provider::Cartesia, "/tts/sse"),
    (Provider::Deepgram, "/v1/speak"),
    (Provider::OpenAi, "/v1/audio/speech"),
    (Provider::Azure, "/cognitiveservices/v1"),
    (Provider::Aws, "/v1/speech"),
    (Provider::Google, "/v1/text:synthesize"),
];

async fn answers(version: Version, provider: Provider, path: &'static str) {
    let simulator = instant(provider).await;
    let at = |fault: &str| format!("{provider} {path} {fault} {version:?}");
    let (status, all, ended, _) = heard(version, &simulator, path, "silent-late-0").await.unwrap();
    assert!(ended && status == 200 && all.len() > 200, "{}: {}", at("well"), all.len());
    let got = heard(version, &simulator, path, "silent-never").await.unwrap();
    assert_eq!((got.0, got.1.len(), got.2), (200, 0, false), "{}", at("never"));
    let got = heard(version, &simulator, path, "silent-late-200").await.unwrap();
    assert!(got.1 == all && got.2 && got.3 >= Duration::from_millis(200), "{}", at("late"));
    let got = heard(version, &simulator, path, "silent-stall").await.unwrap();
    assert!(!got.1.is_empty() && got.1.len() < all.len() && !got.2, "{}", at("stall"));
    assert!(all.starts_with(&got.1), "{}", at("stall"));
    let got = heard(version, &simulator, path, "silent-stall-100").await.unwrap();
    assert!(got.1 == all && got.2, "{}", at("stall for a moment"));
    let got = heard(version, &simulator, path, "silent-empty").await.unwrap();
    assert!(got.2 && got.0 == 200 && got.1.len() < all.len(), "{}", at("empty"));
    assert_eq!(heard(version, &simulator, path, "silent-half-open").await, None, "{}", at("half-open"));
    let got = heard(version, &simulator, path, "mid-silent-half-open").await.unwrap();
    assert!(!got.1.is_empty() && got.1.len() < all.len() && !got.2, "{}", at("half-open in the middle"));
    simulator.stop().await;
}

#[tokio::test]
async fn answers_are_silent_in_every_way() {
    // Side by side: silence has to be waited for.
    let mut running = tokio::task::JoinSet::new();
    for version in [Version::HTTP_11, Version::HTTP_2] {
        for (provider, path) in ANSWERS {
            let _ = running.spawn(answers(version, provider, path));
        }
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
}

/// What is seen of a session in which this silence was asked for, and how long it took.
async fn silent(simulator: &Simulator, script: &Script, fault: &str, last: &str) -> (Vec<Seen>, Duration) {
    let path = format!("{}?note={fault}&output_format=pcm_8000", script.path);
    let mut client = connect(simulator, &path, None).await.unwrap();
    let began = Instant::now();
    say(&mut client, script.says).await;
    (watch(&mut client, last).await, began.elapsed())
}

fn audible(seen: &Seen) -> bool {
    let members = [r#""audio":""#, r#""audio_base_64":""#, r#""data":""#, r#""delta":""#];
    *seen == Seen::Binary || members.iter().any(|member| text(seen).contains(member))
}

async fn sessions(provider: Provider, script: &'static Script) {
    let simulator = instant(provider).await;
    let speaks = Dialect::of(provider).socket(&script.path.parse().unwrap()).unwrap().0.speaks();
    let ends = |seen: &[Seen]| seen.iter().any(|seen| text(seen).contains(script.ends));
    // A conversation has no last word but its audio.
    let talks = script.path.contains("convai");
    for fault in ["never", "stall", "empty", "half-open", "late-300"] {
        let at = format!("{provider} {} {fault}", script.path);
        let last = if matches!(fault, "empty" | "late-300") && !talks { script.ends } else { "" };
        let (seen, took) = silent(&simulator, script, &format!("fault-silent-{fault}"), last).await;
        let heard = seen.iter().any(audible);
        match fault {
            "never" | "half-open" => assert!(!ends(&seen) && !heard, "{at}: {seen:?}"),
            "stall" => assert!(heard == speaks && (talks || !ends(&seen)), "{at}: {seen:?}"),
            "empty" => assert!(!heard && (talks || ends(&seen)), "{at}: {seen:?}"),
            _ => assert!(heard == speaks && ends(&seen) && took >= Duration::from_millis(300), "{at}: {seen:?}"),
        }
    }
    simulator.stop().await;
}

#[tokio::test]
async fn sockets_are_silent_in_every_way() {
    // Side by side: silence has to be waited for.
    let mut running = tokio::task::JoinSet::new();
    for script in SCRIPTS {
        let _ = running.spawn(sessions(script.provider, script));
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn silence_of_one_context_leaves_the_others_alone() {
    let simulator = instant(Provider::Cartesia).await;
    for fault in ["never", "stall", "empty", "late-500"] {
        let mut client = connect(&simulator, "/tts/websocket", None).await.unwrap();
        let first = format!(r#"{{"transcript":"Oh, dear.","context_id":"fault-silent-{fault}"}}"#);
        client.send(Message::text(first)).await.unwrap();
        let second = r#"{"transcript":"Oh, dear.","context_id":"c2"}"#;
        client.send(Message::text(second)).await.unwrap();
        let seen = watch(&mut client, r#""done":true,"context_id":"c2""#).await;
        assert!(text(seen.last().unwrap()).contains("c2"), "{fault}: {seen:?}");
        let of_first = seen.iter().filter(|seen| audible(seen) && text(seen).contains(fault)).count();
        assert!(if fault == "stall" { of_first > 0 } else { of_first == 0 }, "{fault}: {seen:?}");
    }
    simulator.stop().await;
}
