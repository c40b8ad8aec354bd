//! Records completed generations in the metrics, the access log and the trace: counts and times only, never text or audio.

use super::RoutedContext;
use super::followed::Followed;
use crate::canon::GenerationKind;
use crate::canon::generations::GenerationRule;
use crate::generation::{Outcome, Record, Silent};
use crate::proxy::request_body::RequestBody;
use crate::telemetry::access::GenerationEntry;
use http::request;
use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanKind, Status};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

/// The longest id that is shown unchanged.
const ID: usize = 128;

impl RoutedContext {
    /// The request is admitted; its generation will be tracked by this rule.
    pub(crate) fn follows(&mut self, rule: Arc<GenerationRule>, parts: &request::Parts, upload: &mut RequestBody) {
        self.followed = Some(Box::new(Followed::of(rule, self.request(), parts, upload)));
    }

    /// The request is sent; its generation begins.
    pub(crate) fn generation_begins(&mut self) {
        let upstream = self.destination.upstream;
        if let Some(followed) = &mut self.followed {
            followed.begins(self.route.watch(upstream));
        }
    }

    /// The generation ended, with this error or with the one that the call has recorded.
    pub(crate) fn generation_ends(&mut self, code: Option<crate::canon::Code>) {
        let Some(record) = self.followed.as_mut().and_then(|followed| followed.ends(code)) else { return };
        let queued = self.queue_wait().unwrap_or_default();
        self.record_generation(&Record { queued, ..record });
    }

    /// Records a completed generation.
    pub(crate) fn record_generation(&self, record: &Record) {
        let _ = self.used(record);
        let upstream = self.destination.upstream;
        let took = match (record.silent, record.asked) {
            (Some(Silent::Late), Some(asked)) => Some(record.ended.saturating_duration_since(asked)),
            _ => record.provider_time_to_first_audio(),
        };
        // The times of music and sound effects say nothing about speech.
        if let Some(took) = took.filter(|_| record.kind == GenerationKind::Tts) {
            self.route.learns(upstream, took);
        }
        let route = &self.route;
        if !route.config.generations {
            return;
        }
        let first_audio = record.time_to_first_audio();
        route.metrics.generation_ended(record.kind, record.outcome, first_audio, record.longest_gap);
        let id = shown(&record.id);
        if let Some(access) = &self.state.shared.access
            && (record.code.is_some() || access.wants_success())
        {
            access.write_generation(&GenerationEntry {
                time: self.moment(record.began),
                request_id: self.id_text(),
                upstream_request_id: self.upstream.request_id.as_deref(),
                trace_id: self.trace.id(),
                route: &route.config.name,
                provider: &route.config.provider,
                account: (route.config.credentials.len() > 1).then_some(self.destination.account),
                context_id: id.as_deref(),
                record,
            });
        }
        self.export_generation(record, id);
    }

    fn export_generation(&self, record: &Record, id: Option<String>) {
        let Some(trace) = self.trace.record.as_deref() else { return };
        let mut span = self.span(
            Some(&self.route),
            trace,
            trace.context.span.sibling(),
            SpanKind::Internal,
            record.began,
            record.ended,
        );
        span.parent_span_id = trace.session.map_or(trace.context.span.span_id, |(session, _)| session.span_id);
        span.name = format!("generation {}", record.kind.as_str()).into();
        span.attributes.retain(|attribute| attribute.key.as_str() != "error.type");
        let mut add =
            |name: &'static str, value: opentelemetry::Value| span.attributes.push(KeyValue::new(name, value));
        add("speechgate.generation.kind", record.kind.as_str().into());
        add("speechgate.generation.outcome", record.outcome.as_str().into());
        let seconds = [
            ("speechgate.generation.time_to_first_audio", record.time_to_first_audio().map(|time| time.as_secs_f64())),
            ("speechgate.generation.longest_gap", record.longest_gap.map(|time| time.as_secs_f64())),
            ("speechgate.generation.audio_in_seconds", record.audio_in_seconds.filter(|seconds| *seconds > 0.0)),
            ("speechgate.generation.audio_out_seconds", record.audio_out_seconds.filter(|seconds| *seconds > 0.0)),
        ];
        for (name, value) in seconds {
            if let Some(value) = value {
                add(name, value.into());
            }
        }
        if let Some(characters) = record.characters.and_then(|characters| i64::try_from(characters).ok()) {
            add("speechgate.generation.characters", characters.into());
        }
        if let Some(id) = id {
            add("speechgate.generation.context_id", id.into());
        }
        if let Some(model) = record.model.as_deref() {
            add("gen_ai.request.model", model.to_owned().into());
        }
        if let Some(code) = record.code {
            add("error.type", code.as_str().into());
        }
        if let Some(code) = record.code.filter(|_| record.outcome != Outcome::Cancelled) {
            span.status = Status::error(code.row().sentence);
        }
        trace.tracer.export(span);
    }
}

/// An id fit to be shown: the client's own if it is one short word, else a hash of it. Clients choose ids, and may put anything
/// into them.
fn shown(id: &str) -> Option<String> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    match id {
        "" => None,
        id if id.len() <= ID && id.bytes().all(word) => Some(id.to_owned()),
        id => {
            let mut hasher = DefaultHasher::new();
            id.hash(&mut hasher);
            Some(format!("hash:{:016x}", hasher.finish()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_with_words_in_it_is_shown_as_a_hash() {
        assert_eq!(shown(""), None);
        assert_eq!(shown("ctx-1_a.b:c").as_deref(), Some("ctx-1_a.b:c"));
        for id in ["my name is", "Grüße", &"x".repeat(129)] {
            let shown = shown(id).expect("an id");
            assert!(shown.starts_with("hash:") && shown.len() == 21, "{shown}");
        }
    }
}
