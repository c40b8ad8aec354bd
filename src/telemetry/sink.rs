//! Lines on their way to a file or a pipe that may be slow, without anybody waiting for it.
//!
//! Lines are copied into bounded buffers, one for each worker so that workers do not wait for each other; a thread writes them
//! out, many lines at a time. Lines of one worker stay in order, and those of different workers are out of order by no more
//! than the time that lines are collected. When the reader at the other end does not keep up and a buffer is full, lines are
//! dropped and counted: a log is never a reason to hold a request.

use super::metrics;
use std::io::Write;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
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
    /// Of each buffer.
    capacity: usize,
    dropped: Arc<AtomicU64>,
    buffers: Box<[Buffer]>,
    /// Whether there may be something to write. Set after a line was added, taken back before the buffers are looked at.
    pending: AtomicBool,
    state: Mutex<State>,
    /// Woken when there is something to write, and when the sink closes.
    filled: Condvar,
    /// Woken when everything has been written.
    emptied: Condvar,
}

/// Lines of one worker. Two cache lines apart from the next, because lines are fetched in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Buffer(Mutex<Vec<u8>>);

#[derive(Debug, Default)]
struct State {
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
        to: impl Write + Send + 'static,
        capacity: usize,
        dropped: Arc<AtomicU64>,
    ) -> std::io::Result<Sink> {
        Sink::start_for(1, name, to, capacity, dropped)
    }

    /// The same for so many workers, with as much room for each.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start_for(
        workers: usize,
        name: &str,
        mut to: impl Write + Send + 'static,
        capacity: usize,
        dropped: Arc<AtomicU64>,
    ) -> std::io::Result<Sink> {
        let shared = Arc::new(Shared {
            capacity,
            dropped,
            buffers: std::iter::repeat_with(Buffer::default).take(workers.max(1)).collect(),
            pending: AtomicBool::new(false),
            state: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
        });
        let writer = Arc::clone(&shared);
        drop(thread::Builder::new().name(name.to_owned()).spawn(move || writer.write_to(&mut to))?);
        Ok(Sink { shared })
    }

    /// Adds a line, line break included, unless the buffer is full. Whether it was added.
    pub fn line(&self, line: &[u8]) -> bool {
        self.add(|lines| lines.extend_from_slice(line))
    }

    /// Adds the line that `append` puts at the end of the buffer: the same without a copy. `append` must not panic, which
    /// would leave a part of a line, and must not take long, because the writer may be waiting for the buffer.
    pub(super) fn add(&self, append: impl FnOnce(&mut Vec<u8>)) -> bool {
        let shared = &*self.shared;
        let mut lines = lock(&metrics::own(&shared.buffers).0);
        let before = lines.len();
        append(&mut lines);
        if lines.len() > shared.capacity {
            lines.truncate(before);
            drop(lines);
            let _ = shared.dropped.fetch_add(1, Relaxed);
            return false;
        }
        drop(lines);
        // The first look only reads, so that workers do not fight over the flag. It cannot miss that the writer is done with
        // this buffer: the writer took the flag back before it took the buffer's lock.
        if !shared.pending.load(Relaxed) && !shared.pending.swap(true, Relaxed) {
            // With the lock, lest the writer be about to wait.
            let state = lock(&shared.state);
            shared.filled.notify_one();
            drop(state);
        }
        true
    }

    /// How many lines were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Relaxed)
    }

    /// Waits until all lines are written, though not for long.
    pub fn flush(&self) {
        let mut state = lock(&self.shared.state);
        state.closing = true;
        self.shared.filled.notify_one();
        let unwritten = |state: &mut State| self.shared.pending.load(Relaxed) || state.writing;
        let waited = self.shared.emptied.wait_timeout_while(state, CLOSE, unwritten);
        waited.unwrap_or_else(PoisonError::into_inner).0.closing = false;
    }
}

impl Shared {
    fn write_to(&self, to: &mut impl Write) {
        let mut lines = Vec::new();
        loop {
            let nothing = |_: &mut State| !self.pending.load(Relaxed);
            let state = self.filled.wait_while(lock(&self.state), nothing).unwrap_or_else(PoisonError::into_inner);
            let collected = self.filled.wait_timeout_while(state, COLLECT, |state| !state.closing);
            let mut state = collected.unwrap_or_else(PoisonError::into_inner).0;
            state.writing = true;
            self.pending.store(false, Relaxed);
            drop(state);
            for buffer in &self.buffers {
                std::mem::swap(&mut lines, &mut lock(&buffer.0));
                // A reader that has gone away is no reason to stop: there may be another later, and if not, the lines were
                // for nobody.
                let _ = to.write_all(&lines);
                lines.clear();
            }
            let _ = to.flush();
            lock(&self.state).writing = false;
            self.emptied.notify_all();
        }
    }
}

/// Nobody panics with a lock held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
            let _ = sink.line(line);
        }
        assert_eq!(dropped.load(Relaxed), 1);
        allow.send(()).expect("the writer waits");
        sink.flush();
        assert_eq!(output.recv().expect("a write"), b"one\ntwo\n");
        assert!(sink.line(b"ten\n"));
        allow.send(()).expect("the writer waits");
        sink.flush();
        assert_eq!(output.recv().expect("a write"), b"ten\n");
        assert_eq!(dropped.load(Relaxed), 1);
    }

    #[test]
    fn workers_have_room_of_their_own_and_keep_their_order() {
        let (allow, allowed) = mpsc::channel();
        let (written, output) = mpsc::channel();
        let dropped = Arc::new(AtomicU64::new(0));
        let slow = Slow(allowed, written);
        let sink = Sink::start_for(2, "test-sink", slow, 8, Arc::clone(&dropped)).expect("a thread");
        for (worker, line, added) in
            [(0, b"a 1\n", true), (1, b"b 1\n", true), (0, b"a 2\n", true), (0, b"a 3\n", false), (1, b"b 2\n", true)]
        {
            metrics::use_shard(worker);
            assert_eq!(sink.line(line), added, "{line:?}");
        }
        metrics::use_shard(0);
        for _ in 0..2 {
            allow.send(()).expect("the writer waits");
        }
        sink.flush();
        let lines: Vec<Vec<u8>> = output.try_iter().collect();
        assert_eq!(lines, [b"a 1\na 2\n", b"b 1\nb 2\n"]);
        assert_eq!((dropped.load(Relaxed), sink.dropped()), (1, 1));
    }
}
