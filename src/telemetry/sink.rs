//! Writes log lines to a file or a pipe that may be slow, without blocking anybody.
//!
//! Lines are copied into bounded buffers, one for each worker, so that workers do not contend; a thread writes them in batches.
//! Lines of one worker stay in order; those of different workers may be out of order by at most the time between two batches. A
//! log never delays a request: when the reader does not keep up and a buffer is full, or when the disk is full, lines are dropped
//! and counted. A line that was partly written before an error is completed when writing works again, so that a reader sees whole
//! lines only.

use super::metrics;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long lines are collected before they are written, so that one wake-up serves many.
const COLLECT: Duration = Duration::from_millis(50);
/// How long writing the last lines may take when the process ends.
const CLOSE: Duration = Duration::from_secs(2);
/// How long to wait before writing again to a non-blocking pipe that is full.
const FULL_PIPE: Duration = Duration::from_millis(10);

/// Standard output without the standard library's buffer, which would retain bytes after a failed write.
///
/// # Errors
/// When there are no descriptors left.
pub fn stdout() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// Accepts whole lines.
#[derive(Clone, Debug)]
pub struct Sink {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// The capacity of each buffer, in bytes.
    capacity: usize,
    dropped: Arc<AtomicU64>,
    warning: Warning,
    /// Lines that the writer has taken out of the buffers and not written yet.
    in_hand: AtomicU64,
    buffers: Box<[Buffer]>,
    /// Whether there may be something to write. Set after a line was added, cleared before the buffers are read.
    pending: AtomicBool,
    progress: Mutex<Progress>,
    /// Woken when there is something to write, and when the sink closes.
    filled: Condvar,
    /// Woken when everything has been written.
    emptied: Condvar,
}

/// The lines of one worker. Aligned to two cache lines, because processors fetch lines in pairs.
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
    /// Whether the lost lines are of the program's own log; the warning then has to wait until that log can be written.
    own: bool,
    untold: AtomicBool,
    began: Instant,
    /// The minute of the last warning since the start; 0 before the first.
    minute: AtomicU64,
}

impl Sink {
    /// Starts the thread that writes the program's own log. At most `capacity` bytes are buffered. Lost lines are counted in
    /// `dropped`, and reported in the log once it can be written again.
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

    /// Starts the thread that writes the access log of this many workers, with a buffer of `capacity` bytes for each. Lost lines
    /// are reported in the program's own log.
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

    /// Adds a line, including its line break, unless the buffer is full. Returns whether it was added.
    pub fn line(&self, line: &[u8]) -> bool {
        self.add(|lines| lines.extend_from_slice(line))
    }

    /// Adds the line that `append` writes at the end of the buffer, which saves a copy. `append` must not panic, which would
    /// leave a partial line, and must be quick, because the writer may be waiting for the buffer.
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
        // A plain load first, so that workers do not contend for the flag. It cannot miss that the writer is done with this
        // buffer, because the writer cleared the flag before it locked the buffer.
        if !shared.pending.load(Relaxed) && !shared.pending.swap(true, Relaxed) {
            // Under the lock, because the writer may be about to wait.
            let progress = lock(&shared.progress);
            shared.filled.notify_one();
            drop(progress);
        }
        true
    }

    /// Waits until all lines are written, though only briefly, because the process is ending. Returns how many were lost because
    /// nobody read them; they are counted as well.
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
        // The rest of a line that has been written partly.
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
                // A reader that has gone away is no reason to stop; there may be another one later.
                self.write_lines(to, &mut unfinished, &lines);
                lines.clear();
            }
            let _ = to.flush();
            self.report_lost();
            lock(&self.progress).writing = false;
            self.emptied.notify_all();
        }
    }

    /// Writes whole lines, after the rest of an unfinished one. Lines that cannot be written are lost and counted.
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

    /// Counts lost lines and warns about them.
    fn lose(&self, lines: u64, reason: &str) {
        let dropped = self.dropped.fetch_add(lines, Relaxed) + lines;
        if self.warning.own {
            self.warning.untold.store(true, Relaxed);
        } else if self.warning.is_due() {
            tracing::warn!(dropped, reason, "lines of the access log are lost");
        }
    }

    /// Reports lost lines of the program's own log once it accepts lines again. Until then the report itself is lost as well, and
    /// is repeated later.
    fn report_lost(&self) {
        if self.warning.untold.load(Relaxed) && self.warning.is_due() {
            self.warning.untold.store(false, Relaxed);
            tracing::warn!(dropped = self.dropped.load(Relaxed), "lines of this log were lost");
        }
    }
}

impl Warning {
    /// Whether no warning has been logged within this minute.
    fn is_due(&self) -> bool {
        let minute = self.began.elapsed().as_secs() / 60 + 1;
        let last = self.minute.load(Relaxed);
        last < minute && self.minute.compare_exchange(last, minute, Relaxed, Relaxed).is_ok()
    }
}

fn lines_in(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

/// Writes as much as possible. Returns the number of bytes written, and the error that stopped it. A full pipe is waited for;
/// `waits` is called with the remaining bytes meanwhile.
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

/// No code panics while it holds a lock, so poisoning is ignored.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
