//! Lines on their way to a file or a pipe that may be slow, without anybody waiting for it.
//!
//! Lines are copied into bounded buffers, one for each worker so that workers do not wait for each other; a thread writes them
//! out, many lines at a time. Lines of one worker stay in order, and those of different workers are out of order by no more
//! than the time that lines are collected. A log is never a reason to delay a request: when the reader at the other end does not
//! keep up and a buffer is full, or when lines cannot be written because the disk is full, they are dropped and counted. What was
//! begun of a line before writing failed is finished when writing works again, so that a reader sees whole lines only.

use super::metrics;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long lines are collected before they are written: one wake-up for many.
const COLLECT: Duration = Duration::from_millis(50);
/// How long the last lines may take when the process ends.
const CLOSE: Duration = Duration::from_secs(2);
/// How long to wait before writing again to a pipe that is full and not blocking.
const FULL_PIPE: Duration = Duration::from_millis(10);

/// Standard output without the buffer of the standard library, which keeps bytes that could not be written.
///
/// # Errors
/// When there are no descriptors left.
pub fn stdout() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

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
    warning: Warning,
    /// Lines that the writer has taken and not written yet.
    in_hand: AtomicU64,
    buffers: Box<[Buffer]>,
    /// Whether there may be something to write. Set after a line was added, taken back before the buffers are looked at.
    pending: AtomicBool,
    progress: Mutex<Progress>,
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
struct Progress {
    writing: bool,
    closing: bool,
}

/// Warns at most once a minute, in the program's own log.
#[derive(Debug)]
struct Warning {
    /// Whether it is that log which loses lines: it is told in it when it can be written again.
    own: bool,
    untold: AtomicBool,
    began: Instant,
    /// The minute of the last warning, counted from the beginning; 0 before the first.
    minute: AtomicU64,
}

impl Sink {
    /// Starts the thread that writes the program's own log. At most `capacity` bytes wait; lines that are lost are counted in
    /// `dropped`, and the log says so once it can be written again.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        name: &str,
        to: impl Write + Send + 'static,
        capacity: usize,
        dropped: Arc<AtomicU64>,
    ) -> io::Result<Sink> {
        Sink::spawn(1, name, to, capacity, dropped, true)
    }

    /// Starts the thread that writes the access log of so many workers, with as much room for each. The program's own log
    /// warns when lines are lost.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start_for(
        workers: usize,
        name: &str,
        to: impl Write + Send + 'static,
        capacity: usize,
        dropped: Arc<AtomicU64>,
    ) -> io::Result<Sink> {
        Sink::spawn(workers, name, to, capacity, dropped, false)
    }

    fn spawn(
        workers: usize,
        name: &str,
        mut to: impl Write + Send + 'static,
        capacity: usize,
        dropped: Arc<AtomicU64>,
        own: bool,
    ) -> io::Result<Sink> {
        let minute = AtomicU64::new(0);
        let warning = Warning { own, untold: AtomicBool::new(false), began: Instant::now(), minute };
        let shared = Arc::new(Shared {
            capacity,
            dropped,
            warning,
            in_hand: AtomicU64::new(0),
            buffers: std::iter::repeat_with(Buffer::default).take(workers.max(1)).collect(),
            pending: AtomicBool::new(false),
            progress: Mutex::default(),
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
            shared.lose(1, "the reader does not keep up");
            return false;
        }
        drop(lines);
        // The first look only reads, so that workers do not fight over the flag. It cannot miss that the writer is done with
        // this buffer: the writer took the flag back before it took the buffer's lock.
        if !shared.pending.load(Relaxed) && !shared.pending.swap(true, Relaxed) {
            // With the lock, lest the writer be about to wait.
            let progress = lock(&shared.progress);
            shared.filled.notify_one();
            drop(progress);
        }
        true
    }

    /// Waits until all lines are written, though not for long: the program ends. How many are lost because nobody takes them; they
    /// are counted.
    #[must_use]
    pub fn flush(&self) -> u64 {
        let shared = &*self.shared;
        let mut progress = lock(&shared.progress);
        progress.closing = true;
        shared.filled.notify_one();
        let unwritten = |progress: &mut Progress| shared.pending.load(Relaxed) || progress.writing;
        let waited = shared.emptied.wait_timeout_while(progress, CLOSE, unwritten);
        let (mut progress, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        progress.closing = false;
        drop(progress);
        if !timeout.timed_out() {
            return 0;
        }
        let waiting = shared.buffers.iter().map(|buffer| lines_in(&lock(&buffer.0))).sum::<u64>();
        let lost = waiting + shared.in_hand.load(Relaxed);
        let _ = shared.dropped.fetch_add(lost, Relaxed);
        lost
    }
}

impl Shared {
    fn write_to(&self, to: &mut impl Write) {
        let mut lines = Vec::new();
        // The rest of a line of which the beginning has been written.
        let mut unfinished = Vec::new();
        loop {
            let nothing = |_: &mut Progress| !self.pending.load(Relaxed);
            let progress = self.filled.wait_while(lock(&self.progress), nothing);
            let progress = progress.unwrap_or_else(PoisonError::into_inner);
            let collected = self.filled.wait_timeout_while(progress, COLLECT, |progress| !progress.closing);
            let mut progress = collected.unwrap_or_else(PoisonError::into_inner).0;
            progress.writing = true;
            self.pending.store(false, Relaxed);
            drop(progress);
            for buffer in &self.buffers {
                std::mem::swap(&mut lines, &mut lock(&buffer.0));
                // A reader that has gone away is no reason to stop: there may be another later.
                self.write_lines(to, &mut unfinished, &lines);
                lines.clear();
            }
            let _ = to.flush();
            self.tell();
            lock(&self.progress).writing = false;
            self.emptied.notify_all();
        }
    }

    /// Writes whole lines, after the rest of one that was begun earlier. Those that cannot be written are lost and counted.
    fn write_lines(&self, to: &mut impl Write, unfinished: &mut Vec<u8>, lines: &[u8]) {
        self.in_hand.store(lines_in(lines), Relaxed);
        let (written, mut failure) = write(to, unfinished, |_| {});
        drop(unfinished.drain(..written));
        let mut left = lines;
        if failure.is_none() {
            let (written, failed) = write(to, lines, |left| self.in_hand.store(lines_in(left), Relaxed));
            failure = failed;
            left = &lines[written..];
            if written > 0 && lines[written - 1] != b'\n' {
                let end = memchr::memchr(b'\n', left).map_or(left.len(), |at| at + 1);
                unfinished.extend_from_slice(&left[..end]);
                left = &left[end..];
            }
        }
        self.in_hand.store(0, Relaxed);
        let lost = lines_in(left);
        if let Some(error) = failure.filter(|_| lost > 0) {
            self.lose(lost, &error.to_string());
        }
    }

    /// Counts lines that are lost, and warns of it.
    fn lose(&self, lines: u64, reason: &str) {
        let dropped = self.dropped.fetch_add(lines, Relaxed) + lines;
        if self.warning.own {
            self.warning.untold.store(true, Relaxed);
        } else if self.warning.is_due() {
            tracing::warn!(dropped, reason, "lines of the access log are lost");
        }
    }

    /// Says that lines of the program's own log were lost, once it takes lines again. While it does not, this is lost as well, and is
    /// said later.
    fn tell(&self) {
        if self.warning.untold.load(Relaxed) && self.warning.is_due() {
            self.warning.untold.store(false, Relaxed);
            tracing::warn!(dropped = self.dropped.load(Relaxed), "lines of this log were lost");
        }
    }
}

impl Warning {
    /// Whether this is the first time within a minute.
    fn is_due(&self) -> bool {
        let minute = self.began.elapsed().as_secs() / 60 + 1;
        let last = self.minute.load(Relaxed);
        last < minute && self.minute.compare_exchange(last, minute, Relaxed, Relaxed).is_ok()
    }
}

fn lines_in(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

/// Writes as much as can be written: how much that was, and why not more. A pipe that is full is waited for; what is left meanwhile is
/// given to `waits`.
#[expect(clippy::disallowed_methods, reason = "the writer has a thread of its own, on which nothing else waits")]
fn write(to: &mut impl Write, bytes: &[u8], waits: impl Fn(&[u8])) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while written < bytes.len() {
        match to.write(&bytes[written..]) {
            Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
            Ok(more) => {
                written += more;
                waits(&bytes[written..]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(FULL_PIPE),
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

/// No code panics while it holds a lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
