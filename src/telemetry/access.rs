//! The access log: one line for each request, written when it has ended.
//!
//! Lines go to standard output, and everything else that the program logs to standard error: the first is traffic data for log
//! pipelines, the second is for the operator.

mod generation;

pub use generation::GenerationEntry;

use super::fields::{FieldName, Fields, Name, Seconds, names};
use super::sink::Sink;
use crate::canon::{Code, Fault, Origin};
use crate::config::types::{AccessField, LogFormat};
use http::Version;
use http::header::{HeaderMap, HeaderName, USER_AGENT};
use opentelemetry::trace::TraceId;
use std::time::{Duration, SystemTime};

/// Bytes of a line, unless a path or a message is long.
const USUAL: usize = 640;

names! {
    REQUEST_ID = "request_id";
    UPSTREAM_REQUEST_ID = "upstream_request_id";
    TRACE_ID = "trace_id";
    ROUTE = "route";
    PROVIDER = "provider";
    TENANT = "tenant";
    PROTOCOL = "protocol";
    METHOD = "method";
    PATH = "path";
    STATUS = "status";
    TYPE = "type";
    CODE = "code";
    ORIGIN = "origin";
    DETAIL = "detail";
    GRPC_STATUS = "grpc_status";
    UPSTREAM_STATUS = "upstream_status";
    BYTES_IN = "bytes_in";
    BYTES_OUT = "bytes_out";
    DURATION = "duration";
    FIRST_BYTE = "time_to_first_byte";
    UPSTREAM = "upstream_duration";
    QUEUE_WAIT = "queue_wait";
    RETRIES = "retries";
    CLIENT = "client";
}

/// The values of a request's header fields that the configuration wants in the log, by the index of the configured field.
#[derive(Debug, Default)]
pub struct Chosen(Vec<(usize, String)>);

/// Longest value of a header field that is written, in characters.
const LONGEST: usize = 256;

/// The facts of one request. Text from the network may be hostile and is escaped here; ids and route names were validated earlier
/// and are written as they are.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// When the request's head had arrived.
    pub time: SystemTime,
    /// This gateway's id.
    pub request_id: &'a str,
    /// The provider's id.
    pub upstream_request_id: Option<&'a str>,
    /// The trace the request belongs to.
    pub trace_id: Option<TraceId>,
    /// The route's name; empty without a route.
    pub route: &'a str,
    /// The provider's name; empty without a route.
    pub provider: &'a str,
    /// The tenant; none when the gateway has no tenants or the request had no valid key.
    pub tenant: Option<&'a str>,
    /// `HTTP/1.1` and such.
    pub protocol: Version,
    /// The method.
    pub method: &'a str,
    /// Path and query as the client sent them, with secrets replaced by stars.
    pub target: &'a str,
    /// The status that was sent.
    pub status: u16,
    /// The status with which a gRPC call ended.
    pub grpc_status: Option<u16>,
    /// What went wrong, and where it came from.
    pub error: Option<(Code, Origin)>,
    /// What a library says about the failure. It may name addresses, so it goes to this log alone.
    pub detail: Option<&'a str>,
    /// The status that the provider sent.
    pub upstream_status: Option<u16>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the response's body.
    pub bytes_out: u64,
    /// From the request's head to the response's last byte.
    pub duration: Duration,
    /// From the request's head to the first byte of the response's body.
    pub first_byte: Option<Duration>,
    /// From sending the request upstream to the last byte of the provider's response.
    pub upstream: Option<Duration>,
    /// How long the request waited for a slot; none when no wait was needed.
    pub queue_wait: Option<Duration>,
    /// How often the request was sent again.
    pub retries: u32,
    /// The client's address; none on a Unix socket.
    pub client: Option<&'a str>,
    /// Facts that are written only if the configuration asks for them.
    pub further: Further<'a>,
}

/// Facts that are written only if the configuration asks for them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Further<'a> {
    /// The last upstream that the request was sent to, as configured.
    pub upstream: Option<&'a str>,
    /// The code with which a WebSocket was closed.
    pub close_code: Option<u16>,
    /// The header fields of request and response.
    pub headers: Option<&'a Chosen>,
}

impl<'a> Entry<'a> {
    /// The entry of bytes that never became a request: only the sender and the response are known.
    #[must_use]
    pub fn refused(request_id: &'a str, client: Option<&'a str>, fault: Fault) -> Entry<'a> {
        Entry {
            time: SystemTime::now(),
            request_id,
            upstream_request_id: None,
            trace_id: None,
            route: "",
            provider: "",
            tenant: None,
            protocol: Version::HTTP_11,
            method: "",
            target: "",
            status: fault.status(),
            grpc_status: None,
            error: Some((fault.code(), fault.origin())),
            detail: None,
            upstream_status: None,
            bytes_in: 0,
            bytes_out: 0,
            duration: Duration::ZERO,
            first_byte: None,
            upstream: None,
            queue_wait: None,
            retries: 0,
            client,
            further: Further::default(),
        }
    }
}

/// Writes the access log.
#[derive(Debug)]
pub struct AccessLog {
    sink: Sink,
    format: LogFormat,
    /// The share of successful requests that are logged.
    successes: f64,
    /// The fields that the configuration adds to every line, with their names in both formats.
    fields: Vec<(AccessField, FieldName)>,
}

impl AccessLog {
    /// A log that writes every error, and this share of the successes, to `sink`.
    #[must_use]
    pub fn new(sink: Sink, format: LogFormat, successes: f64, fields: &[AccessField]) -> AccessLog {
        let fields = fields.iter().map(|field| (field.clone(), name_of(field))).collect();
        AccessLog { sink, format, successes, fields }
    }

    /// Extracts the configured fields of the request headers.
    #[must_use]
    pub fn of_request(&self, headers: &HeaderMap) -> Chosen {
        let mut chosen = Chosen::default();
        self.choose(&mut chosen, headers, |field| match field {
            AccessField::UserAgent => Some(&USER_AGENT),
            AccessField::Header(name) => Some(name),
            _ => None,
        });
        chosen
    }

    /// Extracts the configured fields of the response headers.
    pub fn of_response(&self, headers: &HeaderMap, chosen: &mut Chosen) {
        self.choose(chosen, headers, |field| match field {
            AccessField::ResponseHeader(name) => Some(name),
            _ => None,
        });
    }

    fn choose<'f>(
        &'f self,
        chosen: &mut Chosen,
        headers: &HeaderMap,
        name: impl Fn(&'f AccessField) -> Option<&'f HeaderName>,
    ) {
        for (at, (field, _)) in self.fields.iter().enumerate() {
            let value = name(field).and_then(|name| headers.get(name));
            if let Some(value) = value {
                let text = String::from_utf8_lossy(value.as_bytes());
                chosen.0.push((at, text.chars().take(LONGEST).collect()));
            }
        }
    }

    /// Whether the next successful request is to be logged.
    #[must_use]
    pub fn wants_success(&self) -> bool {
        self.successes >= 1.0 || fastrand::f64() < self.successes
    }

    /// Writes one line, without ever blocking.
    pub fn write(&self, entry: &Entry<'_>) {
        // The sink counts lines that it has no room for, and warns of them.
        let _ = self.sink.add(|lines| format(entry, self.format, &self.fields, lines));
    }
}

/// Appends the line of one request, line break included.
pub fn format(entry: &Entry<'_>, format: LogFormat, further: &[(AccessField, FieldName)], lines: &mut Vec<u8>) {
    // One reservation that suffices for nearly every line.
    lines.reserve(USUAL);
    match format {
        LogFormat::Json => append::<true>(entry, further, lines),
        LogFormat::Text => append::<false>(entry, further, lines),
    }
}

fn append<const JSON: bool>(entry: &Entry<'_>, further: &[(AccessField, FieldName)], lines: &mut Vec<u8>) {
    let mut fields = Fields::<JSON>::begin(lines, entry.time);
    fields.plain(REQUEST_ID, entry.request_id);
    fields.optional(UPSTREAM_REQUEST_ID, entry.upstream_request_id);
    if let Some(trace) = entry.trace_id {
        fields.hex(TRACE_ID, trace.to_bytes());
    }
    fields.plain(ROUTE, entry.route);
    fields.plain(PROVIDER, entry.provider);
    if let Some(tenant) = entry.tenant {
        fields.plain(TENANT, tenant);
    }
    fields.plain(PROTOCOL, protocol(entry.protocol));
    fields.plain(METHOD, entry.method);
    fields.text(PATH, entry.target);
    fields.number(STATUS, entry.status);
    if let Some(status) = entry.grpc_status {
        fields.number(GRPC_STATUS, status);
    }
    if let Some((code, origin)) = entry.error {
        fields.plain(TYPE, code.kind().as_str());
        fields.plain(CODE, code.as_str());
        fields.plain(ORIGIN, origin.as_str());
    }
    fields.optional(DETAIL, entry.detail);
    fields.optional_number(UPSTREAM_STATUS, entry.upstream_status);
    fields.number(BYTES_IN, entry.bytes_in);
    fields.number(BYTES_OUT, entry.bytes_out);
    fields.number(DURATION, Seconds(entry.duration));
    fields.optional_number(FIRST_BYTE, entry.first_byte.map(Seconds));
    fields.optional_number(UPSTREAM, entry.upstream.map(Seconds));
    fields.optional_number(QUEUE_WAIT, entry.queue_wait.map(Seconds));
    fields.optional_number(RETRIES, Some(entry.retries).filter(|retries| *retries > 0));
    if let Some(client) = entry.client {
        fields.plain(CLIENT, client);
    }
    for (at, (field, name)) in further.iter().enumerate() {
        let Further { upstream, close_code, headers } = entry.further;
        match field {
            AccessField::Upstream => fields.named_text(name, upstream),
            AccessField::CloseCode => fields.named_number(name, close_code),
            AccessField::UserAgent | AccessField::Header(_) | AccessField::ResponseHeader(_) => {
                let value = headers.and_then(|Chosen(values)| values.iter().find(|(place, _)| *place == at));
                fields.named_text(name, value.map(|(_, value)| value.as_str()));
            }
        }
    }
    lines.extend_from_slice(if JSON { b"}\n" } else { b"\n" });
}

fn name_of(field: &AccessField) -> FieldName {
    match field {
        AccessField::Upstream => FieldName::new("upstream"),
        AccessField::UserAgent => FieldName::new("user_agent"),
        AccessField::CloseCode => FieldName::new("close_code"),
        AccessField::Header(name) => FieldName::new(&format!("header.{name}")),
        AccessField::ResponseHeader(name) => FieldName::new(&format!("response_header.{name}")),
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

#[cfg(test)]
mod tests;
