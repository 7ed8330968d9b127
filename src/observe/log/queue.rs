//! The way of a line to standard output: appended to a bounded queue by whoever has it, redacted and written by one thread.
//!
//! The queue is one buffer that is swapped with the writer's, so a line costs a copy and no allocation, and whoever logs
//! waits for nothing but that copy. What does not fit is lost and counted: a payment never waits for its log line.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use prometheus::IntCounter;

use super::Redactor;

/// Lines that wait at most.
const MAX_LINES: usize = 8192;
/// Bytes that wait at most, those in the writer's hand included.
const MAX_BYTES: usize = 8 << 20;
/// How long the writer collects lines after it was woken. A wake-up and a write for each line would cost the request
/// that logs more than everything else about its line.
const LINGER: Duration = Duration::from_millis(2);
/// Bytes handed to the output at once.
const CHUNK: usize = 64 << 10;
/// A buffer that has grown larger in a burst is given back.
const KEEP: usize = 256 << 10;

pub(super) struct Queue {
    state: Mutex<State>,
    /// The writer waits for lines.
    wake: Condvar,
    /// A flush waits for the writer.
    done: Condvar,
}

#[derive(Default)]
struct State {
    /// Lines not taken by the writer yet, each with its end.
    waiting: Vec<u8>,
    /// Lines ever queued, and ever done with: the difference is what waits.
    queued: u64,
    finished: u64,
    /// Bytes that wait or are in the writer's hand.
    bytes: usize,
    /// The writer sleeps and has to be woken.
    idle: bool,
    /// Someone does not want to linger.
    urgent: bool,
    closed: bool,
}

impl State {
    fn lines(&self) -> usize {
        (self.queued - self.finished) as usize
    }
}

impl Queue {
    /// A queue, and the thread that writes what comes in to `out`. `failed` counts lines that `out` did not take.
    pub(super) fn start(out: Box<dyn Write + Send>, redactor: Redactor, failed: IntCounter) -> io::Result<Arc<Self>> {
        let queue = Arc::new(Queue { state: Mutex::default(), wake: Condvar::new(), done: Condvar::new() });
        let writer = Writer { queue: queue.clone(), out, redactor, failed, chunk: Vec::new(), chunk_lines: 0 };
        std::thread::Builder::new().name("log".into()).spawn(move || writer.run())?;
        Ok(queue)
    }

    /// Appends a line; `false` where there is no room for it. Does not wait for the output.
    pub(super) fn push(&self, line: &[u8]) -> bool {
        let mut state = self.state.lock();
        let size = line.len() + 1;
        if state.closed || state.lines() >= MAX_LINES || state.bytes + size > MAX_BYTES {
            return false;
        }
        let start = state.waiting.len();
        state.waiting.extend_from_slice(line);
        // Lines are escaped where they are made; a line end in one would let its content pass for another line.
        if memchr::memchr(b'\n', line).is_some() {
            state.waiting[start..].iter_mut().filter(|b| **b == b'\n').for_each(|b| *b = b' ');
        }
        state.waiting.push(b'\n');
        state.queued += 1;
        state.bytes += size;
        let crowded = !state.urgent && (state.lines() * 2 >= MAX_LINES || state.bytes * 2 >= MAX_BYTES);
        let wake = std::mem::take(&mut state.idle) || crowded;
        state.urgent |= crowded;
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        true
    }

    /// Waits until what was queued so far is written; `false` if that took longer.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        let mut state = self.state.lock();
        let until = state.queued;
        state.urgent = true;
        self.wake.notify_one();
        self.done.wait_while_for(&mut state, |state| state.finished < until, timeout);
        state.finished >= until
    }

    /// Takes no more lines; the writer ends when it has written what waits.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_one();
    }
}

struct Writer {
    queue: Arc<Queue>,
    out: Box<dyn Write + Send>,
    redactor: Redactor,
    failed: IntCounter,
    chunk: Vec<u8>,
    chunk_lines: u64,
}

impl Writer {
    fn run(mut self) {
        let mut hand = Vec::new();
        while self.take(&mut hand) {
            let mut lines = 0;
            for line in hand.split_inclusive(|b| *b == b'\n') {
                self.line(&line[..line.len() - 1]);
                lines += 1;
            }
            self.write_chunk();
            let mut state = self.queue.state.lock();
            state.finished += lines;
            state.bytes -= hand.len();
            self.queue.done.notify_all();
            drop(state);
            hand.clear();
            hand.shrink_to(KEEP);
        }
    }

    /// Waits for lines and takes all there are; `false` at the end.
    fn take(&self, hand: &mut Vec<u8>) -> bool {
        let mut state = self.queue.state.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return false;
            }
            state.idle = true;
            self.queue.wake.wait(&mut state);
        }
        state.idle = false;
        if !state.urgent && !state.closed {
            self.queue.wake.wait_for(&mut state, LINGER);
        }
        state.urgent = false;
        std::mem::swap(&mut state.waiting, hand);
        true
    }

    fn line(&mut self, line: &[u8]) {
        let start = self.chunk.len();
        let redacted = catch_unwind(AssertUnwindSafe(|| (self.redactor)(line, &mut self.chunk)));
        if redacted.is_err() {
            // Half of a line may be the half that nobody should see.
            self.chunk.truncate(start);
            self.failed.inc();
            return;
        }
        self.chunk.push(b'\n');
        self.chunk_lines += 1;
        if self.chunk.len() >= CHUNK {
            self.write_chunk();
        }
    }

    fn write_chunk(&mut self) {
        if write_all(&mut *self.out, &self.chunk).is_err() {
            self.failed.inc_by(self.chunk_lines);
        }
        self.chunk.clear();
        self.chunk.shrink_to(KEEP);
        self.chunk_lines = 0;
    }
}

/// `Write::write_all`, but an output that somebody made non-blocking is waited for instead of failing.
fn write_all(out: &mut dyn Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => bytes = &bytes[n..],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => std::thread::park_timeout(Duration::from_millis(5)),
            Err(e) => return Err(e),
        }
    }
    out.flush()
}
