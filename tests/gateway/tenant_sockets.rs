//! Sockets of tenants: the key that opened one, and what is said on it.

use crate::support::Gateway;
use crate::support::world::get_with;
use crate::tenants::{EXPIRED, HANDSHAKE, KEY, OTHER, credentialed, tenants};
use speechgate::proxy::gateway_key::{hash, shown};
use speechgate::wire::frame::{Opcode, Sender, frame, parse};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A provider that opens every socket, keeps it, and remembers what came.
pub(crate) fn socket_provider() -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
    let all = Arc::clone(&seen);
    // It waits in accept until the test binary ends.
    drop(std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let seen = Arc::clone(&all);
            drop(std::thread::spawn(move || {
                let (mut answered, mut buffer) = (false, [0; 4096]);
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    let mut seen = seen.lock().expect("no panic");
                    seen.extend_from_slice(&buffer[..length]);
                    if !answered && seen.ends_with(b"\r\n\r\n") {
                        answered = stream.write_all(SWITCHING).is_ok();
                    }
                }
            }));
        }
    }));
    (address, seen)
}

const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Opens a socket.
pub(crate) fn socket(gateway: &Gateway, target: &str, lines: &str) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.address()).expect("a connection");
    stream.set_read_timeout(Some(crate::support::DEADLINE)).expect("a deadline");
    stream.write_all(&get_with(target, &format!("{lines}{HANDSHAKE}"))).expect("taken");
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    stream
}

/// What comes on a socket until its close, which is answered, as text.
pub(crate) fn rest(mut stream: TcpStream) -> String {
    let (mut all, mut buffer, mut at) = (Vec::new(), [0; 4096], 0);
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        all.extend_from_slice(&buffer[..length]);
        while let Ok(Some((header, start))) = parse(&all[at..], Sender::Server) {
            let end = at + start + usize::try_from(header.length).expect("a small frame");
            if end > all.len() {
                break;
            }
            if header.opcode == Opcode::Close {
                let _ = stream.write_all(&frame(Opcode::Close, &all[at + start..at + start + 2], Some([0; 4])));
                return String::from_utf8_lossy(&all).into_owned();
            }
            at = end;
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// A key that is taken away, or ends by itself, closes the sockets that it has opened, and no others.
#[test]
fn sockets_end_with_the_key_that_opened_them() {
    let (provider, _) = socket_provider();
    let soon = std::time::SystemTime::now() + std::time::Duration::from_secs(4);
    let hashed = |key: &str| shown(&hash(key.as_bytes()));
    let tenants = |first: &str| {
        let ends = humantime::format_rfc3339(soon);
        format!(
            "[[tenants]]\nname = \"a\"\nkeys = [{first}{{ hash = \"{}\", expires = \"{ends}\" }}]\n[[tenants]]\nname = \"b\"\nkeys = [\"{}\"]\n",
            hashed(&EXPIRED),
            hashed(&OTHER)
        )
    };
    let both = format!("\"{}\", ", hashed(&KEY));
    let gateway = Gateway::start(&credentialed(provider, &tenants(&both)));
    let open = |key: &str| socket(&gateway, "/p/v1/s", &format!("xi-api-key: {key}\r\n"));
    let [revoked, expires, mut stays] = [KEY.as_str(), EXPIRED.as_str(), OTHER.as_str()].map(open);
    std::fs::write(gateway.file("gateway.toml"), credentialed(provider, &tenants("")).text()).expect("written");
    let began = std::time::Instant::now();
    assert_eq!(gateway.ask_admin("POST", "/-/reload").status, 200);
    let told = rest(revoked);
    assert!(began.elapsed() < std::time::Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(
        told.contains("\"code\":\"invalid_credentials\"") && told.contains("\"type\":\"authentication\""),
        "{told}"
    );
    let told = rest(expires);
    assert!(told.contains("\"code\":\"expired_credentials\""), "{told}");
    let late = std::time::SystemTime::now().duration_since(soon).expect("not before its end");
    assert!(late < std::time::Duration::from_secs(1), "{late:?}");
    stays.write_all(&frame(Opcode::Close, &[3, 232], Some([1, 2, 3, 4]))).expect("taken");
    let told = rest(stays);
    assert!(!told.contains("credentials"), "{told}");
    gateway.metric_becomes("speechgate_errors_total", &[("type", "authentication"), ("transport", "websocket")], 2.0);
}

/// A client that reads nothing, and one in the middle of a frame, kept the sockets that a key had opened for as long as a write may take.
#[test]
fn a_socket_whose_client_reads_nothing_ends_with_its_key_too() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let provider = listener.local_addr().expect("bound");
    let (told, ended) = std::sync::mpsc::channel();
    // It waits in accept until the test binary ends.
    drop(std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let told = told.clone();
            drop(std::thread::spawn(move || {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                    head.push(byte[0]);
                }
                let floods = String::from_utf8_lossy(&head).contains("/flood");
                let _ = stream.write_all(SWITCHING);
                let audio = frame(Opcode::Binary, &[7; 4096], None);
                while floods && stream.write_all(&audio).is_ok() {}
                while matches!(stream.read(&mut [0; 4096]), Ok(1..)) {}
                let _ = told.send(());
            }));
        }
    }));
    let gateway = Gateway::start(&credentialed(provider, &tenants()));
    let open = |path: &str| socket(&gateway, path, &format!("xi-api-key: {}\r\n", *KEY));
    let (unread, mut half) = (open("/p/v1/flood"), open("/p/v1/half"));
    // More than is held of a frame: what has come of it goes on, and nothing can be said in its middle.
    let large = frame(Opcode::Binary, &[7; 300_000], Some([1, 2, 3, 4]));
    half.write_all(&large[..200_000]).expect("taken");
    // Time for all buffers on the way to fill; the test holds without as well.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let hashed = shown(&hash(OTHER.as_bytes()));
    let left = format!("[[tenants]]\nname = \"a\"\nkeys = [\"{hashed}\"]\n");
    std::fs::write(gateway.file("gateway.toml"), credentialed(provider, &left).text()).expect("written");
    assert_eq!(gateway.ask_admin("POST", "/-/reload").status, 200);
    let began = std::time::Instant::now();
    gateway.metric_becomes("speechgate_requests_in_flight", &[("route", "plain")], 0.0);
    assert!(began.elapsed() < std::time::Duration::from_secs(8), "{:?}", began.elapsed());
    for _ in 0..2 {
        ended.recv_timeout(crate::support::DEADLINE).expect("the provider's socket ends as well");
    }
    drop((unread, half));
}

/// SDKs send the key again in messages, long after the first.
#[test]
fn no_message_of_a_socket_takes_a_gateway_key_along() {
    let (provider, seen) = socket_provider();
    let gateway = Gateway::start(&credentialed(provider, &tenants()));
    let mut stream =
        socket(&gateway, "/p/v1/text-to-speech/v/multi-stream-input", &format!("xi-api-key: {}\r\n", *KEY));
    for number in 0..40 {
        for text in [
            format!("{{\"text\":\" \",\"xi_api_key\":\"{}\",\"context_id\":\"{number}\"}}", *KEY),
            format!("{{\"text\":\" \",\"init\":{{\"authorization\":\"Bearer {}\"}}}}", *KEY),
            format!("{{\"text\":\"end {number}\"}}"),
        ] {
            stream.write_all(&frame(Opcode::Text, text.as_bytes(), Some([0; 4]))).expect("taken");
        }
    }
    stream.write_all(&frame(Opcode::Close, &[3, 232], Some([0; 4]))).expect("taken");
    let _ = rest(stream);
    let seen = String::from_utf8_lossy(&seen.lock().expect("no panic")).into_owned();
    assert!(seen.contains("end 39"), "{seen}");
    assert!(!seen.contains(&KEY[3..]), "{seen}");
}
