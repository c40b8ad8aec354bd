//! Heuristics for errors that no profile knows: a recognisable word in the code, the status, the text.

use super::code::{Code, Type};

mod words;

pub(crate) use words::Strength;
use words::Strength::{Fair, Strong, Weak};
use words::{PHRASES, WORDS};

/// The meaning of a word of this strength in a code, with the word; none where the status says otherwise.
#[must_use]
pub(crate) fn by_word(code: &str, strength: Strength, status: Option<u16>) -> Option<(Code, &'static [&'static str])> {
    let folded = fold(code);
    let counts = |code: Code| match strength {
        Strong | Fair => !contradicts(code, status),
        Weak => agrees(code, status),
    };
    let row = WORDS.iter().find(|(words, of, code)| *of == strength && has_all(&folded, words) && counts(*code));
    row.map(|(words, _, code)| (*code, *words))
}

/// The meaning of a phrase in a text, with the phrase.
#[must_use]
pub(crate) fn by_text(text: &str) -> Option<(Code, &'static [&'static str])> {
    let folded = fold(text);
    PHRASES.iter().find(|(words, _)| has_all(&folded, words)).map(|(words, code)| (*code, *words))
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
        Type::Timeout => !(is_servers || code == Code::SessionTimeout && matches!(status, 408 | 410 | 440)),
        Type::Internal | Type::Upstream => !is_servers && status != 424,
        Type::Cancelled => status != 499,
    }
}

/// Whether a status means something of the same kind, and nothing more specific.
pub(crate) fn agrees(code: Code, status: Option<u16>) -> bool {
    let Some(status @ 400..=599) = status else { return true };
    // What is most general within its type leaves room for what the status says more precisely.
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

fn has_all(folded: &str, words: &[&str]) -> bool {
    words.iter().all(|word| match word.as_bytes() {
        [b'*', ..] => folded.contains(word.trim_start_matches('*')),
        [b'=', ..] => folded.trim_matches('_') == word.trim_start_matches('='),
        _ => folded.match_indices(word).any(|(at, _)| folded.as_bytes().get(at.wrapping_sub(1)) == Some(&b'_')),
    })
}

/// Lower case, `camelCase` and `HTTPError` split, everything but letters and digits as one `_`, and one at either end.
fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len().min(512) + 8);
    folded.push('_');
    let mut before = ' ';
    let mut chars = text.chars().take(512).peekable();
    while let Some(char) = chars.next() {
        if char.is_alphanumeric() {
            let begins =
                before.is_lowercase() || before.is_uppercase() && chars.peek().is_some_and(|next| next.is_lowercase());
            if char.is_uppercase() && begins && !folded.ends_with('_') {
                folded.push('_');
            }
            folded.extend(char.to_lowercase());
        } else if !folded.ends_with('_') && char != '\'' && char != '\u{2019}' {
            folded.push('_');
        }
        before = char;
    }
    if !folded.ends_with('_') {
        folded.push('_');
    }
    folded
}

/// The meaning of a status alone; none below 400.
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
        // Whoever says that its client has left means this gateway, which is still there and waits, as its own client does.
        499 => Code::Interrupted,
        // RFC 9110 has no 509 and 529; hosting panels and Anthropic, Shopify and others use them so.
        509 => Code::QuotaExceeded,
        503 => Code::Unavailable,
        529 => Code::Overloaded,
        502 | 520 | 527 | 530 => Code::UpstreamError,
        // Cloudflare 521 to 526: its own view of the origin.
        521 | 523 => Code::UpstreamUnreachable,
        504 | 522 | 524 | 598 | 599 => Code::UpstreamTimeout,
        525 | 526 => Code::UpstreamTlsError,
        400..=498 => Code::InvalidRequest,
        500..=599 => Code::InternalError,
        _ => return None,
    })
}

/// The meaning of a number of google.rpc.Code; none for 0, which is no error.
#[must_use]
pub(crate) fn by_grpc(number: u16) -> Option<Code> {
    Some(match number {
        // Not by our client, which waits for the answer.
        1 => Code::Interrupted,
        2 => Code::UnknownError,
        3 | 11 => Code::InvalidParameter,
        4 => Code::UpstreamTimeout,
        5 => Code::ResourceNotFound,
        6 => Code::AlreadyExists,
        7 => Code::PermissionDenied,
        8 => Code::RateLimited,
        9 => Code::Conflict,
        10 => Code::ConcurrentModification,
        12 => Code::MethodNotAllowed,
        13 | 15 => Code::InternalError,
        14 => Code::Unavailable,
        16 => Code::InvalidCredentials,
        _ => return None,
    })
}

/// The meaning of a WebSocket close code alone (RFC 6455 7.4.1 and the IANA registry); none for a normal end.
#[must_use]
pub(crate) fn by_close(close: u16) -> Option<Code> {
    Some(match close {
        1000 | 1001 | 1005 => return None,
        1002 | 1003 | 1008 => Code::InvalidRequest,
        1006 => Code::UpstreamDisconnected,
        1007 => Code::MalformedBody,
        1009 => Code::PayloadTooLarge,
        1010 => Code::InvalidRequest,
        1011 => Code::InternalError,
        1012 => Code::Interrupted,
        1013 => Code::Overloaded,
        1014 => Code::UpstreamError,
        1015 => Code::UpstreamTlsError,
        3000 => Code::InvalidCredentials,
        3003 => Code::PermissionDenied,
        3008 => Code::SessionTimeout,
        // Many servers put an HTTP status behind a leading 4.
        4400..=4599 => return by_status(close - 4000),
        _ => Code::UnknownError,
    })
}

#[cfg(test)]
mod tests;
