//! A provider in the test's hands: it reads requests strictly, records them, and answers with the bytes it was told.

use super::DEADLINE;
use super::wire::{End, Fields, Wire};
use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// One step of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Send these bytes.
    Send(Vec<u8>),
    /// Send these bytes one at a time.
    Dribble(Vec<u8>),
    /// Send nothing for so long.
    Pause(Duration),
    /// End the connection in order.
    Fin,
    /// Tear the connection down.
    Reset,
    /// Send nothing more until the gateway leaves.
    Hang,
}

impl Act {
    /// Send these bytes.
    pub(crate) fn send(bytes: impl AsRef<[u8]>) -> Act {
        Act::Send(bytes.as_ref().to_vec())
    }
}

/// A request as the gateway put it on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Its request line.
    pub(crate) line: String,
    /// Its fields.
    pub(crate) fields: Fields,
    /// Its body.
    pub(crate) body: Vec<u8>,
    /// Its trailers.
    pub(crate) trailers: Fields,
}

impl Seen {
    /// The target of the request line.
    pub(crate) fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }
}

/// What the provider noticed, for tests to wait for.
#[derive(Default)]
struct Record {
    seen: Vec<Seen>,
    /// Heads whose body did not come to its end.
    partial: Vec<(String, End)>,
    flaws: Vec<String>,
    /// How each connection ended from the gateway's side, while the provider hung.
    left: Vec<End>,
    connections: usize,
}

struct Shared {
    script: Mutex<VecDeque<Vec<Act>>>,
    default: Mutex<Vec<Act>>,
    record: Mutex<Record>,
    changed: Condvar,
}

/// A scripted provider on a port of its own.
pub(crate) struct Provider {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// A connection that the gateway made.
pub(crate) struct Conn {
    /// Its bytes.
    pub(crate) wire: Wire,
    shared: Arc<Shared>,
}

/// The answer when nothing else was asked for.
pub(crate) const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";

impl Provider {
    /// Answers every request with the script, or `200 ok` where there is none.
    pub(crate) fn start() -> Provider {
        Provider::with(serve)
    }

    /// Runs `handler` on its own thread for each connection.
    pub(crate) fn with(handler: impl Fn(Conn) + Send + Sync + 'static) -> Provider {
        Provider::accepting(Wire::plain, handler)
    }

    /// Like [`Provider::with`], with something between socket and HTTP, such as TLS.
    pub(crate) fn accepting(
        wrap: impl Fn(TcpStream) -> Wire + Send + Sync + 'static,
        handler: impl Fn(Conn) + Send + Sync + 'static,
    ) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let shared = Arc::new(Shared {
            script: Mutex::default(),
            default: Mutex::new(vec![Act::send(OK)]),
            record: Mutex::default(),
            changed: Condvar::new(),
        });
        let inner = Arc::clone(&shared);
        let work = Arc::new((wrap, handler));
        // The thread waits in accept until the test binary ends.
        let _ = std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (work, shared) = (Arc::clone(&work), Arc::clone(&inner));
                shared.note(|record| record.connections += 1);
                let _ = std::thread::spawn(move || (work.1)(Conn { wire: (work.0)(socket), shared }));
            }
        });
        Provider { address, shared }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers the next request so, and later ones as before.
    pub(crate) fn next(&self, acts: impl Into<Vec<Act>>) {
        self.shared.script.lock().expect("no test panics while holding it").push_back(acts.into());
    }

    /// Answers every request without a script of its own so.
    pub(crate) fn always(&self, acts: impl Into<Vec<Act>>) {
        *self.shared.default.lock().expect("no test panics while holding it") = acts.into();
    }

    /// Forgets answers that nobody asked for.
    pub(crate) fn forget(&self) {
        self.shared.script.lock().expect("no test panics while holding it").clear();
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    /// Takes what was recorded since the last time.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.shared.lock().seen)
    }

    /// Waits for a complete request and takes it.
    pub(crate) fn one(&self) -> Seen {
        self.wait("a request", |record| (!record.seen.is_empty()).then(|| record.seen.remove(0)))
    }

    /// Waits for a request that broke off, and takes its head and how it ended.
    pub(crate) fn one_partial(&self) -> (String, End) {
        self.wait("a broken-off request", |record| (!record.partial.is_empty()).then(|| record.partial.remove(0)))
    }

    /// Waits until the gateway leaves a connection on which the provider hangs.
    pub(crate) fn abandoned(&self) -> End {
        self.wait("the gateway to leave", |record| record.left.pop())
    }

    /// Everything about the gateway's requests that was not strictly HTTP/1.1.
    pub(crate) fn flaws(&self) -> Vec<String> {
        self.shared.lock().flaws.clone()
    }

    fn wait<T>(&self, what: &str, mut look: impl FnMut(&mut Record) -> Option<T>) -> T {
        let end = Instant::now() + DEADLINE;
        let mut record = self.shared.lock();
        loop {
            if let Some(found) = look(&mut record) {
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(left > Duration::ZERO, "the provider waited in vain for {what}; flaws: {:?}", record.flaws);
            record = self.shared.changed.wait_timeout(record, left).expect("no holder panics").0;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn note(&self, change: impl FnOnce(&mut Record)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn acts(&self) -> Vec<Act> {
        let scripted = self.script.lock().expect("no holder panics").pop_front();
        scripted.unwrap_or_else(|| self.default.lock().expect("no holder panics").clone())
    }
}

/// The scripted life of a connection.
fn serve(mut conn: Conn) {
    while let Some(seen) = conn.read() {
        // Before anybody sees that the request is here: what the test does next must not get its answer.
        let acts = conn.shared.acts();
        conn.shared.note(|record| record.seen.push(seen));
        let Some(next) = conn.play(acts) else { return };
        conn = next;
    }
}

impl Conn {
    /// Reads one request, records it, and gives it back; `None` when the gateway is done with this connection.
    pub(crate) fn request(&mut self) -> Option<Seen> {
        let seen = self.read()?;
        self.shared.note(|record| record.seen.push(seen.clone()));
        Some(seen)
    }

    fn read(&mut self) -> Option<Seen> {
        let (line, fields) = self.head()?;
        self.body(line, fields)
    }

    /// Reads a request's head; `None` when the gateway is done with this connection.
    pub(crate) fn head(&mut self) -> Option<(String, Fields)> {
        let read = self.wire.first_line().and_then(|line| Ok((line, self.wire.fields()?)));
        match read {
            Ok((line, fields)) => {
                let line = String::from_utf8_lossy(&line).into_owned();
                self.judge(&line, &fields);
                Some((line, fields))
            }
            Err(End::Malformed(what)) => {
                self.shared.note(|record| record.flaws.push(what));
                None
            }
            Err(_) => None,
        }
    }

    /// Reads the body that belongs to a head.
    pub(crate) fn body(&mut self, line: String, fields: Fields) -> Option<Seen> {
        let mut body = Vec::new();
        let trailers = match (fields.all("content-length").first(), fields.all("transfer-encoding").first()) {
            (_, Some(_)) => self.wire.chunked(&mut body),
            (Some(length), _) => {
                let length = length.parse().unwrap_or(0);
                self.wire.exact(length, &mut body).map(|()| Fields::default())
            }
            (None, None) => Ok(Fields::default()),
        };
        match trailers {
            Ok(trailers) => Some(Seen { line, fields, body, trailers }),
            Err(end) => {
                self.shared.note(|record| {
                    if let End::Malformed(what) = &end {
                        record.flaws.push(what.clone());
                    }
                    record.partial.push((line, end));
                });
                None
            }
        }
    }

    /// Plays the steps; gives the connection back when it can take another request.
    fn play(mut self, acts: Vec<Act>) -> Option<Conn> {
        for act in acts {
            match act {
                // That the gateway has left in the meantime is its right.
                Act::Send(bytes) => drop(self.wire.send(&bytes)),
                Act::Dribble(bytes) => drop(self.wire.dribble(&bytes)),
                Act::Pause(time) => std::thread::sleep(time),
                Act::Fin => {
                    self.finish();
                    return None;
                }
                Act::Reset => {
                    self.wire.reset();
                    return None;
                }
                Act::Hang => {
                    let _ = self.hang();
                    return None;
                }
            }
        }
        Some(self)
    }

    /// Ends in order: what the gateway still sends is read, so that no RST overtakes the answer.
    pub(crate) fn finish(mut self) {
        self.wire.finish();
        let _ = self.wire.rest(&mut Vec::new());
    }

    /// Does nothing until the gateway leaves.
    pub(crate) fn hang(&mut self) -> End {
        let end = self.wire.rest(&mut Vec::new());
        self.shared.note(|record| record.left.push(end.clone()));
        end
    }

    /// Notes whatever in a head another server might read differently.
    fn judge(&self, line: &str, fields: &Fields) {
        let mut flaws = Vec::new();
        let parts: Vec<&str> = line.split(' ').collect();
        if parts.len() != 3 || parts[2] != "HTTP/1.1" || !parts[1].starts_with(['/', '*']) {
            flaws.push(format!("request line {line:?}"));
        }
        let (lengths, codings) = (fields.all("content-length"), fields.all("transfer-encoding"));
        if lengths.len() + codings.len() > 1 {
            flaws.push(format!("ambiguous framing {lengths:?} {codings:?} in {line:?}"));
        }
        if lengths.iter().any(|value| !value.bytes().all(|byte| byte.is_ascii_digit()) || value.is_empty()) {
            flaws.push(format!("content-length {lengths:?}"));
        }
        if codings.iter().any(|value| value != "chunked") {
            flaws.push(format!("transfer-encoding {codings:?}"));
        }
        if fields.all("host").len() != 1 {
            flaws.push(format!("hosts {:?}", fields.all("host")));
        }
        flaws.extend(fields.0.iter().filter(|(name, _)| name.contains('_')).map(|(name, _)| format!("twin {name}")));
        if !flaws.is_empty() {
            self.shared.note(|record| record.flaws.extend(flaws));
        }
    }
}
