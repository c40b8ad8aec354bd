//! The values of labels, as closed sets.

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

/// Which way a WebSocket message goes.
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

/// Who closed a WebSocket, or was the first to.
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

/// Which limit of the gateway refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// So much in a time.
    Rate,
    /// So many at one time.
    Concurrency,
    /// The wait that a provider asked for.
    RetryAfter,
    /// An upstream whose circuit is open.
    Circuit,
    /// No valid key of a tenant, or a credential that was refused on a socket a moment ago.
    Authentication,
    /// What a tenant may use.
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
