//! Lines on their way to a file or a pipe that may be slow, without anybody waiting for it.
//!
//! Lines are copied into one bounded buffer; a thread writes it out, many lines at a time. When the reader at the other end does
//! not keep up and the buffer is full, lines are dropped and counted: a log is never a reason to hold a request.

use std::io::Write;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long lines are collected before they are written: one wake-up for many.
const COLLECT: Duration = Duration::from_millis(50);
/// How long the last lines may take when the process ends.
const CLOSE: Duration = Duration::from_secs(2);

/// Takes whole lines.
#[derive(Clone, Debug)]
pub struct Sink {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    capacity: usize,
    dropped: Arc<AtomicU64>,
    state: Mutex<State>,
    /// Woken when there is something to write, and when the sink closes.
    filled: Condvar,
    /// Woken when everything has been written.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    writing: bool,
    closing: bool,
}

impl Sink {
    /// Starts the thread that writes. At most `capacity` bytes wait; lines beyond are counted in `dropped`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        name: &str,
        mut to: impl Write + Send + 'static,
        capacity: usize,
        dropped: Arc<AtomicU64>,
    ) -> std::io::Result<Sink> {
        let shared = Arc::new(Shared {
            capacity,
            dropped,
            state: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
        });
        let writer = Arc::clone(&shared);
        drop(thread::Builder::new().name(name.to_owned()).spawn(move || writer.write_to(&mut to))?);
        Ok(Sink { shared })
    }

    /// Adds a line, line break included, unless the buffer is full.
    pub fn line(&self, line: &[u8]) {
        let mut state = self.shared.lock();
        if state.lines.len() + line.len() > self.shared.capacity {
            drop(state);
            let _ = self.shared.dropped.fetch_add(1, Relaxed);
            return;
        }
        let first = state.lines.is_empty();
        state.lines.extend_from_slice(line);
        drop(state);
        if first {
            self.shared.filled.notify_one();
        }
    }

    /// Waits until all lines are written, though not for long.
    pub fn flush(&self) {
        let mut state = self.shared.lock();
        state.closing = true;
        self.shared.filled.notify_one();
        let pending = |state: &mut State| !state.lines.is_empty() || state.writing;
        let waited = self.shared.emptied.wait_timeout_while(state, CLOSE, pending);
        waited.unwrap_or_else(PoisonError::into_inner).0.closing = false;
    }
}

impl Shared {
    fn write_to(&self, to: &mut impl Write) {
        let mut lines = Vec::new();
        loop {
            let state = self.lock();
            let state =
                self.filled.wait_while(state, |state| state.lines.is_empty()).unwrap_or_else(PoisonError::into_inner);
            let collected = self.filled.wait_timeout_while(state, COLLECT, |state| !state.closing);
            let mut state = collected.unwrap_or_else(PoisonError::into_inner).0;
            std::mem::swap(&mut lines, &mut state.lines);
            state.writing = true;
            drop(state);
            // A reader that has gone away is no reason to stop: there may be another later, and if not, the lines were for nobody.
            let _ = to.write_all(&lines).and_then(|()| to.flush());
            lines.clear();
            self.lock().writing = false;
            self.emptied.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::mpsc;

    /// Passes on what is written, and waits to be allowed to.
    struct Slow(mpsc::Receiver<()>, mpsc::Sender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            let _ = self.1.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_come_out_in_order_and_a_full_buffer_drops() {
        let (allow, allowed) = mpsc::channel();
        let (written, output) = mpsc::channel();
        let dropped = Arc::new(AtomicU64::new(0));
        let sink = Sink::start("test-sink", Slow(allowed, written), 8, Arc::clone(&dropped)).expect("a thread");
        for line in [b"one\n", b"two\n", b"six\n"] {
            sink.line(line);
        }
        assert_eq!(dropped.load(Relaxed), 1);
        allow.send(()).expect("the writer waits");
        sink.flush();
        assert_eq!(output.recv().expect("a write"), b"one\ntwo\n");
        sink.line(b"ten\n");
        allow.send(()).expect("the writer waits");
        sink.flush();
        assert_eq!(output.recv().expect("a write"), b"ten\n");
        assert_eq!(dropped.load(Relaxed), 1);
    }
}
