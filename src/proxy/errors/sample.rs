//! Redacted samples of errors that no profile knows, for the status page.

use crate::canon::grpc;
use crate::canon::{CanonicalError, Evidence, Phase};
use crate::proxy::context::RoutedContext;
use crate::proxy::context::record::{ID, REQUEST, cut};
use crate::proxy::redact::{is_secret_name, redact_tokens};
use crate::telemetry::journal::Sample;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

/// Most bytes of a body in a sample, characters of one of its strings, and entries of one of its lists.
const BODY: usize = 2048;
const STRING: usize = 300;
const LIST: usize = 5;
/// Most header fields in a sample, and characters of one.
const FIELDS: usize = 24;
const FIELD: usize = 200;

/// Keeps a sample of an error that no profile knows.
pub(super) fn keep(call: &RoutedContext, error: &CanonicalError, evidence: &Evidence<'_>) {
    if !error.unmapped {
        return;
    }
    let code = error.upstream.as_ref().and_then(|upstream| upstream.code.as_deref()).unwrap_or_default();
    let (code, (route, provider), at) = (cut(code, ID), call.names(), SystemTime::now());
    call.state.shared.journal.unmapped(&Arc::clone(&route), &code.clone(), at, || {
        let path = cut(&format!("{} {}", call.method, call.provider_path()), REQUEST);
        let (transport, text) = recording(evidence, &path);
        Sample {
            route,
            provider,
            upstream_code: code,
            code: error.code,
            first: at,
            last: at,
            count: 1,
            text,
            transport,
            path,
        }
    });
}

/// The recorded observation in the format that `speechgate explain` reads, and its transport.
fn recording(seen: &Evidence<'_>, request: &str) -> (&'static str, String) {
    let body = shown_body(seen);
    match seen.phase {
        Phase::Http | Phase::Handshake | Phase::Job | Phase::Abort => {
            let status = seen.status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::OK);
            let upgrade = if seen.phase == Phase::Handshake { " websocket" } else { "" };
            let mut text = format!("> {}{upgrade}\nHTTP/1.1 {status}\n", plain(request).replace('\n', " "));
            for (name, value) in fields(seen.headers) {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{name}: {value}");
            }
            ("http", format!("{text}\n{body}"))
        }
        Phase::Sse => {
            let event = seen.sse_event.map(|event| format!("event: {}\n", plain(event).replace('\n', " ")));
            ("sse", format!("{}data: {}\n", event.unwrap_or_default(), body.replace('\n', "\ndata: ")))
        }
        Phase::Ndjson => ("ndjson", body),
        Phase::Frame => ("websocket", body),
        Phase::Grpc => {
            let status = seen.grpc.map_or(0, grpc::Status::number);
            let message = plain(&redact_tokens(seen.grpc.map_or("", grpc::Status::message)));
            let (message, _) = grpc::percent_encoded(&message, BODY);
            let own = [grpc::STATUS, grpc::MESSAGE, grpc::DETAILS];
            let others = fields(seen.headers).filter(|(name, _)| !own.iter().any(|own| own.as_str() == *name));
            let others: String = others.map(|(name, value)| format!("{name}: {value}\n")).collect();
            ("grpc", format!("grpc-status: {status}\ngrpc-message: {message}\n{others}"))
        }
        Phase::Close => {
            let reason = plain(&redact_tokens(seen.ws_reason.unwrap_or_default())).replace('\n', " ");
            ("close", format!("{} {reason}", seen.ws_code.unwrap_or_default()))
        }
    }
}

/// Header fields that may help to understand an error, without secrets.
fn fields(headers: &HeaderMap) -> impl Iterator<Item = (&str, String)> {
    let tells = |name: &str| {
        let of_errors = ["error", "limit", "retry", "request-id", "trace"].iter().any(|part| name.contains(part));
        let known = matches!(name, "content-type" | "www-authenticate" | "server") || name.starts_with("x-");
        (known || of_errors) && !name.contains("cookie") && !is_secret_name(name)
    };
    let telling = headers.iter().filter(move |(name, _)| tells(name.as_str())).take(FIELDS);
    telling.map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        (name.as_str(), cut(&plain(&redact_tokens(&value)).replace('\n', " "), FIELD))
    })
}

fn shown_body(seen: &Evidence<'_>) -> String {
    let text = match seen.tree() {
        Some(tree) => {
            let mut tree = tree.to_value();
            trim(&mut tree);
            tree.to_string()
        }
        None if seen.body.contains(&0) => String::new(),
        None => String::from_utf8_lossy(seen.body).into_owned(),
    };
    let text = plain(&redact_tokens(&text));
    let mut end = text.len().min(BODY);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// Redacts secret members, and truncates long strings and lists.
fn trim(tree: &mut Value) {
    match tree {
        Value::Object(map) => {
            for (name, value) in map {
                if is_secret_name(name) && (value.is_string() || value.is_number()) {
                    *value = Value::from("***");
                }
                trim(value);
            }
        }
        Value::Array(list) => {
            list.truncate(LIST);
            list.iter_mut().for_each(trim);
        }
        Value::String(text) => *text = cut(text, STRING),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Without control characters that a terminal interprets, or that reorder text: samples are pasted into shells.
fn plain(text: &str) -> String {
    let obeyed = |char: char| char.is_control() && !matches!(char, '\n' | '\t');
    let reorders =
        |char: char| matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let text = text.replace("\r\n", "\n");
    text.chars().map(|char| if obeyed(char) || reorders(char) { char::REPLACEMENT_CHARACTER } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::Observed;
    use http::HeaderValue;

    fn shown(phase: Phase, change: impl FnOnce(&mut Observed<'_>), body: &[u8]) -> (&'static str, String) {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", "application/json"),
            ("x-request-id", "r-1"),
            ("x-session-token", "abc"),
            ("set-cookie", "a=b"),
            ("x-secret-key", "abc"),
            ("date", "today"),
            ("x-odd", "sk_live_51H8abcdEfgh1234"),
        ] {
            let _ = headers.insert(name, HeaderValue::from_static(value));
        }
        let mut seen = Observed::http(418, &headers, body, SystemTime::UNIX_EPOCH);
        seen.phase = phase;
        change(&mut seen);
        recording(&Evidence::new(&seen), "GET /v1/x")
    }

    #[test]
    fn an_answer_is_shown_as_explain_reads_it() {
        let (transport, text) =
            shown(Phase::Http, |_| (), b"{\"code\":\"odd\",\"api_key\":\"abc\",\"list\":[1,2,3,4,5,6]}");
        assert_eq!(transport, "http");
        assert_eq!(
            text,
            "> GET /v1/x\nHTTP/1.1 418 I'm a teapot\ncontent-type: application/json\nx-request-id: r-1\nx-odd: ***\n\n\
             {\"code\":\"odd\",\"api_key\":\"***\",\"list\":[1,2,3,4,5]}"
        );
    }

    #[test]
    fn other_transports_have_their_own_form() {
        let event = |seen: &mut Observed<'_>| seen.sse_event = Some("odd\nname");
        assert_eq!(shown(Phase::Sse, event, b"a\nb"), ("sse", "event: odd name\ndata: a\ndata: b\n".to_owned()));
        let close = |seen: &mut Observed<'_>| (seen.ws_code, seen.ws_reason) = (Some(4000), Some("gone\u{202e}"));
        assert_eq!(shown(Phase::Close, close, b""), ("close", "4000 gone\u{fffd}".to_owned()));
    }

    #[test]
    fn a_sample_has_no_terminal_escapes() {
        let (_, text) = shown(Phase::Frame, |_| (), b"a\x1b[201~\r\nb\r\x07\xff");
        assert_eq!(text, "a\u{fffd}[201~\nb\u{fffd}\u{fffd}\u{fffd}");
        let long = "é".repeat(BODY);
        assert!(shown(Phase::Frame, |_| (), long.as_bytes()).1.len() <= BODY);
    }
}
