//! What is said about failures on a socket: as a message, in a close, in the form of the route. Each is counted once.

use super::frames::Violation;
use crate::canon::{CanonicalError, Evidence, Fault, Observed, Phase};
use crate::proxy::RouteRuntime;
use crate::proxy::context::RoutedContext;
use crate::proxy::errors::{self, Finding, Rendered};
use crate::proxy::limits::Denied;
use bytes::Bytes;
use std::sync::Arc;
use std::time::SystemTime;

/// The errors of one session.
#[derive(Debug)]
pub(super) struct SessionErrors {
    pub(super) call: Box<RoutedContext>,
    route: Arc<RouteRuntime>,
    /// The error that the provider's last message was.
    last_error: Option<LastError>,
    /// Whether the provider has sent anything that is no error.
    begun: bool,
    /// What has to follow the provider's message.
    refusal: Option<Bytes>,
    /// The error that the message was which was just looked at.
    failed: Option<CanonicalError>,
}

#[derive(Debug)]
struct LastError {
    reason: String,
    /// The code to close with when the provider gives none.
    close: u16,
    /// Whether the session ends with it; none when nobody said.
    fatal: Option<bool>,
}

/// What goes to the client before a close, and with it.
#[derive(Debug, Default)]
pub(super) struct CloseMessage {
    /// The error, when it has not been told yet.
    pub(super) message: Option<Bytes>,
    /// The reason that replaces the provider's.
    pub(super) reason: Option<String>,
    /// The code to close with when the provider gave none.
    pub(super) code: u16,
}

impl SessionErrors {
    pub(super) fn new(call: Box<RoutedContext>, route: Arc<RouteRuntime>) -> SessionErrors {
        SessionErrors { call, route, last_error: None, begun: false, refusal: None, failed: None }
    }

    /// What replaces a text message of the provider: nothing when it is no error, or stays as it is.
    pub(super) fn message(&mut self, text: &[u8]) -> Option<Bytes> {
        let said = text;
        let text = self.call.redacted(Bytes::copy_from_slice(said));
        let has_keys = text != said;
        let seen = Observed::frame(&text, SystemTime::now());
        let evidence = Evidence::new(&seen);
        let route = Arc::clone(&self.route);
        let Some(finding) = Finding::detected(&route.config.profile, self.call.request(), &evidence) else {
            self.passed();
            return if has_keys { self.call.without_route_keys(said) } else { None };
        };
        let rendered = errors::report(&mut self.call, finding.opening(!self.begun));
        let reason = rendered.reason();
        let Rendered { error, body, follow_up, .. } = rendered;
        self.last_error = Some(LastError { reason, close: error.code.row().close, fatal: error.fatal });
        (self.failed, self.refusal) = (Some(error), follow_up);
        // What stays as it is has none of the keys in it all the same.
        body.or_else(|| has_keys.then(|| text.clone()))
    }

    /// What is to follow the message that was just looked at: a session that has not begun is refused in words that the
    /// provider's SDK takes for a refusal, or it would wait for ever.
    pub(super) fn refusal(&mut self) -> Option<Bytes> {
        self.refusal.take()
    }

    /// The error that the message was which was just looked at, if it was one.
    pub(super) fn take_failed(&mut self) -> Option<CanonicalError> {
        self.failed.take()
    }

    /// What the client is told when a unit of its socket has no slot. The session goes on.
    pub(super) fn denied(&mut self, denied: Denied, id: &str) -> Bytes {
        let finding = Finding::denied(Phase::Frame, denied).change(|error| {
            (error.fatal, error.done) = (Some(false), Some(true));
            error.context_id = Some(id.to_owned()).filter(|id| !id.is_empty());
        });
        errors::report(&mut self.call, finding).body.unwrap_or_default()
    }

    /// The provider sent something that is no error: a close that follows is not about the last one any more, unless that one
    /// was to end the session.
    pub(super) fn passed(&mut self) {
        self.begun = true;
        if self.last_error.as_ref().is_some_and(|told| told.fatal != Some(true)) {
            self.last_error = None;
        }
    }

    /// What goes to the client with a close of the provider. An error that was just told beats it.
    pub(super) fn close(&mut self, code: Option<u16>, said: &str) -> CloseMessage {
        let code = code.unwrap_or(crate::wire::close::NO_STATUS);
        let reason = self.call.redacted(Bytes::copy_from_slice(said.as_bytes()));
        let has_keys = reason != said;
        let said = String::from_utf8_lossy(&reason);
        let seen = Observed::close(code, &said, SystemTime::now());
        let evidence = Evidence::new(&seen);
        let route = Arc::clone(&self.route);
        let finding = Finding::detected(&route.config.profile, self.call.request(), &evidence);
        if let Some(told) = self.last_error.take_if(|told| finding.is_some() || told.fatal != Some(false)) {
            let reason = self.replaced(told.reason).or_else(|| has_keys.then(|| said.to_string()));
            return CloseMessage { message: None, reason, code };
        }
        let as_it_was = has_keys.then(|| said.to_string());
        let Some(finding) = finding else { return CloseMessage { reason: as_it_was, code, message: None } };
        let rendered = errors::report(&mut self.call, finding.opening(!self.begun));
        CloseMessage { reason: self.replaced(rendered.reason()).or(as_it_was), message: rendered.body, code }
    }

    /// What goes to the client when the connection has failed without the provider's word.
    pub(super) fn failed(
        &mut self,
        fault: Fault,
        detail: Option<String>,
        violation: Option<Violation>,
    ) -> CloseMessage {
        let explains = |told: &mut LastError| match fault {
            Fault::ResponseBodyIncomplete => told.fatal != Some(false),
            Fault::ResponseStalled => told.fatal == Some(true),
            _ => false,
        };
        if let Some(told) = self.last_error.take_if(explains) {
            // The provider's own word on it is out already.
            return CloseMessage { message: None, reason: Some(told.reason), code: told.close };
        }
        let finding = Finding::fault(Phase::Abort, fault).with_detail(detail).opening(!self.begun).change(|error| {
            if let Some(violation) = violation {
                error.message = format!("{} ({})", error.message.trim_end_matches('.'), violation.reason());
            }
        });
        let rendered = errors::report(&mut self.call, finding);
        let (reason, code) = (rendered.reason(), rendered.error.code.row().close);
        CloseMessage { message: rendered.body, reason: Some(reason), code }
    }

    /// The client is not there any more to be told. That it leaves when it was told an error is no further one.
    pub(super) fn unheard(&mut self, fault: Fault) {
        if self.last_error.as_ref().is_none_or(|told| told.fatal == Some(false)) {
            self.call.record(Phase::Frame, &CanonicalError::from_fault(fault), None);
        }
    }

    /// A reason in place of the provider's; on compatible routes SDKs read that one.
    fn replaced(&self, reason: String) -> Option<String> {
        self.call.compatible(Phase::Close).is_none().then_some(reason)
    }
}
