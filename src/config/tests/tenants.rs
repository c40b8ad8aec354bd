//! Tenants: of the configuration and of files beside it.

use super::*;
use crate::config::types::Tenant;
use std::fs;
use std::path::Path as FilePath;
use std::time::UNIX_EPOCH;

const ONE: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const OTHER: &str = "sha256:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752";
const PLAIN: &str = "sg_0123456789abcdefghijABCDEFGHIJ0123456789xyzwvu";

#[test]
fn tenants_are_as_they_are_written() {
    let text = format!(
        "{ROUTE}[[tenants]]\nname = 'a'\nkeys = ['{ONE}', {{ hash = '{OTHER}', expires = '1970-01-02T00:00:00Z' }}]\n\
         routes = ['tts']\nweight = 2\nreserve = 4\nmax = 20\npriority = 'high'\n[[tenants]]\nname = 'b'\n"
    );
    let all = loaded(&[("t.toml", &text)], &[]);
    let [a, b] = [&all.config.tenants[0], &all.config.tenants[1]];
    assert!(all.config.server.authenticate && all.warnings.is_empty(), "{:?}", all.warnings);
    assert_eq!((a.name.as_str(), a.weight, a.reserve, a.max, a.index), ("a", 2, 4, Some(20), 0));
    assert_eq!(a.keys[0].hash[..2], [0x9f, 0x86]);
    assert_eq!((a.keys[0].expires, a.keys[1].expires), (None, Some(UNIX_EPOCH + Duration::from_secs(86_400))));
    assert!(a.may_use("tts") && !a.may_use("stt") && b.may_use("stt"));
    assert_eq!((b.weight, b.reserve, b.max, b.index, b.priority), (1, 0, None, 1, None));
    assert!(!loaded(&[("t.toml", ROUTE)], &[]).config.server.authenticate);
    let off = format!("[server]\nauthenticate = 'off'\n{text}");
    assert!(!loaded(&[("t.toml", &off)], &[]).config.server.authenticate);
    let nobody = loaded(&[("t.toml", &format!("[server]\nauthenticate = 'tenants'\n{ROUTE}"))], &[]);
    assert!(nobody.config.server.authenticate);
    assert!(nobody.warnings[0].warning().contains("every request is refused"), "{:?}", nobody.warnings);
}

#[test]
fn what_is_wrong_with_a_tenant_is_said_without_its_key() {
    for (lines, expected) in [
        (format!("keys = ['{PLAIN}']"), "tenants[0].keys[0]: a gateway key in plain text; expected `sha256:`"),
        (format!("keys = [\n  '{PLAIN}',\n]"), "tenants[0].keys[0]: a gateway key in plain text; expected `sha256:`"),
        (format!("keys = [{{ hash = '{PLAIN}' }}]"), "tenants[0].keys[0].hash: a gateway key in plain text"),
        ("keys = ['sha256:12']".to_owned(), "tenants[0].keys[0]: this value is not the hash of a key"),
        ("keys = ['hunter2']".to_owned(), "tenants[0].keys[0]: this value is not the hash of a key"),
        (format!("keys = ['{ONE}', '{ONE}']"), "tenants[0].keys[1]: the same key as `tenants[0].keys[0]`"),
        (
            format!("keys = [{{ hash = '{ONE}', expires = 'soon' }}]"),
            "tenants[0].keys[0].expires: `soon` cannot be used; expected a time in UTC",
        ),
        ("keys = [{ expires = '2027-01-01T00:00:00Z' }]".to_owned(), "tenants[0].keys[0].hash: missing"),
        ("routes = ['tss']".to_owned(), "tenants[0].routes[0]: `tss` is the name of no route; did you mean `tts`?"),
        ("subjects = ['']".to_owned(), "tenants[0].subjects[0]: `` cannot be used; expected a name in a certificate"),
        ("subjects = ['a', 'a']".to_owned(), "tenants[0].subjects[1]: the same as `tenants[0].subjects[0]`"),
        ("routes = []".to_owned(), "tenants[0].routes: an empty list"),
        ("reserve = 3\nmax = 2".to_owned(), "tenants[0].reserve: `3` is more than the 2 that the tenant may hold"),
        (
            "budgets = [{ per = '1d' }]".to_owned(),
            "tenants[0].budgets[0]: does not say what it counts, or several things",
        ),
        (
            "budgets = [{ requests = 1, characters = 2, per = '1d' }]".to_owned(),
            "tenants[0].budgets[0]: does not say what it counts, or several things",
        ),
        ("budgets = [{ cost = 2.0, per = '1d' }]".to_owned(), "tenants[0].budgets[0].currency: missing"),
        ("budgets = [{ cost = 2.0, currency = 'usd', per = '1d' }]".to_owned(), "expected a currency such as `USD`"),
        (
            "budgets = [{ cost = 2.0, currency = 'USD', per = '1d' }]".to_owned(),
            "tenants[0].budgets[0].currency: nothing has a price in `USD`; expected `[[prices]]` with `currency =",
        ),
        ("budgets = [{ requests = 2, per = '2d' }]".to_owned(), "expected `1d`, `7d` or `30d`"),
        (
            "budgets = [{ requests = 2, per = '1d' }, { requests = 3, per = '1d' }]".to_owned(),
            "tenants[0].budgets[1]: there is a budget of `requests/1d` already",
        ),
        (
            "budgets = [{ requests = 2, per = '1d', zone = 'Europe/Berln' }]".to_owned(),
            "tenants[0].budgets[0].zone: `Europe/Berln` cannot be used; expected the name of a zone such as `Europe/Berlin`, or `UTC`; did you mean `Europe/Berlin`?",
        ),
        ("rate_limits = [{ requests = 2, per = '0s' }]".to_owned(), "expected a duration longer than zero"),
        ("weight = 0".to_owned(), "tenants[0].weight: `0` is out of range; expected a whole number from 1 to 1000"),
        ("priority = 'urgent'".to_owned(), "tenants[0].priority: `urgent` is not one of the choices"),
        ("[[tenants]]\nname = 'a'".to_owned(), "tenants[1].name: `a` is already the name of `tenants[0]`"),
    ] {
        let text = format!("{ROUTE}[[tenants]]\nname = 'a'\n{lines}\n");
        let found = load_str(&[("t.toml", &text)], []).expect_err(&lines);
        let whole: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(found.len() == 1 && found[0].headline().contains(expected), "{lines}: {whole:#?}");
        assert!(!whole.concat().contains(&PLAIN[..12]) && !whole.concat().contains("hunter2"), "{whole:#?}");
    }
}

#[test]
fn budgets_of_what_generations_use_have_their_routes_follow_them() {
    let other = ROUTE.replace("\"tts\"", "\"other\"").replace("/tts", "/other");
    for (budget, follows) in [
        ("characters = 5", [true, false]),
        ("audio_seconds = 5", [true, false]),
        ("requests = 5", [false, false]),
        ("cost = 5.0, currency = 'USD'", [true, true]),
    ] {
        let price = "[[prices]]\nprovider = 'elevenlabs'\nper_request = 1.0\ncurrency = 'USD'\n";
        let price = if budget.starts_with("cost") { price } else { "" };
        let text = format!(
            "{ROUTE}generations = false\n{other}generations = false\n{price}[[tenants]]\nname = 'a'\nroutes = ['tts']\n\
             budgets = [{{ {budget}, per = '1d' }}]\n"
        );
        let all = loaded(&[("t.toml", &text)], &[]);
        let found: Vec<bool> = all.config.routes.iter().map(|route| route.generations).collect();
        assert_eq!(found, follows, "{budget}");
    }
}

fn with_files(place: &FilePath, more: &str) -> String {
    format!("[server]\ntenants = '{}'\n{ROUTE}{more}", place.display())
}

fn names(tenants: &[Arc<Tenant>]) -> Vec<&str> {
    tenants.iter().map(|tenant| tenant.name.as_str()).collect()
}

#[test]
fn the_tenants_of_a_folder_follow_those_of_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
    write("b.toml", &format!("[[tenants]]\nname = 'b'\nkeys = ['{OTHER}']\n[[tenants]]\nname = 'c'\n"));
    write(
        "a.toml",
        &format!("[[tenants]]\nname = 'a'\nkeys = [{{ hash = '{ONE}', expires = 2027-01-01T00:00:00Z }}]\n"),
    );
    write("readme", "no tenants");
    write(".hidden.toml", "[[tenants]]\nname = 'hidden'\n");
    let text = with_files(folder.path(), "[[tenants]]\nname = 'own'\n");
    let all = loaded(&[("t.toml", &text)], &[]);
    assert_eq!(names(&all.config.tenants), ["own", "a", "b", "c"]);
    assert!(all.config.tenants[1].keys[0].expires.is_some());
    let before = all.files.clone();
    assert_eq!(before.now(), before);
    assert_eq!(before.names().count(), 3, "the folder and its two files");
    write("d.toml", "");
    assert_ne!(before.now(), before, "a further file is noticed");
}

#[test]
fn a_folder_without_tenants_opens_the_gateway_to_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let all = loaded(&[("t.toml", &with_files(folder.path(), ""))], &[]);
    assert!(all.config.server.authenticate && all.config.tenants.is_empty());
    assert_eq!(all.warnings.len(), 1);
}

#[test]
fn problems_of_such_a_file_have_their_place_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("one.toml");
    let first = |content: &str| {
        fs::write(&file, content).expect("written");
        let text = with_files(&file, "[[tenants]]\nname = 'own'\n");
        let found = load_str(&[("t.toml", &text)], []).expect_err(content);
        let problem = found[0].to_string().replace(&folder.path().display().to_string(), "…");
        assert!(!problem.contains(&PLAIN[..12]), "{problem}");
        problem
    };
    let told = first("[[tenants]]\nname = 'x'\nwieght = 2\n");
    assert!(told.starts_with("…/one.toml:3:1: tenants[1].wieght: unknown key; did you mean `weight`?"), "{told}");
    let told = first(&format!("[[tenants]]\nname = 'x'\nkeys = ['{PLAIN}']\n"));
    assert!(told.starts_with("…/one.toml:3:9: tenants[1].keys[0]: a gateway key in plain text"), "{told}");
    let told = first(&format!("[[tenants]]\nname = 'x'\nkeys = {PLAIN}\n"));
    assert!(told.contains("server.tenants: the file `…/one.toml`: line 3 is not valid TOML"), "{told}");
    let told = first("[server]\nlisten = '127.0.0.1:1'\n");
    assert!(told.contains("`server` cannot stand here; expected `[[tenants]]` alone"), "{told}");
    let text = with_files(FilePath::new("/nowhere/tenants"), "");
    let found = problems(&text, &[]);
    assert!(found[0].contains("server.tenants: the file does not exist"), "{found:?}");
}

/// Whoever reaches a listener names any tenant, so nobody may but those who are trusted.
#[test]
fn a_header_names_tenants_only_where_all_peers_are_trusted() {
    let directory = tempfile::tempdir().expect("a folder");
    let pem = |name: &str, kind: &str| {
        let path = directory.path().join(name);
        fs::write(&path, format!("-----BEGIN {kind}-----\nAAAA\n-----END {kind}-----\n")).expect("written");
        path.display().to_string()
    };
    let (certificate, key) = (pem("c.pem", "CERTIFICATE"), pem("k.pem", "PRIVATE KEY"));
    let tls = format!("tls = {{ certificate = '{certificate}', private_key = '{key}'");
    let mutual = format!("{tls}, client_ca = '{certificate}' }}");
    let text = |server: &str, header: &str| {
        format!("[server]\ntenant = {{ header = '{header}' }}\n{server}\n{ROUTE}[[tenants]]\nname = 'a'\n")
    };
    for server in [
        "",
        "listen = ['127.0.0.1:1', '[::1]:1', 'unix:/run/a.sock', '[::ffff:127.0.0.1]:1']",
        &format!("listen = '0.0.0.0:1'\n{mutual}"),
    ] {
        let all = loaded(&[("t.toml", &text(server, "x-app"))], &[]);
        assert_eq!(all.config.server.tenant_header.as_ref().map(|name| name.as_str()), Some("x-app"), "{server}");
        assert!(all.warnings.is_empty(), "{:?}", all.warnings);
    }
    for (server, header, expected) in [
        ("listen = '0.0.0.0:1'".to_owned(), "x-app", "server.tenant: whoever connects to `0.0.0.0:1` could name any"),
        (format!("listen = ['127.0.0.1:1', '[::]:1']\n{tls} }}"), "x-app", "whoever connects to `[::]:1` could name"),
        (String::new(), "authorization", "server.tenant.header: `authorization` cannot be used"),
        (String::new(), "x-api-key", "server.tenant.header: `x-api-key` cannot be used"),
        (String::new(), "host", "server.tenant.header: `host` cannot be used"),
        (String::new(), "x-speechgate-priority", "server.tenant.header: `x-speechgate-priority` cannot be used"),
    ] {
        let problems = load_str(&[("t.toml", &text(&server, header))], []).expect_err("refused");
        let problems: Vec<String> = problems.iter().map(Problem::headline).collect();
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{server}: {problems:?}");
    }
    let known = format!("{ROUTE}[[tenants]]\nname = 'a'\nsubjects = ['spiffe://a']\n");
    let unasked = loaded(&[("t.toml", &known)], &[]);
    assert!(unasked.warnings.iter().any(|one| one.warning().contains("no client is asked for a certificate")));
    let asked = loaded(&[("t.toml", &format!("[server]\n{mutual}\n{known}"))], &[]);
    assert!(asked.warnings.is_empty(), "{:?}", asked.warnings);
}
