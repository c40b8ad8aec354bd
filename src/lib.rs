//! speechgate: a normalizing reverse-proxy gateway for speech providers.
//!
//! It passes success through untouched, and turns every failure, whatever its wire form, into one envelope with one closed
//! vocabulary. This page is the map.
//!
//! # Modules, lowest first
//!
//! | rank | module | what it is |
//! |---|---|---|
//! | 0 | [`canon`] | pure: what an error is and how one is recognised; profiles, rules, the generic ladder, the envelope |
//! | 0 | [`wire`] | pure: framing of SSE, newline-separated JSON, AWS event streams and WebSocket; MessagePack, CBOR, headed text |
//! | 0 | [`limit`] | pure: rates, concurrency slots and their queue, learned caps, backoff, retry budgets, circuit breakers |
//! | 1 | [`generation`] | pure: tracks one piece of work at a provider from its beginning to its end: audio, silence, its record |
//! | 1 | [`render`] | pure: a canonical error as an HTTP response |
//! | 1 | [`detect`] | pure: the form of a response, and whether an observation is an error |
//! | 1 | [`config`] | the configuration as written and as used; built-in and own profiles |
//! | 1 | `telemetry` | metrics, traces, access log, logging |
//! | 2 | `upstream` | talking to providers: connect, pool, deadlines, bounded reading |
//! | 2 | `fleet` | limits that several gateways share through a Redis or Valkey |
//! | 3 | `proxy` | one request, from its head to the last byte of its response |
//! | 3 | `otlp` | exports traces and metrics to a collector |
//! | 4 | `server` | listeners, connections, drain, admin |
//! | 5 | `app`, `simulator`, `explain`, `cli` | assembles everything; simulated providers; the commands |
//!
//! A module imports only modules above it in this table, which `tests/house.rs` enforces. `canon`, `wire`,
//! `limit`, `generation`, `render`, `detect` and `config` build without the feature `serve`, which is the proof that no runtime has crept into them.
//!
//! # The paths of a request and of an error
//!
//! [`docs::architecture`] traces both through the code, function by function; [`docs::extending`] lists the files to change for
//! a new provider, code, metric or limit.
//!
//! # What always holds
//!
//! * [`canon`] never sees a socket, a file or the current time, and classifying has no failure of its own.
//! * Only `proxy::errors` renders an error for the proxied listener, only `proxy::context::record` counts one, and only
//!   `upstream::failure` inspects a library's error. A request too malformed to be parsed is refused by `server::conn` with bytes that `proxy::errors` made.
//! * Every request ends exactly once, complete, cut or cancelled, with one log line and one count (`proxy::context`).
//! * No metric label comes from text that the network supplied.
//! * Success bytes are not parsed, unless the profile says that this path hides failures in them.
//! * A client that disconnects is not a provider's failure.
//! * A request is retried only if its route says so or nothing can happen twice, and never after the first byte of a response.
//!
//! # Words
//!
//! *Client*: what calls this gateway. *Provider*: what the gateway calls. *Profile*: a provider's failures as data. *Code*: what
//! happened; *type*: what the client should do; *origin*: which side caused it. *Fault*: a failure without a provider's error.
//! *Phase*: where in a protocol something was observed. *Detector*: how a failure is recognised that has no error status.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

/// How the code is built and how to extend it, as in the folder `docs` beside this file.
pub mod docs {
    #[doc = include_str!("docs/architecture.md")]
    pub mod architecture {}
    #[doc = include_str!("docs/extending.md")]
    pub mod extending {}
}

pub mod canon;
pub mod config;
pub mod detect;
pub mod generation;
pub mod limit;
pub mod render;
pub mod wire;

#[cfg(feature = "serve")]
pub mod app;
#[cfg(feature = "serve")]
pub mod cli;
#[cfg(feature = "serve")]
pub mod explain;
#[cfg(feature = "serve")]
pub mod fleet;
#[cfg(feature = "serve")]
pub mod otlp;
#[cfg(feature = "serve")]
pub mod proxy;
#[cfg(feature = "serve")]
pub mod server;
#[cfg(feature = "demo")]
pub mod simulator;
#[cfg(feature = "serve")]
pub mod telemetry;
#[cfg(feature = "serve")]
pub mod upstream;
