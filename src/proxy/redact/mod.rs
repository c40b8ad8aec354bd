//! Redacts secrets: keys that a provider echoes, query strings in logs, tokens in samples.
//!
//! Everything from a provider passes `clean` or `clean_fields` before other code uses it: heads (including informational ones and
//! trailers), bodies of failures, events and messages that may be errors, close reasons, and success bodies that are inspected
//! anyway. Envelopes, log lines, ids and samples derived from them therefore contain no key. A text is searched as it is and with
//! its escapes decoded (`escapes`), for the keys in `keys`. Other success bodies are not read.

mod escapes;
mod fields;
mod keys;

pub(crate) use fields::{Hidden, clean_fields};
pub use keys::RouteKeys;
pub(crate) use keys::{ClientKeys, Needles};

use super::path::{is_one_of, parameter_name};
use std::borrow::Cow;
use std::cmp::Reverse;
use std::ops::Range;

/// The replacement for a secret.
const STARS: &str = "***";

/// Shorter secrets are not searched for: redacting them would reveal more than it hides.
pub(crate) const SHORTEST: usize = 4;

/// How much of a text in parts is held back until the next part: no spelling of a key is longer.
const HELD: usize = 16 * 1024;

/// Parameters that carry secrets at some provider, whatever the profile says.
const SECRET_PARAMETERS: [&str; 21] = [
    "access_token",
    "api-key",
    "api_key",
    "apikey",
    "auth",
    "authorization",
    "client_secret",
    "conversation_signature",
    "credential",
    "id_token",
    "key",
    "passwd",
    "password",
    "refresh_token",
    "secret",
    "sig",
    "signature",
    "single_use_token",
    "token",
    "x-api-key",
    "xi-api-key",
];

/// Endings of names that indicate a secret: `x-amz-security-token`, `subscription_key`.
const SECRET_ENDINGS: [&str; 8] =
    ["_key", "-key", "_token", "-token", "_secret", "-secret", "-signature", "-credential"];

/// A target fit to be shown, with the values of secret parameters redacted. Names are compared decoded and ignoring case.
#[must_use]
pub fn redact_query<'a>(path_and_query: &'a str, names: &[String]) -> Cow<'a, str> {
    let Some((path, query)) = path_and_query.split_once('?') else { return Cow::Borrowed(path_and_query) };
    // Some servers split at `;` too.
    let secret = |pair: &&str| pair.contains('=') && is_secret(pair, names);
    if !query.split(['&', ';']).any(|pair| secret(&pair)) {
        return Cow::Borrowed(path_and_query);
    }
    let mut shown = String::with_capacity(path_and_query.len());
    shown.push_str(path);
    shown.push('?');
    for piece in query.split_inclusive(['&', ';']) {
        let pair = piece.trim_end_matches(['&', ';']);
        if secret(&pair) {
            shown.push_str(pair.split('=').next().unwrap_or_default());
            shown.push('=');
            shown.push_str(STARS);
        } else {
            shown.push_str(pair);
        }
        shown.push_str(piece.get(pair.len()..).unwrap_or_default());
    }
    Cow::Owned(shown)
}

/// The values of secret parameters, as written in the query and decoded.
pub(crate) fn query_secrets(query: &str, names: &[String]) -> Vec<String> {
    let mut secrets = Vec::new();
    for pair in query.split(['&', ';']) {
        let Some((_, value)) = pair.split_once('=').filter(|_| is_secret(pair, names)) else { continue };
        let decoded = String::from_utf8_lossy(&super::path::decode(value.as_bytes())).into_owned();
        // In a query, a plus may stand for a space.
        let spaced = decoded.contains('+').then(|| decoded.replace('+', " "));
        secrets.push(decoded);
        secrets.extend(spaced);
        secrets.push(value.to_owned());
    }
    secrets
}

fn is_secret(pair: &str, names: &[String]) -> bool {
    let name = parameter_name(pair);
    let ends_with = |ending: &&str| {
        let end = name.len().checked_sub(ending.len()).and_then(|at| name.get(at..));
        end.is_some_and(|end| end.eq_ignore_ascii_case(ending.as_bytes()))
    };
    is_one_of(&name, &SECRET_PARAMETERS) || is_one_of(&name, names) || SECRET_ENDINGS.iter().any(ends_with)
}

/// The replacement for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instead {
    /// Stars.
    Stars,
    /// Nothing, if the key is a query parameter that the route injects, so that the URL can still be followed; otherwise stars.
    Nothing,
}

/// A text without the keys of a route and of a client; none when it contains none.
pub(crate) fn clean(text: &[u8], route: &RouteKeys, client: Option<&Needles<'_>>, instead: Instead) -> Option<Vec<u8>> {
    clean_part(text, route, client, instead, false)
}

/// Like `clean`, for a text that may be cut in the middle of a key.
pub(crate) fn clean_part(
    text: &[u8],
    route: &RouteKeys,
    client: Option<&Needles<'_>>,
    instead: Instead,
    cut_off: bool,
) -> Option<Vec<u8>> {
    let found = find(text, route, client, instead, cut_off);
    (!found.is_empty()).then(|| without(text, found))
}

/// Removes the keys of a route from a text in parts, and returns what can be sent with this part. `held` has bytes that may be
/// the beginning of a key; after the `last` part it is empty. `cut_off`: more should have followed.
pub(crate) fn clean_next(held: &mut Vec<u8>, part: &[u8], route: &RouteKeys, last: bool, cut_off: bool) -> Vec<u8> {
    held.extend_from_slice(part);
    let mut found = find(held, route, None, Instead::Nothing, cut_off);
    found.sort_by_key(|(range, _)| range.start);
    let mut safe = if last { held.len() } else { held.len().saturating_sub(HELD) };
    for (key, _) in &found {
        // A key that is complete is replaced and sent.
        if key.start < safe {
            safe = safe.max(key.end);
        }
    }
    found.retain(|(key, _)| key.end <= safe);
    let shown = without(held.get(..safe).unwrap_or_default(), found);
    drop(held.drain(..safe));
    shown
}

/// Finds the keys in a text, and their replacements.
fn find(
    text: &[u8],
    route: &RouteKeys,
    client: Option<&Needles<'_>>,
    instead: Instead,
    cut_off: bool,
) -> Vec<(Range<usize>, Instead)> {
    escapes::each_form(text, |form| {
        let mut found: Vec<(Range<usize>, Instead)> = Vec::new();
        for key in route.find_in(form) {
            match Some(&key).filter(|_| instead == Instead::Nothing).and_then(|key| route.pair(form, key)) {
                Some(pair) => found.push((pair, Instead::Nothing)),
                None => found.push((key, Instead::Stars)),
            }
        }
        let theirs = client.iter().flat_map(|keys| keys.find_in(form));
        found.extend(theirs.map(|key| (key, Instead::Stars)));
        if cut_off {
            let begun = [route.begun_in(form), client.and_then(|keys| keys.begun_in(form))];
            found.extend(begun.into_iter().flatten().map(|key| (key, Instead::Stars)));
        }
        found
    })
}

/// A text with these ranges replaced.
fn without(text: &[u8], mut ranges: Vec<(Range<usize>, Instead)>) -> Vec<u8> {
    // Of two ranges with the same beginning, the longer one comes first and counts.
    ranges.sort_by_key(|(range, _)| (range.start, Reverse(range.end)));
    let mut shown = Vec::with_capacity(text.len());
    let mut from = 0;
    for (range, instead) in ranges {
        if range.start >= from {
            shown.extend_from_slice(text.get(from..range.start).unwrap_or_default());
            if instead == Instead::Stars {
                shown.extend_from_slice(STARS.as_bytes());
            }
        }
        from = from.max(range.end);
    }
    shown.extend_from_slice(text.get(from..).unwrap_or_default());
    shown
}

/// A text with long tokens redacted: runs of letters, digits and `_-.+=~` that look like neither a word nor a code. Used for what
/// a provider says about a key unknown to this gateway, an id, a signature.
#[must_use]
pub fn redact_tokens(text: &str) -> Cow<'_, str> {
    let is_part = |char: char| char.is_ascii_alphanumeric() || "_-.+=~".contains(char);
    let mut shown = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_part) {
        let run = &rest[start..];
        let run = &run[..run.find(|char| !is_part(char)).unwrap_or(run.len())];
        if is_token(run) {
            shown.push_str(&rest[..start]);
            shown.push_str(STARS);
        } else {
            shown.push_str(&rest[..start + run.len()]);
        }
        rest = &rest[start + run.len()..];
    }
    if shown.is_empty() {
        return Cow::Borrowed(text);
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

/// Words joined by `_`, `-` or `.` are short, and do not mix many letters and digits.
fn is_token(run: &str) -> bool {
    let mixed = |part: &str| part.bytes().any(|b| b.is_ascii_digit()) && part.bytes().any(|b| b.is_ascii_alphabetic());
    let looks_random = |part: &str| part.len() >= 24 || part.len() >= 8 && mixed(part);
    run.len() >= 16 && run.split(['_', '-', '.']).any(looks_random)
        || run.len() >= 16 && !run.contains(|c: char| !c.is_ascii_digit())
}

/// Whether a member or header of this name carries a secret.
pub(crate) fn is_secret_name(name: &str) -> bool {
    is_secret(name, &[])
}

/// The token of `Bearer token`: providers echo it without its scheme, and it may also be sent in a header of its own. Some
/// clients put more than one space before it, or a tab (RFC 9110 5.6.3).
pub(crate) fn token(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    let token = memchr::memchr2(b' ', b'\t', value).and_then(|space| value.get(space + 1..));
    token.map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests;
