//! Tables of routes and what they answer.

use super::*;
use crate::proxy::tests::route;

fn table(routes: &[(Option<&str>, &str)]) -> RouteTable {
    let routes: Vec<_> = routes
        .iter()
        .map(|(host, path)| {
            let mut route = route(path);
            route.host = host.map(str::to_owned);
            Arc::new(route)
        })
        .collect();
    RouteTable::new(&routes)
}

fn name(found: &Arc<Route>) -> String {
    format!("{}{}", found.host.as_deref().unwrap_or(""), found.path)
}

#[test]
fn the_longest_prefix_on_whole_segments_wins_and_a_host_beats_none() {
    let table = table(&[
        (None, "/a"),
        (None, "/a/b"),
        (None, "/abc"),
        (Some("tts.example"), ""),
        (Some("tts.example"), "/a/b/c"),
        (Some("[::1]"), "/six"),
    ]);
    for (host, path, expected) in [
        (None, "/a", Some(("/a", ""))),
        (None, "/a/", Some(("/a", "/"))),
        (None, "/ab", None),
        (None, "/abc/d", Some(("/abc", "/d"))),
        (None, "/a/bc", Some(("/a", "/bc"))),
        (None, "/a/b", Some(("/a/b", ""))),
        (None, "/a/b/c/d", Some(("/a/b", "/c/d"))),
        (None, "/", None),
        (Some("other.example"), "/a/x", Some(("/a", "/x"))),
        (Some("tts.example"), "/a/x", Some(("tts.example", "/a/x"))),
        (Some("TTS.Example:8080"), "/a/b/c/", Some(("tts.example/a/b/c", "/"))),
        (Some("tts.example."), "/", Some(("tts.example", "/"))),
        (Some("[::1]:8080"), "/six/x", Some(("[::1]/six", "/x"))),
        (Some("[::1]"), "/six", Some(("[::1]/six", ""))),
        (Some("[::1]"), "/a", Some(("/a", ""))),
    ] {
        let found = table.find(host, path).map(|(route, rest)| (name(route), rest));
        assert_eq!(found, expected.map(|(name, rest)| (name.to_owned(), rest)), "{host:?} {path}");
    }
}

#[test]
fn what_leaves_or_disguises_the_prefix_is_refused() {
    let table = table(&[(None, "/pub"), (None, "/pub/admin"), (None, "/other"), (Some("all.example"), "")]);
    for (host, path, expected) in [
        (None, "/pub/x/../y", Ok("/pub /y")),
        (None, "/pub/./y", Ok("/pub /y")),
        (None, "/pub//y", Ok("/pub //y")),
        (None, "/pub/a%2fb", Ok("/pub /a%2fb")),
        (None, "/pub/%20", Ok("/pub /%20")),
        (None, "/pub/../other/x", Err(Fault::BadPath)),
        (None, "/pub/%2e%2e/other/x", Err(Fault::BadPath)),
        (None, "/x/../pub/y", Err(Fault::BadPath)),
        (None, "/pub/x/../admin", Err(Fault::BadPath)),
        (None, "/pub//admin", Err(Fault::BadPath)),
        (None, "//pub/x", Err(Fault::BadPath)),
        (None, "/pub%2fadmin", Err(Fault::BadPath)),
        (None, "/pub/%61dmin", Err(Fault::BadPath)),
        (None, "/%70ub/x", Err(Fault::BadPath)),
        (None, "/pub/../nowhere", Err(Fault::RouteNotFound)),
        (None, "/nowhere", Err(Fault::RouteNotFound)),
        (None, "/pub/..;/other", Err(Fault::BadPath)),
        (Some("all.example"), "/../x", Err(Fault::BadPath)),
        (Some("all.example"), "/pub/../x", Ok("all.example /x")),
    ] {
        let routed = table.resolve(host, path).map(|routed| format!("{} {}", name(routed.route), routed.rest()));
        assert_eq!(routed, expected.map(str::to_owned), "{path}");
    }
}

#[test]
fn every_route_of_many_is_found() {
    let prefixes: Vec<String> = (0..10_000).map(|n| format!("/team-{}/r{n}", n % 7)).collect();
    let table = table(&prefixes.iter().map(|prefix| (None, prefix.as_str())).collect::<Vec<_>>());
    for prefix in &prefixes {
        let path = format!("{prefix}/v1/x");
        let (route, rest) = table.find(None, &path).expect("a route");
        assert_eq!((route.path.as_str(), rest), (prefix.as_str(), "/v1/x"));
    }
    assert!(table.find(None, "/team-1/r").is_none());
}
