//! What a client asked for: which failure, and when it happens. The same for HTTP and for WebSockets.

use super::network::{self, NetFault};
use super::provider::{self, Fault, Moment};
use super::silent::{self, Silent};
use super::wire::{self, WireFault};
use crate::simulator::provider::Provider;

/// A failure that a client asked for: `[once-][job-|handshake-|open-|answer-|mid-|end-](<code>|close-<number>|net-<name>|silent-<name>)`.
#[derive(Clone, Copy)]
pub(crate) struct RequestedFault {
    pub(crate) failure: Failure,
    /// When it happens, if the token says so; otherwise where such a failure belongs.
    pub(crate) timing: Option<Timing>,
    /// Whether it happens the first time only.
    pub(crate) once: bool,
}

/// Which failure.
#[derive(Clone, Copy)]
pub(crate) enum Failure {
    /// One that the provider words.
    Provider(&'static Fault),
    /// A close frame with this code alone.
    Close(u16),
    Network(&'static NetFault),
    Wire(&'static WireFault),
    Silent(Silent),
}

/// When a failure happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timing {
    /// The request succeeds, and polling the id that it gave fails.
    Job,
    /// The upgrade is refused.
    Handshake,
    /// Right after the upgrade, instead of a greeting.
    Open,
    /// Instead of the answer to a message.
    Answer,
    /// After some of the answer.
    Middle,
    /// Instead of the message that ends the answer.
    End,
}

const TIMINGS: [(&str, Timing); 6] = [
    ("job-", Timing::Job),
    ("handshake-", Timing::Handshake),
    ("open-", Timing::Open),
    ("answer-", Timing::Answer),
    ("mid-", Timing::Middle),
    ("end-", Timing::End),
];

impl RequestedFault {
    /// What the name in a token stands for; none when nothing has that name.
    pub(crate) fn parse(provider: Provider, name: &str) -> Option<RequestedFault> {
        let (once, name) = match strip_prefix(name, "once-") {
            Some(rest) => (true, rest),
            None => (false, name),
        };
        // A failure whose own name begins like a timing is meant as a whole.
        if let Some(fault) = provider::find(provider, name) {
            return Some(RequestedFault { failure: Failure::Provider(fault), timing: None, once });
        }
        let timed = TIMINGS.iter().find_map(|(prefix, timing)| Some((Some(*timing), strip_prefix(name, prefix)?)));
        let (timing, name) = timed.unwrap_or((None, name));
        Some(RequestedFault { failure: Failure::parse(provider, name)?, timing, once })
    }

    /// Where it shows in answers over plain HTTP; none when it only exists on sockets.
    pub(crate) fn over_http(&self) -> Option<Moment> {
        match (self.failure, self.timing) {
            (Failure::Provider(fault), None) => Some(fault.moment).filter(|moment| *moment != Moment::Frame),
            (Failure::Provider(_) | Failure::Network(_), Some(Timing::Middle)) => Some(Moment::Stream),
            (Failure::Provider(fault), Some(Timing::Job)) => fault.job.as_ref().map(|_| Moment::Job),
            (Failure::Network(_) | Failure::Silent(Silent::HalfOpen), None) => Some(Moment::Answer),
            (Failure::Silent(_), None) | (Failure::Silent(Silent::HalfOpen), Some(Timing::Middle)) => {
                Some(Moment::Stream)
            }
            _ => None,
        }
    }

    /// Whether a socket can have it.
    pub(crate) fn on_socket(&self) -> bool {
        match (self.timing, self.failure) {
            (Some(Timing::Job), _) => false,
            (Some(Timing::Handshake), Failure::Provider(fault)) => fault.moment != Moment::Frame,
            (Some(Timing::Handshake), failure) => matches!(failure, Failure::Network(_)),
            // The others say themselves when they come.
            (Some(_), Failure::Silent(silent)) => matches!(silent, Silent::Never | Silent::HalfOpen),
            _ => true,
        }
    }

    /// Whether it only happens once there is a socket, so that requests that lead to one succeed.
    pub(crate) fn needs_socket(&self) -> bool {
        self.on_socket()
            && match (self.failure, self.timing) {
                (Failure::Provider(fault), None) => fault.moment == Moment::Frame,
                (Failure::Network(_), None) => false,
                (_, timing) => timing != Some(Timing::Handshake),
            }
    }
}

impl Failure {
    fn parse(provider: Provider, name: &str) -> Option<Failure> {
        if let Some(name) = strip_prefix(name, "net-") {
            return wire::find(name).map(Failure::Wire).or_else(|| network::find(name).map(Failure::Network));
        }
        if let Some(fault) = provider::find(provider, name) {
            return Some(Failure::Provider(fault));
        }
        if let Some(name) = strip_prefix(name, "silent-") {
            return silent::find(name).map(Failure::Silent);
        }
        let code = strip_prefix(name, "close-")?.parse().ok()?;
        (1000..5000).contains(&code).then_some(Failure::Close(code))
    }
}

/// What follows `prefix`, whatever its case.
fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let start = text.get(..prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_which_failure_and_when() {
        // The name; where it shows over HTTP, whether a socket can have it, and whether it needs one.
        let cases = [
            ("rate_limited", Some((Some(Moment::Answer), true, false))),
            ("once-RATE-LIMITED", Some((Some(Moment::Answer), true, false))),
            ("mid-rate_limited", Some((Some(Moment::Stream), true, true))),
            ("job-generation_failed", Some((Some(Moment::Job), false, false))),
            ("handshake-rate_limited", Some((None, true, false))),
            ("handshake-close-1011", Some((None, false, false))),
            ("end-rate_limited", Some((None, true, true))),
            ("close-1011", Some((None, true, true))),
            ("close-5000", None),
            ("net-reset", Some((Some(Moment::Answer), true, false))),
            ("MID-NET-RESET", Some((Some(Moment::Stream), true, true))),
            ("handshake-net-reset", Some((None, true, false))),
            ("net-half-frame", Some((None, true, true))),
            ("handshake-net-half-frame", Some((None, false, false))),
            ("net-nothing", None),
            ("silent-never", Some((Some(Moment::Stream), true, true))),
            ("silent-late-500", Some((Some(Moment::Stream), true, true))),
            ("silent-half-open", Some((Some(Moment::Answer), true, true))),
            ("mid-silent-half-open", Some((Some(Moment::Stream), true, true))),
            ("end-silent-never", Some((None, true, true))),
            ("end-silent-late", Some((None, false, false))),
            ("handshake-silent-never", Some((None, false, false))),
            ("silent-nothing", None),
            ("mid-job-rate_limited", None),
            ("nonsense", None),
        ];
        for (name, expected) in cases {
            let fault = RequestedFault::parse(Provider::Breeze, name);
            let got = fault.map(|fault| (fault.over_http(), fault.on_socket(), fault.needs_socket()));
            assert_eq!(got, expected, "{name}");
            assert_eq!(fault.is_some_and(|fault| fault.once), name.starts_with("once-"), "{name}");
        }
    }
}
