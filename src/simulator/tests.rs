//! Every failure can be provoked and every success answers, over real sockets.

mod handshake;
mod network;
mod sockets;

use super::dialect::{Content, Dialect};
use super::*;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

/// Longer than anything that ends by itself takes.
const PATIENCE: Duration = Duration::from_secs(20);

struct Got {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
    /// Whether the body ended as it should.
    complete: bool,
}

impl Got {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// The answer's head, on a connection of its own.
async fn begin(
    version: Version,
    request: http::request::Builder,
    body: &str,
) -> Result<Response<Incoming>, hyper::Error> {
    let request = request.body(Full::<Bytes>::from(body.to_owned())).unwrap();
    let address = request.uri().authority().unwrap().as_str();
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let io = TokioIo::new(stream);
    if version == Version::HTTP_2 {
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
        tokio::spawn(connection);
        sender.send_request(request).await
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
        tokio::spawn(connection);
        sender.send_request(request).await
    }
}

async fn send(version: Version, request: http::request::Builder, body: &str) -> Result<Got, String> {
    let response = timeout(PATIENCE, begin(version, request, body)).await.map_err(|_| "no answer")?;
    let response = response.map_err(|error| error.to_string())?;
    let (parts, mut body) = response.into_parts();
    let mut all = Vec::new();
    let complete = loop {
        match timeout(PATIENCE, body.frame()).await.map_err(|_| "no more body")? {
            None => break true,
            Some(Err(_)) => break false,
            Some(Ok(frame)) => all.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
        }
    };
    Ok(Got { status: parts.status.as_u16(), headers: parts.headers, body: all.into(), complete })
}

fn request(simulator: &Simulator, method: Method, path: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(format!("{}{path}", simulator.url()))
        .header("authorization", "Bearer k")
        .header("x-api-key", "k")
        .header("xi-api-key", "k")
}

async fn instant(provider: Provider) -> Simulator {
    Simulator::start(provider, Options::instant()).await.unwrap()
}

/// The path of a provider's main job, and of a stream of lines or events where it has one.
fn main_job(provider: Provider) -> (&'static str, Option<&'static str>) {
    match provider {
        Provider::ElevenLabs => ("/v1/text-to-speech/v1", Some("/v1/text-to-speech/v1/stream/with-timestamps")),
        Provider::Cartesia => ("/tts/bytes", Some("/tts/sse")),
        Provider::Breeze => ("/v1/text-to-speech/v1", Some("/v1/text-to-speech/v1/stream/with-timestamps")),
        Provider::Corti => ("/v2/interactions/i1/documents/", Some("/agents/a1/v1/message:stream")),
        Provider::ZenHire => ("/api/v1/speech/analyze", None),
        Provider::Deepgram => ("/v1/speak", None),
        Provider::OpenAi => ("/v1/audio/speech", None),
        Provider::Google => ("/v1/text:synthesize", None),
        Provider::Azure => ("/cognitiveservices/v1", None),
        Provider::Aws => ("/v1/speech", None),
        Provider::AssemblyAi => ("/v2/transcript", None),
    }
}

fn check(provider: Provider, fault: &Fault, got: &Got) {
    let at = format!("{provider} {}", fault.name);
    assert_eq!((got.status, got.text()), (fault.status, fault.body.clone()), "{at}");
    assert_eq!(got.header("content-type"), fault.content_type.as_deref(), "{at}");
    for (name, value) in &fault.headers {
        assert_eq!(got.header(name), Some(value.as_str()), "{at}");
    }
    assert!(got.complete, "{at}");
}

#[tokio::test]
async fn every_fault_can_be_provoked_and_is_what_the_data_say() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        for provider in Provider::ALL {
            let simulator = instant(provider).await;
            for fault in faults(provider) {
                let (job, lines) = main_job(provider);
                match fault.moment {
                    Moment::Answer | Moment::Rpc => {
                        let got = send(
                            version,
                            request(&simulator, Method::POST, job).header(FAULT_HEADER, &fault.name),
                            "{}",
                        )
                        .await
                        .unwrap();
                        check(provider, fault, &got);
                        let body = format!(r#"{{"model":{{"id":"fault-{}"}}}}"#, fault.name.to_lowercase());
                        check(
                            provider,
                            fault,
                            &send(version, request(&simulator, Method::POST, job), &body).await.unwrap(),
                        );
                    }
                    Moment::Job => {
                        let path = format!("/v1/any/fault-{}", fault.name.replace('+', "%2B"));
                        check(
                            provider,
                            fault,
                            &send(version, request(&simulator, Method::GET, &path), "").await.unwrap(),
                        );
                    }
                    Moment::Frame => {
                        let path = format!("/v1/any/fault-{}", fault.name);
                        assert_eq!(
                            send(version, request(&simulator, Method::GET, &path), "").await.unwrap().status,
                            501
                        );
                    }
                    Moment::Stream => {
                        let got = send(
                            version,
                            request(&simulator, Method::POST, lines.unwrap()).header(FAULT_HEADER, &fault.name),
                            "{}",
                        )
                        .await
                        .unwrap();
                        assert_eq!(
                            (got.status, got.text().lines().last()),
                            (200, fault.line.as_deref()),
                            "{provider} {}",
                            fault.name
                        );
                    }
                }
            }
            let stats = simulator.stats();
            let provoked = faults(provider).iter().filter(|fault| fault.moment != Moment::Frame).count();
            assert_eq!((stats.in_use, stats.faults.len() >= provoked), (0, true), "{provider}");
            simulator.stop().await;
        }
    }
}

#[tokio::test]
async fn every_success_answers_with_what_its_endpoint_promises() {
    let place = regex::Regex::new(r"\{=?[a-z_]+\}").unwrap();
    for provider in Provider::ALL {
        let simulator = instant(provider).await;
        for endpoint in &Dialect::of(provider).answer {
            for path in endpoint.paths() {
                let (method, template) = path.split_once(' ').unwrap();
                let mut target = place.replace_all(template, "abc").into_owned();
                if target.contains('?') && !target.contains('=') {
                    target.push_str("=x");
                }
                for poll in 0..endpoint.body.len().max(1) {
                    let asked = request(&simulator, method.parse().unwrap(), &target);
                    let got = send(
                        Version::HTTP_11,
                        asked,
                        r#"{"text":"Hi you.","context_id":"c1","id":"7","add_timestamps":true}"#,
                    )
                    .await
                    .unwrap();
                    let at = format!("{provider} {path} {poll}");
                    assert_eq!((got.status, got.complete), (endpoint.status, true), "{at}: {}", got.text());
                    if endpoint.say != Content::Audio {
                        assert!(!place.is_match(&got.text()), "{at}: {}", got.text());
                    }
                    if matches!(endpoint.say, Content::Json | Content::Spoken)
                        && endpoint.status != 204
                        && endpoint.content_type.is_none()
                    {
                        let _ = got.json();
                    }
                    let size = if endpoint.say == Content::Json { 0 } else { 1_000 };
                    assert!(got.body.len() >= size, "{at}: {} bytes", got.body.len());
                }
            }
        }
        assert_eq!((simulator.stats().in_use, simulator.stats().unfinished), (0, 0), "{provider}");
        simulator.stop().await;
    }
}

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
async fn without_credentials_each_provider_refuses_in_its_own_way() {
    for provider in Provider::ALL {
        let simulator = instant(provider).await;
        let fault = find(provider, &Dialect::of(provider).auth.missing).unwrap();
        for empty in ["", "Bearer "] {
            let asked =
                Request::post(format!("{}{}", simulator.url(), main_job(provider).0)).header("authorization", empty);
            check(provider, fault, &send(Version::HTTP_11, asked, "{}").await.unwrap());
        }
        simulator.stop().await;
    }
}

#[tokio::test]
async fn what_nobody_knows_is_refused() {
    for provider in Provider::ALL {
        let simulator = instant(provider).await;
        let unknown = &Dialect::of(provider).unknown;
        let nowhere = send(Version::HTTP_11, request(&simulator, Method::GET, "/nowhere/at/all"), "").await.unwrap();
        check(provider, find(provider, &unknown.path).unwrap(), &nowhere);
        let wrong =
            send(Version::HTTP_11, request(&simulator, Method::DELETE, main_job(provider).0), "").await.unwrap();
        check(provider, find(provider, &unknown.method).unwrap(), &wrong);
        let typo = send(Version::HTTP_11, request(&simulator, Method::GET, "/x/fault-qota"), "").await.unwrap();
        assert_eq!((typo.status, typo.text().contains("fault-qota")), (501, true));
        simulator.stop().await;
    }
}

#[tokio::test]
async fn old_versions_of_cartesia_speak_plain_text() {
    let simulator = instant(Provider::Cartesia).await;
    let text = "Voice not found: There is no voice fault-voice_not_found.";
    let json = find(Provider::Cartesia, "voice_not_found").unwrap().body.clone();
    for (header, query, expected) in [
        ("2024-11-13", "", text),
        ("2026-03-01", "", json.as_str()),
        ("2026-08-14", "?cartesia_version=2025-04-16", text),
        ("2024-11-13", "?cartesia_version=2026-03-01", json.as_str()),
    ] {
        let asked = request(&simulator, Method::POST, &format!("/tts/bytes{query}")).header("cartesia-version", header);
        let got = send(Version::HTTP_11, asked, r#"{"voice":{"id":"fault-voice_not_found"}}"#).await.unwrap();
        assert_eq!((got.status, got.text().as_str()), (404, expected), "{header} {query}");
    }
    let asked = request(&simulator, Method::POST, "/tts/sse").header("cartesia-version", "2024-11-13");
    let got = send(Version::HTTP_11, asked, r#"{"transcript":"fault-mid-null"}"#).await.unwrap();
    assert!(got.text().ends_with(
        "{\"status_code\":500,\"done\":true,\"error\":\"Unexpected error: An unexpected error occurred.\"}\n\n"
    ));
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

#[tokio::test]
async fn a_fault_once_is_gone_the_second_time() {
    let simulator = instant(Provider::Breeze).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(
            send(Version::HTTP_11, request(&simulator, Method::GET, "/v1/voices/fault-once-RATE_LIMITED"), "")
                .await
                .unwrap()
                .status,
        );
    }
    assert_eq!(seen, [429, 200, 200]);
    simulator.stop().await;
}

#[tokio::test]
async fn control_tells_and_changes() {
    let simulator = instant(Provider::Breeze).await;
    let plan = send(Version::HTTP_11, Request::put(format!("{}/__sim/plan", simulator.url())), "4").await.unwrap();
    assert_eq!(plan.json()["plan"], 4);
    let known = send(Version::HTTP_11, Request::get(format!("{}/__sim/faults", simulator.url())), "").await.unwrap();
    assert_eq!(known.json().as_array().unwrap().len(), faults(Provider::Breeze).len());
    let stats = send(Version::HTTP_11, Request::get(format!("{}/__sim/stats", simulator.url())), "").await.unwrap();
    assert_eq!((&stats.json()["plan"], &stats.json()["requests"]), (&4.into(), &3.into()));
    simulator.stop().await;
}
