//! Label values, as closed sets.

use crate::canon::Phase;

/// Where in the protocol an error was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Transport {
    Http,
    Sse,
    Ndjson,
    Websocket,
    Job,
    Grpc,
}

impl From<Phase> for Transport {
    fn from(phase: Phase) -> Transport {
        match phase {
            Phase::Http => Transport::Http,
            Phase::Sse => Transport::Sse,
            Phase::Ndjson => Transport::Ndjson,
            Phase::Job => Transport::Job,
            Phase::Grpc => Transport::Grpc,
            Phase::Handshake | Phase::Frame | Phase::Close | Phase::Abort => Transport::Websocket,
        }
    }
}

impl Transport {
    /// Every transport, in the order of its index.
    pub const ALL: [Transport; 6] =
        [Transport::Http, Transport::Sse, Transport::Ndjson, Transport::Websocket, Transport::Job, Transport::Grpc];

    /// The label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Transport::Http => "http",
            Transport::Sse => "sse",
            Transport::Ndjson => "ndjson",
            Transport::Websocket => "websocket",
            Transport::Job => "job",
            Transport::Grpc => "grpc",
        }
    }
}

/// The direction of a WebSocket message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the provider.
    Upstream,
    /// From the provider to the client.
    Downstream,
}

impl Direction {
    /// Both, in the order of their index.
    pub const ALL: [Direction; 2] = [Direction::Upstream, Direction::Downstream];

    /// The label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Direction::Upstream => "upstream",
            Direction::Downstream => "downstream",
        }
    }
}

/// Who closed a WebSocket, or closed it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Initiator {
    Client,
    Provider,
    Gateway,
}

impl Initiator {
    /// All, in the order of their index.
    pub const ALL: [Initiator; 3] = [Initiator::Client, Initiator::Provider, Initiator::Gateway];

    /// The label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Initiator::Client => "caller",
            Initiator::Provider => "provider",
            Initiator::Gateway => "gateway",
        }
    }
}

/// The limit that rejected a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Requests per time.
    Rate,
    /// Requests at one time.
    Concurrency,
    /// A backoff that a provider asked for.
    RetryAfter,
    /// An open circuit of the upstream.
    Circuit,
    /// No valid key of a tenant, or a credential that a provider rejected on a socket a moment ago.
    Authentication,
    /// A tenant's budget.
    Budget,
}

impl Limit {
    /// All, in the order of their index.
    pub const ALL: [Limit; 6] =
        [Limit::Rate, Limit::Concurrency, Limit::RetryAfter, Limit::Circuit, Limit::Authentication, Limit::Budget];

    /// The label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Limit::Rate => "rate",
            Limit::Concurrency => "concurrency",
            Limit::RetryAfter => "retry_after",
            Limit::Circuit => "circuit",
            Limit::Authentication => "authentication",
            Limit::Budget => "budget",
        }
    }
}
