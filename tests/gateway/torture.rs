//! Everything at once, for a while: whatever clients and the provider do, no slot and no place is lost.

use super::support::http2::{self, H2, RST_STREAM};
use super::support::provider::OK;
use super::support::world::{get, json_answer};
use super::support::{Conn, Gateway, Provider, Settings};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The plan: calls at one time.
const MAX: usize = 4;
/// Clients at one time, and how many calls each makes.
const CLIENTS: usize = 12;
const CALLS: usize = 40;
/// Where the dice begin; a failure names it.
const SEED: u64 = 0x5eed;

/// Dice that fall the same each time.
struct Dice(u64);

impl Dice {
    /// SplitMix64.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ (mixed >> 27)) >> 20) % sides
    }
}

/// How many calls the provider has at one time, and the most that it ever had.
#[derive(Default)]
struct Plan {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Plan {
    fn enter(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        let _ = self.most.fetch_max(now, Ordering::SeqCst);
    }

    fn leave(&self) {
        let _ = self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Answers in every way there is, by the number in the path.
fn play(mut conn: Conn, plan: &Plan) {
    while let Some(seen) = conn.request() {
        plan.enter();
        let kind = seen.target().trim_start_matches("/k").parse::<u64>().unwrap_or(0);
        let half = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
        let stays = match kind {
            0..=4 => conn.wire.send(OK).is_ok(),
            5 => conn.wire.send(&json_answer(429, "", "{\"detail\":{\"code\":\"concurrent_limit_exceeded\"}}")).is_ok(),
            6 => conn.wire.send(&json_answer(500, "", "{}")).is_ok(),
            7 => conn.wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").is_ok(),
            8 => conn.wire.send(half).is_err(),
            9 => false,
            _ => {
                // Until the gateway has had enough.
                let _ = conn.wire.send(half);
                let _ = conn.hang();
                false
            }
        };
        plan.leave();
        if !stays {
            return;
        }
    }
}

fn call(gateway: &Gateway, dice: &mut Dice) {
    let target = format!("/s/k{}", dice.roll(12));
    match dice.roll(8) {
        0 => gateway_h2(gateway, &target, true),
        1 => gateway_h2(gateway, &target, false),
        2 => {
            let mut client = gateway.client();
            let _ = client.send(get(&target));
            client.reset();
        }
        3 => drop(gateway.client().send(format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf"))),
        4 => {
            let mut client = gateway.client();
            let _ = client.send(get(&target)).head();
            client.reset();
        }
        _ => drop(gateway.client().send(get(&target)).try_answer("GET")),
    }
}

fn gateway_h2(gateway: &Gateway, target: &str, reset: bool) {
    let mut h2 = H2::to(gateway.address());
    let _ = h2.send(http2::request(1, &http2::get_fields(target, &[("x-speechgate-priority", "high")])));
    if reset {
        let _ = h2.send(http2::frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()));
    } else {
        let _ = h2.fate(1);
    }
}

#[test]
fn whatever_happens_nothing_leaks() {
    let plan = Arc::new(Plan::default());
    let inner = Arc::clone(&plan);
    let provider = Provider::with(move |conn| play(conn, &inner));
    let text = |max: usize| {
        let lines = format!(
            "timeouts = {{ response = '300ms', idle = '300ms' }}\n\
             concurrency = {{ max = {max}, queue = 6, max_wait = '400ms', learn = true }}"
        );
        Settings::new().route("slots", "/s", provider.address(), &lines).text()
    };
    let gateway = Gateway::start_text(&text(MAX), &[]);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let gateway = &gateway;
            let _ = scope.spawn(move || {
                let mut dice = Dice(SEED + client as u64);
                (0..CALLS).for_each(|_| call(gateway, &mut dice));
            });
        }
        for max in [2, 3, MAX] {
            std::fs::write(gateway.file("gateway.toml"), text(max)).expect("written");
            assert_eq!(gateway.ask_admin("POST", "/-/reload").status, 200);
        }
    });
    for metric in ["concurrency_in_use", "concurrency_queued", "requests_in_flight"] {
        gateway.metric_becomes(&format!("speechgate_{metric}"), &[("route", "slots")], 0.0);
    }
    // How many at most cannot be told from here: a call that its client left is over before the provider notices.
    assert!(plan.most.load(Ordering::SeqCst) >= 2, "nothing ran side by side");
    assert_eq!(gateway.client().send(get("/s/k0")).answer().status, 200);
    let requests = gateway.metric("speechgate_requests_total", &[("route", "slots")]);
    assert!(requests as usize <= CLIENTS * CALLS + 1, "{requests}");
}
