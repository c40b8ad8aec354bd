//! One pipeline for errors of all phases: detected, recorded and rendered.
//!
//! | file | what is in it |
//! |---|---|
//! | `render` | form and phase to bytes |
//! | `said` | what a provider said, decoded |
//! | `sample` | redacted samples of what no profile knows |
//! | `early` | before there is a route, and panics |
//!
//! [`crate::detect`] decides whether what was observed is an error; `speechgate explain` and the corpus test call it too.
//! `context::record` records and counts. The response is built in the layer above: errors only make bytes.

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

/// Something that went wrong, and what is known of it.
pub(crate) struct Finding<'e> {
    phase: Phase,
    error: CanonicalError,
    /// The provider's own error, where it sent one and it is still needed.
    evidence: Option<&'e Evidence<'e>>,
    /// The member of a success body that held the error.
    member: Option<&'e Path>,
    /// The codec of the stream that it is told in, where that is not text.
    codec: Option<Codec>,
    /// Nothing of a WebSocket session but this has come from the provider: SDKs wait for a refusal.
    opening: bool,
    /// The units of a socket that end with it: each is told, as clients wait for each.
    contexts: Vec<String>,
    /// For the log alone.
    detail: Option<String>,
    /// The limit that refused.
    limit: Option<Limit>,
    /// Header fields that the answer has already.
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

/// Records a response that was cut after its head had gone out; the cut itself is the client's notice.
pub(crate) fn broken_off(call: &mut RoutedContext, failure: &Failure) -> Fault {
    let fault = whose(failure);
    call.record(call.phase, &CanonicalError::from_fault(fault), Some(failure.detail.clone()));
    fault
}

/// What a provider's failing answer to this call means.
pub(crate) fn classify(call: &RoutedContext, status: u16, headers: &HeaderMap, read: &Capped) -> CanonicalError {
    let said = Said::of(call, headers, read);
    if said.is_not_grpc(call, status) {
        return CanonicalError::from_fault(Fault::NotGrpc);
    }
    let seen = said.observed(call, status, headers, read);
    meaning(call, &Evidence::new(&seen))
}

/// What a provider's failure means.
pub(crate) fn meaning(call: &RoutedContext, evidence: &Evidence<'_>) -> CanonicalError {
    // A provider that is told the client's deadline says so when it has passed.
    if evidence.grpc.is_some_and(|status| status.number() == grpc::DEADLINE_EXCEEDED) && call.is_overdue(DEADLINE_SLACK)
    {
        return CanonicalError::from_fault(Fault::DeadlinePassed);
    }
    let found = detect::detect(&call.route.config.profile, Some(call.request()), evidence);
    found.map_or_else(|| CanonicalError::from_fault(Fault::Panic), |found| found.error)
}

/// A request body that failed on the client's side is the client's fault, whatever the upstream call made of it.
pub(crate) fn whose(failure: &Failure) -> Fault {
    let client = failure.request_body.as_ref().and_then(|error| error.downcast_ref::<ClientFault>());
    client.map_or(failure.fault, |client| client.0)
}

impl<'e> Finding<'e> {
    /// An error that is known, found in this phase.
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

    /// What a provider said, if that is an error.
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

    /// A call that brought no answer, or whose answer broke off.
    pub(crate) fn failure(phase: Phase, failure: Failure) -> Finding<'e> {
        let fault = whose(&failure);
        let limit = (fault == Fault::RateExceeded).then_some(Limit::Rate);
        Finding { limit, detail: Some(failure.detail), ..Finding::fault(phase, fault) }
    }

    /// A request that is refused by a limit.
    pub(crate) fn denied(phase: Phase, denied: Denied) -> Finding<'e> {
        match denied {
            Denied::Fault(fault) => Finding::fault(phase, fault),
            Denied::Limit(refusal) => {
                let Refusal { limit, error, headers } = *refusal;
                Finding { limit: Some(limit), headers: Some(headers), ..Finding::of(phase, error) }
            }
        }
    }

    /// Nobody whom this gateway serves has shown its key.
    pub(crate) fn unauthenticated(phase: Phase, fault: Fault) -> Finding<'e> {
        let mut headers = HeaderMap::new();
        if fault.code().kind() == Type::Authentication {
            // Every 401 has it (RFC 9110 11.6.1).
            let _ = headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"speechgate\""));
        }
        Finding { limit: Some(Limit::Authentication), headers: Some(headers), ..Finding::fault(phase, fault) }
    }

    /// Every circuit of the route is open, for this long.
    pub(crate) fn circuit_open(phase: Phase, wait: Duration) -> Finding<'e> {
        let error = CanonicalError { retry_after: Some(wait), ..CanonicalError::from_fault(Fault::CircuitOpen) };
        Finding { limit: Some(Limit::Circuit), ..Finding::of(phase, error) }
    }

    /// Adds the provider's own error.
    pub(crate) fn said(self, evidence: Option<&'e Evidence<'e>>) -> Finding<'e> {
        Finding { evidence, ..self }
    }

    /// In this codec.
    pub(crate) fn coded(self, codec: Option<Codec>) -> Finding<'e> {
        Finding { codec, ..self }
    }

    /// With the header fields that its answer has already.
    pub(crate) fn with_headers(self, headers: HeaderMap) -> Finding<'e> {
        Finding { headers: Some(headers), ..self }
    }

    /// Adds a detail for the log.
    pub(crate) fn with_detail(self, detail: Option<String>) -> Finding<'e> {
        Finding { detail, ..self }
    }

    /// Sets whether it is all that a WebSocket session has brought so far.
    pub(crate) fn opening(self, opening: bool) -> Finding<'e> {
        Finding { opening, ..self }
    }

    /// With the units of the socket that end with it.
    pub(crate) fn for_contexts(self, contexts: Vec<String>) -> Finding<'e> {
        Finding { contexts, ..self }
    }

    /// A part of a socket or stream failed, the rest of which goes on or not.
    pub(crate) fn change(mut self, change: impl FnOnce(&mut CanonicalError)) -> Finding<'e> {
        change(&mut self.error);
        self
    }
}

/// How much earlier than here a provider may take a client's deadline for past.
const DEADLINE_SLACK: Duration = Duration::from_millis(20);
