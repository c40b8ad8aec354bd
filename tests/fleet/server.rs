//! A Redis or Valkey of the test's own, on a socket in a folder of its own, without persistence; it ends with the test.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The longest that anything is waited for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A running server.
pub(crate) struct Server {
    program: &'static str,
    settings: Vec<String>,
    child: Child,
    folder: tempfile::TempDir,
}

impl Server {
    /// Starts one. None when none is installed and the full suite was not asked for.
    pub(crate) fn start() -> Option<Server> {
        Server::start_with(&[])
    }

    /// Starts one with further settings.
    pub(crate) fn start_with(settings: &[&str]) -> Option<Server> {
        let installed = |program: &&str| Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok();
        let Some(program) = ["redis-server", "valkey-server"].into_iter().find(installed) else {
            assert!(
                std::env::var_os("SPEECHGATE_FULL").is_none(),
                "SPEECHGATE_FULL is set, and there is no redis-server"
            );
            eprintln!("skipped: there is no redis-server here; tests/all.sh installs it");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let settings: Vec<String> = settings.iter().map(|word| (*word).to_owned()).collect();
        let child = spawn(program, folder.path(), &settings);
        let server = Server { program, settings, child, folder };
        server.wait();
        Some(server)
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    pub(crate) fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("socket")
    }

    /// Kills it. What it knew is gone.
    pub(crate) fn stop(&mut self) {
        self.child.kill().expect("it runs");
        let _ = self.child.wait().expect("it ends");
    }

    /// Starts it again at the same place.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(self.program, self.folder.path(), &self.settings);
        self.wait();
    }

    /// Stops it without ending it, or lets it go on.
    pub(crate) fn hang(&self, hangs: bool) {
        let signal = if hangs { "-STOP" } else { "-CONT" };
        let status = Command::new("kill").arg(signal).arg(self.child.id().to_string()).status().expect("kill");
        assert!(status.success());
    }

    fn wait(&self) {
        let start = Instant::now();
        while std::os::unix::net::UnixStream::connect(self.socket()).is_err() {
            assert!(start.elapsed() < DEADLINE, "{} does not listen", self.program);
            std::thread::yield_now();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(program: &str, folder: &std::path::Path, settings: &[String]) -> Child {
    let mut command = Command::new(program);
    if settings.iter().any(|word| word == "--sentinel") {
        // It wants a file of its own, before all else.
        std::fs::write(folder.join("sentinel.conf"), "").expect("written");
        let _ = command.arg("sentinel.conf");
    }
    let _ = command.args(["--port", "0", "--unixsocket", "socket", "--save", "", "--appendonly", "no", "--dir"]);
    let _ = command.arg(folder).args(settings).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the server starts")
}
