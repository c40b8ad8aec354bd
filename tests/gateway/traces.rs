//! Traces and metrics over OTLP: what a request, a stream and a socket become, context in and out, and a collector that is not there.

use crate::support::collector::{Collector, Report, attributes, hex};
use crate::support::provider::Seen;
use crate::support::world::{get_with, json_answer};
use crate::support::{Act, Gateway, Provider, Settings, World};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use speechgate::wire::frame::{Opcode, frame};
use std::collections::BTreeSet;

/// Spans go out as soon as there are some.
const SOON: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "10");
const NEVER: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "3600000");
const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

fn world(collector: &Collector, further: &str, environment: &[(&str, &str)]) -> World {
    let provider = Provider::start();
    let url = format!("http://{}", provider.address());
    let settings = Settings::standard(provider.address())
        .telemetry(&collector.telemetry(further))
        .route_to("events", "/s", "cartesia", &url, "");
    World { gateway: Gateway::start_with(&settings, environment), provider }
}

/// The span of this kind that belongs to the request with this id.
fn span(collector: &mut Collector, kind: SpanKind, request_id: &str) -> Span {
    collector.span(|span| {
        let id = attributes(&span.attributes).remove("speechgate.request_id");
        span.kind == kind as i32 && id.as_deref() == Some(request_id)
    })
}

fn status(span: &Span) -> StatusCode {
    span.status.as_ref().map_or(StatusCode::Unset, |status| status.code())
}

fn has(span: &Span, wanted: &[(&str, &str)]) {
    let all = attributes(&span.attributes);
    for (name, value) in wanted {
        assert_eq!(all.get(*name).map(String::as_str), Some(*value), "{name} in {all:#?}");
    }
}

fn traceparent(seen: &Seen) -> String {
    seen.fields.get("traceparent").unwrap_or_default()
}

#[test]
fn a_success_is_a_server_span_and_a_client_span() {
    let mut collector = Collector::start();
    let world = world(&collector, "", &[SOON]);
    let answer = world.ask(get_with("/p/v1/voices?page=2&token=s3cret", "X-Request-Id: one\r\n"));
    assert_eq!(answer.status, 200);
    let (server, client) =
        (span(&mut collector, SpanKind::Server, "one"), span(&mut collector, SpanKind::Client, "one"));
    has(
        &server,
        &[
            ("http.request.method", "GET"),
            ("http.response.status_code", "200"),
            ("http.route", "/p"),
            ("url.scheme", "http"),
            ("url.path", "/p/v1/voices"),
            ("url.query", "page=2&token=***"),
            ("server.address", "gateway.test"),
            ("client.address", "127.0.0.1"),
            ("network.protocol.version", "1.1"),
            ("http.response.body.size", "2"),
            ("speechgate.route", "plain"),
            ("speechgate.provider", "elevenlabs"),
        ],
    );
    assert_eq!((server.name.as_str(), client.name.as_str()), ("GET /p", "GET"));
    let provider = world.provider.address();
    has(
        &client,
        &[
            ("url.full", &format!("http://{provider}/v1/voices?page=2&token=***")),
            ("server.address", "127.0.0.1"),
            ("server.port", &provider.port().to_string()),
            ("network.peer.address", "127.0.0.1"),
            ("http.response.status_code", "200"),
            ("speechgate.route", "plain"),
        ],
    );
    for span in [&server, &client] {
        assert!(!attributes(&span.attributes).contains_key("error.type") && span.events.is_empty(), "{span:?}");
        assert_eq!(status(span), StatusCode::Unset);
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
    }
    assert!(server.parent_span_id.is_empty());
    assert_eq!((&client.trace_id, &client.parent_span_id), (&server.trace_id, &server.span_id));
    let line = world.gateway.line(|line| line["request_id"] == "one");
    assert_eq!(line["trace_id"], hex(&server.trace_id));
    let seen = world.provider.one();
    assert_eq!(traceparent(&seen), format!("00-{}-{}-01", hex(&client.trace_id), hex(&client.span_id)));
    assert_eq!(seen.fields.get("x-request-id").as_deref(), Some("one"));
    assert!(!collector.raw().contains("s3cret"));
}

#[test]
fn errors_name_their_code_and_the_span_that_failed() {
    let mut collector = Collector::start();
    let world = world(&collector, "", &[SOON]);
    let voice = "{\"detail\":{\"status\":\"voice_not_found\",\"message\":\"No.\"}}";
    let broken = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {\"type\":\"chunk\"}\n\n";
    let (unset, error) = (StatusCode::Unset, StatusCode::Error);
    for (id, target, acts, code, server_status, client_status) in [
        // The first: on a connection that has been used before it would be sent again.
        ("cut", "/p/a", vec![Act::Fin], "upstream_disconnected", error, Some(error)),
        ("voice", "/p/a", vec![Act::send(json_answer(404, "", voice))], "voice_not_found", unset, Some(error)),
        ("busy", "/p/a", vec![Act::send(json_answer(503, "", "{}"))], "unavailable", error, Some(error)),
        ("event", "/s/sse", vec![Act::send(broken), Act::Reset], "upstream_disconnected", error, Some(error)),
        ("lost", "/nowhere", vec![], "route_not_found", unset, None),
    ] {
        if !acts.is_empty() {
            world.provider.next(acts);
        }
        let _ = world.ask(get_with(target, &format!("X-Request-Id: {id}\r\n")));
        let server = span(&mut collector, SpanKind::Server, id);
        has(&server, &[("error.type", code)]);
        assert_eq!(status(&server), server_status, "{id}");
        let [event] = server.events.as_slice() else { panic!("{id}: {:?}", server.events) };
        assert_eq!(event.name, "speechgate.error");
        assert_eq!(attributes(&event.attributes)["error.type"], code);
        if let Some(client_status) = client_status {
            let client = span(&mut collector, SpanKind::Client, id);
            has(&client, &[("error.type", code)]);
            assert_eq!(status(&client), client_status, "{id}");
        }
    }
    let clients = collector.spans().iter().filter(|span| span.kind == SpanKind::Client as i32).count();
    assert_eq!(clients, 4, "what never went to a provider has no span for it");
}

#[test]
fn each_try_has_a_span_of_its_own() {
    let mut collector = Collector::start();
    let provider = Provider::start();
    let settings = Settings::new().telemetry(&collector.telemetry("")).route(
        "tried",
        "/t",
        provider.address(),
        "retry = { attempts = 3, on = [\"unavailable\"], budget = \"100%\" }",
    );
    let world = World { gateway: Gateway::start_with(&settings, &[SOON]), provider };
    for _ in 0..2 {
        world.provider.next([Act::send(json_answer(503, "", "{}"))]);
    }
    assert_eq!(world.ask(get_with("/t/a", "X-Request-Id: tried\r\n")).status, 200);
    let server = span(&mut collector, SpanKind::Server, "tried");
    assert!(!attributes(&server.attributes).contains_key("error.type") && server.events.is_empty(), "{server:?}");
    let sent: Vec<String> = world.provider.take().iter().map(traceparent).collect();
    assert_eq!(sent.len(), 3);
    for (number, sent) in sent.iter().enumerate() {
        let client = collector.span(|span| sent.ends_with(&format!("-{}-01", hex(&span.span_id))));
        assert_eq!((&client.trace_id, &client.parent_span_id), (&server.trace_id, &server.span_id));
        let all = attributes(&client.attributes);
        let resent = (number > 0).then(|| number.to_string());
        assert_eq!(all.get("http.request.resend_count").cloned(), resent);
        let (answer, error) = if number < 2 { ("503", Some("unavailable")) } else { ("200", None) };
        assert_eq!(
            (all["http.response.status_code"].as_str(), all.get("error.type").map(String::as_str)),
            (answer, error)
        );
    }
}

#[test]
fn a_clients_trace_is_continued() {
    let mut collector = Collector::start();
    let world = world(&collector, ", sample_ratio = 0.0", &[SOON]);
    let lines = format!("X-Request-Id: one\r\nTraceparent: {CALLER}\r\nTracestate: a=b,c=d\r\n");
    assert_eq!(world.ask(get_with("/p/a", &lines)).status, 200);
    let (server, client) =
        (span(&mut collector, SpanKind::Server, "one"), span(&mut collector, SpanKind::Client, "one"));
    assert_eq!(hex(&server.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&server.parent_span_id), "b7ad6b7169203331");
    assert_eq!((server.trace_state.as_str(), client.trace_state.as_str()), ("a=b,c=d", "a=b,c=d"));
    let seen = world.provider.one();
    assert_eq!(traceparent(&seen), format!("00-{}-{}-01", hex(&server.trace_id), hex(&client.span_id)));
    assert_eq!(seen.fields.get("tracestate").as_deref(), Some("a=b,c=d"));
}

#[test]
fn unsampled_requests_are_not_recorded_and_keep_their_ids() {
    let mut collector = Collector::start();
    let world = world(&collector, ", sample_ratio = 0.0", &[SOON]);
    // The client's word: not this one.
    assert_eq!(world.ask(get_with("/p/a", &format!("Traceparent: {UNSAMPLED}\r\n"))).status, 200);
    assert_eq!(traceparent(&world.provider.one()), UNSAMPLED);
    // Nobody's word, and no share: an id for the log and the provider all the same.
    assert_eq!(world.ask(get_with("/p/a", "X-Request-Id: begun-here\r\n")).status, 200);
    let sent = traceparent(&world.provider.one());
    let line = world.gateway.line(|line| line["request_id"] == "begun-here");
    assert_eq!(sent.split('-').nth(1), line["trace_id"].as_str());
    assert!(sent.ends_with("-00"), "{sent}");
    // A third one that is recorded comes alone.
    assert_eq!(world.ask(get_with("/p/a", &format!("X-Request-Id: kept\r\nTraceparent: {CALLER}\r\n"))).status, 200);
    let _ = span(&mut collector, SpanKind::Server, "kept");
    let _ = span(&mut collector, SpanKind::Client, "kept");
    assert_eq!(collector.spans().len(), 2);
}

#[test]
fn without_an_exporter_context_passes_through() {
    let world = World::start();
    assert_eq!(world.ask(get_with("/p/a", &format!("Traceparent: {CALLER}\r\nTracestate: a=b\r\n"))).status, 200);
    let seen = world.provider.one();
    assert_eq!((traceparent(&seen).as_str(), seen.fields.get("tracestate").as_deref()), (CALLER, Some("a=b")));
    assert_eq!(world.get("/p/a").status, 200);
    assert!(!world.provider.one().fields.has("traceparent"));
}

/// Agrees to a WebSocket, says `frames`, and waits for the other side to leave.
fn socket(frames: Vec<u8>) -> Provider {
    Provider::with(move |mut conn| {
        if conn.head().is_some() {
            let _ = conn.wire.send(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            );
            let _ = conn.wire.send(&frames);
            conn.finish();
        }
    })
}

#[test]
fn a_websocket_is_a_handshake_and_a_session() {
    let mut collector = Collector::start();
    let close =
        |code: u16, reason: &str| frame(Opcode::Close, &[&code.to_be_bytes()[..], reason.as_bytes()].concat(), None);
    for (id, frames, code, error) in [
        ("fine", close(1000, ""), "1000", None),
        ("full", close(1008, "quota_exceeded"), "1008", Some("quota_exceeded")),
    ] {
        let provider = socket(frames.to_vec());
        let settings = Settings::standard(provider.address()).telemetry(&collector.telemetry(""));
        let gateway = Gateway::start_with(&settings, &[SOON]);
        let mut client = gateway.client();
        let _ = client.send(get_with(
            "/p/live",
            &format!(
                "X-Request-Id: {id}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            ),
        ));
        let (status_code, ..) = client.head().expect("an answer");
        assert_eq!(status_code, 101);
        // The handshake is told while the session lasts.
        let server = span(&mut collector, SpanKind::Server, id);
        let handshake = span(&mut collector, SpanKind::Client, id);
        has(&server, &[("http.response.status_code", "101"), ("http.route", "/p")]);
        assert_eq!(handshake.parent_span_id, server.span_id);
        // What the provider says has come through before the client leaves.
        let _ = client.wire().some().expect("a close");
        client.wire().finish();
        let session = span(&mut collector, SpanKind::Internal, id);
        assert_eq!((&session.parent_span_id, &session.trace_id), (&server.span_id, &server.trace_id));
        assert_eq!(session.name, "websocket plain");
        has(
            &session,
            &[("speechgate.websocket.close_code", code), ("speechgate.websocket.close_initiator", "provider")],
        );
        let told: Vec<String> =
            session.events.iter().map(|event| attributes(&event.attributes)["error.type"].clone()).collect();
        assert_eq!(told, error.into_iter().collect::<Vec<_>>(), "{id}");
        let failed = if error.is_some() { StatusCode::Error } else { StatusCode::Unset };
        assert_eq!((status(&session), status(&server)), (failed, StatusCode::Unset));
        assert!(server.end_time_unix_nano <= session.start_time_unix_nano);
    }
}

#[test]
fn queued_spans_are_sent_at_shutdown() {
    let mut collector = Collector::start();
    let mut world = world(&collector, "", &[NEVER]);
    assert_eq!(world.ask(get_with("/p/a", "X-Request-Id: last\r\n")).status, 200);
    world.gateway.signal("TERM");
    assert!(world.gateway.ended().success());
    let _ = span(&mut collector, SpanKind::Server, "last");
    let report =
        collector.report(|report| report.metrics.iter().any(|metric| metric.name == "speechgate_requests_total"));
    assert_eq!(report.resource["service.name"], "speechgate");
}

#[test]
fn metrics_are_those_of_the_page_and_of_the_conventions() {
    let mut collector = Collector::start();
    let environment = [
        ("OTEL_METRIC_EXPORT_INTERVAL", "100"),
        ("OTEL_SERVICE_NAME", "voice"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=a%20key"),
    ];
    let world = world(&collector, "", &environment);
    let voice = "{\"detail\":{\"status\":\"voice_not_found\",\"message\":\"No.\"}}";
    assert_eq!(world.get("/p/a").status, 200);
    world.provider.next([Act::send(json_answer(404, "", voice))]);
    assert_eq!(world.get("/p/a").status, 404);
    let duration =
        |report: &Report| report.metrics.iter().find(|metric| metric.name == "http.server.request.duration").cloned();
    let points = |report: &Report| match duration(report).and_then(|metric| metric.data) {
        Some(Data::Histogram(histogram)) => histogram.data_points,
        other => panic!("{other:?}"),
    };
    let _ = collector.report(|report| duration(report).is_some() && points(report).len() == 2);
    // While that one was put together the second request may have been ending.
    let report = collector.next_report();
    for (name, value) in [("service.name", "voice"), ("deployment.environment.name", "test")] {
        assert_eq!(report.resource[name], value);
    }
    for point in points(&report) {
        let all = attributes(&point.attributes);
        let failed = all["http.response.status_code"] == "404";
        assert_eq!(all.get("error.type").map(String::as_str), failed.then_some("voice_not_found"));
        assert_eq!((all["http.request.method"].as_str(), all["url.scheme"].as_str(), point.count), ("GET", "http", 1));
    }
    let page = world.gateway.admin("/metrics").text();
    let told: BTreeSet<&str> = report.metrics.iter().map(|metric| metric.name.as_str()).collect();
    // A family without a sample is not told over OTLP.
    let sampled = |name: &&str| page.lines().any(|line| line.starts_with(name) && !line.starts_with('#'));
    let shown = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).filter(sampled);
    let missing: Vec<&str> = shown.filter(|name| !told.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?} of {told:?}");
    let requests = report.metrics.iter().find(|metric| metric.name == "speechgate_requests_total").expect("requests");
    let Some(Data::Sum(sum)) = &requests.data else { panic!("{requests:?}") };
    assert!(sum.is_monotonic && sum.data_points.len() == 2);
    assert_eq!(attributes(&sum.data_points[0].attributes)["route"], "plain");
    assert!(collector.raw().contains("\"x-collector-key\": \"a key\""));
}

#[test]
fn an_unreachable_collector_is_logged_once_and_delays_nothing() {
    for (name, acts) in [
        ("refuses", vec![Act::send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")]),
        ("leaves", vec![Act::Fin]),
    ] {
        let collector = Collector::that(acts);
        let world = world(&collector, "", &[SOON, ("OTEL_EXPORTER_OTLP_TIMEOUT", "1")]);
        for lost in [2.0, 4.0, 6.0] {
            assert_eq!(world.get("/p/a").status, 200, "{name}");
            world.gateway.metric_becomes("speechgate_otlp_dropped_total", &[("reason", "refused")], lost);
        }
        let told = "the OpenTelemetry collector does not accept what is sent";
        let _ = world.gateway.line(|line| line["message"] == told && line["signal"] == "traces");
        let lines = world.gateway.log();
        assert_eq!(lines.iter().filter(|line| line.contains(told)).count(), 1, "{name}: {lines:?}");
    }
}

#[test]
fn spans_that_would_have_to_wait_too_long_are_dropped_and_counted() {
    let collector = Collector::that([Act::Hang]);
    let mut world = world(&collector, "", &[NEVER, ("OTEL_BSP_MAX_QUEUE_SIZE", "4")]);
    for _ in 0..8 {
        assert_eq!(world.get("/p/a").status, 200);
    }
    // Sixteen spans, of which four may wait.
    world.gateway.metric_becomes("speechgate_otlp_dropped_total", &[("reason", "queue_full")], 12.0);
    world.gateway.signal("TERM");
    assert!(world.gateway.ended().success(), "a collector that hangs does not keep the gateway from ending");
    let _ = world.gateway.line(|line| line["message"].as_str().is_some_and(|text| text.starts_with("ended before")));
}
