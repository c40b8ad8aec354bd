//! When a failure is retried, and after what wait. Pure: randomness and time are arguments.

use crate::canon::{CanonicalError, Code, Fault, Origin, Type};
use crate::config::types::Route;
use std::time::Duration;

/// The longest wait before a retry, including a provider's hint: after a longer hint the failure is returned.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// The bound of the wait before the first retry without a hint; it doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// The upper limit of that bound.
const LONGEST_BACKOFF: Duration = Duration::from_secs(2);
/// Without `retry`: the retry budget for other upstreams and other credentials, as a share of requests.
const DEFAULT_BUDGET: f64 = 0.2;

/// A route's retry policy.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in total.
    pub attempts: u32,
    /// Retries as a share of requests.
    pub budget: f64,
    /// The types of errors that are retried. None without `retry`: then only what cannot have reached the provider is retried, at
    /// another upstream.
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

    /// Whether an error is worth a retry. Idempotency is not considered: an operator who names a type accepts that the failed
    /// request may have been processed.
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

/// Whether the failure happened before there was a connection, so that the provider cannot have received any of the request. It
/// is always sent to an upstream that has not been tried, without charging the retry budget, because that adds no load.
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

/// Whether an error says that the upstream is broken, so that another one may work and the circuit breaker counts it. A mistake
/// of the client, an account without permission and a 429 do not.
pub(crate) fn is_broken(code: Code, origin: Origin) -> bool {
    matches!(origin, Origin::Provider | Origin::Network)
        && matches!(code.kind(), Type::Upstream | Type::Unavailable | Type::Timeout | Type::Internal)
}

/// Whether an error says that the account is useless for any request.
pub(crate) fn is_refused_account(error: &CanonicalError) -> bool {
    may_help_elsewhere(error) && !error.of_request
}

/// Whether another account may serve a request that was refused for this one. A plan that does not allow an operation concerns
/// this request only, unless the provider wants a payment first (402); a key that is reported missing although one was sent is of
/// the wrong kind.
pub(crate) fn may_help_elsewhere(error: &CanonicalError) -> bool {
    let of_account = matches!(error.code.kind(), Type::PaymentRequired | Type::Authentication);
    let wants_payment = error.upstream.as_ref().is_some_and(|upstream| upstream.status == Some(402));
    let of_operation = error.code == Code::MissingCredentials || error.code == Code::PlanLimitReached && !wants_payment;
    error.origin == Origin::Provider && of_account && !of_operation
}

/// The wait before the next attempt; none when it would be too long.
///
/// A hint is respected in full, plus some jitter, so that clients with the same hint do not return together. Without one, the
/// wait is random up to a bound that doubles with each attempt (full jitter). `random` is from 0 to 1; `left` is the rest of the
/// route's response timeout.
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
    fn only_named_retryable_errors_that_are_not_the_clients_are_retried() {
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
    fn waits_follow_the_hint_or_are_random_within_a_doubling_bound() {
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
    fn errors_that_open_circuits_and_set_accounts_aside() {
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
