//! What a power cut and a bad disk leave behind.

use super::*;

/// A file of the head of a log, and of a frame before each page.
const HEAD: u64 = 32;
const FRAME: u64 = 24 + 4096;

/// Commits batches of an open and a done record. The folder, and how long the log was after each.
fn committed(batches: u64) -> (TempDir, PathBuf, Disk, Vec<u64>) {
    let (dir, folder) = folder();
    // The tables are in the database, and the log begins with the first batch.
    open(&folder).close().unwrap();
    let disk = open(&folder);
    let log = folder.join(LOG);
    let mut lengths = vec![];
    for n in 0..batches {
        disk.commit(&[Op::Open(hash(n), b"open"), Op::Done(other(n), n, &record(n, 650))]).unwrap();
        lengths.push(log.metadata().unwrap().len());
    }
    assert!(lengths.windows(2).all(|two| two[0] + 2 * FRAME < two[1]), "several frames each: {lengths:?}");
    (dir, folder, disk, lengths)
}

/// Opens a database with this log. How many batches are there: the first ones, and none by half.
fn reopened(database: &[u8], log: &[u8]) -> Result<u64, OpenError> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::write(dir.path().join(DATABASE), database).unwrap();
    std::fs::write(dir.path().join(LOG), log).unwrap();
    let disk = Disk::open(dir.path(), MEMORY)?;
    let count = disk.len();
    let mut open: Vec<_> = (0..count).map(hash).collect();
    open.sort_unstable();
    assert_eq!(opened(&disk), open);
    assert!((0..count).all(|n| disk.done(&other(n)).unwrap() == Some(record(n, 650))));
    assert_eq!(disk.done(&other(count)).unwrap(), None);
    // And it goes on from there.
    disk.commit(&[Op::Done(other(count), 1, b"x")]).unwrap();
    assert_eq!(disk.len(), count + 1);
    Ok(count)
}

#[test]
fn a_log_that_was_cut_holds_every_batch_before_the_cut() {
    let (_dir, folder, _disk, lengths) = committed(6);
    let (database, log) = (std::fs::read(folder.join(DATABASE)).unwrap(), std::fs::read(folder.join(LOG)).unwrap());
    let ends = lengths.iter().flat_map(|end| end - 2..=end + 2);
    for cut in (0..=log.len() as u64).step_by(311).chain(ends).filter(|cut| *cut <= log.len() as u64) {
        let expected = lengths.iter().filter(|length| **length <= cut).count() as u64;
        assert_eq!(reopened(&database, &log[..cut as usize]).unwrap(), expected, "cut at {cut} of {lengths:?}");
    }
}

/// What is written at once gets to the disk in any order.
#[test]
fn a_batch_of_which_parts_are_missing_is_gone_and_those_before_it_are_there() {
    let (_dir, folder, _disk, lengths) = committed(5);
    let (database, log) = (std::fs::read(folder.join(DATABASE)).unwrap(), std::fs::read(folder.join(LOG)).unwrap());
    let (synced, end) = (lengths[3] as usize, lengths[4] as usize);
    for unit in [512, 4096] {
        // Sectors that nothing of the batches before is in.
        for start in (synced.next_multiple_of(unit)..end).step_by(unit) {
            for upto in [start + unit, end] {
                let mut log = log.clone();
                log[start..upto.min(end)].fill(0);
                // Zeros where there were zeros are no loss.
                let whole = log[..end] == std::fs::read(folder.join(LOG)).unwrap()[..end];
                assert_eq!(reopened(&database, &log).unwrap(), 4 + u64::from(whole), "{start}..{upto} of {lengths:?}");
            }
        }
    }
}

#[test]
fn damage_to_what_was_synced_is_an_error_that_names_the_log() {
    let (_dir, folder, _disk, lengths) = committed(5);
    let (database, log) = (std::fs::read(folder.join(DATABASE)).unwrap(), std::fs::read(folder.join(LOG)).unwrap());
    let named = |error: OpenError, at: usize| {
        let text = error.to_string();
        assert!(text.contains(LOG) && text.contains("damaged"), "at {at}: {text}");
    };
    // The head of the fourth batch's last frame is the one place where damage passes for a torn write.
    let last = (lengths[3] - FRAME) as usize;
    let frames = (HEAD..last as u64).step_by(FRAME as usize).flat_map(|frame| frame..frame + 24);
    let heads: Vec<_> = (0..HEAD).chain(frames).map(|at| at as usize).collect();
    let pages = (0..lengths[3] as usize).step_by(61).filter(|at| !(last..last + 24).contains(at));
    for at in heads.into_iter().chain(pages) {
        let mut log = log.clone();
        log[at] ^= 0x10;
        named(reopened(&database, &log).expect_err(&format!("at {at} of {lengths:?}")), at);
    }
    // A sector, and all to the last batch.
    let mut lost = log.clone();
    lost[4096..4608].fill(0);
    named(reopened(&database, &lost).unwrap_err(), 4096);
    let mut lost = log.clone();
    lost[HEAD as usize..(lengths[2] - FRAME) as usize].fill(0);
    named(reopened(&database, &lost).unwrap_err(), HEAD as usize);
}

#[test]
fn what_a_failed_batch_left_in_the_log_is_no_damage() {
    let (_dir, folder, disk, lengths) = committed(3);
    let database = std::fs::read(folder.join(DATABASE)).unwrap();
    // Those that failed wrote over the one that failed before them: two rests, each with an end.
    let mut rest = std::fs::read(folder.join(LOG)).unwrap();
    disk.commit(&[Op::Open(hash(3), b"open"), Op::Done(other(3), 3, &record(3, 650))]).unwrap();
    let good = std::fs::read(folder.join(LOG)).unwrap();
    let end = good.len();
    let mut frames = good[lengths[2] as usize..].to_vec();
    // A stale rest: frames of this log whose sums go on from one another, and not from what stands before them.
    frames.drain(..FRAME as usize);
    for _ in 0..2 {
        rest.extend_from_slice(&frames);
    }
    assert_eq!(reopened(&database, &rest).unwrap(), 3);
    let mut more = good.clone();
    more.extend_from_slice(&frames);
    assert_eq!((more.len() > end, reopened(&database, &more).unwrap()), (true, 4));
}

#[test]
fn a_log_without_its_database_is_an_error() {
    let (_dir, folder, _disk, _) = committed(2);
    let log = std::fs::read(folder.join(LOG)).unwrap();
    let error = reopened(b"", &log).unwrap_err();
    assert!(error.to_string().contains("records.db is damaged"), "{error}");
}

#[test]
fn a_database_that_was_cut_or_is_none_is_an_error_that_names_it() {
    let (_dir, folder, disk, _) = committed(40);
    disk.close().unwrap();
    let database = std::fs::read(folder.join(DATABASE)).unwrap();
    let mut none = database.clone();
    none[..512].fill(0);
    for bytes in [&database[..database.len() / 2], &database[..database.len() - 4096], &none] {
        let error = reopened(bytes, b"").unwrap_err();
        assert!(error.to_string().contains("records.db is damaged"), "{error}");
    }
}

#[test]
fn a_damaged_record_is_an_error_and_no_answer() {
    let (_dir, folder, disk, _) = committed(40);
    disk.commit(&[Op::Open(hash(99), &record(99, 300))]).unwrap();
    disk.close().unwrap();
    let path = folder.join(DATABASE);
    let whole = std::fs::read(&path).unwrap();
    let find = |bytes: &[u8]| whole.windows(bytes.len()).position(|window| window == bytes).unwrap();
    let damage = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    };
    let damaged = |error: Error| {
        assert!(matches!(&error, Error::Damaged { file, .. } if file.ends_with(DATABASE)), "{error:?}");
    };
    damage(find(&record(7, 650)) + 333);
    let disk = open(&folder);
    damaged(disk.done(&other(7)).unwrap_err());
    assert_eq!(disk.done(&other(8)).unwrap(), Some(record(8, 650)), "the others are there");
    drop(disk);
    damage(find(&record(99, 300)) + 299);
    damaged(open(&folder).open_records().unwrap_err());
}

#[test]
fn every_byte_of_a_record_is_in_its_sum() {
    let (hash, record) = (hash(1), record(2, 77));
    let right = sum(&hash, 5, &record);
    assert!((0..1 << 32).contains(&right));
    assert_eq!(right, 3_803_991_061, "of format {FORMAT}");
    for at in 0..record.len() {
        let mut other = record.clone();
        other[at] ^= 0x80;
        assert_ne!(sum(&hash, 5, &other), right);
    }
    assert!(
        sum(&hash, 6, &record) != right && sum(&[0; 16], 5, &record) != right && sum(&hash, 5, &record[1..]) != right
    );
}
