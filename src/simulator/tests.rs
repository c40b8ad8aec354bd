//! Every failure can be provoked and every success answers, over real sockets.

mod handshake;
mod network;
mod silence;
mod sockets;
mod streams;

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
