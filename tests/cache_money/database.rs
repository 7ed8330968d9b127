//! The application's rows.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use super::super::application::{Answer, Does, Framing, Request};
use super::KINDS;

/// How many merchants there are, each with a row of each kind.
pub(crate) const MERCHANTS: usize = 4;

/// How a change ended for who asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Well,
    /// The application said that nothing was changed.
    Refused,
    /// An error, or no answer at all.
    Badly,
}

#[derive(Default)]
struct Row {
    version: Mutex<u64>,
    /// The latest version whose change is over.
    over: AtomicU64,
}

/// A change: of which row, and the versions that its tries committed.
#[derive(Default, Clone)]
struct Change {
    row: usize,
    versions: Vec<u64>,
    /// A try of it had no answer.
    unanswered: bool,
}

pub(crate) struct Database {
    seed: u64,
    rows: Vec<Row>,
    changes: Mutex<HashMap<u64, Change>>,
    ids: AtomicU64,
    number: AtomicU64,
}

impl Database {
    pub(crate) fn new(seed: u64) -> Database {
        let rows = (0..KINDS.len() * MERCHANTS).map(|_| Row::default()).collect();
        Database { seed, rows, changes: Mutex::default(), ids: AtomicU64::new(1), number: AtomicU64::new(1) }
    }

    /// A number for a change.
    pub(crate) fn id(&self) -> u64 {
        self.ids.fetch_add(1, SeqCst)
    }

    /// Whether the application has a change.
    pub(crate) fn came(&self, id: u64) -> bool {
        self.changes.lock().unwrap().contains_key(&id)
    }

    /// The version of a row below which nobody who asks now may see anything.
    pub(crate) fn over(&self, kind: usize, merchant: usize) -> u64 {
        self.rows[kind * MERCHANTS + merchant].over.load(SeqCst)
    }

    /// A change is over. An error that the application told says nothing of the URLs that only a success ends (RFC 9111, 4.4),
    /// and where there is no answer there is no Location.
    pub(crate) fn is_over(&self, id: u64, kind: &str, end: End) {
        let change = self.changes.lock().unwrap().get(&id).cloned().unwrap_or_default();
        let held_to = match kind {
            "location" => end == End::Well,
            "own" => end == End::Well || change.unanswered,
            _ => true,
        };
        if let Some(last) = change.versions.last().filter(|_| held_to) {
            self.rows[change.row].over.fetch_max(*last, SeqCst);
        }
    }

    fn commit(&self, id: u64, row: usize) -> u64 {
        let version = {
            let mut version = self.rows[row].version.lock().unwrap();
            *version += 1;
            *version
        };
        self.changes.lock().unwrap().entry(id).or_default().versions.push(version);
        version
    }

    /// What the application does with a request.
    pub(crate) fn story(self: &std::sync::Arc<Self>, request: &Request) -> Does {
        let number = self.number.fetch_add(1, SeqCst);
        let mut random = fastrand::Rng::with_seed(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let path = request.target.split('?').next().unwrap_or_default();
        let mut parts = path.split('/').skip(1);
        let kind = parts.next().and_then(|name| KINDS.iter().position(|kind| *kind == name)).unwrap();
        let merchant: usize = parts.nth(1).and_then(|m| m.parse().ok()).unwrap();
        let row = kind * MERCHANTS + merchant;
        match request.method.as_str() {
            "GET" | "HEAD" => self.read(request, row, merchant, &mut random),
            _ => self.change(request, row, &mut random),
        }
    }

    fn read(&self, request: &Request, row: usize, merchant: usize, random: &mut fastrand::Rng) -> Does {
        work(random);
        let version = *self.rows[row].version.lock().unwrap();
        work(random);
        match random.u8(0..60) {
            0 => return Does::Reset,
            1..=2 => return Does::Answer(Answer::new(500, String::new(), b"no".to_vec())),
            3 => return Does::Answer(Answer::new(503, String::new(), b"no".to_vec())),
            _ => {}
        }
        let mut fields =
            format!("Content-Type: text/plain\r\nX-Version: v{version}\r\nSurrogate-Key: row:{merchant}, rows\r\n");
        fields += "Cache-Control: max-age=1\r\n";
        // A row that has no tag cannot be asked for again by one.
        let tagged = random.u8(0..5) > 0;
        if tagged {
            fields += &format!("ETag: \"v{version}\"\r\n");
        }
        if tagged && request.field("if-none-match") == Some(&format!("\"v{version}\"")) {
            return Does::Answer(Answer::new(304, fields, Vec::new()));
        }
        // Always of the same length: that two versions are two cannot be told by it.
        let mut answer = Answer::new(200, fields, format!("the row is at v{version:09};\n").repeat(60).into_bytes());
        answer.framing = if random.u8(0..4) == 0 { Framing::Chunked } else { Framing::Length };
        answer.broken = random.u8(0..60) == 0;
        if random.u8(0..6) == 0 {
            answer.pause = Duration::from_millis(random.u64(0..20));
        }
        Does::Answer(answer)
    }

    fn change(self: &std::sync::Arc<Self>, request: &Request, row: usize, random: &mut fastrand::Rng) -> Does {
        let id: u64 = request.field("x-id").unwrap().parse().unwrap();
        let tries = {
            let mut changes = self.changes.lock().unwrap();
            let change = changes.entry(id).or_default();
            change.row = row;
            change.versions.len()
        };
        work(random);
        // Who tries again is told that it was done: that is no success any more.
        if tries > 0 || random.u8(0..10) == 0 {
            return Does::Answer(Answer::new(409, String::new(), b"no".to_vec()));
        }
        let late =
            random.u8(0..8) == 0 && !request.target.starts_with("/own") && !request.target.starts_with("/location");
        let rows = format!("Location: {}\r\n", request.target.replace("change", "rows"));
        let mut answer = Answer::new(if random.bool() { 200 } else { 201 }, rows, b"it was done".to_vec());
        if late {
            // Its head comes before it is done.
            let database = self.clone();
            answer.pause = Duration::from_millis(random.u64(0..15));
            answer.meanwhile = Some(Box::new(move || _ = database.commit(id, row)));
            return Does::Answer(answer);
        }
        self.commit(id, row);
        work(random);
        let end = random.u8(0..24);
        self.changes.lock().unwrap().entry(id).or_default().unanswered = end <= 3;
        match end {
            0 | 1 => Does::Reset,
            2 => Does::Close,
            3 => {
                std::thread::sleep(Duration::from_millis(500));
                Does::Close
            }
            4 | 5 => Does::Answer(Answer::new(500, String::new(), b"no".to_vec())),
            6 => Does::Answer(Answer::new(503, String::new(), b"no".to_vec())),
            7 => Does::Answer(Answer::new(408, String::new(), b"no".to_vec())),
            8 => {
                answer.broken = true;
                Does::Answer(answer)
            }
            9 => {
                answer.status = 303;
                Does::Answer(answer)
            }
            _ => Does::Answer(answer),
        }
    }
}

fn work(random: &mut fastrand::Rng) {
    match random.u8(0..20) {
        0..=9 => {}
        10..=18 => std::thread::sleep(Duration::from_micros(random.u64(0..8000))),
        _ => std::thread::sleep(Duration::from_millis(random.u64(0..80))),
    }
}
