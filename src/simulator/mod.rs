//! Five providers in their own dialects, for `speechgate demo` and for tests. The gateway and the simulators know nothing of each other.
//!
//! A simulator is an HTTP server on a loopback port that answers as its provider does: paths, headers, pacing, audio that can be
//! heard, and every failure the provider is known for. HTTP/1.1 and HTTP/2 by prior knowledge share the port. One engine serves
//! all of them; what differs is data: `dialects/<provider>.toml` says how requests are answered when all is well,
//! `faults/<provider>.toml` what its failures look like.
//!
//! **A client chooses the failure** with the token `fault-<name>` anywhere in its request: a path segment (so a voice, interaction
//! or job id will do), a query value, a header, a JSON string, a form field; or with the header `x-speechgate-fault: <name>`. The
//! name is the provider's own code; case and punctuation do not matter. `GET /__sim/faults` lists them, and so does [`faults`].
//!
//! | token | the failure comes |
//! |---|---|
//! | `fault-<code>` | where it belongs: as the answer, or inside a 200 when that is what the code is for |
//! | `fault-mid-<code>` | in the middle of a stream: SSE event, NDJSON line; audio is cut |
//! | `fault-job-<code>` | the request succeeds, and polling the id it gave fails (providers whose jobs fail with ordinary codes) |
//! | `fault-net-<name>` | from the network: see [`NET_FAULTS`]; `fault-mid-net-<name>` in the middle of a stream |
//! | `fault-silent-<name>` | never: it is accepted, and its audio does not come: see [`SILENT_FAULTS`] |
//! | `fault-once-…` | only the first time for the same path, then all is well |
//!
//! WebSockets take the token in the handshake (path, query, header, subprotocol) or in any text message; a failure that a message
//! chose stays in the context of that message, where the provider has contexts.
//!
//! | token | the failure comes |
//! |---|---|
//! | `fault-<code>`, `fault-answer-…` | as a frame instead of the answer to a message, with the close that the provider sends after it |
//! | `fault-handshake-<code>` | before the upgrade, as the HTTP answer that the code has |
//! | `fault-open-…` | right after the upgrade, instead of a greeting |
//! | `fault-mid-…` | after some of the answer, in the middle of an utterance |
//! | `fault-end-…` | instead of what ends the answer |
//! | `fault-close-<number>` | as a close frame alone; names such as `fault-close-restart` have the provider's own reason |
//! | `fault-net-<name>` | from the network: before the upgrade for [`NET_FAULTS`], afterwards for [`WIRE_FAULTS`] |
//! | `fault-silent-<name>` | never: see [`SILENT_FAULTS`]; the context of the message is silent, or all of the socket |
//! | `fault-mid-silent-never`, `fault-end-silent-never` | as silence that begins in the middle, or instead of the end |
//!
//! Calls of gRPC take the token in the path, in their metadata or in the first message. Each message is answered with one.
//!
//! | token | the failure comes |
//! |---|---|
//! | `fault-<code>` | as trailers that are the whole answer |
//! | `fault-open-…`, `fault-mid-…`, `fault-end-…` | as trailers behind the head, behind the first message, behind all of them |
//! | `fault-net-<name>`, `fault-mid-net-<name>` | from the network: the connection, the stream |
//! | `fault-silent-<name>` | never: messages are read, and answered late, in part, or not at all |
//!
//! What opens a socket elsewhere (a session, a signed address) lets such failures pass and carries them there.
//!
//! A job that is polled goes through its stages, one a poll; one whose id contains `settled` has ended well already.
//!
//! An unknown name is answered 501 with the list, so that a typing mistake does not pass for a provider's answer.

mod audio;
mod body;
mod dialect;
mod engine;
mod fault;
mod grpc;
mod handle;
mod listen;
mod plan;
mod provider;
mod script;
mod socket;
mod speech;
mod success;
mod template;
#[cfg(test)]
mod tests;
mod token;
mod uri;

pub use fault::{
    Fault, Moment, NET_FAULTS, NetFault, SILENT_FAULTS, SilentFault, WIRE_FAULTS, WireFault, faults, find,
};
pub use plan::Stats;
pub use provider::Provider;
pub use token::HEADER as FAULT_HEADER;

use engine::Engine;
use plan::Plan;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How a simulator behaves.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Where it listens.
    pub listen: SocketAddr,
    /// How long things take: 1 is plausible, 0 is at once, 2 is twice as slow.
    pub pace: f64,
    /// How many requests the plan runs at once.
    pub plan: Option<usize>,
}

impl Default for Options {
    fn default() -> Options {
        Options { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), pace: 1.0, plan: None }
    }
}

impl Options {
    /// For tests: a free port, no waiting, no limit.
    #[must_use]
    pub fn instant() -> Options {
        Options { pace: 0.0, ..Options::default() }
    }
}

/// A running simulator. Dropping it ends it soon; [`Simulator::stop`] ends it for certain.
#[derive(Debug)]
pub struct Simulator {
    provider: Provider,
    address: SocketAddr,
    plan: Plan,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Simulator {
    /// Starts a simulator on the present runtime.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn start(provider: Provider, options: Options) -> io::Result<Simulator> {
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        let plan = Plan::new(options.plan);
        let engine = Arc::new(Engine::new(provider, address, options.pace.max(0.0), plan.clone()));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(listen::serve(listener, engine, stopped));
        Ok(Simulator { provider, address, plan, stop, task })
    }

    /// The provider that it plays.
    #[must_use]
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://…` without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sells another plan from now on. Requests that run are not disturbed.
    pub fn set_plan(&self, max: Option<usize>) {
        self.plan.set(max);
    }

    /// What it has seen until now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.plan.stats()
    }

    /// Ends it with all its connections, and waits until they are gone.
    pub async fn stop(self) {
        // It may have ended by itself; either way it is over.
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}
