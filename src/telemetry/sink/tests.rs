use super::*;
use std::collections::VecDeque;
use std::sync::mpsc;

/// Forwards what is written, after waiting for permission.
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
    assert_eq!(sink.flush(), 0);
    assert_eq!(output.recv().expect("a write"), b"one\ntwo\n");
    assert!(sink.line(b"ten\n"));
    allow.send(()).expect("the writer waits");
    assert_eq!(sink.flush(), 0);
    assert_eq!(output.recv().expect("a write"), b"ten\n");
    assert_eq!(dropped.load(Relaxed), 1);
}

/// Lines that were still waiting for a reader when the process ended used to be lost without notice.
#[test]
fn lines_that_nobody_reads_at_the_end_are_counted() {
    let (allow, allowed) = mpsc::channel();
    let (written, output) = mpsc::channel();
    let dropped = Arc::new(AtomicU64::new(0));
    let sink = Sink::start("test-sink", Slow(allowed, written), 99, Arc::clone(&dropped)).expect("a thread");
    assert!(sink.line(b"one\n") && sink.line(b"two\n"));
    // The writer has taken these and waits; the next one stays in the buffer.
    while !lock(&sink.shared.buffers[0].0).is_empty() {
        thread::yield_now();
    }
    assert!(sink.line(b"six\n"));
    assert_eq!((sink.flush(), dropped.load(Relaxed)), (3, 3));
    drop((allow, output));
}

#[test]
fn workers_have_their_own_buffers_and_keep_their_order() {
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
    assert_eq!(sink.flush(), 0);
    let lines: Vec<Vec<u8>> = output.try_iter().collect();
    assert_eq!(lines, [b"a 1\na 2\n", b"b 1\nb 2\n"]);
    assert_eq!(dropped.load(Relaxed), 1);
}

/// Accepts a given number of bytes at each call, or fails.
struct Scripted {
    calls: VecDeque<Result<usize, io::ErrorKind>>,
    taken: Vec<u8>,
}

impl Write for Scripted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = self.calls.pop_front().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
        self.taken.extend_from_slice(&bytes[..most]);
        Ok(most)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn lines_that_cannot_be_written_are_counted_and_none_is_torn() {
    use io::ErrorKind::{BrokenPipe, Interrupted, StorageFull, WouldBlock};
    const BATCHES: [&[u8]; 3] = [b"a 1\na 2\na 3\n", b"b 1\nb 2\n", b"c 1\n"];
    // The result of each call of `write`, the output, and the number of lost lines.
    type Case = (&'static [Result<usize, io::ErrorKind>], &'static [u8], u64);
    let cases: [Case; 7] = [
        (&[], b"a 1\na 2\na 3\nb 1\nb 2\nc 1\n", 0),
        (&[Ok(3), Err(WouldBlock), Ok(2), Err(Interrupted)], b"a 1\na 2\na 3\nb 1\nb 2\nc 1\n", 0),
        (&[Err(StorageFull)], b"b 1\nb 2\nc 1\n", 3),
        (&[Ok(4), Err(StorageFull)], b"a 1\nb 1\nb 2\nc 1\n", 2),
        (&[Ok(5), Err(StorageFull)], b"a 1\na 2\nb 1\nb 2\nc 1\n", 1),
        (&[Ok(5), Err(StorageFull), Err(StorageFull)], b"a 1\na 2\nc 1\n", 3),
        (&[Ok(5), Err(BrokenPipe), Ok(1), Err(BrokenPipe), Ok(2), Ok(0)], b"a 1\na 2\n", 4),
    ];
    for (calls, expected, lost) in cases {
        let dropped = Arc::new(AtomicU64::new(0));
        let sink = Sink::start("test-sink", io::sink(), 8, Arc::clone(&dropped)).expect("a thread");
        let mut to = Scripted { calls: calls.iter().copied().collect(), taken: Vec::new() };
        let mut unfinished = Vec::new();
        for batch in BATCHES {
            sink.shared.write_lines(&mut to, &mut unfinished, batch);
        }
        let taken = String::from_utf8_lossy(&to.taken).into_owned();
        assert_eq!((taken.as_bytes(), dropped.load(Relaxed)), (expected, lost), "{calls:?}: {taken:?}");
    }
}
