//! Errors of a WebSocket session: rendered as a message and in a close frame, in the form of the route. Each is counted once.

use super::frames::Violation;
use crate::canon::{CanonicalError, Code, Codec, Evidence, Fault, Observed, Phase, Stream};
use crate::detect::{self, Coded};
use crate::generation::Silent;
use crate::proxy::RouteRuntime;
use crate::proxy::context::RoutedContext;
use crate::proxy::errors::{self, Finding, Rendered};
use crate::proxy::limits::Denied;
use crate::upstream::Capped;
use crate::wire::frame::Opcode;
use bytes::Bytes;
use http::response;
use std::sync::Arc;
use std::time::SystemTime;

/// The errors of one session.
#[derive(Debug)]
pub(super) struct SessionErrors {
    pub(super) call: Box<RoutedContext>,
    route: Arc<RouteRuntime>,
    /// The error in the provider's last message, if that was one.
    last_error: Option<LastError>,
    /// The codec of the provider's messages.
    codec: Option<Codec>,
    /// Whether the provider has sent anything that is not an error.
    begun: bool,
    /// What the provider says last, where that is known, until it has said it.
    last: Option<Arc<Stream>>,
    /// Whether the client has said anything.
    asked: bool,
    /// A refusal to send after the provider's message.
    refusal: Option<OwnMessage>,
    /// The error in the message that was just inspected.
    failed: Option<CanonicalError>,
}

#[derive(Debug)]
struct LastError {
    reason: String,
    /// The code to close with when the provider gives none.
    close: u16,
    /// Whether it ends the session; none when neither the provider nor the profile says.
    fatal: Option<bool>,
    /// Whether it concerned only a part of the session.
    partial: bool,
}

/// The messages for a generation that was silent.
#[derive(Debug)]
pub(super) struct SilenceMessage {
    pub(super) message: Option<OwnMessage>,
    /// The close frame, if the session ends with it.
    pub(super) closing: Option<CloseMessage>,
}

/// A message of the gateway's own.
#[derive(Debug)]
pub(super) struct OwnMessage {
    pub(super) opcode: Opcode,
    pub(super) payload: Bytes,
}

impl OwnMessage {
    fn of(rendered: &mut Rendered) -> Option<OwnMessage> {
        OwnMessage::all(rendered).into_iter().next()
    }

    /// One message for each context that ends with the error.
    fn all(rendered: &mut Rendered) -> Vec<OwnMessage> {
        let opcode = if rendered.binary { Opcode::Binary } else { Opcode::Text };
        rendered.messages().into_iter().map(|payload| OwnMessage { opcode, payload }).collect()
    }

    /// A message of the provider with its body replaced.
    fn again(message: &Coded<'_>, body: &Bytes) -> Option<OwnMessage> {
        let opcode = if message.is_binary() { Opcode::Binary } else { Opcode::Text };
        message.with_body(body).map(|payload| OwnMessage { opcode, payload: Bytes::from(payload) })
    }
}

/// The last messages to the client, and its close frame.
#[derive(Debug, Default)]
pub(super) struct CloseMessage {
    /// The error, if the client has not been sent it yet: once for each context that ends with it, or once for the socket.
    pub(super) messages: Vec<OwnMessage>,
    /// The reason that replaces the provider's.
    pub(super) reason: Option<String>,
    /// The code to close with when the provider gave none.
    pub(super) code: u16,
}

impl SessionErrors {
    pub(super) fn new(call: Box<RoutedContext>, route: Arc<RouteRuntime>) -> SessionErrors {
        let (profile, (method, path)) = (&route.config.profile, call.request());
        let codec = profile.codec(Some((method, path)));
        let last = profile.stream(Phase::Frame, method, path).cloned();
        SessionErrors {
            call,
            route,
            last_error: None,
            codec,
            begun: false,
            last,
            asked: false,
            refusal: None,
            failed: None,
        }
    }

    /// What the provider says last, where that is known and has not been said.
    pub(super) fn last(&self) -> Option<Arc<Stream>> {
        self.last.clone()
    }

    /// The client has said something.
    pub(super) fn asked(&mut self) {
        self.asked = true;
    }

    /// Whether a close in order comes in the middle of something: the provider had begun to answer, and has neither said its last word nor
    /// an error.
    pub(super) fn is_cut(&self, code: Option<u16>) -> bool {
        let in_order = matches!(code, None | Some(crate::wire::close::NORMAL));
        let told = self.last_error.as_ref().is_some_and(|told| told.fatal != Some(false));
        in_order && self.last.is_some() && self.begun && self.asked && !told
    }

    /// The codec of the provider's messages.
    pub(super) fn codec(&self) -> Option<Codec> {
        self.codec
    }

    /// The replacement for a message of the provider's; none when it is not an error, or is left unchanged.
    pub(super) fn message(&mut self, message: &Coded<'_>) -> Option<OwnMessage> {
        if let Some(cleaned) = message.with_fields(|value| self.call.cleaned(value)) {
            let opcode = if message.is_binary() { Opcode::Binary } else { Opcode::Text };
            let replaced = self.without_fields(&Coded::message(self.codec, &cleaned));
            return replaced.or_else(|| Some(OwnMessage { opcode, payload: Bytes::from(cleaned.clone()) }));
        }
        self.without_fields(message)
    }

    /// The same of a message in which no key stands beside its body.
    fn without_fields(&mut self, message: &Coded<'_>) -> Option<OwnMessage> {
        let said = message.body();
        let text = self.call.redacted(Bytes::copy_from_slice(said));
        let has_keys = text != said;
        let seen = message.observed(Observed::frame(&text, SystemTime::now()));
        let evidence = Evidence::new(&seen);
        let route = Arc::clone(&self.route);
        let Some(finding) = Finding::detected(&route.config.profile, self.call.request(), &evidence) else {
            self.passed();
            let _ = self.last.take_if(|last| last.ends(&evidence));
            let cleaned = has_keys.then(|| self.call.without_route_keys(said)).flatten();
            return cleaned.and_then(|cleaned| OwnMessage::again(message, &cleaned));
        };
        let mut rendered = errors::report(&mut self.call, finding.opening(!self.begun));
        let (reason, replaced) = (rendered.reason(), OwnMessage::of(&mut rendered));
        let Rendered { error, follow_up, .. } = rendered;
        let follow_up = follow_up.map(|payload| OwnMessage { opcode: Opcode::Text, payload });
        self.last_error = Some(LastError {
            reason,
            close: error.code.row().close,
            fatal: error.fatal,
            partial: error.context_id.is_some(),
        });
        (self.failed, self.refusal) = (Some(error), follow_up);
        // A message that passes must not contain a key either.
        replaced.or_else(|| has_keys.then(|| OwnMessage::again(message, &text)).flatten())
    }

    /// The code of a provider's message or event, if it is an error.
    pub(super) fn meaning(&self, evidence: &Evidence<'_>) -> Option<Code> {
        let found = detect::detect(&self.route.config.profile, Some(self.call.request()), evidence);
        found.map(|found| found.error.code)
    }

    /// What the provider means by refusing another socket for this session.
    pub(super) fn meaning_of(&self, parts: &response::Parts, read: &Capped) -> CanonicalError {
        errors::classify(&self.call, parts.status.as_u16(), &parts.headers, read)
    }

    /// The provider refused another socket for this session, and no client waits for one.
    pub(super) fn redial_refused(&mut self, parts: &response::Parts, read: &Capped) {
        let error = self.meaning_of(parts, read);
        self.call.record_redial(&error);
    }

    /// What the client is sent whose words have no socket, because the provider refused one so.
    pub(super) fn redial_failed(
        &mut self,
        error: CanonicalError,
        detail: String,
        contexts: Vec<String>,
    ) -> CloseMessage {
        self.ended_by(Finding::of(Phase::Frame, error).with_detail(Some(detail)), contexts)
    }

    /// The same, because a limit of the route refused one.
    pub(super) fn not_redialled(&mut self, denied: Denied, contexts: Vec<String>) -> CloseMessage {
        self.ended_by(Finding::denied(Phase::Frame, denied), contexts)
    }

    fn ended_by(&mut self, finding: Finding<'_>, contexts: Vec<String>) -> CloseMessage {
        let finding = finding.opening(!self.begun).for_contexts(contexts);
        let mut rendered = errors::report(&mut self.call, finding);
        let (reason, code) = (rendered.reason(), rendered.error.code.row().close);
        CloseMessage { messages: OwnMessage::all(&mut rendered), reason: Some(reason), code }
    }

    /// Whether the provider's last message was an error of the session as a whole.
    pub(super) fn is_blamed(&self) -> bool {
        self.last_error.as_ref().is_some_and(|told| !told.partial && told.fatal != Some(false))
    }

    /// Whether the provider's last message ended the session.
    pub(super) fn is_fatal(&self) -> bool {
        self.last_error.as_ref().is_some_and(|told| told.fatal == Some(true) && !told.partial)
    }

    /// The message to send after the one that was just inspected. If the session has not begun, it is refused in the form that
    /// the provider's SDK recognises; otherwise the SDK would wait for ever.
    pub(super) fn refusal(&mut self) -> Option<OwnMessage> {
        self.refusal.take()
    }

    /// The error in the message that was just inspected, if it was one.
    pub(super) fn take_failed(&mut self) -> Option<CanonicalError> {
        self.failed.take()
    }

    /// The message for the client when a generation on its socket gets no slot. The session continues.
    pub(super) fn denied(&mut self, denied: Denied, id: &str) -> Option<OwnMessage> {
        let finding = Finding::denied(Phase::Frame, denied).change(|error| {
            error.fatal = Some(false);
            error.context_id = Some(id.to_owned()).filter(|id| !id.is_empty());
        });
        OwnMessage::of(&mut errors::report(&mut self.call, finding))
    }

    /// The messages for the client when a generation was silent. If the generation has an id, only it ends.
    pub(super) fn silent(&mut self, silent: Silent, id: &str) -> SilenceMessage {
        let finding = Finding::fault(Phase::Frame, silent.fault()).change(|error| {
            error.fatal = Some(id.is_empty());
            error.context_id = Some(id.to_owned()).filter(|id| !id.is_empty());
        });
        let mut rendered = errors::report(&mut self.call, finding);
        let (reason, code) = (rendered.reason(), rendered.error.code.row().close);
        let closing = id.is_empty().then(|| CloseMessage { messages: Vec::new(), reason: Some(reason), code });
        SilenceMessage { message: OwnMessage::of(&mut rendered), closing }
    }

    /// The provider sent something that is not an error, so a later close is not attributed to the last error, unless that error
    /// ends the session.
    pub(super) fn passed(&mut self) {
        self.begun = true;
        if self.last_error.as_ref().is_some_and(|told| told.fatal != Some(true)) {
            self.last_error = None;
        }
    }

    /// The last messages to the client when the provider closes. An error that the provider has just sent takes precedence over
    /// the close.
    pub(super) fn close(&mut self, code: Option<u16>, said: &str, contexts: Vec<String>) -> CloseMessage {
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
            return CloseMessage { messages: Vec::new(), reason, code };
        }
        let as_it_was = has_keys.then(|| said.to_string());
        let Some(finding) = finding else { return CloseMessage { reason: as_it_was, code, messages: Vec::new() } };
        let mut rendered = errors::report(&mut self.call, finding.opening(!self.begun).for_contexts(contexts));
        let reason = self.replaced(rendered.reason()).or(as_it_was);
        CloseMessage { reason, messages: OwnMessage::all(&mut rendered), code }
    }

    /// The last messages to the client when the connection fails without an error or a close from the provider.
    pub(super) fn failed(
        &mut self,
        fault: Fault,
        detail: Option<String>,
        violation: Option<Violation>,
        contexts: Vec<String>,
    ) -> CloseMessage {
        // The error of one unit says nothing of the others that end with the socket.
        let others = !contexts.is_empty();
        let explains = |told: &mut LastError| match fault {
            Fault::ResponseBodyIncomplete => told.fatal != Some(false) && !(told.partial && others),
            Fault::ResponseStalled | Fault::PingsUnanswered => told.fatal == Some(true),
            _ => false,
        };
        if let Some(told) = self.last_error.take_if(explains) {
            // The client has received the provider's own error already.
            return CloseMessage { messages: Vec::new(), reason: Some(told.reason), code: told.close };
        }
        let finding = Finding::fault(Phase::Abort, fault).with_detail(detail).opening(!self.begun).change(|error| {
            if let Some(violation) = violation {
                error.message = format!("{} ({})", error.message.trim_end_matches('.'), violation.reason());
            }
        });
        let mut rendered = errors::report(&mut self.call, finding.for_contexts(contexts));
        let (reason, code) = (rendered.reason(), rendered.error.code.row().close);
        CloseMessage { messages: OwnMessage::all(&mut rendered), reason: Some(reason), code }
    }

    /// The last messages to a client whose socket was not admitted.
    pub(super) fn refused(&mut self, finding: Finding<'_>) -> CloseMessage {
        self.begun = false;
        self.ended_by(finding, Vec::new())
    }

    /// The client has disconnected, so nothing can be sent. If it disconnected after an error, that is not counted as another
    /// error.
    pub(super) fn unheard(&mut self, fault: Fault) {
        if self.last_error.as_ref().is_none_or(|told| told.fatal == Some(false)) {
            self.call.record(Phase::Frame, &CanonicalError::from_fault(fault), None);
        }
    }

    /// A reason in place of the provider's. On compatible routes SDKs parse the provider's own, so it is kept.
    fn replaced(&self, reason: String) -> Option<String> {
        self.call.compatible(Phase::Close).is_none().then_some(reason)
    }
}
