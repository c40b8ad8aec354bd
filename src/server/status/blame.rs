//! Whose fault an error is, in the order of urgency for an operator, and what the operator can do about it.
//!
//! The advice on a code's row addresses clients. The page is for the operator of the gateway, so it has advice of its own.

use crate::canon::{Code, Origin, Type};
use serde::Serialize;

/// Whose fault, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Blame {
    /// The provider cannot be reached or understood.
    Unreachable,
    /// The provider answers, with an error.
    Refusing,
    /// A limit or another rule of this gateway refused the request.
    Gateway,
    /// A mistake that only clients can correct.
    Clients,
}

impl Blame {
    /// Whose fault an error with this code and origin is.
    pub(super) fn of(code: Code, origin: Origin) -> Blame {
        match origin {
            _ if code.kind().is_clients() => Blame::Clients,
            Origin::Client => Blame::Clients,
            // The gateway responds itself, because the provider gave it nothing but failures for some time.
            Origin::Gateway if code == Code::CircuitOpen => Blame::Unreachable,
            Origin::Network => Blame::Unreachable,
            Origin::Provider => Blame::Refusing,
            Origin::Gateway => Blame::Gateway,
        }
    }

    /// What the operator can do about errors of this code.
    pub(super) fn advice(self, code: Code) -> &'static str {
        match (self, code.kind()) {
            (Blame::Unreachable, Type::Timeout) => {
                "Check the provider's status page; raise the route's timeouts if such answers take longer."
            }
            (Blame::Unreachable, _) if code == Code::UpstreamTlsError => {
                "Check the provider's certificate, this host's clock, and the route's CA file."
            }
            (Blame::Unreachable, _) => {
                "Check the provider's status page, and DNS and network from this host; a second upstream helps."
            }
            (Blame::Refusing, Type::Authentication) => "Check the route's credentials, or those that clients send.",
            (Blame::Refusing, Type::PaymentRequired) => "Top up the account at the provider, or upgrade its plan.",
            (Blame::Refusing, Type::PermissionDenied) => "Have the provider allow this, or use another key.",
            (Blame::Refusing, Type::RateLimited) => {
                "Set the route's rate limit to the provider's, or ask for a higher one."
            }
            (Blame::Refusing, Type::ConcurrencyLimited) => {
                "Set the route's concurrency to what the plan allows, or upgrade the plan."
            }
            (Blame::Refusing, _) => "Check the provider's status page; a second upstream or retries help.",
            (Blame::Gateway, Type::RateLimited) => {
                "Raise the route's rate limit if the provider allows more; a wait that the provider asked for ends by itself."
            }
            (Blame::Gateway, Type::ConcurrencyLimited) => {
                "Raise the route's concurrency or its queue if the provider's plan allows more."
            }
            (Blame::Gateway, Type::Authentication) => {
                "Have clients send a key that is in force; a route without tenants needs credentials, or theirs."
            }
            (Blame::Gateway, Type::PaymentRequired) => {
                "A tenant has used up a budget: raise it, or wait until it begins anew."
            }
            (Blame::Gateway, Type::Internal) => "Look for the request id in the log of this gateway, and report it.",
            (Blame::Gateway, _) => "Look for the request id in the log of this gateway.",
            (Blame::Clients, _) => "Nothing to do here: clients have to change their requests.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blame_goes_to_the_provider_first_and_to_clients_last() {
        for (code, origin, blame) in [
            (Code::UpstreamUnreachable, Origin::Network, Blame::Unreachable),
            (Code::UpstreamTimeout, Origin::Network, Blame::Unreachable),
            (Code::CircuitOpen, Origin::Gateway, Blame::Unreachable),
            (Code::QuotaExceeded, Origin::Provider, Blame::Refusing),
            (Code::Overloaded, Origin::Provider, Blame::Refusing),
            (Code::RateLimited, Origin::Provider, Blame::Refusing),
            (Code::RateLimited, Origin::Gateway, Blame::Gateway),
            (Code::ConcurrencyLimited, Origin::Gateway, Blame::Gateway),
            (Code::VoiceNotFound, Origin::Provider, Blame::Clients),
            (Code::RouteNotFound, Origin::Gateway, Blame::Clients),
            (Code::RequestTimeout, Origin::Client, Blame::Clients),
        ] {
            assert_eq!(Blame::of(code, origin), blame, "{code:?} from {origin:?}");
        }
        let mut order = [Blame::Clients, Blame::Gateway, Blame::Refusing, Blame::Unreachable];
        order.sort();
        assert_eq!(order, [Blame::Unreachable, Blame::Refusing, Blame::Gateway, Blame::Clients]);
    }
}
