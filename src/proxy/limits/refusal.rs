//! A refusal by one of the limits, as an error and headers.
//!
//! The headers are those of draft-ietf-httpapi-ratelimit-headers-11: `RateLimit-Policy` describes the limit, `RateLimit` what is
//! left of it and when it resets. `Retry-After` belongs to the error itself, on compatible routes as well: a wait of this
//! gateway is exact, and official SDKs that retry respect it.

use crate::canon::{CanonicalError, Code, Fault};
use crate::config::types::{Cost, RateLimit};
use crate::limit::rate::{Left, Refused};
use crate::telemetry::metrics::Limit;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::time::Duration;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Where a rate limit stands in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// From 1.
    pub(super) number: usize,
    /// Among those of the account, rather than of the route.
    pub(super) of_account: bool,
}

/// Why a request does not go out.
#[derive(Debug)]
pub enum Denied {
    /// Something is wrong with it.
    Fault(Fault),
    /// A limit refuses it.
    Limit(Box<Refusal>),
}

/// A refusal by a limit.
#[derive(Debug)]
pub struct Refusal {
    /// Which limit it was.
    pub limit: Limit,
    /// What the client is told.
    pub error: CanonicalError,
    /// And in which headers.
    pub headers: HeaderMap,
}

impl From<Fault> for Denied {
    fn from(fault: Fault) -> Denied {
        Denied::Fault(fault)
    }
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Denied {
        Denied::Limit(Box::new(refusal))
    }
}

impl Refusal {
    /// A rate limit is exceeded.
    pub(super) fn of_rate(limit: &RateLimit, place: Place, cost: u32, refused: Refused) -> Refusal {
        let (error, left, wait) = match refused {
            Refused::Later { retry_after, left } => {
                let mut error = CanonicalError::from_fault(Fault::RateExceeded);
                if place.of_account {
                    error.message = "More requests than the rate limit of the route's account allows.".to_owned();
                }
                error.code = limit.code;
                error.retry_after = Some(retry_after);
                (error, left, retry_after)
            }
            Refused::NeverFits { left } => (never_fits(limit, place, cost), left, left.reset),
        };
        let name = place.name();
        Refusal { limit: Limit::Rate, error, headers: fields(&policy(limit, &name), &state(&name, &left, wait)) }
    }

    /// A rate of the client's tenant is exceeded. `number` is its place in the tenant's configuration.
    pub(super) fn of_tenant(limit: &RateLimit, number: usize, refused: Refused) -> Refusal {
        let (left, wait) = match refused {
            Refused::Later { retry_after, left } => (left, retry_after),
            // A request costs one, and a burst is never less.
            Refused::NeverFits { left } => (left, left.reset),
        };
        let mut error = CanonicalError::from_fault(Fault::RateExceeded);
        error.message = "More requests than the rate limit of the client's tenant allows.".to_owned();
        error.retry_after = Some(wait);
        let name = format!("tenant-rate-{number}");
        let headers = fields(&policy(limit, &name), &state(&name, &left, wait));
        Refusal { limit: Limit::Rate, error, headers }
    }

    /// No slot: the queue is full, or the wait was over.
    pub(super) fn of_slots(fault: Fault, limit: u32, expected: Duration) -> Refusal {
        let mut error = CanonicalError::from_fault(fault);
        error.retry_after = Some(expected);
        let policy = format!("\"concurrency\";q={limit};qu=\"concurrent-requests\"");
        let state = format!("\"concurrency\";r=0;t={}", whole_seconds(expected));
        Refusal { limit: Limit::Concurrency, error, headers: fields(&policy, &state) }
    }

    /// A budget of the client's tenant is used up until then.
    pub(crate) fn of_budget(name: &str, until: Duration) -> Refusal {
        let mut error = CanonicalError::from_fault(Fault::BudgetUsedUp);
        error.retry_after = Some(until);
        error.message = format!("{} ({name})", error.message.trim_end_matches('.'));
        Refusal { limit: Limit::Budget, error, headers: HeaderMap::new() }
    }

    /// The provider asked for a pause with this code.
    pub(super) fn of_backoff(code: Code, remaining: Duration) -> Refusal {
        let mut error = CanonicalError::from_fault(Fault::ProviderHeld);
        (error.code, error.retry_after) = (code, Some(remaining));
        // Retrying now is refused in any case, whatever the code says about retries.
        error.retryable = true;
        Refusal { limit: Limit::RetryAfter, error, headers: HeaderMap::new() }
    }

    /// The provider refused the credential on a socket a moment ago. There is no wait to tell: waiting does not help.
    pub(super) fn of_credential(code: Code) -> Refusal {
        let mut error = CanonicalError::from_fault(Fault::CredentialTurnedAway);
        (error.code, error.retryable) = (code, false);
        error.message = format!("{} {}", code.row().sentence, error.message);
        Refusal { limit: Limit::Authentication, error, headers: HeaderMap::new() }
    }
}

/// More than the burst: waiting would not help, so the client learns what has to be smaller.
fn never_fits(limit: &RateLimit, place: Place, cost: u32) -> CanonicalError {
    let (fault, what) = match limit.cost {
        Cost::TextCharacters => (Fault::TextOverRate, "characters of text"),
        Cost::BodyBytes => (Fault::BodyOverRate, "bytes"),
        Cost::AudioSeconds => (Fault::RateExceeded, "seconds"),
        // A request costs one, and a burst is never less.
        Cost::Requests => (Fault::RateExceeded, "requests"),
    };
    let mut error = CanonicalError::from_fault(fault);
    error.retryable = false;
    let whose = if place.of_account { "this route's account" } else { "this route" };
    error.message = format!("The request has {cost} {what}; the rate limit of {whose} allows {} at once.", limit.burst);
    error
}

impl Place {
    /// What the rate is called.
    fn name(self) -> String {
        let Place { number, of_account } = self;
        if of_account { format!("account-rate-{number}") } else { format!("rate-{number}") }
    }
}

/// What a limit is, as a member of `RateLimit-Policy`.
fn policy(limit: &RateLimit, name: &str) -> String {
    let unit = match limit.cost {
        Cost::Requests => "",
        Cost::TextCharacters => ";qu=\"text-characters\"",
        Cost::BodyBytes => ";qu=\"content-bytes\"",
        Cost::AudioSeconds => ";qu=\"audio-seconds\"",
    };
    // The window is in whole seconds; one that is not has no place in the field.
    let window = match limit.per.subsec_nanos() {
        0 => format!(";w={}", limit.per.as_secs()),
        _ => String::new(),
    };
    format!("\"{name}\";q={}{unit}{window}", limit.requests)
}

/// What is left of it, and when there is more, as a member of `RateLimit`.
fn state(name: &str, left: &Left, wait: Duration) -> String {
    format!("\"{name}\";r={};t={}", left.remaining, whole_seconds(wait))
}

/// Adds what is left of a limit that has counted a request.
pub(super) fn tell(headers: &mut HeaderMap, limit: &RateLimit, place: Place, left: Left) {
    let name = place.name();
    append(headers, &policy(limit, &name), &state(&name, &left, left.reset));
}

fn fields(policy: &str, state: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    append(&mut headers, policy, state);
    headers
}

/// Each is a list over all its lines.
fn append(headers: &mut HeaderMap, policy: &str, state: &str) {
    for (name, value) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, state)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            let _ = headers.append(name, value);
        }
    }
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}
