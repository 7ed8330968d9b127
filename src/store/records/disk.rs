//! Records on the disk, in SQLite: what was written is on the disk when [`Disk::commit`] returns. Steps get here in large
//! batches, from a journal that made them durable before: see `durable.rs`.
//!
//! # What is kept
//! `open` has the records of requests that were sent or whose outcome is unknown, by their hash. `done` has finished ones
//! in the order in which they finished, so that they fill their pages, with an index by hash and one by the time at which
//! they expire: the latter goes with the row, so that a record that is overwritten leaves no entry behind. `meta` has one
//! row, how many finished records there are and the latest time that was seen, and is written with every batch.
//!
//! # What is on the disk
//! A batch is one transaction, appended to the log (`records.db-wal`) and synced; every thousand pages the log is copied
//! into `records.db`, which is synced before the log is written from its start again. Nothing is written unsynced, expiry
//! included. So whatever follows a transaction in the log tells that it was synced, and a torn end can be told from damage
//! before it: see `log.rs`.
//!
//! # After an error
//! A batch that fails is undone and the next one is tried as if nothing had been. After a failed sync nothing is believed
//! of what that sync was for: the transaction is not counted as written, its pages are written anew by the next one, and
//! a copy from the log into the database that could not be synced is made again, from a log whose transactions were each
//! synced with success. One thing is left: the log may hold the transaction that failed, whole, and a process that dies
//! now would find it there. So the next commit first opens the database anew and empties the log, and fails where it
//! cannot. Until then a restart may find a batch done of which an error was told: all of it, or nothing.
//!
//! # Damage
//! Each record has a check sum of its own, so that a damaged one is an error and not an answer. SQLite has none for its
//! pages: damage to the part of an index that is read shows where it breaks the page's form, and not where it changes a
//! key.

mod log;
mod open;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};

pub use open::OpenError;

use crate::policy::idempotency::Hash;

/// How many look-ups read at once; others wait for one of them, some microseconds.
const READERS: usize = 2;

/// After so many steps, some 50 µs of them, whoever wants the processor goes first.
const YIELDS: usize = 16;

/// A step of a batch.
#[derive(Debug, Clone, Copy)]
pub enum Op<'a> {
    /// Puts an open record: it was sent, or what became of it is unknown. A finished one of the same hash stays.
    Open(Hash, &'a [u8]),
    /// A finished one takes the open one's place, and that of a finished one; it expires at this unix time in
    /// milliseconds.
    Done(Hash, u64, &'a [u8]),
    /// Nothing is known of it any more, open or finished.
    Remove(Hash),
}

/// Why something could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no room for it. What was there before is there.
    #[error("no room left for {}", .0.display())]
    Full(PathBuf),
    /// What is on the disk is not what was written.
    #[error("{} is damaged: {what}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What was found.
        what: String,
    },
    /// The system cannot write or read it.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Anything else that goes wrong with files.
    #[error("{}: {source}", file.display())]
    Sqlite {
        /// The file.
        file: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

impl Error {
    fn new(file: &Path, source: rusqlite::Error) -> Self {
        let file = file.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Error::Full(file),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Error::Damaged { file, what: source.to_string() }
            }
            _ => Error::Sqlite { file, source },
        }
    }

    /// What the system says of a file.
    pub(super) fn io(file: &Path, source: io::Error) -> Self {
        let file = file.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full(file),
            _ => Error::Io { file, source },
        }
    }
}

/// The records of a folder, which no one else has open. See the module.
#[derive(Debug)]
pub struct Disk {
    readers: [Mutex<Connection>; READERS],
    /// Whose turn it is to be waited for.
    turn: AtomicUsize,
    writer: Mutex<Writer>,
    len: AtomicU64,
    seen: AtomicU64,
    file: PathBuf,
    /// Held until the connections are closed.
    _lock: Lock,
}

/// The lock of a folder.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    /// Closing the file is not enough: a child that is just being started has it open too, until it runs its program.
    fn drop(&mut self) {
        _ = self.0.unlock();
    }
}

#[derive(Debug)]
struct Writer {
    connection: Connection,
    /// How much it may cache, in bytes.
    cache: usize,
    /// The time in the database.
    seen: u64,
    /// Something failed since which nothing was written.
    failed: bool,
}

impl Disk {
    /// Opens what is in the folder, or makes it. Caches take `memory` bytes at most, and a megabyte or so for the rest.
    pub fn open(folder: &Path, memory: usize) -> Result<Disk, OpenError> {
        open::open(folder, memory)
    }

    /// Every open record.
    pub fn open_records(&self) -> Result<Vec<(Hash, Vec<u8>)>, Error> {
        let reader = self.reader();
        let mut query = reader.prepare("SELECT hash, sum, record FROM open").map_err(|e| self.error(e))?;
        let mut rows = query.query([]).map_err(|e| self.error(e))?;
        let mut records = Vec::new();
        while let Some(row) = rows.next().map_err(|e| self.error(e))? {
            let read = || Ok((row.get::<_, Hash>(0)?, row.get(1)?, row.get::<_, Vec<u8>>(2)?));
            let (hash, expected, record) = read().map_err(|e| self.error(e))?;
            self.check(&hash, 0, &record, expected)?;
            records.push((hash, record));
        }
        Ok(records)
    }

    /// A finished record, expired or not.
    pub fn done(&self, hash: &Hash) -> Result<Option<Vec<u8>>, Error> {
        let reader = self.reader();
        let read = |reader: &Connection| {
            let mut query = reader.prepare_cached("SELECT expires, sum, record FROM done WHERE hash = ?1")?;
            query.query_row([hash], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, Vec<u8>>(2)?))).optional()
        };
        let Some((expires, expected, record)) = read(&reader).map_err(|e| self.error(e))? else {
            return Ok(None);
        };
        self.check(hash, expires, &record, expected)?;
        Ok(Some(record))
    }

    /// Does all of it or nothing. It is on the disk when this returns, with the time that [`Disk::saw`] was told.
    pub fn commit(&self, ops: &[Op<'_>]) -> Result<(), Error> {
        self.write(|transaction, seen| {
            let mut len = 0;
            for ops in ops.chunks(YIELDS) {
                for op in ops {
                    len += apply(transaction, op)?;
                }
                // A thread may keep a processor for milliseconds from those that have become ready meanwhile.
                std::thread::yield_now();
            }
            Ok((!ops.is_empty() || seen, len))
        })?;
        Ok(())
    }

    /// Removes at most `most` of the finished records that expired by `now`, the oldest first, and says how many went.
    /// Each costs the page of an index in the log, 4 KiB, while nothing else is written: a few hundred at once are enough.
    pub fn expire(&self, now: u64, most: usize) -> Result<usize, Error> {
        let gone = self.write(|transaction, _| {
            let gone = transaction
                .prepare_cached(
                    "DELETE FROM done WHERE id IN (SELECT id FROM done WHERE expires <= ?1 ORDER BY expires LIMIT ?2)",
                )?
                .execute(params![signed(now), signed(most as u64)])?;
            Ok((gone > 0, -(gone as i64)))
        })?;
        Ok(usize::try_from(-gone).unwrap_or(0))
    }

    /// Tells the hashes of finished records, some at a time: those behind `after`, in their order. Empty at the end.
    pub fn hashes(&self, after: &Hash, most: usize) -> Result<Vec<Hash>, Error> {
        let reader = self.reader();
        let read = |reader: &Connection| {
            let mut query = reader.prepare_cached("SELECT hash FROM done WHERE hash > ?1 ORDER BY hash LIMIT ?2")?;
            let rows = query.query_map(params![after, signed(most as u64)], |row| row.get(0))?;
            rows.collect::<rusqlite::Result<Vec<Hash>>>()
        };
        read(&reader).map_err(|e| self.error(e))
    }

    /// How many finished records there are.
    pub fn len(&self) -> u64 {
        self.len.load(Relaxed)
    }

    /// Whether there is no finished record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells what time it is, in unix milliseconds. The latest that was told is kept, with the next commit.
    pub fn saw(&self, now: u64) {
        self.seen.fetch_max(now, Relaxed);
    }

    /// The latest time that was told, before a restart too. A clock that is behind it was set back.
    pub fn last_seen(&self) -> u64 {
        self.seen.load(Relaxed)
    }

    /// Writes what time it is, and all of the log into the database. What was committed is on the disk without it.
    pub fn close(self) -> Result<(), Error> {
        self.commit(&[])?;
        // Held to the end.
        let Disk { readers, writer, file, _lock, .. } = self;
        let writer = writer.into_inner().unwrap_or_else(PoisonError::into_inner).connection;
        for reader in readers {
            let reader = reader.into_inner().unwrap_or_else(PoisonError::into_inner);
            reader.close().map_err(|(_, e)| Error::new(&file, e))?;
        }
        open::empty_log(&writer, &file)?;
        writer.close().map_err(|(_, e)| Error::new(&file, e))
    }

    /// One transaction. `change` is told whether there is a time to be written, and says whether there is anything to be
    /// written and how many finished records more there are.
    fn write(&self, change: impl Fn(&Transaction<'_>, bool) -> rusqlite::Result<(bool, i64)>) -> Result<i64, Error> {
        let mut writer = locked(&self.writer);
        if writer.failed {
            // A failed sync may have left a whole transaction in the log: see the module.
            writer.connection = open::connect(&self.file, writer.cache).map_err(|e| self.error(e))?;
            open::empty_log(&writer.connection, &self.file)?;
            writer.failed = false;
        }
        let (len, seen) = (self.len(), self.last_seen());
        let new = seen > writer.seen;
        let run = |connection: &mut Connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let (anything, more) = change(&transaction, new)?;
            if anything {
                transaction
                    .prepare_cached("UPDATE meta SET len = ?1, seen = ?2 WHERE id = 1")?
                    .execute([signed(len.saturating_add_signed(more)), signed(seen)])?;
            }
            transaction.commit()?;
            Ok((anything, more))
        };
        match run(&mut writer.connection).map_err(|e| self.error(e)) {
            Ok((anything, more)) => {
                if anything {
                    writer.seen = seen;
                }
                self.len.store(len.saturating_add_signed(more), Relaxed);
                Ok(more)
            }
            Err(error) => {
                // Where there was no room, the end of the transaction was not written: there is nothing to be emptied. To
                // try that each time would cost much and free nothing.
                writer.failed = !matches!(error, Error::Full(_));
                Err(error)
            }
        }
    }

    /// A connection that no one else reads with.
    fn reader(&self) -> MutexGuard<'_, Connection> {
        for reader in &self.readers {
            match reader.try_lock() {
                Ok(reader) => return reader,
                Err(TryLockError::Poisoned(reader)) => return reader.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        let turn = self.turn.fetch_add(1, Relaxed) % READERS;
        locked(&self.readers[turn])
    }

    fn check(&self, hash: &Hash, expires: i64, record: &[u8], expected: i64) -> Result<(), Error> {
        if sum(hash, expires, record) == expected {
            return Ok(());
        }
        let what = "the check sum of a record is not that of its bytes".to_owned();
        Err(Error::Damaged { file: self.file.clone(), what })
    }

    fn error(&self, source: rusqlite::Error) -> Error {
        Error::new(&self.file, source)
    }
}

/// Does a step, and says how many finished records more there are.
fn apply(transaction: &Transaction<'_>, op: &Op<'_>) -> rusqlite::Result<i64> {
    let prepare = |sql| transaction.prepare_cached(sql);
    let delete_open = |hash: &Hash| prepare("DELETE FROM open WHERE hash = ?1")?.execute([hash]);
    match op {
        Op::Open(hash, record) => {
            let put = "INSERT OR REPLACE INTO open (hash, sum, record) VALUES (?1, ?2, ?3)";
            prepare(put)?.execute(params![hash, sum(hash, 0, record), record])?;
            Ok(0)
        }
        Op::Done(hash, expires, record) => {
            delete_open(hash)?;
            let expires = signed(*expires);
            let values = params![hash, expires, sum(hash, expires, record), record];
            // Nearly always there is none before it: that is one look at the index and not two.
            let put = "INSERT OR IGNORE INTO done (hash, expires, sum, record) VALUES (?1, ?2, ?3, ?4)";
            if prepare(put)?.execute(values)? == 1 {
                return Ok(1);
            }
            prepare("UPDATE done SET expires = ?2, sum = ?3, record = ?4 WHERE hash = ?1")?.execute(values)?;
            Ok(0)
        }
        Op::Remove(hash) => {
            delete_open(hash)?;
            Ok(-(prepare("DELETE FROM done WHERE hash = ?1")?.execute([hash])? as i64))
        }
    }
}

/// The check sum of a record, part of the format. Each step can be undone, so that eight bytes that differ make a
/// different state, and 32 bits of the last are kept: of two records that differ the sums are equal once in four billion.
fn sum(hash: &Hash, expires: i64, record: &[u8]) -> i64 {
    let step = |state: u64, word: u64| (state ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    let words = |state: u64, bytes: &[u8]| {
        bytes.chunks(8).fold(state, |state, chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            step(state, u64::from_le_bytes(word))
        })
    };
    let state = words(step(record.len() as u64, expires.cast_unsigned()), hash);
    let state = step(words(state, record), 0);
    i64::try_from(state >> 32).unwrap_or(0)
}

/// SQLite's numbers have a sign. No time and no count comes near it.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A panic elsewhere leaves no connection in the middle of anything: a transaction that goes out of scope is undone.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
