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

/// In the canonical form a stream that breaks off is `UNAVAILABLE`, as its row says, which Google's client tries again until its own deadline,
/// as it does directly where the connection breaks before the head. In the compatible form it is what clients make of it themselves.
const TRIED_AGAIN: (&str, &str) = ("livekit google stt", "mid-net-reset");
/// Calls that are made with each fault.
const CALLS: usize = 7;

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
    let through = |envelope: &str| {
        let gateway =
            serving(&SERVICES, &format!("http://{address}"), &listener, &format!("envelope = \"{envelope}\""));
        run(&ca, &gateway.address, None)
    };
    let (direct, own, canonical) = thread::scope(|scope| {
        let direct = scope.spawn(|| run(&ca, &address, Some(&key)));
        let [own, canonical] = ["compatible", "canonical"].map(|envelope| scope.spawn(move || through(envelope)));
        (direct.join().expect("a run"), own.join().expect("a run"), canonical.join().expect("a run"))
    });
    let mut problems = Vec::new();
    for (call, (by_provider, directly)) in &direct {
        let (own, canonical) = (&own[call].1, &canonical[call].1);
        // An error of the plugin's, and never one that its user waits for in vain where there was one directly.
        let class = |told: &String| told.split(' ').next().unwrap_or_default().to_owned();
        let ends = |told: &String| told != "ok" && (told != "hung" || directly == "hung");
        let fits = match (*by_provider, directly == "ok") {
            (_, true) => own == "ok" && canonical == "ok",
            (true, false) => own == directly && ends(canonical) && class(canonical) == class(directly),
            (false, false) => {
                ends(own) && (ends(canonical) || (&*call.0, &*call.1) == TRIED_AGAIN && canonical == "hung")
            }
        };
        if !fits {
            problems.push(format!("{call:?}: directly {directly}, compatible {own}, canonical {canonical}"));
        }
    }
    let works = direct.iter().filter(|((_, fault), (_, told))| fault.is_empty() && told == "ok").count();
    say(&format!("Google's plugins: {} calls compared", direct.len()));
    assert_eq!(works, CALLS, "directly each plugin works: {direct:?}");
    assert!(direct.len() > 120, "only {} calls", direct.len());
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
