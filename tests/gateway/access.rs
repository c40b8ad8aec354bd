//! The access log under pressure: nobody reads it, or only a part of it is wanted.

use crate::support::world::get;
use crate::support::{Gateway, Provider, Settings, World};

#[test]
fn an_unread_pipe_delays_nothing() {
    let provider = Provider::start();
    let (gateway, _unread) = Gateway::start_unread(&Settings::standard(provider.address()));
    let world = World { gateway, provider };
    let dropped = || world.gateway.metric("speechgate_access_log_dropped_total", &[]);
    // As long as a target may be, so that not too many are needed to fill the pipe and the buffers before it.
    let target = format!("/p/{}", "a".repeat(8000));
    let mut client = world.client();
    let mut sent = 0;
    while dropped() == 0.0 {
        for _ in 0..50 {
            assert_eq!(client.send(get(&target)).answer().status, 200);
        }
        sent += 50;
        assert!(sent < 5000, "nothing was dropped of {sent} lines");
    }
    // One more, to be dropped too: the warning comes once.
    assert_eq!(world.get("/p/after").status, 200);
    let warning = "lines of the access log are lost";
    let line = world.gateway.line(|line| line["message"] == warning);
    assert_eq!(line["reason"], "the reader does not keep up");
    assert_eq!(world.gateway.log().iter().filter(|line| line.contains(warning)).count(), 1);
}

#[test]
fn lines_for_which_the_disk_has_no_room_are_counted_and_warned_of() {
    let provider = Provider::start();
    let gateway = Gateway::start_on_full_disk(&Settings::standard(provider.address()));
    let world = World { gateway, provider };
    for _ in 0..3 {
        assert_eq!(world.get("/p/a").status, 200);
    }
    world.gateway.metric_becomes("speechgate_access_log_dropped_total", &[], 3.0);
    let line = world.gateway.line(|line| line["message"] == "lines of the access log are lost");
    assert!(line["reason"].as_str().is_some_and(|reason| reason.starts_with("No space left")), "{line}");
}

#[test]
fn a_log_file_at_the_limit_of_its_size_ends_nothing() {
    let provider = Provider::start();
    let gateway = Gateway::start_with_small_files(&Settings::standard(provider.address()));
    let world = World { gateway, provider };
    for _ in 0..8 {
        assert_eq!(world.get("/p/a").status, 200);
    }
    let line = world.gateway.line(|line| line["message"] == "lines of the access log are lost");
    assert!(line["reason"].as_str().is_some_and(|reason| reason.starts_with("File too large")), "{line}");
    assert_eq!(world.get("/p/a").status, 200);
}

#[test]
fn successes_may_be_left_out_and_errors_never() {
    let world = World::with(|settings| settings.telemetry("log = { format = \"json\", access_successes = 0.0 }"));
    for _ in 0..3 {
        assert_eq!(world.get("/p/a").status, 200);
        assert_eq!(world.get("/nowhere").status, 404);
    }
    world.gateway.metric_becomes("speechgate_access_log_skipped_total", &[], 3.0);
    let _ = world.gateway.line(|line| line["code"] == "route_not_found");
    assert!(!world.gateway.log().iter().any(|line| line.contains("\"status\":200")));
}
