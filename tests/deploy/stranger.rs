//! What somebody does who has just cloned the repository: the commands of the README and of the operations page, up to an alert.

use crate::{PROGRAM, Scratch, changed, full, path, text, tool};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// The alert is there within seconds; a machine that is busy with other tests may take its time.
const PATIENCE: Duration = Duration::from_secs(100);

/// A `speechgate demo` on free ports, gone when dropped.
pub(crate) struct Demo {
    process: Child,
    admin: SocketAddr,
}

pub(crate) fn demo() -> Demo {
    let mut process = Command::new(PROGRAM)
        .args(["demo", "--json", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    let output = process.stdout.take().expect("piped");
    let _ = BufReader::new(output).read_line(&mut line).expect("a line of addresses");
    let addresses: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let admin = addresses["admin"].as_str().and_then(|url| url.strip_prefix("http://")?.parse().ok());
    Demo { process, admin: admin.expect("an address") }
}

impl Demo {
    pub(crate) fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(self.admin).expect("the admin listener accepts");
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("taken");
        let mut page = String::new();
        let _ = stream.read_to_string(&mut page).expect("text");
        page
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The block of a document that follows this mark.
fn block(document: &str, mark: &str) -> String {
    let whole = text(document);
    let (_, rest) = whole.split_once(mark).expect("the block");
    rest.split_once("```").expect("its end").0.to_owned()
}

/// Ports that nobody has.
fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("bound").port())
}

/// A shell and everything that it has started, ended with the test.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // The whole group: the demo and Prometheus run in the background of the shell.
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.0.wait();
    }
}

#[test]
fn the_commands_of_the_documentation_lead_to_an_alert() {
    if !full("the documented commands, from the demo to an alert of a real Prometheus") {
        return;
    }
    let scratch = Scratch::new();
    let [gateway, admin, prometheus] = free_ports();
    // The same commands, with the program that is under test, and ports that are free here.
    let demo = format!("'{PROGRAM}' demo --listen 127.0.0.1:{gateway} --admin 127.0.0.1:{admin}");
    let mut script = changed(&block("deploy/OPERATIONS.md", "<!-- alert -->\n```sh\n"), "cargo build --release\n", "");
    for (from, to) in [
        ("target/release/speechgate demo", demo.as_str()),
        ("deploy/prometheus/demo.yaml", &format!("{}/demo.yaml", scratch.0.path().display())),
        ("127.0.0.1:8080", &format!("127.0.0.1:{gateway}")),
        ("127.0.0.1:9464", &format!("127.0.0.1:{admin}")),
        ("127.0.0.1:9099", &format!("127.0.0.1:{prometheus}")),
        ("$(mktemp -d)", &format!("{}/data", scratch.0.path().display())),
    ] {
        script = changed(&script, from, to);
    }
    for file in ["recording.yaml", "alerts.yaml"] {
        let _ = scratch.write(file, &text(&format!("deploy/prometheus/{file}")));
    }
    let config = text("deploy/prometheus/demo.yaml");
    let _ = scratch.write("demo.yaml", &changed(&config, "127.0.0.1:9464", &format!("127.0.0.1:{admin}")));

    let tools = tool("prometheus");
    let folder = tools.parent().expect("a folder").display();
    let mut shell = Command::new("bash");
    let _ = shell.args(["-euc", &script]).current_dir(path("")).process_group(0);
    let _ = shell.env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap_or_default()));
    let mut group = Group(shell.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a shell"));
    let output = group.0.stdout.take().expect("piped");
    let (tell, told) = mpsc::sync_channel(1);
    drop(std::thread::spawn(move || {
        let lines = BufReader::new(output).lines().map_while(Result::ok);
        let mut said = Vec::new();
        for line in lines {
            said.push(line);
            if said.last().is_some_and(|line| line.contains("SpeechgatePaymentRequired")) {
                let _ = tell.send(said);
                return;
            }
        }
    }));
    let said = told.recv_timeout(PATIENCE).expect("an alert in time");
    // The answer before it ends without a line's end.
    let line =
        said.last().and_then(|line| Some(&line[line.find("{\"status\":\"success\"")?..])).expect("Prometheus' answer");
    let alerts: serde_json::Value = serde_json::from_str(line).expect("JSON");
    let all = alerts["data"]["alerts"].as_array().expect("a list");
    // The demo shows failures of other providers too, in an order that Prometheus chooses.
    let fits = |alert: &&serde_json::Value| {
        alert["labels"]["alertname"] == "SpeechgatePaymentRequired" && alert["labels"]["provider"] == "elevenlabs"
    };
    let alert = all.iter().find(fits).expect("the alert");
    let labels = ["code", "provider", "route", "severity"].map(|name| alert["labels"][name].as_str());
    let expected = ["quota_exceeded", "elevenlabs", "elevenlabs", "ticket"].map(Some);
    assert_eq!((labels, alert["state"].as_str()), (expected, Some("firing")), "{alert}");
}

/// The README's shortest configuration, checked and served by the README's own commands, answers with an envelope.
#[test]
fn the_shortest_configuration_of_the_readme_runs() {
    let scratch = Scratch::new();
    let config = scratch.write("gateway.toml", &block("README.md", "`gateway.toml`:\n\n```toml\n"));
    let commands = block("README.md", "the_shortest_configuration_of_the_readme_runs -->\n```sh\n");
    let lines: Vec<&str> = commands.lines().collect();
    let [build, check, serve] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!(*build, "cargo build --release");
    let script = |line: &str| {
        let line = changed(line, "target/release/speechgate", &format!("exec '{PROGRAM}'"));
        changed(&line, "gateway.toml", &config)
    };
    let checked = Command::new("bash").args(["-euc", &script(check)]).output().expect("a shell");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let [gateway, admin, _] = free_ports();
    let mut shell = Command::new("bash");
    let _ = shell.args(["-euc", &script(serve)]).process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
    let _ = shell.env("SPEECHGATE__SERVER__LISTEN", format!("127.0.0.1:{gateway}"));
    let _ = shell.env("SPEECHGATE__ADMIN__LISTEN", format!("127.0.0.1:{admin}"));
    let _group = Group(shell.spawn().expect("a shell"));
    let ask = |request: &str| {
        // It refuses connections until it listens.
        let mut stream = (0..1000).find_map(|_| {
            TcpStream::connect(("127.0.0.1", gateway)).map_err(|_| std::thread::sleep(Duration::from_millis(20))).ok()
        })?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    };
    // No provider is asked: no route matches.
    let answer = ask("GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("x-error-code: route_not_found"), "{answer}");
}
