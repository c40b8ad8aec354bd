//! Headers that a client could spoof, and those that a proxy must add or take away.

use crate::support::check::{Outcome, ensure, rows};
use crate::support::world::{get, get_with};
use crate::support::{Act, Fields, World, envelope};

/// What the provider sees of a GET with these header lines.
fn forwarded(world: &World, lines: &str) -> Fields {
    let answer = world.ask(get_with("/p/a", lines));
    assert_eq!(answer.status, 200, "{lines:?}: {}", answer.text());
    world.provider.one().fields
}

#[test]
fn claims_about_the_client_are_not_believed() {
    let world = World::start();
    let names = [
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-Server",
        "Forwarded",
        "X-Real-IP",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Original-Host",
        "X-Envoy-External-Address",
        "X-Envoy-Original-Path",
        "X-Forwarded-Client-Cert",
        "Proxy",
        "True-Client-IP",
        "X-Client-IP",
    ];
    rows(
        names,
        |name| (*name).to_owned(),
        |name| {
            let fields = forwarded(&world, &format!("{name}: evil.example\r\n"));
            let found = fields.0.iter().find(|(_, value)| value.windows(4).any(|part| part == b"evil"));
            ensure!(found.is_none(), "forwarded as {found:?}");
            Ok(())
        },
    );
    world.clean();
}

#[test]
fn the_client_is_named_truly() {
    let world = World::start();
    let fields = forwarded(&world, "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n");
    assert_eq!(fields.get("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(fields.get("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(fields.get("x-forwarded-host").as_deref(), Some("gateway.test"));
}

#[test]
fn a_trusted_client_is_believed_and_appended_to() {
    let world = World::with(|settings| settings.server("trust_forwarded = true"));
    let fields = forwarded(&world, "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n");
    assert_eq!(fields.all("x-forwarded-for").join(", "), "1.2.3.4, 127.0.0.1");
    assert_eq!(fields.get("x-forwarded-proto").as_deref(), Some("https"));
}

#[test]
fn names_with_underscores_are_not_passed_on() {
    let world = World::start();
    for name in ["X_Api_Key", "Content_Type", "X_Forwarded_For", "Xi_Api_Key", "_", "A_B"] {
        let answer = world.ask(get_with("/p/a", &format!("{name}: twin\r\n")));
        assert!(matches!(answer.status, 200 | 400), "{name}: {}", answer.line);
        for seen in world.provider.take() {
            assert!(!seen.fields.has(name), "{name} was forwarded");
        }
    }
    world.clean();
}

#[test]
fn fields_of_the_connection_end_here() {
    let world = World::start();
    let table = [
        ("Keep-Alive", "Keep-Alive: timeout=5\r\n"),
        ("Connection", "Connection: keep-alive\r\n"),
        ("Proxy-Connection", "Proxy-Connection: keep-alive\r\n"),
        ("Proxy-Authorization", "Proxy-Authorization: Basic eDp5\r\n"),
        ("TE", "TE: gzip\r\n"),
        ("TE", "TE: trailers\r\n"),
        ("Upgrade", "Upgrade: h2c\r\n"),
        ("X-Mine", "Connection: x-mine\r\nX-Mine: a\r\n"),
        ("X-Mine", "Connection: close, X-MINE\r\nX-Mine: a\r\n"),
        ("X-Mine", "Connection: , ,x-mine,\r\nX-Mine: a\r\n"),
        ("X-Two", "Connection: x-mine\r\nConnection: x-two\r\nX-Mine: a\r\nX-Two: b\r\n"),
    ];
    rows(
        table,
        |(_, lines)| format!("{lines:?}"),
        |(name, lines)| {
            let fields = forwarded(&world, lines);
            ensure!(!fields.has(name), "{name} was forwarded: {:?}", fields.all(name));
            ensure!(!fields.has("connection"), "Connection was forwarded: {:?}", fields.all("connection"));
            Ok(())
        },
    );
    let kept = forwarded(&world, "X-Mine: a\r\n");
    assert_eq!(kept.get("x-mine").as_deref(), Some("a"), "what Connection does not name passes");
    world.clean();
}

#[test]
fn trailers_are_accepted_only_when_the_connection_says_so() {
    let world = World::start();
    let fields = forwarded(&world, "Connection: TE\r\nTE: trailers\r\n");
    let te = fields.get("te");
    // Either is right (RFC 9110 10.1.4): not at all, or `trailers` together with `Connection: TE`.
    assert!(te.is_none() || te.as_deref() == Some("trailers") && fields.has("connection"), "{fields:?}");
}

#[test]
fn connection_cannot_remove_important_fields() {
    let world = World::start();
    let names = [
        "Xi-Api-Key",
        "Authorization",
        "Host",
        "X-Request-Id",
        "Via",
        "X-Forwarded-For",
        "Traceparent",
        "Content-Type",
    ];
    rows(
        names,
        |name| (*name).to_owned(),
        |name| {
            let lines = format!(
                "Connection: {name}\r\nXi-Api-Key: k\r\nAuthorization: Bearer t\r\nX-Request-Id: abc-123\r\n\
             Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
            );
            let answer = world.ask(get_with("/p/a", &lines));
            if answer.status == 400 {
                return Ok(());
            }
            let seen = world.provider.one().fields;
            for kept in ["xi-api-key", "authorization", "host", "x-request-id", "via", "x-forwarded-for"] {
                ensure!(seen.has(kept), "{kept} is gone");
            }
            Ok(())
        },
    );
    world.clean();
}

#[test]
fn via_names_this_hop_and_keeps_the_others() {
    let world = World::start();
    let own = forwarded(&world, "").get("via").expect("a Via");
    assert!(own.starts_with("1.1 speechgate"), "{own}");
    let chain = forwarded(&world, "Via: 1.0 fred, 1.1 p.example\r\n").all("via").join(", ");
    assert_eq!(chain, format!("1.0 fred, 1.1 p.example, {own}"));
}

#[test]
fn a_well_formed_request_id_is_kept() {
    let world = World::start();
    for id in ["abc-123", "01KAQ8Z6M3W4E0J7T5YV9S2N1C", "550e8400-e29b-41d4-a716-446655440000", "a.b_c:d"] {
        let answer = world.ask(get_with("/p/a", &format!("X-Request-Id: {id}\r\n")));
        let seen = world.provider.one().fields.get("x-request-id");
        assert_eq!((answer.field("x-request-id").as_str(), seen.as_deref()), (id, Some(id)));
    }
}

#[test]
fn any_other_request_id_is_replaced() {
    let world = World::start();
    let long = "x".repeat(5000);
    let ids = ["", "a b", "a\"b", "a\tb", "<script>", "a,b", "a;b", "\u{e9}", "{}", &long];
    let mut known = Vec::new();
    for id in ids {
        known.push(check_replaced(&world, &format!("X-Request-Id: {id}\r\n"), id));
    }
    known.push(check_replaced(&world, "X-Request-Id: one\r\nX-Request-Id: two\r\n", "one"));
    known.push(check_replaced(&world, "", "none"));
    known.sort();
    known.dedup();
    assert_eq!(known.len(), ids.len() + 2, "ids of our own are unique");
}

/// The id that the gateway gave instead; the same for client and provider, and harmless.
fn check_replaced(world: &World, lines: &str, not: &str) -> String {
    let answer = world.ask(get_with("/p/a", lines));
    let seen = world.provider.one().fields;
    let id = answer.field("x-request-id");
    assert_eq!(seen.get("x-request-id").as_ref(), Some(&id));
    assert!(
        id != not && id.len() <= 128 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
        "{id:?}"
    );
    id
}

#[test]
fn trace_context_passes() {
    let world = World::start();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let fields = forwarded(&world, &format!("Traceparent: {parent}\r\nTracestate: a=1,b=2\r\nBaggage: c=d\r\n"));
    let trace = fields.get("traceparent").expect("a trace goes on");
    assert_eq!(trace.split('-').nth(1), parent.split('-').nth(1), "the same trace");
    assert_eq!(fields.get("tracestate").as_deref(), Some("a=1,b=2"));
    assert_eq!(fields.get("baggage").as_deref(), Some("c=d"));
}

#[test]
fn fields_of_requests_keep_order_number_and_bytes() {
    let world = World::start();
    let mut bytes = get("/p/a");
    bytes.truncate(bytes.len() - 2);
    bytes.extend_from_slice(
        b"X-A: 1\r\nX-B: caf\xe9\r\nX-A: 2\r\nCookie: a=b; c=d\r\nIf-None-Match: \"x\"\r\nRange: bytes=0-9\r\n\r\n",
    );
    assert_eq!(world.ask(bytes).status, 200);
    let seen = world.provider.one().fields;
    assert_eq!(seen.all("x-a"), ["1", "2"]);
    assert!(seen.0.iter().any(|(name, value)| name.eq_ignore_ascii_case("x-b") && value == b"caf\xe9"));
    assert_eq!(seen.get("cookie").as_deref(), Some("a=b; c=d"));
    assert_eq!(seen.get("if-none-match").as_deref(), Some("\"x\""));
    assert_eq!(seen.get("range").as_deref(), Some("bytes=0-9"));
}

#[test]
fn the_provider_is_asked_under_its_own_name() {
    let world = World::start();
    let seen = forwarded(&world, "");
    assert_eq!(seen.get("host"), Some(world.provider.address().to_string()));
    assert!(!seen.has("user-agent"), "a field that the client did not send");
}

/// Fields of a success, and what the client gets of them.
#[test]
fn a_success_keeps_its_headers_except_the_connections_own() {
    let world = World::start();
    let kept = [
        ("Content-Type", "audio/mpeg"),
        ("ETag", "\"x\""),
        ("Cache-Control", "no-transform"),
        ("Content-Encoding", "gzip"),
        ("Vary", "Accept"),
        ("Server", "uvicorn"),
        ("Set-Cookie", "a=b"),
        ("Set-Cookie", "c=d"),
        ("X-Request-Id", "theirs"),
        ("Request-Id", "theirs"),
        ("Current-Concurrent-Requests", "1"),
        ("Link", "<https://docs.example.com/a>; rel=help"),
        ("X-Odd-Name", "caf\u{e9}"),
        ("WWW-Authenticate", "Bearer"),
        ("Retry-After", "3"),
        ("Content-Disposition", "attachment"),
    ];
    let gone = [
        ("Connection", "x-mine, keep-alive"),
        ("X-Mine", "a"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authenticate", "Basic"),
        ("Proxy-Connection", "close"),
        ("Upgrade", "h2c"),
    ];
    let lines: String = kept.iter().chain(&gone).map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    world.provider.always([Act::send(format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\nok"))]);
    let answer = world.get("/p/a");
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    for (name, value) in kept {
        let found = answer.fields.all(name);
        // `x-request-id` is the gateway's own towards its client; the provider's is in the access log.
        let fits = found.iter().any(|found| found == value) || name == "X-Request-Id" && found.len() == 1;
        assert!(fits, "{name}: {found:?}");
    }
    assert_eq!(answer.fields.all("set-cookie"), ["a=b", "c=d"], "in order, not merged");
    for (name, _) in gone {
        let found = answer.fields.all(name);
        assert!(found.is_empty(), "{name}: {found:?}");
    }
    for (name, _) in &answer.fields.0 {
        let expected = ["date", "content-length", "via", "x-request-id", "x-upstream-request-id"]
            .iter()
            .any(|own| name.eq_ignore_ascii_case(own));
        assert!(expected || kept.iter().any(|(kept, _)| name.eq_ignore_ascii_case(kept)), "{name} was added");
    }
}

#[test]
fn configured_credentials_replace_the_clients() {
    let lines = "credentials = { header = \"xi-api-key\", value = \"configured-key\" }";
    let world = World::with(|settings| settings.beside("keyed", "/k", lines));
    for theirs in [
        "",
        "Xi-Api-Key: mine\r\n",
        "Xi-Api-Key: mine\r\nXi-Api-Key: too\r\n",
        "Connection: xi-api-key\r\nXi-Api-Key: mine\r\n",
    ] {
        let answer = world.ask(get_with("/k/a", theirs));
        assert_eq!(answer.status, 200, "{theirs:?}");
        assert_eq!(world.provider.one().fields.all("xi-api-key"), ["configured-key"], "{theirs:?}");
    }
}

#[test]
fn a_request_that_went_round_in_a_circle_is_refused() {
    let world = World::start();
    let own = forwarded(&world, "").get("via").expect("a Via");
    let _ = envelope(&world.ask(get_with("/p/a", &format!("Via: 1.0 fred, {own}\r\n"))), "invalid_request");
    // Another gateway is no circle: sidecars may stand in a row.
    assert_eq!(world.ask(get_with("/p/a", "Via: 1.1 speechgate\r\n")).status, 200);
}

#[test]
fn expectations_other_than_continue_do_not_hang() {
    let world = World::start();
    let check = |value: &str| -> Outcome {
        let answer = world.ask(get_with("/p/a", &format!("Expect: {value}\r\n")));
        ensure!(matches!(answer.status, 200 | 400 | 417), "{}", answer.line);
        Ok(())
    };
    rows(["100-continue", "200-ok", "x", ""], |value| format!("{value:?}"), |value| check(value));
}
