//! The gateway over real sockets: hostile and broken clients, hostile and broken providers, and ordinary ones beside
//! them, so that refusing everything does not pass.

mod support;

/// The access log under pressure.
mod access;
/// Accounts that routes share.
mod accounts;
/// The admin listener: liveness, readiness, counters.
mod admin;
/// Bodies of failures that are coded, huge, hostile or endless.
mod bodies;
/// Streams that break: an event says so, or the cut is one that nobody overlooks.
mod breaks;
/// Failing upstreams are left alone and tried again.
mod circuit;
/// Streams cut anywhere, in every coding.
mod cuts;
/// Every error answer keeps the promises of the envelope.
mod envelope;
/// Several upstreams and several accounts: who takes over for whom.
mod failover;
/// A provider that fails at every byte.
mod faults;
/// The form of an error: by the route, by what a client asks for, by who it is.
mod forms;
/// HTTP/1 as RFC 9112 and 9110 have it.
mod framing;
/// gRPC: trailers in both directions, deadlines, and refusals that stubs understand.
mod grpc;
mod grpc_hostile;
mod grpc_own;
mod grpc_refusals;
mod grpc_resets;
/// Headers that a client could spoof, and those that a proxy must add or take away.
mod headers;
/// Pauses that a provider asks for, and caps that it teaches.
mod holds;
/// HTTP/2 from clients.
mod http2;
/// Tenants that no key names, and what ends with a key.
mod identity;
/// Informational responses of a provider.
mod informational;
/// Gateway keys in every place, with every outcome, and all bytes that leave.
mod key_sinks;
/// Keys that a provider echoes, in every place and spelling.
mod keys;
/// Pieces of streams that are larger than an error may be.
mod large;
/// Nothing secret, forged or unbounded in logs, metrics and errors.
mod leak;
/// Rate limits.
mod limits;
/// The metrics page: formats, exemplars, bounds.
mod metrics;
/// Sockets whose clients show their key in the first message.
mod openings;
/// Paths that try to leave their route.
mod operator;
mod operator_streams;
/// Pages of browsers that call from another origin.
mod pages;
mod paths;
/// Preflights where clients show gateway keys.
mod preflights;
/// One test for each fixed bug.
mod regression;
/// Another configuration while everything runs.
mod reload;
/// What is tried again, what is not, and how often at most.
mod retries;
/// Addresses of the provider in its answers lead back to the gateway.
mod rewriting;
/// Slots that tenants share.
mod shares;
/// SIGTERM and what follows.
mod shutdown;
/// Providers that say nothing, and what is recorded of those that speak.
mod silence;
/// Concurrency: who runs, who waits, and how a slot comes back.
mod slots;
/// Clients that are slow on purpose.
mod slow;
/// Requests that two servers would read differently.
mod smuggling;
/// Sockets in great numbers, floods and slow readers: memory, descriptors, and others served meanwhile.
mod sockets;
/// What the status page is made from: errors, samples without secrets, and each of them once.
mod status;
/// Bodies of every size and framing, both ways.
mod stream;
/// Sockets of tenants.
mod tenant_sockets;
/// Tenants and their keys.
mod tenants;
/// TLS and mutual TLS from clients.
mod tls;
/// Everything at once, for a while: nothing leaks.
mod torture;
/// Traces over OTLP.
mod traces;
/// Connections that are there before a call asks.
mod warm;
