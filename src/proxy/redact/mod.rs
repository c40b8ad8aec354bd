//! Secrets out of what is shown: keys that a provider echoes, query strings in logs, tokens in samples.
//!
//! Everything that comes from a provider passes `clean` or `clean_fields` before anybody here reads it: heads of answers when
//! they have come (interim ones and trailers too), bodies of failures, events and messages that may be errors, reasons of closes,
//! and success bodies that the gateway looks at anyway. What is made of them afterwards, envelopes, log lines, ids and samples,
//! has no key in it then. Keys are looked for in the text as it is and with its escapes undone (`escapes`); which keys, `keys`
//! says. Other success bodies are not read.

mod escapes;
mod fields;
mod keys;

pub(crate) use fields::clean_fields;
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
    let found = escapes::each_form(text, |form| {
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
    });
    (!found.is_empty()).then(|| without(text, found))
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
mod tests {
    use super::*;
    use crate::config::secret::Secret;
    use crate::config::types::Credentials;
    use proptest::prelude::*;

    #[test]
    fn secret_parameters_become_stars() {
        let names = ["tenant-name".to_owned()];
        for (target, shown) in [
            ("/v1/x", "/v1/x"),
            ("/v1/x?model=a&voice=b", "/v1/x?model=a&voice=b"),
            ("/x?token=Bearer%20abc&a=1", "/x?token=***&a=1"),
            ("/x?a=1&ACCESS_TOKEN=abc", "/x?a=1&ACCESS_TOKEN=***"),
            ("/x?to%6ben=abc", "/x?to%6ben=***"),
            ("/x?tenant-name=abc", "/x?tenant-name=***"),
            ("/x?a=1;api_key=s;b", "/x?a=1;api_key=***;b"),
            ("/x?X-Amz-Signature=abc&X-Amz-Date=1", "/x?X-Amz-Signature=***&X-Amz-Date=1"),
            ("/x?token=a=b&&token=", "/x?token=***&&token=***"),
            ("/x?token", "/x?token"),
            ("/x?max_tokens=5&keyterms=x", "/x?max_tokens=5&keyterms=x"),
        ] {
            assert_eq!(redact_query(target, &names), shown);
        }
    }

    fn keys(value: &str, query: Option<&str>) -> RouteKeys {
        let value = Secret::new(value.to_owned());
        let query = query.map(str::to_owned);
        let spellings = crate::config::types::Spellings::default();
        RouteKeys::new(
            &[Credentials { header: None, query, subprotocol: None, first_message: None, value, spellings }],
            &[],
        )
    }

    fn shown(text: &str, route: &RouteKeys, client: &[String], instead: Instead) -> String {
        let none = ClientKeys::default();
        let cleaned = clean(text.as_bytes(), route, Some(&none.with(client)), instead);
        cleaned.map_or_else(|| text.to_owned(), |text| String::from_utf8(text).expect("text"))
    }

    #[test]
    fn keys_become_stars() {
        let route = keys("Bearer sk_live_1", None);
        for (text, wanted) in [
            ("nothing here", "nothing here"),
            ("Invalid key sk_live_1!", "Invalid key ***!"),
            ("Bearer sk_live_1 or SK_LIVE_1", "*** or ***"),
            ("own own-key own", "own *** own"),
            ("sk_live_own-key", "sk_live_***"),
        ] {
            assert_eq!(shown(text, &route, &["own-key".to_owned(), "own".to_owned()], Instead::Stars), wanted);
        }
        assert_eq!(shown("abc", &keys("abc", None), &[], Instead::Stars), "abc", "too short to be a key");
    }

    /// Keys were looked for in the text as it was, so that any serialiser that writes `/` as `\/` gave them away.
    #[test]
    fn a_key_is_found_however_it_is_spelled() {
        const KEY: &str = "sk+live/0123456789%41b==";
        let percent: String = KEY.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let html: String = KEY.chars().map(|char| format!("&#{};", u32::from(char))).collect();
        let json: String = KEY.chars().map(|char| format!("\\u{:04X}", u32::from(char))).collect();
        let spellings = [
            KEY.to_owned(),
            KEY.replace('/', "\\/").replace('+', "\\u002B"),
            KEY.replace('=', "\\u003d"),
            crate::proxy::path::encode(KEY),
            crate::proxy::path::encode(KEY).to_lowercase(),
            crate::proxy::path::encode(&crate::proxy::path::encode(KEY)),
            KEY.replace('+', " "),
            percent,
            html,
            json,
            KEY.replace('+', "&plus;").replace('/', "&#x2f;"),
            KEY.replace('+', "\\u{2b}").replace('/', "%25252F").replace('=', "\\x3d"),
            KEY.replace('+', "\\u{00002B}").replace('/', "&#0000000047;").replace('=', "&equals;"),
            KEY.replace('+', "\\x{2b}").replace('/', "\\057").replace('=', "\\U0000003D"),
            KEY.replace('+', "%26%2343%3b").replace('/', "\\u0026sol\\u003b").replace('=', "&#37;3d"),
            "YTpzaytsaXZlLzAxMjM0NTY3ODklNDFiPT0".to_owned(),
        ];
        for own in [true, false] {
            let (route, client) = if own { (keys(KEY, None), vec![]) } else { (keys("", None), vec![KEY.to_owned()]) };
            for (index, spelled) in spellings.iter().enumerate() {
                let text = shown(&format!("key ({spelled})"), &route, &client, Instead::Stars);
                // Of a client's key only what its own request told is known.
                if own || !matches!(index, 6 | 15) {
                    let left = text.trim_start_matches("key (").trim_end_matches(')');
                    assert!(left.contains("***") && left.len() <= 7, "{spelled}: {text}");
                }
            }
        }
    }

    /// Of a scheme and a key with two spaces or a tab between them the key alone was not known.
    #[test]
    fn a_key_behind_a_scheme_is_found_however_much_space_is_between_them() {
        for value in ["Bearer sk_live_1", "bearer  sk_live_1", "Bearer\tsk_live_1", "Bearer \t sk_live_1 "] {
            assert_eq!(token(value.as_bytes()), Some(&b"sk_live_1"[..]), "{value:?}");
            assert_eq!(shown("key sk_live_1!", &keys(value, None), &[], Instead::Stars), "key ***!", "{value:?}");
            let own = [value.to_owned()];
            assert_eq!(shown("key sk_live_1!", &keys("", None), &own, Instead::Stars), "key ***!", "{value:?}");
        }
        assert_eq!(token(b" sk_live_1 "), None);
    }

    #[test]
    fn an_injected_parameter_goes_out_of_urls_and_the_rest_can_be_followed() {
        let route = keys("sk+1/2==", Some("api_key"));
        for (text, wanted) in [
            ("/v1?api_key=sk%2B1%2F2%3D%3D", "/v1"),
            ("/v1?api_key=sk%2b1%2f2%3d%3d&page=2", "/v1?page=2"),
            ("/v1?page=2&API_KEY=sk%2B1%2F2%3D%3D#top", "/v1?page=2#top"),
            ("/v1?page=2;api_key=sk%2B1%2F2%3D%3D&a", "/v1?page=2&a"),
            ("</v1?api_key=sk%2B1%2F2%3D%3D&p=2>; rel=next", "</v1?p=2>; rel=next"),
            ("/go?to=%2Fv1%3Fapi_key%3Dsk%252B1%252F2%253D%253D", "/go?to=%2Fv1"),
            (r#"{"next":"\/v1?p=2\u0026api_key=sk%2B1%2F2%3D%3D"}"#, r#"{"next":"\/v1?p=2"}"#),
            ("/v1?my_api_key=sk%2B1%2F2%3D%3D", "/v1?my_api_key=***"),
            ("/v1?api_key=sk%2B1%2F2%3D%3Dmore", "/v1?api_key=***more"),
            ("/v1/sk%2B1%2F2%3D%3D?api_key=other", "/v1/***?api_key=other"),
        ] {
            assert_eq!(shown(text, &route, &[], Instead::Nothing), wanted);
        }
        assert_eq!(shown("/v1?api_key=sk%2B1%2F2%3D%3D", &route, &[], Instead::Stars), "/v1?api_key=***");
    }

    #[test]
    fn tokens_become_stars_and_words_stay() {
        for (text, shown) in [
            ("", ""),
            ("The voice_not_found_in_workspace_anymore code", "The voice_not_found_in_workspace_anymore code"),
            ("model eleven_multilingual_v2_5 at api.example.com", "model eleven_multilingual_v2_5 at api.example.com"),
            ("key sk_live_51H8abcdEfgh1234 is wrong", "key *** is wrong"),
            ("{\"id\":\"550e8400-e29b-41d4-a716-446655440000\"}", "{\"id\":\"***\"}"),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.x1y2z3", "***"),
            ("card 4111111111111111, 42 left", "card ***, 42 left"),
            ("abcdefghijklmnopqrstuvwxyzabcdef", "***"),
            ("2026-11-21T09:30:00.123Z", "2026-11-21T09:30:00.123Z"),
            ("ü sk_live_51H8abcdEfgh1234 ü", "ü *** ü"),
        ] {
            assert_eq!(redact_tokens(text), shown);
        }
    }

    proptest! {
        #[test]
        fn no_secret_is_left(before in "[a-z]{0,8}", secret in "[A-Z]{4,12}", after in "[a-z]{0,8}") {
            let text = format!("{before}{secret}{after}{secret}");
            for (route, client) in [(keys(&secret, None), vec![]), (keys("", None), vec![secret.clone()])] {
                prop_assert!(!shown(&text, &route, &client, Instead::Stars).contains(&secret));
            }
            let target = format!("/{before}?a={after}&key={secret}");
            prop_assert!(!redact_query(&target, &[]).contains(&secret));
        }
    }
}
