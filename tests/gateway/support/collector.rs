//! An OpenTelemetry collector in the test's hands: it takes OTLP over HTTP, and shows what came.

use super::provider::{Act, Provider, Seen};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Attributes as text.
pub(crate) type Attributes = BTreeMap<String, String>;

/// One export of metrics.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// Who sent it.
    pub(crate) resource: Attributes,
    /// What it says.
    pub(crate) metrics: Vec<Metric>,
}

/// A collector.
pub(crate) struct Collector {
    provider: Provider,
    spans: Vec<Span>,
    reports: Vec<Report>,
    /// The headers and bodies of all requests, as they came.
    raw: Vec<u8>,
}

impl Collector {
    /// Takes everything.
    pub(crate) fn start() -> Collector {
        Collector::that([Act::send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")])
    }

    /// Does this with every request.
    pub(crate) fn that(acts: impl Into<Vec<Act>>) -> Collector {
        let provider = Provider::start();
        provider.always(acts);
        Collector { provider, spans: Vec::new(), reports: Vec::new(), raw: Vec::new() }
    }

    /// The configuration that sends to it.
    pub(crate) fn telemetry(&self, further: &str) -> String {
        let address = self.provider.address();
        format!("log = {{ format = \"json\" }}\notlp = {{ endpoint = \"http://{address}\"{further} }}")
    }

    /// Waits for a span that fits.
    pub(crate) fn span(&mut self, fits: impl Fn(&Span) -> bool) -> Span {
        loop {
            if let Some(found) = self.spans.iter().find(|span| fits(span)) {
                return found.clone();
            }
            self.take_one();
        }
    }

    /// Waits for a report that fits.
    pub(crate) fn report(&mut self, fits: impl Fn(&Report) -> bool) -> Report {
        loop {
            if let Some(found) = self.reports.iter().find(|report| fits(report)) {
                return found.clone();
            }
            self.take_one();
        }
    }

    /// The report after all that have come: it was put together after the last of them.
    pub(crate) fn next_report(&mut self) -> Report {
        let before = self.reports.len();
        while self.reports.len() == before {
            self.take_one();
        }
        self.reports[before].clone()
    }

    /// Every span that has come so far.
    pub(crate) fn spans(&mut self) -> &[Span] {
        for seen in self.provider.take() {
            self.read(&seen);
        }
        &self.spans
    }

    /// Everything that has come so far, as it came.
    pub(crate) fn raw(&mut self) -> String {
        let _ = self.spans();
        String::from_utf8_lossy(&self.raw).into_owned()
    }

    fn take_one(&mut self) {
        let seen = self.provider.one();
        self.read(&seen);
    }

    fn read(&mut self, seen: &Seen) {
        assert_eq!(seen.fields.get("content-type").as_deref(), Some("application/x-protobuf"), "{seen:?}");
        self.raw.extend_from_slice(format!("{:?}", seen.fields).as_bytes());
        self.raw.extend_from_slice(&seen.body);
        match seen.line.as_str() {
            "POST /v1/traces HTTP/1.1" => {
                let request = ExportTraceServiceRequest::decode(&seen.body[..]).expect("spans");
                let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
                self.spans.extend(scopes.flat_map(|scope| scope.spans));
            }
            "POST /v1/metrics HTTP/1.1" => {
                let request = ExportMetricsServiceRequest::decode(&seen.body[..]).expect("metrics");
                for resource in request.resource_metrics {
                    let metrics = resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics).collect();
                    let resource = attributes(&resource.resource.expect("a resource").attributes);
                    self.reports.push(Report { resource, metrics });
                }
            }
            line => panic!("not OTLP: {line}"),
        }
    }
}

/// Attributes as text.
pub(crate) fn attributes(list: &[KeyValue]) -> Attributes {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.clone()) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        other => panic!("{}: {other:?}", pair.key),
    };
    list.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}

/// Bytes of an id as they are written.
pub(crate) fn hex(id: &[u8]) -> String {
    id.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}
