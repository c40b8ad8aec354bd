//! Hands spans to the SDK's exporter: the queue is bounded, and dropped spans are counted.

use super::client::Collector;
use crate::telemetry::otlp::{DropReason, Exports, Signal};
use opentelemetry::Context;
use opentelemetry_http::HttpClient;
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The size of the queue, unless `OTEL_BSP_MAX_QUEUE_SIZE` sets another. The SDK has the same bound, but does not report drops.
const WAITING: usize = 2048;

/// The queue of spans to export.
#[derive(Debug)]
pub(super) struct Spans {
    batches: BatchSpanProcessor,
    most: usize,
    waiting: Arc<AtomicUsize>,
    exports: Arc<Exports>,
}

impl Spans {
    /// Starts the SDK's thread, which batches and encodes spans.
    pub(super) fn start(collector: &Arc<Collector>, resource: &Resource, exports: Arc<Exports>) -> io::Result<Spans> {
        let client = Arc::clone(collector) as Arc<dyn HttpClient>;
        let exporter = OtlpExporter::builder()
            .with_http()
            .with_shared_http_client(client)
            // Required by the SDK, and ignored: `Collector` knows the URL.
            .with_endpoint(format!("http://collector/v1/{}", Signal::Traces.as_str()))
            .build()
            .map_err(io::Error::other)?;
        let most = std::env::var("OTEL_BSP_MAX_QUEUE_SIZE").ok().and_then(|text| text.trim().parse().ok());
        let most = most.filter(|most| *most > 0).unwrap_or(WAITING);
        let waiting = Arc::new(AtomicUsize::new(0));
        let counted = Counted { exporter, waiting: Arc::clone(&waiting), exports: Arc::clone(&exports) };
        let config = BatchConfigBuilder::default().with_max_queue_size(most).build();
        let mut batches = BatchSpanProcessor::new(counted, config);
        batches.set_resource(resource);
        Ok(Spans { batches, most, waiting, exports })
    }

    /// Exports the queued spans and shuts down.
    pub(super) fn end(&self, within: Duration) {
        let ended = self.batches.shutdown_with_timeout(within);
        let left = self.waiting.load(Ordering::Acquire);
        if ended.is_err() && left > 0 {
            tracing::warn!(spans = left, "ended before the OpenTelemetry collector had taken everything");
        }
    }
}

impl SpanProcessor for Spans {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.waiting.fetch_add(1, Ordering::AcqRel) < self.most {
            return self.batches.on_end(span);
        }
        let _ = self.waiting.fetch_sub(1, Ordering::AcqRel);
        self.exports.dropped(1, DropReason::QueueFull);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }
}

/// The SDK's exporter, which also counts the spans that it could not deliver.
#[derive(Debug)]
struct Counted {
    exporter: OtlpExporter,
    waiting: Arc<AtomicUsize>,
    exports: Arc<Exports>,
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let outcome = self.exporter.export(batch).await;
        let _ = self.waiting.fetch_sub(spans, Ordering::AcqRel);
        if outcome.is_err() {
            self.exports.dropped(spans, DropReason::Refused);
        }
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
