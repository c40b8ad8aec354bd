use super::slots::*;
use super::*;
use crate::telemetry::exposition::Format;

fn rendered(metrics: &Metrics) -> String {
    let mut text = String::new();
    metrics.render(Format::Prometheus, &mut text);
    text
}

/// The samples of one family, without histogram buckets.
fn samples(text: &str, family: &str) -> Vec<String> {
    let own = |line: &&str| line.strip_prefix(family).is_some_and(|rest| rest.starts_with(['{', ' ']));
    text.lines().filter(own).map(str::to_owned).collect()
}

#[test]
fn a_request_and_its_error_are_counted_once() {
    let metrics = Metrics::new("1.2.3", 2);
    let route = metrics.route("tts", "cartesia");
    let in_flight = route.request_started();
    assert_eq!(
        samples(&rendered(&metrics), "speechgate_requests_in_flight"),
        ["speechgate_requests_in_flight{route=\"\"} 0", "speechgate_requests_in_flight{route=\"tts\"} 1"]
    );
    use_shard(1);
    route.error(Code::ConcurrencyLimited, Origin::Provider, Transport::Sse);
    route.upstream_error(&Arc::from("concurrency_limited"), Code::ConcurrencyLimited);
    route.upstream_error(&Arc::from("concurrency_limited"), Code::ConcurrencyLimited);
    route.unmapped();
    let overhead = Some(Duration::from_micros(10));
    route.request_finished(
        &Method::POST,
        429,
        &Times { total: Duration::from_millis(20), overhead, ..Times::default() },
    );
    drop(in_flight);
    use_shard(0);
    let text = rendered(&metrics);
    for (family, expected) in [
        (
            "speechgate_errors_total",
            "{route=\"tts\",provider=\"cartesia\",type=\"concurrency_limited\",code=\"concurrency_limited\",\
             origin=\"provider\",transport=\"sse\"} 1",
        ),
        (
            "speechgate_upstream_errors_total",
            "{route=\"tts\",provider=\"cartesia\",upstream_code=\"concurrency_limited\",code=\"concurrency_limited\"} 2",
        ),
        ("speechgate_requests_total", "{route=\"tts\",provider=\"cartesia\",method=\"POST\",status=\"429\"} 1"),
        ("speechgate_build_info", "{version=\"1.2.3\"} 1"),
        ("speechgate_access_log_dropped_total", " 0"),
        ("speechgate_log_dropped_total", " 0"),
    ] {
        assert_eq!(samples(&text, family), [format!("{family}{expected}")]);
    }
    assert_eq!(
        samples(&text, "speechgate_unmapped_errors_total")[1],
        "speechgate_unmapped_errors_total{route=\"tts\",provider=\"cartesia\"} 1"
    );
    assert_eq!(samples(&text, "speechgate_requests_in_flight")[1], "speechgate_requests_in_flight{route=\"tts\"} 0");
    for line in [
        "speechgate_request_duration_seconds_bucket{route=\"tts\",provider=\"cartesia\",le=\"0.01\"} 0\n",
        "speechgate_request_duration_seconds_bucket{route=\"tts\",provider=\"cartesia\",le=\"0.025\"} 1\n",
        "speechgate_request_duration_seconds_sum{route=\"tts\",provider=\"cartesia\"} 0.02\n",
        "speechgate_upstream_duration_seconds_count{route=\"tts\",provider=\"cartesia\"} 0\n",
        "speechgate_overhead_seconds_bucket{route=\"tts\",le=\"1e-05\"} 1\n",
    ] {
        assert!(text.contains(line), "{line}");
    }
}

#[test]
fn a_websocket_is_counted_from_its_opening_to_its_close() {
    let metrics = Metrics::new("0", 2);
    let (old, new) = (metrics.route("live", "a"), metrics.route("live", "b"));
    let (first, second) = (old.websocket_opened(), new.websocket_opened());
    use_shard(1);
    let third = new.websocket_opened();
    old.websocket_passed(Direction::Upstream, 2, 100);
    new.websocket_passed(Direction::Upstream, 1, 50);
    new.websocket_passed(Direction::Downstream, 0, 7);
    use_shard(0);
    drop((first, third));
    for (code, initiator) in [(1000, Initiator::Client), (3008, Initiator::Gateway), (4321, Initiator::Provider)] {
        new.websocket_closed(code, initiator);
    }
    for code in [999, 1016, 2999, u16::MAX] {
        new.websocket_closed(code, Initiator::Provider);
    }
    let text = rendered(&metrics);
    for (family, expected) in [
        ("speechgate_websockets_open", &["{route=\"live\"} 1"][..]),
        ("speechgate_websocket_messages_total", &["{route=\"live\",direction=\"upstream\"} 3"]),
        (
            "speechgate_websocket_bytes_total",
            &["{route=\"live\",direction=\"upstream\"} 150", "{route=\"live\",direction=\"downstream\"} 7"],
        ),
        (
            "speechgate_websocket_closes_total",
            &[
                "{route=\"live\",code=\"1000\",initiator=\"caller\"} 1",
                "{route=\"live\",code=\"3008\",initiator=\"gateway\"} 1",
                "{route=\"live\",code=\"other\",initiator=\"provider\"} 5",
            ],
        ),
    ] {
        let live: Vec<String> = samples(&text, family).into_iter().filter(|line| line.contains("live")).collect();
        let expected: Vec<String> = expected.iter().map(|sample| format!("{family}{sample}")).collect();
        assert_eq!(live, expected);
    }
    drop(second);
}

#[test]
fn labels_stay_inside_their_sets() {
    let metrics = Metrics::new("0", 1);
    let route = metrics.unrouted();
    let hostile = Method::from_bytes(b"EVIL").expect("a method");
    for status in [99, 100, 599, 600, u16::MAX] {
        route.request_finished(&hostile, status, &Times::default());
    }
    let prefix = "speechgate_requests_total{route=\"\",provider=\"\",method=\"other\",status=";
    let expected = ["\"100\"} 1", "\"599\"} 1", "\"other\"} 3"].map(|rest| format!("{prefix}{rest}"));
    assert_eq!(samples(&rendered(&metrics), "speechgate_requests_total"), expected);
    for index in 0..UPSTREAM_CODES + 10 {
        route.upstream_error(&Arc::from(index.to_string()), Code::UnknownError);
    }
    let text = rendered(&metrics);
    let upstream = samples(&text, "speechgate_upstream_errors_total");
    assert_eq!(upstream.len(), UPSTREAM_CODES + 1);
    assert!(upstream.iter().any(|line| line.contains("upstream_code=\"other\"") && line.ends_with(" 10")));
}

#[test]
fn a_route_that_changes_its_provider_has_one_gauge() {
    let metrics = Metrics::new("0", 1);
    let (old, new) = (metrics.route("tts", "a"), metrics.route("tts", "b"));
    let _guards = (old.request_started(), new.request_started());
    assert!(Arc::ptr_eq(&old, &metrics.route("tts", "a")));
    let text = rendered(&metrics);
    assert_eq!(
        samples(&text, "speechgate_requests_in_flight")[1..],
        ["speechgate_requests_in_flight{route=\"tts\"} 2"]
    );
    assert_eq!(text.matches("speechgate_overhead_seconds_count{route=\"tts\"}").count(), 1);
}

#[test]
fn every_family_is_announced_once_before_its_samples() {
    let metrics = Metrics::new("0", 1);
    let _ = metrics.route("a", "b");
    metrics.reloaded(false);
    metrics.reloaded(true);
    let text = rendered(&metrics);
    assert!(text.ends_with('\n'));
    let mut announced = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().expect("a name");
            assert!(!announced.contains(&name), "{name} is announced twice");
            assert_eq!(rest.ends_with(" counter"), name.ends_with("_total"), "{name}");
            announced.push(name);
        } else if !line.starts_with('#') {
            let name = announced.last().expect("samples follow their family");
            assert!(line.starts_with(name), "{line}");
        }
    }
    assert!(text.contains(
        "speechgate_config_reloads_total{result=\"success\"} 1\nspeechgate_config_reloads_total{result=\"failure\"} 1\n"
    ));
}

/// The bound that the README states for one route.
const SERIES_PER_ROUTE: usize = 10_000;

#[test]
fn the_series_of_a_route_are_bounded_whatever_comes() {
    let metrics = Metrics::new("0", 1);
    let route = metrics.route("tts", "cartesia");
    for row in Code::ROWS {
        for origin in Origin::ALL {
            for transport in Transport::ALL {
                route.error(row.code, origin, transport);
            }
        }
        for index in 0..UPSTREAM_CODES {
            route.upstream_error(&Arc::from(index.to_string()), row.code);
        }
    }
    for method in METHODS {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        for status in 0..2000 {
            route.request_finished(&method, status, &Times::default());
        }
    }
    for code in 0..u16::MAX {
        for initiator in Initiator::ALL {
            route.websocket_closed(code, initiator);
        }
    }
    for direction in Direction::ALL {
        route.websocket_passed(direction, 1, 1);
    }
    let text = rendered(&metrics);
    let count = text.lines().filter(|line| line.contains("{route=\"tts\"")).count();
    assert!((8_000..SERIES_PER_ROUTE).contains(&count), "{count}");
}

/// What the operator's page promises of one tenant on one route.
const SERIES_PER_TENANT: usize = 8_000;

#[test]
fn the_series_of_a_tenant_are_bounded_whatever_comes() {
    let metrics = Metrics::new("0", 1);
    let route = metrics.route("tts", "cartesia");
    let tenant = route.of_tenant("bot");
    for row in Code::ROWS {
        for origin in Origin::ALL {
            for transport in Transport::ALL {
                tenant.error(row.code, origin, transport, None);
            }
        }
    }
    for method in METHODS {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        for status in 0..2000 {
            tenant.request(&method, status);
        }
    }
    for (priority, _) in PRIORITIES {
        tenant.waited(priority, Duration::from_secs(7));
    }
    let audio = Some(1.0);
    let cost = Some(("USD".to_owned(), 1.0));
    let usage = Usage { characters: Some(1.0), audio_in_seconds: audio, audio_out_seconds: audio, cost };
    route.used("bot", &usage);
    let text = rendered(&metrics);
    let count = text.lines().filter(|line| line.contains("tenant=\"bot\"")).count();
    assert!((6_000..SERIES_PER_TENANT).contains(&count), "{count}");
}

/// A gate with calls of tenants and of nobody.
struct Fixed(u32, u32);

impl SlotStats for Fixed {
    fn slot_stats(&self) -> (crate::limit::GateStats, crate::limit::Bounds) {
        let stats = crate::limit::GateStats { limit: 9, in_use: self.0, queued: self.1 };
        (stats, crate::limit::Bounds { max: 9, learned: 9, queue: 9 })
    }
}

#[test]
fn slots_and_waits_of_tenants_add_up_to_those_of_the_route() {
    let metrics = Metrics::new("0", 2);
    let route = metrics.route("tts", "cartesia");
    let slots: Arc<dyn SlotStats> = Arc::new(Fixed(5, 3));
    route.show_slots(Some(&slots));
    let (bot, batch, _idle) = (route.of_tenant("bot"), route.of_tenant("batch"), route.of_tenant("idle"));
    let held = [bot.holds(), bot.holds(), batch.holds()];
    let waits = batch.waits();
    bot.waited(Priority::Normal, Duration::ZERO);
    use_shard(1);
    batch.waited(Priority::Low, Duration::from_secs(2));
    use_shard(0);
    batch.waited(Priority::Low, Duration::from_secs(1));
    route.queue_waited(Priority::High, Duration::ZERO);
    let text = rendered(&metrics);
    let labelled = |family: &str, rest: &str| format!("{family}{{route=\"tts\"{rest}");
    for (family, rows) in [
        ("speechgate_concurrency_in_use", ["} 2", ",tenant=\"batch\"} 1", ",tenant=\"bot\"} 2"]),
        ("speechgate_concurrency_queued", ["} 2", ",tenant=\"batch\"} 1", ",tenant=\"bot\"} 0"]),
    ] {
        assert_eq!(samples(&text, family), rows.map(|row| labelled(family, row)));
    }
    let waited = samples(&text, "speechgate_queue_wait_seconds_count");
    let rows = [",priority=\"high\"} 1", ",priority=\"low\",tenant=\"batch\"} 2"];
    assert!(
        rows.iter().all(|row| waited.contains(&labelled("speechgate_queue_wait_seconds_count", row))),
        "{waited:?}"
    );
    drop((held, waits));
    let text = rendered(&metrics);
    let held = samples(&text, "speechgate_concurrency_in_use");
    assert!(held.iter().any(|line| line.ends_with("tenant=\"bot\"} 0")), "who was there stays: {held:?}");
}
