//! `warm`: its defaults, its bounds, and what the profile says of its provider.

use super::*;
use crate::config::types::Warm;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn nothing_is_kept_unless_it_is_asked_for() {
    for (lines, connections, max_idle) in [
        ("", 0, 16),
        ("warm = { connections = 2 }\n", 2, 16),
        ("warm = { sockets = 0 }\n", 0, 16),
        // As many as were asked for are always allowed.
        ("warm = { connections = 20 }\n", 20, 20),
        ("warm = { connections = 2, max_idle = 2 }\n", 2, 2),
    ] {
        let config = loaded(&[("t", &format!("{ROUTE}{lines}"))], &[]).config;
        let expected = Warm { connections, max_idle, idle_limit: None };
        assert_eq!(config.routes[0].warm, expected, "{lines}");
    }
}

#[test]
fn a_profile_says_how_long_its_provider_keeps_connections() {
    let own = "[providers.own]\nextends = 'elevenlabs'\ndefaults = { idle_limit = '9s' }\n";
    let text = format!("{}{own}", ROUTE.replace("\"elevenlabs\"", "\"own\"").replace("'elevenlabs'", "'own'"));
    let config = loaded(&[("t", &text)], &[]).config;
    assert_eq!(config.routes[0].warm.idle_limit, Some(9 * SECOND));
}

#[test]
fn bounds_are_told() {
    for (lines, expected) in [
        (
            "warm = { connections = 65 }",
            "t.toml:7:24: routes[0].warm.connections: `65` is out of range; expected a whole number from 0 to 64",
        ),
        (
            "warm = { connections = 2, sockets = 1 }",
            "t.toml:7:37: routes[0].warm.sockets: 1 sockets: none are kept ready yet, only connections; expected 0; `connections` \
             spares a socket DNS, TCP and TLS",
        ),
        (
            "warm = { sockets = 17 }",
            "t.toml:7:20: routes[0].warm.sockets: `17` is out of range; expected a whole number from 0 to 16",
        ),
        (
            "warm = { max_idle = 0 }",
            "t.toml:7:21: routes[0].warm.max_idle: `0` is out of range; expected a whole number from 1 to 256",
        ),
        (
            "warm = { connections = 3, max_idle = 2 }",
            "t.toml:7:38: routes[0].warm.max_idle: 2 is less than `connections`; expected at least 3",
        ),
        (
            "warm = { conections = 2 }",
            "t.toml:7:10: routes[0].warm.conections: unknown key; did you mean `connections`?",
        ),
        (
            "warm = { connections = 2 }\n[server]\nmax_connections = 1",
            "t.toml:7:24: routes[0].warm.connections: 2 connections to all upstreams together are more than \
             `server.max_connections`; expected at most 1",
        ),
    ] {
        let found: Vec<String> = problems(&format!("{ROUTE}{lines}\n"), &[]);
        let first: Vec<&str> = found.iter().filter_map(|problem| problem.lines().next()).collect();
        assert_eq!(first, [expected], "{lines}");
    }
}
