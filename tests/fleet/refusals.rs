//! A backend that answers and says no: every answer ends in limits that are counted here, in a line of the log that says why and where,
//! and in shared ones again when it is over.

use crate::connect;
use crate::server::{DEADLINE, Server};
use crate::shares::until;
use speechgate::config::secret::Secret;
use speechgate::config::types::Limits;
use speechgate::fleet::{Check, Fleet, SharedBudget};
use speechgate::limit::budgets::{Spending, Spent};
use speechgate::limit::rate::Quota;
use speechgate::limit::{AccountSet, Entry, Gate, Priority, Setup};
use speechgate::telemetry::fleet::FleetMetrics;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

const NOW: Duration = Duration::from_secs(1_796_000_400);

/// A gateway with one of each limit.
struct Gateway {
    fleet: Arc<Fleet>,
    gate: Arc<Gate>,
    check: Check,
    budget: [SharedBudget; 1],
}

impl Gateway {
    fn new(server: &Server) -> Gateway {
        let backend = Some(Secret::new(server.url()));
        let (lease, timeout) = (Duration::from_millis(900), Duration::from_millis(50));
        let limits = Limits { backend, ca_file: None, state: None, lease, timeout, prefix: "t".to_owned() };
        let metrics = || Arc::new(FleetMetrics::default());
        let fleet = Fleet::start(&limits, "g", metrics, &Handle::current()).expect("a URL").expect("a backend");
        let gate = Gate::new(&Setup { max: 40, queue: 1000, accounts: 1 });
        fleet.share("tts", 1, &gate);
        let (amount, cost) = (NonZeroU32::new(1000).expect("not zero"), NonZeroU32::MIN);
        let quota = Quota { amount, per: Duration::from_secs(3600), burst: amount };
        let check = Check { limit: 0, of_account: false, key: 1, name: 1, quota, cost };
        let spending = Arc::new(Spending::new(1, Spent::default()));
        Gateway { fleet, gate, check, budget: [SharedBudget { name: "a:characters/1d".to_owned(), spending }] }
    }

    /// A call goes, whatever the backend says.
    async fn calls(&self, why: &str) {
        if let Entry::Queued(waiting) = self.gate.enter(Priority::Normal, AccountSet::ALL, Instant::now()) {
            drop(tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("{why}: no call goes")));
        }
    }

    /// Whether a rate and a budget are shared now.
    async fn shares(&self) -> [bool; 2] {
        let _ = self.budget[0].spending.add(1.0, f64::MAX, NOW);
        [self.fleet.count("tts", &[self.check]).await.is_ok(), self.fleet.tell(&self.budget, NOW).await]
    }

    async fn becomes(&self, expected: [bool; 2], why: &str) {
        let start = Instant::now();
        loop {
            self.calls(why).await;
            let shares = self.shares().await;
            if shares == expected {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "{why}: {shares:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// The lines with these words since this was last asked.
    fn take(&self, words: &[&str]) -> usize {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock().expect("no panic"))).expect("text");
        text.lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic").clone()).expect("text")
    }

    fn has(&self, words: &[&str]) -> bool {
        let text = String::from_utf8(self.0.lock().expect("no panic").clone()).expect("text");
        text.lines().any(|line| words.iter().all(|word| line.contains(word)))
    }
}

const AT_FIRST: &str = "at first";
const REFUSES: &str = "the backend of shared limits refuses; ";
const NO_MORE: &str = "refuses no more";

/// Something else stood at a key, and the fleet counted by itself for good without a word.
#[tokio::test]
async fn a_key_of_another_kind_is_named_and_shared_again_when_it_is_gone() {
    let Some(server) = Server::start() else { return };
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let gateway = Gateway::new(&server);
    gateway.becomes([true; 2], AT_FIRST).await;
    let mut connection = connect(&server).await;
    let keys = ["t:slots:tts:0".to_owned(), String::new(), String::new()];
    let mut all: Vec<String> = redis::cmd("KEYS").arg("t:*").query_async(&mut connection).await.expect("keys");
    all.sort();
    for (place, part) in ["t:slots:tts", "t:rate:", "t:budget:"].into_iter().enumerate() {
        let key = all.iter().find(|key| key.starts_with(part)).unwrap_or(&keys[place]).clone();
        let _: () = redis::cmd("DEL").arg(&key).query_async(&mut connection).await.expect("deleted");
        let _: () = redis::cmd("LPUSH").arg(&key).arg("x").query_async(&mut connection).await.expect("pushed");
        let expected = [place != 1, place != 2];
        gateway.becomes(expected, &key).await;
        until("a line with the key", || {
            let _ = gateway.gate.enter(Priority::Normal, AccountSet::ALL, Instant::now());
            log.has(&[REFUSES, &key, "WRONGTYPE"])
        })
        .await;
        for _ in 0..20 {
            let _ = gateway.shares().await;
        }
        assert_eq!(log.take(&[REFUSES, &key]), 1, "once");
        let _: () = redis::cmd("DEL").arg(&key).query_async(&mut connection).await.expect("deleted");
        gateway.becomes([true; 2], &key).await;
        until("a line that it is over", || log.has(&[NO_MORE, "WRONGTYPE"])).await;
        let _ = log.take(&[]);
    }
}

/// Garbage where numbers are expected counts for nothing, instead of ending every script.
#[tokio::test]
async fn what_somebody_else_has_written_at_a_key_counts_for_nothing() {
    let Some(server) = Server::start() else { return };
    let gateway = Gateway::new(&server);
    gateway.becomes([true; 2], AT_FIRST).await;
    let mut connection = connect(&server).await;
    let all: Vec<String> = redis::cmd("KEYS").arg("t:*").query_async(&mut connection).await.expect("keys");
    for key in &all {
        let kind: String = redis::cmd("TYPE").arg(key).query_async(&mut connection).await.expect("a type");
        let fields: &[&str] = if key.starts_with("t:budget") {
            &["sum", "floor", "p:g"]
        } else {
            &["clock", "grace", "plan", "tenants", "~x", "x.1"]
        };
        for garbage in ["", "words", "nan", "inf", "-1e999", "1 2", "7 words"] {
            if kind == "hash" {
                for field in fields {
                    let _: () = redis::cmd("HSET")
                        .arg(key)
                        .arg(field)
                        .arg(garbage)
                        .query_async(&mut connection)
                        .await
                        .expect("set");
                }
            } else if key.starts_with("t:rate") {
                let _: () = redis::cmd("SET").arg(key).arg(garbage).query_async(&mut connection).await.expect("set");
            }
            gateway.becomes([true; 2], &format!("{key}: {garbage:?}")).await;
        }
    }
}

/// Every other way to say no.
#[tokio::test]
async fn a_backend_that_refuses_is_done_without_and_used_again() {
    let Some(server) = Server::start() else { return };
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let gateway = Gateway::new(&server);
    gateway.becomes([true; 2], AT_FIRST).await;
    let mut connection = connect(&server).await;
    type Words = &'static [&'static [&'static str]];
    let rows: [(Words, Words, &str, [bool; 2]); 4] = [
        (&[&["REPLICAOF", "127.0.0.1", "1"]], &[&["REPLICAOF", "NO", "ONE"]], "READONLY", [false, false]),
        (&[&["CONFIG", "SET", "maxmemory", "1"]], &[&["CONFIG", "SET", "maxmemory", "0"]], "OOM", [false, false]),
        (
            &[&["ACL", "SETUSER", "default", "-evalsha", "-eval"]],
            &[&["ACL", "SETUSER", "default", "+@all"]],
            "NOPERM",
            [false, false],
        ),
        // Forgotten scripts are loaded again, and nobody notices.
        (&[&["SCRIPT", "FLUSH"]], &[&["PING"]], "", [true; 2]),
    ];
    for (begin, end, code, expected) in rows {
        let _ = log.take(&[]);
        for words in begin {
            let mut command = redis::cmd(words[0]);
            let _ = command.arg(&words[1..]);
            let _: redis::Value = command.query_async(&mut connection).await.expect("done");
        }
        gateway.becomes(expected, code).await;
        if !code.is_empty() {
            for limit in ["slots", "rate", "budget"] {
                let _ = gateway.shares().await;
                until(&format!("{code} {limit}: {}", log.text()), || {
                    let _ = gateway.gate.enter(Priority::Normal, AccountSet::ALL, Instant::now());
                    log.has(&[REFUSES, code, &format!("limit=\"{limit}\"")])
                })
                .await;
            }
            assert_eq!(log.take(&[REFUSES, "limit=\"rate\""]), 1, "{code}: once");
        }
        for words in end {
            let mut command = redis::cmd(words[0]);
            let _ = command.arg(&words[1..]);
            let _: redis::Value = command.query_async(&mut connection).await.expect("done");
        }
        gateway.becomes([true; 2], code).await;
    }
}
