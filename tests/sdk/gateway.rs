//! The program as its user starts it, with a configuration of a test's own; gone when dropped.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;

/// A running gateway.
pub(crate) struct Gateway {
    process: Child,
    /// Where clients connect: an address and a port.
    pub(crate) address: String,
    /// Where its pages are, if it has any.
    admin: Option<String>,
    written: Arc<Mutex<String>>,
}

impl Gateway {
    /// Starts one and waits until it listens.
    pub(crate) fn serve(configuration: &str) -> Gateway {
        let file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a temporary file");
        fs::write(file.path(), configuration).expect("the configuration is written");
        let mut process = Command::new(env!("CARGO_BIN_EXE_speechgate"))
            .args(["serve", "--config"])
            .arg(file.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the speechgate binary starts");
        let written = Arc::<Mutex<String>>::default();
        // Both are read to their ends, so that the gateway never waits for a reader.
        let keep = |lines: Box<dyn Iterator<Item = String> + Send>| {
            let written = Arc::clone(&written);
            drop(thread::spawn(move || {
                for line in lines {
                    let mut written = written.lock().expect("no thread panics with it");
                    written.push_str(&line);
                    written.push('\n');
                }
            }));
        };
        let stdout = BufReader::new(process.stdout.take().expect("stdout is piped")).lines();
        keep(Box::new(stdout.map_while(Result::ok)));
        let mut log = BufReader::new(process.stderr.take().expect("stderr is piped")).lines().map_while(Result::ok);
        let listening = log.by_ref().find_map(|line| {
            let line: Value = serde_json::from_str(&line).ok()?;
            (line["message"] == "listening").then_some(line)
        });
        keep(Box::new(log));
        let listening = listening.expect("the gateway says where it listens");
        let at = |name: &str| listening[name].as_str().map(str::to_owned);
        Gateway { process, address: at("address").expect("an address"), admin: at("admin"), written }
    }

    /// Where clients connect, as a URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A page of the admin listener, with its head.
    pub(crate) fn page(&self, path: &str) -> String {
        let admin = self.admin.as_deref().expect("an admin listener");
        let mut socket = TcpStream::connect(admin).expect("the admin listener accepts");
        let ask = format!("GET {path} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
        socket.write_all(ask.as_bytes()).expect("a request");
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// All that it shows to anybody but its clients.
    pub(crate) fn sinks(&self) -> String {
        let pages = ["/metrics", "/config", "/status.json", "/tenants"].map(|path| self.page(path));
        format!("{}{}", self.written.lock().expect("no thread panics with it"), pages.concat())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
