//! A provider's error: read and classified, and then told.

use crate::Table;
use http::{HeaderMap, HeaderName, HeaderValue};
use speechgate::canon::envelope::{self, Stamp};
use speechgate::canon::{CanonicalError, Evidence, Observed, Phase, resolve};
use speechgate::config::built_in;
use speechgate::render;
use std::time::{Duration, SystemTime};

/// An error that each built-in profile sees often.
const SAMPLES: [(&str, &str); 7] = [
    ("elevenlabs", include_str!("../../tests/corpus/elevenlabs/given-16-rate-limit-exceeded-429.http")),
    ("cartesia", include_str!("../../tests/corpus/cartesia/given-01-concurrency-limited.http")),
    ("breeze", include_str!("../../tests/corpus/breeze/code-generation-concurrency-exceeded.http")),
    ("corti", include_str!("../../tests/corpus/corti/rest-too-many-requests.http")),
    ("zenhire", include_str!("../../tests/corpus/zenhire/code-rate-limit-exceeded.http")),
    ("edge", include_str!("../../tests/corpus/edge/nginx-502.http")),
    ("generic", include_str!("../../tests/corpus/generic/openai-rate-limit.http")),
];

/// An answer as it was recorded.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: &'static [u8],
}

pub(super) fn show(table: &Table) {
    for (provider, sample) in SAMPLES {
        let answer = answer(sample);
        table.over(&format!("classify: {provider}"), answer.body.len(), || classified(provider, &answer));
    }
    let (provider, sample) = SAMPLES[0];
    let answer = answer(sample);
    let error = classified(provider, &answer);
    let stamp = Stamp {
        request_id: "01KAQ8Z6M3W4E0J7T5YV9S2N1C",
        timestamp: "2026-11-21T09:30:00.123Z",
        provider: Some(provider),
        route: Some("tts"),
        upstream_body: true,
        docs: None,
    };
    let bytes = envelope::canonical(&error, &stamp).len();
    table.over("envelope: canonical", bytes, || envelope::canonical(&error, &stamp));
    table.over("envelope: problem details", envelope::problem(&error, &stamp).len(), || {
        envelope::problem(&error, &stamp)
    });
    let profile = built_in(provider).expect("a built-in provider").expect("a profile without problems");
    let native = || envelope::native(&profile, Phase::Http, &error, &stamp);
    table.over("envelope: the provider's own", native().len(), native);
    let response =
        || render::http::response(&error, &stamp, render::http::Form::Canonical, Some(answer.headers.clone()));
    table.over("envelope: whole answer with the provider's header fields", bytes, response);
}

fn classified(provider: &str, answer: &Answer) -> CanonicalError {
    let profile = built_in(provider).expect("a built-in provider").expect("a profile without problems");
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
    let seen = Observed::http(answer.status, &answer.headers, answer.body, now);
    resolve(&profile, &Evidence::new(&seen)).error
}

fn answer(sample: &'static str) -> Answer {
    let (head, body) = sample.split_once("\r\n\r\n").expect("an empty line behind the head");
    let mut lines = head.split("\r\n").skip_while(|line| line.starts_with("> "));
    let status = lines.next().and_then(|line| line.get(9..12)?.parse().ok()).expect("a status line");
    let field = |line: &str| {
        let (name, value) = line.split_once(':').expect("a header field");
        let name: HeaderName = name.parse().expect("a field name");
        (name, HeaderValue::from_str(value.trim()).expect("a field value"))
    };
    Answer { status, headers: lines.map(field).collect(), body: body.as_bytes() }
}
