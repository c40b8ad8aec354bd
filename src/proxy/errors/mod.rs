//! The error pipeline for all phases: detect, record, render.
//!
//! | file | what is in it |
//! |---|---|
//! | `render` | form and phase to bytes |
//! | `said` | decodes what a provider sent |
//! | `sample` | redacted samples of errors that no profile knows |
//! | `early` | errors before routing, and panics |
//!
//! [`crate::detect`] decides whether an observation is an error; `speechgate explain` and the corpus test call it too.
//! `context::record` records and counts. Responses are built in the layer above; this module only makes bytes.

mod early;
mod render;
mod said;
mod sample;

pub(crate) use early::{panicked, refuse, unrouted};
pub(crate) use render::{Rendered, trailers_only};
pub(crate) use said::{Said, read_status};

use super::context::RoutedContext;
use super::limits::{Denied, Refusal};
use super::request_body::ClientFault;
use crate::canon::{CanonicalError, Codec, Evidence, Fault, Path, Phase, Profile, Type, grpc};
use crate::detect::{self, Detected};
use crate::telemetry::metrics::Limit;
use crate::upstream::{Capped, Failure};
use http::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use std::time::Duration;

/// An error, and the facts needed to record and render it.
pub(crate) struct Finding<'e> {
    phase: Phase,
    error: CanonicalError,
    /// The provider's own error, if it sent one and rendering needs it.
    evidence: Option<&'e Evidence<'e>>,
    /// The member of a success body that held the error.
    member: Option<&'e Path>,
    /// The codec of the stream, unless it is text.
    codec: Option<Codec>,
    /// Whether this is the first thing that the provider sent in a WebSocket session; SDKs expect a refusal then.
    opening: bool,
    /// The contexts of a WebSocket that end with this error. Each gets a message, because clients wait for each.
    contexts: Vec<String>,
    /// A detail for the log only.
    detail: Option<String>,
    /// The limit that rejected the request.
    limit: Option<Limit>,
    /// Header fields of the response that are known already.
    headers: Option<HeaderMap>,
}

/// Records an error and renders it, once.
pub(crate) fn report(call: &mut RoutedContext, mut finding: Finding<'_>) -> Rendered {
    if let Some(limit) = finding.limit {
        call.limited(limit);
    }
    if finding.error.fault == Some(Fault::TotalTimeout) && call.deadline.is_some() && call.deadline == call.end {
        finding.error = CanonicalError::from_fault(Fault::DeadlinePassed);
    }
    if let Some(evidence) = finding.evidence {
        sample::keep(call, &finding.error, evidence);
    }
    call.record(finding.phase, &finding.error, finding.detail.take());
    let rendered = render::render(call, finding);
    if call.phase == Phase::Grpc {
        call.grpc_status = grpc::number(&rendered.headers);
    }
    rendered
}

/// Records that a response broke off after its head was sent; the client notices by the cut.
pub(crate) fn broken_off(call: &mut RoutedContext, failure: &Failure) -> Fault {
    let fault = whose(failure);
    call.record(call.phase, &CanonicalError::from_fault(fault), Some(failure.detail.clone()));
    fault
}

/// What a failed response to this call means.
pub(crate) fn classify(call: &RoutedContext, status: u16, headers: &HeaderMap, read: &Capped) -> CanonicalError {
    let said = Said::of(call, headers, read);
    if said.is_not_grpc(call, status) {
        return CanonicalError::from_fault(Fault::NotGrpc);
    }
    let seen = said.observed(call, status, headers, read);
    meaning(call, &Evidence::new(&seen))
}

/// What a failure of the provider means.
pub(crate) fn meaning(call: &RoutedContext, evidence: &Evidence<'_>) -> CanonicalError {
    // A provider that knows the client's deadline may itself report that it has passed.
    if evidence.grpc.is_some_and(|status| status.number() == grpc::DEADLINE_EXCEEDED) && call.is_overdue(DEADLINE_SLACK)
    {
        return CanonicalError::from_fault(Fault::DeadlinePassed);
    }
    let found = detect::detect(&call.route.config.profile, Some(call.request()), evidence);
    found.map_or_else(|| CanonicalError::from_fault(Fault::Panic), |found| found.error)
}

/// A request body that failed on the client's side is the client's fault, whatever the upstream call reported.
pub(crate) fn whose(failure: &Failure) -> Fault {
    let client = failure.request_body.as_ref().and_then(|error| error.downcast_ref::<ClientFault>());
    client.map_or(failure.fault, |client| client.0)
}

impl<'e> Finding<'e> {
    /// A known error in this phase.
    pub(crate) fn of(phase: Phase, error: CanonicalError) -> Finding<'e> {
        Finding {
            phase,
            error,
            evidence: None,
            member: None,
            codec: None,
            opening: false,
            contexts: Vec::new(),
            detail: None,
            limit: None,
            headers: None,
        }
    }

    /// An observation, if it is an error.
    pub(crate) fn detected(
        profile: &'e Profile,
        request: (&str, &str),
        evidence: &'e Evidence<'e>,
    ) -> Option<Finding<'e>> {
        let Detected { error, detector, .. } = detect::detect(profile, Some(request), evidence)?;
        let member = detector.and_then(|detector| detector.member.as_ref());
        Some(Finding { member, ..Finding::of(evidence.phase, error).said(Some(evidence)) })
    }

    /// A failure without a provider's error.
    pub(crate) fn fault(phase: Phase, fault: Fault) -> Finding<'e> {
        Finding::of(phase, CanonicalError::from_fault(fault))
    }

    /// A call without a response, or whose response broke off.
    pub(crate) fn failure(phase: Phase, failure: Failure) -> Finding<'e> {
        let fault = whose(&failure);
        let limit = (fault == Fault::RateExceeded).then_some(Limit::Rate);
        Finding { limit, detail: Some(failure.detail), ..Finding::fault(phase, fault) }
    }

    /// A request that a limit rejected.
    pub(crate) fn denied(phase: Phase, denied: Denied) -> Finding<'e> {
        match denied {
            Denied::Fault(fault) => Finding::fault(phase, fault),
            Denied::Limit(refusal) => {
                let Refusal { limit, error, headers } = *refusal;
                Finding { limit: Some(limit), headers: Some(headers), ..Finding::of(phase, error) }
            }
        }
    }

    /// A request without a valid gateway key.
    pub(crate) fn unauthenticated(phase: Phase, fault: Fault) -> Finding<'e> {
        let mut headers = HeaderMap::new();
        if fault.code().kind() == Type::Authentication {
            // A 401 must have this field (RFC 9110 11.6.1).
            let _ = headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"speechgate\""));
        }
        Finding { limit: Some(Limit::Authentication), headers: Some(headers), ..Finding::fault(phase, fault) }
    }

    /// All circuits of the route are open, for this long.
    pub(crate) fn circuit_open(phase: Phase, wait: Duration) -> Finding<'e> {
        let error = CanonicalError { retry_after: Some(wait), ..CanonicalError::from_fault(Fault::CircuitOpen) };
        Finding { limit: Some(Limit::Circuit), ..Finding::of(phase, error) }
    }

    /// Adds the provider's own error.
    pub(crate) fn said(self, evidence: Option<&'e Evidence<'e>>) -> Finding<'e> {
        Finding { evidence, ..self }
    }

    /// Sets the codec of the stream.
    pub(crate) fn coded(self, codec: Option<Codec>) -> Finding<'e> {
        Finding { codec, ..self }
    }

    /// Adds header fields of the response that are known already.
    pub(crate) fn with_headers(self, headers: HeaderMap) -> Finding<'e> {
        Finding { headers: Some(headers), ..self }
    }

    /// Adds a detail for the log.
    pub(crate) fn with_detail(self, detail: Option<String>) -> Finding<'e> {
        Finding { detail, ..self }
    }

    /// Sets whether this is the first thing in a WebSocket session.
    pub(crate) fn opening(self, opening: bool) -> Finding<'e> {
        Finding { opening, ..self }
    }

    /// Sets the contexts of the WebSocket that end with it.
    pub(crate) fn for_contexts(self, contexts: Vec<String>) -> Finding<'e> {
        Finding { contexts, ..self }
    }

    /// Changes the error before it is reported.
    pub(crate) fn change(mut self, change: impl FnOnce(&mut CanonicalError)) -> Finding<'e> {
        change(&mut self.error);
        self
    }
}

/// How much earlier than the gateway a provider may consider the client's deadline passed.
const DEADLINE_SLACK: Duration = Duration::from_millis(20);
