//! Silence over HTTP: in bodies, in events and in lines; told while nothing was sent, else cut; tried elsewhere; and the record of each
//! generation, with nothing of what was said in it.

use crate::support::world::{get, post};
use crate::support::{Act, Answer, Gateway, Provider, Settings};
use serde_json::Value;
use std::time::{Duration, Instant};

const LIMITS: &str = "silence = { first_audio = \"600ms\", gap = \"500ms\", empty = true }";
/// How much later than its limit silence may be told.
const LATE: Duration = Duration::from_millis(250);
/// Nobody says this anywhere else.
const SECRET: &str = "xylophone-quartz-zebra";

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nTransfer-Encoding: chunked\r\n\r\n";
const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const LINES: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn text() -> String {
    format!("{{\"text\":\"Say {SECRET}.\",\"model_id\":\"eleven_flash_v2_5\"}}")
}

/// An answer that stays open after these chunks.
fn open(head: &str, chunks: &[&str]) -> Vec<Act> {
    let body: String = chunks.iter().map(|text| chunk(text)).collect();
    vec![Act::send(format!("{head}{body}")), Act::Hang]
}

/// One that ends after them.
fn whole(head: &str, chunks: &[&str]) -> Vec<Act> {
    let body: String = chunks.iter().map(|text| chunk(text)).collect();
    vec![Act::send(format!("{head}{body}0\r\n\r\n"))]
}

fn gateway(profile: &str, provider: &Provider, lines: &str) -> Gateway {
    Gateway::start(&Settings::new().route_to("s", "/s", profile, &format!("http://{}", provider.address()), lines))
}

fn asked(gateway: &Gateway, path: &str, body: &str) -> (Answer, Duration) {
    let began = Instant::now();
    let answer = gateway.client().send(post(path, body)).answer();
    (answer, began.elapsed())
}

fn in_time(name: &str, took: Duration, limit: u64) {
    let limit = Duration::from_millis(limit);
    assert!(took + Duration::from_millis(5) >= limit && took < limit + LATE, "{name} after {took:?}");
}

fn ended(gateway: &Gateway, outcome: &str, count: f64) {
    let labels = [("route", "s"), ("kind", "tts"), ("outcome", outcome)];
    gateway.metric_becomes("speechgate_generations_total", &labels, count);
}

#[test]
fn a_body_that_never_speaks_is_answered_with_an_error() {
    let provider = Provider::start();
    let gateway = gateway("elevenlabs", &provider, LIMITS);
    for (name, acts) in [("no head", vec![Act::Hang]), ("a head alone", open(HEAD, &[]))] {
        provider.next(acts);
        let (answer, took) = asked(&gateway, "/s/v1/text-to-speech/v", &text());
        assert_eq!((answer.status, answer.field("x-error-code").as_str()), (504, "audio_late"), "{name}");
        assert!(answer.text().contains("\"origin\":\"provider\""), "{}", answer.text());
        in_time(name, took, 600);
    }
    ended(&gateway, "silent", 2.0);
    provider.next(whole(HEAD, &[]));
    let (answer, _) = asked(&gateway, "/s/v1/text-to-speech/v", &text());
    assert_eq!((answer.status, answer.field("x-error-code").as_str()), (502, "no_audio"));
    ended(&gateway, "silent", 3.0);
    // Nothing to speak, nothing to miss.
    provider.next(whole(HEAD, &[]));
    assert_eq!(asked(&gateway, "/s/v1/text-to-speech/v", "{\"text\":\" \"}").0.status, 200);
    provider.next(whole(HEAD, &["audio"]));
    assert_eq!(asked(&gateway, "/s/v1/text-to-speech/v", &text()).0.status, 200);
    ended(&gateway, "complete", 2.0);
    // What is no generation may take its time.
    provider.next(vec![Act::send(HEAD), Act::Hang]);
    let mut client = gateway.client();
    let _ = client.send(get("/s/v1/voices"));
    std::thread::sleep(Duration::from_millis(1200));
    client.reset();
}

#[test]
fn audio_that_stops_is_cut() {
    let provider = Provider::start();
    let gateway = gateway("elevenlabs", &provider, LIMITS);
    provider.next(open(HEAD, &["audio", "more"]));
    let (answer, took) = asked(&gateway, "/s/v1/text-to-speech/v/stream", &text());
    assert_eq!((answer.status, answer.text().as_str(), answer.cut.is_some()), (200, "audiomore", true));
    in_time("a stall", took, 500);
    let line = gateway.line(|line| line["code"] == "audio_stalled" && line["event"].is_null());
    assert_eq!(line["status"], 200);
    ended(&gateway, "silent", 1.0);
}

#[test]
fn silent_streams_end_with_an_event_or_a_line() {
    let provider = Provider::start();
    let cartesia = gateway("cartesia", &provider, LIMITS);
    let body = format!(
        "{{\"transcript\":\"Say {SECRET}.\",\"output_format\":{{\"container\":\"raw\",\"encoding\":\"pcm_s16le\",\"sample_rate\":8000}}}}"
    );
    let audio = "event: chunk\ndata: {\"type\":\"chunk\",\"data\":\"AQEBAQEBAQE=\",\"done\":false}\n\n";
    let words = "event: timestamps\ndata: {\"type\":\"timestamps\",\"done\":false}\n\n";
    let done = "event: done\ndata: {\"type\":\"done\",\"done\":true}\n\n";
    // While nothing was sent it is an answer, then an event.
    provider.next(open(EVENTS, &[]));
    let (answer, took) = asked(&cartesia, "/s/tts/sse", &body);
    assert_eq!((answer.status, answer.field("x-error-code").as_str()), (504, "audio_late"));
    in_time("no event", took, 600);
    for (name, acts, code, limit) in [
        ("words alone", open(EVENTS, &[words]), "audio_late", 600),
        ("a stall", open(EVENTS, &[audio, words, audio]), "audio_stalled", 500),
        ("an end without audio", whole(EVENTS, &[words, done]), "no_audio", 0),
    ] {
        provider.next(acts);
        let (answer, took) = asked(&cartesia, "/s/tts/sse", &body);
        let told = answer.text();
        assert!(answer.status == 200 && told.contains("event: error") && told.contains(code), "{name}: {told}");
        assert!(answer.cut.is_some(), "{name}");
        in_time(name, took, limit);
    }
    provider.next(whole(EVENTS, &[words, audio, audio, done]));
    assert!(asked(&cartesia, "/s/tts/sse", &body).0.cut.is_none());
    let line = cartesia.line(|line| line["event"] == "generation" && line["outcome"] == "complete");
    assert_eq!((&line["audio_out_bytes"], &line["audio_out_seconds"]), (&Value::from(16), &Value::from(0.001)));

    let eleven = gateway("elevenlabs", &provider, LIMITS);
    let line = "{\"audio_base64\":\"AQEBAQEBAQE=\"}\n";
    provider.next(open(LINES, &[line, line]));
    let (answer, took) = asked(&eleven, "/s/v1/text-to-speech/v/stream/with-timestamps", &text());
    assert!(answer.text().contains("audio_stalled") && answer.cut.is_some(), "{}", answer.text());
    in_time("a stall of lines", took, 500);
}

#[test]
fn another_upstream_speaks_where_the_first_one_never_does() {
    let (first, second) = (Provider::start(), Provider::start());
    let urls = [&first, &second].map(|provider| format!("http://{}", provider.address()));
    let lines = format!("{LIMITS}\nretry = {{ attempts = 2, on = [\"timeout\", \"upstream\"] }}");
    let gateway = Gateway::start(&Settings::new().over("s", "/s", &urls, &lines));
    for (name, acts, limit) in
        [("no head", vec![Act::Hang], 600), ("a head", open(HEAD, &[]), 600), ("empty", whole(HEAD, &[]), 0)]
    {
        first.next(acts);
        second.next(whole(HEAD, &["audio"]));
        let (answer, took) = asked(&gateway, "/s/v1/text-to-speech/v", &text());
        assert_eq!((answer.status, answer.text().as_str()), (200, "audio"), "{name}");
        in_time(name, took, limit);
    }
    ended(&gateway, "silent", 3.0);
    ended(&gateway, "complete", 3.0);
    assert_eq!(gateway.metric("speechgate_errors_total", &[("route", "s")]), 0.0, "no client saw one");
}

#[test]
fn an_upload_that_takes_its_time_is_no_silence() {
    let provider = Provider::start();
    let gateway = gateway("elevenlabs", &provider, LIMITS);
    provider.next(whole(HEAD, &["audio"]));
    let body = text();
    let head = format!("POST /s/v1/text-to-speech/v HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut client = gateway.client();
    let _ = client.send(head);
    let (start, end) = body.split_at(10);
    let _ = client.send(start);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(client.send(end).answer().status, 200);
    ended(&gateway, "complete", 1.0);
}

#[test]
fn a_record_has_usage_and_no_content() {
    let provider = Provider::start();
    let gateway = gateway("elevenlabs", &provider, "generations = true");
    let audio = "quartz-audio-".repeat(400);
    let head = HEAD.replace("\r\n\r\n", "\r\ncharacter-cost: 17\r\nrequest-id: req-eleven\r\n\r\n");
    provider.next(whole(&head, &[&audio, &audio]));
    let path = "/s/v1/text-to-speech/v?output_format=pcm_16000";
    let answer = gateway.client().send(post(path, &text())).answer();
    assert_eq!(answer.status, 200);
    let line = gateway.line(|line| line["event"] == "generation");
    assert_eq!(line["route"], "s");
    assert_eq!((&line["kind"], &line["outcome"]), (&Value::from("tts"), &Value::from("complete")));
    assert_eq!(line["model"], "eleven_flash_v2_5");
    assert_eq!(line["characters"], format!("Say {SECRET}.").chars().count());
    assert_eq!(line["audio_out_bytes"], 2 * audio.len());
    assert_eq!(line["audio_out_seconds"], 2.0 * audio.len() as f64 / 32_000.0);
    assert_eq!(line["provider_characters"], 17.0);
    assert_eq!(line["request_id"], answer.field("x-request-id"));
    assert!(line["time_to_first_audio"].is_number() && line["duration"].is_number());
    // On every sink: logs, metrics, the status page.
    let pages = ["/metrics", "/", "/status.json", "/config"].map(|path| gateway.admin(path).text());
    for sink in gateway.log().into_iter().chain(pages) {
        for word in [SECRET, "quartz-audio", "quartz"] {
            assert!(!sink.contains(word), "{word} in {sink}");
        }
    }
}

#[test]
fn without_silence_and_records_nothing_is_followed() {
    let provider = Provider::start();
    let gateway = gateway("elevenlabs", &provider, "generations = false");
    provider.next(whole(HEAD, &[]));
    assert_eq!(asked(&gateway, "/s/v1/text-to-speech/v", &text()).0.status, 200);
    assert_eq!(gateway.metric("speechgate_generations_total", &[("route", "s")]), 0.0);
}

/// The chunks one after another, with this time between.
fn paced(head: &str, chunks: &[&str], pause: Duration) -> Vec<Act> {
    let all = chunks.iter().flat_map(|text| [Act::send(chunk(text)), Act::Pause(pause)]);
    [Act::send(head)].into_iter().chain(all).collect()
}

#[test]
fn bytes_without_audio_do_not_put_silence_off() {
    let provider = Provider::start();
    let gateway = gateway("cartesia", &provider, LIMITS);
    let body = format!("{{\"transcript\":\"Say {SECRET}.\"}}");
    let audio = "event: chunk\ndata: {\"type\":\"chunk\",\"data\":\"AQEBAQEBAQE=\",\"done\":false}\n\n";
    let words = "event: timestamps\ndata: {\"type\":\"timestamps\",\"done\":false}\n\n";
    let ping = ": ping\n\n";
    for (name, first, rest, code, limit) in [
        ("comments", ping, ping, "audio_late", 600),
        ("words", words, words, "audio_late", 600),
        ("comments after audio", audio, ping, "audio_stalled", 500),
        ("words after audio", audio, words, "audio_stalled", 500),
    ] {
        let all: Vec<&str> = std::iter::once(first).chain([rest; 40]).collect();
        provider.next(paced(EVENTS, &all, Duration::from_millis(50)));
        let (answer, took) = asked(&gateway, "/s/tts/sse", &body);
        assert!(answer.text().contains(code) && answer.cut.is_some(), "{name}: {}", answer.text());
        in_time(name, took, limit);
    }
    // Audio now and then, and anything between, is none.
    let all: Vec<&str> = [audio, ping, words, ping, audio].into_iter().cycle().take(20).collect();
    provider.next([paced(EVENTS, &all, Duration::from_millis(80)), vec![Act::send("0\r\n\r\n")]].concat());
    let (answer, _) = asked(&gateway, "/s/tts/sse", &body);
    assert!(!answer.text().contains("audio_"), "{}", answer.text());
}

#[test]
fn a_pause_of_the_gateways_own_is_no_silence_of_the_providers() {
    let provider = Provider::start();
    let gateway = gateway("elevenlabs", &provider, LIMITS);
    let all = ["audio"; 30];
    let mut clients: Vec<_> = std::iter::repeat_with(|| {
        provider.next([paced(HEAD, &all, Duration::from_millis(50)), vec![Act::send("0\r\n\r\n")]].concat());
        let mut client = gateway.client();
        let _ = client.send(post("/s/v1/text-to-speech/v", &text()));
        client
    })
    .take(8)
    .collect();
    std::thread::sleep(Duration::from_millis(300));
    gateway.signal("STOP");
    std::thread::sleep(Duration::from_millis(800));
    gateway.signal("CONT");
    for client in &mut clients {
        let answer = client.answer();
        assert!(answer.status == 200 && answer.cut.is_none() && answer.body.len() == 150, "{}", answer.text());
    }
}

#[test]
fn first_audio_excludes_the_time_of_earlier_attempts() {
    let (first, second) = (Provider::start(), Provider::start());
    let urls = [&first, &second].map(|provider| format!("http://{}", provider.address()));
    let lines = "generations = true\nretry = { attempts = 2, on = [\"unavailable\", \"upstream\"] }";
    let gateway = Gateway::start(&Settings::new().over("s", "/s", &urls, lines));
    let refusal = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    first.next(vec![Act::Pause(Duration::from_millis(1500)), Act::send(refusal)]);
    second.next(whole(HEAD, &["audio"]));
    assert_eq!(asked(&gateway, "/s/v1/text-to-speech/v", &text()).0.status, 200);
    let line = gateway.line(|line| line["event"] == "generation" && line["outcome"] == "complete");
    let took = line["provider_time_to_first_audio"].as_f64().expect("a time");
    assert!(took < 1.0, "{line}");
}

#[test]
fn compressed_audio_has_no_duration_and_absurd_figures_are_ignored() {
    let provider = Provider::start();
    let gateway = gateway("elevenlabs", &provider, "generations = true");
    for (field, seconds, figure) in [
        ("Content-Encoding: gzip\r\ncharacter-cost: 1e308", Value::Null, Value::Null),
        ("character-cost: -1", Value::from(0.5), Value::Null),
        ("character-cost: inf", Value::from(0.5), Value::Null),
        ("character-cost: 1e9", Value::from(0.5), Value::from(1e9)),
    ] {
        let head = HEAD.replace("\r\n\r\n", &format!("\r\n{field}\r\nrequest-id: {}\r\n\r\n", field.len()));
        provider.next(whole(&head, &[&"a".repeat(16_000)]));
        let path = "/s/v1/text-to-speech/v?output_format=pcm_16000";
        let id = gateway.client().send(post(path, &text())).answer().field("x-request-id");
        let line = gateway.line(|line| line["event"] == "generation" && line["request_id"] == id.as_str());
        assert_eq!((&line["audio_out_seconds"], &line["provider_characters"]), (&seconds, &figure), "{field}");
    }
}

#[test]
fn music_teaches_nothing_of_how_long_speech_takes() {
    let provider = Provider::start();
    let gateway = gateway("elevenlabs", &provider, "silence = { first_audio = \"auto\" }");
    // More than enough to learn from.
    for _ in 0..60 {
        provider.next(whole(HEAD, &["music"]));
        assert_eq!(asked(&gateway, "/s/v1/music", "{\"prompt\":\"a march\"}").0.status, 200);
    }
    // Longer than the least that is ever waited.
    provider.next([vec![Act::Pause(Duration::from_millis(2300))], whole(HEAD, &["audio"])].concat());
    assert_eq!(asked(&gateway, "/s/v1/text-to-speech/v", &text()).0.status, 200);
}
