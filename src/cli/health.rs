//! `speechgate health`: one request to the admin listener of a running gateway.

use crate::app::Address;
use crate::config::types::Listen;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Timeout of connecting and of each read.
const PATIENCE: Duration = Duration::from_secs(2);
/// As much of the response as the status line needs.
const HEAD: usize = 64;

/// Asks the admin listener whether the gateway accepts requests.
pub(super) fn ask(admin: &Listen) -> Result<(), String> {
    let head = response_head(admin).map_err(|error| format!("no response from {}: {error}", Address(admin)))?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(()),
        Some("503") => Err("the gateway runs but does not accept requests: it is starting or draining".to_owned()),
        _ => Err(format!("{} is not the admin listener of a speechgate", Address(admin))),
    }
}

fn response_head(admin: &Listen) -> io::Result<String> {
    match admin {
        Listen::Tcp(address) => {
            let stream = TcpStream::connect_timeout(address, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            exchange(stream)
        }
        Listen::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            exchange(stream)
        }
    }
}

fn exchange(mut stream: impl Read + Write) -> io::Result<String> {
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n")?;
    let mut head = Vec::new();
    stream.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn each_response_has_its_outcome() {
        for (line, problem) in [
            ("HTTP/1.1 200 OK\r\n\r\nok\n", None),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", Some("does not accept requests")),
            ("HTTP/1.1 404 Not Found\r\n\r\n", Some("not the admin listener")),
            ("SSH-2.0-x", Some("not the admin listener")),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = Listen::Tcp(listener.local_addr().expect("bound"));
            let server = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().expect("a connection");
                let _ = stream.read(&mut [0; 1024]).expect("a question");
                stream.write_all(line.as_bytes()).expect("taken");
            });
            let told = ask(&address);
            assert_eq!(told.is_ok(), problem.is_none(), "{line}: {told:?}");
            assert!(told.err().unwrap_or_default().contains(problem.unwrap_or_default()), "{line}");
            server.join().expect("it does not panic");
            // The listener is closed.
            assert!(ask(&address).expect_err("nobody").contains("no response from"));
        }
    }
}
