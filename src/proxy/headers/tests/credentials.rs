//! Credentials of a route take the place of the client's.

use super::*;

#[test]
fn injected_credentials_replace_every_key_of_the_client() {
    let given =
        ["authorization: Bearer mine", "xi-api-key: mine", "xi-api-key: mine too", "x_legacy_key: mine", "x-other: 1"];
    assert_eq!(sent(&given, false, true), ["x-other: 1", "xi-api-key: injected"]);
    let mut kept: Vec<String> = given.iter().map(|line| (*line).to_owned()).collect();
    kept.sort_by(|a, b| a.split(':').next().cmp(&b.split(':').next()));
    assert_eq!(sent(&given, false, false), kept);
    // A session's own secret is not the client's key.
    assert_eq!(keyed(true).drop_query(false), ["api_key"]);
    assert!(keyed(false).drop_query(false).is_empty());
    assert!(!format!("{:?}", keyed(true)).contains("injected"));
}

/// A route with two credentials in these places.
fn placed(place: impl Fn(&mut Credentials)) -> RouteHeaders {
    let mut route = route_with("/el", ProfileSpec::default());
    route.credentials = ["sk 1", "sk 2"].map(credentials).to_vec();
    route.credentials.iter_mut().for_each(place);
    RouteHeaders::new(&route).expect("headers")
}

#[test]
fn credentials_go_where_they_are_to_stand() {
    let header = |one: &mut Credentials| one.header = Some(HeaderName::from_static("x-k"));
    let query = |one: &mut Credentials| one.query = Some("token".to_owned());
    let both = |one: &mut Credentials| (header(one), query(one)).0;
    let message = |one: &mut Credentials| one.first_message = Some("key".to_owned());
    let target = |headers: &RouteHeaders, target: &str, websocket| {
        let target = target.parse().expect("a target");
        headers.target(target, Destination::default(), websocket).expect("a target").to_string()
    };
    for (headers, websocket, given, expected) in [
        (placed(header), true, "/x", "/x"),
        (placed(query), false, "/x", "/x?token=sk%201"),
        (placed(query), true, "/x?a=1", "/x?a=1&token=sk%201"),
        (placed(query), true, "/x?", "/x?token=sk%201"),
        (placed(both), true, "/x", "/x?token=sk%201"),
        (placed(both), false, "/x", "/x"),
        (placed(message), true, "/x", "/x"),
    ] {
        assert_eq!(target(&headers, given, websocket), expected);
        assert!(!format!("{headers:?}").contains("sk"), "{headers:?}");
    }
    // What is put in on WebSockets alone takes nothing of the client's anywhere else.
    let drops = |headers: RouteHeaders| [false, true].map(|websocket| !headers.drop_query(websocket).is_empty());
    assert_eq!(drops(placed(both)), [true, true]);
    assert_eq!(placed(message).drop_query(false), [""; 0]);
}

#[test]
fn one_credential_stands_in_for_another() {
    let headers = placed(|one| {
        one.header = Some(HeaderName::from_static("x-k"));
        one.query = Some("token".to_owned());
        one.subprotocol = one.value.reveal().ends_with('2').then(|| SubprotocolPlace::Prefix("t.".to_owned()));
    });
    let [first, second] = [0, 1].map(|account| Destination { account, ..Destination::default() });
    for target in ["/x", "/x?a=1"] {
        let mut parts = http::Request::new(()).into_parts().0;
        parts.uri = headers.target(target.parse().expect("a target"), first, true).expect("a target").into();
        let _ = parts.headers.insert("sec-websocket-protocol", HeaderValue::from_static("v1"));
        let _ = parts.headers.insert("upgrade", HeaderValue::from_static("websocket"));
        let _ = parts.headers.insert("host", HeaderValue::from_static("api.example.com"));
        headers.inject(&mut parts.headers, first, true);
        let before = parts.clone();
        headers.redirect(&mut parts, first, second);
        let separator = if target.contains('?') { '&' } else { '?' };
        assert_eq!(parts.uri.to_string(), format!("{target}{separator}token=sk%202"));
        assert_eq!(parts.headers["x-k"], "sk 2");
        assert_eq!(parts.headers["sec-websocket-protocol"], "v1, t.sk 2");
        headers.redirect(&mut parts, second, first);
        assert_eq!((&parts.uri, &parts.headers), (&before.uri, &before.headers));
    }
}
