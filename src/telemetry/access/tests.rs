use super::*;
use std::time::UNIX_EPOCH;

fn entry() -> Entry<'static> {
    Entry {
        time: UNIX_EPOCH + Duration::from_millis(1_795_253_400_123),
        request_id: "01KAQ8Z6M3W4E0J7T5YV9S2N1C",
        upstream_request_id: None,
        trace_id: None,
        route: "tts",
        provider: "cartesia",
        tenant: None,
        protocol: Version::HTTP_11,
        method: "POST",
        target: "/tts/bytes",
        status: 200,
        grpc_status: None,
        error: None,
        detail: None,
        upstream_status: Some(200),
        bytes_in: 12,
        bytes_out: 34_567,
        duration: Duration::from_micros(1_234_567),
        first_byte: None,
        upstream: None,
        queue_wait: None,
        retries: 0,
        client: None,
        further: Further::default(),
    }
}

fn line(entry: &Entry<'_>, as_format: LogFormat) -> String {
    let mut line = Vec::new();
    format(entry, as_format, &[], &mut line);
    String::from_utf8(line).expect("a line is text")
}

#[test]
fn a_success_is_exact() {
    let common = "\"2026-11-21T09:30:00.123Z\"";
    assert_eq!(
        line(&entry(), LogFormat::Json),
        format!(
            "{{\"time\":{common},\"request_id\":\"01KAQ8Z6M3W4E0J7T5YV9S2N1C\",\"route\":\"tts\",\"provider\":\"cartesia\",\
             \"protocol\":\"HTTP/1.1\",\"method\":\"POST\",\"path\":\"/tts/bytes\",\"status\":200,\"upstream_status\":200,\
             \"bytes_in\":12,\"bytes_out\":34567,\"duration\":1.234567}}\n"
        )
    );
    let text = line(&entry(), LogFormat::Text);
    assert!(
        text.starts_with(&format!("time={common} request_id=\"01K")) && text.ends_with(" duration=1.234567\n"),
        "{text}"
    );
}

#[test]
fn an_error_has_all_members_and_is_json() {
    let entry = Entry {
        upstream_request_id: Some("up"),
        trace_id: TraceId::from_hex("0af7651916cd43dd8448eb211c80319c").ok(),
        error: Some((Code::RateLimited, Origin::Provider)),
        first_byte: Some(Duration::from_micros(7)),
        upstream: Some(Duration::from_secs(1)),
        queue_wait: Some(Duration::from_millis(1500)),
        retries: 2,
        client: Some("127.0.0.1:9"),
        ..entry()
    };
    let value: serde_json::Value = serde_json::from_str(&line(&entry, LogFormat::Json)).expect("a line is JSON");
    for (name, expected) in [
        ("code", "\"rate_limited\""),
        ("type", "\"rate_limited\""),
        ("origin", "\"provider\""),
        ("time_to_first_byte", "0.000007"),
        ("upstream_duration", "1.0"),
        ("queue_wait", "1.5"),
        ("retries", "2"),
        ("client", "\"127.0.0.1:9\""),
        ("upstream_request_id", "\"up\""),
        ("trace_id", "\"0af7651916cd43dd8448eb211c80319c\""),
    ] {
        let expected: serde_json::Value = serde_json::from_str(expected).expect("expected is JSON");
        let same = value[name] == expected || value[name].as_f64() == expected.as_f64() && expected.is_number();
        assert!(same, "{name}: {}", value[name]);
    }
}

#[test]
fn what_the_configuration_asks_for_is_written_in_its_order() {
    let name = |name| HeaderName::from_static(name);
    let fields = [
        AccessField::CloseCode,
        AccessField::Header(name("x-tenant")),
        AccessField::Upstream,
        AccessField::ResponseHeader(name("x-region")),
        AccessField::UserAgent,
    ];
    let sink = Sink::start("test", std::io::sink(), 1024, Default::default()).expect("a thread");
    let log = AccessLog::new(sink, LogFormat::Json, 1.0, &fields);
    let mut headers = HeaderMap::new();
    let _ = headers.insert("x-tenant", http::HeaderValue::from_static("a\"b"));
    let _ = headers.insert("user-agent", http::HeaderValue::from_str(&"u".repeat(1000)).expect("a value"));
    let mut chosen = log.of_request(&headers);
    log.of_response(&headers, &mut chosen);
    let further = Further { upstream: Some("https://a.example"), close_code: Some(1000), headers: Some(&chosen) };
    let mut line = Vec::new();
    format(&Entry { further, ..entry() }, LogFormat::Json, &log.fields, &mut line);
    let line = String::from_utf8(line).expect("a line is text");
    let end = format!(
        ",\"close_code\":1000,\"header.x-tenant\":\"a\\\"b\",\"upstream\":\"https://a.example\",\"user_agent\":\"{}\"}}\n",
        "u".repeat(256)
    );
    assert!(line.ends_with(&end), "{line}");
}

#[test]
fn hostile_text_stays_inside_its_string() {
    let hostile = "a\"b\\c\nd\re\u{1b}[31mf\u{9b}g\u{2028}h\u{7f}\u{0}";
    for as_format in [LogFormat::Json, LogFormat::Text] {
        let line = line(&Entry { upstream_request_id: Some(hostile), ..entry() }, as_format);
        assert!(!line.trim_end_matches('\n').contains(|c: char| c.is_control() || c == '\u{2028}'), "{line:?}");
        if as_format == LogFormat::Json {
            let value: serde_json::Value = serde_json::from_str(&line).expect("a line is JSON");
            assert_eq!(value["upstream_request_id"], hostile);
        }
    }
}
