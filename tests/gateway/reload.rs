//! Another configuration while everything runs: asked for, or found in the files. What is valid is in force at once and as a whole,
//! what is not changes nothing, and nothing that runs is disturbed.

use crate::support::traffic::Chorus;
use crate::support::world::get;
use crate::support::{Gateway, Provider, Settings, World};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const RELOADS: &str = "speechgate_config_reloads_total";

/// The standard configuration with a further route of this name.
fn with_route(provider: &Provider, name: &str) -> String {
    let settings = Settings::standard(provider.address());
    settings.beside(name, &format!("/{name}"), "").text()
}

/// Waits until so many reloads have been made, by whether they were valid.
fn reloads(gateway: &Gateway, valid: u32, invalid: u32) {
    gateway.metric_becomes(RELOADS, &[("result", "success")], f64::from(valid));
    gateway.metric_becomes(RELOADS, &[("result", "failure")], f64::from(invalid));
}

/// Writes a file beside another and moves it there, as editors do.
fn rename_into(file: &Path, text: &str) {
    let other = file.with_extension("new");
    fs::write(&other, text).expect("written");
    fs::rename(other, file).expect("renamed");
}

#[test]
fn every_way_to_reload_works() {
    type Ask<'a> = (&'a str, &'a dyn Fn(&Gateway, &str));
    let write = |gateway: &Gateway, text: &str| fs::write(gateway.file("gateway.toml"), text).expect("written");
    let ways: [Ask<'_>; 4] = [
        ("files", &write),
        ("files", &|gateway, text| rename_into(&gateway.file("gateway.toml"), text)),
        ("SIGHUP", &|gateway, text| {
            write(gateway, text);
            gateway.signal("HUP");
        }),
        ("request", &|gateway, text| {
            write(gateway, text);
            assert_eq!(gateway.ask_admin("POST", "/-/reload").text(), "reloaded\n");
        }),
    ];
    for (number, (cause, ask)) in ways.into_iter().enumerate() {
        let world = World::start();
        let name = format!("new{number}");
        assert_eq!(world.get(&format!("/{name}/a")).status, 404);
        ask(&world.gateway, &with_route(&world.provider, &name));
        let line = world.gateway.line(|line| line["message"] == "the configuration was reloaded");
        assert_eq!(line["cause"], cause);
        assert_eq!(world.get(&format!("/{name}/a")).status, 200, "{number}");
    }
}

/// Kubernetes puts a ConfigMap into a directory of its own, points `..data` at it, and links each file through that.
#[test]
fn a_swapped_configmap_is_noticed() {
    let (provider, directory) = (Provider::start(), tempfile::tempdir().expect("a directory"));
    let put = |version: &str, route: &str| {
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path(version)).expect("a directory");
        fs::write(path(version).join("gateway.toml"), with_route(&provider, route)).expect("written");
        symlink(version, path("..data_tmp")).expect("a link");
        fs::rename(path("..data_tmp"), path("..data")).expect("renamed");
    };
    put("..2026_11_28_1", "first");
    symlink("..data/gateway.toml", directory.path().join("gateway.toml")).expect("a link");
    let root = directory.path().to_owned();
    let put_again = {
        let provider = provider.address();
        move || {
            let text = Settings::standard(provider).beside("second", "/second", "").text();
            fs::create_dir(root.join("..2026_11_28_2")).expect("a directory");
            fs::write(root.join("..2026_11_28_2/gateway.toml"), text).expect("written");
            symlink("..2026_11_28_2", root.join("..data_tmp")).expect("a link");
            fs::rename(root.join("..data_tmp"), root.join("..data")).expect("renamed");
            fs::remove_dir_all(root.join("..2026_11_28_1")).expect("removed");
        }
    };
    let gateway = Gateway::start_in(directory, "gateway.toml", &[]);
    let status = |path: &str| gateway.client().send(get(path)).answer().status;
    assert_eq!((status("/first/a"), status("/second/a")), (200, 404));
    put_again();
    reloads(&gateway, 1, 0);
    assert_eq!((status("/first/a"), status("/second/a")), (404, 200));
}

#[test]
fn a_secret_that_changes_is_taken() {
    let provider = Provider::start();
    let directory = tempfile::tempdir().expect("a directory");
    let secret = directory.path().join("key");
    fs::write(&secret, "first-key\n").expect("written");
    let credentials =
        format!("credentials = {{ header = \"xi-api-key\", value = \"${{file:{}}}\" }}", secret.display());
    let settings = Settings::standard(provider.address()).beside("keyed", "/keyed", &credentials);
    let gateway = Gateway::start(&settings);
    let sent = || {
        assert_eq!(gateway.client().send(get("/keyed/a")).answer().status, 200);
        provider.one().fields.get("xi-api-key").expect("a key")
    };
    assert_eq!(sent(), "first-key");
    rename_into(&secret, "second-key\n");
    reloads(&gateway, 1, 0);
    assert_eq!(sent(), "second-key");
    // What is missing is a problem like any other, and so is what comes back a change.
    fs::remove_file(&secret).expect("removed");
    reloads(&gateway, 1, 1);
    assert_eq!(sent(), "second-key");
    fs::write(&secret, "third-key\n").expect("written");
    reloads(&gateway, 2, 1);
    assert_eq!(sent(), "third-key");
    assert!(!gateway.log().iter().any(|line| line.contains("-key")), "a secret in the log");
}

#[test]
fn an_invalid_configuration_changes_nothing_and_is_logged_once() {
    let world = World::start();
    let (gateway, file) = (&world.gateway, world.gateway.file("gateway.toml"));
    let before = gateway.admin("/config").text();
    assert_eq!(gateway.metric("speechgate_config_last_reload_successful", &[]), 1.0);
    let wrong = with_route(&world.provider, "added").replace("profile", "provider").replace("max_headers", "");
    fs::write(&file, wrong.replace("workers = 2", "workers = 2\nmax_conections = 7")).expect("written");
    let line = gateway.line(|line| line["level"] == "WARN" && line["cause"] == "files");
    let problems = line["problems"].as_str().expect("problems");
    assert!(problems.contains("did you mean `max_connections`"), "{problems}");
    reloads(gateway, 0, 1);
    assert_eq!(gateway.metric("speechgate_config_last_reload_successful", &[]), 0.0);
    assert_eq!(gateway.admin("/config").text(), before);
    assert_eq!((world.get("/p/a").status, world.get("/added/a").status), (200, 404));
    let answer = gateway.ask_admin("POST", "/-/reload");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("max_conections"), "{}", answer.text());
    // Another look at files that have not changed is no other reload: these are the one before and the one asked for.
    reloads(gateway, 0, 2);
    fs::write(&file, with_route(&world.provider, "added")).expect("written");
    reloads(gateway, 1, 2);
    assert_eq!(gateway.metric("speechgate_config_last_reload_successful", &[]), 1.0);
    assert_eq!(world.get("/added/a").status, 200);
}

#[test]
fn changes_that_need_a_restart_are_named_and_the_rest_applies() {
    let world = World::start();
    let changed = with_route(&world.provider, "added")
        .replace("workers = 2", "workers = 3\ndrain_timeout = \"7s\"\nheader_timeout = \"9s\"");
    fs::write(world.gateway.file("gateway.toml"), changed).expect("written");
    let line = world.gateway.line(|line| line["restart"].is_string());
    assert_eq!(line["restart"], "server.header_timeout, server.workers");
    assert_eq!(world.get("/added/a").status, 200);
}

#[test]
fn a_change_pending_a_restart_is_shown_until_it_is_undone() {
    let world = World::start();
    let gateway = &world.gateway;
    let file = gateway.file("gateway.toml");
    let before = fs::read_to_string(&file).expect("the configuration");
    let pending = || gateway.metric("speechgate_config_restart_pending", &[]);
    let reload = |text: &str| {
        fs::write(&file, text).expect("written");
        gateway.ask_admin("POST", "/-/reload").text()
    };
    let shown = || -> serde_json::Value { serde_json::from_str(&gateway.admin("/config").text()).expect("JSON") };
    let page = || -> serde_json::Value { serde_json::from_str(&gateway.admin("/status.json").text()).expect("JSON") };
    let changed = before.replace("listen = \"127.0.0.1:0\"\nworkers = 2", "listen = \"127.0.0.2:0\"\nworkers = 3");
    assert_eq!(pending(), 0.0);
    let told = "reloaded; these take effect with a restart: server.listen, server.workers\n";
    assert_eq!(reload(&changed), told);
    // What is loaded next changes nothing of that; neither does what cannot be loaded.
    assert_eq!(reload(&changed.replace("workers = 3", "workers = 3\ndrain_timeout = \"7s\"")), told);
    assert!(reload("[server]\nlisten = 1\n").contains("cannot stand here"));
    assert_eq!((pending(), &page()["restart"]), (1.0, &serde_json::json!(["server.listen", "server.workers"])));
    let config = shown();
    assert_eq!((&config["server"]["listen"], &config["server"]["workers"]), (&"127.0.0.1:0".into(), &2.into()));
    assert_eq!(config["server"]["drain_timeout"], "7s", "that is in force");
    let waiting = serde_json::json!({ "server.listen": "127.0.0.2:0", "server.workers": 3 });
    assert_eq!(config["takes_effect_with_a_restart"], waiting);
    assert_eq!(reload(&before), "reloaded\n");
    assert_eq!((pending(), shown().get("takes_effect_with_a_restart")), (0.0, None));
    assert_eq!(page()["restart"], serde_json::json!([]));
}

#[test]
fn requests_to_reload_come_one_after_the_other() {
    let world = World::start();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let _ = scope.spawn(|| {
                for _ in 0..5 {
                    let answer = world.gateway.ask_admin("POST", "/-/reload");
                    assert_eq!((answer.status, answer.text().as_str()), (200, "reloaded\n"));
                }
            });
        }
    });
    reloads(&world.gateway, 40, 0);
}

/// Sockets and streams in constant use, one more client, and another configuration a thousand times.
#[test]
fn a_thousand_reloads_lose_nothing() {
    const EACH: usize = 100;
    let chorus = Chorus::start();
    let texts = ["first", "second"].map(|name| with_route(&chorus.provider, name));
    let gateway = Gateway::start_text(&texts[0], &[]);
    let mut traffic = chorus.open(&gateway, EACH);
    traffic.round();
    let mut client = gateway.client();
    assert_eq!(client.send(get("/p/a")).answer().status, 200);
    let (connections, memory) = (chorus.provider.connections(), gateway.memory());
    std::thread::scope(|scope| {
        let reloading = scope.spawn(|| {
            for number in 1..=1000 {
                rename_into(&gateway.file("gateway.toml"), &texts[number % 2]);
                assert_eq!(gateway.ask_admin("POST", "/-/reload").text(), "reloaded\n", "{number}");
            }
        });
        while !reloading.is_finished() {
            traffic.round();
            assert_eq!(client.send(get("/p/a")).answer().status, 200);
        }
    });
    assert_eq!(gateway.metric("speechgate_websockets_open", &[]), EACH as f64);
    traffic.finish();
    assert_eq!(chorus.provider.connections(), connections, "a connection to the provider was given up");
    let grown = gateway.memory().saturating_sub(memory);
    assert!(grown < 16 << 20, "{grown} bytes more");
    gateway.metric_becomes("speechgate_websockets_open", &[], 0.0);
    gateway.metric_becomes("speechgate_requests_in_flight", &[], 0.0);
    assert_eq!(gateway.metric("speechgate_errors_total", &[]), 0.0);
    assert!(gateway.metric(RELOADS, &[("result", "success")]) >= 1000.0);
}
