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
//! | 0 | [`wire`] | pure: framing of SSE, newline-separated JSON and WebSocket |
//! | 0 | [`limit`] | pure: rates, concurrency slots and their queue, learned caps, holds, retry budgets, circuit breakers |
//! | 1 | [`render`] | pure: a canonical error as an HTTP answer |
//! | 1 | [`config`] | the operator's words, then ours; built-in and own profiles |
//! | 1 | `telemetry` | metrics, traces, access log, logging |
//! | 2 | `upstream` | talking to providers: connect, pool, deadlines, bounded reading |
//! | 2 | `fleet` | limits that several gateways share through a Redis or Valkey |
//! | 3 | `proxy` | one request, from routed to answered |
//! | 3 | `otlp` | traces and metrics on their way to a collector |
//! | 4 | `server` | listeners, connections, drain, admin |
//! | 5 | `app`, `simulator`, `explain`, `cli` | everything put together; five providers to try it with; the commands |
//!
//! A module imports what stands above it in this table and nothing below; `tests/house.rs` holds that. `canon`, `wire`,
//! `limit`, `render` and `config` build without the feature `serve`, which is the proof that no runtime has crept into them.
//!
//! # The path of a request
//!
//! ```text
//! server::accept → server::conn → proxy::Proxy::handle
//!     check and route (headers::check_request, route) → admit → prepare (headers, path) → retry → forward
//!     → upstream::Client → response (body, events, inspect) | ws → client
//! ```
//!
//! One worker thread does all of it: each has a runtime, a listener socket and a pool of connections of its own. What
//! requests need of the configuration is worked out once into `proxy::State`, which a reload swaps as a whole.
//!
//! # The path of an error
//!
//! ```text
//!  bytes that may mean failure   proxy::response, proxy::ws ─ canon::Observed ─ proxy::errors::detect ┐
//!  refused before sending        proxy::headers, route, limits ─ canon::Fault                         ├─ proxy::errors::report
//!  library failure               upstream::failure ─ canon::Fault                                     ┘    │
//!                                                                                                          ├─ proxy::context::record ─ telemetry
//!                                                                                                          └─ proxy::errors::render ─ bytes
//! ```
//!
//! `detect` asks `canon::resolve` and the profiles of config/providers, and `speechgate explain` asks `detect`.
//!
//! What happened decides the code; where it happened (an answer, an event, a line, a message, a close, in the middle of
//! audio) decides the form. The code's one row in [`canon::code`] decides everything else.
//!
//! # What always holds
//!
//! * [`canon`] never sees a socket, a file or the current time, and classifying has no failure of its own.
//! * Nobody but `proxy::errors` renders an error for the proxied listener, nobody but `proxy::context::record` counts one, and
//!   nobody but `upstream::failure` inspects a library's error. A request too malformed to be parsed is refused by `server::conn` with bytes that `proxy::errors` made.
//! * Every request ends exactly once, complete, cut or cancelled, with one log line and one count (`proxy::context`).
//! * No metric label comes from text that the network supplied.
//! * Success bytes are not parsed, unless the profile says that this path hides failures in them.
//! * A caller that leaves is not a provider's failure.
//! * A request is sent again only where its route says so or nothing can happen twice, and never after the first byte of an answer.
//!
//! # Words
//!
//! *Caller*: whoever calls this gateway. *Provider*: whom it calls. *Profile*: a provider's failures as data. *Code*: what
//! happened; *type*: what the caller should do; *origin*: whose doing it is. *Fault*: a failure that no provider worded.
//! *Phase*: where in a protocol something was observed. *Detector*: how a failure is recognised that no status tells.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod canon;
pub mod config;
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
