//! `explain` and the running gateway say the same of every recorded failure: one test runs both.
//!
//! A scripted provider sends each sample of the corpus byte for byte; what a client gets through the gateway is compared
//! with what `explain` says of the recording.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use speechgate::canon::envelope::{self, Stamp};
use speechgate::config::types::Listen;
use speechgate::detect::{Coded, NDJSON};
use speechgate::explain::{Transport, verdict};
use speechgate::wire::frame::{self, Opcode, Sender};
use speechgate::wire::{close, event_stream};
use speechgate::{app, config};
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The answer to the key that every handshake here uses (RFC 6455 1.3).
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// One recording and what a provider that sends it puts on the wire.
struct Sample {
    name: String,
    provider: String,
    transport: Transport,
    recording: Vec<u8>,
    wire: Vec<u8>,
    method: String,
    path: String,
}

#[test]
fn explain_and_the_gateway_agree_on_every_sample() {
    agree_on(samples());
}

fn agree_on(samples: Vec<Sample>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let samples = Arc::new(samples);
        assert!(samples.len() > 400, "only {} samples", samples.len());
        let provider = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let upstream = provider.local_addr().expect("an address");
        let script = Arc::clone(&samples);
        let scripted = tokio::spawn(async move {
            while let Ok((socket, _)) = provider.accept().await {
                drop(tokio::spawn(answer(socket, Arc::clone(&script))));
            }
        });
        let gateway = gateway(upstream);
        let Listen::Tcp(address) = gateway.address().clone() else { panic!("it listens on TCP") };
        let mut problems = Vec::new();
        for (index, sample) in samples.iter().enumerate() {
            let compared = match sample.transport {
                Transport::Websocket | Transport::Close => compare_socket(address, index, sample).await,
                // Trailers go over HTTP/2: tests/gateway/grpc.rs compares those.
                Transport::Grpc => continue,
                Transport::Http | Transport::Sse | Transport::Ndjson => compare(address, index, sample).await,
            };
            if let Err(problem) = compared {
                problems.push(format!("{}: {problem}", sample.name));
            }
        }
        scripted.abort();
        assert!(problems.is_empty(), "{} of {}:\n{}", problems.len(), samples.len(), problems.join("\n"));
    });
}

/// Every name of the media types of streams and jobs, as providers may spell it.
fn spellings() -> Vec<String> {
    let names = NDJSON.into_iter().chain(["text/event-stream", "application/json", "text/plain", "audio/mpeg"]);
    let spelled = |name: &str| {
        [
            name.to_owned(),
            name.to_ascii_uppercase(),
            format!("{name}; charset=utf-8"),
            format!("{name} ;q=\"a;b\""),
            format!("{name}x"),
        ]
    };
    names.flat_map(spelled).chain(["".to_owned(), "text/event-stream\u{e9}".to_owned()]).collect()
}

/// A stream under the name `application/stream+json` was rewritten by the gateway and untouched to `explain`.
#[test]
fn explain_and_the_gateway_agree_on_every_spelling_of_a_media_type() {
    let spellings = spellings();
    let of_a_success = |sample: &Sample| match sample.transport {
        Transport::Sse | Transport::Ndjson => Some(sample.recording.clone()),
        Transport::Http if sample.wire.starts_with(b"HTTP/1.1 2") => {
            let at = sample.wire.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
            Some(sample.wire[at..].to_vec())
        }
        Transport::Http | Transport::Websocket | Transport::Close | Transport::Grpc => None,
    };
    let spelled = samples().into_iter().filter_map(|sample| Some((of_a_success(&sample)?, sample)));
    let spelled = spelled.flat_map(|(body, sample)| {
        let one = |spelling: &String| {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {spelling}\r\nconnection: close\r\n\r\n");
            let recording = [head.as_bytes(), &body].concat();
            Sample {
                name: format!("{} as `{spelling}`", sample.name),
                provider: sample.provider.clone(),
                transport: Transport::Http,
                wire: recording.clone(),
                recording,
                method: sample.method.clone(),
                path: sample.path.clone(),
            }
        };
        spellings.iter().map(one).collect::<Vec<_>>()
    });
    agree_on(spelled.collect());
}

/// Each sample is another client's: a provider that asks one client to wait binds that one in later samples too.
const KEY: &str = "authorization";

fn gateway(upstream: SocketAddr) -> app::Handle {
    let mut text = String::from(
        "[server]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n[admin]\nenabled = false\n\
         [telemetry]\nlog = { level = \"error\", access = false }\n",
    );
    for provider in config::built_in_names() {
        text.push_str(&format!(
            "[[routes]]\nname = \"{provider}\"\nmatch = {{ path = \"/{provider}\" }}\nprovider = \"{provider}\"\n\
             upstream = \"http://{upstream}\"\n"
        ));
    }
    let loaded = config::load_str(&[("test", &text)], []).expect("a valid configuration");
    app::start(loaded, None).expect("a gateway")
}

/// Sends the sample that the request asks for, then closes.
async fn answer(mut socket: TcpStream, samples: Arc<Vec<Sample>>) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut part = [0; 4096];
        match socket.read(&mut part).await {
            Ok(0) | Err(_) => return,
            Ok(read) => head.extend_from_slice(&part[..read]),
        }
    }
    let head = String::from_utf8_lossy(&head);
    let index = head.lines().find_map(|line| line.strip_prefix("x-sample: ")?.trim().parse::<usize>().ok());
    let sample = &samples[index.expect("the gateway passes headers that it does not know")];
    // The client may have enough before all of it is out.
    let _ = socket.write_all(&sample.wire).await;
    let _ = socket.shutdown().await;
}

/// The same for what comes over a socket: one message or one close after the handshake.
async fn compare_socket(address: SocketAddr, index: usize, sample: &Sample) -> Result<(), String> {
    let profile = config::profiles::built_in(&sample.provider).expect("it is built in").expect("it is right");
    let request = (sample.method.as_str(), sample.path.as_str());
    let told = verdict(&profile, sample.transport, Some(request), &sample.recording).await?;
    let mut socket = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let head = format!(
        "GET /{}{} HTTP/1.1\r\nhost: gateway\r\nx-sample: {index}\r\n{KEY}: {index}-client\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        sample.provider, sample.path
    );
    socket.write_all(head.as_bytes()).await.map_err(|error| error.to_string())?;
    let messages = messages(&mut socket).await?;
    let found = messages.iter().filter_map(|text| serde_json::from_slice(text).ok()).find_map(|text| canonical(&text));
    match (told.error, found) {
        (None, None) => {
            let passed = sample.transport == Transport::Close
                || messages.iter().any(|text| text.trim_ascii() == sample.recording.trim_ascii());
            if passed { Ok(()) } else { Err("the message did not pass as it was".to_owned()) }
        }
        (None, Some(found)) => Err(format!("explain: untouched; gateway: {found}")),
        (Some(error), None) => Err(format!("explain: {}; gateway: no error", error.code)),
        (Some(error), Some(found)) => {
            let stamp = Stamp {
                request_id: "",
                timestamp: "",
                provider: Some(&sample.provider),
                route: None,
                upstream_body: true,
                docs: None,
            };
            let expected: Value = serde_json::from_slice(&envelope::object(&error, &stamp)).expect("an object");
            let (expected, found) = (bare(expected), bare(found));
            if expected == found { Ok(()) } else { Err(format!("explain: {expected}\n  gateway: {found}")) }
        }
    }
}

/// The text messages that come after the handshake, up to the close.
async fn messages(socket: &mut TcpStream) -> Result<Vec<Vec<u8>>, String> {
    let (mut all, mut messages, mut at) = (Vec::new(), Vec::new(), None);
    loop {
        at = at.or_else(|| Some(all.windows(4).position(|end| end == b"\r\n\r\n")? + 4));
        while let Some(start) = at
            && let Ok(Some((header, length))) = frame::parse(&all[start..], Sender::Server)
        {
            let end = start + length + usize::try_from(header.length).expect("a small frame");
            let Some(payload) = all.get(start + length..end) else { break };
            match header.opcode {
                Opcode::Text | Opcode::Binary => messages.push(payload.to_vec()),
                Opcode::Close => return Ok(messages),
                _ => {}
            }
            at = Some(end);
        }
        let mut part = [0; 4096];
        match socket.read(&mut part).await {
            Ok(0) | Err(_) => return if at.is_some() { Ok(messages) } else { Err("no handshake".to_owned()) },
            Ok(read) => all.extend_from_slice(&part[..read]),
        }
    }
}

async fn compare(address: SocketAddr, index: usize, sample: &Sample) -> Result<(), String> {
    let profile = config::profiles::built_in(&sample.provider).expect("it is built in").expect("it is right");
    let request = (sample.method.as_str(), sample.path.as_str());
    let told = verdict(&profile, sample.transport, Some(request), &sample.recording).await?;
    let (status, headers, body) = ask(address, index, sample).await?;
    let code = headers.get("x-error-code").map(|code| String::from_utf8_lossy(code.as_bytes()).into_owned());
    let Some(error) = told.error else {
        let untouched = code.is_none() && sample.wire.ends_with(&body);
        return if untouched { Ok(()) } else { Err(format!("explain: untouched; gateway: {status} {code:?}")) };
    };
    if told.status.is_some_and(|told| told != status) {
        return Err(format!("explain: status {:?}; gateway: {status}", told.status));
    }
    let stamp = Stamp {
        request_id: "",
        timestamp: "",
        provider: Some(&sample.provider),
        route: None,
        upstream_body: true,
        docs: None,
    };
    let expected: Value = serde_json::from_slice(&envelope::object(&error, &stamp)).expect("an object");
    let found = payloads(&headers, &body)
        .iter()
        .flat_map(|message| objects(message))
        .find_map(|value| canonical(&value))
        .ok_or_else(|| {
            format!(
                "explain: {}; gateway: {status} without an envelope: {}",
                error.code,
                String::from_utf8_lossy(&body)
            )
        })?;
    let (expected, found) = (bare(expected), bare(found));
    if expected == found { Ok(()) } else { Err(format!("explain: {expected}\n  gateway: {found}")) }
}

async fn ask(address: SocketAddr, index: usize, sample: &Sample) -> Result<(u16, http::HeaderMap, Bytes), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let socket = TcpStream::connect(address).await.map_err(|error| text(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.map_err(|error| text(&error))?;
    let driver = tokio::spawn(connection);
    let request = Request::builder()
        .method(sample.method.as_str())
        .uri(format!("/{}{}", sample.provider, sample.path))
        .header("host", "gateway")
        .header("x-sample", index)
        .header(KEY, format!("{index}-caller"))
        .body(Empty::<Bytes>::new())
        .map_err(|error| text(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| text(&error))?;
    let (parts, mut body) = answer.into_parts();
    let mut came = Vec::new();
    // A stream that broke is cut behind the event that says so.
    while let Some(Ok(frame)) = body.frame().await {
        came.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
    }
    driver.abort();
    Ok((parts.status.as_u16(), parts.headers, came.into()))
}

/// The JSON objects of a body, of the lines or of the events in it.
/// The payloads of an event stream; of anything else, the whole of it.
fn payloads(headers: &http::HeaderMap, body: &[u8]) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    let mut rest = body;
    // A message begins with its length.
    while let Some((length, _)) = rest.split_first_chunk().map(|(length, rest)| (u32::from_be_bytes(*length), rest))
        && let Some((bytes, behind)) = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length))
        && let Some(message) = event_stream::Message::read(bytes)
    {
        payloads.push(message.payload.to_vec());
        rest = behind;
    }
    if payloads.is_empty() { vec![Coded::body_of(headers, body).body().to_vec()] } else { payloads }
}

fn objects(body: &[u8]) -> Vec<Value> {
    if let Ok(whole) = serde_json::from_slice(body) {
        return vec![whole];
    }
    let text = String::from_utf8_lossy(body);
    let data = text.lines().map(|line| line.strip_prefix("data:").unwrap_or(line).trim());
    data.filter_map(|data| serde_json::from_str(data).ok()).collect()
}

/// The canonical object in an envelope, an event, or the body of a job, wherever its error member is.
fn canonical(value: &Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key("retryable") && map.contains_key("origin") => Some(value.clone()),
        Value::Object(map) => map.values().find_map(canonical),
        _ => None,
    }
}

/// Without what differs from one call to the next.
fn bare(mut value: Value) -> Value {
    if let Value::Object(map) = &mut value {
        for name in ["request_id", "timestamp", "route"] {
            let _ = map.remove(name);
        }
        // A wait until a date is shorter a moment later.
        if let Some(wait) = map.get_mut("retry_after_seconds") {
            *wait = Value::from(wait.as_f64().unwrap_or_default().round());
        }
    }
    value
}

fn samples() -> Vec<Sample> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut samples = BTreeMap::new();
    for provider in config::built_in_names() {
        for entry in fs::read_dir(root.join(provider)).expect("a folder of samples") {
            let path = entry.expect("an entry").path();
            let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            let transport = match extension {
                "http" => Transport::Http,
                "sse" => Transport::Sse,
                "ndjson" => Transport::Ndjson,
                "ws" | "bin" => Transport::Websocket,
                "close" => Transport::Close,
                _ => continue,
            };
            let name = format!("{provider}/{}", path.file_name().unwrap_or_default().to_string_lossy());
            let recording = fs::read(&path).expect("a sample");
            let first = recording.split(|byte| *byte == b'\n').next().unwrap_or_default();
            if first.starts_with(b"> ") && first.trim_ascii_end().ends_with(b" websocket") {
                continue;
            }
            let _ = samples.insert(name.clone(), sample(name, provider, transport, recording));
        }
    }
    samples.into_values().collect()
}

fn sample(name: String, provider: &str, transport: Transport, mut recording: Vec<u8>) -> Sample {
    if transport == Transport::Close {
        // No more than this fits into a close frame.
        let text = String::from_utf8_lossy(&recording).trim().to_owned();
        let (code, reason) = text.split_once(' ').unwrap_or((&text, ""));
        recording = format!("{code} {}", close::cut_reason(reason)).into_bytes();
    }
    let text = String::from_utf8_lossy(&recording);
    let asked = text.lines().take_while(|line| line.starts_with("> ")).find_map(|line| {
        let mut words = line.trim_start_matches("> ").split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    });
    let (method, path) = asked.unwrap_or_else(|| ("POST".to_owned(), "/v1/anything".to_owned()));
    let wire = match transport {
        Transport::Http => {
            let mut wire: &[u8] = &recording;
            while wire.starts_with(b"> ") {
                let end = wire.iter().position(|byte| *byte == b'\n').map_or(wire.len(), |at| at + 1);
                wire = &wire[end..];
            }
            wire.to_vec()
        }
        Transport::Websocket => {
            let binary = name.ends_with(".bin");
            let opcode = if binary { Opcode::Binary } else { Opcode::Text };
            let message = if binary { &recording } else { recording.trim_ascii() };
            [SWITCHING, &frame::frame(opcode, message, None), &frame::frame(Opcode::Close, b"", None)].concat()
        }
        Transport::Close => {
            let text = String::from_utf8_lossy(&recording).trim().to_owned();
            let (code, reason) = text.split_once(' ').unwrap_or((&text, ""));
            let code: u16 = code.parse().expect("a close code");
            // 1006 is never sent: it stands for a connection that ends without a close.
            let end = if code == 1006 {
                Bytes::new()
            } else {
                frame::frame(Opcode::Close, &close::payload(code, reason), None)
            };
            [SWITCHING, &end].concat()
        }
        Transport::Grpc => recording.clone(),
        Transport::Sse | Transport::Ndjson => {
            let media_type = if transport == Transport::Sse { "text/event-stream" } else { "application/x-ndjson" };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\nconnection: close\r\n\r\n");
            [head.as_bytes(), &recording].concat()
        }
    };
    Sample { name, provider: provider.to_owned(), transport, recording, wire, method, path }
}

#[test]
fn the_code_that_explain_reads_is_that_of_the_envelope() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut read = 0;
    for sample in samples() {
        let profile = config::profiles::built_in(&sample.provider).expect("it is built in").expect("it is right");
        let request = Some((sample.method.as_str(), sample.path.as_str()));
        let told = runtime.block_on(verdict(&profile, sample.transport, request, &sample.recording));
        let told = told.expect("a recording");
        let code = told.error.as_ref().and_then(|error| error.upstream.as_ref()?.code.clone());
        let taken = told.explanation.read.iter().find(|read| read.field == "code" && read.taken);
        let taken = taken.and_then(|read| read.value.as_ref()).map(|value| value.chars().take(512).collect());
        if told.explanation.asked.is_empty() {
            continue;
        }
        assert_eq!(taken, code, "{}", sample.name);
        read += usize::from(code.is_some());
    }
    assert!(read > 200, "only {read} codes");
}
