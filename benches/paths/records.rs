//! What is recorded of a request: its metrics, its line in the access log; and what a scrape costs.

use crate::Table;
use http::{Method, Version};
use speechgate::canon::{Code, Fault, Origin};
use speechgate::config::types::LogFormat;
use speechgate::telemetry::access::{Entry, Further, format};
use speechgate::telemetry::exposition::Format;
use speechgate::telemetry::metrics::{Metrics, RouteMetrics, Times, Transport};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Most series of the metrics that are scraped; there are about as many.
const SERIES: usize = 1000;

pub(super) fn show(table: &Table) {
    let metrics = Metrics::new("0", 1);
    let route = metrics.route("tts", "elevenlabs");
    table.step("metrics: a request", || request(&route));
    let label = Arc::from("too_many_concurrent_requests");
    table.step("metrics: an error of a provider", || {
        route.error(Code::ConcurrencyLimited, Origin::Provider, Transport::Http);
        route.upstream_error(&label, Code::ConcurrencyLimited);
    });
    let metrics = with_series();
    let mut text = String::new();
    for (name, format) in [("Prometheus", Format::Prometheus), ("OpenMetrics", Format::OpenMetrics)] {
        metrics.render(format, &mut text);
        let bytes = text.len();
        table.over(&format!("metrics: exposition of {} series, {name}", series(&text)), bytes, || {
            text.clear();
            metrics.render(format, &mut text);
        });
        text.clear();
    }
    for (name, form) in [("JSON", LogFormat::Json), ("text", LogFormat::Text)] {
        let mut lines = Vec::new();
        format(&entry(), form, &[], &mut lines);
        table.over(&format!("access log: a line, {name}"), lines.len(), || {
            lines.clear();
            format(&entry(), form, &[], &mut lines);
        });
    }
}

/// One request that ended well.
fn request(route: &Arc<RouteMetrics>) {
    let in_flight = route.request_started();
    let times = Times {
        total: Duration::from_millis(230),
        upstream: Some(Duration::from_millis(229)),
        first_byte: Some(Duration::from_millis(110)),
        overhead: Some(Duration::from_micros(30)),
        span: None,
    };
    route.request_finished(&Method::POST, 200, &times);
    drop(in_flight);
}

/// Metrics of as many routes as have so many series.
fn with_series() -> Metrics {
    let metrics = Metrics::new("0", 2);
    let mut text = String::new();
    for number in 0.. {
        request(&metrics.route(&format!("route-{number}"), "elevenlabs"));
        text.clear();
        metrics.render(Format::Prometheus, &mut text);
        if series(&text) >= SERIES {
            break;
        }
    }
    metrics
}

fn series(text: &str) -> usize {
    text.lines().filter(|line| !line.starts_with('#')).count()
}

fn entry() -> Entry<'static> {
    Entry {
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_253_400_123),
        request_id: "01KAQ8Z6M3W4E0J7T5YV9S2N1C",
        route: "tts",
        provider: "elevenlabs",
        protocol: Version::HTTP_11,
        method: "POST",
        target: "/tts/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM/stream?output_format=mp3_44100_128",
        status: 200,
        error: None,
        upstream_status: Some(200),
        bytes_in: 312,
        bytes_out: 81_344,
        duration: Duration::from_micros(230_123),
        first_byte: Some(Duration::from_micros(110_456)),
        upstream: Some(Duration::from_micros(229_789)),
        queue_wait: Some(Duration::ZERO),
        client: Some("127.0.0.1:45678"),
        further: Further::default(),
        ..Entry::refused("", None, Fault::Panic)
    }
}
