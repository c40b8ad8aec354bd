//! Real clients of gRPC, straight at a simulated provider and through the gateway.
//!
//! On a compatible route each failure of the provider ends in the same class with the same status and reason as directly; on a canonical
//! one, and where the network fails, in an error that its client knows. Nothing hangs that does not hang directly.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use speechgate::simulator::{Options, Provider, Simulator};

use crate::{gateway::Gateway, say};

/// Each service has a route, which takes its name off, and an upstream that puts it back.
const SERVICES: [(&str, &str); 4] = [
    ("grpc.health.v1.Health", "google"),
    ("google.cloud.speech.v1.Speech", "google"),
    ("google.cloud.texttospeech.v1.TextToSpeech", "google"),
    ("nvidia.riva.asr.RivaSpeechRecognition", "riva"),
];

/// A gateway with a route for each service, further lines for its listener and for every route.
pub(crate) fn serving(services: &[(&str, &str)], provider: &str, listener: &str, lines: &str) -> Gateway {
    let mut text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n{listener}\n[admin]\nenabled = false\n[telemetry]\nlog = {{ access = false }}\n"
    );
    for (service, profile) in services {
        text.push_str(&format!(
            "[[routes]]\nname = \"{service}\"\nmatch = {{ path = \"/{service}\" }}\nprovider = \"{profile}\"\n\
             upstream = \"{provider}/{service}\"\nwaits = {{ enabled = false }}\n{lines}\n"
        ));
    }
    Gateway::serve(&text)
}

/// A file below `tests`.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// A driver in Python, with the packages of `requirements-grpc.txt`.
pub(crate) fn python(driver: &str) -> Command {
    python_of("grpc", driver)
}

/// The same with another environment's packages.
pub(crate) fn python_of(environment: &str, driver: &str) -> Command {
    let mut command = Command::new(file(&format!(".cache/sdk/{environment}/bin/python")));
    let _ = command.args(["-W", "ignore", "-B"]).arg(file("sdk/drivers").join(driver));
    command
}

/// What @grpc/grpc-js makes of this.
pub(crate) fn node(what: &str) -> Command {
    let mut command = Command::new("node");
    let _ = command.arg("--no-warnings").arg(file("sdk/drivers/rpc.mjs")).arg(file(".cache/sdk/node")).arg(what);
    command
}

/// The lines that a driver prints.
pub(crate) fn lines(mut driver: Command) -> String {
    let output = driver.stdin(Stdio::null()).stderr(Stdio::null()).output().expect("the driver starts");
    assert!(output.status.success(), "the driver failed: {}", output.status);
    String::from_utf8(output.stdout).expect("drivers print UTF-8")
}

/// What each client is told, by client and fault; and whether the provider worded the fault.
pub(crate) type Told = BTreeMap<(String, String), (bool, String)>;

/// Runs all clients at addresses of their own: what breaks a connection breaks every call on it, and a gateway shares connections.
fn run(address: impl Fn() -> String) -> Told {
    let all = [python("rpc.py"), node("faults")].map(|mut driver| {
        let _ = driver.arg(address());
        thread::spawn(|| lines(driver))
    });
    let lines = all.map(|driver| driver.join().expect("a driver's thread")).concat();
    told(&lines)
}

/// The calls in these lines.
pub(crate) fn told(lines: &str) -> Told {
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        let [client, fault, kind, told] = cells[..] else { panic!("four cells: {line}") };
        ((client.to_owned(), fault.to_owned()), (kind == "provider", told.to_owned()))
    };
    lines.lines().map(row).collect()
}

/// The same through gateways with this envelope.
fn through(provider: &str, envelope: &str) -> Told {
    let lines = format!("envelope = \"{envelope}\"");
    let gateways = [0, 1].map(|_| serving(&SERVICES, provider, "", &lines));
    let at = std::cell::Cell::new(0);
    run(|| gateways[at.replace(1)].address.clone())
}

#[test]
fn real_clients_of_grpc_are_told_the_same_or_better_through_the_gateway() {
    if !crate::sdks_are_here("grpcio, @grpc/grpc-js, Google's and NVIDIA's clients of gRPC") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let simulator = runtime.block_on(Simulator::start(Provider::Google, Options::instant())).expect("a free port");
    let address = simulator.address().to_string();
    let provider = format!("http://{address}");
    // Side by side: some of them wait for fractions of a second.
    let (direct, own, canonical) = thread::scope(|scope| {
        let direct = scope.spawn(|| run(|| address.clone()));
        let [own, canonical] = ["compatible", "canonical"].map(|envelope| scope.spawn(|| through(&provider, envelope)));
        let all = |way: thread::ScopedJoinHandle<'_, Told>| way.join().expect("a run");
        (all(direct), all(own), all(canonical))
    });
    let mut problems = Vec::new();
    for ((client, fault), (by_provider, directly)) in &direct {
        let key = (client.clone(), fault.clone());
        let (own, canonical) = (&own[&key].1, &canonical[&key].1);
        let known = |told: &String| directly.split(' ').next() == Some("RpcError") || !told.contains(": ");
        // Where the provider gave no reason, there is one of the gateway's.
        let same = own == directly || own.strip_prefix(directly.as_str()).is_some_and(|rest| rest.starts_with(' '));
        let fits = match (*by_provider, directly == "ok") {
            (_, true) => own == "ok" && canonical == "ok",
            (true, false) => same && canonical != "ok" && known(canonical),
            (false, false) => own != "ok" && canonical != "ok" && known(own) && known(canonical),
        };
        if !fits {
            problems.push(format!("{client} {fault}: directly {directly}, compatible {own}, canonical {canonical}"));
        }
    }
    say(&format!("gRPC: {} calls compared", direct.len()));
    assert!(direct.len() > 100, "only {} calls", direct.len());
    assert!(problems.is_empty(), "{} of {}:\n{}", problems.len(), direct.len(), problems.join("\n"));
}
