//! When a failure is tried again, and after which wait. Pure: what is random and what time it is are arguments.

use crate::canon::{CanonicalError, Code, Fault, Origin, Type};
use crate::config::types::Route;
use std::time::Duration;

/// The longest wait before a try, a provider's hint included: what is told to wait longer is answered.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Without a hint: up to this before the second try, up to twice as long before the third, and so on.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// As long as it gets without a hint.
const LONGEST_BACKOFF: Duration = Duration::from_secs(2);
/// Without `retry`: what is sent to another upstream, or with other credentials, as a share of requests.
const DEFAULT_BUDGET: f64 = 0.2;

/// What a route says about trying again.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Tries in all.
    pub attempts: u32,
    /// Retries as a share of requests.
    pub budget: f64,
    /// After which types of errors. None without `retry`: then only what cannot have reached the provider is tried again,
    /// at another upstream.
    on: Option<Vec<Type>>,
}

impl RetryPolicy {
    /// The policy of a route.
    #[must_use]
    pub fn of(route: &Route) -> RetryPolicy {
        match &route.retry {
            Some(retry) => RetryPolicy { attempts: retry.attempts, budget: retry.budget, on: Some(retry.on.clone()) },
            None => {
                let places = route.upstreams.len().max(route.credentials.len()).max(1);
                RetryPolicy { attempts: u32::try_from(places).unwrap_or(u32::MAX), budget: DEFAULT_BUDGET, on: None }
            }
        }
    }

    /// Whether an error is one that another try may help. Idempotency is not asked: whoever names a type accepts that a request
    /// which failed so may have been processed.
    #[must_use]
    pub fn wants(&self, error: &CanonicalError, upstreams: usize) -> bool {
        if !error.retryable || matches!(error.origin, Origin::Client | Origin::Gateway) {
            return false;
        }
        match &self.on {
            Some(types) => types.contains(&error.code.kind()),
            None => upstreams > 1 && error.fault.is_some_and(was_never_sent),
        }
    }
}

/// Whether a failure came before there was a connection, so that nothing of the request can have arrived: it always goes on to
/// an upstream that has not been tried, and no budget is asked, since nobody has more to do because of it.
pub(crate) fn was_never_sent(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::DnsError
            | Fault::DnsTimeout
            | Fault::ConnectRefused
            | Fault::ConnectFailed
            | Fault::ConnectTimeout
            | Fault::TlsCertificate
            | Fault::TlsProtocol
            | Fault::TlsAlert
    )
}

/// Whether an error says that the upstream is broken, so that another may work and the circuit breaker counts it. A mistake of
/// the client, an account without permission and a 429 are no such errors.
pub(crate) fn is_broken(code: Code, origin: Origin) -> bool {
    matches!(origin, Origin::Provider | Origin::Network)
        && matches!(code.kind(), Type::Upstream | Type::Unavailable | Type::Timeout | Type::Internal)
}

/// Whether an error says that the whole account is of no use, and not only for this request.
pub(crate) fn is_refused_account(error: &CanonicalError) -> bool {
    may_help_elsewhere(error) && !error.of_request
}

/// Whether another account may serve a request that this one was refused. What its plan does not allow is one operation, unless the provider
/// wants to be paid first (402); and a key that is missed although one was sent is one of another kind.
pub(crate) fn may_help_elsewhere(error: &CanonicalError) -> bool {
    let of_account = matches!(error.code.kind(), Type::PaymentRequired | Type::Authentication);
    let wants_payment = error.upstream.as_ref().is_some_and(|upstream| upstream.status == Some(402));
    let of_operation = error.code == Code::MissingCredentials || error.code == Code::PlanLimitReached && !wants_payment;
    error.origin == Origin::Provider && of_account && !of_operation
}

/// How long to wait before the next try; none when it would be too long.
///
/// A hint is waited for whole, and a little longer, so that those who were given the same do not come back together. Without
/// one it is anything up to a bound that doubles with each try (full jitter). `random` is from 0 to 1, `left` what the
/// route's deadline for an answer leaves.
#[must_use]
pub fn wait(hint: Option<Duration>, tries: u32, left: Duration, random: f64) -> Option<Duration> {
    let most = LONGEST_WAIT.min(left);
    match hint {
        Some(hint) if hint > most => None,
        Some(hint) => Some(hint + FIRST_BACKOFF.mul_f64(random)),
        None => {
            let bound = FIRST_BACKOFF.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(LONGEST_BACKOFF);
            Some(bound.mul_f64(random).min(most))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::Code;
    use crate::config::types::Retry;

    fn provider_error(code: Code) -> CanonicalError {
        let retryable = code.row().retryable;
        CanonicalError {
            code,
            origin: Origin::Provider,
            retryable,
            fault: None,
            ..CanonicalError::from_fault(Fault::Panic)
        }
    }

    fn policy(on: &[Type]) -> RetryPolicy {
        RetryPolicy { attempts: 3, budget: 0.2, on: Some(on.to_vec()) }
    }

    #[test]
    fn only_what_is_named_and_retryable_and_not_the_clients_is_tried_again() {
        let named = policy(&[Type::Timeout, Type::Unavailable, Type::Internal]);
        for (error, wanted) in [
            (provider_error(Code::Overloaded), true),
            (provider_error(Code::InternalError), true),
            (provider_error(Code::ProviderMisconfigured), false),
            (CanonicalError { retryable: false, ..provider_error(Code::Overloaded) }, false),
            (provider_error(Code::UpstreamError), false),
            (provider_error(Code::RateLimited), false),
            (provider_error(Code::InvalidRequest), false),
            (CanonicalError::from_fault(Fault::ResponseTimeout), true),
            (CanonicalError::from_fault(Fault::ConnectRefused), false),
            (CanonicalError::from_fault(Fault::RequestBodyTimeout), false),
            (CanonicalError::from_fault(Fault::CircuitOpen), false),
            (CanonicalError::from_fault(Fault::ShuttingDown), false),
        ] {
            assert_eq!(named.wants(&error, 1), wanted, "{} {:?}", error.code.as_str(), error.origin);
        }
    }

    #[test]
    fn without_retry_only_what_was_never_sent_goes_to_another_upstream() {
        let mut route = crate::proxy::tests::route("/p");
        route.upstreams.push(route.upstreams[0].clone());
        let policy = RetryPolicy::of(&route);
        assert_eq!(policy.attempts, 2);
        for (fault, wanted) in [
            (Fault::ConnectRefused, true),
            (Fault::DnsError, true),
            (Fault::TlsCertificate, true),
            (Fault::ConnectionClosed, false),
            (Fault::ResponseTimeout, false),
            (Fault::RequestWriteFailed, false),
        ] {
            let error = CanonicalError::from_fault(fault);
            assert_eq!(policy.wants(&error, 2), wanted, "{fault:?}");
            assert!(!policy.wants(&error, 1), "nowhere else to go");
        }
        assert!(!policy.wants(&provider_error(Code::Overloaded), 2));
        route.retry = Some(Retry { attempts: 5, on: vec![Type::Upstream], budget: 0.5 });
        assert_eq!((RetryPolicy::of(&route).attempts, RetryPolicy::of(&route).budget), (5, 0.5));
    }

    #[test]
    fn waits_are_as_told_or_random_within_a_bound_that_doubles() {
        let (ms, whole) = (Duration::from_millis, Duration::from_secs(30));
        for (hint, tries, left, random, expected) in [
            (None, 1, whole, 1.0, Some(ms(100))),
            (None, 1, whole, 0.0, Some(ms(0))),
            (None, 2, whole, 1.0, Some(ms(200))),
            (None, 3, whole, 0.5, Some(ms(200))),
            (None, 9, whole, 1.0, Some(ms(2000))),
            (None, u32::MAX, whole, 1.0, Some(ms(2000))),
            (None, 3, ms(30), 1.0, Some(ms(30))),
            (Some(ms(1500)), 1, whole, 0.0, Some(ms(1500))),
            (Some(ms(1500)), 1, whole, 1.0, Some(ms(1600))),
            (Some(ms(5000)), 1, whole, 0.0, Some(ms(5000))),
            (Some(ms(5001)), 1, whole, 0.0, None),
            (Some(ms(400)), 1, ms(399), 0.0, None),
            (Some(ms(0)), 1, ms(0), 0.0, Some(ms(0))),
        ] {
            assert_eq!(wait(hint, tries, left, random), expected, "{hint:?} {tries} {left:?} {random}");
        }
    }

    #[test]
    fn what_breaks_a_circuit_and_what_sets_an_account_aside() {
        for (code, broken, refused) in [
            (Code::UpstreamError, true, false),
            (Code::Overloaded, true, false),
            (Code::UpstreamTimeout, true, false),
            (Code::InternalError, true, false),
            (Code::RateLimited, false, false),
            (Code::ConcurrencyLimited, false, false),
            (Code::InvalidRequest, false, false),
            (Code::QuotaExceeded, false, true),
            (Code::InvalidCredentials, false, true),
            (Code::PlanLimitReached, false, false),
            (Code::MissingCredentials, false, false),
            (Code::PermissionDenied, false, false),
        ] {
            let error = provider_error(code);
            assert_eq!(
                (is_broken(error.code, error.origin), is_refused_account(&error)),
                (broken, refused),
                "{}",
                code.as_str()
            );
        }
        let too_much = CanonicalError { of_request: true, ..provider_error(Code::QuotaExceeded) };
        assert!(!is_refused_account(&too_much) && may_help_elsewhere(&too_much), "a shorter text may be served");
        let broken = |fault: Fault| is_broken(fault.code(), fault.origin());
        assert!(broken(Fault::ConnectTimeout));
        assert!(!broken(Fault::RequestBodyTimeout), "the client's own");
    }
}
