//! Every client with a gateway key for its API key, and nothing else changed: what works directly works, and the key is in no byte that
//! leaves the gateway, towards a provider or into a log, a metric or a page.

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use speechgate::{
    config::built_in_profiles,
    proxy::gateway_key::{hash, make, shown},
    wire::frame::{Sender, apply_mask, parse},
};

use crate::{demo::Demo, driver, frameworks::Plan, gateway::Gateway, matrix::Matrix, provider::Provider, say};

/// The key of the provider's, by which it knows the gateway.
const OURS: &str = "key-of-the-route";

/// Clients that show no API key of the gateway's: those of Corti make tokens of their own kind, and a signed URL is the provider's word
/// for one session.
const OTHERS: [&str; 3] = ["corti-js", "corti-js-oauth", "elevenlabs-python-signed"];

/// What goes to one provider, byte by byte.
struct Tap {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Tap {
    fn before(provider: SocketAddr) -> Tap {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it has one");
        let seen = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let all = Arc::clone(&seen);
        drop(thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let all = Arc::clone(&all);
                // Whoever breaks off ends its threads.
                drop(thread::spawn(move || drop(carry(client, provider, &all))));
            }
        }));
        Tap { address, seen }
    }

    /// Everything that it was told, sockets without their masks.
    fn told(&self) -> String {
        let seen = self.seen.lock().expect("no thread panics with it");
        seen.iter().map(|bytes| readable(bytes)).collect()
    }
}

fn carry(client: TcpStream, provider: SocketAddr, all: &Mutex<Vec<Vec<u8>>>) -> io::Result<()> {
    let provider = TcpStream::connect(provider)?;
    let (mut from, mut to) = (client.try_clone()?, provider.try_clone()?);
    let (mut back, mut out) = (provider, client);
    drop(thread::spawn(move || {
        let _ = io::copy(&mut back, &mut out);
        let _ = out.shutdown(Shutdown::Both);
    }));
    let place = {
        let mut all = all.lock().expect("no thread panics with it");
        all.push(Vec::new());
        all.len() - 1
    };
    let mut piece = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        all.lock().expect("no thread panics with it")[place].extend_from_slice(&piece[..length]);
        to.write_all(&piece[..length])?;
    }
    to.shutdown(Shutdown::Write)
}

fn readable(bytes: &[u8]) -> String {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    let mut all = String::from_utf8_lossy(bytes).into_owned();
    if !String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase().contains("upgrade: websocket") {
        return all;
    }
    let mut left = &bytes[head..];
    while let Ok(Some((header, length))) = parse(left, Sender::Client) {
        let end = length + usize::try_from(header.length).expect("a small frame");
        let Some(payload) = left.get(length..end) else { break };
        let mut payload = payload.to_vec();
        apply_mask(&mut payload, header.mask.expect("a client's"), 0);
        all.push_str(&String::from_utf8_lossy(&payload));
        left = &left[end..];
    }
    all
}

/// The lines of `credentials` with which a provider is asked.
fn credentials(provider: &str) -> String {
    let profile = built_in_profiles().find(|profile| profile.name() == provider);
    let header = profile.and_then(|profile| profile.spec().secrets.headers.first().cloned());
    let header = header.unwrap_or_else(|| "authorization".to_owned());
    let value = match (provider, header.as_str()) {
        ("deepgram", _) => format!("Token {OURS}"),
        ("assemblyai", _) => OURS.to_owned(),
        (_, "authorization") => format!("Bearer {OURS}"),
        _ => OURS.to_owned(),
    };
    format!("credentials = {{ header = \"{header}\", value = \"{value}\" }}")
}

/// A gateway that asks for the key.
fn asking(providers: &BTreeMap<String, (SocketAddr, String)>, key: &str) -> Gateway {
    let mut text = "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
                    [telemetry]\nlog = { level = \"debug\", access = true }\n"
        .to_owned();
    for (name, (address, path)) in providers {
        text.push_str(&format!(
            "[[routes]]\nname = \"{name}\"\nmatch = {{ path = \"/{name}\" }}\nprovider = \"{name}\"\n\
             upstream = \"http://{address}{path}\"\nenvelope = \"auto\"\n{}\n",
            credentials(name)
        ));
    }
    text.push_str(&format!("[[tenants]]\nname = \"app\"\nkeys = [\"{}\"]\n", shown(&hash(key.as_bytes()))));
    Gateway::serve(&text)
}

/// Fails when a key is in a text, plainly or as `Basic` has it.
fn lacks(what: &str, text: &str, key: &str) {
    // Its middle stands in base64 in one of three ways, whatever is around it.
    let base64 = |text: &str| {
        use std::fmt::Write as _;
        let bits = text.bytes().fold(String::new(), |mut bits, byte| {
            write!(bits, "{byte:08b}").expect("text");
            bits
        });
        let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let sextets = bits.as_bytes().chunks_exact(6);
        let number = |six: &[u8]| six.iter().fold(0, |number, bit| number << 1 | usize::from(bit - b'0'));
        sextets.map(|six| char::from(digits[number(six)])).collect::<String>()
    };
    for spelled in [key[3..].to_owned(), base64(&key[..48]), base64(&key[1..49]), base64(&key[2..47])] {
        let at = text.find(&spelled).map(|at| text[at.saturating_sub(200)..].chars().take(400).collect::<String>());
        assert_eq!(at, None, "the key in {what}");
    }
}

/// What every suite ends with.
fn no_byte_of_it(gateway: &Gateway, taps: &BTreeMap<String, Tap>, key: &str) {
    let began = Instant::now();
    while !gateway.page("/metrics").contains("speechgate_requests_total") && began.elapsed() < Duration::from_secs(5) {
        thread::sleep(Duration::from_millis(20));
    }
    for (name, tap) in taps {
        let told = tap.told();
        assert!(told.contains(OURS), "{name} was asked with the route's key: {told}");
        lacks(name, &told, key);
    }
    let sinks = gateway.sinks();
    assert!(sinks.contains("\"tenant\":\"app\""), "{sinks}");
    lacks("a sink", &sinks, key);
}

/// The taps before these providers, and the gateway before those.
fn behind(addresses: BTreeMap<String, (SocketAddr, String)>, key: &str) -> (Gateway, BTreeMap<String, Tap>) {
    let taps: BTreeMap<String, Tap> =
        addresses.iter().map(|(name, (address, _))| (name.clone(), Tap::before(*address))).collect();
    let tapped = addresses.into_iter().map(|(name, (_, path))| {
        let address = taps[&name].address;
        (name, (address, path))
    });
    (asking(&tapped.collect(), key), taps)
}

#[test]
fn official_sdks_work_with_a_gateway_key_and_nothing_else_changed() {
    if !crate::sdks_are_here("official SDKs with a gateway key") {
        return;
    }
    let key = make().expect("random bytes");
    let (without, behind_it) = (Demo::start("auto"), Demo::start("auto"));
    let addresses = behind_it.simulators().into_iter().map(|(name, url)| {
        let rest = url.strip_prefix("http://").expect("a plain URL").to_owned();
        let (authority, path) = rest.split_once('/').map_or((rest.as_str(), ""), |(authority, path)| (authority, path));
        let path = if path.is_empty() { String::new() } else { format!("/{path}") };
        (name, (authority.parse().expect("an address"), path))
    });
    let used = ["elevenlabs", "cartesia", "breeze", "zenhire"];
    let (gateway, taps) = behind(addresses.filter(|(name, _)| used.contains(&name.as_str())).collect(), &key);
    let urls: BTreeMap<String, String> =
        taps.keys().map(|name| (name.clone(), format!("{}/{name}", gateway.url()))).collect();
    let mut asked = 0;
    for (matrix, faults) in [
        (Matrix::http(), crate::faults::of as fn(&str) -> Vec<crate::faults::Fault>),
        (Matrix::sockets(), crate::faults::on_sockets),
    ] {
        let faults = matrix.providers().map(|name| (name.clone(), faults(name))).collect();
        let works = |case: &crate::matrix::Case| case.fault.is_none() && !OTHERS.contains(&case.client.as_str());
        let plain: Vec<_> = matrix.cases(faults).into_iter().filter(works).collect();
        let keyed: Vec<_> =
            plain.iter().cloned().map(|case| crate::matrix::Case { key: Some(key.clone()), ..case }).collect();
        let (direct, through) = (driver::run(&plain, &without.simulators()), driver::run(&keyed, &urls));
        for case in &plain {
            let (direct, through) = (&direct[&case.id], &through[&case.id]);
            assert_eq!(
                (&direct.outcome, &direct.class),
                (&through.outcome, &through.class),
                "{}: {through:?}",
                case.id
            );
            asked += 1;
        }
    }
    say(&format!("gateway keys: {asked} calls of official SDKs"));
    no_byte_of_it(&gateway, &taps, &key);
}

#[test]
fn plugins_of_frameworks_work_with_a_gateway_key_and_nothing_else_changed() {
    if !crate::sdks_are_here("LiveKit, Pipecat and further SDKs with a gateway key") {
        return;
    }
    let key = make().expect("random bytes");
    let plan = Plan::read();
    let provider = Provider::start(plan.dialects.clone());
    let addresses = plan.dialects.keys().map(|name| (name.clone(), (provider.address, format!("/{name}"))));
    let (gateway, taps) = behind(addresses.collect(), &key);
    let failed = plan.with_key(&key, &gateway.url());
    assert!(failed.is_empty(), "{failed:#?}");
    no_byte_of_it(&gateway, &taps, &key);
}
