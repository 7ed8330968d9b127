//! A journal in front of the database: a step is durable once it is in here, which costs one write and one sync. The
//! database gets it later, with many others.
//!
//! # The files
//! Two of a fixed size, written full of zeros once: to overwrite a block takes less of a sync than to add one. Each holds one
//! generation at a time, numbered through both files: 1 in the first, 2 in the second, 3 in the first again, once what was
//! in 1 is in the database. A file begins with two heads of a block each, written in turn, so that one that is torn leaves
//! the one before it, whose generation is in the database already. A head is synced before the first batch of its
//! generation is written.
//!
//! # Batches
//! What is written at once is a batch: see `batch.rs`. Each begins at a block of its own, so that no write touches a block
//! in which something is that was synced, and so that after a failed write whole pages are written anew. The sum of a batch
//! is keyed with a salt that its generation has to itself: neither what is left of an older generation nor anything that
//! somebody had written into a record is ever taken for a batch. A batch says how many its generation has before it, and
//! how many the generation before had.
//!
//! It is written past the system's cache, where the file system knows that (`O_DIRECT`): a sync then has no pages to look
//! for, which is a tenth of what it costs the processor.
//!
//! # After an error
//! A batch that could not be written or synced may be in the file all the same. The place is not advanced, and before
//! anything else is written, to either file, the block in which it begins is overwritten with zeros, and synced. Until then
//! a restart may find it done, all of it or nothing.
//!
//! # What a restart finds
//! A batch is synced before the next one is written. So one that is not valid was being written, and is dropped, if nothing
//! that is valid follows it in its generation and there is no batch of the next generation that counts it. Else it is damage,
//! and an error: steps that were told to be durable would be lost. Not told apart are a torn write and damage to the very
//! last batch. Nor is it found out that both files were removed: they are made anew, as beside a database of a version that
//! had no journal.

mod batch;
mod buffer;
mod segment;
#[cfg(test)]
mod tests;

use std::path::Path;

pub(super) use batch::size;
pub(super) use segment::{ROOM, Segment};

use super::disk::{Error, OpenError};
use super::durable::Order;

/// The files in their folder.
const FILES: [&str; 2] = ["records.journal.0", "records.journal.1"];

/// The format that is written, and the oldest that is read: the one before, where there was one.
const FORMAT: u32 = 1;
const OLDEST: u32 = 1;

/// A generation that was found.
pub(super) struct Part {
    /// Its file. Where there are batches in it, nothing more is to be written before it was renewed.
    pub(super) segment: Segment,
    /// Its steps, in their order.
    pub(super) orders: Vec<Order>,
    /// The latest time that it was told; 0 where none was.
    pub(super) time: u64,
}

impl Part {
    /// Whether it has any batch, be it one without steps.
    pub(super) fn is_used(&self) -> bool {
        self.segment.batches() > 0
    }
}

/// Opens the journal of a folder that no one else has open, or makes it. The older generation comes first.
///
/// # Errors
/// Where it cannot be read or made, where it is damaged, or has a format that is not read.
pub(super) fn open(folder: &Path) -> Result<[Part; 2], OpenError> {
    let paths = FILES.map(|file| folder.join(file));
    let there = |path: &Path| path.try_exists().map_err(|e| OpenError::Io { path: path.to_owned(), source: e });
    let damaged = |path: &Path, what: &str| Error::Damaged { file: path.to_owned(), what: what.to_owned() };
    match (there(&paths[0])?, there(&paths[1])?) {
        (true, true) => {}
        (false, false) => {
            segment::create(&paths[0], 1)?;
            segment::create(&paths[1], 2)?;
        }
        (false, true) => return Err(damaged(&paths[0], "it is missing").into()),
        // Its making was cut short, unless anything was written since.
        (true, false) if segment::open(&paths[0])?.is_untouched() => segment::create(&paths[1], 2)?,
        (true, false) => return Err(damaged(&paths[1], "it is missing").into()),
    }
    let (first, second) = (segment::open(&paths[0])?, segment::open(&paths[1])?);
    let mut parts = [first, second];
    parts.sort_unstable_by_key(|part| part.segment.generation());
    let [older, newer] = &parts;
    if newer.segment.generation() != older.segment.generation() + 1 {
        return Err(damaged(older.segment.path(), "it is older than what stands before the other file").into());
    }
    if newer.segment.before().is_some_and(|batches| batches != older.segment.batches()) {
        return Err(damaged(older.segment.path(), "its end is not what was written").into());
    }
    Ok(parts)
}
