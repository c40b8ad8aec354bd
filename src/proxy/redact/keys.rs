//! The keys to search for: those of a route, which are known in advance and found in one search, and those that a client sent
//! with its request.

use super::escapes::each_form;
use super::{SHORTEST, token};
use crate::config::types::Credentials;
use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD as BASE64};
use http::{HeaderName, HeaderValue};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

/// How many occurrences of a key's rare byte are checked one by one before a full search.
const FEW: usize = 32;

/// Up to this many client keys are searched one by one, which costs less than preparing a combined search.
const ONE_BY_ONE: usize = 8;

/// Shorter keys are not searched for inside of base64, where their spellings would be too short.
const IN_BASE64: usize = 12;

/// The keys that a route injects into its requests, in every spelling in which a response may show them.
#[derive(Debug, Default)]
pub struct RouteKeys {
    /// None when there are no keys.
    search: Option<AhoCorasick>,
    spellings: Vec<Vec<u8>>,
    /// Length of the shortest spelling.
    pub(super) shortest: usize,
    /// Query parameters that carry a key.
    parameters: Vec<String>,
}

impl RouteKeys {
    /// Prepares the search for these credentials, and for other secrets in requests.
    #[must_use]
    pub fn new(credentials: &[Credentials], others: &[&str]) -> RouteKeys {
        let values = credentials.iter().flat_map(Credentials::values).chain(others.iter().copied());
        let spellings: BTreeSet<Vec<u8>> = values.flat_map(spellings).collect();
        let shortest = spellings.iter().map(Vec::len).min().unwrap_or_default();
        // Hexadecimal spellings are equal in either case.
        // No bytes are looked for ahead: those of keys are digits and letters, which stand everywhere in an error.
        let search = AhoCorasick::builder().ascii_case_insensitive(true).prefilter(false).build(&spellings);
        RouteKeys {
            // Building fails only beyond two billion states.
            search: search.ok().filter(|_| !spellings.is_empty()),
            spellings: spellings.into_iter().collect(),
            shortest,
            parameters: credentials.iter().filter_map(|one| one.query.clone()).collect(),
        }
    }

    /// Whether there are no keys.
    pub(crate) fn is_empty(&self) -> bool {
        self.search.is_none()
    }

    /// Whether the name of a field contains a key; names have no escapes.
    pub(super) fn is_in_name(&self, name: &HeaderName) -> bool {
        let search = self.search.as_ref().filter(|_| name.as_str().len() >= self.shortest);
        search.is_some_and(|search| search.is_match(name.as_str()))
    }

    /// Finds the keys in a text.
    pub(super) fn find_in(&self, text: &[u8]) -> Vec<Range<usize>> {
        match self.search.as_ref().filter(|search| search.is_match(text)) {
            Some(search) => search.find_overlapping_iter(text).map(|found| found.range()).collect(),
            None => Vec::new(),
        }
    }

    /// Finds the beginning of a key at the end of a truncated text.
    pub(super) fn begun_in(&self, text: &[u8]) -> Option<Range<usize>> {
        begun(text, self.spellings.iter().map(Vec::as_slice))
    }

    /// The whole `name=value` around a key in a query, with one of its separators, if the key is the whole value: without it the
    /// URL still works, because the route injects the key again.
    pub(super) fn pair(&self, text: &[u8], key: &Range<usize>) -> Option<Range<usize>> {
        let (before, behind) = (text.get(..key.start)?, text.get(key.end..)?);
        let is_end = |byte: &u8| byte.is_ascii_whitespace() || b"&;#<>\"'`),".contains(byte);
        if !behind.first().is_none_or(is_end) {
            return None;
        }
        let ends = |name: &&String| {
            let end = before.len().checked_sub(name.len() + 1);
            end.and_then(|end| before.get(end..)).is_some_and(|tail| {
                tail.strip_suffix(b"=").is_some_and(|tail| tail.eq_ignore_ascii_case(name.as_bytes()))
            })
        };
        let name = self.parameters.iter().find(ends)?;
        let start = before.len() - name.len() - 1;
        match (text.get(start.checked_sub(1)?)?, behind.first()) {
            (b'?', Some(b'&' | b';')) => Some(start..key.end + 1),
            (b'?' | b'&' | b';', _) => Some(start - 1..key.end),
            _ => None,
        }
    }
}

/// The spellings of a key in a response, beside the escapes that are decoded before the search.
fn spellings(value: &str) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for key in parts(value.as_bytes()) {
        all.extend(forms(&key));
        let exchanged = |from: u8, to: u8| key.iter().map(|&byte| if byte == from { to } else { byte }).collect();
        all.extend([exchanged(b' ', b'+'), exchanged(b'+', b' ')]);
        if key.len() >= IN_BASE64 {
            all.extend(in_base64(&key));
        }
    }
    all.retain(|spelling| spelling.len() >= SHORTEST);
    all
}

/// A key, and what decoding escapes makes of it, which differs if the key contains something that looks like an escape.
fn forms(key: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    let _ = each_form::<()>(key, |form| {
        forms.push(form.to_vec());
        Vec::new()
    });
    forms
}

/// A credential and its parts: the token of `Bearer token`, user and password of `Basic`.
fn parts(value: &[u8]) -> Vec<Cow<'_, [u8]>> {
    let mut parts = vec![Cow::Borrowed(value)];
    let Some(token) = token(value) else { return parts };
    parts.push(Cow::Borrowed(token));
    parts.extend(parameters(token).map(Cow::Borrowed));
    let is_basic = is_basic(value);
    let Some(pair) = BASE64.decode(token).ok().filter(|_| is_basic) else { return parts };
    let colon = memchr::memchr(b':', &pair).unwrap_or(pair.len());
    let (user, password) = (&pair[..colon], pair.get(colon + 1..).unwrap_or_default());
    // If the key is the user name, the password is trivial. Otherwise the user name is an ordinary word.
    if password.len() < SHORTEST {
        parts.push(Cow::Owned(user.to_vec()));
    }
    parts.push(Cow::Owned(password.to_vec()));
    parts.push(Cow::Owned(pair));
    parts
}

fn is_basic(value: &[u8]) -> bool {
    value.trim_ascii_start().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic"))
}

/// Whether a credential has more parts than its token: names and passwords, parameters.
fn is_made_of_several(value: &[u8], token: &[u8]) -> bool {
    // A `=` at the end of a base64 token does not separate parameters.
    is_basic(value) || token.windows(2).any(|pair| pair[0] == b'=' && pair[1] != b'=')
}

/// The keys in `token="key", nonce=…`: the values of parameters whose names indicate a secret (RFC 9110 11.4).
fn parameters(token: &[u8]) -> impl Iterator<Item = &[u8]> {
    token.split(|byte| matches!(byte, b',' | b';')).filter_map(|parameter| {
        let (name, value) = parameter.split_at(memchr::memchr(b'=', parameter)?);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        let is_key = || str::from_utf8(name.trim_ascii()).is_ok_and(super::is_secret_name);
        (value.len() >= SHORTEST && is_key()).then_some(value)
    })
}

/// The parts of a key's base64 encoding that do not depend on its surroundings: for each of the three alignments of its first
/// byte, in both alphabets, without the letters that also encode neighbouring bytes.
fn in_base64(key: &[u8]) -> Vec<Vec<u8>> {
    let engines = [&STANDARD, &URL_SAFE].map(|alphabet| GeneralPurpose::new(alphabet, NO_PAD));
    let shifted = |engine: &GeneralPurpose, before: usize| {
        let encoded = engine.encode([&b"\0\0"[..before], key].concat()).into_bytes();
        let begin = [0, 2, 3][before];
        let whole = (before + key.len()) * 8 / 6;
        encoded.get(begin..whole).unwrap_or_default().to_vec()
    };
    engines.iter().flat_map(|engine| (0..3).map(move |before| shifted(engine, before))).collect()
}

/// The keys that a client sent, which no error may show if a provider echoes them.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientKeys {
    /// The first key in headers; nearly always there is at most one.
    first: Option<HeaderValue>,
    more: Vec<HeaderValue>,
    /// Keys in other places: subprotocols, messages.
    others: Vec<String>,
}

impl ClientKeys {
    /// The keys in the header fields of a request.
    pub(crate) fn new<'h>(mut sent: impl Iterator<Item = &'h HeaderValue>) -> ClientKeys {
        ClientKeys { first: sent.next().cloned(), more: sent.cloned().collect(), others: Vec::new() }
    }

    /// The first of those in headers.
    pub(crate) fn first(&self) -> Option<&HeaderValue> {
        self.first.as_ref()
    }

    /// Adds keys that were found later or in other places.
    pub(crate) fn add(&mut self, keys: Vec<String>) {
        self.others.extend(keys);
    }

    /// Whether there are no keys.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.more.is_empty() && self.others.is_empty()
    }

    /// Whether a text may contain one of them; nearly every field needs no other check.
    pub(crate) fn may_be_in(&self, text: &[u8]) -> bool {
        if self.is_empty() {
            return false;
        }
        let headers = self.first.iter().chain(&self.more).map(HeaderValue::as_bytes);
        let mut keys = headers.chain(self.others.iter().map(String::as_bytes));
        let has_escapes = || memchr::memchr3(b'\\', b'%', b'&', text).is_some();
        let may_be = |key: &[u8]| text.len() >= key.len() && (is_in(text, key) || has_escapes());
        keys.any(|key| match token(key) {
            Some(token) if is_made_of_several(key, token) => parts(key).iter().any(|part| may_be(part)),
            Some(token) => may_be(token),
            None => may_be(key),
        })
    }

    /// All of them and those in the query, prepared for a search.
    pub(crate) fn with<'k>(&'k self, query: &'k [String]) -> Needles<'k> {
        let headers = self.first.iter().chain(&self.more).map(HeaderValue::as_bytes);
        let others = self.others.iter().chain(query).map(String::as_bytes);
        let mut keys: Vec<Cow<'k, [u8]>> = headers.chain(others).flat_map(parts).collect();
        let undone: Vec<Vec<u8>> = keys.iter().flat_map(|key| forms(key).into_iter().skip(1)).collect();
        keys.extend(undone.into_iter().map(Cow::Owned));
        keys.retain(|key| key.len() >= SHORTEST);
        let search = (keys.len() > ONE_BY_ONE).then(|| AhoCorasick::new(&keys).ok()).flatten();
        Needles { keys, search }
    }
}

/// The keys of a request, prepared for a search.
#[derive(Debug)]
pub(crate) struct Needles<'k> {
    keys: Vec<Cow<'k, [u8]>>,
    /// Used when there are too many to search for one by one.
    search: Option<AhoCorasick>,
}

impl Needles<'_> {
    /// Finds the keys in a text.
    pub(super) fn find_in(&self, text: &[u8]) -> Vec<Range<usize>> {
        if let Some(search) = &self.search {
            return search.find_overlapping_iter(text).map(|found| found.range()).collect();
        }
        let there = self.keys.iter().filter(|key| is_in(text, key));
        let places = |key: &Cow<'_, [u8]>| {
            let length = key.len();
            memchr::memmem::find_iter(text, key).map(|at| at..at + length).collect::<Vec<_>>()
        };
        there.flat_map(places).collect()
    }

    /// Finds the beginning of a key at the end of a truncated text.
    pub(super) fn begun_in(&self, text: &[u8]) -> Option<Range<usize>> {
        begun(text, self.keys.iter().map(|key| &**key))
    }
}

fn begun<'k>(text: &[u8], keys: impl Iterator<Item = &'k [u8]>) -> Option<Range<usize>> {
    let begins = |key: &[u8]| (SHORTEST..key.len()).rev().find(|&length| text.ends_with(&key[..length]));
    let longest = keys.filter_map(begins).max()?;
    Some(text.len() - longest..text.len())
}

/// Whether a key of a request is in a text. It nearly never is, and checking a rare byte of the key costs less than preparing a
/// search.
fn is_in(text: &[u8], key: &[u8]) -> bool {
    // Digits and capitals are rarer than other letters in what providers send, and few keys have none.
    let place = key.iter().position(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()).unwrap_or_default();
    let Some(rare) = key.get(place) else { return true };
    let mut places = memchr::memchr_iter(*rare, text);
    for at in places.by_ref().take(FEW) {
        let start = at.checked_sub(place);
        if start.and_then(|start| text.get(start..start + key.len())) == Some(key) {
            return true;
        }
    }
    // In a text with many of them, a full search has predictable cost.
    places.next().is_some() && memchr::memmem::find(text, key).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_of_credentials_are_keys_too() {
        let basic = format!("Basic {}", BASE64.encode("speaker:pa55:word"));
        let key_alone = format!("basic {}", BASE64.encode("sk_live_1:"));
        for (value, wanted) in [
            ("sk_live_1", &["sk_live_1"][..]),
            ("Bearer sk_live_1", &["Bearer sk_live_1", "sk_live_1"]),
            (basic.as_str(), &[basic.as_str(), &basic[6..], "pa55:word", "speaker:pa55:word"]),
            (key_alone.as_str(), &[key_alone.as_str(), &key_alone[6..], "sk_live_1", "", "sk_live_1:"]),
            ("Basic ???", &["Basic ???", "???"]),
            (
                "Token token=\"sk_live_1\", x=abcdef",
                &["Token token=\"sk_live_1\", x=abcdef", "token=\"sk_live_1\", x=abcdef", "sk_live_1"],
            ),
        ] {
            let found: Vec<String> =
                parts(value.as_bytes()).iter().map(|part| String::from_utf8_lossy(part).into()).collect();
            assert_eq!(found, wanted);
        }
    }

    proptest! {
        #[test]
        fn a_key_is_found_wherever_it_is(before in "[ab0]{0,80}", key in "[ab0]{1,6}", after in "[ab0]{0,80}") {
            let text = format!("{before}{key}{after}");
            prop_assert!(is_in(text.as_bytes(), key.as_bytes()));
            let found = memchr::memmem::find(before.as_bytes(), key.as_bytes()).is_some();
            prop_assert_eq!(is_in(before.as_bytes(), key.as_bytes()), found);
        }

        #[test]
        fn a_key_in_base64_is_found_wherever_it_is(before in "[ -~]{0,9}", key in "[!-~]{12,40}", after in "[ -~]{0,9}") {
            let text = format!("{before}{key}{after}");
            for alphabet in [&STANDARD, &URL_SAFE] {
                let encoded = GeneralPurpose::new(alphabet, NO_PAD).encode(&text);
                let is_there = |spelling: &Vec<u8>| memchr::memmem::find(encoded.as_bytes(), spelling).is_some();
                prop_assert!(in_base64(key.as_bytes()).iter().any(is_there), "{} in {}", key, encoded);
            }
        }
    }
}
