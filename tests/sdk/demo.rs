//! A `speechgate demo` of the test's own: the gateway and the five simulators on free ports, gone when dropped.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use serde::Deserialize;

/// A running demo and its addresses.
pub(crate) struct Demo {
    process: Child,
    addresses: Addresses,
}

#[derive(Deserialize)]
struct Addresses {
    gateway: String,
    admin: String,
    simulators: BTreeMap<String, String>,
}

impl Demo {
    /// Starts one whose routes all use this envelope.
    pub(crate) fn start(envelope: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_speechgate"))
            .args(["demo", "--json", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--envelope", envelope])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the speechgate binary starts");
        let mut first_line = String::new();
        let output = process.stdout.take().expect("stdout is piped");
        let _ = BufReader::new(output).read_line(&mut first_line).expect("the demo prints its addresses");
        let addresses = serde_json::from_str(&first_line).unwrap_or_else(|error| panic!("{first_line:?}: {error}"));
        Self { process, addresses }
    }

    /// Where each provider's simulator listens.
    pub(crate) fn simulators(&self) -> BTreeMap<String, String> {
        self.addresses.simulators.clone()
    }

    /// Where the gateway serves each provider.
    pub(crate) fn routes(&self) -> BTreeMap<String, String> {
        let names = self.addresses.simulators.keys();
        names.map(|name| (name.clone(), format!("{}/{name}", self.addresses.gateway))).collect()
    }

    /// How many failures the gateway has counted, by provider and code.
    pub(crate) fn errors_counted(&self) -> BTreeMap<(String, String), u64> {
        let mut counted = BTreeMap::new();
        for line in self.metrics().lines().filter(|line| line.starts_with("speechgate_errors_total{")) {
            let label = |name: &str| Some(line.split_once(&format!("{name}=\""))?.1.split_once('"')?.0.to_owned());
            let value = line.rsplit_once("} ").and_then(|(_, value)| value.split(' ').next()?.parse::<f64>().ok());
            if let (Some(provider), Some(code), Some(value)) = (label("provider"), label(",code"), value) {
                *counted.entry((provider, code)).or_default() += value as u64;
            }
        }
        counted
    }

    fn metrics(&self) -> String {
        let authority = self.addresses.admin.trim_start_matches("http://").trim_end_matches('/');
        let mut socket = TcpStream::connect(authority).expect("the admin listener accepts");
        write!(socket, "GET /metrics HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n").expect("a request");
        let mut answer = String::new();
        let _ = socket.read_to_string(&mut answer).expect("an answer in UTF-8");
        answer
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
