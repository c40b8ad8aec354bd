//! Gateways as processes of their own.

use crate::server::DEADLINE;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A running gateway; it ends with the test.
pub(crate) struct Gateway {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
    _folder: tempfile::TempDir,
}

impl Gateway {
    /// Starts the program in front of this provider. A socket takes one slot as a whole.
    pub(crate) fn start(provider: &str, concurrency: &str, limits: &str) -> Gateway {
        Gateway::start_with(provider, concurrency, limits, &[])
    }

    /// The same with further environment variables.
    pub(crate) fn start_with(provider: &str, concurrency: &str, limits: &str, variables: &[(&str, &str)]) -> Gateway {
        let text = format!(
            "{limits}\n[providers.plan]\nextends = 'elevenlabs'\nconcurrency = {{ unit = 'request' }}\n\
             [[routes]]\nname = 'tts'\nmatch = {{ path = '/' }}\nprovider = 'plan'\nupstream = '{provider}'\n\
             concurrency = {concurrency}\n"
        );
        Gateway::run(&text, variables)
    }

    /// Starts the program with these lines, on ports of its own.
    pub(crate) fn run(lines: &str, variables: &[(&str, &str)]) -> Gateway {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("gateway.toml");
        let text = format!(
            "[server]\nlisten = '127.0.0.1:0'\nworkers = 1\n[admin]\nlisten = '127.0.0.1:0'\n\
             [telemetry]\nlog = {{ access = false }}\n{lines}"
        );
        std::fs::write(&file, text).expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_speechgate"));
        let _ = command.args(["serve", "--config"]).arg(&file).envs(variables.iter().copied());
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
        let mut told = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let mut heard = Vec::new();
        let listening = told.by_ref().find_map(|line| {
            let words: Option<serde_json::Value> = serde_json::from_str(&line).ok();
            heard.push(line);
            let words = words.filter(|words| words["message"] == "listening")?;
            let address = |key: &str| words[key].as_str().and_then(|text| text.parse().ok());
            Some((address("address"), address("admin")))
        });
        let Some((Some(address), Some(admin))) = listening else { panic!("it does not listen: {heard:?}") };
        let lines = Arc::new(Mutex::new(heard));
        let kept = Arc::clone(&lines);
        // Whoever does not read makes it wait.
        drop(std::thread::spawn(move || told.for_each(|line| kept.lock().expect("whole").push(line))));
        Gateway { child, address, admin, lines, _folder: folder }
    }

    /// A line of its log, waited for.
    pub(crate) async fn line(&self, part: &str) -> String {
        let start = Instant::now();
        loop {
            let found = self.lines.lock().expect("whole").iter().find(|line| line.contains(part)).cloned();
            if let Some(line) = found {
                return line;
            }
            assert!(start.elapsed() < DEADLINE, "no line with {part}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// How many lines of its log have this.
    pub(crate) fn lines(&self, part: &str) -> usize {
        self.lines.lock().expect("whole").iter().filter(|line| line.contains(part)).count()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        let _ = self.child.wait().expect("it ends");
    }

    /// The sum of a metric's series.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        self.metric_of(name, "").await
    }

    /// The same of the series that have this among their labels.
    pub(crate) async fn metric_of(&self, name: &str, label: &str) -> f64 {
        let text = self.admin("/metrics").await;
        let series = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name) && line.contains(label));
        series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    /// What the admin listener answers.
    pub(crate) async fn admin(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.admin).await.expect("the admin listener");
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await.expect("an answer");
        text
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
