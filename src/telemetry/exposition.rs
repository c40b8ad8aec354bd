//! The text that Prometheus scrapes (exposition format 0.0.4).

use super::metrics::{Histogram, Metrics, RouteMetrics, STATUSES};
use super::process;
use std::fmt::{Display, Write as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Everything, in the order of the design's table.
#[must_use]
pub fn render(metrics: &Metrics) -> String {
    let routes = metrics.all();
    let mut page = Page(String::with_capacity(16 * 1024));
    page.errors(&routes);
    page.requests(&routes);
    page.process(metrics);
    page.0
}

/// Which histogram of a route.
type Read = fn(&RouteMetrics) -> &Histogram;

/// The text so far.
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            self.0.push(if index == 0 { '{' } else { ',' });
            self.0.push_str(label);
            self.0.push_str("=\"");
            for char in value.chars() {
                match char {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    char => self.0.push(char),
                }
            }
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn errors(&mut self, routes: &[Arc<RouteMetrics>]) {
        let name = "speechgate_errors_total";
        self.family(name, "counter", "Failures by canonical type and code.");
        for route in routes {
            for (code, origin, transport, count) in route.errors() {
                let labels = [
                    ("route", route.route.as_str()),
                    ("provider", route.provider.as_str()),
                    ("type", code.kind().as_str()),
                    ("code", code.as_str()),
                    ("origin", origin.as_str()),
                    ("transport", transport.as_str()),
                ];
                self.sample(name, &labels, count);
            }
        }
        let name = "speechgate_upstream_errors_total";
        self.family(name, "counter", "Failures by the provider's own code and the canonical one that it became.");
        for route in routes {
            for (label, code, count) in route.upstream_errors() {
                let labels = [
                    ("route", route.route.as_str()),
                    ("provider", route.provider.as_str()),
                    ("upstream_code", &label),
                    ("code", code.as_str()),
                ];
                self.sample(name, &labels, count);
            }
        }
        let name = "speechgate_unmapped_errors_total";
        self.family(name, "counter", "Failures whose code the provider's profile does not know.");
        for route in routes.iter().filter(|route| !route.route.is_empty()) {
            self.sample(name, &route_labels(route), route.unmapped.load(Ordering::Relaxed));
        }
    }

    fn requests(&mut self, routes: &[Arc<RouteMetrics>]) {
        let name = "speechgate_requests_total";
        self.family(name, "counter", "Requests by method and by the status that the caller got.");
        for route in routes {
            for (method, status, count) in route.requests() {
                let status = if status + 1 == STATUSES { "other".to_owned() } else { (status + 100).to_string() };
                let labels = [
                    ("route", route.route.as_str()),
                    ("provider", route.provider.as_str()),
                    ("method", method),
                    ("status", &status),
                ];
                self.sample(name, &labels, count);
            }
        }
        let name = "speechgate_requests_in_flight";
        self.family(name, "gauge", "Requests that are being answered, to their last byte.");
        for route in routes.iter().filter(|route| !route.route.is_empty()) {
            let labels = [("route", route.route.as_str())];
            self.sample(name, &labels, route.in_flight.load(Ordering::Relaxed));
        }
        let routed = |route: &&Arc<RouteMetrics>| !route.route.is_empty();
        let families: [(&str, &str, Read, bool); 4] = [
            (
                "speechgate_request_duration_seconds",
                "From a request's head to the last byte of its answer.",
                |route| &route.duration,
                true,
            ),
            (
                "speechgate_upstream_duration_seconds",
                "From the call of the provider to the last byte of its answer.",
                |route| &route.upstream_duration,
                true,
            ),
            (
                "speechgate_time_to_first_byte_seconds",
                "From a request's head to the first byte of its answer's body.",
                |route| &route.time_to_first_byte,
                true,
            ),
            (
                "speechgate_overhead_seconds",
                "What the gateway itself added before it called the provider.",
                |route| &route.overhead,
                false,
            ),
        ];
        for (name, help, histogram, with_provider) in families {
            self.family(name, "histogram", help);
            for route in routes.iter().filter(routed) {
                let labels = route_labels(route);
                let labels = if with_provider { &labels[..] } else { &labels[..1] };
                self.histogram(name, labels, histogram(route));
            }
        }
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let (counts, sum) = histogram.read();
        let bucket = format!("{name}_bucket");
        let mut total = 0;
        for (index, count) in counts.iter().enumerate() {
            total += count;
            let bound = histogram.bounds.get(index).map(|micros| (*micros as f64 / 1e6).to_string());
            let bound = bound.unwrap_or_else(|| "+Inf".to_owned());
            let labels: Vec<(&str, &str)> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.sample(&bucket, &labels, total);
        }
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, total);
    }

    fn process(&mut self, metrics: &Metrics) {
        let name = "speechgate_config_reloads_total";
        self.family(name, "counter", "Reloads of the configuration.");
        for (index, result) in ["failure", "success"].into_iter().enumerate() {
            self.sample(name, &[("result", result)], metrics.reloads[index].load(Ordering::Relaxed));
        }
        let name = "speechgate_config_last_reload_success_timestamp_seconds";
        self.family(name, "gauge", "When the running configuration was loaded, in seconds since 1970.");
        self.sample(name, &[], metrics.last_reload.load(Ordering::Relaxed) as f64 / 1e3);
        let name = "speechgate_access_log_dropped_total";
        self.family(name, "counter", "Lines of the access log that were dropped because its writer could not keep up.");
        self.sample(name, &[], metrics.access_dropped.load(Ordering::Relaxed));
        let name = "speechgate_build_info";
        self.family(name, "gauge", "The running version; always 1.");
        self.sample(name, &[("version", env!("CARGO_PKG_VERSION"))], 1);
        let name = "process_start_time_seconds";
        self.family(name, "gauge", "When the process started, in seconds since 1970.");
        self.sample(name, &[], metrics.started.as_millis() as f64 / 1e3);
        for (name, kind, help, value) in process::read() {
            self.family(name, kind, help);
            self.sample(name, &[], value);
        }
    }
}

fn route_labels(route: &RouteMetrics) -> [(&str, &str); 2] {
    [("route", &route.route), ("provider", &route.provider)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::{Code, Origin};
    use crate::telemetry::metrics::{Times, Transport};
    use http::Method;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn what_was_counted_is_written() {
        let metrics = Metrics::new(UNIX_EPOCH + Duration::from_secs(7));
        let route = metrics.route("tts", "elevenlabs");
        route.error(Code::QuotaExceeded, Origin::Provider, Transport::Http);
        route.error(Code::QuotaExceeded, Origin::Provider, Transport::Http);
        route.error(Code::ClientCancelled, Origin::Client, Transport::Job);
        route.upstream_error(&Arc::from("quota_exceeded"), Code::QuotaExceeded);
        let odd = Method::from_bytes(b"BREW").expect("a token");
        route.request_finished(&Method::POST, 402, &Times { total: Duration::from_millis(3), ..Times::default() });
        route.request_finished(&odd, 999, &Times::default());
        let in_flight = route.request_started();
        let page = render(&metrics);
        drop(in_flight);
        for line in [
            r#"speechgate_errors_total{route="tts",provider="elevenlabs",type="payment_required",code="quota_exceeded",origin="provider",transport="http"} 2"#,
            r#"speechgate_errors_total{route="tts",provider="elevenlabs",type="cancelled",code="client_cancelled",origin="client",transport="job"} 1"#,
            r#"speechgate_upstream_errors_total{route="tts",provider="elevenlabs",upstream_code="quota_exceeded",code="quota_exceeded"} 1"#,
            r#"speechgate_unmapped_errors_total{route="tts",provider="elevenlabs"} 0"#,
            r#"speechgate_requests_total{route="tts",provider="elevenlabs",method="POST",status="402"} 1"#,
            r#"speechgate_requests_total{route="tts",provider="elevenlabs",method="other",status="other"} 1"#,
            r#"speechgate_requests_in_flight{route="tts"} 1"#,
            r#"speechgate_request_duration_seconds_bucket{route="tts",provider="elevenlabs",le="0.0025"} 1"#,
            r#"speechgate_request_duration_seconds_bucket{route="tts",provider="elevenlabs",le="0.005"} 2"#,
            r#"speechgate_request_duration_seconds_count{route="tts",provider="elevenlabs"} 2"#,
            "process_start_time_seconds 7",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\nis not in\n{page}");
        }
        assert!(render(&metrics).contains("speechgate_requests_in_flight{route=\"tts\"} 0"));
    }

    #[test]
    fn labels_are_escaped() {
        let mut page = Page(String::new());
        page.sample("x", &[("a", "q\"b\\c\nd")], 1);
        assert_eq!(page.0, "x{a=\"q\\\"b\\\\c\\nd\"} 1\n");
    }
}
