//! One end of a connection, read strictly: a deadline on every read, and every departure from RFC 9112 is an error.

use super::DEADLINE;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Why reading stopped before the message was whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// An orderly end of the stream.
    Fin,
    /// The connection was torn down.
    Reset,
    /// Nothing came for as long as a test may wait.
    Deadline,
    /// What came was not HTTP.
    Malformed(String),
}

/// A byte stream with a socket below it.
pub(crate) trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// Header or trailer fields in the order in which they came, names as they were spelled.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields(pub(crate) Vec<(String, Vec<u8>)>);

impl Fields {
    /// Every value of a field, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        let same = self.0.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        same.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    }

    /// The only value of a field; `None` when it is absent.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let mut all = self.all(name);
        assert!(all.len() < 2, "{name} stands {} times: {all:?}", all.len());
        all.pop()
    }

    /// Whether a field is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }
}

impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(name, value)| (name, String::from_utf8_lossy(value)))).finish()
    }
}

/// One end of a connection with what was read ahead.
pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    socket: TcpStream,
    ahead: Vec<u8>,
}

impl Wire {
    /// Over a plain socket.
    pub(crate) fn plain(socket: TcpStream) -> Wire {
        let below = socket.try_clone().expect("a socket can be cloned");
        Wire::over(Box::new(socket), below)
    }

    /// Over anything that reads and writes `socket`.
    pub(crate) fn over(stream: Box<dyn Stream>, socket: TcpStream) -> Wire {
        socket.set_read_timeout(Some(DEADLINE)).expect("a deadline can be set");
        socket.set_write_timeout(Some(DEADLINE)).expect("a deadline can be set");
        socket.set_nodelay(true).expect("a TCP socket");
        Wire { stream, socket, ahead: Vec::new() }
    }

    /// A connection to a listener.
    pub(crate) fn connect(to: SocketAddr) -> Wire {
        Wire::plain(TcpStream::connect_timeout(&to, DEADLINE).expect("the listener accepts"))
    }

    /// A connection whose receive buffer is small, for clients that read slowly.
    pub(crate) fn connect_narrow(to: SocketAddr) -> Wire {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a buffer size");
        socket.connect(&to.into()).expect("the listener accepts");
        Wire::plain(socket.into())
    }

    /// Sends; an error means that the peer has gone.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Sends one byte at a time, each in its own segment.
    pub(crate) fn dribble(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        bytes.iter().try_for_each(|byte| self.send(std::slice::from_ref(byte)))
    }

    /// Ends the sending side.
    pub(crate) fn finish(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Tears the connection down with RST.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.socket).set_linger(Some(Duration::ZERO)).expect("linger can be set");
    }

    /// Reads whatever comes next into the read-ahead.
    fn fill(&mut self) -> Result<(), End> {
        let mut space = [0_u8; 16 * 1024];
        let count = self.read_some(&mut space)?;
        self.ahead.extend_from_slice(&space[..count]);
        Ok(())
    }

    fn read_some(&mut self, space: &mut [u8]) -> Result<usize, End> {
        loop {
            return match self.stream.read(space) {
                Ok(0) => Err(End::Fin),
                Ok(count) => Ok(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(End::Deadline),
                // rustls calls the missing close_notify so; the peer did end its stream.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(End::Fin),
                Err(_) => Err(End::Reset),
            };
        }
    }

    /// One line without its CRLF. A line that ends in a bare LF, or has a CR, LF or NUL inside, is malformed.
    fn line(&mut self) -> Result<Vec<u8>, End> {
        let mut from = 0;
        let end = loop {
            if let Some(at) = self.ahead[from..].iter().position(|&byte| byte == b'\n') {
                break from + at;
            }
            from = self.ahead.len();
            if from > 4 * 1024 * 1024 {
                return Err(End::Malformed("a line of more than 4 MiB".into()));
            }
            self.fill()?;
        };
        let mut line: Vec<u8> = self.ahead.drain(..=end).collect();
        let _ = line.pop();
        if line.pop() != Some(b'\r') {
            return Err(End::Malformed(format!("a line ends in a bare LF: {}", show(&line))));
        }
        match line.iter().find(|&&byte| byte == b'\r' || byte == 0) {
            Some(_) => Err(End::Malformed(format!("a control character inside {}", show(&line)))),
            None => Ok(line),
        }
    }

    /// The first line of a message; `Err(Fin)` when the peer ended between messages.
    pub(crate) fn first_line(&mut self) -> Result<Vec<u8>, End> {
        self.line()
    }

    /// Fields up to and including the empty line.
    pub(crate) fn fields(&mut self) -> Result<Fields, End> {
        let mut fields = Fields::default();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let colon = line.iter().position(|&byte| byte == b':');
            let colon = colon.ok_or_else(|| End::Malformed(format!("a field without a colon: {}", show(&line))))?;
            let name = &line[..colon];
            if name.is_empty() || !name.iter().all(|&byte| is_token(byte)) {
                return Err(End::Malformed(format!("a field name that is no token: {}", show(name))));
            }
            let value = line[colon + 1..].trim_ascii().to_vec();
            if let Some(byte) = value.iter().find(|&&byte| byte < 0x20 && byte != b'\t' || byte == 0x7f) {
                return Err(End::Malformed(format!("byte {byte:#04x} in the value of {}", show(name))));
            }
            fields.0.push((String::from_utf8_lossy(name).into_owned(), value));
        }
    }

    /// Exactly `count` bytes; what came is in `into` even when the peer ended early.
    pub(crate) fn exact(&mut self, count: usize, into: &mut Vec<u8>) -> Result<(), End> {
        let mut missing = count;
        while missing > 0 {
            if self.ahead.is_empty() {
                self.fill()?;
            }
            let take = missing.min(self.ahead.len());
            into.extend(self.ahead.drain(..take));
            missing -= take;
        }
        Ok(())
    }

    /// A chunked body and its trailers, every size in plain hexadecimal.
    pub(crate) fn chunked(&mut self, into: &mut Vec<u8>) -> Result<Fields, End> {
        loop {
            let line = self.line()?;
            let size = line.split(|&byte| byte == b';').next().unwrap_or_default();
            let text = std::str::from_utf8(size).unwrap_or("?");
            let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let size = usize::from_str_radix(text, 16).ok().filter(|_| plain);
            let size = size.ok_or_else(|| End::Malformed(format!("not a chunk size: {}", show(&line))))?;
            if size == 0 {
                return self.fields();
            }
            self.exact(size, into)?;
            if !self.line()?.is_empty() {
                return Err(End::Malformed("a chunk is longer than its size".into()));
            }
        }
    }

    /// Everything up to the end of the stream, and how it ended.
    pub(crate) fn rest(&mut self, into: &mut Vec<u8>) -> End {
        loop {
            into.append(&mut self.ahead);
            if let Err(end) = self.fill() {
                return end;
            }
        }
    }

    /// Whatever is there or comes next, at most as much as one read gives.
    pub(crate) fn some(&mut self) -> Result<Vec<u8>, End> {
        if self.ahead.is_empty() {
            self.fill()?;
        }
        Ok(std::mem::take(&mut self.ahead))
    }
}

/// RFC 9110 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Bytes for a failure message.
pub(crate) fn show(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(400)];
    let more = if bytes.len() > cut.len() { format!("… ({} bytes)", bytes.len()) } else { String::new() };
    format!("\"{}\"{more}", cut.escape_ascii())
}
