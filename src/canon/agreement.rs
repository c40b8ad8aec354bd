//! What a status means, and whether it agrees with what a failure is said to mean: one notion for rows, rules, words, catch-alls and what stands in
//! front of providers.
//!
//! A status agrees, leaves room, or contradicts. What is precise needs no more than room; what is vague needs agreement.

use super::code::{Code, Type};

/// The meaning of a status by itself; `None` below 400.
#[must_use]
pub(crate) fn by_status(status: u16) -> Option<Code> {
    Some(match status {
        401 | 407 => Code::InvalidCredentials,
        402 => Code::InsufficientCredits,
        403 | 451 => Code::PermissionDenied,
        404 | 410 => Code::ResourceNotFound,
        405 => Code::MethodNotAllowed,
        408 => Code::RequestTimeout,
        409 | 412 | 423 | 428 => Code::Conflict,
        413 => Code::PayloadTooLarge,
        415 => Code::UnsupportedContentType,
        422 => Code::InvalidParameter,
        425 => Code::NotReady,
        429 => Code::RateLimited,
        // A 499 says that the provider's client left. That client is this gateway, which is still waiting, and so is ours.
        499 => Code::Interrupted,
        // Not in RFC 9110; hosting panels send 509, Anthropic and Shopify 529, with these meanings.
        509 => Code::QuotaExceeded,
        503 => Code::Unavailable,
        529 => Code::Overloaded,
        502 | 520 | 527 | 530 => Code::UpstreamError,
        // Cloudflare's 521 to 526 describe the origin as Cloudflare sees it.
        521 | 523 => Code::UpstreamUnreachable,
        504 | 522 | 524 | 598 | 599 => Code::UpstreamTimeout,
        525 | 526 => Code::UpstreamTlsError,
        400..=498 => Code::InvalidRequest,
        500..=599 => Code::InternalError,
        _ => return None,
    })
}

/// Whether a status makes a meaning impossible: a provider that is down has not judged the request, and one that refused the
/// request is not down.
pub(crate) fn contradicts(code: Code, status: Option<u16>) -> bool {
    let Some(status @ 400..=599) = status else { return false };
    let is_servers = status >= 500;
    match code.kind() {
        Type::InvalidRequest => {
            let other_verb = status == 405 && code != Code::MethodNotAllowed;
            is_servers || other_verb || matches!(status, 401 | 402 | 403 | 407 | 408 | 425 | 429 | 499)
        }
        Type::Authentication => is_servers || matches!(status, 402 | 404..=406 | 408..=418 | 425 | 429 | 499),
        Type::PaymentRequired => matches!(status, 404 | 405 | 408 | 413 | 415 | 499 | 502 | 504),
        Type::PermissionDenied => is_servers || matches!(status, 404 | 405 | 408 | 413 | 415 | 425 | 426 | 429 | 499),
        Type::NotFound => is_servers || matches!(status, 401 | 402 | 405 | 407 | 408 | 413 | 415 | 425 | 429 | 499),
        Type::Conflict => is_servers || matches!(status, 401..=405 | 407 | 408 | 410 | 413 | 415 | 429 | 499),
        Type::NotReady => is_servers || matches!(status, 401..=403 | 405 | 407 | 413 | 415 | 429 | 499),
        Type::RateLimited | Type::ConcurrencyLimited => {
            matches!(status, 401 | 404 | 405 | 413 | 415 | 499 | 500 | 502 | 504)
        }
        Type::Unavailable => !is_servers && !matches!(status, 425 | 429),
        Type::Timeout if code == Code::SessionTimeout => !is_servers && !matches!(status, 408 | 410 | 440),
        Type::Timeout if code == Code::RequestTimeout => !is_servers && status != 408,
        Type::Timeout => !is_servers,
        Type::Internal | Type::Upstream => !is_servers && status != 424,
        Type::Cancelled => status != 499,
    }
}

/// Whether a status rules out a meaning that only a text suggests. A 5xx also rules out a refusal over payment here.
pub(crate) fn contradicts_text(code: Code, status: Option<u16>) -> bool {
    let is_servers = status.is_some_and(|status| (500..=599).contains(&status) && !matches!(status, 507 | 509));
    contradicts(code, status) || is_servers && code.kind() == Type::PaymentRequired
}

/// Whether a status means the same kind of thing and is no more specific.
pub(crate) fn agrees(code: Code, status: Option<u16>) -> bool {
    let Some(status @ 400..=599) = status else { return true };
    // The most general code of a type gives way to a more precise status.
    if matches!(code, Code::InvalidRequest | Code::InvalidParameter | Code::MissingParameter) {
        return matches!(status, 400 | 422);
    }
    if matches!(code, Code::InternalError | Code::UnknownError) {
        return matches!(status, 500 | 501 | 505..=508);
    }
    if code == Code::UpstreamError {
        return matches!(status, 500 | 502 | 520..=530);
    }
    match code.kind() {
        Type::InvalidRequest => matches!(status, 400 | 422),
        Type::Authentication => matches!(status, 401 | 403 | 407 | 419 | 440 | 498),
        Type::PaymentRequired => matches!(status, 400..=403 | 429),
        Type::PermissionDenied => matches!(status, 400..=403 | 422 | 451),
        Type::NotFound => matches!(status, 400 | 404 | 410 | 422),
        Type::Conflict => matches!(status, 400 | 409 | 412 | 422 | 423 | 428),
        Type::NotReady => matches!(status, 400 | 404 | 409 | 425),
        Type::RateLimited | Type::ConcurrencyLimited => matches!(status, 400 | 402 | 403 | 420 | 429 | 430),
        Type::Unavailable => matches!(status, 500 | 502 | 503 | 529) || code == Code::Overloaded && status == 429,
        Type::Timeout => matches!(status, 500 | 502..=504 | 522 | 524 | 598 | 599),
        Type::Internal | Type::Upstream => matches!(status, 500..=502),
        Type::Cancelled => status == 499,
    }
}

/// Whether a meaning is no more specific than a status: a code with this meaning is no better evidence than a status that disagrees.
pub(crate) fn is_general(code: Code) -> bool {
    use Code::{InternalError, InvalidParameter, InvalidRequest, MissingParameter, UnknownError};
    matches!(code, InvalidRequest | InvalidParameter | MissingParameter | InternalError | UnknownError)
}

/// Whether what a profile says of a code that it knows by name counts beside this status: what is specific always, what is general
/// unless the status says otherwise or more.
pub(crate) fn stands(code: Code, status: Option<u16>) -> bool {
    let says_more = status.and_then(by_status).is_some_and(|said| !is_general(said));
    !is_general(code) || !contradicts(code, status) && !says_more
}
