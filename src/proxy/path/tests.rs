//! Paths as clients and attackers write them.

use super::*;
use proptest::prelude::*;

fn outcome(raw: &str) -> Result<(String, usize), Refusal> {
    normalise(raw).map(|normal| (normal.path.into_owned(), normal.kept))
}

#[test]
fn legal_paths_go_out_byte_for_byte() {
    for path in [
        "/",
        "/v1/text-to-speech/JBFqnCBsd6RMkjVDRZzb/stream",
        "/v1/voices/my%20voice",
        "/v1/voices/a+b",
        "/v1/voices/%E2%82%AC%c3%a9",
        "/v1/voices/latin%e9",
        "/v1//double//slash/",
        "/v1/a;v=1/b,c=d/e:f@g/~!$&'()*",
        "/v1/.well-known/..hidden/...",
        "/v1/models/facebook%2Fmms-tts",
        "/v1/100%25",
        "/v1/100%2525",
        "/v1/line%0d%0abreak",
        "/a/b.c/d..e/f.",
    ] {
        let normal = normalise(path).expect(path);
        assert!(matches!(normal.path, Cow::Borrowed(same) if same == path), "{path}");
        assert_eq!(normal.kept, path.len(), "{path}");
    }
}

#[test]
fn dot_segments_are_resolved_and_leaving_is_remembered() {
    for (raw, path, kept) in [
        ("/a/./b", "/a/b", 4),
        ("/a/b/..", "/a/", 2),
        ("/a/b/.", "/a/b/", 5),
        ("/a/b/../c", "/a/c", 2),
        ("/a/%2e%2E/c", "/c", 0),
        ("/a/.%2e/c", "/c", 0),
        ("/a/%2e/c", "/a/c", 4),
        ("/a/b/../../c/d", "/c/d", 0),
        ("/a//../b", "/a/b", 2),
        ("/a/..", "/", 0),
        ("/.", "/", 1),
    ] {
        assert_eq!(outcome(raw), Ok((path.to_owned(), kept)), "{raw}");
    }
}

#[test]
fn ambiguous_paths_are_refused() {
    for (raw, refusal) in [
        ("", Refusal::NotAPath),
        ("*", Refusal::NotAPath),
        ("example.com:443", Refusal::NotAPath),
        ("/a b", Refusal::IllegalByte),
        ("/a\\b", Refusal::IllegalByte),
        ("/a\\..\\b", Refusal::IllegalByte),
        ("/a#b", Refusal::IllegalByte),
        ("/a\u{7f}", Refusal::IllegalByte),
        ("/caf\u{e9}", Refusal::IllegalByte),
        ("/a%", Refusal::BrokenEscape),
        ("/a%4", Refusal::BrokenEscape),
        ("/a%u002e", Refusal::BrokenEscape),
        ("/a%2%65", Refusal::BrokenEscape),
        ("/a%00", Refusal::EncodedNul),
        ("/a%2500", Refusal::EncodedNul),
        ("/a%5cb", Refusal::EncodedBackslash),
        ("/a/..%5C..", Refusal::EncodedBackslash),
        ("/a/%c0%ae%c0%ae/b", Refusal::Overlong),
        ("/a/%c0%af", Refusal::Overlong),
        ("/a/%e0%80%ae", Refusal::Overlong),
        ("/a/%f0%80%80%af", Refusal::Overlong),
        ("/a/%25c0%25ae", Refusal::Overlong),
        ("/..", Refusal::AboveRoot),
        ("/a/../../b", Refusal::AboveRoot),
        ("/%2e%2e/b", Refusal::AboveRoot),
        ("/a/..;/b", Refusal::DotParameters),
        ("/a/.;x=1/b", Refusal::DotParameters),
        ("/a/%2e%2e;x/b", Refusal::DotParameters),
        ("/a/..%2fb", Refusal::HiddenDots),
        ("/a/..%2Fb", Refusal::HiddenDots),
        ("/a/b%2f..%2fc", Refusal::HiddenDots),
        ("/a/%2e%2e%2fb", Refusal::HiddenDots),
        ("/a/..%3bx/b", Refusal::HiddenDots),
        ("/a/%252e%252e/b", Refusal::HiddenDots),
        ("/a/..%252fb", Refusal::HiddenDots),
        ("/a/%25252e%25252e", Refusal::HiddenDots),
        ("/a/%255c..%255cb", Refusal::HiddenDots),
        ("/a/%2525252525252525", Refusal::TooDeep),
    ] {
        assert_eq!(outcome(raw), Err(refusal), "{raw}");
    }
}

#[test]
fn the_alias_is_the_careless_reading() {
    for (raw, alias) in [
        ("/a/b", None),
        ("/%61/b", Some("/a/b")),
        ("//a///b", Some("/a/b")),
        ("/a%2fb", Some("/a/b")),
        ("/a/%2f/b", Some("/a/b")),
    ] {
        assert_eq!(normalise(raw).expect(raw).alias.as_deref(), alias, "{raw}");
    }
}

#[test]
fn the_upstream_target_keeps_path_and_query() {
    let secrets = ["token".to_owned(), "api_key".to_owned()];
    for (base, rest, whole, expected) in [
        ("", "/v1/x", "/el/v1/x?a=b%20c&d=+", "/v1/x?a=b%20c&d=+"),
        ("", "", "/el", "/"),
        ("", "", "/el?q", "/?q"),
        ("", "/", "/el/", "/"),
        ("/base", "", "/el", "/base"),
        ("/base", "//x", "/el//x?", "/base//x?"),
        ("", "/x", "/x?token=s&a=1", "/x?a=1"),
        ("", "/x", "/x?to%6ben=s", "/x"),
        ("", "/x", "/x?a=1&API_KEY=s&b=token", "/x?a=1&b=token"),
    ] {
        let whole: PathAndQuery = whole.parse().expect(whole);
        let target = upstream_target(base, rest, Some(&whole), &secrets).expect(rest);
        assert_eq!(target.as_str(), expected);
    }
}

/// Paths made of what attacks are made of.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/", "/", "/", ".", "..", "%2e", "%2E", "%2f", "%5c", "%25", "%252e", "%c0%ae", ";", "a", "pub", "%61", "%20",
        "e", "2", "%00", "\\",
    ]);
    prop::collection::vec(piece, 0..14).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #[test]
    fn normalising_is_idempotent_and_leaves_nothing_hidden(raw in hostile()) {
        if let Ok(normal) = normalise(&raw) {
            prop_assert!(normal.path.starts_with('/'));
            prop_assert!(normal.kept <= normal.path.len());
            let again = normalise(&normal.path).expect("a normal path is normal");
            prop_assert_eq!(&again.path, &normal.path);
            // However often a server decodes, no dot segment comes out.
            let mut view = normal.path.as_bytes().to_vec();
            for _ in 0..8 {
                for part in view.split(|byte| matches!(byte, b'/' | b'\\')) {
                    prop_assert!(!matches!(part.split(|b| *b == b';').next(), Some(b"." | b"..")), "{} in {raw}", normal.path);
                }
                view = decode(&view);
            }
        }
    }

    #[test]
    fn kept_bytes_are_the_clients_own(raw in hostile()) {
        if let Ok(normal) = normalise(&raw) {
            let kept = &normal.path[..normal.kept];
            let dotless: Vec<&str> = raw.split('/').filter(|segment| dots(segment) != 1).collect();
            prop_assert!(dotless.join("/").starts_with(kept.trim_end_matches('/')), "{kept} of {raw}");
        }
    }

    #[test]
    fn ordinary_segments_pass_untouched(segments in prop::collection::vec("[A-Za-z0-9_~!$&'()*+,=:@-]([A-Za-z0-9._~-]|%20|%C3%A9){0,12}", 0..6)) {
        let raw = format!("/{}", segments.join("/"));
        prop_assert_eq!(outcome(&raw), Ok((raw.clone(), raw.len())));
    }
}

#[test]
fn parameters_are_left_out_wherever_they_stand() {
    let names = ["token".to_owned(), "api_key".to_owned()];
    for (query, left) in [
        ("", ""),
        ("a=1&b", "a=1&b"),
        ("token=x", ""),
        ("token=x&", ""),
        ("a&token=x", "a"),
        ("a;token=x", "a"),
        ("a;token=x&b", "a&b"),
        ("a&token=x;b", "a&b"),
        ("a;token=x;b", "a;b"),
        ("token=x;token=y&b&&", "b&&"),
        ("token=x;;b", ";b"),
        ("TOKEN%5B%5D=x&to%6ben[a]=y&api.key=z&api+key=z&+token=1&b", "b"),
        ("max_token=1&tokens=2&api-key=3", "max_token=1&tokens=2&api-key=3"),
    ] {
        assert_eq!(without_parameters(query, &names), left, "{query}");
    }
}
