//! A rejection by a limit, as an error and header fields.
//!
//! The fields are those of draft-ietf-httpapi-ratelimit-headers-11: `RateLimit-Policy` describes the limit, `RateLimit` its
//! remaining quota and when it resets. `Retry-After` belongs to the error itself, on compatible routes as well: a wait computed
//! by this gateway is exact, and official SDKs that retry respect it.

use crate::canon::{CanonicalError, Code, Fault};
use crate::config::types::{Cost, RateLimit};
use crate::limit::rate::{Left, Refused};
use crate::telemetry::metrics::Limit;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::time::Duration;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The position of a rate limit in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// From 1.
    pub(super) number: usize,
    /// Whether it is a limit of the account, and not of the route.
    pub(super) of_account: bool,
}

/// Why a request is not sent.
#[derive(Debug)]
pub enum Denied {
    /// A fault of the request.
    Fault(Fault),
    /// A limit rejects it.
    Limit(Box<Refusal>),
}

/// A rejection by a limit.
#[derive(Debug)]
pub struct Refusal {
    /// Which limit it was.
    pub limit: Limit,
    /// The error for the client.
    pub error: CanonicalError,
    /// The header fields for the client.
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

    /// A rate of the client's tenant is exceeded. `number` is the limit's position in the tenant's configuration.
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

    /// No slot: the queue is full, or the wait timed out.
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

    /// A backoff with this code is in force.
    pub(super) fn of_backoff(code: Code, remaining: Duration) -> Refusal {
        let mut error = CanonicalError::from_fault(Fault::ProviderHeld);
        (error.code, error.retry_after) = (code, Some(remaining));
        // Whatever the code says about retries, a later retry may be admitted.
        error.retryable = true;
        Refusal { limit: Limit::RetryAfter, error, headers: HeaderMap::new() }
    }

    /// The provider refused the credential on another socket a moment ago. There is no `Retry-After`, because waiting does not
    /// help.
    pub(super) fn of_credential(code: Code) -> Refusal {
        let mut error = CanonicalError::from_fault(Fault::CredentialTurnedAway);
        (error.code, error.retryable) = (code, false);
        error.message = format!("{} {}", code.row().sentence, error.message);
        Refusal { limit: Limit::Authentication, error, headers: HeaderMap::new() }
    }
}

/// The cost exceeds the burst: waiting would not help, so the client is told what has to be smaller.
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
    /// The name of the limit in header fields.
    fn name(self) -> String {
        let Place { number, of_account } = self;
        if of_account { format!("account-rate-{number}") } else { format!("rate-{number}") }
    }
}

/// The limit as a member of `RateLimit-Policy`.
fn policy(limit: &RateLimit, name: &str) -> String {
    let unit = match limit.cost {
        Cost::Requests => "",
        Cost::TextCharacters => ";qu=\"text-characters\"",
        Cost::BodyBytes => ";qu=\"content-bytes\"",
        Cost::AudioSeconds => ";qu=\"audio-seconds\"",
    };
    // The field has the window in whole seconds; other windows are left out.
    let window = match limit.per.subsec_nanos() {
        0 => format!(";w={}", limit.per.as_secs()),
        _ => String::new(),
    };
    format!("\"{name}\";q={}{unit}{window}", limit.requests)
}

/// The remaining quota, and when it grows, as a member of `RateLimit`.
fn state(name: &str, left: &Left, wait: Duration) -> String {
    format!("\"{name}\";r={};t={}", left.remaining, whole_seconds(wait))
}

/// Adds the remaining quota of a limit that has counted a request.
pub(super) fn tell(headers: &mut HeaderMap, limit: &RateLimit, place: Place, left: Left) {
    let name = place.name();
    append(headers, &policy(limit, &name), &state(&name, &left, left.reset));
}

fn fields(policy: &str, state: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    append(&mut headers, policy, state);
    headers
}

/// Appends to both list fields.
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
