//! Sends requests to the collector, on a thread with its own runtime, so that a slow collector delays no worker.

use super::metrics::Report;
use crate::config::types::{Timeouts, Upstream};
use crate::proxy::path;
use crate::telemetry::otlp::{Exports, Signal};
use crate::upstream::{Client, Limits, TlsShared, read_capped};
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use http_body_util::Full;
use opentelemetry_http::{HttpClient, HttpError};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as blocking;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

/// How many requests may wait to be sent. Each signal has one at a time.
const WAITING: usize = 4;
/// Timeouts of a request to the collector.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(3),
    response: Duration::from_secs(10),
    idle: Duration::from_secs(10),
    websocket_idle: Duration::from_secs(10),
    total: None,
};
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("speechgate/", env!("CARGO_PKG_VERSION")));

/// A handle to the thread that sends to the collector.
#[derive(Debug)]
pub(super) struct Collector {
    commands: mpsc::Sender<Command>,
    reports: bool,
}

/// What the thread is asked to do.
#[derive(Debug)]
enum Command {
    /// Send spans, and return the response.
    Spans(Bytes, oneshot::Sender<Result<Response<Bytes>, HttpError>>),
    /// Send metrics for the last time, and signal when that is done.
    LastReport(blocking::SyncSender<()>),
}

impl Collector {
    /// Starts the thread, which also sends metrics at their interval.
    pub(super) fn start(upstream: &Upstream, exports: Arc<Exports>, report: Option<Report>) -> io::Result<Collector> {
        let (commands, received) = mpsc::channel(WAITING);
        let reports = report.is_some();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let sender = Sender {
            client: Client::new(Arc::new(TlsShared::new())),
            upstream: Arc::new(upstream.clone()),
            headers: headers(upstream),
            exports,
            health: Arc::default(),
        };
        let thread = std::thread::Builder::new().name("otlp".to_owned());
        drop(thread.spawn(move || runtime.block_on(sender.run(received, report)))?);
        Ok(Collector { commands, reports })
    }

    /// Has the last report sent; the receiver gets a message when that is done. None when metrics are not exported.
    pub(super) fn last_report(&self) -> Option<blocking::Receiver<()>> {
        let (done, waits) = blocking::sync_channel(1);
        let sent = self.reports && self.commands.try_send(Command::LastReport(done)).is_ok();
        sent.then_some(waits)
    }
}

#[async_trait]
impl HttpClient for Collector {
    /// The URL of the SDK's request is ignored: there is one collector.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (reply, response) = oneshot::channel();
        self.commands.send(Command::Spans(request.into_body(), reply)).await?;
        response.await?
    }
}

/// What every request is sent with.
#[derive(Clone, Debug)]
struct Sender {
    client: Client<Full<Bytes>>,
    upstream: Arc<Upstream>,
    headers: HeaderMap,
    exports: Arc<Exports>,
    health: Arc<Health>,
}

impl Sender {
    async fn run(self, mut commands: mpsc::Receiver<Command>, report: Option<Report>) {
        let interval = report.as_ref().map_or(Duration::MAX, Report::interval);
        let report = report.map(Arc::new);
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + interval.min(YEAR), interval.min(YEAR));
        // After a slow report the missed ones are not sent in a burst.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Spans(body, reply)) => {
                        let sender = self.clone();
                        drop(tokio::spawn(async move { drop(reply.send(sender.send(Signal::Traces, body).await)) }));
                    }
                    Some(Command::LastReport(done)) => {
                        let (sender, report) = (self.clone(), report.clone());
                        drop(tokio::spawn(async move {
                            sender.report(report.as_deref()).await;
                            // Fails when it took too long and the receiver is gone.
                            let _ = done.send(());
                        }));
                    }
                    None => return,
                },
                _ = ticks.tick() => {
                    let (sender, report) = (self.clone(), report.clone());
                    drop(tokio::spawn(async move { sender.report(report.as_deref()).await }));
                }
            }
        }
    }

    async fn report(&self, report: Option<&Report>) {
        if let Some(report) = report {
            // `send` has counted and logged the outcome.
            let _ = self.send(Signal::Metrics, report.encode()).await;
        }
    }

    /// Sends one request; counts and logs the outcome.
    async fn send(&self, signal: Signal, body: Bytes) -> Result<Response<Bytes>, HttpError> {
        let outcome = self.exchange(signal, body).await;
        let problem = match &outcome {
            Err(detail) => Some(detail.clone()),
            Ok(answer) if !answer.status().is_success() => Some(format!("it answered {}", answer.status())),
            Ok(_) => None,
        };
        self.exports.sent(signal, problem.is_none());
        self.health.record(&self.upstream, signal, problem.as_deref());
        outcome.map_err(HttpError::from)
    }

    async fn exchange(&self, signal: Signal, body: Bytes) -> Result<Response<Bytes>, String> {
        let target = format!("{}/v1/{}", self.upstream.base_path, signal.as_str());
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target.parse().map_err(|_| "its path is invalid".to_owned())?;
        request.headers_mut().clone_from(&self.headers);
        let sent = self.client.send(&self.upstream, &TIMEOUTS, request).await;
        let (parts, body) = sent.map_err(|failure| failure.detail)?.response.into_parts();
        let read = read_capped(body, parts.headers.get(header::CONTENT_ENCODING), Limits::default()).await;
        Ok(Response::from_parts(parts, read.bytes))
    }
}

/// Longer intervals are treated as disabled.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Whether the collector accepts what it is sent. Only a change is logged.
#[derive(Debug, Default)]
struct Health {
    failing: [AtomicBool; 2],
}

impl Health {
    fn record(&self, upstream: &Upstream, signal: Signal, problem: Option<&str>) {
        let was_failing = self.failing[signal as usize].swap(problem.is_some(), Ordering::Relaxed);
        let (collector, signal) = (upstream.authority.as_str(), signal.as_str());
        match problem {
            Some(detail) if !was_failing => {
                tracing::warn!(collector, signal, detail, "the OpenTelemetry collector does not accept what is sent");
            }
            None if was_failing => tracing::info!(collector, signal, "the OpenTelemetry collector is back"),
            _ => {}
        }
    }
}

/// The headers of every request, with those of `OTEL_EXPORTER_OTLP_HEADERS`: mostly keys of a hosted collector.
fn headers(upstream: &Upstream) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in std::env::var("OTEL_EXPORTER_OTLP_HEADERS").unwrap_or_default().split(',').filter_map(pair) {
        let _ = headers.append(name, value);
    }
    let _ = headers.insert(header::CONTENT_TYPE, PROTOBUF);
    let _ = headers.insert(header::USER_AGENT, USER_AGENT);
    if let Ok(host) = HeaderValue::from_str(upstream.authority.as_str()) {
        let _ = headers.insert(header::HOST, host);
    }
    headers
}

/// `name=value`, the value percent-encoded (OpenTelemetry's specification of the OTLP exporter).
fn pair(text: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = text.split_once('=')?;
    let value = path::decode(value.trim().as_bytes());
    let mut value = HeaderValue::from_bytes(&value).ok()?;
    value.set_sensitive(true);
    Some((name.trim().parse().ok()?, value))
}
