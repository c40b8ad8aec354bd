//! Secrets out of what is shown: query strings in logs, bodies in samples.

use super::path::is_parameter;
use memchr::memmem::Finder;
use std::borrow::Cow;

/// What stands where a secret was.
const STARS: &str = "***";

/// Shorter secrets are not looked for: their stars would say more than they hide.
pub(crate) const SHORTEST: usize = 4;

/// So many times the rare byte of a secret is looked at by itself.
const FEW: usize = 32;

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

/// The values of secret parameters, as they stand in the query and decoded, and the token of `Bearer token`.
pub(crate) fn query_secrets(query: &str, names: &[String]) -> Vec<String> {
    let mut secrets = Vec::new();
    for pair in query.split(['&', ';']) {
        let Some((_, value)) = pair.split_once('=').filter(|_| is_secret(pair, names)) else { continue };
        let decoded = String::from_utf8_lossy(&super::path::decode(value.as_bytes())).into_owned();
        secrets.extend(token(&decoded).map(str::to_owned));
        secrets.push(decoded);
        secrets.push(value.to_owned());
    }
    secrets
}

fn is_secret(pair: &str, names: &[String]) -> bool {
    if SECRET_PARAMETERS.iter().any(|name| is_parameter(pair, name))
        || names.iter().any(|name| is_parameter(pair, name))
    {
        return true;
    }
    let key = super::path::decode(pair.split('=').next().unwrap_or_default().as_bytes()).to_ascii_lowercase();
    SECRET_ENDINGS.iter().any(|ending| key.ends_with(ending.as_bytes()))
}

/// What must not be shown, ready to be looked for.
#[derive(Debug)]
pub struct Hidden(Finder<'static>);

impl Hidden {
    /// A secret that is known before any request comes.
    #[must_use]
    pub fn new(secret: &str) -> Hidden {
        Hidden(Finder::new(secret).into_owned())
    }

    pub(crate) fn is_in(&self, body: &[u8]) -> bool {
        self.0.find(body).is_some()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.needle()
    }
}

/// Whether a secret that came with a request is in a body. Nearly never is it, which a rare byte of it tells for less than it
/// costs to prepare a search.
pub(crate) fn is_in(body: &[u8], secret: &[u8]) -> bool {
    // Digits and capitals are rarer than other letters in what providers write, and few secrets are without.
    let place = secret.iter().position(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()).unwrap_or_default();
    let Some(rare) = secret.get(place) else { return true };
    let mut places = memchr::memchr_iter(*rare, body);
    for at in places.by_ref().take(FEW) {
        let start = at.checked_sub(place);
        if start.and_then(|start| body.get(start..start + secret.len())) == Some(secret) {
            return true;
        }
    }
    // In a body that is full of it, a search takes the same time whatever it looks for.
    places.next().is_some() && memchr::memmem::find(body, secret).is_some()
}

/// A body fit to be shown: every occurrence of a secret is stars. Those shorter than four bytes are not looked
/// for.
#[must_use]
pub fn redact_body<'a>(body: &'a [u8], secrets: &[&[u8]]) -> Cow<'a, [u8]> {
    let mut wanted: Vec<&[u8]> = secrets.iter().copied().filter(|secret| secret.len() >= SHORTEST).collect();
    // The longest first: a secret that begins with another must not leave its end behind.
    wanted.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let mut shown = Cow::Borrowed(body);
    for secret in wanted {
        let finder = Finder::new(secret);
        if finder.find(&shown).is_none() {
            continue;
        }
        let mut replaced = Vec::with_capacity(shown.len());
        let mut from = 0;
        for at in finder.find_iter(&shown) {
            replaced.extend_from_slice(shown.get(from..at).unwrap_or_default());
            replaced.extend_from_slice(STARS.as_bytes());
            from = at + secret.len();
        }
        replaced.extend_from_slice(shown.get(from..).unwrap_or_default());
        shown = Cow::Owned(replaced);
    }
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

/// The token of `Bearer token`: providers echo it alone, and it is the same key as one in a header of its own.
pub(crate) fn token(value: &str) -> Option<&str> {
    value.split_once(' ').map(|(_, token)| token)
}

#[cfg(test)]
mod tests {
    use super::*;
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

    #[test]
    fn secrets_in_bodies_become_stars() {
        for (body, secrets, shown) in [
            ("nothing here", &["sk_live"][..], "nothing here"),
            ("Invalid key sk_live_1!", &["sk_live_1"][..], "Invalid key ***!"),
            ("sk_live_1 sk_live", &["sk_live", "sk_live_1"][..], "*** ***"),
            ("abc", &["", "abc"][..], "abc"),
        ] {
            let secrets: Vec<&[u8]> = secrets.iter().map(|secret| secret.as_bytes()).collect();
            assert_eq!(redact_body(body.as_bytes(), &secrets), shown.as_bytes());
        }
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
        fn a_secret_is_found_wherever_it_is(before in "[ab0]{0,80}", secret in "[ab0]{1,6}", after in "[ab0]{0,80}") {
            let body = format!("{before}{secret}{after}");
            prop_assert!(is_in(body.as_bytes(), secret.as_bytes()));
            prop_assert!(Hidden::new(&secret).is_in(body.as_bytes()));
            let found = memchr::memmem::find(before.as_bytes(), secret.as_bytes()).is_some();
            prop_assert_eq!(is_in(before.as_bytes(), secret.as_bytes()), found);
        }

        #[test]
        fn no_secret_is_left(before in "[a-z]{0,8}", secret in "[A-Z]{4,12}", after in "[a-z]{0,8}") {
            let body = format!("{before}{secret}{after}{secret}");
            let shown = redact_body(body.as_bytes(), &[secret.as_bytes()]).into_owned();
            prop_assert!(memchr::memmem::find(&shown, secret.as_bytes()).is_none());
            let target = format!("/{before}?a={after}&key={secret}");
            prop_assert!(!redact_query(&target, &[]).contains(&secret));
        }
    }
}
