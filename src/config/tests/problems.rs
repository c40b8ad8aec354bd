//! Texts in, problem lines out.

use super::super::problem::alternatives;
use super::*;

/// Each line follows the route above, from line 7 on; each gives exactly these problems.
#[test]
fn problems_of_a_route() {
    for (line, expected) in [
        ("timeout = { connect = '3s' }", "t.toml:7:1: routes[0].timeout: unknown key; did you mean `timeouts`?"),
        (
            "timeouts = { connect = 3 }",
            "t.toml:7:24: routes[0].timeouts.connect: a whole number cannot stand here; expected a duration such as `30s`, \
             `5m` or `250ms`",
        ),
        (
            "timeouts = { idle = '0s' }",
            "t.toml:7:21: routes[0].timeouts.idle: `0s` cannot be used; expected a duration longer than zero",
        ),
        (
            "ping = '5ms'",
            "t.toml:7:8: routes[0].ping: `5ms` cannot be used; expected a duration from `100ms` to `1h`, or `off`",
        ),
        (
            "envelope = 'canonicl'",
            "t.toml:7:12: routes[0].envelope: `canonicl` is not one of the choices; expected `canonical`, `compatible`, \
             `problem` or `auto`; did you mean `canonical`?",
        ),
        (
            "envelope = { http = 'canonical', websockets = 'compatible' }",
            "t.toml:7:34: routes[0].envelope.websockets: unknown key; did you mean `websocket`?",
        ),
        (
            "envelope = { sse = 'own' }",
            "t.toml:7:20: routes[0].envelope.sse: `own` is not one of the choices; expected `canonical`, `compatible`, `problem` or \
             `auto`",
        ),
        (
            "envelope = { status = 'mine' }",
            "t.toml:7:23: routes[0].envelope.status: `mine` is not one of the choices; expected `provider` or `canonical`",
        ),
        (
            "envelope = true",
            "t.toml:7:12: routes[0].envelope: true or false cannot stand here; expected `canonical`, `compatible`, `problem` or \
             `auto` or a table such as `{ http = \"canonical\", websocket = \"compatible\" }`",
        ),
        (
            "max_request_body = 'much'",
            "t.toml:7:20: routes[0].max_request_body: `much` cannot be used; expected a size such as `50MiB`, `32KiB` or a \
             number of bytes",
        ),
        (
            "max_request_body = 0",
            "t.toml:7:20: routes[0].max_request_body: `0` cannot be used; expected a size of at least 1 byte",
        ),
        ("credentials = { header = 'x-k' }", "t.toml:7:15: routes[0].credentials.value: missing; expected a string"),
        (
            "credentials = { header = 'host', value = 'x' }",
            "t.toml:7:26: routes[0].credentials.header: `host` cannot be used; expected a header that is not part of HTTP's own \
             framing",
        ),
        (
            "credentials = { header = 'x-k', value = \"abcdef\\n\" }",
            "t.toml:7:41: routes[0].credentials.value: this value cannot be sent in a header; expected a value without spaces or \
             line breaks around it",
        ),
        (
            "credentials = []",
            "t.toml:7:15: routes[0].credentials: a list of 0 cannot be used; expected a table, or a list of 1 to 64 tables",
        ),
        (
            "credentials = [{ header = 'x-k', value = 'a' }, { header = 'x-k', value = '' }]",
            "t.toml:7:75: routes[0].credentials[1].value: this value cannot be sent in a header; expected a value that is not empty",
        ),
        (
            "credentials = [{ header = 'x-k' }]",
            "t.toml:7:16: routes[0].credentials[0].value: missing; expected a string",
        ),
        (
            "credentials = { value = 'x' }",
            "t.toml:7:15: routes[0].credentials: says no place for the value; expected `header`, `query`, `subprotocol` or \
             `first_message`, or several of them",
        ),
        (
            "credentials = { query = 'a b', value = 'x' }",
            "t.toml:7:25: routes[0].credentials.query: `a b` cannot be used; expected a query parameter of letters, digits, `-`, \
             `.`, `_` and `~`, such as `token`",
        ),
        (
            "credentials = { subprotocol = 'a/b.', value = 'x' }",
            "t.toml:7:31: routes[0].credentials.subprotocol: `a/b.` cannot be used; expected letters, digits and \
             !#$%&'*+-.^_`|~ only",
        ),
        (
            "credentials = { subprotocol = 't.', value = 'Bearer x' }",
            "t.toml:7:45: routes[0].credentials.value: this value cannot be sent in a subprotocol; expected letters, digits and \
             !#$%&'*+-.^_`|~ only",
        ),
        (
            "credentials = { first_message = '', value = 'x' }",
            "t.toml:7:33: routes[0].credentials.first_message: `` cannot be used; expected the name of a member, such as \
             `xi_api_key`",
        ),
        (
            "upstreams = ['https://b.example.com']",
            "t.toml:7:1: routes[0].upstreams: stands beside `upstream`; expected one of the two",
        ),
        (
            "cors = { origins = ['https://A.example/'] }",
            "t.toml:7:21: routes[0].cors.origins[0]: `https://A.example/` is no origin; expected an origin such as \
             `https://app.example.com`: scheme, host in lower case, port unless it is the usual one, no path",
        ),
        (
            "cors = { origins = ['*'], credentials = true }",
            "t.toml:7:21: routes[0].cors.origins[0]: with `credentials = true` browsers do not take `*`; expected the origins \
             themselves",
        ),
        (
            "cors = { origins = ['*'], headers = ['a b'] }",
            "t.toml:7:38: routes[0].cors.headers[0]: `a b` cannot be used; expected the name of a header field",
        ),
        (
            "upstream_tls = { ca = '/does/not/exist' }",
            "t.toml:7:23: routes[0].upstream_tls.ca: the file `/does/not/exist` does not exist",
        ),
        (
            "rate_limits = [{ requests = 1, per = '1s', match = '/a/{id}', key = 'path:ID' }]",
            "t.toml:7:69: routes[0].rate_limits[0].key: `path:ID` names no part of this limit's `match`; expected `path:id`",
        ),
        (
            "rate_limits = [{ requests = 1, per = '1s', code = 'quota_exceeded' }]",
            "t.toml:7:51: routes[0].rate_limits[0].code: `quota_exceeded` cannot be used; expected `rate_limited` or \
             `poll_rate_limited`",
        ),
        (
            "rate_limits = [{ per = '1s' }]",
            "t.toml:7:16: routes[0].rate_limits[0].requests: missing; expected a whole number",
        ),
        (
            "rate_limits = [{ requests = 1, per = '1s', key = 'client_ip' }]",
            "t.toml:7:50: routes[0].rate_limits[0].key: `client_ip` cannot be used; expected `route`, `client-ip`, `credential`, \
             `header:NAME` or `path:NAME`; did you mean `client-ip`?",
        ),
        (
            "rate_limits = [{ requests = 1, per = '1s', cost = 'characters' }]",
            "t.toml:7:51: routes[0].rate_limits[0].cost: `characters` is not one of the choices; expected `requests`, \
             `text-characters`, `audio-seconds` or `body-bytes`",
        ),
        ("concurrency = {}", "t.toml:7:15: routes[0].concurrency.max: missing; expected a whole number"),
        (
            "retry = { on = ['unavailible'] }",
            "t.toml:7:17: routes[0].retry.on[0]: `unavailible` cannot be used; expected `conflict`, `rate_limited`, \
             `concurrency_limited`, `internal`, `upstream`, `unavailable` or `timeout`; did you mean `unavailable`?",
        ),
        (
            "retry = { attempts = 1 }",
            "t.toml:7:22: routes[0].retry.attempts: `1` is out of range; expected a whole number from 2 to 10",
        ),
        (
            "circuit_breaker = { failures = 0 }",
            "t.toml:7:32: routes[0].circuit_breaker.failures: `0` is out of range; expected a whole number from 1 to 10000",
        ),
        (
            "circuit_breaker = { window = '0s' }",
            "t.toml:7:30: routes[0].circuit_breaker.window: `0s` cannot be used; expected a duration longer than zero",
        ),
        ("[routes.nested]", "t.toml:7:9: routes[0].nested: unknown key"),
        ("max_request_body = 9223372036854775808", "t.toml:7:20: routes[0].max_request_body: this number is too large"),
        ("x = ", "t.toml:7:5: string values must be quoted, expected literal string"),
        ("name = 'again'", "t.toml:7:1: duplicate key"),
    ] {
        assert_eq!(problems(&format!("{ROUTE}{line}\n"), &[]), [expected], "{line}");
    }
}

/// What a limit counts has to be in the profile.
#[test]
fn problems_of_costs() {
    let text = format!("{ROUTE}rate_limits = [{{ requests = 1, per = '1s', cost = 'text-characters' }}]\n");
    assert_eq!(problems(&text, &[]), [""; 0]);
    assert_eq!(
        problems(&text.replace("\"elevenlabs\"", "\"zenhire\""), &[]),
        [
            "t.toml:7:51: routes[0].rate_limits[0].cost: the profile `zenhire` does not say where the text of a request is; \
          expected `requests`, `body-bytes` or a profile with `[cost] text`"
        ]
    );
    let audio = text.replace("text-characters", "audio-seconds");
    assert_eq!(problems(&audio, &[]), [""; 0]);
    assert_eq!(
        problems(&format!("{}[providers.x]\n", audio.replace("\"elevenlabs\"", "\"x\"")), &[]),
        [
            "t.toml:7:51: routes[0].rate_limits[0].cost: the profile `x` does not say where audio is; expected `requests` or a \
             profile with `[[generations]]`"
        ]
    );
    let own = format!("{}[providers.x.cost]\ntext = '$.a[*].b[*]'\n", text.replace("\"elevenlabs\"", "\"x\""));
    assert_eq!(
        problems(&own, &[]),
        ["t.toml:9:8: providers.x.cost.text[0]: `$.a[*].b[*]` goes through two lists; expected at most one `[*]`"]
    );
}

/// The list of upstreams, in place of the route's own `upstream`.
#[test]
fn problems_of_upstreams() {
    for (list, expected) in [
        ("[]", &["t.toml:6:13: routes[0].upstreams: a list of 0 cannot be used; expected 1 to 64 URLs"][..]),
        ("'https://a'", &["t.toml:6:13: routes[0].upstreams: a string cannot stand here; expected an array"]),
        (
            "['https://a', 'http://b', 'https://a:443/', 'https://a/b', 'c']",
            &[
                "t.toml:6:27: routes[0].upstreams[1]: `https://` and `http://` upstreams in one list; expected all `https://` or \
                 all `http://`",
                "t.toml:6:39: routes[0].upstreams[2]: the same place as `upstreams[0]`; expected a place of its own",
                "t.toml:6:72: routes[0].upstreams[4]: `c` cannot be used; expected a URL such as `https://api.example.com`",
            ],
        ),
    ] {
        let text = ROUTE.replace("upstream = \"https://api.example.com\"", &format!("upstreams = {list}"));
        assert_eq!(problems(&text, &[]), expected, "{list}");
    }
}

/// Whole texts and every problem in them.
#[test]
fn problems_of_a_file() {
    let cases: [(&str, &[&str]); 12] = [
        ("", &["t.toml: routes: there are no routes; expected at least one `[[routes]]`"]),
        (
            "[[routes]]\n",
            &[
                "t.toml:1:1: routes[0].name: missing; expected a string",
                "t.toml:1:1: routes[0].match: missing; expected a table such as `{ path = \"/tts\" }`",
                "t.toml:1:1: routes[0].provider: missing; expected a string",
                "t.toml:1:1: routes[0].upstream: missing; expected a URL such as `https://api.example.com`, or several in `upstreams`",
            ],
        ),
        ("routes = 5\n", &["t.toml:1:10: routes: a whole number cannot stand here; expected an array"]),
        (
            "[[routes]]\nname='a'\nmatch={}\nprovider='corty'\nupstream='ftp://a'\n",
            &[
                "t.toml:3:7: routes[0].match: matches nothing; expected `path`, `host` or both; `path = \"/\"` takes all",
                "t.toml:4:10: routes[0].provider: there is no provider `corty`; expected {built in}, or a table of its own in \
                 `[providers]`; did you mean `corti`?",
                "t.toml:5:10: routes[0].upstream: `ftp://a` cannot be used; expected a URL that begins with `http://` or \
                 `https://`",
            ],
        ),
        (
            "[[routes]]\nname='a'\nmatch={path='/a/'}\nprovider='corti'\nupstream='http://a'\n\
             [[routes]]\nname='a'\nmatch={path='/a'}\nprovider='corti'\nupstream='http://a'\nupstream_tls={}\n",
            &[
                "t.toml:7:6: routes[1].name: `a` is already the name of `routes[0]`; expected a name of its own",
                "t.toml:8:7: routes[1].match: the same requests as `routes[0]`; expected a path or a host of its own",
                "t.toml:11:1: routes[1].upstream_tls: has no use for an `http://` upstream; expected an `https://` upstream",
                "t.toml:11:14: routes[1].upstream_tls: says nothing; expected `ca`, or `certificate` and `private_key`, or all three",
            ],
        ),
        (
            "\"server.listen\" = 1\n'a b' = 2\n",
            &[
                "t.toml: routes: there are no routes; expected at least one `[[routes]]`",
                "t.toml:1:1: \"server.listen\": unknown key",
                "t.toml:2:1: \"a b\": unknown key",
            ],
        ),
        (
            "x = \ny = 'a\n",
            &[
                "t.toml:1:5: string values must be quoted, expected literal string",
                "t.toml:2:7: invalid literal string, expected `'`",
            ],
        ),
        (
            "[admin]\nlisten = '0.0.0.0:8080'\n[[routes]]\nname='a'\nmatch={host='A.Example'}\nprovider='corti'\nupstream='http://a'\n",
            &["t.toml:2:10: admin.listen: the same address as `server.listen`; expected an address of its own"],
        ),
        (
            "[server]\ndrain_timout = '1s'\nlisten = 8080\n[telemetry]\nlog = { level = 'WARN' }\n[limits]\nbackend='http://x'\n[[routes]]\n\
             name='a'\nmatch={host='a:80'}\nprovider='corti'\nupstream='http://a'\n",
            &[
                "t.toml:2:1: server.drain_timout: unknown key; did you mean `drain_timeout`?",
                "t.toml:3:10: server.listen: a whole number cannot stand here; expected an address and port such as \
                 `127.0.0.1:8080` or `unix:/run/speechgate.sock` or an array",
                "t.toml:5:17: telemetry.log.level: `WARN` is not one of the choices; expected `error`, `warn`, `info`, `debug` or \
                 `trace`; did you mean `warn`?",
                "t.toml:7:9: limits.backend: this value cannot be used; expected a URL such as `redis://127.0.0.1:6379/0`",
                "t.toml:10:13: routes[0].match.host: `a:80` cannot be used; expected a host name such as `api.example.com`, \
                 without a port",
            ],
        ),
        (
            "[[routes]]\nname='a'\nmatch={path='/'}\nprovider='acme'\nupstream='http://a'\n\
             [providers.acme]\nextends='generick'\ncode='$.error.code'\nmesage='text'\ncodes={X='voice_not_fond',Y={}}\n",
            &[
                "t.toml:7:9: providers.acme.extends: there is no profile `generick`; expected {built in}; did you mean `generic`?",
                "t.toml:9:1: providers.acme.mesage: unknown key; did you mean `message`?",
                "t.toml:10:10: providers.acme.codes.X: `voice_not_fond` is not a canonical code; did you mean `voice_not_found`?",
                "t.toml:10:29: providers.acme.codes.Y.code: missing; expected a string",
            ],
        ),
        (
            "[[routes]]\nname='a'\nmatch={path='/'}\nprovider='one'\nupstream='http://a'\n\
             [providers.one]\nextends='two'\n[providers.two]\nextends='one'\ncodes={X='voice_not_fond'}\n",
            &[
                "t.toml:7:9: providers.one.extends: builds on itself: one → two → one; expected a chain that ends",
                "t.toml:9:9: providers.two.extends: builds on itself: two → one → two; expected a chain that ends",
                "t.toml:10:10: providers.two.codes.X: `voice_not_fond` is not a canonical code; did you mean `voice_not_found`?",
            ],
        ),
        (
            "[server]\ntls={certificate='/does/not/exist'}\n[[routes]]\nname=''\nmatch={path='x'}\nprovider='corti'\nupstream='a'\n",
            &[
                "t.toml:2:5: server.tls.private_key: missing; expected a path of a file",
                "t.toml:2:18: server.tls.certificate: the file `/does/not/exist` does not exist",
                "t.toml:4:6: routes[0].name: `` cannot be used; expected 1 to 64 letters, digits, `-`, `_` and `.`",
                "t.toml:5:13: routes[0].match.path: `x` cannot be used; expected a path that begins with `/`",
                "t.toml:7:10: routes[0].upstream: `a` cannot be used; expected a URL such as `https://api.example.com`",
            ],
        ),
    ];
    let built_in = alternatives(built_in_names());
    for (text, expected) in cases {
        let expected: Vec<String> = expected.iter().map(|line| line.replace("{built in}", &built_in)).collect();
        assert_eq!(problems(text, &[]), expected, "{text}");
    }
}

/// Messages that used to name the place and not the way out.
#[test]
fn problems_say_what_would_be_right() {
    for (line, expected) in [
        (
            "retry = { budget = 0.2 }",
            "t.toml:7:20: routes[0].retry.budget: a number with a fraction cannot stand here; expected a percentage such as `20%`",
        ),
        (
            "credentials = { header = 'x-k', value = '${file:key}' }",
            "t.toml:7:41: routes[0].credentials.value: the file `key` does not exist; a relative path begins at the working \
             directory; expected an absolute path",
        ),
    ] {
        assert_eq!(problems(&format!("{ROUTE}{line}\n"), &[]), [expected], "{line}");
    }
    for (upstream, right) in [
        ("http://::1:9999", "`http://[::1]:9999`"),
        ("https://2001:db8::1", "`https://[2001:db8::1]`"),
        ("https://fe80::abcd/base", "`https://[fe80::abcd]/base`"),
    ] {
        let found = problems(&ROUTE.replace("https://api.example.com", upstream), &[]);
        assert!(
            found.len() == 1 && found[0].ends_with(&format!("expected an IPv6 address in brackets, {right}")),
            "{found:?}"
        );
    }
    let text = ROUTE.replace("{ path = \"/tts\" }", "'x'");
    let found = problems(&text, &[]);
    assert!(
        found.iter().any(|problem| problem.ends_with("expected a table such as `{ path = \"/tts\" }`")),
        "{found:?}"
    );
}

/// What keeps a socket open has to be in the profile, and to cost nothing.
#[test]
fn problems_of_what_keeps_sockets_open() {
    let text = format!("{ROUTE}websocket = {{ keep_alive = '8s' }}\n");
    assert_eq!(problems(&text, &[]), [""; 0]);
    let problem = |provider: &str| {
        format!(
            "t.toml:7:28: routes[0].websocket.keep_alive: the profile `{provider}` has no message that keeps a socket open and \
             costs nothing; expected `off`, or a profile with `[[websocket.keep_alive]]`"
        )
    };
    assert_eq!(problems(&text.replace("\"elevenlabs\"", "\"zenhire\""), &[]), [problem("zenhire")]);
    let own = "[[providers.x.websocket.keep_alive]]\nmessage = '{}'\ncharged = true\n";
    let own = format!("{}{own}", text.replace("\"elevenlabs\"", "\"x\""));
    assert_eq!(problems(&own, &[]), [problem("x")]);
}
