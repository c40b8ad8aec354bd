//! One test for each fixed bug, named after what was seen.

use crate::support::check::{Want, judge, row};
use crate::support::world::{get_with, json_answer};
use crate::support::{Act, World};

/// The provider's version went on to the client, who then could not tell a torn answer from a whole one.
#[test]
fn an_answer_in_http_1_0_is_relayed_in_our_own_version() {
    let world = World::start();
    world.provider.next([Act::send("HTTP/1.0 200 OK\r\n\r\nhello"), Act::Fin]);
    let answer = world.get("/p/a");
    assert!(answer.line.starts_with("HTTP/1.1 200") && answer.text() == "hello", "{answer:?}");
}

/// `Trailer` was taken for a field of the connection, and without it no trailer is sent on; with it, only what cannot be
/// mistaken for a header field is.
#[test]
fn declared_trailers_go_on_but_for_those_that_could_be_mistaken() {
    let world = World::start();
    let answer = world.ask(
        "POST /p/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-Forwarded-For, X-Request-Id\r\n\r\n\
         5\r\nhello\r\n0\r\nX-Sum: 7\r\nX-Forwarded-For: 1.2.3.4\r\nX-Request-Id: forged\r\n\r\n",
    );
    assert_eq!(answer.status, 200);
    let trailers = world.provider.one().trailers;
    assert_eq!(trailers.0, [("x-sum".to_owned(), b"7".to_vec())]);
}

/// The request was refused, and what the attacker meant to be read as the next one was.
#[test]
fn a_request_with_doubtful_framing_ends_its_connection() {
    let world = World::start();
    let hidden = "0\r\n\r\nGET /p/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let twice = "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n";
    let bytes = format!("POST /p/a HTTP/1.1\r\nHost: a\r\n{twice}\r\n{hidden}");
    judge(&world, [row("two codings", bytes, Want::Refuse)]);
}

/// `Accept: application/problem+json;q=0` was answered with just that.
#[test]
fn a_form_that_the_client_excludes_is_not_sent() {
    let world = World::start();
    let answer = world.ask("GET /nowhere HTTP/1.1\r\nHost: a\r\nAccept: application/problem+json;q=0.0\r\n\r\n");
    assert_eq!(answer.field("content-type"), "application/json");
}

/// What a 416 says of the length that there is went with what described the old body.
#[test]
fn a_416_keeps_its_content_range() {
    let world = World::start();
    let refused = "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */1234\r\nContent-Length: 0\r\n\r\n";
    let other = "HTTP/1.1 404 Not Found\r\nContent-Range: bytes */1234\r\nContent-Length: 0\r\n\r\n";
    for (sent, range) in [(refused, Some("bytes */1234")), (other, None)] {
        for target in ["/p/a", "/c/a", "/q/a"] {
            world.provider.next([Act::send(sent)]);
            assert_eq!(world.get(target).fields.get("content-range").as_deref(), range, "{target}");
        }
    }
}

/// A client that speaks another version of the protocol was not told which one is spoken here.
#[test]
fn a_wrong_websocket_version_is_answered_with_the_right_one() {
    let world = World::start();
    let handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let answer = world.ask(get_with("/p/v1/a", &format!("{handshake}Sec-WebSocket-Version: 8\r\n")));
    assert_eq!((answer.status, answer.field("sec-websocket-version").as_str()), (426, "13"));
    assert_eq!(answer.field("upgrade"), "websocket");
    assert!(world.provider.take().is_empty());
}

/// One provider's word on its own origin held for every route of the gateway's, and a proxy in front of the gateway obeyed it.
#[test]
fn fields_for_the_providers_whole_origin_are_removed() {
    let world = World::start();
    let lines = "Strict-Transport-Security: max-age=1\r\nClear-Site-Data: \"*\"\r\nAlt-Svc: h3=\":443\"\r\nNEL: {}\r\n\
        X-Accel-Redirect: /etc/passwd\r\nX-Accel-Buffering: no\r\nX-Sendfile: /etc/passwd\r\n";
    for status in [200, 404] {
        world.provider.next([Act::send(json_answer(status, lines, "{}"))]);
        let answer = world.get("/p/a");
        for name in ["strict-transport-security", "clear-site-data", "alt-svc", "nel", "x-accel-redirect", "x-sendfile"]
        {
            assert!(!answer.fields.has(name), "{status} {name}");
        }
        assert_eq!(answer.field("x-accel-buffering"), "no", "streams are not to be held by a proxy in front");
    }
}

/// Cookies had the provider's domain, which no browser takes from this gateway, and its paths; links led past it.
#[test]
fn cookies_and_links_come_back_through_the_gateway() {
    let world = World::start();
    let provider = world.provider.address();
    let lines = format!(
        "Set-Cookie: a=b; Domain=.example.com; Path=/v1; HttpOnly\r\nSet-Cookie: c=d\r\nSet-Cookie: e=f; path=/\r\n\
         Set-Cookie: __Host-g=h; Path=/; Secure\r\nLink: </v1/a?page=2>; rel=\"next\", <http://{provider}/b>; rel=prev\r\n\
         Refresh: 5; URL='http://{provider}/v1/c'\r\n"
    );
    world.provider.next([Act::send(json_answer(200, &lines, "{}"))]);
    let answer = world.get("/p/v1/a");
    let cookies = ["a=b; Path=/p/v1; HttpOnly", "c=d", "e=f; Path=/p", "__Host-g=h; Path=/; Secure"];
    assert_eq!(answer.fields.all("set-cookie"), cookies);
    let links = "</p/v1/a?page=2>; rel=\"next\", <http://gateway.test/p/b>; rel=prev";
    assert_eq!(
        (answer.field("link").as_str(), answer.field("refresh").as_str()),
        (links, "5; URL=http://gateway.test/p/v1/c")
    );
}

/// Behind a proxy that ends TLS, addresses were rewritten to what that proxy had called.
#[test]
fn rewritten_addresses_follow_the_proxy_in_front_where_it_is_trusted() {
    for (trusts, lines, wanted) in [
        (true, "X-Forwarded-Proto: https\r\nX-Forwarded-Host: api.test\r\n", "https://api.test/p/b"),
        (
            true,
            "Forwarded: for=1.2.3.4;proto=http, for=2.3.4.5;Proto=https;host=\"api.test:8443\"\r\n",
            "https://api.test:8443/p/b",
        ),
        (true, "X-Forwarded-Host: a/b\r\n", "http://gateway.test/p/b"),
        (true, "", "http://gateway.test/p/b"),
        (false, "X-Forwarded-Proto: https\r\nX-Forwarded-Host: api.test\r\n", "http://gateway.test/p/b"),
    ] {
        let world = World::with(|settings| settings.server(&format!("trust_forwarded = {trusts}")));
        let location = format!("Location: http://{}/b\r\n", world.provider.address());
        world.provider.next([Act::send(json_answer(302, &location, ""))]);
        assert_eq!(world.ask(get_with("/p/a", lines)).field("location"), wanted, "{lines}");
    }
}
