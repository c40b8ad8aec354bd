//! The failures that the demo shows, before and after normalization.

use crate::simulator::Provider;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// One failure of the tour.
pub(super) struct Case {
    pub(super) provider: Provider,
    /// What it demonstrates.
    pub(super) what: &'static str,
    method: &'static str,
    path: &'static str,
    header: Option<(&'static str, &'static str)>,
}

/// One of each kind of failure.
pub(super) const CASES: [Case; 8] = [
    Case {
        provider: Provider::ElevenLabs,
        what: "out of credits, told with the status of a wrong key",
        method: "POST",
        path: "/v1/text-to-speech/fault-quota_exceeded",
        header: None,
    },
    Case {
        provider: Provider::Cartesia,
        what: "an older API version: plain text, and no code",
        method: "GET",
        path: "/voices/fault-null-401",
        header: Some(("Cartesia-Version", "2024-11-13")),
    },
    Case {
        provider: Provider::Breeze,
        what: "too many requests, and the wait only in a header",
        method: "POST",
        path: "/v1/text-to-speech/fault-rate_limited",
        header: None,
    },
    Case {
        provider: Provider::Corti,
        what: "an expired token: no body at all, everything in one header",
        method: "GET",
        path: "/v2/interactions/fault-invalid_token",
        header: None,
    },
    Case {
        provider: Provider::ZenHire,
        what: "a run that failed, inside a 200",
        method: "GET",
        path: "/api/v1/speech/analyze/fault-STUCK_TIMEOUT",
        header: None,
    },
    Case {
        provider: Provider::OpenAi,
        what: "a quota that is used up, told with the status of a pace that is too fast",
        method: "GET",
        path: "/v1/models/fault-insufficient_quota",
        header: None,
    },
    Case {
        provider: Provider::Google,
        what: "a wrong key, told as an invalid argument",
        method: "GET",
        path: "/v1/voices/fault-API_KEY_INVALID",
        header: None,
    },
    Case {
        provider: Provider::Aws,
        what: "requests that come too fast, told as a bad request",
        method: "GET",
        path: "/v1/voices/fault-ThrottlingException",
        header: None,
    },
];

/// The widest line, in characters.
const WIDTH: usize = 96;
/// How many bytes of a response are read.
const BOUND: usize = 64 * 1024;
/// Everything runs on this machine: whatever takes longer is broken.
const PATIENCE: Duration = Duration::from_secs(5);

impl Case {
    /// The command to paste.
    pub(super) fn curl(&self, gateway: &str) -> String {
        let header = self.header.map(|(name, value)| format!(" -H {name}:{value}")).unwrap_or_default();
        let body = if self.method == "POST" { " -d '{}'" } else { "" };
        format!("curl -si {gateway}/{}{}{header}{body}", self.provider, self.path)
    }
}

/// The provider's response and the gateway's, one line each.
pub(super) async fn compare(direct: &str, gateway: &str, case: &Case) -> [String; 2] {
    let before = ask(direct, case.path, case).await;
    let after = ask(gateway, &format!("/{}{}", case.provider, case.path), case).await;
    let before = before.map_or_else(|problem| problem, |answer| summary(&answer));
    let after = after.map_or_else(|problem| problem, |answer| envelope_summary(&answer));
    [format!("before  {before}"), format!("after   {after}")].map(|line| shortened(&line))
}

/// Sends one request on a connection of its own.
async fn ask(base: &str, path: &str, case: &Case) -> Result<Response<Bytes>, String> {
    let authority = base.trim_start_matches("http://");
    let mut request = Request::builder().method(case.method).uri(path).header("host", authority);
    if let Some((name, value)) = case.header {
        request = request.header(name, value);
    }
    let body = if case.method == "POST" { "{}" } else { "" };
    let request = request.body(Full::<Bytes>::from(body)).map_err(|error| error.to_string())?;
    let answer = async {
        let stream = TcpStream::connect(authority).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let (parts, body) = sender.send_request(request).await.map_err(|error| error.to_string())?.into_parts();
        #[expect(clippy::disallowed_methods, reason = "what is read is limited")]
        let body = Limited::new(body, BOUND).collect().await.map_err(|error| error.to_string())?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    };
    timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err("no answer".to_owned()))
}

/// Summarizes a response; headers that reveal the failure come first.
fn summary(answer: &Response<Bytes>) -> String {
    let header = |name: &str| {
        let value = answer.headers().get(name)?.to_str().ok()?;
        Some(format!("{name}: {value}"))
    };
    let body = String::from_utf8_lossy(answer.body());
    let headers = ["x-error-type", "x-error-code", "www-authenticate", "retry-after"].map(header).into_iter().flatten();
    let parts: Vec<String> =
        headers.chain(std::iter::once(body.trim().to_owned())).filter(|part| !part.is_empty()).collect();
    format!("{}  {}", answer.status().as_u16(), parts.join("  "))
}

/// Summarizes a response by its envelope.
fn envelope_summary(answer: &Response<Bytes>) -> String {
    let json: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let status = answer.status().as_u16();
    let Some(error) = ["gateway_error", "error"].iter().map(|key| &json[*key]).find(|error| error["type"].is_string())
    else {
        // A body that is not JSON has no room for the envelope; the headers have it.
        return summary(answer);
    };
    let fields = ["type", "code", "retryable", "retry_after_seconds"].iter().filter_map(|key| {
        let value = error.get(*key)?;
        Some(format!("{key}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
    });
    format!("{status}  {}", fields.collect::<Vec<_>>().join("  "))
}

/// Cuts a line at the width of the screen.
fn shortened(line: &str) -> String {
    let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.chars().count() <= WIDTH {
        return line;
    }
    line.chars().take(WIDTH - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_to_paste_fit_the_screen() {
        for case in &CASES {
            let line = case.curl("http://127.0.0.1:8080");
            assert!(line.len() <= 97, "{} characters: {line}", line.len());
        }
    }

    #[test]
    fn lines_are_cut_at_a_character() {
        assert_eq!(shortened("a\nb"), "a b");
        let cut = shortened(&"ß".repeat(200));
        assert_eq!((cut.chars().count(), cut.ends_with('…')), (WIDTH, true));
    }

    #[test]
    fn an_envelope_is_summarized_in_a_line() {
        let answer =
            |body: &str| Response::builder().status(429).body(Bytes::from(body.to_owned())).unwrap_or_default();
        let envelope = r#"{"error":{"type":"rate_limited","code":"rate_limited","retryable":true,"retry_after_seconds":3,"message":"m"}}"#;
        assert_eq!(
            envelope_summary(&answer(envelope)),
            "429  type=rate_limited  code=rate_limited  retryable=true  retry_after_seconds=3"
        );
        let compatible =
            r#"{"error":"m","gateway_error":{"type":"not_found","code":"voice_not_found","retryable":false}}"#;
        assert_eq!(envelope_summary(&answer(compatible)), "429  type=not_found  code=voice_not_found  retryable=false");
        assert_eq!(envelope_summary(&answer("nothing known")), "429  nothing known");
    }
}
