//! What is recorded of a request that succeeds costs no allocation, once a route has been used.

use allocation_counter::measure;
use http::{HeaderMap, Method, Version};
use speechgate::config::types::{AccessField, LogFormat};
use speechgate::telemetry::access::{AccessLog, Entry};
use speechgate::telemetry::metrics::{Direction, Initiator, Metrics, Times};
use speechgate::telemetry::sink::Sink;
use speechgate::telemetry::trace::{TraceContext, Tracer};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Fails when `work` allocates, the first time left out.
fn allocates_nothing(what: &str, mut work: impl FnMut()) {
    work();
    let counted = measure(|| (0..1000).for_each(|_| work()));
    assert_eq!(counted.count_total, 0, "{what}: {counted:?}");
}

#[test]
fn counting_a_success_allocates_nothing() {
    let metrics = Metrics::new("0", 2).with_semantic();
    let route = metrics.route("tts", "elevenlabs");
    let times = Times {
        total: Duration::from_millis(20),
        upstream: Some(Duration::from_millis(19)),
        first_byte: Some(Duration::from_millis(12)),
        overhead: Some(Duration::from_micros(30)),
        ..Times::default()
    };
    allocates_nothing("a request", || {
        let in_flight = route.request_started();
        route.request_finished(&Method::POST, 200, &times);
        route.request_seen(&Method::POST, true, 200, None, times.total);
        drop(in_flight);
    });
    allocates_nothing("a WebSocket", || {
        let open = route.websocket_opened();
        route.websocket_passed(Direction::Downstream, 1, 640);
        route.websocket_closed(1000, Initiator::Client);
        drop(open);
    });
}

#[test]
fn deciding_not_to_trace_allocates_nothing() {
    let tracer = Tracer::new(0.0, Arc::new(opentelemetry_sdk::trace::SimpleSpanProcessor::new(Nowhere)));
    let mut headers = HeaderMap::new();
    let _ =
        headers.insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00".parse().expect("fine"));
    let client = headers.get("traceparent").and_then(TraceContext::of);
    allocates_nothing("a trace that begins here", || assert!(!tracer.context(None).sampled));
    allocates_nothing("a client's trace", || assert!(!tracer.context(client).sampled));
}

#[test]
fn a_line_of_the_access_log_allocates_nothing() {
    // One that holds all lines of the test, so that none is dropped and the buffers have their size.
    let sink = Sink::start("test", std::io::sink(), 16 << 20, Arc::default()).expect("a thread");
    let log = AccessLog::new(sink.clone(), LogFormat::Json, 1.0, &[AccessField::Upstream]);
    let entry = Entry {
        time: SystemTime::now(),
        request_id: "01KAQ8Z6M3W4E0J7T5YV9S2N1C",
        route: "tts",
        provider: "elevenlabs",
        protocol: Version::HTTP_11,
        method: "POST",
        target: "/tts/v1/text-to-speech",
        status: 200,
        upstream_status: Some(200),
        ..Entry::refused("", None, speechgate::canon::Fault::Panic)
    };
    // Twice, because the writer swaps two buffers.
    for _ in 0..2 {
        (0..2000).for_each(|_| log.write(&entry));
        let _ = sink.flush();
    }
    allocates_nothing("a line", || log.write(&entry));
}

/// Takes no spans.
#[derive(Debug)]
struct Nowhere;

impl opentelemetry_sdk::trace::SpanExporter for Nowhere {
    async fn export(&self, _: Vec<opentelemetry_sdk::trace::SpanData>) -> opentelemetry_sdk::error::OTelSdkResult {
        Ok(())
    }
}
