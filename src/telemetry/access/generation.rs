//! The log line of a generation, `"event":"generation"`.

use super::super::fields::{Fields, Name, Seconds, names};
use super::AccessLog;
use crate::config::types::LogFormat;
use crate::generation::Record;
use opentelemetry::trace::TraceId;
use std::time::{Duration, SystemTime};

/// Bytes of a line, usually.
const USUAL: usize = 512;

names! {
    EVENT = "event";
    REQUEST_ID = "request_id";
    UPSTREAM_REQUEST_ID = "upstream_request_id";
    TRACE_ID = "trace_id";
    ROUTE = "route";
    PROVIDER = "provider";
    KIND = "kind";
    OUTCOME = "outcome";
    CODE = "code";
    MODEL = "model";
    ACCOUNT = "account";
    CONTEXT_ID = "context_id";
    QUEUED = "queued";
    FIRST_BYTE = "time_to_first_byte";
    FIRST_AUDIO = "time_to_first_audio";
    PROVIDER_FIRST_AUDIO = "provider_time_to_first_audio";
    LONGEST_GAP = "longest_gap";
    DURATION = "duration";
    CHARACTERS = "characters";
    AUDIO_IN = "audio_in_seconds";
    AUDIO_IN_BYTES = "audio_in_bytes";
    AUDIO_OUT = "audio_out_seconds";
    AUDIO_OUT_BYTES = "audio_out_bytes";
    TOLD_CHARACTERS = "provider_characters";
    TOLD_AUDIO = "provider_audio_seconds";
    TOLD_CREDITS = "provider_credits";
    TOLD_TOKENS = "provider_tokens";
}

/// The facts of one generation.
#[derive(Clone, Debug)]
pub struct GenerationEntry<'a> {
    /// When it began.
    pub time: SystemTime,
    /// This gateway's id of the request or the socket.
    pub request_id: &'a str,
    /// The provider's id.
    pub upstream_request_id: Option<&'a str>,
    /// The trace that the generation belongs to.
    pub trace_id: Option<TraceId>,
    /// The route's name.
    pub route: &'a str,
    /// The provider's name.
    pub provider: &'a str,
    /// The index of the route's credential that was used, if the route has several.
    pub account: Option<usize>,
    /// Its id on the WebSocket.
    pub context_id: Option<&'a str>,
    /// What was measured.
    pub record: &'a Record,
}

impl AccessLog {
    /// Writes the line of a generation, without ever blocking.
    pub fn write_generation(&self, entry: &GenerationEntry<'_>) {
        let _ = self.sink.add(|lines| {
            lines.reserve(USUAL);
            match self.format {
                LogFormat::Json => append::<true>(entry, lines),
                LogFormat::Text => append::<false>(entry, lines),
            }
        });
    }
}

fn append<const JSON: bool>(entry: &GenerationEntry<'_>, lines: &mut Vec<u8>) {
    let record = entry.record;
    let mut fields = Fields::<JSON>::begin(lines, entry.time);
    fields.plain(EVENT, "generation");
    fields.plain(REQUEST_ID, entry.request_id);
    fields.optional(UPSTREAM_REQUEST_ID, entry.upstream_request_id);
    if let Some(trace) = entry.trace_id {
        fields.hex(TRACE_ID, trace.to_bytes());
    }
    fields.plain(ROUTE, entry.route);
    fields.plain(PROVIDER, entry.provider);
    fields.plain(KIND, record.kind.as_str());
    fields.plain(OUTCOME, record.outcome.as_str());
    if let Some(code) = record.code {
        fields.plain(CODE, code.as_str());
    }
    fields.optional(MODEL, record.model.as_deref());
    fields.optional_number(ACCOUNT, entry.account.map(|account| account as u64));
    fields.optional(CONTEXT_ID, entry.context_id);
    fields.optional_number(QUEUED, Some(record.queued).filter(|queued| !queued.is_zero()).map(Seconds));
    let since = |at: Option<std::time::Instant>| at.map(|at| Seconds(at.saturating_duration_since(record.began)));
    fields.optional_number(FIRST_BYTE, since(record.first_byte));
    fields.optional_number(FIRST_AUDIO, since(record.first_audio));
    fields.optional_number(PROVIDER_FIRST_AUDIO, record.provider_time_to_first_audio().map(Seconds));
    fields.optional_number(LONGEST_GAP, record.longest_gap.map(Seconds));
    fields.optional_number(DURATION, since(Some(record.ended)));
    fields.optional_number(CHARACTERS, record.characters);
    let audio = |bytes: u64, seconds: Option<f64>| (bytes > 0).then_some(seconds).flatten().map(of_seconds);
    fields.optional_number(AUDIO_IN, audio(record.audio_in_bytes, record.audio_in_seconds));
    fields.optional_number(AUDIO_IN_BYTES, Some(record.audio_in_bytes).filter(|bytes| *bytes > 0));
    fields.optional_number(AUDIO_OUT, audio(record.audio_out_bytes, record.audio_out_seconds));
    fields.optional_number(AUDIO_OUT_BYTES, Some(record.audio_out_bytes).filter(|bytes| *bytes > 0));
    for (name, value) in record.figures.iter() {
        let name = match name {
            "characters" => TOLD_CHARACTERS,
            "audio_seconds" => TOLD_AUDIO,
            "credits" => TOLD_CREDITS,
            _ => TOLD_TOKENS,
        };
        fields.number(name, of_seconds(value));
    }
    lines.extend_from_slice(if JSON { b"}\n" } else { b"\n" });
}

/// A number with six decimals, as durations have.
fn of_seconds(value: f64) -> Seconds {
    Seconds(Duration::try_from_secs_f64(value).unwrap_or(Duration::MAX))
}
