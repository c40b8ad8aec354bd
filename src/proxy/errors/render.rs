//! Renders an error in the form that its phase and its route require. Nothing else renders.

use super::Finding;
use crate::canon::envelope::{self, Compatible, Stamp};
use crate::canon::{CanonicalError, Codec, Fault, Phase, Profile};
use crate::config::types::Envelope;
use crate::detect;
use crate::proxy::context::RoutedContext;
use crate::render::grpc::{Form as End, trailers};
use crate::render::http::{self as render, Form};
use crate::telemetry;
use crate::wire::{self, sse};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, VARY};
use http::{Response, StatusCode};
use std::time::SystemTime;

/// A rendered error.
pub(crate) struct Rendered {
    pub(crate) error: CanonicalError,
    /// The status of a response; meaningless in other phases.
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Whether the message is binary.
    pub(crate) binary: bool,
    /// The body, event, line or message; none if the provider's own is left unchanged.
    pub(crate) body: Option<Bytes>,
    /// A second message, because SDKs expect a refusal and do not recognise the provider's own error as one.
    pub(crate) follow_up: Option<Bytes>,
    /// The message again, for the other contexts that end with it.
    others: Vec<Bytes>,
}

impl Rendered {
    fn piece(error: CanonicalError, body: Option<Vec<u8>>) -> Rendered {
        let body = body.map(Bytes::from);
        Rendered {
            error,
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            binary: false,
            body,
            follow_up: None,
            others: Vec::new(),
        }
    }

    /// All messages for the WebSocket.
    pub(crate) fn messages(&mut self) -> Vec<Bytes> {
        self.body.take().into_iter().chain(std::mem::take(&mut self.others)).collect()
    }

    /// The reason in the close frame.
    pub(crate) fn reason(&self) -> String {
        format!("{}: {}", self.error.code, self.error.message)
    }
}

/// Renders an error of a call.
pub(super) fn render(call: &RoutedContext, finding: Finding<'_>) -> Rendered {
    let timestamp = timestamp();
    let stamp = call.stamp(&timestamp);
    let compatible = call.compatible(finding.phase);
    match finding.phase {
        Phase::Http | Phase::Handshake => {
            let form = match compatible {
                Some(profile) => Form::Compatible(profile, finding.evidence),
                None if call.problem || call.form(finding.phase) == Envelope::Problem => Form::Problem,
                None => Form::Canonical,
            };
            let negotiated = compatible.is_none() && call.form(finding.phase) != Envelope::Problem;
            by_who_asks(call, by_accept(negotiated, answer(finding.error, &stamp, form, finding.headers)))
        }
        Phase::Job => job(finding, &stamp, compatible.is_some()),
        Phase::Grpc => {
            let form = if compatible.is_some() { End::Compatible(finding.evidence) } else { End::Canonical };
            ending(finding.error, &stamp, form, finding.headers)
        }
        Phase::Sse | Phase::Ndjson => piece(finding, &stamp, compatible),
        Phase::Frame | Phase::Close | Phase::Abort => {
            let codec = compatible.and_then(|profile| profile.codec(Some(call.request())));
            message(finding, &stamp, compatible, codec)
        }
    }
}

/// Applies the route's settings for the form of errors to a response.
fn by_who_asks(call: &RoutedContext, mut rendered: Rendered) -> Rendered {
    let route = &call.route.config;
    // Most clients can read only the status of a refused handshake.
    if route.envelope.canonical_status || rendered.error.fault == Some(Fault::CredentialTurnedAway) {
        rendered.status = StatusCode::from_u16(rendered.error.status()).unwrap_or(rendered.status);
    }
    if route.envelope.http == Envelope::Auto
        && let Ok(fields) = HeaderValue::try_from(route.profile.client_fields())
    {
        let _ = rendered.headers.append(VARY, fields);
    }
    rendered
}

/// Renders an error without a route.
pub(super) fn bare(error: CanonicalError, stamp: &Stamp<'_>, problem: bool) -> Rendered {
    by_accept(true, answer(error, stamp, if problem { Form::Problem } else { Form::Canonical }, None))
}

/// Adds `Vary` to a response whose form depends on `Accept` (RFC 9110 12.5.5).
fn by_accept(negotiated: bool, mut rendered: Rendered) -> Rendered {
    if negotiated {
        let _ = rendered.headers.append(VARY, HeaderValue::from_static("accept"));
    }
    rendered
}

/// Renders an error without a route as the trailers of a gRPC call, which are its whole response.
pub(super) fn bare_end(error: CanonicalError, stamp: &Stamp<'_>) -> Rendered {
    trailers_only(ending(error, stamp, End::Canonical, None))
}

/// Moves trailers into the head of a response that has nothing else (Trailers-Only).
pub(crate) fn trailers_only(mut rendered: Rendered) -> Rendered {
    let _ = rendered.headers.insert(CONTENT_TYPE, wire::grpc::CONTENT_TYPE);
    rendered
}

fn answer(error: CanonicalError, stamp: &Stamp<'_>, form: Form<'_>, headers: Option<HeaderMap>) -> Rendered {
    let response: Response<Vec<u8>> = render::response(&error, stamp, form, headers);
    let (parts, body) = response.into_parts();
    Rendered { status: parts.status, headers: parts.headers, ..Rendered::piece(error, Some(body)) }
}

/// The trailers of a gRPC call.
fn ending(error: CanonicalError, stamp: &Stamp<'_>, form: End<'_>, received: Option<HeaderMap>) -> Rendered {
    let headers = trailers(&error, stamp, form, received);
    Rendered { headers, ..Rendered::piece(error, None) }
}

/// A success body with the error inserted; the status is kept.
fn job(finding: Finding<'_>, stamp: &Stamp<'_>, compatible: bool) -> Rendered {
    let Finding { error, evidence, member, headers, .. } = finding;
    let tree = evidence.and_then(|evidence| evidence.tree());
    let body = tree.map(|tree| envelope::in_body(tree, member, compatible, &error, stamp));
    // Encoded like the original body, whose head still names the codec; if that is impossible, unchanged.
    let body = body.or_else(|| evidence.map(|evidence| evidence.raw().to_vec()));
    let body = match evidence.and_then(|evidence| evidence.coded).zip(body.as_ref()) {
        Some(((codec, raw), json)) => Some(detect::recode(codec, raw, json).unwrap_or_else(|| raw.to_vec())),
        None => body,
    };
    let mut headers = headers.unwrap_or_default();
    render::describe(&error, &mut headers);
    Rendered { headers, ..Rendered::piece(error, body) }
}

/// A whole event or line.
fn piece(finding: Finding<'_>, stamp: &Stamp<'_>, compatible: Option<&Profile>) -> Rendered {
    let Finding { phase, error, evidence, codec, .. } = finding;
    let json = match (compatible, evidence) {
        (Some(profile), Some(evidence)) => match envelope::compatible(profile, &error, stamp, evidence) {
            Compatible::Json(json) => json,
            Compatible::AsItIs => evidence.raw().to_vec(),
        },
        (Some(profile), None) => envelope::native(profile, phase, &error, stamp),
        (None, _) => {
            let done = (phase == Phase::Sse).then_some(error.done.unwrap_or(true));
            envelope::event(&error, stamp, done)
        }
    };
    let coded = match (evidence.and_then(|evidence| evidence.coded), codec) {
        (Some((codec, raw)), _) => Some(detect::recode(codec, raw, &json)),
        (None, Some(codec)) => Some(detect::encode(codec, &json)),
        (None, None) => None,
    };
    if let Some(coded) = coded {
        return Rendered::piece(error, coded);
    }
    let mut json = String::from_utf8(json).unwrap_or_else(|bad| String::from_utf8_lossy(bad.as_bytes()).into_owned());
    let body = if phase == Phase::Sse {
        // On a compatible route an event keeps its name, or its lack of one.
        let name = match (compatible, evidence) {
            (Some(_), Some(evidence)) => evidence.sse_event,
            _ => Some("error"),
        };
        sse::write_event(name, &json)
    } else {
        json.push('\n');
        Bytes::from(json)
    };
    Rendered { body: Some(body), ..Rendered::piece(error, None) }
}

/// A WebSocket message, if the error was a message or can be reported in no other way: one for each context that ends with it. On
/// a compatible route it uses the codec of the socket; if the codec has no place for it, there is only the close frame.
fn message(finding: Finding<'_>, stamp: &Stamp<'_>, compatible: Option<&Profile>, codec: Option<Codec>) -> Rendered {
    let Finding { phase, mut error, evidence, opening, contexts, .. } = finding;
    let said = evidence.filter(|_| phase == Phase::Frame);
    let encoded = |json: Vec<u8>| match codec.filter(|_| compatible.is_some()) {
        Some(codec) => detect::encode(codec, &json),
        None => Some(json),
    };
    let words = |error: &CanonicalError| match compatible {
        Some(profile) => envelope::native(profile, phase, error, stamp),
        None => envelope::event(error, stamp, error.done),
    };
    let mut contexts = contexts.into_iter();
    if said.is_none() && error.context_id.is_none() {
        error.context_id = contexts.next();
    }
    let other = |id| encoded(words(&CanonicalError { context_id: Some(id), ..error.clone() }));
    let mut others: Vec<Bytes> = contexts.filter_map(other).map(Bytes::from).collect();
    if !others.is_empty() {
        // In a dialect whose last message names no context, it is sent once.
        let first = encoded(words(&error)).map(Bytes::from);
        others.retain(|other| Some(other) != first.as_ref());
        others.dedup();
    }
    let Some(profile) = compatible else {
        let event = words(&error);
        return Rendered { others, ..Rendered::piece(error, Some(event)) };
    };
    match said {
        Some(evidence) => {
            let refusal = opening.then(|| envelope::refusal_after(profile, evidence.body, &error, stamp)).flatten();
            let (json, coded) = (envelope::compatible(profile, &error, stamp, evidence), evidence.coded);
            let body = match (json, coded) {
                (Compatible::Json(json), None) => Some(json),
                (Compatible::Json(json), Some((codec, raw))) => detect::recode(codec, raw, &json),
                (Compatible::AsItIs, _) => None,
            };
            let binary = coded.is_some_and(|(codec, _)| codec.is_binary());
            Rendered { binary, follow_up: refusal.map(Bytes::from), ..Rendered::piece(error, body) }
        }
        None => {
            let refusal = opening.then(|| envelope::refusal(profile, &error, stamp)).flatten();
            let binary = codec.is_some_and(Codec::is_binary);
            let body = encoded(refusal.unwrap_or_else(|| words(&error)));
            Rendered { binary, others, ..Rendered::piece(error, body) }
        }
    }
}

/// RFC 3339, UTC, milliseconds.
fn timestamp() -> String {
    telemetry::timestamp(SystemTime::now())
}
