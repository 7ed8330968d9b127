//! Nothing here sleeps or reads a clock. Two tests run themselves again as a child: to be killed, and on a full disk.

mod damage;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::open::{DATABASE, FORMAT, LOG, is_read};
use super::*;

/// The folder that a test gives to its child.
const FOLDER: &str = "OUTBOARD_TEST_RECORDS";

const MEMORY: usize = 4 << 20;

fn hash(number: u64) -> Hash {
    let mut hash = [7; 16];
    hash[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    hash
}

/// Another than that.
fn other(number: u64) -> Hash {
    hash(number).map(|byte| !byte)
}

fn record(number: u64, bytes: usize) -> Vec<u8> {
    hash(number).into_iter().cycle().take(bytes).collect()
}

fn folder() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("state").join("records");
    (dir, folder)
}

fn open(folder: &Path) -> Disk {
    Disk::open(folder, MEMORY).unwrap()
}

/// The hashes of open records, in order.
fn opened(disk: &Disk) -> Vec<Hash> {
    let mut hashes: Vec<_> = disk.open_records().unwrap().into_iter().map(|(hash, _)| hash).collect();
    hashes.sort_unstable();
    hashes
}

/// A child of the tests: this program again, with one test that is ignored otherwise.
fn child(test: &str, folder: &Path) -> Vec<std::ffi::OsString> {
    let module = module_path!().split_once("::").map_or("", |(_, module)| module);
    let name = format!("{module}::{test}");
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", &name, "--ignored", "--nocapture", "--test-threads=1"].map(Into::into);
    let folder = format!("{FOLDER}={}", folder.display());
    ["env".into(), folder.into(), program.into()].into_iter().chain(arguments).collect()
}

fn given() -> PathBuf {
    std::env::var_os(FOLDER).expect("run by a test").into()
}

#[test]
fn what_was_committed_is_there_after_a_restart() {
    let (_dir, folder) = folder();
    let disk = open(&folder);
    disk.commit(&[Op::Open(hash(1), b"one"), Op::Open(hash(2), b"two"), Op::Open(hash(3), b"three")]).unwrap();
    let large = record(9, 300_000);
    disk.commit(&[Op::Done(hash(2), 50, &large), Op::Remove(hash(3)), Op::Done(hash(4), 60, b"")]).unwrap();
    let look = |disk: &Disk| {
        assert_eq!(disk.open_records().unwrap(), [(hash(1), b"one".to_vec())]);
        assert_eq!(disk.done(&hash(1)).unwrap(), None);
        assert_eq!(disk.done(&hash(2)).unwrap().as_ref(), Some(&large));
        assert_eq!(disk.done(&hash(4)).unwrap(), Some(Vec::new()));
        assert_eq!((disk.len(), disk.is_empty()), (2, false));
    };
    look(&disk);
    drop(disk);
    look(&open(&folder));
    open(&folder).close().unwrap();
    assert!(!folder.join(LOG).exists(), "closed, all of it is in the database");
    let disk = open(&folder);
    look(&disk);
    disk.commit(&[Op::Remove(hash(2)), Op::Remove(hash(4)), Op::Remove(hash(5))]).unwrap();
    assert!(disk.is_empty());
}

#[test]
fn the_steps_of_a_batch_follow_one_another() {
    let (_dir, folder) = folder();
    let disk = open(&folder);
    let steps = [Op::Open(hash(1), b"a"), Op::Done(hash(1), 9, b"b"), Op::Remove(hash(1)), Op::Open(hash(1), b"c")];
    disk.commit(&steps).unwrap();
    assert_eq!(disk.open_records().unwrap(), [(hash(1), b"c".to_vec())]);
    assert_eq!((disk.done(&hash(1)).unwrap(), disk.len()), (None, 0));
    disk.commit(&[Op::Done(hash(1), 9, b"d"), Op::Open(hash(1), b"e")]).unwrap();
    assert_eq!(
        (disk.done(&hash(1)).unwrap(), opened(&disk)),
        (Some(b"d".to_vec()), vec![hash(1)]),
        "the done one stays"
    );
}

#[test]
fn records_go_when_they_expire_the_oldest_first() {
    let (_dir, folder) = folder();
    let disk = open(&folder);
    let ops: Vec<_> = (1..=10).map(|n| Op::Done(hash(n), 1000 - n, b"x")).collect();
    disk.commit(&ops).unwrap();
    assert_eq!(disk.expire(989, 5).unwrap(), 0);
    assert_eq!(disk.expire(992, 2).unwrap(), 2);
    assert_eq!((disk.done(&hash(10)).unwrap(), disk.done(&hash(9)).unwrap(), disk.len()), (None, None, 8));
    assert_eq!(disk.expire(992, 5).unwrap(), 1, "at its time it is gone");
    assert_eq!(disk.expire(992, 5).unwrap(), 0);
    drop(disk);
    let disk = open(&folder);
    assert_eq!(
        (disk.len(), disk.done(&hash(8)).unwrap(), disk.done(&hash(7)).unwrap()),
        (7, None, Some(b"x".to_vec()))
    );
    assert_eq!(disk.expire(u64::MAX, usize::MAX).unwrap(), 7);
    disk.commit(&[Op::Done(hash(1), u64::MAX, b"for ever")]).unwrap();
    assert_eq!((disk.expire(1 << 60, 5).unwrap(), disk.len()), (0, 1));
}

#[test]
fn a_record_that_is_overwritten_expires_once_and_at_its_new_time() {
    let (_dir, folder) = folder();
    let disk = open(&folder);
    disk.commit(&[Op::Done(hash(1), 10, b"old")]).unwrap();
    disk.commit(&[Op::Done(hash(1), 99, b"new")]).unwrap();
    assert_eq!((disk.expire(50, 9).unwrap(), disk.len()), (0, 1));
    assert_eq!(disk.done(&hash(1)).unwrap(), Some(b"new".to_vec()));
    disk.commit(&[Op::Done(hash(1), 20, b"newer")]).unwrap();
    assert_eq!((disk.expire(50, 9).unwrap(), disk.expire(100, 9).unwrap(), disk.len()), (1, 0, 0));
    disk.commit(&[Op::Done(hash(1), 10, b"x"), Op::Remove(hash(1))]).unwrap();
    assert_eq!((disk.expire(100, 9).unwrap(), disk.len()), (0, 0));
}

#[test]
fn the_latest_time_is_kept_with_a_commit() {
    let (_dir, folder) = folder();
    let disk = open(&folder);
    assert_eq!(disk.last_seen(), 0);
    disk.saw(500);
    disk.saw(400);
    assert_eq!(disk.last_seen(), 500);
    drop(disk);
    let disk = open(&folder);
    assert_eq!(disk.last_seen(), 0, "nothing was committed");
    disk.saw(600);
    disk.commit(&[]).unwrap();
    drop(disk);
    let disk = open(&folder);
    assert_eq!(disk.last_seen(), 600);
    disk.saw(700);
    assert_eq!(disk.expire(700, 9).unwrap(), 0, "writes nothing");
    disk.close().unwrap();
    assert_eq!(open(&folder).last_seen(), 700);
}

#[test]
fn one_has_the_folder_and_the_other_is_told_which() {
    let (_dir, folder) = folder();
    let disk = open(&folder);
    let error = Disk::open(&folder, MEMORY).unwrap_err();
    assert!(matches!(&error, OpenError::InUse(path) if *path == folder), "{error:?}");
    assert!(error.to_string().contains(folder.to_str().unwrap()));
    disk.commit(&[Op::Open(hash(1), b"x")]).unwrap();
    drop(disk);
    assert_eq!(opened(&open(&folder)), [hash(1)]);
}

#[test]
fn the_folder_is_its_owners_alone() {
    let (_dir, folder) = folder();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    drop(open(&folder));
    assert_eq!((mode(&folder), mode(folder.parent().unwrap()), mode(&folder.join(DATABASE))), (0o700, 0o700, 0o600));
    for wider in [0o750, 0o701, 0o777] {
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(wider)).unwrap();
        let error = Disk::open(&folder, MEMORY).unwrap_err();
        assert!(matches!(error, OpenError::Permissions { mode, .. } if mode == wider), "{error:?}");
        assert!(error.to_string().contains(&format!("{wider:04o}")), "{error}");
    }
}

#[test]
fn other_formats_are_refused_with_both_named() {
    let (_dir, folder) = folder();
    let disk = open(&folder);
    disk.commit(&[Op::Done(hash(1), 9, b"x")]).unwrap();
    disk.close().unwrap();
    let set = |pragma: &str, value: i64| {
        let database = Connection::open(folder.join(DATABASE)).unwrap();
        database.pragma_update(None, pragma, value).unwrap();
    };
    for found in [FORMAT + 1, FORMAT - 2] {
        set("user_version", found);
        let error = Disk::open(&folder, MEMORY).unwrap_err();
        assert!(matches!(error, OpenError::Format { found: it, newest: FORMAT, .. } if it == found), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(&format!("format {found};")) && text.contains(&format!("to {FORMAT}")), "{text}");
    }
    set("user_version", FORMAT);
    assert_eq!(open(&folder).len(), 1);
    set("application_id", 5);
    assert!(matches!(Disk::open(&folder, MEMORY).unwrap_err(), OpenError::Foreign(_)));
    assert_eq!((is_read(FORMAT), is_read(FORMAT + 1), is_read(0)), (true, false, false));
}

#[test]
fn look_ups_go_on_beside_commits() {
    let (_dir, folder) = folder();
    let disk = open(&folder);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                // What was seen once stays, and the order is that of the commits.
                let mut most = 0;
                while most < 300 {
                    let there = disk.done(&hash(most + 1)).unwrap();
                    most += u64::from(there.is_some_and(|is| is == record(most + 1, 600)));
                }
            });
        }
        for n in 1..=300 {
            disk.commit(&[Op::Open(hash(n), b"open")]).unwrap();
            disk.commit(&[Op::Done(hash(n), n, &record(n, 600))]).unwrap();
        }
    });
    assert_eq!((disk.len(), disk.open_records().unwrap()), (300, vec![]));
}

/// That the disk has it cannot be seen from here: only that SQLite is told to wait for it.
#[test]
fn each_transaction_is_synced_after_a_failure_too() {
    let (_dir, folder) = folder();
    let disk = open(&folder);
    for failed in [false, true] {
        locked(&disk.writer).failed = failed;
        disk.commit(&[Op::Remove(hash(1))]).unwrap();
        let writer = locked(&disk.writer);
        let text = |sql| writer.connection.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
        let number = |sql| writer.connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        const FULL: i64 = 2;
        assert_eq!((text("PRAGMA journal_mode").as_str(), number("PRAGMA synchronous")), ("wal", FULL));
        assert_eq!(number("PRAGMA cache_size"), -(MEMORY as i64) / 4 * 3 / 1024);
    }
}

#[test]
fn after_a_failure_the_log_is_emptied_first() {
    let (_dir, folder) = folder();
    let disk = open(&folder);
    disk.commit(&[Op::Done(hash(1), 9, b"x")]).unwrap();
    let length = || folder.join(LOG).metadata().unwrap().len();
    let before = length();
    locked(&disk.writer).failed = true;
    disk.commit(&[Op::Open(hash(2), b"y")]).unwrap();
    assert!(length() < before, "{} of {before}", length());
    assert_eq!((disk.done(&hash(1)).unwrap(), opened(&disk)), (Some(b"x".to_vec()), vec![hash(2)]));
    drop(disk);
    let disk = open(&folder);
    assert_eq!((disk.len(), opened(&disk)), (1, vec![hash(2)]));
}

#[test]
fn a_batch_that_fails_is_undone_and_the_next_one_is_not() {
    let (_dir, folder) = folder();
    let disk = open(&folder);
    let meta = |from, to| {
        let other = Connection::open(folder.join(DATABASE)).unwrap();
        other.execute_batch(&format!("ALTER TABLE {from} RENAME TO {to}")).unwrap();
    };
    meta("meta", "gone");
    disk.saw(5);
    let batch = [Op::Open(hash(1), b"x"), Op::Done(hash(2), 9, b"y")];
    let error = disk.commit(&batch).unwrap_err();
    assert!(matches!(&error, Error::Sqlite { .. }) && error.to_string().contains("records.db: "), "{error:?}");
    assert!(locked(&disk.writer).failed);
    assert_eq!((opened(&disk), disk.done(&hash(2)).unwrap(), disk.len()), (vec![], None, 0));
    meta("gone", "meta");
    disk.commit(&batch).unwrap();
    assert_eq!((opened(&disk), disk.len(), locked(&disk.writer).failed), (vec![hash(1)], 1, false));
    drop(disk);
    let disk = open(&folder);
    assert_eq!((disk.len(), disk.last_seen()), (1, 5));
}

/// Says each number that was committed: batches of an open record and a done one.
#[test]
#[ignore = "a child of the test below"]
fn committing() {
    let disk = open(&given());
    for n in disk.len().. {
        disk.commit(&[Op::Open(hash(n), b"open"), Op::Done(other(n), n, &record(n, 700))]).unwrap();
        println!("\ncommitted {n}");
    }
}

#[test]
fn a_process_that_is_killed_loses_nothing_that_it_committed() {
    let (_dir, folder) = folder();
    for round in 1..=6 {
        let arguments = child("committing", &folder);
        let mut child = Command::new(&arguments[0]).args(&arguments[1..]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let committed = |line: String| line.strip_prefix("committed ").map(|n| n.parse::<u64>().unwrap());
        // The log is copied every 200 or so: some are killed there.
        let mut last = lines.by_ref().filter_map(committed).nth(60 * round).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        last = lines.filter_map(committed).last().unwrap_or(last);
        let disk = open(&folder);
        let count = disk.len();
        assert!(count == last + 1 || count == last + 2, "{last} was committed, {count} are there");
        assert_eq!(disk.open_records().unwrap().len() as u64, count);
        assert!((0..count).all(|n| disk.done(&other(n)).unwrap() == Some(record(n, 700))));
        assert_eq!(disk.done(&other(count)).unwrap(), None);
    }
}

/// Fills what there is, and makes room.
#[test]
#[ignore = "a child of the test below"]
fn filling() {
    let folder = given();
    let disk = open(&folder.join("records"));
    let put_into =
        |disk: &Disk, n| disk.commit(&[Op::Open(hash(n), b"open"), Op::Done(other(n), n, &record(n, 20_000))]);
    let put = |n| put_into(&disk, n);
    let (last, error) = (0..).find_map(|n| put(n).err().map(|error| (n, error))).unwrap();
    assert!(matches!(&error, Error::Full(file) if file.ends_with(DATABASE)), "{error:?}");
    assert!(put(last).is_err() && disk.len() == last && last > 20, "{last}");
    assert_eq!(disk.done(&other(last - 1)).unwrap(), Some(record(last - 1, 20_000)), "look-ups go on");
    drop(disk);
    let disk = open(&folder.join("records"));
    assert!(put_into(&disk, last).is_err() && disk.len() == last, "a restart makes no room, and needs none");
    std::fs::remove_file(folder.join("ballast")).unwrap();
    let put = |n| put_into(&disk, n);
    put(last).unwrap();
    assert_eq!(disk.expire(u64::MAX, 10).unwrap(), 10);
    put(last + 1).unwrap();
    drop(disk);
    let disk = open(&folder.join("records"));
    assert_eq!((disk.len(), opened(&disk).len() as u64), (last - 8, last + 2));
    assert!((10..last + 2).all(|n| disk.done(&other(n)).unwrap() == Some(record(n, 20_000))));
    println!("\nrecovered after {last}");
}

#[test]
fn a_full_disk_is_an_error_until_there_is_room() {
    let (dir, _) = folder();
    let mounted = r#"mount -t tmpfs -o size=4m none "$0" && head -c 1500000 /dev/zero > "$0/ballast" && exec "$@""#;
    let run = |script: &str, arguments: &[std::ffi::OsString]| {
        Command::new("unshare").args(["-rm", "sh", "-c", script]).arg(dir.path()).args(arguments).output()
    };
    // Where containers may not mount anything there is no small disk to be had.
    if !run(mounted, &["true".into()]).is_ok_and(|it| it.status.success()) {
        eprintln!("no user namespaces here: not tested");
        return;
    }
    let output = run(mounted, &child("filling", dir.path())).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("recovered after"), "{text}{errors}");
}
