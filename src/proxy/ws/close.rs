//! What is said about failures on a socket: as a message, in a close, in the form of the route. Each is counted once.

use super::frames::Offence;
use crate::canon::envelope::{self, Compatible};
use crate::canon::{CanonicalError, Evidence, Fault, Observed, Phase, resolve};
use crate::config::types::Envelope;
use crate::proxy::context::Call;
use crate::proxy::limits::Denied;
use crate::proxy::{RouteRuntime, errors};
use bytes::Bytes;
use http::HeaderMap;
use std::sync::Arc;
use std::time::SystemTime;

/// The codes of a close with which nothing is wrong.
const CLEAN: [u16; 3] = [1000, 1001, crate::wire::close::NO_STATUS];

/// The errors of one session.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) call: Box<Call>,
    route: Arc<RouteRuntime>,
    /// The error that the provider's last message was.
    told: Option<Told>,
    /// Whether the provider has sent anything that is no error.
    begun: bool,
    /// What has to follow the provider's message.
    refusal: Option<Vec<u8>>,
    /// The error that the message was which was just looked at.
    failed: Option<CanonicalError>,
}

#[derive(Debug)]
struct Told {
    reason: String,
    /// The code to close with when the provider gives none.
    close: u16,
    /// Whether the session ends with it; none when nobody said.
    fatal: Option<bool>,
}

/// What goes to the caller before a close, and with it.
#[derive(Debug, Default)]
pub(super) struct Farewell {
    /// The error, when it has not been told yet.
    pub(super) message: Option<Vec<u8>>,
    /// The reason that replaces the provider's.
    pub(super) reason: Option<String>,
    /// The code to close with when the provider gave none.
    pub(super) code: u16,
}

impl Words {
    pub(super) fn new(call: Box<Call>, route: Arc<RouteRuntime>) -> Words {
        Words { call, route, told: None, begun: false, refusal: None, failed: None }
    }

    /// What replaces a text message of the provider: nothing when it is no error, or stays as it is.
    pub(super) fn message(&mut self, text: &[u8]) -> Option<Vec<u8>> {
        let text = self.call.redacted(Bytes::copy_from_slice(text));
        let headers = HeaderMap::new();
        let seen = observed(Phase::Frame, &headers, &text);
        let evidence = Evidence::new(&seen);
        let route = Arc::clone(&self.route);
        let profile = &route.route.profile;
        let Some(detector) = profile.detect(Some(self.request()), &evidence) else {
            self.passed();
            return None;
        };
        let mut error = resolve(profile, &evidence).error;
        error.fatal = error.fatal.or(detector.fatal);
        self.call.sighted(&error, &evidence);
        self.call.note(&error, None);
        self.told = Some(Told { reason: reason(&error), close: error.code.row().close, fatal: error.fatal });
        self.failed = Some(error.clone());
        let timestamp = errors::timestamp();
        let stamp = self.call.stamp(&timestamp);
        match route.route.envelope {
            Envelope::Compatible => {
                if !self.begun {
                    self.refusal = envelope::refusal_after(profile, &text, &error, &stamp);
                }
                match envelope::compatible(profile, &error, &stamp, &evidence) {
                    Compatible::Json(json) => Some(json),
                    Compatible::AsItIs => None,
                }
            }
            Envelope::Canonical | Envelope::Problem => Some(self.event(&error)),
        }
    }

    /// What is to follow the message that was just looked at: a session that has not begun is refused in words that the
    /// provider's SDK takes for a refusal, or it would wait for ever.
    pub(super) fn refusal(&mut self) -> Option<Vec<u8>> {
        self.refusal.take()
    }

    /// The error that the message was which was just looked at, if it was one.
    pub(super) fn take_failed(&mut self) -> Option<CanonicalError> {
        self.failed.take()
    }

    /// What the caller is told when a unit of its socket has no slot. The session goes on.
    pub(super) fn denied(&mut self, denied: Denied, id: &str) -> Vec<u8> {
        let mut error = match denied {
            Denied::Fault(fault) => CanonicalError::from_fault(fault),
            Denied::Limit(refusal) => {
                self.call.limited(refusal.limit);
                refusal.error
            }
        };
        (error.fatal, error.done) = (Some(false), Some(true));
        error.context_id = Some(id.to_owned()).filter(|id| !id.is_empty());
        self.call.note(&error, None);
        match self.route.route.envelope {
            Envelope::Compatible => {
                let timestamp = errors::timestamp();
                envelope::native(&self.route.route.profile, Phase::Frame, &error, &self.call.stamp(&timestamp))
            }
            Envelope::Canonical | Envelope::Problem => self.event(&error),
        }
    }

    /// The provider sent something that is no error: a close that follows is not about the last one any more, unless that one
    /// was to end the session.
    pub(super) fn passed(&mut self) {
        self.begun = true;
        if self.told.as_ref().is_some_and(|told| told.fatal != Some(true)) {
            self.told = None;
        }
    }

    /// What goes to the caller with a close of the provider. An error that was just told beats it.
    pub(super) fn close(&mut self, code: Option<u16>, said: &str) -> Farewell {
        let code = code.unwrap_or(crate::wire::close::NO_STATUS);
        let said = self.call.redacted(Bytes::copy_from_slice(said.as_bytes()));
        let headers = HeaderMap::new();
        let said = String::from_utf8_lossy(&said);
        let mut seen = observed(Phase::Close, &headers, b"");
        (seen.ws_code, seen.ws_reason) = (Some(code), Some(said.as_ref()));
        let evidence = Evidence::new(&seen);
        let route = Arc::clone(&self.route);
        let profile = &route.route.profile;
        let failed = profile.detect(Some(self.request()), &evidence).is_some() || !CLEAN.contains(&code);
        if let Some(told) = self.told.take_if(|told| failed || told.fatal != Some(false)) {
            return Farewell { message: None, reason: self.replaced(told.reason), code };
        }
        if !failed {
            return Farewell { code, ..Farewell::default() };
        }
        let error = resolve(profile, &evidence).error;
        self.call.sighted(&error, &evidence);
        self.call.note(&error, None);
        Farewell { message: Some(self.own(Phase::Close, &error)), reason: self.replaced(reason(&error)), code }
    }

    /// What goes to the caller when the connection has failed without the provider's word.
    pub(super) fn failed(&mut self, fault: Fault, detail: Option<String>, offence: Option<Offence>) -> Farewell {
        let mut error = CanonicalError::from_fault(fault);
        if let Some(offence) = offence {
            error.message = format!("{} ({})", error.message.trim_end_matches('.'), offence.reason());
        }
        let explains = |told: &mut Told| match fault {
            Fault::ResponseBodyIncomplete => told.fatal != Some(false),
            Fault::ResponseStalled => told.fatal == Some(true),
            _ => false,
        };
        if let Some(told) = self.told.take_if(explains) {
            // The provider's own word on it is out already.
            return Farewell { message: None, reason: Some(told.reason), code: told.close };
        }
        self.call.note(&error, detail);
        let code = error.code.row().close;
        Farewell { message: Some(self.own(Phase::Abort, &error)), reason: Some(reason(&error)), code }
    }

    /// The caller is not there any more to be told. That it leaves when it was told an error is no further one.
    pub(super) fn unheard(&mut self, fault: Fault) {
        if self.told.as_ref().is_none_or(|told| told.fatal == Some(false)) {
            self.call.note(&CanonicalError::from_fault(fault), None);
        }
    }

    fn request(&self) -> (&str, &str) {
        (self.call.method.as_str(), self.call.provider_path())
    }

    /// A reason in place of the provider's; on compatible routes SDKs read that one.
    fn replaced(&self, reason: String) -> Option<String> {
        (self.route.route.envelope != Envelope::Compatible).then_some(reason)
    }

    /// An error that is no message of the provider's.
    fn own(&self, phase: Phase, error: &CanonicalError) -> Vec<u8> {
        match self.route.route.envelope {
            Envelope::Compatible => {
                let timestamp = errors::timestamp();
                let (profile, stamp) = (&self.route.route.profile, self.call.stamp(&timestamp));
                let refusal = if self.begun { None } else { envelope::refusal(profile, error, &stamp) };
                refusal.unwrap_or_else(|| envelope::native(profile, phase, error, &stamp))
            }
            Envelope::Canonical | Envelope::Problem => self.event(error),
        }
    }

    fn event(&self, error: &CanonicalError) -> Vec<u8> {
        let over = error.fatal != Some(false) || error.context_id.is_some();
        let timestamp = errors::timestamp();
        envelope::event(error, &self.call.stamp(&timestamp), error.done.or(over.then_some(true)))
    }
}

pub(super) fn observed<'a>(phase: Phase, headers: &'a HeaderMap, body: &'a [u8]) -> Observed<'a> {
    let mut seen = Observed::http(0, headers, body, SystemTime::now());
    (seen.phase, seen.status) = (phase, None);
    seen
}

fn reason(error: &CanonicalError) -> String {
    format!("{}: {}", error.code, error.message)
}
