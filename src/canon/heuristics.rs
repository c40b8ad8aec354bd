//! Heuristics for errors that no profile knows: a recognisable word in the code, the status, the text.

use super::agreement::{agrees, by_status, contradicts};
use super::code::Code;

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

fn has_all(folded: &str, words: &[&str]) -> bool {
    words.iter().all(|word| match word.as_bytes() {
        [b'*', ..] => folded.contains(word.trim_start_matches('*')),
        [b'=', ..] => folded.trim_matches('_') == word.trim_start_matches('='),
        _ => folded.match_indices(word).any(|(at, _)| folded.as_bytes().get(at.wrapping_sub(1)) == Some(&b'_')),
    })
}

/// Folds a code: lower case, `camelCase` and `HTTPError` split, each run of other characters as one `_`, and one at either end.
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

/// The meaning of a number of google.rpc.Code; none for 0, which is no error.
#[must_use]
pub(crate) fn by_grpc(number: u16) -> Option<Code> {
    Some(match number {
        // Our client did not cancel: it is still waiting.
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
        // Many servers use 4000 plus an HTTP status.
        4400..=4599 => return by_status(close - 4000),
        _ => Code::UnknownError,
    })
}

#[cfg(test)]
mod tests;
