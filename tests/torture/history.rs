//! What everybody in a run wrote down: the clients what they were told, the application what it did, the network and the
//! processes what was done to them. Times are counted from the run's beginning.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Since the run began.
pub(super) type At = Duration;

/// An answer of the application, as it was written or as it was read.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) status: u16,
    pub(super) content_type: String,
    /// The first half of the SHA-256 of the body: a long run remembers a great many of them.
    pub(super) body: u128,
    /// The charge that the body names.
    pub(super) charge: Option<u64>,
}

/// What has to become of the key after the application did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A whole answer, which is kept and replayed.
    Kept,
    /// An answer that says that nothing was begun.
    Released,
    /// Nobody can know: no answer, half an answer, or one that says as much.
    Unknown,
    /// Answered, and too long to keep.
    NotKept,
}

/// One request that the application got.
#[derive(Debug, Clone)]
pub(super) struct Receipt {
    pub(super) at: At,
    /// In words.
    pub(super) did: &'static str,
    pub(super) verdict: Verdict,
    /// The answer, where it wrote a whole one.
    pub(super) said: Option<Said>,
    /// When the last byte of it was written.
    pub(super) done: Option<At>,
}

/// A line of the ledger.
#[derive(Debug, Clone)]
pub(super) struct Charge {
    pub(super) key: String,
    pub(super) id: u64,
    pub(super) amount: u64,
    pub(super) at: At,
}

/// What a try of a client came to.
#[derive(Debug, Clone)]
pub(super) enum Got {
    /// No answer: refused, reset, cut off, or not waited for.
    Nothing(&'static str),
    /// An answer of the application; not `whole` where its end cannot be told from a cut.
    Answer { said: Said, replayed: bool, whole: bool },
    /// The sidecar's own.
    Refusal { status: u16, reason: String, retry_after: bool },
}

/// One try of a key.
#[derive(Debug, Clone)]
pub(super) struct Try {
    pub(super) from: At,
    pub(super) to: At,
    pub(super) got: Got,
}

/// What was done to the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// A sidecar was killed.
    Killed,
    /// A sidecar stood still.
    Paused,
    /// A sidecar was asked to end, and given the time.
    Ended,
    /// The shared store could not be reached, or did not answer.
    Store,
    /// A connection to the application was cut or stalled, on which this key was seen last.
    Network(Option<String>),
}

#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) from: At,
    pub(super) to: At,
    pub(super) what: What,
}

/// All of it.
#[derive(Default)]
pub(super) struct History {
    pub(super) tries: HashMap<String, Vec<Try>>,
    /// What was asked for, by key.
    pub(super) amounts: HashMap<String, u64>,
    pub(super) receipts: HashMap<String, Vec<Receipt>>,
    pub(super) ledger: Vec<Charge>,
    pub(super) events: Vec<Event>,
}

/// Where it is written while the run goes on.
pub(super) struct Book {
    began: Instant,
    history: Mutex<History>,
    charged: Mutex<HashMap<String, u64>>,
    doubled: AtomicBool,
}

impl Book {
    pub(super) fn new() -> Book {
        let (history, charged) = (Mutex::default(), Mutex::default());
        Book { began: Instant::now(), history, charged, doubled: AtomicBool::new(false) }
    }

    pub(super) fn now(&self) -> At {
        self.began.elapsed()
    }

    pub(super) fn open(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap()
    }

    /// A client begins with a key.
    pub(super) fn begins(&self, key: &str, amount: u64) {
        let mut history = self.open();
        history.amounts.insert(key.to_owned(), amount);
        history.tries.entry(key.to_owned()).or_default();
    }

    /// A try is over.
    pub(super) fn tried(&self, key: &str, from: At, got: Got) {
        let to = self.now();
        self.open().tries.entry(key.to_owned()).or_default().push(Try { from, to, got });
    }

    /// The application got a request; how many it had of this key before. Until more is known, nothing is.
    pub(super) fn receives(&self, key: &str) -> usize {
        let at = self.now();
        let mut history = self.open();
        let receipts = history.receipts.entry(key.to_owned()).or_default();
        receipts.push(Receipt { at, did: "was interrupted", verdict: Verdict::Unknown, said: None, done: None });
        receipts.len() - 1
    }

    /// What it does with it, said before the first byte of an answer.
    pub(super) fn does(&self, key: &str, which: usize, did: &'static str, verdict: Verdict, said: Option<Said>) {
        let mut history = self.open();
        let receipt = history.receipts.get_mut(key).and_then(|receipts| receipts.get_mut(which)).unwrap();
        (receipt.did, receipt.verdict, receipt.said) = (did, verdict, said);
    }

    /// The answer is written to its last byte.
    pub(super) fn wrote(&self, key: &str, which: usize) {
        let at = self.now();
        let mut history = self.open();
        let receipt = history.receipts.get_mut(key).and_then(|receipts| receipts.get_mut(which)).unwrap();
        receipt.done = Some(at);
    }

    /// A line of the ledger.
    pub(super) fn charges(&self, key: &str, id: u64, amount: u64) {
        let at = self.now();
        self.open().ledger.push(Charge { key: key.to_owned(), id, amount, at });
        if self.charged.lock().unwrap().insert(key.to_owned(), id).is_some() {
            self.doubled.store(true, SeqCst);
        }
    }

    /// Whether somebody was charged twice already.
    pub(super) fn doubled(&self) -> bool {
        self.doubled.load(SeqCst)
    }

    pub(super) fn happened(&self, from: At, what: What) {
        let to = self.now();
        self.open().events.push(Event { from, to, what });
    }
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Said { status, content_type, body, charge } = self;
        write!(f, "{status} {content_type} {body:032x} charge {charge:?}")
    }
}

impl Said {
    /// Bodies here begin with a line `{"charge":7,…}`, or `null` where nothing was charged.
    pub(super) fn new(status: u16, content_type: &str, body: &[u8]) -> Said {
        let digest = ring::digest::digest(&ring::digest::SHA256, body);
        let half = digest.as_ref().first_chunk::<16>().copied().unwrap_or_default();
        let line = body.split(|b| *b == b'\n').next().unwrap_or_default();
        let line: Option<serde_json::Value> = serde_json::from_slice(line).ok();
        let charge = line.and_then(|line| line["charge"].as_u64());
        Said { status, content_type: content_type.to_owned(), body: u128::from_be_bytes(half), charge }
    }
}
