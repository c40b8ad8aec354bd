//! Paths that try to leave their route, and targets that try to reach another host.

use crate::support::check::{canonical, ensure, rows};
use crate::support::world::{get, get_with};
use crate::support::{Gateway, Provider, Settings, World};

/// A route whose upstream has a base path, so that a path that climbs out of it shows.
fn fenced() -> World {
    let provider = Provider::start();
    let url = format!("http://{}/base", provider.address());
    let settings = Settings::new().route_to("fenced", "/p", "elevenlabs", &url, "").route_to(
        "secret",
        "/admin",
        "elevenlabs",
        &url,
        "",
    );
    let gateway = Gateway::start(&settings);
    World { gateway, provider }
}

#[test]
fn paths_within_the_route_pass_unchanged() {
    let world = fenced();
    let table = [
        ("/p", "/base"),
        ("/p/", "/base/"),
        ("/p/a", "/base/a"),
        ("/p/a/", "/base/a/"),
        ("/p/a.b", "/base/a.b"),
        ("/p/...", "/base/..."),
        ("/p/a..b", "/base/a..b"),
        ("/p/.well-known", "/base/.well-known"),
        ("/p/a%20b", "/base/a%20b"),
        ("/p/caf%C3%A9", "/base/caf%C3%A9"),
        ("/p/a;b=c", "/base/a;b=c"),
        ("/p/a:b@c", "/base/a:b@c"),
        ("/p/a%3Fb", "/base/a%3Fb"),
        ("/p/%7Ea", "/base/%7Ea"),
        ("/p/a?b=../../c", "/base/a?b=../../c"),
        ("/p?x=1", "/base?x=1"),
        ("/p/a?x=%2e%2e%2f", "/base/a?x=%2e%2e%2f"),
        ("/p/a?", "/base/a?"),
        ("/p/a??b", "/base/a??b"),
        ("/p/a+b", "/base/a+b"),
        ("/p/(a)'!*,", "/base/(a)'!*,"),
        ("/p/100%25", "/base/100%25"),
    ];
    rows(
        table,
        |(from, _)| (*from).to_owned(),
        |(from, to)| {
            let answer = world.get(from);
            ensure!(answer.status == 200, "{} {}", answer.line, answer.text());
            let seen = world.provider.one();
            ensure!(
                seen.target() == *to || *to == "/base" && seen.target() == "/base/",
                "forwarded as {}",
                seen.target()
            );
            Ok(())
        },
    );
}

#[test]
fn dot_segments_within_the_route_are_resolved_or_refused() {
    let world = fenced();
    let table = [
        ("/p/./a", "/base/a"),
        ("/p/a/../b", "/base/b"),
        ("/p/a/.", "/base/a/"),
        ("/p/a/b/..", "/base/a/"),
        ("/p/%2e/a", "/base/a"),
        ("/p/a/%2E%2e/b", "/base/b"),
        ("/p/a/.%2e/b", "/base/b"),
    ];
    rows(
        table,
        |(from, _)| (*from).to_owned(),
        |(from, to)| {
            let answer = world.get(from);
            let seen = world.provider.take();
            if answer.status == 200 {
                ensure!(seen[0].target() == *to, "forwarded as {}", seen[0].target());
            } else {
                let _ = canonical(&answer, "invalid_request")?;
                ensure!(seen.is_empty(), "refused, and forwarded");
            }
            Ok(())
        },
    );
}

#[test]
fn paths_that_leave_the_route_are_refused() {
    let world = fenced();
    let attacks = [
        "/p/..",
        "/p/../",
        "/p/../x",
        "/p/../../x",
        "/p/a/../../x",
        "/p/a/../../../x",
        "/p/../admin/x",
        "/p/./../x",
        "/p//../../x",
        "/p/%2e%2e/x",
        "/p/%2E%2E/x",
        "/p/.%2e/x",
        "/p/%2e./x",
        "/p/..%2fx",
        "/p/..%2Fx",
        "/p/%2e%2e%2fx",
        "/p/a%2f..%2f..%2fx",
        "/p/..%5cx",
        "/p/..\\x",
        "/p\\..\\x",
        "/p/%5c..%5cx",
        "/p/%252e%252e/x",
        "/p/%252e%252e%252fx",
        "/p/..%252fx",
        "/p/%25252e%25252e/x",
        "/p/%c0%ae%c0%ae/x",
        "/p/%e0%80%ae%e0%80%ae/x",
        "/p/..%c0%afx",
        "/p/..;/x",
        "/p/..;a=b/x",
        "/p/;/../../x",
        "/p/%2e%2e;/x",
        "/p/a%00/../x",
        "/p/..%00/x",
        "/p/%00",
        "/p/%zz",
        "/p/%",
        "/p/%2",
        "/p/%u002e%u002e/x",
        "/%70/../x",
        "/p%2f..%2fx",
        "/x/../p/../../y",
        "/../p/a",
        "/p/..//x",
        "/p/..%2f..%2f..%2fetc/passwd",
        "/p/.%00./x",
    ];
    rows(
        attacks,
        |target| (*target).to_owned(),
        |target| {
            let answer = world.get(target);
            let seen = world.provider.take();
            ensure!(
                matches!(answer.status, 400 | 404),
                "{}; forwarded as {:?}",
                answer.line,
                seen.first().map(|seen| seen.line.clone())
            );
            ensure!(seen.is_empty(), "refused, and forwarded");
            ensure!(
                answer.body.is_empty()
                    || canonical(&answer, "invalid_request").or(canonical(&answer, "route_not_found")).is_ok(),
                "{}",
                answer.text()
            );
            Ok(())
        },
    );
    world.clean();
}

#[test]
fn a_prefix_matches_whole_segments_only() {
    let world = fenced();
    for target in ["/pa", "/p-a", "/p.a", "/P/a", "/", "/x", "/ap/a", "/p%2fa", "*"] {
        let answer = world.get(target);
        assert!(matches!(answer.status, 400 | 404), "{target}: {}", answer.line);
        assert_eq!(world.provider.take().len(), 0, "{target} was forwarded");
    }
}

#[test]
fn a_disguised_prefix_is_not_another_routes() {
    let world = fenced();
    // What another server would take for /admin must not be forwarded on the ticket of /p.
    for target in ["/p/../admin/x", "/p/..%2fadmin/x", "/p/%2e%2e/admin", "//admin/x", "/./admin/x", "/%61dmin/x"] {
        let answer = world.get(target);
        let seen = world.provider.take();
        let fits = answer.status == 400 || answer.status == 404 || seen[0].target() == "/base/x";
        assert!(fits, "{target}: {} {seen:?}", answer.line);
    }
}

#[test]
fn absolute_targets_reach_no_other_host() {
    let world = fenced();
    let targets = [
        "http://169.254.169.254/p/a",
        "http://localhost:22/p/a",
        "https://internal/p/a",
        "http://gateway.test@evil.example/p/a",
        "ftp://gateway.test/p/a",
        "file:///p/a",
        "http:///p/a",
        "http://[::1]/p/a",
        "http://gateway.test\\@evil/p/a",
        "//evil.example/p/a",
        "/p/http://evil.example/",
        "/p/@evil.example",
        "/p//evil.example/a",
    ];
    rows(
        targets,
        |target| (*target).to_owned(),
        |target| {
            let answer = world.get(target);
            for seen in world.provider.take() {
                ensure!(
                    seen.fields.get("host") == Some(world.provider.address().to_string()),
                    "Host {:?}",
                    seen.fields.get("host")
                );
                ensure!(seen.target().starts_with("/base/"), "forwarded as {}", seen.target());
            }
            ensure!(answer.status < 500, "{}", answer.line);
            Ok(())
        },
    );
}

#[test]
fn hosts_choose_routes_without_case_or_port() {
    let provider = Provider::start();
    let settings = Settings::new().route("rest", "/", provider.address(), "");
    let mut text = settings.text();
    text.push_str(&format!("[[routes]]\nname = \"named\"\nmatch = {{ host = \"voice.example\" }}\nprovider = \"cartesia\"\nupstream = \"http://{}/named\"\n", provider.address()));
    let gateway = Gateway::start_text(&text, &[]);
    let world = World { gateway, provider };
    for (host, base) in [
        ("voice.example", "/named/a"),
        ("VOICE.example:8080", "/named/a"),
        ("other.example", "/a"),
        ("xvoice.example", "/a"),
        ("voice.example.evil", "/a"),
    ] {
        assert_eq!(world.ask(format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n")).status, 200);
        assert_eq!(world.provider.one().target(), base, "{host}");
    }
}

#[test]
fn the_longest_prefix_wins() {
    let provider = Provider::start();
    let to = |path: &str| format!("http://{}{path}", provider.address());
    let settings = Settings::new()
        .route_to("one", "/v1", "elevenlabs", &to("/one"), "")
        .route_to("two", "/v1/tts", "elevenlabs", &to("/two"), "")
        .route_to("rest", "/", "elevenlabs", &to("/rest"), "");
    let world = World { gateway: Gateway::start(&settings), provider };
    for (target, forwarded) in [
        ("/v1/a", "/one/a"),
        ("/v1/tts/a", "/two/a"),
        ("/v1/ttsx", "/one/ttsx"),
        ("/v2/a", "/rest/v2/a"),
        ("/v1/tts", "/two"),
    ] {
        assert_eq!(world.ask(get(target)).status, 200, "{target}");
        let seen = world.provider.one();
        assert!(seen.target() == forwarded || seen.target() == format!("{forwarded}/"), "{target}: {}", seen.target());
    }
    let answer = world.ask(get_with("/v1/tts/../a", ""));
    let seen: Vec<String> = world.provider.take().iter().map(|seen| seen.target().to_owned()).collect();
    assert!(answer.status == 400 || seen == ["/one/a"], "{} {seen:?}", answer.line);
}
