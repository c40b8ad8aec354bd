//! Answers that go on: audio, streams, jobs.

use super::*;

#[tokio::test]
async fn speech_is_a_wav_that_can_be_played_and_the_same_every_time() {
    let simulator = instant(Provider::ElevenLabs).await;
    let path = "/v1/text-to-speech/JBFqnCBsd6RMkjVDRZzb/stream?output_format=wav_22050";
    let first =
        send(Version::HTTP_11, request(&simulator, Method::POST, path), r#"{"text":"Good morning."}"#).await.unwrap();
    let again =
        send(Version::HTTP_11, request(&simulator, Method::POST, path), r#"{"text":"Good morning."}"#).await.unwrap();
    assert_eq!(first.body, again.body);
    assert_ne!(first.header("request-id"), again.header("request-id"));
    assert_eq!(first.header("content-type"), Some("audio/wav"));
    let size = u32::from_le_bytes(first.body[40..44].try_into().unwrap()) as usize;
    let rate = u32::from_le_bytes(first.body[24..28].try_into().unwrap());
    assert_eq!((&first.body[..4], first.body.len(), rate), (&b"RIFF"[..], 44 + size, 22_050));
    let loud = first.body[44..].chunks(2).filter(|s| i16::from_le_bytes([s[0], s[1]]).abs() > 1_000).count();
    assert!(loud > 1_000, "{loud} loud samples");
    simulator.stop().await;
}

#[tokio::test]
async fn streams_fail_in_the_middle_in_the_form_that_they_have_for_it() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        for (provider, path, name, ending) in [
            (Provider::Cartesia, "/tts/sse", "quota_exceeded", Some(("event: chunk", "event: error\ndata: ", "\n\n"))),
            (
                Provider::Breeze,
                "/v1/text-to-speech/v/stream/with-timestamps",
                "GENERATION_FAILED",
                Some(("{\"audio_base64\"", "", "\n")),
            ),
            (
                Provider::ElevenLabs,
                "/v1/text-to-speech/v/stream/with-timestamps",
                "internal_error",
                Some(("{\"audio_base64\"", "", "\n")),
            ),
            (
                Provider::Corti,
                "/agents/a/v1/message:stream",
                "-32603",
                Some(("data: {\"jsonrpc\"", "event: error\ndata: ", "\n\n")),
            ),
            (Provider::ElevenLabs, "/v1/text-to-speech/v", "internal_error", None),
            (Provider::ElevenLabs, "/v1/voices/v", "internal_error", None),
            (Provider::Breeze, "/v1/text-to-speech/v/stream", "net-reset", None),
        ] {
            let simulator = instant(provider).await;
            let method = if path.starts_with("/v1/voices") { Method::GET } else { Method::POST };
            let asked = request(&simulator, method, path).header(FAULT_HEADER, format!("mid-{name}"));
            let got = send(version, asked, r#"{"text":"A sentence that is long enough."}"#).await.unwrap();
            let at = format!("{provider} {path} {name} {version:?}");
            assert_eq!((got.status, got.complete), (200, ending.is_some()), "{at}");
            if let Some((start, before, after)) = ending {
                let fault = find(provider, name).unwrap();
                let said = if before.is_empty() { &fault.line } else { &fault.event };
                let expected = format!("{before}{}{after}", said.as_ref().unwrap());
                assert!(got.text().starts_with(start) && got.text().ends_with(&expected), "{at}: {}", got.text());
            } else {
                assert!(got.body.len() > 100, "{at}: {} bytes", got.body.len());
                assert_eq!(simulator.stats().unfinished, u64::from(!path.starts_with("/v1/voices")), "{at}");
            }
            simulator.stop().await;
        }
    }
}

#[tokio::test]
async fn a_job_that_will_fail_starts_well() {
    for (provider, start, id, poll, name, error) in [
        (Provider::ZenHire, "/api/v1/speech/analyze", "id", "/api/v1/speech/analyze/", "SCORING_FAILED", "/error/code"),
        (
            Provider::Breeze,
            "/v1/text-to-speech/v?delivery=async",
            "generation_job_id",
            "/v1/generation-jobs/",
            "job-GENERATION_FAILED",
            "/error/code",
        ),
        (Provider::ElevenLabs, "/v1/dubbing", "dubbing_id", "/v1/dubbing/", "dubbing-internal_error", "/status"),
        (
            Provider::Corti,
            "/v2/interactions/i/transcripts/",
            "id",
            "/v2/interactions/i/transcripts/",
            "transcript_failed",
            "/status",
        ),
    ] {
        let simulator = instant(provider).await;
        let asked = request(&simulator, Method::POST, start).header(FAULT_HEADER, name);
        let started = send(Version::HTTP_11, asked, "{}").await.unwrap();
        assert!((200..300).contains(&started.status), "{provider}: {}", started.text());
        let id = started.json()[id].as_str().unwrap().to_owned();
        let polled =
            send(Version::HTTP_11, request(&simulator, Method::GET, &format!("{poll}{id}")), "").await.unwrap();
        let said = polled.json().pointer(error).and_then(Value::as_str).unwrap_or_default().to_owned();
        assert_eq!((polled.status, polled.json()["status"].as_str()), (200, Some("failed")), "{provider}");
        assert!(said == "failed" || name.ends_with(&said), "{provider}: {said}");
        simulator.stop().await;
    }
}

#[tokio::test]
async fn a_run_is_queued_then_processed_then_done() {
    let simulator = instant(Provider::ZenHire).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        let got =
            send(Version::HTTP_11, request(&simulator, Method::GET, "/api/v1/speech/analyze/run_9"), "").await.unwrap();
        seen.push((got.json()["status"].as_str().unwrap().to_owned(), got.header("retry-after").map(str::to_owned)));
    }
    let hint = Some("20".to_owned());
    let expected = [("queued", hint.clone()), ("processing", hint), ("success", None), ("success", None)];
    assert_eq!(seen, expected.map(|(status, hint)| (status.to_owned(), hint)));
    simulator.stop().await;
}
