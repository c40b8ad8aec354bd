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
             `text-characters` or `body-bytes`",
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

#[test]
fn problems_show_the_line_with_a_caret() {
    let text = format!("{ROUTE}\ttimeouts = {{ conect = '3s' }} # three\n");
    let problems = load_str(&[("t.toml", &text)], []).expect_err("a misspelt key");
    let expected = "t.toml:7:15: routes[0].timeouts.conect: unknown key; did you mean `connect`?\n \
                    7 |  timeouts = { conect …\n   |               ^^^^^^";
    assert_eq!(problems.first().map(ToString::to_string).as_deref(), Some(expected));
}

#[test]
fn problems_of_the_environment() {
    for (name, value, expected) in [
        (
            "SPEECHGATE__SERVER__LISTN",
            "127.0.0.1:1",
            "environment variable SPEECHGATE__SERVER__LISTN: server.listn: unknown key; did you mean `listen`?",
        ),
        (
            "SPEECHGATE__SERVER__WORKERS",
            "many",
            "environment variable SPEECHGATE__SERVER__WORKERS: server.workers: a string cannot stand here; expected a whole number",
        ),
        (
            "SPEECHGATE__ROUTES__0__UPSTREAM",
            "nowhere",
            "environment variable SPEECHGATE__ROUTES__0__UPSTREAM: routes[0].upstream: `nowhere` cannot be used; expected a URL \
             such as `https://api.example.com`",
        ),
        (
            "SPEECHGATE__ROUTES__5000__NAME",
            "x",
            "environment variable SPEECHGATE__ROUTES__5000__NAME: the index is too large; expected at most 999",
        ),
        (
            "SPEECHGATE__SERVER____LISTEN",
            "x",
            "environment variable SPEECHGATE__SERVER____LISTEN: not a key path; expected names between `__`",
        ),
        ("SPEECHGATE__", "x", "environment variable SPEECHGATE__: not a key path; expected names between `__`"),
    ] {
        assert_eq!(problems(ROUTE, &[(name, value)]), [expected], "{name}");
    }
    let gap = problems(ROUTE, &[("SPEECHGATE__ROUTES__2__NAME", "x")]);
    assert!(gap.iter().any(|line| line.contains("routes[1]: is empty")), "{gap:?}");
}

#[test]
fn what_cannot_be_filled_in_is_a_problem_of_its_place() {
    for (value, expected) in [
        ("${NOT_SET}", "the environment variable `NOT_SET` is not set"),
        ("${file:/does/not/exist}", "the file `/does/not/exist` does not exist"),
        ("${file:/}", "the file `/` is a directory"),
        ("${", "`${` without `}`; expected `${NAME}` or `${file:/path}`; `$${` stands for itself"),
        ("${a b}", "`${a b}` names nothing; expected `${NAME}` or `${file:/path}`; `$${` stands for itself"),
        ("${}", "`${}` names nothing; expected `${NAME}` or `${file:/path}`; `$${` stands for itself"),
    ] {
        let text = format!("{ROUTE}credentials = {{ header = 'x-k', value = '{value}' }}\n");
        let first = problems(&text, &[]).into_iter().next();
        assert_eq!(first, Some(format!("t.toml:7:41: routes[0].credentials.value: {expected}")), "{value}");
    }
}

/// Wherever a secret stands, and whatever is wrong there, no problem repeats it.
#[test]
fn no_problem_repeats_a_secret() {
    const SECRET: &str = "sk-live-abc123";
    for line in [
        "credentials = { header = 'x-k', value = \"SECRET\\u0000\" }",
        "credentials = { header = 'x-k', value = \" SECRET\" }",
        "credentials = { header = 'x y', value = 'SECRET' }",
        "credentials = { header = 'x-k', valu = 'SECRET' }",
        "credentials = { value = 'SECRET', header = 'x y' }",
        "credentials = { value = 'SECRET', haeder = 'x-k' }",
        "credentials = { query = 'a b', value = 'SECRET' }",
        "credentials = { subprotocol = 't.', value = 'SECRET SECRET' }",
        "credentials = { first_message = 'k', value = \"SECRET\\u0000\" }",
        "credentials = { value = 'SECRET' }",
        "credentials = 'SECRET'",
        "credentials = ['SECRET']",
        "credentials = [{ header = 'x-k', value = \" SECRET\" }]",
        "credentials = [{ header = 'x-k', valu = 'SECRET' }]",
        "[[routes.credentials]]\nheader = 'x y'\nvalue = 'SECRET'",
        "credential = { header = 'x-k', value = 'SECRET' }",
        "apikey = 'SECRET'",
        "xyz = 'SECRET'",
        "value = SECRET",
        "value = 'SECRET",
        "value = '''\nSECRET",
        "value = \"\"\"\nSECRET \\q\n\"\"\"",
        "xyz = SECRET",
        "[routes.credentials]\nvalu = 'SECRET'",
        "[routes.credentials]\nheader = 'x-k'\nvalue = '''\n SECRET'''",
        "credentials = { header = 'x-k', value = ' ${KEY}' }",
        "credentials = { header = '${KEY} x', value = 'a' }",
        "envelope = '${KEY}'",
        "timeouts = { idle = '${KEY}' }",
        "rate_limits = [{ requests = 1, per = '1s', match = '${KEY}', key = '${KEY}', code = '${KEY}' }]",
        "retry = { on = ['${KEY}'], budget = '${KEY}' }",
        "upstream_tls = { ca = '${KEY}' }",
        "[limits]\nbackend = 'http://:SECRET@x'",
        "[server]\npublic_url = 'https://u:SECRET@example.com'",
        "[server]\nlisten = '${KEY}'\ntls = { certificate = '${KEY}', private_key = '${KEY}' }",
        "[telemetry]\notlp = { endpoint = 'http://u:SECRET@x' }",
        "[providers.acme]\nextends = '${KEY}'",
    ] {
        let text = format!("{ROUTE}{}\n", line.replace("SECRET", SECRET));
        let Err(problems) = load_str(&[("t", &text)], environment(&[("KEY", SECRET)])) else { panic!("valid: {line}") };
        for problem in problems {
            let shown = format!("{problem}\n{problem:?}");
            assert!(!shown.contains(SECRET), "{line}: {shown}");
        }
    }
}

#[test]
fn a_key_file_is_not_a_certificate() {
    let folder = example_files();
    let key = folder.path().join("tls.key");
    let text = format!("[server.tls]\ncertificate = '{0}'\nprivate_key = '{0}'\n{ROUTE}", key.display());
    let lines = problems(&text, &[]);
    let expected = format!(
        "t.toml:2:15: server.tls.certificate: the file `{}` holds nothing of the kind; expected a PEM file with a block of `CERTIFICATE`",
        key.display()
    );
    assert_eq!(lines, [expected]);
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem() {
    let (report, valid) = check_report(&[PathBuf::from("does/not/exist.toml")], [], Missing::IsAProblem);
    assert!(!valid);
    assert_eq!(report, "does/not/exist.toml: the file does not exist\n1 problem found\n");
}

/// What runs all the same and is hardly what was meant.
#[test]
fn warnings() {
    const KEY: &str = "credentials = { header = 'x-k', value = '${KEY}' }\n";
    let warned = |text: &str| -> Vec<String> {
        let environment = [("KEY".to_owned(), "sk-1234567890".to_owned())];
        let loaded =
            load_str(&[("t.toml", text)], environment).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
        loaded.warnings.iter().map(Problem::warning).collect()
    };
    let own = |inner: &str| format!("{ROUTE}[providers.own]\n{inner}\n");
    for (text, expected) in [
        (format!("{ROUTE}{KEY}"), &[][..]),
        (
            format!("{ROUTE}{KEY}[server]\nlisten = '0.0.0.0:8080'\n"),
            &[
                "t.toml:9:10: warning: server.listen: other machines can connect, and whoever does uses the credentials of `tts`; \
               expected a loopback address, or clients that are known by the keys of `[[tenants]]` or by `client_ca` in `[server.tls]`",
            ],
        ),
        (format!("{ROUTE}[server]\nlisten = '0.0.0.0:8080'\n"), &[]),
        (
            format!("{ROUTE}credentials = {{ header = 'x-k', value = '$KEY' }}\n"),
            &[
                "t.toml:7:41: warning: routes[0].credentials.value: is sent as it is written: a variable stands in braces; expected \
               `${NAME}`",
            ],
        ),
        (
            format!(
                "{ROUTE}credentials = [{{ header = 'x-k', value = '${{KEY}}' }}, {{ header = 'x-k', value = 'sk-1' }}]\n"
            ),
            &[
                "t.toml:7:80: warning: routes[0].credentials[1].value: a key stands in the file itself; expected `${NAME}` or \
               `${file:/path}`",
            ],
        ),
        (
            format!("{ROUTE}[telemetry]\notlp = {{ endpoint = 'http://127.0.0.1:4318/v1/traces' }}\n"),
            &[
                "t.toml:8:21: warning: telemetry.otlp.endpoint: ends with the path of one signal, and `/v1/traces` or `/v1/metrics` \
               is added to it; expected the collector's address alone, `http://127.0.0.1:4318`",
            ],
        ),
        (
            format!("{ROUTE}[providers.corti]\ncode = '$.x'\n"),
            &[
                "t.toml:7:12: warning: providers.corti: replaces the built-in profile `corti` as a whole; expected `extends = \
               \"corti\"` in it, to build on that profile",
            ],
        ),
        (format!("{ROUTE}[providers.corti]\nextends = 'corti'\ncode = '$.x'\n"), &[]),
        (
            own(
                "rules = [{ status = 429, then = 'rate_limited' }, { status = 429, code = 'A*', then = 'quota_exceeded' }]",
            ),
            &[
                "t.toml:8:51: warning: providers.own.rules[1]: can never match: `rules[0]`, which is asked before, takes all that it \
               would; expected the narrower one first",
            ],
        ),
    ] {
        assert_eq!(warned(&text), expected, "{text}");
    }
}

/// A machine that has no production keys can look at the configuration all the same.
#[test]
fn missing_secrets_are_only_warned_of_where_that_was_asked_for() {
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("t.toml");
    let text = format!(
        "{}credentials = {{ header = 'x-k', value = '${{NOT_SET}}' }}\nmax_request_body = '${{SIZE}}'\n",
        ROUTE.replace("https://api.example.com", "https://${HOST}")
    );
    std::fs::write(&file, &text).expect("written");
    let files = [file.clone()];
    assert!(load(&files, []).is_err());
    let loaded = load_without_secrets(&files, []).unwrap_or_else(|problems| panic!("{problems:?}"));
    let warned: Vec<String> =
        loaded.warnings.iter().map(|warning| format!("{}: {}", warning.path, warning.what)).collect();
    let missing = |path: &str, name: &str| {
        format!("{path}: the environment variable `{name}` is not set; only what does not depend on it was checked")
    };
    assert_eq!(
        warned,
        [
            missing("routes[0].upstream", "HOST"),
            missing("routes[0].credentials.value", "NOT_SET"),
            missing("routes[0].max_request_body", "SIZE")
        ]
    );
    // What has nothing to do with a secret is a problem as ever.
    std::fs::write(&file, text.replace("path = \"/tts\"", "path = \"tts\"")).expect("written");
    let problems = load_without_secrets(&files, []).expect_err("a problem");
    assert_eq!(problems.len(), 1, "{problems:?}");
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
