//! How a folder with records is opened: whose it is, what is in it, and whether that is whole.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use rusqlite::{Connection, OpenFlags};

use super::{Disk, Error, Lock, Writer, log};

/// The format that is written. The one before it is read, and made into this one.
pub(super) const FORMAT: i64 = 1;

/// Says in the file that it is ours: `outb`.
const APPLICATION: i64 = 0x6f75_7462;

/// The database in its folder.
pub(super) const DATABASE: &str = "records.db";

/// The log of the database, by SQLite's rule.
pub(super) const LOG: &str = "records.db-wal";

/// What is locked. No file of the database: SQLite's own locks on one are lost when anything else in this process closes it.
const LOCK: &str = "lock";

const SCHEMA: &str = "
    CREATE TABLE open (
        hash BLOB PRIMARY KEY NOT NULL, sum INTEGER NOT NULL, record BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE done (
        id INTEGER PRIMARY KEY, hash BLOB NOT NULL, expires INTEGER NOT NULL, sum INTEGER NOT NULL, record BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX done_hash ON done (hash);
    CREATE INDEX done_expires ON done (expires);
    CREATE TABLE meta (id INTEGER PRIMARY KEY, len INTEGER NOT NULL, seen INTEGER NOT NULL) STRICT;
    INSERT INTO meta (id, len, seen) VALUES (1, 0, 0);
";

/// Why a folder could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be made, read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The folder, or the file in it.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It stands open to others than its owner.
    #[error("{} has the mode {mode:04o}, with which others than its owner get at the records: it must be 0700", folder.display())]
    Permissions {
        /// The folder.
        folder: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Another process has it open.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The file is a database of something else.
    #[error("{} is a database, but not one of records", .0.display())]
    Foreign(PathBuf),
    /// It was written by another version of this program.
    #[error("{} has the format {found}; this version reads {oldest} to {newest}", file.display())]
    Format {
        /// The database.
        file: PathBuf,
        /// Its format.
        found: i64,
        /// The oldest format that is read.
        oldest: i64,
        /// The newest format that is read, which is the one that is written.
        newest: i64,
    },
    /// The file system has no shared memory, without which there is no log.
    #[error("the file system of {} cannot hold a database with a log", .0.display())]
    NoLog(PathBuf),
    /// It is damaged, or SQLite cannot open it.
    #[error(transparent)]
    Database(#[from] Error),
}

/// See [`Disk::open`].
pub(super) fn open(folder: &Path, memory: usize) -> Result<Disk, OpenError> {
    prepare(folder)?;
    let lock = lock(folder)?;
    let file = folder.join(DATABASE);
    let log = folder.join(LOG);
    // Before SQLite sees it, which would go on without what follows the damage.
    log::check(&file, &log)?;
    // SQLite gives the log the mode of the database.
    let made = File::options().create(true).truncate(false).write(true).mode(0o600).open(&file);
    made.map_err(|source| OpenError::Io { path: file.clone(), source })?;

    let error = |e| OpenError::from(Error::new(&file, e));
    // Writing reads more: the pages of the index in which new hashes go. Readers mostly find nothing, and the system
    // caches the file as well.
    let caches = (memory / 4 * 3, memory / 8);
    let mut connection = connect(&file, caches.0).map_err(error)?;
    adopt(&mut connection, &file)?;
    sync(folder)?;
    let (len, seen) = connection
        .query_row("SELECT len, seen FROM meta WHERE id = 1", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        })
        .map_err(error)?;
    let (len, seen) = (u64::try_from(len).unwrap_or(0), u64::try_from(seen).unwrap_or(0));
    let reader = || {
        let reader = connect(&file, caches.1).map_err(error)?;
        reader.pragma_update(None, "query_only", true).map_err(error)?;
        Ok::<_, OpenError>(Mutex::new(reader))
    };
    Ok(Disk {
        readers: [reader()?, reader()?],
        turn: AtomicUsize::new(0),
        writer: Mutex::new(Writer { connection, cache: caches.0, seen, failed: false }),
        len: AtomicU64::new(len),
        seen: AtomicU64::new(seen),
        file,
        _lock: lock,
    })
}

/// A connection to a file that is there. It syncs each transaction, and caches this many bytes.
pub(super) fn connect(file: &Path, cache: usize) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -i64::try_from(cache / 1024).unwrap_or(i64::MAX))?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Finds some damage to pages that would lead astray.
    connection.pragma_update(None, "cell_size_check", true)?;
    // What a log keeps of its length when it begins anew.
    connection.query_row("PRAGMA journal_size_limit = 8388608", [], |_| Ok(()))?;
    connection.query_row("PRAGMA wal_autocheckpoint = 1000", [], |_| Ok(()))?;
    Ok(connection)
}

/// Writes all of the log into the database, and cuts it to nothing.
pub(super) fn empty_log(connection: &Connection, file: &Path) -> Result<(), Error> {
    let busy = connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0))
        .map_err(|e| Error::new(file, e))?;
    if busy {
        // Only our own readers can be in the way, and SQLite waits for these for seconds.
        let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        return Err(Error::new(file, rusqlite::Error::SqliteFailure(busy, None)));
    }
    Ok(())
}

/// Makes an empty database ours, and looks whether another is.
fn adopt(connection: &mut Connection, file: &Path) -> Result<(), OpenError> {
    let error = |e| OpenError::from(Error::new(file, e));
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(error);
    let (application, found) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
    let empty = application == 0 && found == 0 && number("SELECT count(*) FROM sqlite_schema")? == 0;
    if !empty && application != APPLICATION {
        return Err(OpenError::Foreign(file.to_owned()));
    }
    if !empty && !is_read(found) {
        let (oldest, newest) = (oldest(), FORMAT);
        return Err(OpenError::Format { file: file.to_owned(), found, oldest, newest });
    }
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(error)?;
    if mode != "wal" {
        return Err(OpenError::NoLog(file.to_owned()));
    }
    if empty {
        let make = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", FORMAT)?;
            transaction.commit()
        };
        make(connection).map_err(error)?;
    }
    Ok(())
}

/// The oldest format that is read: the one before ours, where there was one.
fn oldest() -> i64 {
    (FORMAT - 1).max(1)
}

pub(super) fn is_read(format: i64) -> bool {
    (oldest()..=FORMAT).contains(&format)
}

/// Makes the folder, for its owner alone, or looks whether it is.
fn prepare(folder: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Io { path: folder.to_owned(), source };
    if !folder.try_exists().map_err(failed)? {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        if let Some(parent) = folder.canonicalize().map_err(failed)?.parent() {
            sync(parent)?;
        }
    }
    let mode = fs::metadata(folder).map_err(failed)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(OpenError::Permissions { folder: folder.to_owned(), mode });
    }
    Ok(())
}

/// Locks the folder for as long as the file is open.
fn lock(folder: &Path) -> Result<Lock, OpenError> {
    let path = folder.join(LOCK);
    let failed = |source| OpenError::Io { path: path.clone(), source };
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(folder.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Syncs the names in a folder.
fn sync(folder: &Path) -> Result<(), OpenError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| OpenError::Io { path: folder.to_owned(), source })
}
