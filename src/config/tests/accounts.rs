//! Accounts, and routes that name them.

use super::*;
use crate::config::types::WaitScope;

const ELEVEN: &str = "[[accounts]]\nname = 'eleven'\ncredentials = { header = 'xi-api-key', value = '${KEY}' }\n";
const KEY: &[(&str, &str)] = &[("KEY", "sk-1234567890")];

#[test]
fn a_route_has_what_its_account_has() {
    let other = ROUTE.replace("\"tts\"", "\"other\"").replace("/tts", "/other");
    let text = format!(
        "{ELEVEN}concurrency = {{ max = 30, queue = 200, max_wait = '5s', learn = true }}\n\
         rate_limits = [{{ requests = 9, per = '1s', cost = 'audio-seconds' }}]\nwaits = {{ max_hold = '7s' }}\n\
         {ROUTE}account = 'eleven'\nconcurrency = {{ max = 4 }}\nrate_limits = [{{ requests = 2, per = '1s' }}]\n\
         {other}account = 'eleven'\nwaits = {{ scope = 'path' }}\ngenerations = false\n"
    );
    let all = loaded(&[("t.toml", &text)], KEY);
    assert!(all.warnings.is_empty(), "{:?}", all.warnings);
    let (account, [tts, other]) = (&all.config.accounts[0], [&all.config.routes[0], &all.config.routes[1]]);
    assert_eq!((account.name.as_str(), account.index, account.credentials.len()), ("eleven", 0, 1));
    let concurrency = account.concurrency.as_ref().expect("slots");
    assert_eq!((concurrency.max, concurrency.queue, concurrency.learn), (30, 200, true));
    for route in [tts, other] {
        assert_eq!(route.account.as_ref().map(|account| account.name.as_str()), Some("eleven"));
        assert_eq!(route.credentials[0].value.reveal(), "sk-1234567890");
        assert!(route.generations, "what the account counts is followed");
    }
    assert_eq!((tts.concurrency.as_ref().map(|one| one.max), tts.rate_limits.len()), (Some(4), 1));
    assert_eq!((other.concurrency.as_ref(), other.rate_limits.len()), (None, 0));
    assert_eq!((tts.waits.max_hold, tts.waits.scope), (Duration::from_secs(7), WaitScope::Auto));
    assert_eq!((other.waits.max_hold, other.waits.scope), (Duration::from_secs(60), WaitScope::Path));
    assert!(!all.redacted.contains("sk-1234567890") && all.redacted.contains("***"), "{}", all.redacted);
}

#[test]
fn what_is_wrong_with_an_account_names_its_place_and_its_fix() {
    let named = |name: &str| format!("{ELEVEN}{ROUTE}account = '{name}'\n");
    let two = |more: &str| format!("{ELEVEN}{more}{ROUTE}account = 'eleven'\n[providers.own]\nextends = 'generic'\n");
    let audio = "rate_limits = [{ requests = 1, per = '1s', cost = 'text-characters' }]\n";
    for (text, expected) in [
        (
            named("elven"),
            "t.toml:10:11: routes[0].account: `elven` is the name of no account; expected the name of one of `[[accounts]]`; did \
             you mean `eleven`?",
        ),
        (
            format!("{}credentials = {{ header = 'x-k', value = '${{KEY}}' }}\n", named("eleven")),
            "t.toml:10:1: routes[0].account: stands beside `credentials`; expected one of the two",
        ),
        (
            format!("{ELEVEN}{ROUTE}account = ['eleven']\n"),
            "t.toml:10:11: routes[0].account: an array cannot stand here; expected a name of one of `[[accounts]]`, whose \
             `credentials` may be several",
        ),
        (
            two("[[accounts]]\nname = 'eleven'\ncredentials = { header = 'x-k', value = '${OTHER}' }\n"),
            "t.toml:5:8: accounts[1].name: `eleven` is already the name of `accounts[0]`; expected a name of its own",
        ),
        (
            two(
                "[[accounts]]\nname = 'b'\ncredentials = [{ query = 'k', value = '${OTHER}' }, { query = 'k', value = '${KEY}' }]\n",
            ),
            "t.toml:6:76: accounts[1].credentials[1].value: the same credentials as those of `accounts[0]`; expected one account, \
             which all its routes name",
        ),
        (
            two("[[accounts]]\nname = 'b'\n"),
            "t.toml:4:1: accounts[1].credentials: missing; expected a table or an array",
        ),
        (
            two("[[accounts]]\nname = 'b'\ncredentials = []\n"),
            "t.toml:6:15: accounts[1].credentials: a list of 0 cannot be used; expected a table, or a list of 1 to 64 tables",
        ),
        (
            two("concurency = { max = 1 }\n"),
            "t.toml:4:1: accounts[0].concurency: unknown key; did you mean `concurrency`?",
        ),
        (
            format!("{ELEVEN}{audio}{}account = 'eleven'\n[providers.own]\n", ROUTE.replace("elevenlabs", "own")),
            "t.toml:4:51: accounts[0].rate_limits[0].cost: the profile `own` does not say where the text of a request is; expected \
             `requests`, `body-bytes` or a profile with `[cost] text`",
        ),
        (
            format!(
                "{ELEVEN}concurrency = {{ max = 1, queue = 0 }}\n{ROUTE}account = 'eleven'\n[limits]\nbackend = 'redis://x'\n"
            ),
            "t.toml:4:34: accounts[0].concurrency.queue: with a `[limits] backend` a call waits for its first slot; expected at \
             least 1",
        ),
    ] {
        let found = problems(&text, &[("KEY", "sk-1234567890"), ("OTHER", "sk-other")]);
        assert_eq!(found, [expected], "{text}");
    }
}

#[test]
fn an_account_that_no_route_uses_is_warned_of() {
    let all = loaded(&[("t.toml", &format!("{ELEVEN}{ROUTE}"))], KEY);
    let warned: Vec<String> = all.warnings.iter().map(Problem::warning).collect();
    assert_eq!(
        warned,
        [
            "t.toml:2:8: warning: accounts[0].name: no route uses this account; expected `account = \"eleven\"` in a route, or no \
          such account"
        ]
    );
    let plain = ELEVEN.replace("${KEY}", "sk-plain");
    let all = loaded(&[("t.toml", &format!("{plain}{ROUTE}account = 'eleven'\n"))], &[]);
    let warned: Vec<String> = all.warnings.iter().map(Problem::warning).collect();
    assert_eq!(
        warned,
        [
            "t.toml:3:48: warning: accounts[0].credentials.value: a key stands in the file itself; expected `${NAME}` or \
          `${file:/path}`"
        ]
    );
}

#[test]
fn an_account_is_checked_where_its_secret_is_not() {
    let text = format!("{ELEVEN}{ROUTE}account = 'eleven'\n");
    let found = problems(&text, &[]);
    let expected = "expected a value in the environment, or `--no-secrets` to check without";
    let missing = "accounts[0].credentials.value: the environment variable `KEY` is not set";
    assert_eq!(found, [format!("t.toml:3:48: {missing}; {expected}")]);
    let file = tempfile::tempdir().expect("a folder");
    let path = file.path().join("t.toml");
    let other = "[[accounts]]\nname = 'b'\ncredentials = { header = 'xi-api-key', value = '${OTHER}' }\n";
    std::fs::write(&path, format!("{other}{text}")).expect("written");
    let all = load_without_secrets(&[path], []).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(all.config.accounts.len(), 2, "two that are not known are not the same");
}
