use super::*;
use std::time::Duration;

const BOUNDS: &[Bound] = &[(1_000_000, "0.001"), (1_000_000_000, "1.0")];

fn written(format: Format) -> String {
    let exemplar = Exemplar {
        trace_id: TraceId::from_bytes([1; 16]),
        span_id: SpanId::from_bytes([2; 8]),
        value: 0.5,
        time: UNIX_EPOCH + Duration::from_millis(1500),
    };
    let mut out = String::new();
    let mut text = Text::new(&mut out, format);
    let _ = Exposition::new(&mut text)
        .family("a_total", Kind::Counter, "What a is.")
        .sample(&[], 1)
        .traced(&[("x", "q\"b\\n\nü"), ("y", "")], 2.5, Some(&exemplar))
        .family("b_seconds", Kind::Histogram, "What b is.")
        .histogram(
            &[("x", "v")],
            &Sizes { bounds: BOUNDS, counts: &[1, 2, 0], sum: 1.25, exemplars: &[None, Some(exemplar)] },
        );
    text.end();
    out
}

#[test]
fn prometheus_text_is_exact() {
    assert_eq!(
        written(Format::Prometheus),
        "# HELP a_total What a is.\n# TYPE a_total counter\na_total 1\na_total{x=\"q\\\"b\\\\n\\nü\",y=\"\"} 2.5\n\
         # HELP b_seconds What b is.\n# TYPE b_seconds histogram\n\
         b_seconds_bucket{x=\"v\",le=\"0.001\"} 1\nb_seconds_bucket{x=\"v\",le=\"1.0\"} 3\n\
         b_seconds_bucket{x=\"v\",le=\"+Inf\"} 3\nb_seconds_sum{x=\"v\"} 1.25\nb_seconds_count{x=\"v\"} 3\n"
    );
}

#[test]
fn open_metrics_is_exact() {
    let ids = "trace_id=\"01010101010101010101010101010101\",span_id=\"0202020202020202\"";
    assert_eq!(
        written(Format::OpenMetrics),
        format!(
            "# HELP a What a is.\n# TYPE a counter\na_total 1\n\
             a_total{{x=\"q\\\"b\\\\n\\nü\",y=\"\"}} 2.5 # {{{ids}}} 0.5 1.500\n\
             # HELP b_seconds What b is.\n# TYPE b_seconds histogram\n# UNIT b_seconds seconds\n\
             b_seconds_bucket{{x=\"v\",le=\"0.001\"}} 1\n\
             b_seconds_bucket{{x=\"v\",le=\"1.0\"}} 3 # {{{ids}}} 0.5 1.500\n\
             b_seconds_bucket{{x=\"v\",le=\"+Inf\"}} 3\nb_seconds_sum{{x=\"v\"}} 1.25\nb_seconds_count{{x=\"v\"}} 3\n# EOF\n"
        )
    );
}

#[test]
fn the_format_is_what_the_scraper_prefers() {
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                      text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    for (accept, format) in [
        (&[][..], Format::Prometheus),
        (&["*/*"], Format::Prometheus),
        (&["text/html, */*;q=0.8"], Format::Prometheus),
        (&[prometheus], Format::OpenMetrics),
        (&["text/plain", "application/openmetrics-text; version=1.0.0"], Format::OpenMetrics),
        (&["Application/OpenMetrics-Text; Version=\"1.0.0\""], Format::OpenMetrics),
        (&["application/openmetrics-text"], Format::OpenMetrics),
        (&["application/openmetrics-text; version=2.0.0"], Format::Prometheus),
        (&["application/openmetrics-text;q=0"], Format::Prometheus),
        (&["application/openmetrics-text;q=0.2, text/plain"], Format::Prometheus),
        (&["application/openmetrics-text;q=x"], Format::Prometheus),
    ] {
        assert_eq!(Format::accepted(accept.iter().copied()), format, "{accept:?}");
    }
}
