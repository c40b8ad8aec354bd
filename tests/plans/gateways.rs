//! Gateways as processes of their own.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// A running gateway; it ends with the test.
pub(crate) struct Gateway {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Gateway {
    /// Starts the program in front of this provider. A socket takes one slot as a whole.
    pub(crate) fn start(provider: &str, concurrency: &str, limits: &str) -> Gateway {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("gateway.toml");
        let text = format!(
            "[server]\nlisten = '127.0.0.1:0'\nworkers = 1\n[admin]\nlisten = '127.0.0.1:0'\n\
             [telemetry]\nlog = {{ access = false }}\n{limits}\n\
             [providers.plan]\nextends = 'elevenlabs'\nconcurrency = {{ unit = 'request' }}\n\
             [[routes]]\nname = 'tts'\nmatch = {{ path = '/' }}\nprovider = 'plan'\nupstream = '{provider}'\n\
             concurrency = {concurrency}\n"
        );
        std::fs::write(&file, text).expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_speechgate"));
        let _ = command.args(["serve", "--config"]).arg(&file);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let mut heard = Vec::new();
        let listening = lines.by_ref().find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(&line).ok().or_else(|| {
                heard.push(line.clone());
                None
            })?;
            let address = |key: &str| line[key].as_str().and_then(|text| text.parse().ok());
            (line["message"] == "listening").then(|| (address("address"), address("admin")))
        });
        let Some((Some(address), Some(admin))) = listening else { panic!("it does not listen: {heard:?}") };
        // Whoever does not read makes it wait.
        drop(std::thread::spawn(move || lines.for_each(drop)));
        Gateway { child, address, admin, _folder: folder }
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
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(self.admin).await.expect("the admin listener");
        let request = b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.expect("sent");
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await.expect("an answer");
        let series = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
