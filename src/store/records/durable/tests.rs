//! The journal and the database together: what is told to be durable is there, whatever ends when. Nothing here sleeps; one
//! test runs itself again as a child, to be killed.

mod bench;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicU64;

use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::policy::idempotency::hex;

const MEMORY: usize = 4 << 20;

/// The folder that a test gives to its child.
const FOLDER: &str = "OUTBOARD_TEST_DURABLE";

fn hash(number: u64) -> Hash {
    let mut hash = [7; 16];
    hash[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    hash
}

fn record(number: u64, bytes: usize) -> Vec<u8> {
    hash(number).into_iter().cycle().take(bytes).collect()
}

/// A folder with records, and the clock of those who write them.
struct Stage {
    _dir: TempDir,
    folder: PathBuf,
    now: Arc<AtomicU64>,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("records");
        Stage { _dir: dir, folder, now: Arc::new(AtomicU64::new(1_000_000)) }
    }

    fn start(&self) -> Durable {
        let now = self.now.clone();
        Durable::start(open(&self.folder, MEMORY).unwrap(), Arc::new(move || now.load(Ordering::SeqCst))).unwrap()
    }

    /// What a process leaves behind that is killed now.
    fn killed(&self) -> Stage {
        let copy = Stage::new();
        std::fs::create_dir(&copy.folder).unwrap();
        std::fs::set_permissions(&copy.folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        // The journal first: a generation that the database gets meanwhile is in both.
        let mut names: Vec<_> = std::fs::read_dir(&self.folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort_by_key(|name| !name.to_string_lossy().contains("journal"));
        for name in names {
            std::fs::copy(self.folder.join(&name), copy.folder.join(&name)).unwrap();
        }
        copy
    }

    fn sql(&self, sql: &str) -> Connection {
        let database = Connection::open(self.folder.join("records.db")).unwrap();
        database.execute_batch(sql).unwrap();
        database
    }

    /// The database takes nothing more.
    fn fails(&self) {
        self.sql("CREATE TRIGGER stop BEFORE UPDATE ON meta BEGIN SELECT RAISE(ABORT, 'stopped'); END");
    }

    fn works(&self) {
        self.sql("DROP TRIGGER stop");
    }

    fn pass(&self) {
        self.now.fetch_add(6_000, Ordering::SeqCst);
    }
}

fn submit(durable: &Durable, orders: Vec<Order>) -> Result<(), StoreError> {
    let told: Vec<_> = orders.into_iter().map(|order| durable.submit(order)).collect();
    told.into_iter().try_for_each(|told| told.blocking_recv().unwrap())
}

fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    for _ in 0..4_000 {
        if is() {
            return;
        }
        std::thread::yield_now();
        // A thread of its own is waited for, not a time.
        std::thread::park_timeout(Duration::from_millis(5));
    }
    panic!("{what}: it never happened");
}

fn opened(durable: &Durable) -> BTreeMap<Hash, Vec<u8>> {
    durable.open_records().unwrap().into_iter().collect()
}

#[test]
fn what_is_in_the_journal_alone_is_seen_as_if_the_database_had_it() {
    let stage = Stage::new();
    {
        let durable = stage.start();
        submit(
            &durable,
            vec![
                Order::Open(hash(1), b"a".to_vec()),
                Order::Done(hash(2), 1 << 50, b"b".to_vec()),
                Order::Done(hash(3), 1 << 50, b"c".to_vec()),
                Order::Open(hash(4), b"d".to_vec()),
            ],
        )
        .unwrap();
    }
    stage.pass();
    let durable = stage.start();
    assert_eq!(durable.shared.pending.len(), 0, "closing it left nothing");
    let look = |durable: &Durable| {
        let done = [1, 2, 3, 4].map(|n| durable.done(&hash(n)).unwrap());
        assert_eq!(done, [Some(b"e".to_vec()), Some(b"b".to_vec()), None, None]);
    };
    submit(
        &durable,
        vec![
            Order::Done(hash(1), 1 << 50, b"e".to_vec()),
            Order::Open(hash(2), b"f".to_vec()),
            Order::Remove(hash(3)),
            Order::Remove(hash(4)),
        ],
    )
    .unwrap();
    look(&durable);
    assert_eq!((durable.shared.pending.len(), durable.len()), (1, 3), "what goes is counted until it has gone");
    let killed = stage.killed();
    drop(durable);
    for stage in [stage, killed] {
        let durable = stage.start();
        look(&durable);
        assert_eq!(opened(&durable), [(hash(2), b"f".to_vec())].into());
        eventually("the database has it", || durable.shared.pending.len() == 0);
        look(&durable);
        assert_eq!((durable.len(), durable.hashes(&[0; 16], 9).unwrap().len()), (2, 2));
    }
}

#[test]
fn the_database_gets_it_within_a_turn_and_what_ended_goes() {
    let stage = Stage::new();
    let durable = stage.start();
    submit(&durable, vec![Order::Done(hash(1), 1_000_500, record(1, 600)), Order::Done(hash(2), 1 << 50, vec![])])
        .unwrap();
    assert_eq!((durable.shared.disk.len(), durable.len()), (0, 2));
    eventually("the one that ended has gone", || {
        stage.pass();
        durable.shared.disk.len() == 1 && durable.len() == 1
    });
    assert_eq!((durable.done(&hash(1)).unwrap(), durable.done(&hash(2)).unwrap()), (None, Some(vec![])));
    // The time goes with what is written.
    let seen = open(&stage.killed().folder, MEMORY).unwrap().last_seen();
    assert!(seen >= 1_000_000, "{seen}");
    submit(&durable, vec![Order::Remove(hash(5))]).unwrap();
    // Also with what the database does not have yet.
    let seen = open(&stage.killed().folder, MEMORY).unwrap().last_seen();
    assert_eq!(seen, stage.now.load(Ordering::SeqCst));
}

#[test]
fn what_the_database_does_not_take_stays_in_the_journal() {
    let stage = Stage::new();
    let durable = stage.start();
    stage.fails();
    submit(&durable, (0..50).map(|n| Order::Done(hash(n), 1 << 50, record(n, 600))).collect()).unwrap();
    stage.pass();
    eventually("it was tried", || durable.shared.hand.lock().failed.is_some());
    assert_eq!(durable.broken(), None, "there is room in the journal");
    submit(&durable, (50..99).map(|n| Order::Done(hash(n), 1 << 50, record(n, 600))).collect()).unwrap();
    drop(durable);
    // A process that begins with such a database says so, and knows what it has.
    let durable = stage.start();
    eventually("it says so", || durable.broken().is_some());
    assert!((0..99).all(|n| durable.done(&hash(n)).unwrap() == Some(record(n, 600))));
    assert_eq!(durable.len(), 99);
    stage.works();
    eventually("it works again", || {
        stage.pass();
        durable.broken().is_none()
    });
    submit(&durable, vec![Order::Open(hash(0), vec![])]).unwrap();
    drop(durable);
    let durable = stage.start();
    assert_eq!((durable.shared.disk.len(), opened(&durable).len()), (99, 1));
}

#[test]
fn a_generation_that_the_database_has_in_part_is_whole_for_who_asks_and_goes_on_where_it_failed() {
    let stage = Stage::new();
    let durable = stage.start();
    // The last of its pieces is not taken.
    let last = (0..50).map(hash).max().unwrap();
    let stop = "CREATE TRIGGER stop BEFORE INSERT ON done WHEN lower(hex(NEW.hash)) =";
    stage.sql(&format!("{stop} '{}' BEGIN SELECT RAISE(ABORT, 'stopped'); END", hex(&last)));
    let orders = (0..50).map(|n| Order::Done(hash(n), 1 << 50, record(n, 600)));
    submit(&durable, orders.chain((50..55).map(|n| Order::Open(hash(n), vec![1]))).collect()).unwrap();
    stage.pass();
    eventually("it was tried", || durable.shared.hand.lock().failed.is_some());
    let in_part = durable.shared.disk.len();
    assert!((1..50).contains(&in_part), "{in_part}");
    let whole = |durable: &Durable| {
        assert!((0..50).all(|n| durable.done(&hash(n)).unwrap() == Some(record(n, 600))));
        assert_eq!(opened(durable).len(), 5);
    };
    whole(&durable);
    assert_eq!(durable.len(), 50, "none is counted twice");
    let killed = stage.killed();
    whole(&killed.start());
    stage.works();
    eventually("it goes on", || durable.shared.pending.snapshot().is_empty());
    assert_eq!((durable.shared.disk.len(), durable.shared.pending.len()), (50, 0));
    whole(&durable);
}

#[test]
fn where_both_files_are_full_steps_wait_for_a_slow_database_and_fail_with_one_that_fails() {
    let stage = Stage::new();
    let durable = stage.start();
    // So many of them are a file's worth.
    let file = journal::ROOM / 254_000;
    let large = |n| Order::Done(hash(n), 1 << 50, record(n, 250_000));
    let begun = stage.sql("BEGIN IMMEDIATE");
    let mut told: Vec<_> = (0..220).map(|n| durable.submit(large(n))).collect();
    told.drain(..file).for_each(|told| told.blocking_recv().unwrap().unwrap());
    assert_eq!(durable.shared.disk.len(), 0);
    let is_waiting = |told: &mut oneshot::Receiver<_>| told.try_recv().is_err();
    assert!(told.iter_mut().rev().take(30).all(is_waiting));
    begun.execute_batch("ROLLBACK").unwrap();
    told.into_iter().for_each(|told| told.blocking_recv().unwrap().unwrap());
    eventually("all of it is there", || (0..220).all(|n| durable.done(&hash(n)).unwrap().is_some()));

    stage.fails();
    let (mut last, mut failed) = (220, None);
    while failed.is_none() {
        assert!(last < 500);
        failed = submit(&durable, vec![large(last)]).err();
        last += u64::from(failed.is_none());
    }
    assert!(last >= 220 + file as u64 - 1, "{last}");
    assert!(durable.broken().is_some_and(|cause| cause.contains("records.db")));
    assert_eq!(durable.done(&hash(last)).unwrap(), None, "what failed is not there");
    // Where a request can be noted and its answer finds no room, no more requests are to be sent.
    submit(&durable, vec![Order::Open(hash(last), vec![])]).unwrap();
    assert!(durable.broken().is_some());
    stage.works();
    eventually("it works again", || {
        stage.pass();
        durable.broken().is_none()
    });
    submit(&durable, vec![large(last)]).unwrap();
    drop(durable);
    let durable = stage.start();
    assert_eq!(durable.shared.disk.len(), last + 1);
    assert!((0..=last).all(|n| durable.done(&hash(n)).unwrap() == Some(record(n, 250_000))));
}

#[test]
fn a_record_that_no_file_holds_is_refused_alone_and_large_ones_are_split() {
    let stage = Stage::new();
    let durable = stage.start();
    assert!(submit(&durable, vec![Order::Done(hash(1), 1 << 50, vec![1; 17 << 20])]).is_err());
    assert_eq!(durable.broken(), None);
    submit(&durable, (2..30).map(|n| Order::Done(hash(n), 1 << 50, record(n, 1_100_000))).collect()).unwrap();
    drop(durable);
    let durable = stage.start();
    assert_eq!(durable.len(), 28);
    assert!((2..30).all(|n| durable.done(&hash(n)).unwrap() == Some(record(n, 1_100_000))));
}

#[test]
fn a_damaged_journal_is_not_begun_with() {
    let stage = Stage::new();
    let durable = stage.start();
    (0..5).for_each(|n| submit(&durable, vec![Order::Open(hash(n), record(n, 900))]).unwrap());
    let killed = stage.killed();
    let file = killed.folder.join("records.journal.0");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[2 * 4096 + 4096 + 200] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let error = open(&killed.folder, MEMORY).err().unwrap().to_string();
    assert!(error.contains("records.journal.0") && error.contains("damaged"), "{error}");
}

/// Says each number that was told to be durable: four at a time, with turns in between.
#[test]
#[ignore = "a child of the test below"]
fn committing() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("run by a test"));
    let now = Arc::new(AtomicU64::new(1));
    let clock = now.clone();
    let durable =
        Durable::start(open(&folder, MEMORY).unwrap(), Arc::new(move || clock.load(Ordering::SeqCst))).unwrap();
    let first = (0..).find(|n| durable.done(&hash(*n)).unwrap().is_none()).unwrap();
    for n in first.. {
        submit(&durable, vec![Order::Open(hash(n), b"open".to_vec())]).unwrap();
        submit(&durable, vec![Order::Done(hash(n), 1 << 50, record(n, 700)), Order::Open(hash(n + 1), vec![])])
            .unwrap();
        // A turn now and again, at other places each time.
        now.fetch_add(157, Ordering::SeqCst);
        println!("\ncommitted {n}");
    }
}

#[test]
fn a_process_that_is_killed_loses_nothing_that_was_told_to_be_durable() {
    let stage = Stage::new();
    let module = module_path!().split_once("::").map_or("", |(_, module)| module);
    for round in 1..=8 {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &format!("{module}::committing"), "--ignored", "--nocapture", "--test-threads=1"]);
        let mut child = command.env(FOLDER, &stage.folder).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let committed = |line: String| line.strip_prefix("committed ").map(|n| n.parse::<u64>().unwrap());
        let mut last = lines.by_ref().filter_map(committed).nth(90 * round).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        last = lines.filter_map(committed).last().unwrap_or(last);
        let killed = stage.killed();
        for stage in [&killed, &stage] {
            let durable = stage.start();
            let count = (0..).find(|n| durable.done(&hash(*n)).unwrap().is_none()).unwrap();
            assert!(count == last + 1 || count == last + 2, "{last} was committed, {count} are there");
            assert!((0..count).all(|n| durable.done(&hash(n)).unwrap() == Some(record(n, 700))));
            assert_eq!(opened(&durable).keys().copied().collect::<Vec<_>>(), [hash(count)]);
            drop(durable);
            assert_eq!(stage.start().shared.disk.len(), count);
        }
    }
}

#[derive(Debug, Clone)]
enum Event {
    Open(u64, u8),
    Done(u64, u8),
    Remove(u64),
    /// So many of the steps before were submitted at once.
    Turn,
    Kill,
    Close,
}

fn event() -> impl Strategy<Value = Event> {
    let key = 0u64..6;
    prop_oneof![
        4 => (key.clone(), any::<u8>()).prop_map(|(key, with)| Event::Open(key, with)),
        4 => (key.clone(), any::<u8>()).prop_map(|(key, with)| Event::Done(key, with)),
        2 => key.prop_map(Event::Remove),
        2 => Just(Event::Turn),
        2 => Just(Event::Kill),
        1 => Just(Event::Close),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// Whatever steps and ends in whatever order: what is known is what the steps say, done one after the other.
    #[test]
    fn what_is_known_is_what_was_told(events in proptest::collection::vec(event(), 1..40)) {
        let mut stage = Stage::new();
        let mut durable = stage.start();
        let (mut open, mut done) = (BTreeMap::new(), BTreeMap::new());
        for event in events.into_iter().chain([Event::Kill, Event::Close]) {
            match event {
                Event::Open(key, with) => {
                    submit(&durable, vec![Order::Open(hash(key), vec![with; 40])]).unwrap();
                    open.insert(hash(key), vec![with; 40]);
                }
                Event::Done(key, with) => {
                    submit(&durable, vec![Order::Done(hash(key), 1 << 50, vec![with; 90])]).unwrap();
                    open.remove(&hash(key));
                    done.insert(hash(key), vec![with; 90]);
                }
                Event::Remove(key) => {
                    submit(&durable, vec![Order::Remove(hash(key))]).unwrap();
                    open.remove(&hash(key));
                    done.remove(&hash(key));
                }
                Event::Turn => stage.pass(),
                Event::Kill | Event::Close => {
                    let killed = matches!(event, Event::Kill).then(|| stage.killed());
                    drop(durable);
                    if let Some(killed) = killed {
                        stage = killed;
                    }
                    durable = stage.start();
                    prop_assert_eq!(&opened(&durable), &open);
                    prop_assert!(durable.len() >= done.len() as u64);
                }
            }
            for key in 0..6 {
                prop_assert_eq!(durable.done(&hash(key)).unwrap(), done.get(&hash(key)).cloned());
            }
        }
        eventually("the database has all", || durable.shared.pending.len() == 0);
        let hashes: BTreeSet<_> = durable.hashes(&[0; 16], 99).unwrap().into_iter().collect();
        prop_assert_eq!(hashes, done.keys().copied().collect::<BTreeSet<_>>());
        prop_assert_eq!(durable.len(), done.len() as u64);
    }
}
