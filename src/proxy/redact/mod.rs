//! Secrets out of what is shown: keys that a provider echoes, query strings in logs, tokens in samples.
//!
//! Everything that comes from a provider passes `clean` or `clean_fields` before anybody here reads it: heads of answers when
//! they have come (informational ones and trailers too), bodies of failures, events and messages that may be errors, reasons of closes,
//! and success bodies that the gateway looks at anyway. What is made of them afterwards, envelopes, log lines, ids and samples,
//! has no key in it then. Keys are looked for in the text as it is and with its escapes undone (`escapes`); which keys, `keys`
//! says. Other success bodies are not read.

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

/// What stands where a secret was.
const STARS: &str = "***";

/// Shorter secrets are not looked for: their stars would say more than they hide.
pub(crate) const SHORTEST: usize = 4;

/// So much of a text that comes in parts waits for the next of them: no key is longer, however it is spelled.
const HELD: usize = 16 * 1024;

/// Parameters that carry secrets at one provider or another, whatever the profile says.
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

/// Endings of names that say "secret" in any vocabulary: `x-amz-security-token`, `subscription_key`.
const SECRET_ENDINGS: [&str; 8] =
    ["_key", "-key", "_token", "-token", "_secret", "-secret", "-signature", "-credential"];

/// A target fit to be shown: the values of secret parameters are stars. Names are compared decoded and in any case.
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

/// The values of secret parameters, as they stand in the query and decoded.
pub(crate) fn query_secrets(query: &str, names: &[String]) -> Vec<String> {
    let mut secrets = Vec::new();
    for pair in query.split(['&', ';']) {
        let Some((_, value)) = pair.split_once('=').filter(|_| is_secret(pair, names)) else { continue };
        let decoded = String::from_utf8_lossy(&super::path::decode(value.as_bytes())).into_owned();
        // In a query a plus may be a space.
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

/// What stands in the place of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instead {
    /// Stars.
    Stars,
    /// Nothing where the key is a parameter that the route puts into its queries: the URL can still be followed. Else stars.
    Nothing,
}

/// A text without the keys of a route, and without those of a client; none when there were none.
pub(crate) fn clean(text: &[u8], route: &RouteKeys, client: Option<&Needles<'_>>, instead: Instead) -> Option<Vec<u8>> {
    clean_part(text, route, client, instead, false)
}

/// The same for a text that may have been cut off in the middle of a key.
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

/// A text that comes in parts without the keys of a route: what of it may go out with this part. `held` is what may be the beginning
/// of a key and waits; nothing does with the `last` part. `cut_off`: whether more should have come.
pub(crate) fn clean_next(held: &mut Vec<u8>, part: &[u8], route: &RouteKeys, last: bool, cut_off: bool) -> Vec<u8> {
    held.extend_from_slice(part);
    let mut found = find(held, route, None, Instead::Nothing, cut_off);
    found.sort_by_key(|(range, _)| range.start);
    let mut safe = if last { held.len() } else { held.len().saturating_sub(HELD) };
    for (key, _) in &found {
        // What is a key already goes out as one.
        if key.start < safe {
            safe = safe.max(key.end);
        }
    }
    found.retain(|(key, _)| key.end <= safe);
    let shown = without(held.get(..safe).unwrap_or_default(), found);
    drop(held.drain(..safe));
    shown
}

/// Where keys are in a text, and what is to stand there.
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

/// A text in which something else stands in place of these ranges.
fn without(text: &[u8], mut ranges: Vec<(Range<usize>, Instead)>) -> Vec<u8> {
    // Of two that begin together the longer is first: it is the one that counts.
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

/// A text in which long tokens are stars: runs of letters, digits and `_-.+=~` that no word and no code looks like. What a
/// provider says about a key that nobody told this gateway, an id, a signature.
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

/// Words joined by `_`, `-` or `.` are short each, and do not mix letters with digits at length.
fn is_token(run: &str) -> bool {
    let mixed = |part: &str| part.bytes().any(|b| b.is_ascii_digit()) && part.bytes().any(|b| b.is_ascii_alphabetic());
    let looks_random = |part: &str| part.len() >= 24 || part.len() >= 8 && mixed(part);
    run.len() >= 16 && run.split(['_', '-', '.']).any(looks_random)
        || run.len() >= 16 && !run.contains(|c: char| !c.is_ascii_digit())
}

/// Whether a member or a header of this name carries a secret.
pub(crate) fn is_secret_name(name: &str) -> bool {
    is_secret(name, &[])
}

/// The token of `Bearer token`: providers echo it alone, and it is the same key as one in a header of its own. Some clients put
/// more than one space in front of it, or a tab (RFC 9110 5.6.3).
pub(crate) fn token(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    let token = memchr::memchr2(b' ', b'\t', value).and_then(|space| value.get(space + 1..));
    token.map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests;
