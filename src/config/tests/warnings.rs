//! What runs all the same and is hardly what was meant.

use super::*;

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
    let tenant = |name: &str, lines: &str| {
        format!("[[tenants]]\nname = '{name}'\nkeys = ['sha256:{}']\n{lines}\n", name.repeat(64))
    };
    for (text, expected) in [
        (format!("{ROUTE}{KEY}"), &[][..]),
        (
            format!(
                "{ROUTE}{KEY}concurrency = {{ max = 4 }}\n{}{}{}",
                tenant("a", "reserve = 3"),
                tenant("b", "reserve = 1"),
                tenant("c", "")
            ),
            &[
                "t.toml:16:11: warning: tenants[1].reserve: 4 of the 4 slots of route `tts` are reserved, so that others may get none; \
               expected less than 4 in all",
            ],
        ),
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
