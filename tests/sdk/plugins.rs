//! LiveKit's and Pipecat's plugins for Google's speech over gRPC, straight at a simulated provider and through the gateway.

use std::thread;

use speechgate::simulator::{Options, Provider, Simulator};

use crate::{
    grpc::{Told, lines, python_of, serving, told},
    interop::Certificate,
    say,
};

const SERVICES: [(&str, &str); 3] = [
    ("google.cloud.speech.v1.Speech", "google"),
    ("google.cloud.speech.v2.Speech", "google"),
    ("google.cloud.texttospeech.v1.TextToSpeech", "google"),
];

/// Directly its client takes a stream that breaks off in the middle for its own failure; the gateway says `UNAVAILABLE`, which Google's
/// client tries again until its deadline, as it does directly where the connection breaks before.
const TRIED_AGAIN: (&str, &str) = ("livekit google stt", "mid-net-reset");

/// What each plugin's user is told; at a provider without TLS where there is a key.
fn run(ca: &str, address: &str, key: Option<&str>) -> Told {
    let mut driver = python_of("frameworks", "plugins.py");
    let _ = driver.arg(ca).arg(address).args(key);
    told(&lines(driver))
}

#[test]
fn plugins_for_google_are_told_the_same_or_better_through_the_gateway() {
    if !crate::sdks_are_here("LiveKit's and Pipecat's plugins for Google over gRPC") {
        return;
    }
    let certificate = Certificate::of(&["speech.googleapis.com", "texttospeech.googleapis.com"]);
    let (ca, key) = (certificate.file("certificate.pem"), certificate.file("key.pem"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let simulator = runtime.block_on(Simulator::start(Provider::Google, Options::instant())).expect("a free port");
    let address = simulator.address().to_string();
    let listener = format!("tls = {{ certificate = \"{ca}\", private_key = \"{key}\" }}");
    let gateway = serving(&SERVICES, &format!("http://{address}"), &listener, "envelope = \"compatible\"");
    let (direct, through) = thread::scope(|scope| {
        let direct = scope.spawn(|| run(&ca, &address, Some(&key)));
        let through = scope.spawn(|| run(&ca, &gateway.address, None));
        (direct.join().expect("a run"), through.join().expect("a run"))
    });
    let mut problems = Vec::new();
    for (call, (by_provider, directly)) in &direct {
        let told = &through[call].1;
        let fits = match (*by_provider, directly == "ok") {
            (_, true) => told == "ok",
            (true, false) => told == directly,
            (false, false) => {
                told != "ok" && (told != "hung" || directly == "hung" || (&*call.0, &*call.1) == TRIED_AGAIN)
            }
        };
        if !fits {
            problems.push(format!("{call:?}: {told} instead of {directly}"));
        }
    }
    let works = direct.iter().filter(|((_, fault), (_, told))| fault.is_empty() && told == "ok").count();
    say(&format!("Google's plugins: {} calls compared", direct.len()));
    assert_eq!(works, 4, "directly each plugin works: {direct:?}");
    assert!(direct.len() > 70, "only {} calls", direct.len());
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
