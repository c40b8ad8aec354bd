//! The faults that the simulators can be asked for, from the simulators' own tables.

use serde::Deserialize;
use speechgate::simulator::{self, Provider};

/// Where a fault shows, which decides what must be the same through the gateway.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Moment {
    /// As the provider's answer.
    Answer,
    /// In the answer to a poll, whose status is 200.
    Job,
    /// In a JSON-RPC answer, whose status is 200.
    Rpc,
    /// As an event of a stream that had begun well.
    Events,
    /// As a line of newline-separated JSON that had begun well.
    Lines,
    /// As a message of a WebSocket.
    Frame,
    /// As a WebSocket upgrade that is refused.
    Handshake,
    /// As the close of a WebSocket that nothing was said before.
    Close,
    /// A WebSocket whose connection breaks.
    Broken,
    /// Audio that breaks off.
    Cut,
    /// The provider cannot be reached or understood; directly, the SDK has no answer at all.
    Network,
}

/// A fault as a client names it.
#[derive(Clone)]
pub(crate) struct Fault {
    pub(crate) name: String,
    pub(crate) moment: Moment,
    /// Whether the answer is none of the provider's API: a page of HTML, a word, nothing.
    pub(crate) foreign: bool,
    /// Whether it only looks like a failure, and passes untouched.
    pub(crate) control: bool,
}

/// Network faults that end at once; those that wait for a deadline have tests of their own.
const PROMPT: [&str; 4] = ["net-reset", "net-empty", "net-garbage", "net-head-cut"];

/// Network faults of a WebSocket that end at once: before, instead of and in the middle of its answer.
const BROKEN: [&str; 9] = [
    "handshake-net-reset",
    "handshake-net-garbage",
    "open-net-drop",
    "answer-net-drop",
    "answer-net-reset",
    "answer-net-garbage-frame",
    "answer-net-half-frame",
    "answer-net-bad-utf8",
    "mid-net-drop",
];

/// Faults in the middle of audio: the provider's own, and the network's.
const CUTS: [&str; 2] = ["mid-net-reset", "mid-net-chunk-cut"];

/// All that this provider's simulator knows.
pub(crate) fn of(provider: &str) -> Vec<Fault> {
    let provider = Provider::ALL.into_iter().find(|known| known.name() == provider);
    let provider = provider.expect("matrix.toml names a simulated provider");
    let mut found = Vec::new();
    let mut add = |name: String, moment, foreign| found.push(Fault { name, moment, foreign, control: false });
    for fault in simulator::faults(provider) {
        let name = &fault.name;
        let foreign = !fault.body.starts_with('{');
        match fault.moment {
            simulator::Moment::Answer => add(name.clone(), Moment::Answer, foreign),
            simulator::Moment::Job => add(name.clone(), Moment::Job, false),
            simulator::Moment::Rpc => add(name.clone(), Moment::Rpc, false),
            simulator::Moment::Frame => add(name.clone(), Moment::Frame, false),
            simulator::Moment::Stream => add(name.clone(), Moment::Lines, false),
        }
        if fault.moment == simulator::Moment::Answer {
            for (form, moment, prefix) in [
                (&fault.job, Moment::Job, "job"),
                (&fault.event, Moment::Events, "mid"),
                (&fault.line, Moment::Lines, "mid"),
            ] {
                if form.is_some() {
                    add(format!("{prefix}-{name}"), moment, false);
                }
            }
        }
    }
    PROMPT.iter().for_each(|name| add((*name).to_owned(), Moment::Network, false));
    let speaks = !matches!(provider, Provider::Corti | Provider::ZenHire);
    CUTS.iter().filter(|_| speaks).for_each(|name| add((*name).to_owned(), Moment::Cut, false));
    found
}

/// All that this provider's simulator can do on a WebSocket: the answers of its API too, in the socket's own words.
pub(crate) fn on_sockets(provider: &str) -> Vec<Fault> {
    let provider = Provider::ALL.into_iter().find(|known| known.name() == provider);
    let provider = provider.expect("sockets.toml names a simulated provider");
    let mut found = Vec::new();
    let mut add = |name: String, moment, foreign| found.push(Fault { name, moment, foreign, control: false });
    for fault in simulator::faults(provider) {
        let name = &fault.name;
        match (fault.moment, &fault.close) {
            (simulator::Moment::Answer, _) => {
                add(format!("answer-{name}"), Moment::Frame, false);
                add(format!("handshake-{name}"), Moment::Handshake, !fault.body.starts_with('{'));
            }
            (simulator::Moment::Frame, Some(_)) if fault.frame.is_none() => {
                add(name.clone(), Moment::Close, false);
            }
            (simulator::Moment::Frame, _) => add(name.clone(), Moment::Frame, false),
            _ => {}
        }
    }
    BROKEN.iter().for_each(|name| add((*name).to_owned(), Moment::Broken, false));
    found
}
