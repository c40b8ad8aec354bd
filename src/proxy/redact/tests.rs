//! Keys in every spelling, and what is no key.

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

/// Keys were searched in the raw text only, so a serialiser that writes `/` as `\/` leaked them.
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
            // Of a client's key, only the spelling in its own request is known.
            if own || !matches!(index, 6 | 15) {
                let left = text.trim_start_matches("key (").trim_end_matches(')');
                assert!(left.contains("***") && left.len() <= 7, "{spelled}: {text}");
            }
        }
    }
}

/// After a scheme with two spaces or a tab, the key alone was not recognised.
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
fn a_key_in_a_text_that_comes_in_parts_is_found_wherever_it_is_cut() {
    let route = keys("sk+live/0123456789", Some("api_key"));
    let filler = "x".repeat(HELD);
    for spelled in ["sk+live/0123456789", "sk\\u002blive\\/0123456789", "sk%252Blive%2F0123456789"] {
        let text = format!("{filler}{spelled}-{spelled} /v1?api_key={spelled}&page=2 {filler}");
        let wanted = format!("{filler}***-*** /v1?page=2 {filler}");
        for size in (1..40).map(|size| size * 97).chain([HELD - 1, HELD, HELD + 7, text.len()]) {
            let (mut held, mut shown) = (Vec::new(), Vec::new());
            let parts: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            for (index, part) in parts.iter().enumerate() {
                shown.extend(clean_next(&mut held, part, &route, index + 1 == parts.len(), false));
                assert!(held.len() <= HELD);
            }
            assert!(shown == wanted.as_bytes(), "{spelled} by {size}");
        }
    }
    let mut held = Vec::new();
    let _ = clean_next(&mut held, b"a sk+live/01234", &route, false, false);
    assert_eq!(clean_next(&mut held, b"", &route, true, true), b"a ***");
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
