//! Two routes, one account: slots, rates, waits and what is learned are the account's, through whichever route they came.

use super::support::stage::Stage;
use super::support::world::{get, get_with, json_answer};
use super::support::{Act, Client, Gateway, Provider, Settings, envelope};
use speechgate::proxy::gateway_key::{hash, make, shown};
use std::net::SocketAddr;

const IN_USE: &str = "speechgate_concurrency_in_use";
const QUEUED: &str = "speechgate_concurrency_queued";
const LIMIT: &str = "speechgate_concurrency_limit";
const NAMED: &str = "account = 'eleven'";

fn account(lines: &str) -> String {
    format!("[[accounts]]\nname = 'eleven'\ncredentials = {{ header = 'xi-api-key', value = 'sk-account' }}\n{lines}\n")
}

/// The routes `/a` and `/b` of the account, and `/c` with a key of its own.
fn settings(provider: SocketAddr, lines: &str) -> Settings {
    let own = format!("credentials = {{ header = 'xi-api-key', value = 'sk-own' }}\n{}", account(lines));
    Settings::new().route("a", "/a", provider, NAMED).route("b", "/b", provider, NAMED).route("c", "/c", provider, &own)
}

fn ask(gateway: &Gateway, request: Vec<u8>) -> Client {
    let mut client = gateway.client();
    let _ = client.send(request);
    client
}

/// What is shown of a route's slots.
fn becomes(gateway: &Gateway, route: &str, in_use: u32, queued: u32) {
    gateway.metric_becomes(IN_USE, &[("route", route)], f64::from(in_use));
    gateway.metric_becomes(QUEUED, &[("route", route)], f64::from(queued));
}

#[test]
fn priorities_hold_across_the_routes_of_an_account() {
    let stage = Stage::start();
    let gateway =
        Gateway::start(&settings(stage.provider.address(), "concurrency = { max = 2, queue = 9, max_wait = '20s' }"));
    let mut clients = vec![ask(&gateway, get("/a/1")), ask(&gateway, get("/b/2"))];
    assert_eq!(stage.next(2).len(), 2);
    assert_eq!([("route", "a"), ("route", "b")].map(|route| gateway.metric(LIMIT, &[route])), [2.0, 2.0]);
    let waiting = [
        ("/a/low", "x-speechgate-priority: low\r\n", "a", 1),
        ("/b/normal", "", "b", 1),
        ("/b/high", "x-speechgate-priority: high\r\n", "b", 2),
        ("/a/second", "", "a", 2),
    ];
    for (target, lines, route, queued) in waiting {
        clients.push(ask(&gateway, get_with(target, lines)));
        becomes(&gateway, route, 1, queued);
    }
    let mut leaves = ask(&gateway, get_with("/a/leaves", "x-speechgate-priority: high\r\n"));
    becomes(&gateway, "a", 1, 3);
    leaves.wire().finish();
    drop(leaves);
    becomes(&gateway, "a", 1, 2);
    let mut order = Vec::new();
    for _ in waiting {
        stage.release(1);
        order.extend(stage.next(1));
    }
    assert_eq!(order, ["/high", "/normal", "/second", "/low"]);
    stage.release(2);
    assert!(clients.iter_mut().all(|client| client.answer().status == 200));
    ["a", "b"].iter().for_each(|route| becomes(&gateway, route, 0, 0));
    let key = gateway.ask_admin("GET", "/config").text();
    assert!(!key.contains("sk-account") && key.contains("\"accounts\""), "{key}");
}

#[test]
fn the_key_is_the_account_s_and_its_rates_count_all_routes() {
    let provider = Provider::start();
    let lines = "rate_limits = [{ requests = 3, per = '1h' }, { requests = 1, per = '1h', match = 'GET /once' }]";
    let limited = format!("{NAMED}\nrate_limits = [{{ requests = 1, per = '1h', match = 'GET /mine' }}]");
    let deep = Settings::new().route_to("d", "/d", "elevenlabs", &format!("http://{}/base", provider.address()), NAMED);
    let settings = deep.route("a", "/a", provider.address(), &format!("{limited}\nrate_limit_headers = true"));
    let gateway =
        Gateway::start(&settings.route("b", "/b", provider.address(), &format!("{NAMED}\n{}", account(lines))));
    let status = |target: &str| ask(&gateway, get_with(target, "xi-api-key: of-the-client\r\n")).answer();
    let first = status("/a/once");
    let policies = ["\"account-rate-2\";q=1;w=3600", "\"account-rate-1\";q=3;w=3600"];
    assert_eq!((first.status, first.fields.all("ratelimit-policy")), (200, policies.map(str::to_owned).to_vec()));
    assert_eq!(provider.one().fields.get("xi-api-key").as_deref(), Some("sk-account"));
    let refused = status("/b/once");
    assert_eq!((refused.status, refused.field("ratelimit-policy")), (429, "\"account-rate-2\";q=1;w=3600".to_owned()));
    assert_eq!(
        envelope(&refused, "rate_limited")["message"],
        "More requests than the rate limit of the route's account allows."
    );
    assert_eq!(status("/d/once").status, 200, "the provider's path is another: /base/once");
    assert_eq!((status("/a/mine").status, status("/a/mine").status), (200, 429), "its own rate beside");
    let refused = status("/b/mine");
    assert_eq!((refused.status, refused.field("ratelimit-policy")), (429, "\"account-rate-1\";q=3;w=3600".to_owned()));
    assert_eq!(provider.take().len(), 2, "one, and then two more");
}

#[test]
fn a_wait_binds_every_route_of_the_account_and_no_other() {
    let provider = Provider::start();
    let gateway = Gateway::start(&settings(provider.address(), "waits = { max_hold = '20s' }"));
    let status = |target: &str| ask(&gateway, get(target)).answer();
    let busy = json_answer(429, "Retry-After: 30\r\n", r#"{"detail":{"code":"rate_limit_exceeded","message":"no"}}"#);
    provider.next([Act::send(busy)]);
    assert_eq!(status("/a/x").status, 429);
    let held = status("/b/y");
    let error = envelope(&held, "rate_limited");
    assert_eq!((&error["origin"], &error["route"]), (&"gateway".into(), &"b".into()));
    assert!(error["retry_after_seconds"].as_f64().is_some_and(|wait| (15.0..=20.0).contains(&wait)), "{error}");
    assert_eq!(status("/c/y").status, 200);
    assert_eq!(gateway.ask_admin("DELETE", "/-/waits?route=b").text(), "1 wait ended\n");
    assert_eq!((status("/a/x").status, status("/b/y").status), (200, 200));
}

#[test]
fn what_one_route_learns_applies_to_all_of_the_account() {
    let provider = Provider::start();
    let gateway = Gateway::start(&settings(provider.address(), "concurrency = { max = 9, learn = true }"));
    let told = "maximum-concurrent-requests: 3\r\ncurrent-concurrent-requests: 1\r\n";
    provider.next([Act::send(json_answer(200, told, "{}"))]);
    assert_eq!(ask(&gateway, get("/a/x")).answer().status, 200);
    for route in ["a", "b"] {
        gateway.metric_becomes(LIMIT, &[("route", route)], 3.0);
    }
}

/// One with two keys: both routes use both, and what a provider refuses is set aside for both.
#[test]
fn an_account_may_have_several_keys() {
    let provider = Provider::with(|mut conn| {
        while let Some(seen) = conn.request() {
            let broke = seen.fields.get("xi-api-key").as_deref() == Some("sk-broke");
            let answer = match broke {
                true => json_answer(401, "", r#"{"detail":{"status":"quota_exceeded","message":"used up"}}"#),
                false => json_answer(200, "", "{}"),
            };
            if conn.wire.send(&answer).is_err() {
                return;
            }
        }
    });
    let keys = account("").replace(
        "credentials = { header = 'xi-api-key', value = 'sk-account' }",
        "credentials = [{ header = 'xi-api-key', value = 'sk-broke' }, { header = 'xi-api-key', value = 'sk-rich' }]",
    );
    let routes = Settings::new().route("a", "/a", provider.address(), NAMED);
    let gateway = Gateway::start(&routes.route("b", "/b", provider.address(), &format!("{NAMED}\n{keys}")));
    assert_eq!(ask(&gateway, get("/a/x")).answer().status, 200, "the other key serves it");
    assert_eq!(provider.take().len(), 2);
    for _ in 0..4 {
        assert_eq!(ask(&gateway, get("/b/x")).answer().status, 200);
    }
    assert_eq!(provider.take().len(), 4, "nobody asks with the refused key again");
}

#[test]
fn tenants_share_the_slots_of_an_account_over_its_routes() {
    let stage = Stage::start();
    let [greedy, modest] = [(); 2].map(|()| make().expect("random bytes"));
    let tenant =
        |name: &str, key: &str| format!("[[tenants]]\nname = '{name}'\nkeys = ['{}']\n", shown(&hash(key.as_bytes())));
    let counted = format!(
        "concurrency = {{ max = 2, max_wait = '20s' }}\n{}max = 2\n{}reserve = 1\n",
        tenant("greedy", &greedy),
        tenant("modest", &modest)
    );
    let gateway = Gateway::start(&settings(stage.provider.address(), &counted));
    let send = |key: &str, target: &str| ask(&gateway, get_with(target, &format!("xi-api-key: {key}\r\n")));
    let mut clients = vec![send(&greedy, "/a/g1"), send(&greedy, "/b/g2")];
    assert_eq!(stage.next(2).len(), 2);
    for (queued, target) in (1..).zip(["/a/g3", "/a/g4"]) {
        clients.push(send(&greedy, target));
        becomes(&gateway, "a", 1, queued);
    }
    clients.push(send(&modest, "/b/m1"));
    becomes(&gateway, "b", 1, 1);
    let counts = |route, tenant| {
        let of = |name: &str| gateway.metric(name, &[("route", route), ("tenant", tenant)]);
        (of("speechgate_concurrency_in_use"), of("speechgate_concurrency_queued"))
    };
    assert_eq!((counts("a", "greedy"), counts("b", "greedy")), ((1.0, 2.0), (1.0, 0.0)), "by route");
    assert_eq!((counts("a", "modest"), counts("b", "modest")), ((0.0, 0.0), (0.0, 1.0)));
    let page: serde_json::Value = serde_json::from_str(&gateway.admin("/status.json").text()).expect("JSON");
    assert_eq!(page["tenants"][0]["over_share"], true, "{page}");
    stage.release(1);
    assert_eq!(stage.next(1), ["/m1"], "the tenant without a slot is next, though it came last and by another route");
    stage.release(5);
    assert!(clients.iter_mut().all(|client| client.answer().status == 200));
}

/// A reload takes one route of the account away and brings another, while calls of the first run: they count.
#[test]
fn a_reload_in_the_middle_forgets_no_call() {
    let stage = Stage::start();
    let address = stage.provider.address();
    let one = "concurrency = { max = 1, queue = 9, max_wait = '20s' }";
    let own = format!("credentials = {{ header = 'xi-api-key', value = 'sk-account' }}\n{one}");
    let gateway = Gateway::start(&Settings::new().route("a", "/a", address, &own));
    let reload = |settings: &Settings| {
        std::fs::write(gateway.file("gateway.toml"), settings.text()).expect("written");
        assert_eq!(gateway.ask_admin("POST", "/-/reload").text(), "reloaded\n");
    };
    let mut clients = vec![ask(&gateway, get("/a/1"))];
    assert_eq!(stage.next(1), ["/1"]);
    clients.push(ask(&gateway, get("/a/2")));
    gateway.metric_becomes(QUEUED, &[("route", "a")], 1.0);
    // The route's key becomes the account's, with a second route, then with that one alone.
    let both = Settings::new().route("a", "/a", address, NAMED).route(
        "b",
        "/b",
        address,
        &format!("{NAMED}\n{}", account(one)),
    );
    reload(&both);
    clients.push(ask(&gateway, get("/b/3")));
    gateway.metric_becomes(QUEUED, &[("route", "b")], 1.0);
    reload(&Settings::new().route("b", "/b", address, &format!("{NAMED}\n{}", account(one))));
    clients.push(ask(&gateway, get("/b/4")));
    gateway.metric_becomes(QUEUED, &[("route", "b")], 2.0);
    for expected in ["/2", "/3", "/4"] {
        assert_eq!(stage.provider.take().len(), 0, "one at a time");
        stage.release(1);
        assert_eq!(stage.next(1), [expected]);
    }
    stage.release(1);
    assert!(clients.iter_mut().all(|client| client.answer().status == 200));
    becomes(&gateway, "b", 0, 0);
}

/// A route with a key of its own, which then becomes that of an account, which in between counts no calls.
#[test]
fn an_account_that_begins_to_count_knows_the_calls_of_its_routes() {
    let stage = Stage::start();
    let address = stage.provider.address();
    let one = "concurrency = { max = 1, queue = 9, max_wait = '20s' }";
    let key = "credentials = { header = 'xi-api-key', value = 'sk-account' }";
    let gateway = Gateway::start(&Settings::new().route("a", "/a", address, &format!("{key}\n{one}")));
    let mut clients = vec![ask(&gateway, get("/a/1"))];
    assert_eq!(stage.next(1), ["/1"]);
    for lines in ["", one] {
        let settings = Settings::new().route("a", "/a", address, &format!("{NAMED}\n{}", account(lines)));
        std::fs::write(gateway.file("gateway.toml"), settings.text()).expect("written");
        assert_eq!(gateway.ask_admin("POST", "/-/reload").text(), "reloaded\n");
    }
    clients.push(ask(&gateway, get("/a/2")));
    gateway.metric_becomes(QUEUED, &[("route", "a")], 1.0);
    assert_eq!(stage.provider.take().len(), 0, "one at a time");
    stage.release(1);
    assert_eq!(stage.next(1), ["/2"]);
    stage.release(1);
    assert!(clients.iter_mut().all(|client| client.answer().status == 200));
}

#[test]
fn backoffs_of_a_path_continue_when_its_route_joins_an_account() {
    let provider = Provider::start();
    let address = provider.address();
    let key = "credentials = { header = 'xi-api-key', value = 'sk-account' }";
    let gateway = Gateway::start(&Settings::new().route("a", "/a", address, key));
    let status = |target: &str| ask(&gateway, get(target)).answer().status;
    let broken = r#"{"detail":{"code":"service_unavailable","message":"no"}}"#;
    provider.next([Act::send(json_answer(503, "Retry-After: 30\r\n", broken))]);
    assert_eq!((status("/a/x"), status("/a/y")), (503, 200));
    let settings = Settings::new().route("a", "/a", address, NAMED).route(
        "b",
        "/b",
        address,
        &format!("{NAMED}\n{}", account("")),
    );
    std::fs::write(gateway.file("gateway.toml"), settings.text()).expect("written");
    assert_eq!(gateway.ask_admin("POST", "/-/reload").text(), "reloaded\n");
    assert_eq!(["/a/x", "/b/x", "/a/y", "/b/y"].map(status), [503, 503, 200, 200]);
    assert_eq!(provider.take().len(), 4, "the first two, and the last two");
}
