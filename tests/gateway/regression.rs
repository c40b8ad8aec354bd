//! One test for each fixed bug, named after what was seen.

use crate::support::check::{Want, judge, row};
use crate::support::{Act, World};

/// The provider's version went on to the caller, who then could not tell a torn answer from a whole one.
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
fn a_form_that_the_caller_excludes_is_not_sent() {
    let world = World::start();
    let answer = world.ask("GET /nowhere HTTP/1.1\r\nHost: a\r\nAccept: application/problem+json;q=0.0\r\n\r\n");
    assert_eq!(answer.field("content-type"), "application/json");
}
