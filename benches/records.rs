//! What many idempotency records cost: the folder's bytes and a look-up, through the whole store as the proxy has it, with its
//! journal, its database and its filter. `cargo bench --bench records -- 10000000` (or a million, without a number); the
//! folder is made below TMPDIR, and takes a KiB for each record.
//!
//! The last of them are written as requests write them. Those before are put into its database, the same records in the same
//! random order of keys, many at a time: as requests they would take half an hour.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, clippy::print_stdout)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use outboard::policy::idempotency::{Claim, Hash, State, Terms};
use outboard::store::records::disk::{Disk, Op};
use outboard::store::records::{About, Answer, Local, Record, Reserve, Sealer, Seen, durable};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TERMS: Terms =
    Terms { lease: Duration::from_secs(30), ttl: Duration::from_secs(86_400), within: Duration::from_secs(20) };
/// Of an answer: 500 bytes.
const BODY: &[u8] = &[b'x'; 500];
const HEAD: &[u8] = b"Content-Type: application/json\r\nDate: Wed, 25 Nov 2026 20:00:00 GMT\r\n";
/// As many requests at once.
const CLIENTS: u64 = 1_024;
const LOOKUPS: u64 = 50_000;
/// Written by requests.
const LAST: u64 = 200_000;
/// Put into the database at a time.
const BATCH: u64 = 250_000;

/// As random as the hash of a key.
fn hash(number: u64) -> Hash {
    let mut random = fastrand::Rng::with_seed(number);
    random.u128(..).to_le_bytes()
}

fn claim(number: u64) -> Claim {
    Claim { fingerprint: hash(!number), credential: [7; 16] }
}

fn clock() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64
}

fn about(number: u64) -> About {
    About {
        route: "payments".into(),
        request: format!("{number:032x}").into(),
        owner: [1; 8],
        endpoint: "127.0.0.1:8080".into(),
    }
}

fn answer() -> Option<Answer> {
    Some(Answer { head: Bytes::from_static(HEAD), body: Bytes::from_static(BODY) })
}

/// Puts records into the database of a folder.
fn fill(folder: &Path, records: u64) {
    let disk = Disk::open(folder, 256 << 20).unwrap();
    for first in (0..records).step_by(BATCH as usize) {
        let now = clock();
        let record = |number| Record {
            state: State::Done,
            fence: number,
            claim: claim(number),
            created: now,
            sent: now,
            overdue: now,
            expires: now + TERMS.ttl.as_millis() as u64,
            about: about(number),
            status: 201,
            seen: Seen::All,
            answer: answer(),
        };
        let written = |number| (hash(number), record(number).write(&hash(number), &Sealer::default()));
        let mut batch: Vec<_> = (first..records.min(first + BATCH)).map(written).collect();
        batch.sort_unstable();
        let expires = now + TERMS.ttl.as_millis() as u64;
        disk.commit(&batch.iter().map(|(hash, record)| Op::Done(*hash, expires, record)).collect::<Vec<_>>()).unwrap();
    }
    disk.close().unwrap();
}

fn open(folder: &Path) -> Local {
    let opened = durable::open(folder, 16 << 20).unwrap();
    Local::on_disk(opened, u64::MAX, Sealer::default(), Arc::new(clock)).unwrap()
}

/// One request, from its reservation to its answer.
async fn charge(local: &Local, number: u64) {
    let (hash, claim) = (hash(number), claim(number));
    let Reserve::Mine(fence) = local.reserve(&hash, claim, &TERMS).await.unwrap() else { panic!("taken") };
    assert!(local.sent(&hash, fence, &TERMS, about(number)).await.unwrap());
    assert!(local.finish(&hash, fence, 201, answer()).await.unwrap());
}

/// Looks up keys that are there, or that are not: how long each took, in order.
async fn look_up(local: &Local, records: u64, there: bool) -> Vec<Duration> {
    let mut random = fastrand::Rng::with_seed(42);
    let mut took = Vec::new();
    for _ in 0..LOOKUPS {
        let number = random.u64(..records) + if there { 0 } else { 1 << 40 };
        let (hash, claim) = (hash(number), claim(number));
        let began = Instant::now();
        let found = local.reserve(&hash, claim, &TERMS).await.unwrap();
        took.push(began.elapsed());
        match found {
            Reserve::Mine(fence) => local.release(&hash, fence),
            Reserve::Found(found) => assert_eq!(found.record.unwrap().answer.unwrap().body, BODY),
        }
    }
    took.sort_unstable();
    took
}

/// A line of `/proc/PATH`, in kB as it is there.
fn kilobytes(path: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(Path::new("/proc").join(path)).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn show(local: &Arc<Local>, runtime: &tokio::runtime::Runtime, records: u64, when: &str) {
    for there in [true, false] {
        let local = local.clone();
        // As a request does it: in a task of the runtime.
        let task = runtime.spawn(async move { look_up(&local, records, there).await });
        let took = runtime.block_on(task).unwrap();
        let at = |percent: usize| took[took.len() * percent / 1_000].as_secs_f64() * 1e6;
        println!(
            "{when}: a key that is {}: median {:.1} us, 99 % {:.1} us, 99.9 % {:.1} us",
            if there { "there" } else { "new" },
            at(500),
            at(990),
            at(999),
        );
    }
}

fn main() {
    let records: u64 = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let filled = records.saturating_sub(LAST);
    fill(&path, filled);
    let local = Arc::new(open(&path));
    local.learn().unwrap();
    let (next, began) = (Arc::new(AtomicU64::new(filled)), Instant::now());
    runtime.block_on(async {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (local, next) = (local.clone(), next.clone());
                runtime.spawn(async move {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= records {
                            break;
                        }
                        charge(&local, number).await;
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
    });
    let took = began.elapsed().as_secs_f64();
    let written = records - filled;
    println!("{written} records behind {filled}: written in {took:.0} s, {:.0} a second", written as f64 / took);
    // The database has nothing yet of the last seconds, and is at work.
    show(&local, &runtime, records, "at once");
    local.close();
    drop(local);
    let files = std::fs::read_dir(&path).unwrap().map(|file| file.unwrap());
    let bytes: u64 = files.map(|file| file.metadata().unwrap().len()).sum();
    let each = bytes as f64 / records as f64;
    println!("the folder: {bytes} bytes, {each:.1} a record, {:.1} beside its body", each - BODY.len() as f64);
    let began = Instant::now();
    let local = Arc::new(open(&path));
    println!("opened in {:.0} ms", began.elapsed().as_secs_f64() * 1e3);
    // The filter learns the keys beside the traffic.
    local.learn().unwrap();
    println!("the filter has them after {:.1} s", began.elapsed().as_secs_f64());
    show(&local, &runtime, records, "after a restart");
    println!(
        "resident: {} MB; page cache of the machine: {} of {} MB",
        kilobytes("self/status", "VmRSS") / 1_000,
        kilobytes("meminfo", "Cached") / 1_000,
        kilobytes("meminfo", "MemTotal") / 1_000,
    );
}
