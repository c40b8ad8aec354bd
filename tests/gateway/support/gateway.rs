//! The real program on free ports, its log lines and its vital signs.

use super::{Client, DEADLINE, Settings};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Log lines as they come.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    more: Condvar,
    /// Both of the program's streams are counted when they have ended.
    ended: AtomicUsize,
}

/// A running gateway; it ends with the test.
pub(crate) struct Gateway {
    child: Child,
    log: Arc<Log>,
    address: SocketAddr,
    admin: SocketAddr,
    directory: tempfile::TempDir,
}

impl Gateway {
    /// Starts the program and waits until it listens.
    pub(crate) fn start(settings: &Settings) -> Gateway {
        Gateway::start_with(settings, &[])
    }

    /// Starts the program with further environment variables.
    pub(crate) fn start_with(settings: &Settings, environment: &[(&str, &str)]) -> Gateway {
        Gateway::start_text(&settings.text(), environment)
    }

    /// Starts the program with this configuration file.
    pub(crate) fn start_text(text: &str, environment: &[(&str, &str)]) -> Gateway {
        let directory = tempfile::tempdir().expect("a directory for the configuration");
        std::fs::write(directory.path().join("gateway.toml"), text).expect("the configuration is written");
        Gateway::start_in(directory, "gateway.toml", environment)
    }

    /// Starts the program with a configuration file of this directory.
    pub(crate) fn start_in(directory: tempfile::TempDir, file: &str, environment: &[(&str, &str)]) -> Gateway {
        let mut command = Command::new(env!("CARGO_BIN_EXE_speechgate"));
        let _ = command.args(["serve", "--config"]).arg(directory.path().join(file));
        Gateway::spawn(command, directory, environment)
    }

    /// A file beside the configuration, or the configuration itself.
    pub(crate) fn file(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// Starts the program, and reads none of what it writes to standard output as long as the second value lives.
    pub(crate) fn start_unread(settings: &Settings) -> (Gateway, ChildStdout) {
        let directory = tempfile::tempdir().expect("a directory for the configuration");
        let file = directory.path().join("gateway.toml");
        std::fs::write(&file, settings.text()).expect("the configuration is written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_speechgate"));
        let _ = command.args(["serve", "--config"]).arg(&file);
        let mut child = started(&mut command, &[]);
        let unread = child.stdout.take().expect("piped");
        (Gateway::listening(child, directory), unread)
    }

    /// Starts the program with so many file descriptors at most.
    pub(crate) fn start_cramped(settings: &Settings, descriptors: usize) -> Gateway {
        Gateway::start_by(settings, &format!("ulimit -n {descriptors}; exec \"$0\" serve --config \"$1\""))
    }

    /// Starts the program with its access log on a disk that is full.
    pub(crate) fn start_on_full_disk(settings: &Settings) -> Gateway {
        Gateway::start_by(settings, "exec \"$0\" serve --config \"$1\" >/dev/full")
    }

    /// Starts the program with its access log in a file, where no file may be larger than a block.
    pub(crate) fn start_with_small_files(settings: &Settings) -> Gateway {
        Gateway::start_by(settings, "ulimit -f 1; exec \"$0\" serve --config \"$1\" >\"$1.log\"")
    }

    /// Starts the program by a script of the shell, which gets it and its configuration.
    fn start_by(settings: &Settings, script: &str) -> Gateway {
        let directory = tempfile::tempdir().expect("a directory for the configuration");
        let file = directory.path().join("gateway.toml");
        std::fs::write(&file, settings.text()).expect("the configuration is written");
        let mut command = Command::new("sh");
        let _ = command.args(["-c", script, env!("CARGO_BIN_EXE_speechgate")]).arg(&file);
        Gateway::spawn(command, directory, &[])
    }

    fn spawn(mut command: Command, directory: tempfile::TempDir, environment: &[(&str, &str)]) -> Gateway {
        Gateway::listening(started(&mut command, environment), directory)
    }

    /// Waits until the program listens.
    fn listening(mut child: Child, directory: tempfile::TempDir) -> Gateway {
        let log = Arc::new(Log::default());
        match child.stdout.take() {
            Some(stdout) => collect(stdout, &log),
            None => drop(log.ended.fetch_add(1, Ordering::Release)),
        }
        collect(child.stderr.take().expect("piped"), &log);
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut gateway = Gateway { child, log, address: unknown, admin: unknown, directory };
        let line = gateway.line(|line| line["message"] == "listening");
        let address = |key: &str| line[key].as_str().and_then(|text| text.parse().ok()).expect("an address");
        (gateway.address, gateway.admin) = (address("address"), address("admin"));
        gateway
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new connection.
    pub(crate) fn client(&self) -> Client {
        Client::to(self.address)
    }

    /// What the admin listener answers to a GET.
    pub(crate) fn admin(&self, path: &str) -> super::Answer {
        self.ask_admin("GET", path)
    }

    /// What it answers to a GET with further header lines, each ending in CRLF.
    pub(crate) fn admin_with(&self, path: &str, lines: &str) -> super::Answer {
        let mut client = Client::to(self.admin);
        let _ = client.send(format!("GET {path} HTTP/1.1\r\nHost: admin\r\n{lines}Connection: close\r\n\r\n"));
        client.answer()
    }

    /// What it answers to any method.
    pub(crate) fn ask_admin(&self, method: &str, path: &str) -> super::Answer {
        let mut client = Client::to(self.admin);
        let _ = client.send(format!("{method} {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n"));
        client.answer()
    }

    /// Every series of the metrics page with its value.
    pub(crate) fn metrics(&self) -> BTreeMap<String, f64> {
        let text = self.admin("/metrics").text();
        let series = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        series.map(|(name, value)| (name.to_owned(), value.parse().expect("a number"))).collect()
    }

    /// The sum of the series of a metric whose labels include all of `labels`.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        let mine = |series: &str| series.split('{').next() == Some(name) && wanted.iter().all(|l| series.contains(l));
        self.metrics().iter().filter(|(series, _)| mine(series)).map(|(_, value)| value).sum()
    }

    /// Waits until a metric has this value: a client can see an answer before its end has been counted.
    pub(crate) fn metric_becomes(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let end = Instant::now() + DEADLINE;
        loop {
            let now = self.metric(name, labels);
            if now == value {
                return;
            }
            assert!(Instant::now() < end, "{name}{labels:?} is {now}, not {value}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for a log line, past or future, that is JSON and fits.
    pub(crate) fn line(&self, fits: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + DEADLINE;
        let mut lines = self.log.lines.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut parsed = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            if let Some(found) = parsed.find(&fits) {
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            let ended = self.log.ended.load(Ordering::Acquire) == 2;
            assert!(left > Duration::ZERO && !ended, "the line never came; there are\n{}", lines.join("\n"));
            lines = self.log.more.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Everything written so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Resident memory in bytes.
    pub(crate) fn memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the program runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a Linux kernel");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
    }

    /// Processor time used so far, in hundredths of a second.
    pub(crate) fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("the program runs");
        let after_name = stat.rsplit_once(") ").expect("a name in brackets").1;
        after_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
    }

    /// Open file descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("the program runs").count()
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let line = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &line]).status().expect("a shell").success());
    }

    /// Waits for the program to end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status;
            }
            assert!(Instant::now() < end, "the program does not end; its log:\n{}", self.log().join("\n"));
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let from = log.len().saturating_sub(40);
            eprintln!("the last lines of the gateway's log:\n{}", log[from..].join("\n"));
        }
    }
}

fn started(command: &mut Command, environment: &[(&str, &str)]) -> Child {
    let command = command.envs(environment.iter().copied()).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

/// Reads lines on a thread until the program ends.
fn collect(from: impl Read + Send + 'static, log: &Arc<Log>) {
    let log = Arc::clone(log);
    let _ = std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            log.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            log.more.notify_all();
        }
        let _ = log.ended.fetch_add(1, Ordering::Release);
        log.more.notify_all();
    });
}
