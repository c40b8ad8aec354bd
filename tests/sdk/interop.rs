//! The gRPC interoperability cases and health checks by two implementations, straight at a server of grpcio's and through the gateway:
//! without TLS by prior knowledge, and over TLS with ALPN on both sides.
//!
//! On a compatible route every case ends as it does directly; on a canonical one every case that fails in no way does.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    thread,
};

use crate::{
    grpc::{lines, node, python, serving},
    say,
};

const SERVICES: [(&str, &str); 3] = [
    ("grpc.testing.TestService", "generic"),
    ("grpc.testing.UnimplementedService", "generic"),
    ("grpc.health.v1.Health", "generic"),
];

/// Cases that end in an error, which a canonical route words anew.
const FAILING: [&str; 6] = [
    "status_code_and_message",
    "special_status_message",
    "every_status",
    "unimplemented_method",
    "unimplemented_service",
    "health",
];

/// A certificate, which clients trust.
pub(crate) struct Certificate {
    directory: tempfile::TempDir,
}

impl Certificate {
    pub(crate) fn of(names: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let pair = rcgen::generate_simple_self_signed(names).expect("a certificate");
        for (name, text) in [("certificate.pem", pair.cert.pem()), ("key.pem", pair.signing_key.serialize_pem())] {
            std::fs::write(directory.path().join(name), text).expect("a file");
        }
        Self { directory }
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }
}

/// A server of grpcio's, which ends with its standard input.
struct Server {
    process: Child,
    plain: String,
    secure: String,
    _stdin: ChildStdin,
}

impl Server {
    fn start(certificate: &Certificate) -> Self {
        let mut process = python("interop.py")
            .arg("serve")
            .args([certificate.file("certificate.pem"), certificate.file("key.pem")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        let out = process.stdout.take().expect("stdout is piped");
        let _ = BufReader::new(out).read_line(&mut line).expect("a line");
        let (plain, secure) = line.trim().split_once(' ').expect("two ports");
        let address = |port: &str| format!("127.0.0.1:{port}");
        let (plain, secure) = (address(plain), address(secure));
        let stdin = process.stdin.take().expect("stdin is piped");
        Self { process, plain, secure, _stdin: stdin }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What both implementations make of all cases at this address: a line for each, by its implementation and name.
fn run(address: &str, ca: Option<&str>) -> Vec<(String, String)> {
    let mut drivers = [("grpcio", python("interop.py")), ("grpc-js", node("cases"))];
    let _ = drivers[0].1.arg("call");
    let drivers = drivers.map(|(name, mut driver): (&str, Command)| {
        let _ = driver.arg(address).args(ca);
        (name, thread::spawn(|| lines(driver)))
    });
    let mut told = Vec::new();
    for (name, driver) in drivers {
        let lines = driver.join().expect("a driver's thread");
        let row = |line: &str| line.split_once('\t').map(|(case, said)| (format!("{name} {case}"), said.to_owned()));
        told.extend(lines.lines().map(|line| row(line).expect("two cells")));
    }
    told
}

#[test]
fn interoperability_cases_end_through_the_gateway_as_directly() {
    if !crate::sdks_are_here("the gRPC interoperability cases") {
        return;
    }
    let certificate = Certificate::of(&["127.0.0.1"]);
    let server = Server::start(&certificate);
    let (ca, key) = (certificate.file("certificate.pem"), certificate.file("key.pem"));
    assert!(Path::new(&ca).exists());
    let (plain, secure) = (format!("http://{}", server.plain), format!("https://{}", server.secure));
    let listener = format!("tls = {{ certificate = \"{ca}\", private_key = \"{key}\" }}");
    let trusts = format!("upstream_tls = {{ ca = \"{ca}\" }}");
    let own = "envelope = \"compatible\"";
    let clear = serving(&SERVICES, &plain, "", own);
    let canonical = serving(&SERVICES, &plain, "", "envelope = \"canonical\"");
    let tls = serving(&SERVICES, &secure, &listener, &format!("{own}\n{trusts}"));
    let ends_tls = serving(&SERVICES, &plain, &listener, own);
    let begins_tls = serving(&SERVICES, &secure, "", &format!("{own}\n{trusts}"));

    let direct = run(&server.plain, None);
    let unexpected = |told: &str| told.contains("Error") || told.contains("no failure") || told == "False";
    let odd: Vec<_> = direct.iter().filter(|(_, told)| unexpected(told)).collect();
    assert!(direct.len() >= 34 && odd.is_empty(), "directly {} cases: {odd:?}", direct.len());
    let ways = [
        ("direct TLS", &server.secure, Some(&*ca)),
        ("without TLS", &clear.address, None),
        ("canonical", &canonical.address, None),
        ("TLS on both sides", &tls.address, Some(&*ca)),
        ("TLS of clients alone", &ends_tls.address, Some(&*ca)),
        ("TLS of the provider alone", &begins_tls.address, None),
    ];
    let mut problems = String::new();
    for (way, address, ca) in ways {
        let through = run(address, ca);
        assert_eq!(through.len(), direct.len(), "{way}");
        for ((case, directly), (_, told)) in direct.iter().zip(&through) {
            let failing = FAILING.iter().any(|name| case.ends_with(name));
            if told != directly && !(way == "canonical" && failing && !told.contains("no failure")) {
                problems.push_str(&format!("{way}: {case}: {told} instead of {directly}\n"));
            }
        }
    }
    say(&format!("gRPC interoperability: {} cases, {} ways", direct.len(), ways.len()));
    assert!(problems.is_empty(), "{problems}");
}
