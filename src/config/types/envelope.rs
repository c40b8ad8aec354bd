//! The form of errors.

use crate::canon::Phase;

/// The form of errors on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// The envelope of the design.
    Canonical,
    /// The provider's own shape with `gateway_error` added.
    Compatible,
    /// RFC 9457.
    Problem,
    /// Compatible for clients that the profile knows to read its provider's own errors, canonical for all others.
    Auto,
}

/// The form of errors by transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelopes {
    /// Of answers, refused WebSocket handshakes and failures inside a 200 among them.
    pub http: Envelope,
    /// Of events.
    pub sse: Envelope,
    /// Of lines.
    pub ndjson: Envelope,
    /// Of messages and closes.
    pub websocket: Envelope,
    /// Of gRPC calls.
    pub grpc: Envelope,
    /// Whether compatible answers have the canonical status instead of the provider's.
    pub canonical_status: bool,
}

impl Envelopes {
    /// One form everywhere.
    #[must_use]
    pub fn all(form: Envelope) -> Envelopes {
        Envelopes { http: form, sse: form, ndjson: form, websocket: form, grpc: form, canonical_status: false }
    }

    /// The form in this phase.
    #[must_use]
    pub fn of(&self, phase: Phase) -> Envelope {
        match phase {
            Phase::Http | Phase::Handshake | Phase::Job => self.http,
            Phase::Sse => self.sse,
            Phase::Ndjson => self.ndjson,
            Phase::Frame | Phase::Close | Phase::Abort => self.websocket,
            Phase::Grpc => self.grpc,
        }
    }

    /// Whether any of them depends on who the client is.
    #[must_use]
    pub fn ask_who(&self) -> bool {
        [self.http, self.sse, self.ndjson, self.websocket, self.grpc].contains(&Envelope::Auto)
    }
}

impl Envelope {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Envelope::Canonical => "canonical",
            Envelope::Compatible => "compatible",
            Envelope::Problem => "problem",
            Envelope::Auto => "auto",
        }
    }
}
