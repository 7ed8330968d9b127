//! The journal's files: what a restart finds in them, whole, cut, damaged, or after writes that failed.

mod random;

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tempfile::TempDir;

use super::batch::BLOCK;
use super::segment::{FIRST, SIZE, head, slot};
use super::*;
use crate::policy::idempotency::Hash;
use crate::store::records::disk::Op;

/// What is to go wrong with a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults(Arc<Mutex<(Option<usize>, usize)>>);

impl Faults {
    /// The next write writes so many bytes and fails.
    fn fail_write(&self, written: usize) {
        self.0.lock().0 = Some(written);
    }

    /// So many syncs fail.
    fn fail_syncs(&self, count: usize) {
        self.0.lock().1 = count;
    }

    pub(super) fn write(&self) -> Option<usize> {
        self.0.lock().0.take()
    }

    pub(super) fn sync(&self) -> bool {
        let mut faults = self.0.lock();
        let fails = faults.1 > 0;
        faults.1 = faults.1.saturating_sub(1);
        fails
    }
}

fn hash(number: u64) -> Hash {
    let mut hash = [7; 16];
    hash[..8].copy_from_slice(&number.to_be_bytes());
    hash
}

fn record(number: u64) -> Vec<u8> {
    hash(number).into_iter().cycle().take(100 + 700 * (number as usize % 9)).collect()
}

/// Batch number so and so: an open record, a finished one, and one that goes.
fn append(segment: &mut Segment, number: u64) -> Result<(), Error> {
    let record = record(number);
    let ops = [Op::Open(hash(number), &record), Op::Done(hash(number), number, &record), Op::Remove(hash(number + 1))];
    segment.append(&ops, 1_000 + number)
}

/// The numbers of the batches, each of which has to be whole.
fn numbers(orders: &[Order]) -> Vec<u64> {
    let (batches, rest) = orders.as_chunks::<3>();
    assert!(rest.is_empty());
    let number = |batch: &[Order; 3]| {
        let [Order::Open(a, open), Order::Done(b, number, done), Order::Remove(c)] = batch else { panic!("mixed") };
        assert_eq!((*a, *b, *c), (hash(*number), hash(*number), hash(number + 1)));
        assert!(*open == record(*number) && open == done);
        *number
    };
    batches.iter().map(number).collect()
}

fn opened(folder: &Path) -> [Part; 2] {
    super::open(folder).unwrap()
}

/// A journal with these batches in its first generation. Where each ends.
fn written(batches: u64) -> (TempDir, Vec<u64>) {
    let dir = tempfile::tempdir().unwrap();
    let [mut part, _] = opened(dir.path());
    let mut ends = vec![];
    for number in 0..batches {
        append(&mut part.segment, number).unwrap();
        ends.push(place(&part.segment));
    }
    (dir, ends)
}

/// Where it is written next: seen by how much more there is room for.
fn place(segment: &Segment) -> u64 {
    let room = (0..SIZE / BLOCK).rev().find(|blocks| segment.has_room(blocks * BLOCK - 56)).unwrap();
    (SIZE - room * BLOCK) as u64
}

fn file(dir: &TempDir, number: usize) -> PathBuf {
    dir.path().join(FILES[number])
}

/// A folder with these files.
fn copy(files: [&[u8]; 2]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    files.iter().enumerate().for_each(|(n, bytes)| std::fs::write(file(&dir, n), bytes).unwrap());
    dir
}

fn bytes(dir: &TempDir) -> [Vec<u8>; 2] {
    [0, 1].map(|n| std::fs::read(file(dir, n)).unwrap())
}

/// That it is an error which names this file.
fn damaged(dir: &TempDir, number: usize) -> String {
    let error = super::open(dir.path()).err().expect("damage");
    assert!(matches!(error, OpenError::Database(Error::Damaged { .. })), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(file(dir, number).to_str().unwrap()), "{text}");
    text
}

#[test]
fn it_goes_through_the_cache_where_it_cannot_go_past_it() {
    let (dir, _) = written(3);
    let [_, mut second] = opened(dir.path());
    second.segment.follows(3);
    append(&mut second.segment, 0).unwrap();
    let past_it = second.segment.direct.is_some();
    // From no border of a block in memory: the system says no.
    second.segment.write(&vec![0; BLOCK + 1][1..], place(&second.segment)).unwrap();
    assert!(second.segment.direct.is_none(), "{past_it}");
    append(&mut second.segment, 1).unwrap();
    let [first, second] = opened(dir.path());
    assert_eq!((numbers(&first.orders), numbers(&second.orders)), (vec![0, 1, 2], vec![0, 1]));
}

#[test]
fn what_was_appended_is_found_with_its_time_and_an_empty_batch_counts() {
    let (dir, _) = written(20);
    let [mut first, second] = opened(dir.path());
    assert_eq!((numbers(&first.orders), first.time), ((0..20).collect(), 1_019));
    assert!(first.is_used() && !second.is_used() && second.orders.is_empty());
    first.segment.append(&[], 9_000).unwrap();
    let [first, _] = opened(dir.path());
    assert_eq!((first.segment.batches(), first.orders.len(), first.time), (21, 60, 9_000));
    use std::os::unix::fs::PermissionsExt;
    assert!((0..2).all(|n| file(&dir, n).metadata().unwrap().permissions().mode() & 0o777 == 0o600));
}

#[test]
fn a_file_takes_no_more_than_it_holds_and_the_largest_batch_fits() {
    let (dir, _) = written(0);
    let [mut part, _] = opened(dir.path());
    let large = vec![9; ROOM - 100];
    assert!(part.segment.has_room(ROOM) && !part.segment.has_room(ROOM + BLOCK));
    part.segment.append(&[Op::Done(hash(1), 5, &large)], 1).unwrap();
    assert!(!part.segment.has_room(BLOCK));
    let [part, _] = opened(dir.path());
    assert!(matches!(&part.orders[..], [Order::Done(_, 5, record)] if *record == large));
    assert_eq!(file(&dir, 0).metadata().unwrap().len(), SIZE as u64);
}

#[test]
fn a_cut_or_zeros_leave_every_batch_before_them_and_nothing_half() {
    let (dir, ends) = written(8);
    let [first, second] = bytes(&dir);
    let (from, to) = (ends[4] as usize, *ends.last().unwrap() as usize);
    let edges = ends[4..].iter().flat_map(|end| [*end as usize - 1, *end as usize, *end as usize + 1]);
    for cut in (from..to).step_by(97).chain(edges) {
        // The last block of a batch ends with zeros that are no part of it.
        let whole = |cut: usize| ends.iter().filter(|end| **end <= cut as u64).count() as u64;
        let cut_file = copy([&first[..cut], &second]);
        let mut zeroed = first.clone();
        zeroed[cut..].fill(0);
        let zeroed = copy([&zeroed, &second]);
        for dir in [cut_file, zeroed] {
            let [mut part, _] = opened(dir.path());
            let found = numbers(&part.orders);
            assert_eq!(found, (0..found.len() as u64).collect::<Vec<_>>());
            assert!((whole(cut)..=whole(cut + BLOCK)).contains(&(found.len() as u64)), "{found:?}, cut at {cut}");
            // It is as long as it was when it is written again.
            part.segment.renew().unwrap();
            assert_eq!(file(&dir, 0).metadata().unwrap().len(), SIZE as u64);
            append(&mut part.segment, 77).unwrap();
            let [_, newer] = opened(dir.path());
            assert_eq!(numbers(&newer.orders), [77]);
        }
    }
}

#[test]
fn damage_before_the_last_batch_is_an_error_that_names_the_file() {
    let (dir, ends) = written(6);
    let [first, second] = bytes(&dir);
    // The last byte of a batch's steps is not known here; each begins with its head.
    let starts = [FIRST].into_iter().chain(ends.iter().copied()).collect::<Vec<_>>();
    for (number, start) in starts[..5].iter().enumerate() {
        for at in [0, 4, 9, 17, 30, 41, 50, 60, 90] {
            let mut first = first.clone();
            first[*start as usize + at] ^= 0x40;
            let dir = copy([&first, &second]);
            let text = damaged(&dir, 0);
            assert!(text.contains("damage") || text.contains("older"), "{number} {at}: {text}");
        }
    }
    // The last one may have been torn.
    let mut torn = first.clone();
    torn[starts[5] as usize + 60] ^= 1;
    assert_eq!(numbers(&opened(copy([&torn, &second]).path())[0].orders), [0, 1, 2, 3, 4]);
    // A batch that lies where another should be.
    let mut moved = first.clone();
    moved.copy_within(starts[2] as usize..starts[3] as usize, starts[1] as usize);
    assert!(damaged(&copy([&moved, &second]), 0).contains("a batch is not where it was written"));
}

/// Two generations that are both in use: the first has three batches, the second two. Where the last one of each begins.
fn two() -> (TempDir, [usize; 2]) {
    let (dir, ends) = written(3);
    let [first, mut second] = opened(dir.path());
    second.segment.follows(first.segment.batches());
    append(&mut second.segment, 3).unwrap();
    let last = place(&second.segment);
    append(&mut second.segment, 4).unwrap();
    (dir, [ends[1] as usize, last as usize])
}

#[test]
fn the_end_of_a_generation_that_another_followed_is_not_torn() {
    let (dir, last) = two();
    let [first, second] = bytes(&dir);
    let [older, newer] = opened(dir.path());
    assert_eq!((numbers(&older.orders), numbers(&newer.orders)), (vec![0, 1, 2], vec![3, 4]));
    let mut damage = first.clone();
    damage[last[0] + 70] ^= 1;
    assert!(damaged(&copy([&damage, &second]), 0).contains("its end is not what was written"));
    assert!(damaged(&copy([&first[..last[0]], &second]), 0).contains("its end is not what was written"));
    // Of the last generation the last batch may be.
    let mut torn = second.clone();
    torn[last[1] + 70] ^= 1;
    let [older, newer] = opened(copy([&first, &torn]).path());
    assert_eq!((numbers(&older.orders), numbers(&newer.orders)), (vec![0, 1, 2], vec![3]));
}

#[test]
fn nothing_of_an_older_generation_is_taken_for_one_of_this() {
    let (dir, _) = written(12);
    let [mut part, second] = opened(dir.path());
    part.segment.renew().unwrap();
    let [older, newer] = opened(dir.path());
    assert_eq!((older.segment.generation(), newer.segment.generation()), (2, 3));
    assert!(!older.is_used() && !newer.is_used(), "all of it is old");
    // Batches of the same length as those that stood there: what follows them begins where a batch did.
    for number in 0..3 {
        append(&mut part.segment, number).unwrap();
        let [_, newer] = opened(dir.path());
        assert_eq!(numbers(&newer.orders), (0..=number).collect::<Vec<_>>());
    }
    drop(second);
    // The salts differ: that of an older generation with the number of this one would not do.
    let [first, _] = bytes(&dir);
    let stale = batch::read(&first[FIRST as usize..], 1, &[0; 16]);
    assert!(matches!(stale, batch::Found::Nothing));
}

#[test]
fn a_head_that_is_torn_leaves_the_one_before_it() {
    let (dir, _) = two();
    let [mut first, second] = opened(dir.path());
    let before = bytes(&dir);
    first.segment.renew().unwrap();
    let [mut torn, other] = bytes(&dir);
    torn[slot(3) as usize + 30] ^= 1;
    let [older, newer] = opened(copy([&torn, &other]).path());
    assert_eq!((older.segment.generation(), numbers(&older.orders)), (1, vec![0, 1, 2]));
    assert_eq!(numbers(&newer.orders), [3, 4]);
    drop(second);
    // Where a batch was written since it was no tear.
    append(&mut first.segment, 9).unwrap();
    let [mut lost, other] = bytes(&dir);
    lost[slot(3) as usize + 30] ^= 1;
    assert!(damaged(&copy([&lost, &other]), 0).contains("its head is older"));
    let mut none = before[0].clone();
    none[slot(1) as usize + 30] ^= 1;
    assert!(damaged(&copy([&none, &before[1]]), 0).contains("it has no head"));
}

#[test]
fn a_write_or_sync_that_fails_is_not_believed_and_the_next_one_is() {
    for written in [Some(0), Some(3), Some(600), Some(BLOCK), Some(usize::MAX), None] {
        let (dir, _) = self::written(3);
        let [mut part, mut other] = opened(dir.path());
        let fail = |segment: &Segment| match written {
            Some(bytes) => segment.faults.fail_write(bytes),
            None => segment.faults.fail_syncs(1),
        };
        let before = place(&part.segment);
        fail(&part.segment);
        let error = append(&mut part.segment, 8).unwrap_err();
        assert_eq!(matches!(error, Error::Full(_)), written.is_some(), "{error:?}");
        assert!(error.to_string().contains("records.journal.0"), "{error}");
        assert_eq!((place(&part.segment), part.segment.batches()), (before, 3));
        // A restart now finds all of it or nothing.
        let [found, _] = opened(copy(bytes(&dir).each_ref().map(|b| &b[..])).path());
        assert!([&[0, 1, 2][..], &[0, 1, 2, 8]].contains(&&numbers(&found.orders)[..]));
        // While what failed cannot be taken back nothing else is written.
        part.segment.faults.fail_syncs(1);
        assert!(append(&mut part.segment, 3).is_err());
        part.segment.faults.fail_syncs(1);
        assert!(part.segment.forget_failed().is_err());
        // Shorter than the one that failed: what is left of that one is behind it.
        append(&mut part.segment, 9).unwrap();
        let [found, _] = opened(dir.path());
        assert_eq!(numbers(&found.orders), [0, 1, 2, 9]);
        // And where it goes on in the other file.
        fail(&part.segment);
        append(&mut part.segment, 8).unwrap_err();
        part.segment.forget_failed().unwrap();
        other.segment.follows(part.segment.batches());
        append(&mut other.segment, 10).unwrap();
        let [older, newer] = opened(dir.path());
        assert_eq!((numbers(&older.orders), numbers(&newer.orders)), (vec![0, 1, 2, 9], vec![10]));
    }
}

#[test]
fn files_that_are_missing_or_do_not_belong_together_are_told() {
    let (dir, _) = two();
    let files = bytes(&dir);
    for missing in [0, 1] {
        let dir = copy(files.each_ref().map(|b| &b[..]));
        std::fs::remove_file(file(&dir, missing)).unwrap();
        assert!(damaged(&dir, missing).contains("it is missing"));
    }
    // Its making was cut short.
    let (dir, _) = written(0);
    std::fs::remove_file(file(&dir, 1)).unwrap();
    std::fs::write(dir.path().join("records.journal.1.new"), b"half").unwrap();
    assert!(opened(dir.path()).iter().all(|part| !part.is_used()));
    assert!(!dir.path().join("records.journal.1.new").exists());
    // One that was put back from a copy.
    let (dir, _) = two();
    let [mut first, mut second] = opened(dir.path());
    first.segment.renew().unwrap();
    second.segment.renew().unwrap();
    std::fs::write(file(&dir, 0), &files[0]).unwrap();
    assert!(damaged(&dir, 0).contains("older than what stands before the other file"));
}

#[test]
fn other_formats_are_refused_with_both_named() {
    let (dir, _) = written(2);
    let [first, second] = bytes(&dir);
    for found in [FORMAT + 1, 0] {
        let mut first = first.clone();
        // Also where the other head could be read.
        first[slot(3) as usize..][..BLOCK].copy_from_slice(&head(3, &[1; 16]));
        first[slot(3) as usize + 8..][..4].copy_from_slice(&found.to_le_bytes());
        let dir = copy([&first, &second]);
        let error = super::open(dir.path()).err().unwrap();
        assert!(matches!(error, OpenError::Format { .. }), "{error:?}");
        let text = error.to_string();
        let expected = [format!("format {found};"), format!("to {FORMAT}"), "records.journal.0".to_owned()];
        assert!(expected.iter().all(|word| text.contains(word)), "{text}");
    }
}
